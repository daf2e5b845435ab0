"""Locums: a doctor with an account of their own, from one date to another (domain.md SEC-02).

A term opens and closes by itself at its minute: every door asks ``db.terms`` at each request. ``close_due``
only tidies up behind it: sessions, app passwords, links and devices are ended, and the report is told.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from appliance.accounts import notices, people, sessions
from appliance.db import facts, shares
from appliance.db.schema import person, sign_in_link
from appliance.db.schema_disk import link
from appliance.db.schema_people import app_password, locum, tunnel_device
from appliance.db.terms import is_open
from appliance.errors import AccountNotOpen, InvalidInput, NotAllowed, NotFound
from appliance.language import mark
from appliance.ledger import events, questions
from appliance.model import Person, PersonId, Role
from appliance.policy.locum import (
    MOST_DAYS,
    MOST_DAYS_BOUNDS,
    REPLACED,
    chosen_rights,
    dates_problem,
    rpps_problem,
)
from appliance.policy.roles import Action, may
from appliance.policy.share_rights import Right, rights_on

#: Fact: {"most_days": 90, "case_copies": false}.
RULES: Final = "locum.rules"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the practice chose about locums."""

    most_days: int = MOST_DAYS  # a term lasts at most
    case_copies: bool = False  # whether a term may allow copies into the locum's own folder


@dataclass(frozen=True, slots=True)
class Term:
    """A locum's term, as it was agreed."""

    id: int
    person_id: PersonId
    replaces_id: PersonId
    sponsor_id: PersonId
    rpps: str
    starts_at: datetime
    ends_at: datetime  # the first moment outside
    rights: Mapping[int, frozenset[Right]]  # share → chosen
    may_copy_cases: bool
    closed_at: datetime | None

    def is_running(self, now: datetime) -> bool:
        """Return whether ``now`` lies in it."""
        return self.closed_at is None and self.starts_at <= now < self.ends_at

    def answers(self, whom: Person) -> bool:
        """Return whether this person answers for the term: sponsor, replaced doctor, or an owner."""
        return whom.role is Role.OWNER or (
            whom.id in {self.sponsor_id, self.replaces_id} and whom.role in REPLACED
        )


def rules(connection: Connection) -> Rules:
    """Return what the practice chose."""
    found = facts.find(connection, RULES)
    if not isinstance(found, dict):
        return Rules()
    return Rules(int(found.get("most_days", MOST_DAYS)), bool(found.get("case_copies", False)))


def set_rules(connection: Connection, chosen: Rules, *, by: PersonId | None, now: datetime) -> None:
    """Store what the practice chose, and write it down.

    Raises:
        InvalidInput: not a number of days from 1 to 366.
    """
    low, high = MOST_DAYS_BOUNDS
    if not low <= chosen.most_days <= high:
        raise InvalidInput("most_days", mark("From 1 to 366 days."))
    facts.put(
        connection,
        RULES,
        {"most_days": chosen.most_days, "case_copies": chosen.case_copies},
        now=now,
    )
    events.record(
        connection,
        at=now,
        event="locum.rules-changed",
        subject="box",
        person_id=by,
        actor=None if by is not None else "console",
        most_days=chosen.most_days,
        case_copies=chosen.case_copies,
    )


def held_by(
    connection: Connection, replaced: Person, *, now: datetime
) -> dict[int, frozenset[Right]]:
    """Return the rights of whom a locum would replace, by share: what may be ticked."""
    grants = shares.grants(connection)
    found = {
        each.id: rights_on(each.id, replaced, grants, now=now)
        for each in shares.all_living(connection)
    }
    return {share: rights for share, rights in found.items() if rights}


def prepare(
    connection: Connection,
    *,
    person_id: PersonId,
    replaces_id: PersonId,
    by: Person,
    rpps: str,
    starts_at: datetime,
    ends_at: datetime,
    wanted: Mapping[int, frozenset[Right]],
    may_copy_cases: bool = False,
    now: datetime,
) -> Term:
    """Agree on a term, inside the caller's write, and return it; the account is a locum's already.

    Args:
        connection: of the write.
        person_id: the locum.
        replaces_id: a doctor of the practice.
        by: who prepares it and answers for it: an owner, or the replaced doctor themselves.
        rpps: 11 digits.
        starts_at: the first moment inside.
        ends_at: the first moment outside.
        wanted: ticked rights by share; what the replaced doctor has not is left out.
        may_copy_cases: whether documents may be copied into the locum's own folder.
        now: aware.

    Raises:
        NotAllowed: ``by`` may not prepare this one.
        InvalidInput: a date, the number, or one of the persons cannot be used.
    """
    replaced, who = people.get(connection, replaces_id), people.get(connection, person_id)
    demand_sponsor(by, replaced)
    if replaced.role not in REPLACED or replaced.disabled_at is not None:
        raise InvalidInput("replaces", mark("Choose a doctor of the practice."))
    if who.role is not Role.LOCUM or who.disabled_at is not None or who.id == by.id:
        raise InvalidInput("person", mark("This is not a locum's account."))
    allowed = rules(connection)
    problem = dates_problem(starts_at, ends_at, now, most_days=allowed.most_days)
    if problem is not None:
        raise InvalidInput("ends", problem)
    problem = rpps_problem(rpps)
    if problem is not None:
        raise InvalidInput("rpps", problem)
    for other in of_person(connection, person_id):
        if other.closed_at is None and other.starts_at < ends_at and starts_at < other.ends_at:
            raise InvalidInput("starts", mark("This locum has a term at that time already."))
    if may_copy_cases and not allowed.case_copies:
        raise InvalidInput("may_copy_cases", mark("The practice does not allow case copies."))
    rights = chosen_rights(wanted, held_by(connection, replaced, now=now))
    stored = {str(share): sorted(each.value for each in given) for share, given in rights.items()}
    result = connection.execute(
        insert(locum).values(
            person_id=person_id,
            replaces_id=replaces_id,
            sponsor_id=by.id,
            rpps=rpps,
            starts_at=starts_at,
            ends_at=ends_at,
            rights=stored,
            may_copy_cases=may_copy_cases,
        )
    )
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    term = get(connection, int(result.inserted_primary_key[0]))
    events.record(
        connection,
        at=now,
        event="locum.prepared",
        subject=f"person:{person_id}",
        person_id=by.id,
        term=term.id,
        replaces=f"person:{replaces_id}",
        starts=starts_at.isoformat(),
        ends=ends_at.isoformat(),
        rights=stored,
        case_copies=may_copy_cases,
    )
    if replaces_id != by.id:
        notices.put(
            connection,
            "locum.prepared",
            mark("%(sponsor)s prepared a replacement of you by %(locum)s, until %(ends_at)s."),
            {
                "sponsor": by.name,
                "locum": who.name,
                "ends_at": ends_at,
                "href": f"/locums/{term.id}",
            },
            person_id=replaces_id,
            now=now,
        )
    return term


def demand_sponsor(by: Person, replaced: Person) -> None:
    """Return when ``by`` may prepare a replacement of this doctor.

    Raises:
        NotAllowed: not an owner, nor the doctor themselves.
    """
    if not may(by.role, Action.LOCUMS_CHANGE) or (
        by.role is not Role.OWNER and by.id != replaced.id
    ):
        raise NotAllowed("locums.change")


def own_share_name(whom: Person) -> str:
    """Return the name of the share a locum's case copies go to."""
    return "remplacement-" + re.sub(r"[^a-z0-9]+", "-", whom.login)[:26].strip("-")


def add_own_share(connection: Connection, term_id: int, share_id: int) -> None:
    """Let the locum see the folder their case copies go to; nothing else puts anything there."""
    row = connection.execute(select(locum.c.rights).where(locum.c.id == term_id)).scalar_one()
    connection.execute(
        update(locum)
        .where(locum.c.id == term_id)
        .values(rights={**row, str(share_id): [Right.SEE.value]})
    )


def extend(
    connection: Connection, term_id: int, ends_at: datetime, *, by: Person, now: datetime
) -> Term:
    """Move the end of a term, inside the caller's write; earlier too, but not into the past.

    Raises:
        NotFound, NotAllowed: the locum never extends their own term.
        InvalidInput: the term is over, or the date cannot be used.
    """
    term = _changeable(connection, term_id, by, now)
    problem = dates_problem(
        max(term.starts_at, now), ends_at, now, most_days=rules(connection).most_days
    )
    if problem is not None:
        raise InvalidInput("ends", problem)
    for other in of_person(connection, term.person_id):
        if (
            other.id != term.id
            and other.closed_at is None
            and term.ends_at <= other.starts_at < ends_at
        ):
            raise InvalidInput("ends", mark("This locum has a term at that time already."))
    connection.execute(update(locum).where(locum.c.id == term_id).values(ends_at=ends_at))
    events.record(
        connection,
        at=now,
        event="locum.extended",
        subject=f"person:{term.person_id}",
        person_id=by.id,
        term=term_id,
        before=term.ends_at.isoformat(),
        ends=ends_at.isoformat(),
    )
    return get(connection, term_id)


def end(connection: Connection, term_id: int, *, by: Person, now: datetime) -> Term:
    """End a term now, inside the caller's write; all that was open in it ends with it.

    Raises:
        NotFound, NotAllowed.
        InvalidInput: it is over already.
    """
    term = _changeable(connection, term_id, by, now)
    connection.execute(
        update(locum).where(locum.c.id == term_id).values(ends_at=max(now, term.starts_at))
    )
    _close(connection, get(connection, term_id), by=by.id, now=now)
    return get(connection, term_id)


def close_due(connection: Connection, *, now: datetime) -> list[PersonId]:
    """Tidy up behind the terms that are over, inside the caller's write; return whose accounts were shut.

    Also shuts what a locum without a running term still has open: whom they replace may have left.
    Doing it twice changes nothing.
    """
    query = select(locum).where(locum.c.closed_at.is_(None), locum.c.ends_at <= now)
    shut = []
    for row in connection.execute(query).all():
        term = _term(row)
        _close(connection, term, by=None, now=now)
        shut.append(term.person_id)
    everybody = select(person).where(person.c.role == Role.LOCUM.value)
    for row in connection.execute(everybody).all():
        whom = people.from_row(row)
        if (
            whom.id not in shut
            and not is_open(connection, whom, now=now)
            and end_all(connection, whom.id, now=now)
        ):
            shut.append(whom.id)
    return shut


def end_all(connection: Connection, person_id: PersonId, *, now: datetime) -> int:
    """End every way in of a person: sessions, app passwords, links given out, tunnel devices; return how many."""
    ended = sessions.end_others(connection, person_id, but=None, now=now)
    for table in (app_password, link, tunnel_device):
        ended += connection.execute(
            update(table)
            .where(table.c.person_id == person_id, table.c.revoked_at.is_(None))
            .values(revoked_at=now)
        ).rowcount
    return ended


def demand_open(connection: Connection, whom: Person, *, now: datetime) -> None:
    """Return when this account is open; a locum's is during a term only.

    Raises:
        AccountNotOpen: it is not, and says from when it will be.
    """
    if is_open(connection, whom, now=now):
        return
    query = (
        select(locum.c.starts_at)
        .where(locum.c.person_id == whom.id, locum.c.closed_at.is_(None), locum.c.starts_at > now)
        .order_by(locum.c.starts_at)
        .limit(1)
    )
    raise AccountNotOpen(connection.execute(query).scalar())


def get(connection: Connection, term_id: int) -> Term:
    """Return a term.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(select(locum).where(locum.c.id == term_id)).first()
    if row is None:
        raise NotFound("replacement", str(term_id))
    return _term(row)


def every(connection: Connection) -> list[Term]:
    """Return every term, those that end last first."""
    query = select(locum).order_by(locum.c.ends_at.desc(), locum.c.id.desc())
    return [_term(row) for row in connection.execute(query)]


def of_person(connection: Connection, person_id: PersonId) -> list[Term]:
    """Return a locum's terms, the newest first."""
    query = select(locum).where(locum.c.person_id == person_id).order_by(locum.c.id.desc())
    return [_term(row) for row in connection.execute(query)]


class Actors:
    """How the ledger's pages name who did something: «X», or «X, locum of Y» within a term."""

    def __init__(self, connection: Connection) -> None:
        self._names = people.names(connection)
        self._terms: dict[PersonId, list[Term]] = {}
        for term in every(connection):
            self._terms.setdefault(term.person_id, []).append(term)

    def name(self, person_id: PersonId) -> str | None:
        """Return the name alone, or None: nobody has this number."""
        return self._names.get(person_id)

    def replaced(self, person_id: PersonId, at: datetime) -> str | None:
        """Return whom this person replaced at that moment, or None."""
        for term in self._terms.get(person_id, []):
            if term.starts_at <= at < term.ends_at:
                return self._names.get(term.replaces_id)
        return None


def _close(connection: Connection, term: Term, *, by: PersonId | None, now: datetime) -> None:
    """Record that a term is over, end what was open unless another term runs, and tell its report."""
    connection.execute(
        update(locum).where(locum.c.id == term.id).values(closed_at=now, report_at=now)
    )
    whom = people.get(connection, term.person_id)
    ended = 0
    if not is_open(connection, whom, now=now):
        ended = end_all(connection, whom.id, now=now)
        if not any(each.closed_at is None for each in of_person(connection, whom.id)):
            connection.execute(
                update(sign_in_link)
                .where(sign_in_link.c.person_id == whom.id, sign_in_link.c.used_at.is_(None))
                .values(used_at=now)
            )
    events.record(
        connection,
        at=now,
        event="locum.ended",
        subject=f"person:{whom.id}",
        person_id=by,
        term=term.id,
        ended=ended,
    )
    counts = {"opened": 0, "changed": 0, "copied": 0}
    for entry in questions.of_person(
        connection, whom.id, since=term.starts_at, until=max(now, term.ends_at), events="file."
    ):
        counts[_KIND.get(entry.event, "changed")] += 1
    notices.put_all(
        connection,
        "locum.ended",
        mark(
            "The replacement of %(replaced)s by %(locum)s is over. Opened: %(opened)s, added or changed:"
            " %(changed)s, case copies: %(copied)s. The report says what."
        ),
        {
            "replaced": people.get(connection, term.replaces_id).name,
            "locum": whom.name,
            "href": f"/locums/{term.id}/report",
            **counts,
        },
        [term.sponsor_id, term.replaces_id],
        now=now,
    )


_KIND: Final = {
    "file.open": "opened",
    "file.opened": "opened",
    "file.previewed": "opened",
    "file.zipped": "opened",
    "file.series-opened": "opened",
    "file.dicom-fields": "opened",
    "file.case-copied": "copied",
}


def _changeable(connection: Connection, term_id: int, by: Person, now: datetime) -> Term:
    term = get(connection, term_id)
    if not term.answers(by) or by.id == term.person_id:
        raise NotAllowed("locums.change")
    if term.closed_at is not None or term.ends_at <= now:
        raise InvalidInput("ends", mark("This replacement is over. Prepare a new one."))
    return term


def _term(row: Row[Any]) -> Term:
    return Term(
        id=row.id,
        person_id=PersonId(row.person_id),
        replaces_id=PersonId(row.replaces_id),
        sponsor_id=PersonId(row.sponsor_id),
        rpps=row.rpps,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        rights={
            int(share): frozenset(Right(each) for each in given)
            for share, given in row.rights.items()
        },
        may_copy_cases=bool(row.may_copy_cases),
        closed_at=row.closed_at,
    )
