"""The password of the file explorer: a person's own for SMB alone, never the one they sign in with.

Samba keeps MD4 of it (the NT hash, [MS-NLMP] 3.3.1): unsalted and fast to guess, so the box makes it up at random
and nobody uses it elsewhere. From the page to Samba it travels sealed to the worker, and is forgotten there.
"""

import re
import secrets as randomness
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from appliance.db import facts, secrets
from appliance.db.schema import secret
from appliance.ledger import events
from appliance.model import PersonId

#: Letters that are not taken for others when read aloud or from paper.
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS: Final = 5
_PER_GROUP: Final = 4
#: Bits: 20 letters out of 31, log2(31) × 20.
BITS: Final = 99
_NAME: Final = re.compile(r"smb:(\d+):password")


def make() -> str:
    """Return a new password, «xxxx-xxxx-xxxx-xxxx-xxxx»: 99 bits, which no table of NT hashes reaches."""
    return "-".join(
        "".join(randomness.choice(_LETTERS) for _ in range(_PER_GROUP)) for _ in range(_GROUPS)
    )


def secret_name(person_id: PersonId) -> str:
    """Return the name under which it waits for the worker, sealed."""
    return f"smb:{person_id}:password"


def fact_name(person_id: PersonId) -> str:
    """Return the fact that says since when a person has one."""
    return f"smb.password.{person_id}"


def ask(connection: Connection, person_id: PersonId, sealed: bytes, *, now: datetime) -> None:
    """Leave a new password, sealed to the box, for the worker; an empty one takes the former away.

    Who asks queues ``SmbApply``, or waits the two seconds until the worker looks.
    """
    secrets.put_sealed(connection, secret_name(person_id), sealed, now=now)
    events.record(
        connection,
        at=now,
        event="smb.password",
        subject=f"person:{person_id}",
        person_id=person_id,
    )


def waiting(connection: Connection) -> dict[PersonId, datetime]:
    """Return the people whose new password waits for the worker, and since when it does."""
    query = select(secret.c.name, secret.c.created_at).where(secret.c.name.like("smb:%:password"))
    found = {}
    for name, created_at in connection.execute(query.order_by(secret.c.name)):
        if (match := _NAME.fullmatch(name)) is not None:
            found[PersonId(int(match.group(1)))] = created_at
    return found


def since(connection: Connection, person_id: PersonId) -> datetime | None:
    """Return since when a person has a password for the file explorer; None: they have none."""
    found = facts.find(connection, fact_name(person_id))
    return datetime.fromisoformat(found) if isinstance(found, str) else None
