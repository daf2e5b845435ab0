"""One-time links: how the first account is made, and how a person who lost a password comes back.

The token travels behind «#»: a browser never sends that part, so no log and no history of a server
has it (beam 7, domain.md SEC-13). Only its SHA-256 is stored.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, insert, select, update

from appliance.accounts import people
from appliance.db.schema import sign_in_link
from appliance.errors import LinkExpired
from appliance.model import Person, PersonId
from appliance.units import HOUR_S
from appliance.vault import tokens

#: A link not used by then is worth nothing.
LIFE: Final = timedelta(seconds=24 * HOUR_S)


@dataclass(frozen=True, slots=True)
class Link:
    """A link that may still be used."""

    id: int
    person_id: PersonId | None  # None: makes the first account


def address(base_url: str, token: str) -> str:
    """Return what a person opens: ``https://box:8443/link#…``."""
    return f"{base_url.rstrip('/')}/link#{token}"


def make_first_link(connection: Connection, *, now: datetime) -> str:
    """Make the link with which the first account is made and return its token; older ones end.

    Safe while accounts exist: using it is refused then.
    """
    connection.execute(
        update(sign_in_link)
        .where(sign_in_link.c.person_id.is_(None), sign_in_link.c.used_at.is_(None))
        .values(used_at=now)
    )
    return _make(connection, None, now)


def make_link_for(
    connection: Connection,
    person: Person,
    now: datetime,
    *,
    ends_at: datetime | None = None,
    by: PersonId | None = None,
) -> str:
    """Make a link that signs ``person`` in once, and return its token; older ones of theirs end.

    Args:
        connection: of the write.
        person: whom.
        now: aware.
        ends_at: when it is worth nothing any more; None: in LIFE. A locum's, prepared some days ahead,
            lives until a day after the term has begun.
        by: who makes it; None: at the console of the box.

    Raises:
        NotAllowed: it is the account of a sealed envelope: its code is the only way in.
    """
    people.demand_nominative(connection, person.id)
    connection.execute(
        update(sign_in_link)
        .where(sign_in_link.c.person_id == person.id, sign_in_link.c.used_at.is_(None))
        .values(used_at=now)
    )
    return _make(connection, person.id, now, ends_at, by)


def end_made_by(connection: Connection, maker: PersonId, *, now: datetime) -> int:
    """Make the links somebody made worth nothing, inside the caller's write; return how many were still good."""
    return connection.execute(
        update(sign_in_link)
        .where(
            sign_in_link.c.made_by == maker,
            sign_in_link.c.used_at.is_(None),
            sign_in_link.c.ends_at > now,
        )
        .values(used_at=now)
    ).rowcount


def check(connection: Connection, token: str, *, now: datetime) -> Link:
    """Return the link without using it.

    Raises:
        LinkExpired: it was used, has ended, never was, or would make a second first account.
    """
    row = connection.execute(
        select(sign_in_link).where(sign_in_link.c.token_hash == tokens.digest(token.strip()))
    ).first()
    if row is None or row.used_at is not None or row.ends_at <= now:
        raise LinkExpired
    if row.person_id is None and people.count(connection) > 0:
        raise LinkExpired
    return Link(row.id, None if row.person_id is None else PersonId(row.person_id))


def use(connection: Connection, token: str, *, now: datetime) -> Link:
    """Use the link up, inside the caller's write.

    Raises:
        LinkExpired: as ``check``; of two people at the same moment, one gets this.
    """
    link = check(connection, token, now=now)
    changed = connection.execute(
        update(sign_in_link)
        .where(sign_in_link.c.id == link.id, sign_in_link.c.used_at.is_(None))
        .values(used_at=now)
    )
    if changed.rowcount != 1:
        raise LinkExpired
    return link


def _make(
    connection: Connection,
    person_id: PersonId | None,
    now: datetime,
    ends_at: datetime | None = None,
    by: PersonId | None = None,
) -> str:
    token = tokens.make_token()
    connection.execute(
        insert(sign_in_link).values(
            token_hash=tokens.digest(token),
            person_id=person_id,
            created_at=now,
            ends_at=ends_at or now + LIFE,
            made_by=by,
        )
    )
    return token
