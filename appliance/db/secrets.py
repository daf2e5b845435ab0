"""Sealed secrets: this room stores them, only the vault opens them.

Names: ``repository:<source>:passphrase`` · ``repository:<source>:key`` (Borg's exported key) ·
``machine:<source>:ssh-key`` · ``machine:<source>:recipe:<name>``.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from appliance.db.schema import secret
from appliance.errors import SecretMissing


def put_sealed(connection: Connection, name: str, sealed: bytes, *, now: datetime) -> None:
    """Store a sealed secret, in place of an older one of that name."""
    connection.execute(delete(secret).where(secret.c.name == name))
    connection.execute(insert(secret).values(name=name, sealed=sealed, created_at=now))


def find_sealed(connection: Connection, name: str) -> bytes | None:
    """Return a sealed secret or None."""
    return connection.execute(select(secret.c.sealed).where(secret.c.name == name)).scalar()


def get_sealed(connection: Connection, name: str) -> bytes:
    """Return a sealed secret.

    Raises:
        SecretMissing: there is none of that name.
    """
    found = find_sealed(connection, name)
    if found is None:
        raise SecretMissing(name)
    return found


def forget(connection: Connection, names: Iterable[str]) -> None:
    """Erase secrets; those that are not there are fine."""
    connection.execute(delete(secret).where(secret.c.name.in_(list(names))))
