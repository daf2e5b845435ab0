"""Other services that may say who somebody is (OpenID Connect), as the practice set them up.

An open program ships no client id: each practice, or its integrator, registers with the service and types
in what it was given. The client secret, and the key of a client certificate, are sealed to the web process's own
key and shown to nobody afterwards.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Connection

from appliance.db import facts
from appliance.errors import InvalidInput, NotFound
from appliance.language import mark
from appliance.ledger import events
from appliance.model import PersonId
from appliance.vault.certificate_pair import check_pair
from appliance.vault.secret import Secret
from appliance.vault.web_key import open_for_web, opens, seal_for_web

FACT: Final = "oidc.providers"
ADDRESSES: Final = ("authorize", "token", "keys", "userinfo", "logout")
#: How the box shows the service that it is the one registered there: with the secret in the request, or by its
#: certificate alone, of an authority or signed by itself. Source: OpenID Connect Core §9; RFC 8705 §2.
BY_SECRET: Final = "client_secret_post"  # noqa: S105 - a name
BY_CERTIFICATE: Final = ("tls_client_auth", "self_signed_tls_client_auth")
#: A certificate made here: as long as public authorities gave one for a client.
CERTIFICATE_DAYS: Final = 730


@dataclass(frozen=True, slots=True)
class Provider:
    """A service, its addresses, and what of its word is taken."""

    id: str  # «psc», «keycloak»: small letters
    name: str  # on the button
    issuer: str
    client_id: str
    discovery: str = ""  # where its addresses are read; empty: they are given below
    authorize: str = ""
    token: str = ""
    keys: str = ""  # JWKS
    userinfo: str = ""  # empty: the claims of the id_token are enough
    logout: str = ""
    scope: str = "openid"
    #: More of the request to authorize, «acr_values=eidas1».
    extra: tuple[tuple[str, str], ...] = ()
    #: The id_token must say so; it then counts as two factors. Empty: it counts as one.
    acr: str = ""
    #: The claim whose value names a person.
    subject_claim: str = "sub"
    #: What comes before the number in that claim: Pro Santé Connect writes «8» + RPPS.
    subject_prefix: str = ""
    ca: str = ""  # PEM of the authority of its certificate; empty: the system's
    is_on: bool = True
    secret: str = ""  # sealed, base64
    #: With a certificate the line to the service is mutual TLS, whichever of them it is registered by.
    authentication: str = BY_SECRET
    certificate: str = ""  # PEM: the box's own, then its issuers'
    key: str = ""  # of it, PEM, sealed, base64

    def number_of(self, subject: str) -> str:
        """Return the person's number in a subject: the RPPS of «810000000001»; «» when it has none."""
        if not subject.startswith(self.subject_prefix):
            return ""
        return subject.removeprefix(self.subject_prefix)


def pro_sante_connect(*, is_sandbox: bool = False) -> Provider:
    """Return the preset of Pro Santé Connect, without a client id.

    Source: domain.md §6.1 (ansforge/keycloak-prosanteconnect, prosanteconnect/proof-of-concept). The addresses
    may change, so all of them can be changed; its discovery document has a name of its own.
    """
    house = "bas.psc" if is_sandbox else "esw"
    issuer = f"https://auth.{house}.esante.gouv.fr/auth/realms/esante-wallet"
    base = f"{issuer}/protocol/openid-connect"
    return Provider(
        id="psc",
        name="Pro Santé Connect",
        issuer=issuer,
        client_id="",
        authorize=f"https://wallet.{house}.esante.gouv.fr/auth",
        token=f"{base}/token",
        keys=f"{base}/certs",
        userinfo=f"{base}/userinfo",
        logout=f"{base}/logout",
        scope="openid scope_all",
        extra=(("acr_values", "eidas1"),),
        acr="eidas1",
        subject_claim="SubjectNameID",
        subject_prefix="8",
    )


def read(connection: Connection) -> list[Provider]:
    """Return the services that were set up, in their order; a spoiled one is left out."""
    found = facts.find(connection, FACT)
    if not isinstance(found, list):
        return []
    return [made for each in found if (made := _from(each)) is not None]


def get(connection: Connection, provider_id: str) -> Provider:
    """Return a service.

    Raises:
        NotFound: there is none of that id.
    """
    for each in read(connection):
        if each.id == provider_id:
            return each
    raise NotFound("service", provider_id)


def put(
    connection: Connection,
    provider: Provider,
    secret: Secret | None,
    folder: Path,
    *,
    key: Secret | None = None,
    by: PersonId,
    now: datetime,
) -> None:
    """Store a service inside the caller's write, in place of an older one of its id.

    Args:
        connection: of the write.
        provider: it.
        secret: the client's; None keeps the one stored.
        folder: of the web's key.
        key: of the certificate, PEM without a password; None keeps the one stored, if it is of this certificate.
        by: who did it.
        now: aware.

    Raises:
        InvalidInput: an address is not HTTPS, something is missing, or certificate and key do not fit.
    """
    check(provider)
    others = read(connection)
    former = next((each for each in others if each.id == provider.id), None)
    kept = "" if former is None else former.secret
    sealed = kept if secret is None else _sealed(secret, folder)
    sealed_key = ""
    if provider.certificate:
        used = key or (None if former is None else key_of(former, folder))
        if used is None:
            raise InvalidInput("key", mark("It is needed."))
        check_pair(provider.certificate.encode(), used, now=now)
        sealed_key = _sealed(used, folder)
    made = replace(provider, secret=sealed, key=sealed_key)
    rest = [each for each in others if each.id != provider.id]
    facts.put(connection, FACT, [_stored(each) for each in (*rest, made)], now=now)
    events.record(
        connection, at=now, event="oidc.set", subject=f"oidc:{provider.id}", person_id=by,
        issuer=provider.issuer, is_on=provider.is_on,
    )  # fmt: skip


def remove(connection: Connection, provider_id: str, *, by: PersonId, now: datetime) -> None:
    """Forget a service, its secret too.

    Raises:
        NotFound: there is none of that id.
    """
    get(connection, provider_id)
    rest = [each for each in read(connection) if each.id != provider_id]
    facts.put(connection, FACT, [_stored(each) for each in rest], now=now)
    events.record(
        connection, at=now, event="oidc.remove", subject=f"oidc:{provider_id}", person_id=by
    )


def secret_of(provider: Provider, folder: Path) -> Secret | None:
    """Return the client's secret; None: there is none, or it was sealed to another box's key."""
    return _opened(provider.secret, folder)


def key_of(provider: Provider, folder: Path) -> Secret | None:
    """Return the key of its client certificate, PEM; None: there is none, or it was sealed to another box's key."""
    return _opened(provider.key, folder)


def _sealed(secret: Secret, folder: Path) -> str:
    return b64encode(seal_for_web(secret, folder)).decode("ascii")


def _opened(kept: str, folder: Path) -> Secret | None:
    sealed = b64decode(kept)
    return open_for_web(sealed, folder) if sealed and opens(sealed, folder) else None


def check(provider: Provider) -> None:
    """Check what was typed.

    Raises:
        InvalidInput: with the field and what it must be.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{1,30}", provider.id):
        raise InvalidInput("id", mark("Use small letters, digits and dashes."))
    for name in ("name", "client_id", "subject_claim"):
        if not str(getattr(provider, name)).strip():
            raise InvalidInput(name, mark("It is needed."))
    if provider.authentication not in (BY_SECRET, *BY_CERTIFICATE):
        raise InvalidInput("authentication", mark("Choose how the box is known there."))
    if provider.authentication in BY_CERTIFICATE and not provider.certificate:
        raise InvalidInput("certificate", mark("It is needed."))
    needed = ("issuer", "discovery") if provider.discovery else (
        "issuer", "authorize", "token", "keys",
    )  # fmt: skip
    for name in ("issuer", "discovery", *ADDRESSES):
        address = str(getattr(provider, name))
        if not address and name not in needed:
            continue
        if not _is_secure(address):
            raise InvalidInput(name, mark("Use an address that begins with https://."))


def _is_secure(address: str) -> bool:
    try:
        parts = urlsplit(address)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is none
        return False
    return parts.scheme == "https" and has_host and not (parts.username or parts.fragment)


def _stored(provider: Provider) -> dict[str, object]:
    return {**asdict(provider), "extra": [list(pair) for pair in provider.extra]}


def _from(each: object) -> Provider | None:
    if not isinstance(each, Mapping):
        return None
    known: dict[str, Any] = {
        one.name: each[one.name] for one in fields(Provider) if one.name in each
    }
    try:
        known["extra"] = tuple((str(name), str(value)) for name, value in known.get("extra", ()))
        return Provider(**known)
    except (TypeError, ValueError):
        return None
