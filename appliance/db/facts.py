"""Small facts about the box: «box.id», «practice.name», «clock.last»."""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from appliance.db.schema import fact

#: Names that rooms side by side know. The e-mail server was tried: at, problem. The outside monitor: set_at, last_at,
#: problem. Name and port the practice's router is reached under, for the tunnel.
MAIL_TRIED: Final = "notices.mail-tried"
PING: Final = "notices.ping"
TUNNEL_ENDPOINT: Final = "tunnel.endpoint"


def find(connection: Connection, name: str) -> object | None:
    """Return a fact or None."""
    found: object | None = connection.execute(
        select(fact.c.value).where(fact.c.name == name)
    ).scalar()
    return found


def find_at(connection: Connection, name: str) -> datetime | None:
    """Return when a fact was stored last, or None."""
    found: datetime | None = connection.execute(
        select(fact.c.at).where(fact.c.name == name)
    ).scalar()
    return found


def put(connection: Connection, name: str, value: object, *, now: datetime) -> None:
    """Store a fact, in place of an older one."""
    connection.execute(delete(fact).where(fact.c.name == name))
    connection.execute(insert(fact).values(name=name, value=value, at=now))
