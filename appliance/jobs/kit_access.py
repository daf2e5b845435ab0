"""Credentials that can only read a target, for the kit file: a lost stick then empties no host.

Secrets of the vault: ``target:<id>:read-key`` · ``read-password`` · ``read-s3`` (as the ones the box sends
with) and ``read-user`` (the account of an SFTP host they are for; without it, the one the box uses).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from appliance.db import secrets as vault_rows
from appliance.db.targets import TargetId, TargetRow
from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.ledger import events
from appliance.model import PersonId
from appliance.settings import Settings
from appliance.vault.seal import seal
from appliance.vault.secret import Secret

#: What opens each kind for reading; another Armoire lets nobody remove anything, a disk asks for nothing.
READING: Final[Mapping[str, frozenset[str]]] = {
    "sftp": frozenset({"key", "password"}),
    "s3": frozenset({"s3"}),
}
USER: Final = "user"
_ALL: Final = ("key", "password", "s3", USER)


def reads_only(connection: Connection, target: TargetRow) -> bool:
    """Say whether the practice entered credentials that can only read this target."""
    return any(
        vault_rows.find_sealed(connection, name_of(target.id, each))
        for each in READING.get(target.kind, ())
    )


def name_of(target_id: TargetId, short: str) -> str:
    """Return the vault's name of a secret for reading."""
    return f"target:{target_id}:read-{short}"


def set_reading(
    connection: Connection,
    settings: Settings,
    target: TargetRow,
    secrets: Mapping[str, Secret],
    *,
    user: str = "",
    now: datetime,
    person_id: PersonId | None = None,
) -> None:
    """Keep credentials for reading, in the place of older ones; the kit file is then to be written again.

    Raises:
        InvalidInput: this kind of target takes none such.
    """
    if len(secrets) != 1 or not set(secrets) <= READING.get(target.kind, frozenset()):
        raise InvalidInput("target", mark("no such secret for this kind of destination."))
    forget_reading(connection, target.id)
    kept = dict(secrets)
    if user and target.kind == "sftp":
        kept[USER] = Secret(user.encode())
    for short, secret in kept.items():
        vault_rows.put_sealed(
            connection, name_of(target.id, short), seal(secret, settings.keys), now=now
        )
    events.record(
        connection,
        at=now,
        event="kit.access-set",
        subject=f"target:{target.id}",
        person_id=person_id,
    )


def forget_reading(connection: Connection, target_id: TargetId) -> None:
    """Erase the credentials for reading of a target; none is fine."""
    vault_rows.forget(connection, [name_of(target_id, each) for each in _ALL])
