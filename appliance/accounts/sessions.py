"""Sessions: a random cookie whose SHA-256 is stored, ended on the server (domain.md SEC-08)."""

import hashlib
import ipaddress
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from appliance.db.schema import person, session
from appliance.errors import NotFound
from appliance.model import Person, PersonId, Role
from appliance.policy import throttle
from appliance.units import MINUTE_S

#: Without a click, a session ends (domain.md SEC-08: 15 minutes by default, 30 at most; people of a
#: practice walk between rooms all day, so it is the most that is allowed).
IDLE: Final = throttle.IDLE_AT_MOST
#: A click is written down once in so long: a write per page would wear the disk for nothing.
TOUCH_EVERY: Final = timedelta(seconds=MINUTE_S)


@dataclass(frozen=True, slots=True)
class Session:
    """A living session of a person."""

    id: int
    person_id: PersonId
    created_at: datetime
    seen_at: datetime
    ends_at: datetime
    address: str
    user_agent: str


def make_token() -> str:
    """Return 256 random bits, as text for a cookie or a link."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """Return what is stored of a token: its SHA-256 in hex. It is random, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_local(address: str) -> bool:
    """Return whether an address is of a private network: a session from elsewhere is shorter."""
    try:
        return ipaddress.ip_address(address).is_private
    except ValueError:
        return False


def start(
    connection: Connection, person_id: PersonId, *, now: datetime, address: str, user_agent: str
) -> str:
    """Begin a session inside the caller's write and return the cookie's value."""
    token = make_token()
    connection.execute(
        insert(session).values(
            token_hash=digest(token),
            person_id=person_id,
            created_at=now,
            seen_at=now,
            ends_at=now
            + (throttle.LOCAL_SESSION if is_local(address) else throttle.REMOTE_SESSION),
            address=address[:64],
            user_agent=user_agent[:300],
        )
    )
    return token


def find(connection: Connection, token: str, *, now: datetime) -> tuple[Person, Session] | None:
    """Return who holds this cookie, or None: unknown, ended, idle too long, revoked, or disabled."""
    row = connection.execute(
        select(
            session,
            person.c.id.label("p_id"),
            person.c.login,
            person.c.name,
            person.c.role,
            person.c.language,
            person.c.created_at.label("p_created_at"),
            person.c.disabled_at,
        )
        .join(person, person.c.id == session.c.person_id)
        .where(session.c.token_hash == digest(token), *_living(now), person.c.disabled_at.is_(None))
    ).first()
    if row is None:
        return None
    holder = Person(
        id=PersonId(row.p_id),
        login=row.login,
        name=row.name,
        role=Role(row.role),
        language=row.language,
        created_at=row.p_created_at,
        disabled_at=None,
    )
    return holder, _session(row)


def touch(connection: Connection, session_id: int, *, now: datetime) -> None:
    """Record a click."""
    connection.execute(update(session).where(session.c.id == session_id).values(seen_at=now))


def end(connection: Connection, session_id: int, *, now: datetime) -> None:
    """End a session (sign-out); ending it twice changes nothing."""
    connection.execute(
        update(session)
        .where(session.c.id == session_id, session.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )


def revoke(connection: Connection, person_id: PersonId, session_id: int, *, now: datetime) -> None:
    """End one of this person's sessions.

    Raises:
        NotFound: this person has no such session.
    """
    changed = connection.execute(
        update(session)
        .where(
            session.c.id == session_id,
            session.c.person_id == person_id,
            session.c.revoked_at.is_(None),
        )
        .values(revoked_at=now)
    )
    if changed.rowcount == 0:
        raise NotFound("session", str(session_id))


def end_others(
    connection: Connection, person_id: PersonId, *, but: int | None, now: datetime
) -> int:
    """End every session of a person except ``but``; return how many ended."""
    query = update(session).where(session.c.person_id == person_id, session.c.revoked_at.is_(None))
    if but is not None:
        query = query.where(session.c.id != but)
    return connection.execute(query.values(revoked_at=now)).rowcount


def living(connection: Connection, person_id: PersonId, *, now: datetime) -> list[Session]:
    """Return the living sessions of a person, newest first."""
    query = (
        select(session)
        .where(session.c.person_id == person_id, *_living(now))
        .order_by(session.c.id.desc())
    )
    return [_session(row) for row in connection.execute(query)]


def _living(now: datetime) -> tuple[Any, ...]:
    return (
        session.c.revoked_at.is_(None),
        session.c.ends_at > now,
        session.c.seen_at > now - IDLE,
        session.c.created_at <= now + TOUCH_EVERY,  # a clock set back revives nothing
    )


def _session(row: Row[Any]) -> Session:
    return Session(
        id=row.id,
        person_id=PersonId(row.person_id),
        created_at=row.created_at,
        seen_at=row.seen_at,
        ends_at=row.ends_at,
        address=row.address,
        user_agent=row.user_agent,
    )
