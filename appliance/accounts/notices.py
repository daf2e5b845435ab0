"""Notices: what a person is told by the box, on its pages and, where that was set up, by e-mail.

A notice names accounts, shares and moments, never a patient and never a document: it may leave the box.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from appliance.db.schema import person
from appliance.db.schema_people import notice
from appliance.model import Person, PersonId, Role
from appliance.policy.roles import Action, may

#: What others join with.
table = notice


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing somebody is told."""

    id: int
    person_id: PersonId | None  # None: those who run the box
    code: str  # area.reason, stable
    text: str  # English template over ``facts``, translatable
    at: datetime
    facts: Mapping[str, object] = field(default_factory=dict)  # a name ending in «_at» is a moment
    seen_at: datetime | None = None
    sent_at: datetime | None = None


def put(
    connection: Connection,
    code: str,
    text: str,
    facts: Mapping[str, object] | None = None,
    *,
    person_id: PersonId | None,
    now: datetime,
    is_seen: bool = False,
    is_spread: bool = False,
) -> int:
    """Tell a person something, inside the caller's write; return the notice's number.

    Args:
        connection: of the write.
        code: ``area.reason``, such as ``emergency.begun``.
        text: English template, marked for translation where it is written.
        facts: what its places are filled with; aware moments under names that end in ``_at``.
        person_id: whom; None: those who run the box (owners and technical administrators).
        now: aware.
        is_seen: what the box shows on another page already, or the person did: no bell rings.
        is_spread: it was settled by which ways it leaves, if any.
    """
    result = connection.execute(
        insert(notice).values(
            person_id=person_id,
            code=code,
            text=text,
            facts=stored_facts(facts or {}),
            at=now,
            seen_at=now if is_seen else None,
            spread_at=now if is_spread else None,
        )
    )
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    return int(result.inserted_primary_key[0])


def stored_facts(facts: Mapping[str, object]) -> dict[str, object]:
    """Return facts as JSON values: moments as text, lengths of time as ``{"seconds": n}``."""
    return {
        name: value.isoformat()
        if isinstance(value, datetime)
        else {"seconds": value.total_seconds()}
        if isinstance(value, timedelta)
        else value
        for name, value in facts.items()
    }


def read_facts(stored: Mapping[str, Any]) -> dict[str, object]:
    """Return what ``stored_facts`` was given."""
    found: dict[str, object] = {}
    for name, value in stored.items():
        if name.endswith("_at") and isinstance(value, str):
            found[name] = datetime.fromisoformat(value)
        elif isinstance(value, dict) and set(value) == {"seconds"}:
            found[name] = timedelta(seconds=value["seconds"])
        else:
            found[name] = value
    return found


def put_all(
    connection: Connection,
    code: str,
    text: str,
    facts: Mapping[str, object] | None,
    to: Iterable[PersonId],
    *,
    now: datetime,
) -> None:
    """Tell several people the same, each once; nobody at all means those who run the box."""
    whom = list(dict.fromkeys(to))
    for each in whom:
        put(connection, code, text, facts, person_id=each, now=now)
    if not whom:
        put(connection, code, text, facts, person_id=None, now=now)


def of_person(connection: Connection, whom: Person, *, limit: int = 100) -> list[Notice]:
    """Return what a person was told, the newest first; with what concerns those who run the box, if they do."""
    query = select(notice).where(_theirs(whom)).order_by(notice.c.id.desc()).limit(limit)
    return [from_row(row) for row in connection.execute(query)]


def unseen(connection: Connection, whom: Person) -> int:
    """Return how many notices a person has not seen."""
    query = select(func.count()).select_from(notice)
    return connection.execute(query.where(_theirs(whom), notice.c.seen_at.is_(None))).scalar_one()


def see(
    connection: Connection, whom: Person, notice_id: int | None = None, *, now: datetime
) -> int:
    """Mark one notice of this person as seen, or all of them; return how many were new."""
    query = update(notice).where(_theirs(whom), notice.c.seen_at.is_(None))
    if notice_id is not None:
        query = query.where(notice.c.id == notice_id)
    return connection.execute(query.values(seen_at=now)).rowcount


def sent(connection: Connection, notice_ids: Collection[int], *, now: datetime) -> None:
    """Record that notices left the box."""
    connection.execute(update(notice).where(notice.c.id.in_(notice_ids)).values(sent_at=now))


def who_run_the_box(connection: Connection) -> list[PersonId]:
    """Return the living owners and technical administrators: who a notice to nobody is for."""
    roles = [role.value for role in Role if may(role, Action.SETTINGS_CHANGE)]
    query = select(person.c.id).where(person.c.role.in_(roles), person.c.disabled_at.is_(None))
    return [PersonId(each) for each in connection.execute(query.order_by(person.c.id)).scalars()]


def _theirs(whom: Person) -> Any:  # noqa: ANN401 - a condition of SQLAlchemy
    mine = notice.c.person_id == whom.id
    if may(whom.role, Action.SETTINGS_CHANGE):
        return or_(mine, notice.c.person_id.is_(None))
    return mine


def from_row(row: Row[Any]) -> Notice:
    """Return the notice in a row that has the table's columns."""
    return Notice(
        row.id,
        None if row.person_id is None else PersonId(row.person_id),
        row.code,
        row.text,
        row.at,
        read_facts(row.facts),
        row.seen_at,
        row.sent_at,
    )
