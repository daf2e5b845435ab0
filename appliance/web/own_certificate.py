"""The practice's own certificate in place of the box's, and back: by the command line and by the API."""

import ssl
from datetime import datetime

from sqlalchemy import Connection

from appliance.errors import InvalidInput
from appliance.jobs import certificates
from appliance.language import mark
from appliance.ledger import events
from appliance.model import PersonId
from appliance.settings import Settings
from appliance.vault.certificate_pair import check_pair
from appliance.vault.secret import Secret
from appliance.vault.secret_file import secret_file
from appliance.web import tls


def check(chain: bytes, key: Secret, *, now: datetime) -> datetime:
    """Return until when a pair is good that a web server can show.

    Args:
        chain: the certificate first, then those of its issuers, if any; PEM.
        key: its private key without a password, PEM.
        now: aware.

    Raises:
        InvalidInput: «certificate» or «key» is something else, or too weak.
    """
    ends = check_pair(chain, key, now=now)
    with secret_file(Secret(chain)) as chain_path, secret_file(key) as key_path:
        try:  # what OpenSSL does not take would let no web interface start again
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                chain_path, key_path, password=""
            )
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise InvalidInput(
                "certificate", mark("a certificate and a key strong enough for browsers of today.")
            ) from error
    return ends


def bring(
    connection: Connection,
    settings: Settings,
    chain: bytes,
    key: Secret,
    *,
    until: datetime,
    person_id: PersonId | None,
    actor: str,
    now: datetime,
) -> None:
    """Show a pair that ``check`` let pass; a running web interface takes it within 10 minutes."""
    events.record(
        connection, at=now, event="certificate.brought", subject="box", person_id=person_id,
        actor=actor, until=until.isoformat(),
    )  # fmt: skip
    tls.use_own(settings, chain, key.reveal())


def go_back(
    connection: Connection,
    settings: Settings,
    *,
    person_id: PersonId | None,
    actor: str,
    now: datetime,
) -> None:
    """Show the certificate of the box's own authority again: no brought one, none by ACME."""
    if (settings.tls / certificates.BROUGHT).exists():
        events.record(
            connection, at=now, event="certificate.put-away", subject="box", person_id=person_id,
            actor=actor,
        )  # fmt: skip
    certificates.give_up(connection, person_id=person_id, actor=actor, now=now)
    tls.use_box(settings)
