"""Sessions: a random cookie whose SHA-256 is stored, ended on the server (domain.md SEC-08)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, exists, insert, select, update

from appliance.accounts import sign_in_rules
from appliance.db import local_networks, terms
from appliance.db.engine import Database, Moment
from appliance.db.schema import person, session, sign_in_link
from appliance.errors import NotFound
from appliance.model import Person, PersonId, Role
from appliance.policy import second_factor
from appliance.policy.second_factor import Means
from appliance.policy.share_rights import LocumTerm, running_term
from appliance.units import MINUTE_S
from appliance.vault.tokens import digest, make_token

#: Without a click, a session ends (domain.md SEC-08: 30 minutes at most; the practice may choose less).
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
    factors: str = "password"  # what was shown: «password», «password+totp», «passkey+verified»…
    is_half: bool = False  # the second factor is still due
    proven_at: datetime | None = None  # when the person last showed who they are

    @property
    def means(self) -> Means:
        """What was shown, to decide on."""
        return Means(self.factors)


def start(
    connection: Connection,
    person_id: PersonId,
    *,
    now: datetime,
    address: str,
    user_agent: str,
    factors: str = "password",
    is_half: bool = False,
    at_most: timedelta | None = None,
) -> str:
    """Begin a session inside the caller's write and return the cookie's value.

    Args:
        connection: of the write.
        person_id: whose it is.
        now: aware.
        address: where they are: the session lives shorter from outside the declared local networks.
        user_agent: the browser's word for itself.
        factors: what was shown, joined by «+».
        is_half: the second factor is still due: it lives some minutes and opens that page only.
        at_most: it lives no longer than this, whatever the practice chose.
    """
    token = make_token()
    life = _life(connection, address, is_half=is_half)
    connection.execute(
        insert(session).values(
            token_hash=digest(token),
            person_id=person_id,
            created_at=now,
            seen_at=now,
            ends_at=now + (life if at_most is None else min(life, at_most)),
            address=address[:64],
            user_agent=user_agent[:300],
            factors=factors[:40],
            is_half=is_half,
            proven_at=now,
        )
    )
    return token


def complete(connection: Connection, half: Session, *, factor: str, now: datetime) -> str:
    """Make a half session whole inside the caller's write: the second factor was right.

    The cookie's value changes, so that one seen before is worth nothing; return the new one.

    Raises:
        NotFound: it was ended in between.
    """
    token = make_token()
    changed = connection.execute(
        update(session)
        .where(session.c.id == half.id, session.c.revoked_at.is_(None), session.c.ends_at > now)
        .values(
            token_hash=digest(token),
            seen_at=now,
            ends_at=now + _life(connection, half.address, is_half=False),
            factors=f"{half.factors}+{factor}"[:40],
            is_half=False,
            proven_at=now,
        )
    )
    if changed.rowcount == 0:
        raise NotFound("session", str(half.id))
    return token


def make_half(connection: Connection, session_id: int, *, address: str, now: datetime) -> None:
    """Ask a living session for its second factor, from where it is used now; it opens nothing else."""
    connection.execute(
        update(session)
        .where(session.c.id == session_id, session.c.revoked_at.is_(None))
        .values(
            is_half=True,
            address=address[:64],
            ends_at=now + second_factor.HALF_LIFE,
            seen_at=now,
        )
    )


def prove(connection: Connection, session_id: int, *, now: datetime) -> None:
    """Record that the person of this session showed again who they are."""
    connection.execute(update(session).where(session.c.id == session_id).values(proven_at=now))


def _life(connection: Connection, address: str, *, is_half: bool) -> timedelta:
    if is_half:
        return second_factor.HALF_LIFE
    rules = sign_in_rules.read(connection)
    return rules.life(is_local=local_networks.is_local(connection, address))


@dataclass(frozen=True, slots=True)
class Known:
    """A session that was not ended, as stored: whether it lives is asked for a moment."""

    holder: Person
    session: Session
    idle: timedelta
    terms: tuple[LocumTerm, ...]  # of a locum

    def living(self, now: datetime) -> tuple[Person, Session] | None:
        """Return who holds it, or None at ``now``: over, idle too long, not begun, or a locum's term is over."""
        session = self.session
        if (
            session.ends_at <= now
            or session.created_at > now + TOUCH_EVERY  # a clock set back revives nothing
            or session.seen_at <= now - self.idle
        ):
            return None
        if self.holder.role is Role.LOCUM and running_term(self.terms, now) is None:
            return None  # at the minute, not when somebody tidies up
        return self.holder, session


def find(connection: Connection, token: str, *, now: datetime) -> tuple[Person, Session] | None:
    """Return who holds this cookie, or None: unknown, ended, idle too long, revoked, or disabled."""
    found = known(connection, digest(token))
    return None if found is None else found.living(now)


def find_now(
    database: Database | Moment, token: str, *, now: datetime
) -> tuple[Person, Session] | None:
    """Return what ``find`` does; the database is read again only when somebody wrote into it."""
    key = digest(token)
    found = database.recall(("session", key), lambda connection: known(connection, key))
    return None if found is None else found.living(now)


def known(connection: Connection, token_hash: str) -> Known | None:
    """Return the session with this hash, or None: there is none, it was ended, or its person is disabled."""
    row = connection.execute(_FIND, {"digest": token_hash}).first()
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
    is_locum = holder.role is Role.LOCUM
    return Known(
        holder,
        _session(row),
        sign_in_rules.from_fact(row.rules).idle,
        tuple(terms.of_locum(connection, holder.id)) if is_locum else (),
    )


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


def end_begun_by_links_of(
    connection: Connection, maker: PersonId, *, but: int | None, now: datetime
) -> int:
    """End the sessions that began with a one-time link of ``maker``, except ``but``; return how many ended."""
    query = update(session).where(
        session.c.revoked_at.is_(None),
        session.c.ends_at > now,
        session.c.factors.startswith("link"),
        # A link is used in the same write, at the same moment, as its session begins (sign_in.by_link).
        exists().where(
            sign_in_link.c.made_by == maker,
            sign_in_link.c.person_id == session.c.person_id,
            sign_in_link.c.used_at == session.c.created_at,
        ),
    )
    if but is not None:
        query = query.where(session.c.id != but)
    return connection.execute(query.values(revoked_at=now)).rowcount


def end_everybodys(connection: Connection, *, but: int | None, now: datetime) -> int:
    """End every session of everybody except ``but``; return how many ended."""
    query = update(session).where(session.c.revoked_at.is_(None), session.c.ends_at > now)
    if but is not None:
        query = query.where(session.c.id != but)
    return connection.execute(query.values(revoked_at=now)).rowcount


def living(connection: Connection, person_id: PersonId, *, now: datetime) -> list[Session]:
    """Return the living sessions of a person, newest first."""
    idle = sign_in_rules.read(connection).idle
    query = (
        select(session)
        .where(session.c.person_id == person_id, session.c.seen_at > now - idle, *_living(now))
        .order_by(session.c.id.desc())
    )
    return [_session(row) for row in connection.execute(query)]


#: Asked with every request: built once, for putting it together takes longer than asking it.
_FIND: Final = (
    select(
        session,
        person.c.id.label("p_id"),
        person.c.login,
        person.c.name,
        person.c.role,
        person.c.language,
        person.c.created_at.label("p_created_at"),
        person.c.disabled_at,
        sign_in_rules.query().label("rules"),
    )
    .join(person, person.c.id == session.c.person_id)
    .where(
        session.c.token_hash == bindparam("digest"),
        session.c.revoked_at.is_(None),
        person.c.disabled_at.is_(None),
    )
)


def _living(now: datetime) -> tuple[Any, ...]:
    return (
        session.c.revoked_at.is_(None),
        session.c.ends_at > now,
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
        factors=row.factors,
        is_half=bool(row.is_half),
        proven_at=row.proven_at,
    )
