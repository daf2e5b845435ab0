"""The account in the safe: made, opened once, ended (domain.md SEC-04).

Each envelope is an account of its own, so that the journal says which one did what. Its login has a part nobody
guesses: who does not hold the paper cannot even lock it by wrong codes.
"""

import secrets
from base64 import b32encode
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select, update

from appliance.accounts import links, notices, passwords, people, sessions
from appliance.db import practice
from appliance.db.schema import person
from appliance.db.schema_people import sealed_envelope
from appliance.errors import InvalidInput, NotFound
from appliance.language import mark, translate
from appliance.ledger import events, questions
from appliance.model import LedgerEntry, Person, PersonId, Role
from appliance.policy.sealed_envelope import LONGEST_PLACE

OPENED: Final = "account.envelope-opened"
#: What it may do that outlives its session.
LASTING: Final = frozenset({"person.add", "link.made", "second-factor.reset"})
_CODE_BYTES: Final = 15  # 120 bits: 24 signs of base32
_LOGIN_BYTES: Final = 5
#: Signs that are no base32 and are read for one.
_MISREAD: Final = str.maketrans("018", "OIB")


@dataclass(frozen=True, slots=True)
class Envelope:
    """One envelope."""

    id: int  # its number on the paper
    person_id: PersonId
    login: str
    place: str  # where it is kept
    sealed_at: datetime
    sealed_by: PersonId | None  # None: at the console of the box
    opened_at: datetime | None
    opened_from: str | None  # network address
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Draft:
    """A code that no account has yet; ``code`` goes on paper and nowhere else."""

    login: str
    code: str
    code_hash: str


def draft() -> Draft:
    """Make a login and a code. Takes tens of milliseconds: call it in a thread, outside any write."""
    code = b32encode(secrets.token_bytes(_CODE_BYTES)).decode("ascii")
    login = f"enveloppe-{b32encode(secrets.token_bytes(_LOGIN_BYTES)).decode('ascii').lower()}"
    shown = "-".join(code[at : at + 4] for at in range(0, len(code), 4))
    return Draft(login, shown, passwords.make_hash(code))


def plain(typed: str) -> str:
    """Return a code as it is compared: capitals, spaces and dashes do not matter."""
    kept = "".join(each for each in typed if each not in "-–— \t").upper()
    return kept.translate(_MISREAD)


def seal(
    connection: Connection,
    made: Draft,
    *,
    place: str,
    by: PersonId | None,
    now: datetime,
    but: int | None = None,
) -> Envelope:
    """Put a new envelope in force inside the caller's write; the former one ends, as by ``withdraw``.

    Args:
        connection: of the write.
        made: of ``draft``.
        place: where it will be kept.
        by: an owner; None: at the console of the box.
        now: aware.
        but: a session that goes on: of who seals.

    Raises:
        InvalidInput: nobody said where it will be kept.
    """
    place = " ".join(place.split())
    if not 3 <= len(place) <= LONGEST_PLACE or not place.isprintable():
        raise InvalidInput(
            "place", mark("Say where it will be kept, such as «safe of the practice».")
        )
    former = find(connection)
    ended = {} if former is None else _end(connection, former, but=but, now=now)
    number = connection.execute(
        select(func.coalesce(func.max(sealed_envelope.c.id), 0))
    ).scalar_one()
    language = practice.language(connection)
    account = people.add(
        connection,
        login=made.login,
        name=translate(mark("Sealed envelope %(number)s"), language, number=number + 1),
        role=Role.SEALED_ENVELOPE,
        language=language,
        password_hash=made.code_hash,
        now=now,
    )
    connection.execute(
        sealed_envelope.insert().values(
            id=number + 1, person_id=account.id, place=place, sealed_at=now, sealed_by=by
        )
    )
    _record(
        connection, "envelope.sealed", account.id, by, now, replaced=former and former.id, **ended
    )
    return get(connection)


def withdraw(
    connection: Connection, *, by: PersonId | None, now: datetime, but: int | None = None
) -> None:
    """End the envelope in force inside the caller's write: its code opens nothing any more.

    Nor do the one-time links made with it, and the sessions that began by them end. Accounts it opened stay:
    whether a successor's is one, only a person can say.

    Args:
        connection: of the write.
        by: an owner; None: at the console of the box.
        now: aware.
        but: a session that goes on: of who withdraws, whom the envelope may have let in.

    Raises:
        NotFound: there is none.
    """
    found = get(connection)
    ended = _end(connection, found, but=but, now=now)
    _record(connection, "envelope.withdrawn", found.person_id, by, now, **ended)


def deeds(connection: Connection, envelope: Envelope) -> list[LedgerEntry]:
    """Return what was done with an envelope that lasts, the newest first: whom it let in, and how."""
    done = questions.of_person(connection, envelope.person_id, since=envelope.opened_at)
    return [each for each in done if each.event in LASTING]


def open_once(connection: Connection, holder: Person, *, address: str, now: datetime) -> bool:
    """Use the envelope of this account up inside the caller's write and tell everybody responsible.

    Returns:
        False: it was opened before; nothing was written.
    """
    changed = connection.execute(
        update(sealed_envelope)
        .where(
            sealed_envelope.c.person_id == holder.id,
            sealed_envelope.c.opened_at.is_(None),
            sealed_envelope.c.ended_at.is_(None),
        )
        .values(opened_at=now, opened_from=address[:64])
    )
    if changed.rowcount != 1:
        return False
    _record(connection, "envelope.opened", holder.id, holder.id, now, address=address)
    text = mark(
        "The sealed envelope was opened on %(opened_at)s, from %(address)s. If nobody should have, withdraw it."
    )
    told = {"opened_at": now, "address": address[:64], "href": "/envelope"}
    # On the page of each who runs the box and by the practice's ways; then by what each of them chose.
    notices.put(connection, OPENED, text, told, person_id=None, now=now)
    for each in notices.who_run_the_box(connection):
        notices.put(
            connection,
            OPENED,
            text,
            told | {"escalates": True},
            person_id=each,
            now=now,
            is_seen=True,
        )
    return True


def find(connection: Connection) -> Envelope | None:
    """Return the envelope in force, opened or not, or None."""
    living = every(connection)
    return next((each for each in living if each.ended_at is None), None)


def get(connection: Connection) -> Envelope:
    """Return the envelope in force.

    Raises:
        NotFound: there is none.
    """
    found = find(connection)
    if found is None:
        raise NotFound("sealed envelope", "")
    return found


def every(connection: Connection) -> list[Envelope]:
    """Return all that ever were, the newest first."""
    query = select(sealed_envelope, person.c.login, person.c.disabled_at).join(
        person, person.c.id == sealed_envelope.c.person_id
    )
    return [
        _envelope(row) for row in connection.execute(query.order_by(sealed_envelope.c.id.desc()))
    ]


def _end(
    connection: Connection, envelope: Envelope, *, but: int | None, now: datetime
) -> dict[str, int]:
    """End it and what it made; return how many links and sessions ended."""
    people.disable(connection, envelope.person_id, now=now)
    sessions.end_others(connection, envelope.person_id, but=None, now=now)
    connection.execute(
        update(sealed_envelope)
        .where(sealed_envelope.c.id == envelope.id, sealed_envelope.c.ended_at.is_(None))
        .values(ended_at=now)
    )
    return {
        "links": links.end_made_by(connection, envelope.person_id, now=now),
        "sessions": sessions.end_begun_by_links_of(
            connection, envelope.person_id, but=but, now=now
        ),
    }


def _record(
    connection: Connection,
    event: str,
    about: PersonId,
    by: PersonId | None,
    now: datetime,
    **body: object,
) -> None:
    events.record(
        connection,
        at=now,
        event=event,
        subject=f"person:{about}",
        person_id=by,
        actor=None if by is not None else "console",
        **body,
    )


def _envelope(row: Row[Any]) -> Envelope:
    return Envelope(
        row.id,
        PersonId(row.person_id),
        row.login,
        row.place,
        row.sealed_at,
        None if row.sealed_by is None else PersonId(row.sealed_by),
        row.opened_at,
        row.opened_from,
        row.ended_at
        or row.disabled_at,  # closed as any other account, its envelope is worth nothing
    )
