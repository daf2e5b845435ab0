"""What stands on top of every page for who is asking: notices, a running emergency access, the information.

Asked by ``base.html`` alone, so a fragment costs nothing; one query by indexes, and that only when somebody has
written into the database since.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from sqlalchemy import Connection, and_, func, or_, select
from starlette.requests import Request

from appliance.accounts import locums
from appliance.clock import utc_now
from appliance.db.schema import fact
from appliance.db.schema_disk import share
from appliance.db.schema_people import emergency_access, notice
from appliance.model import Person, PersonId, Role
from appliance.policy.first_steps import STEP_NAMES
from appliance.policy.roles import Action
from appliance.units import MINUTE_S
from appliance.web import first_steps
from appliance.web.deps import Box, find_visitor

#: Fact, with the person's number behind it: when they read what the box notes down about them.
INFORMED = "informed."


@dataclass(frozen=True, slots=True)
class RunningEmergency:
    """One emergency access that runs."""

    id: int
    share: str
    label: str
    ends_at: datetime
    minutes_left: int  # begun ones count


@dataclass(frozen=True, slots=True)
class Standing:
    """What every page says to who is asking."""

    unseen: int = 0
    emergencies: tuple[RunningEmergency, ...] = ()
    is_informed: bool = True
    may_copy_cases: bool = False  # a locum, in a term that allows it
    step: str | None = None  # of the first day, for which one is on this page; in words
    steps_left: int = 0  # said on a few pages only


def informed_fact(person_id: PersonId) -> str:
    """Return the name of the fact that a person read the information."""
    return f"{INFORMED}{person_id}"


@dataclass(frozen=True, slots=True)
class _Emergency:
    id: int
    share: str
    label: str
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the database says; what of it holds is asked for a moment."""

    unseen: int
    is_informed: bool
    emergencies: tuple[_Emergency, ...]
    terms: tuple[locums.Term, ...]


def _read(connection: Connection, person: Person, now: datetime, *, sees_all: bool) -> _Stored:
    theirs = notice.c.person_id == person.id
    if sees_all:
        theirs = or_(theirs, notice.c.person_id.is_(None))
    unseen = (
        select(func.count()).select_from(notice).where(theirs, notice.c.seen_at.is_(None))
    ).scalar_subquery()
    informed = (
        select(func.count()).select_from(fact).where(fact.c.name == informed_fact(person.id))
    ).scalar_subquery()
    running = and_(
        emergency_access.c.person_id == person.id,
        emergency_access.c.ended_at.is_(None),
        emergency_access.c.ends_at > now,
    )
    one = select(unseen.label("unseen"), informed.label("informed")).subquery()
    query = select(
        one.c.unseen,
        one.c.informed,
        emergency_access.c.id,
        emergency_access.c.ends_at,
        share.c.name,
        share.c.label,
    ).select_from(
        one.outerjoin(emergency_access, running).outerjoin(
            share, share.c.id == emergency_access.c.share_id
        )
    )
    rows = connection.execute(query).all()
    return _Stored(
        rows[0].unseen,
        bool(rows[0].informed),
        tuple(
            _Emergency(row.id, row.name, row.label, row.ends_at)
            for row in rows
            if row.id is not None
        ),
        tuple(locums.of_person(connection, person.id)) if person.role is Role.LOCUM else (),
    )


def asker(request: Request) -> Callable[[], Standing]:
    """Return the call a template makes when it wants to know."""

    def ask() -> Standing:
        visitor = find_visitor(request)
        if visitor is None:
            return Standing()
        box: Box = request.app.state.box
        now = utc_now()
        person, sees_all = visitor.person, visitor.may(Action.SETTINGS_CHANGE)
        stored = box.database.recall(
            ("standing", person, sees_all), lambda c: _read(c, person, now, sees_all=sees_all)
        )
        may_copy = any(each.is_running(now) and each.may_copy_cases for each in stored.terms)
        step = first_steps.step_of(request, visitor)
        return Standing(
            stored.unseen,
            tuple(
                RunningEmergency(
                    each.id,
                    each.share,
                    each.label,
                    each.ends_at,
                    ceil((each.ends_at - now).total_seconds() / MINUTE_S),
                )
                for each in stored.emergencies
                if each.ends_at > now
            ),
            stored.is_informed,
            may_copy,
            None if step is None else STEP_NAMES[step],
            first_steps.count_left(request, visitor),
        )

    known: list[Standing] = []

    def once() -> Standing:
        if not known:
            known.append(ask())
        return known[0]

    return once
