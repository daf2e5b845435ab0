"""What stands on top of every page for who is asking: notices, a running emergency access, the information.

Asked by ``base.html`` alone, so a fragment costs nothing; one query by indexes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from sqlalchemy import and_, func, or_, select
from starlette.requests import Request

from appliance.accounts import locums
from appliance.clock import utc_now
from appliance.db.schema import fact
from appliance.db.schema_disk import share
from appliance.db.schema_people import emergency_access, notice
from appliance.model import PersonId, Role
from appliance.policy.roles import Action
from appliance.units import MINUTE_S
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


def informed_fact(person_id: PersonId) -> str:
    """Return the name of the fact that a person read the information."""
    return f"{INFORMED}{person_id}"


def asker(request: Request) -> Callable[[], Standing]:
    """Return the call a template makes when it wants to know."""

    def ask() -> Standing:
        visitor = find_visitor(request)
        if visitor is None:
            return Standing()
        box: Box = request.app.state.box
        now = utc_now()
        who = visitor.person.id
        theirs = notice.c.person_id == who
        if visitor.may(Action.SETTINGS_CHANGE):
            theirs = or_(theirs, notice.c.person_id.is_(None))
        unseen = (
            select(func.count()).select_from(notice).where(theirs, notice.c.seen_at.is_(None))
        ).scalar_subquery()
        informed = (
            select(func.count()).select_from(fact).where(fact.c.name == informed_fact(who))
        ).scalar_subquery()
        running = and_(
            emergency_access.c.person_id == who,
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
        with box.database.read() as connection:
            rows = connection.execute(query).all()
            may_copy = visitor.person.role is Role.LOCUM and any(
                each.is_running(now) and each.may_copy_cases
                for each in locums.of_person(connection, who)
            )
        return Standing(
            rows[0].unseen,
            tuple(
                RunningEmergency(
                    row.id,
                    row.name,
                    row.label,
                    row.ends_at,
                    ceil((row.ends_at - now).total_seconds() / MINUTE_S),
                )
                for row in rows
                if row.id is not None
            ),
            bool(rows[0].informed),
            may_copy,
        )

    known: list[Standing] = []

    def once() -> Standing:
        if not known:
            known.append(ask())
        return known[0]

    return once
