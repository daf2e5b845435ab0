"""Changing a copy as JSON: its name, what it is to the practice, its timetable, and its end.

For programs that hold a session: of all this a token only reads the timetable.
"""

from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Annotated, Final

from fastapi import APIRouter, Request
from pydantic import Field
from sqlalchemy import Connection

from appliance.clock import utc_now
from appliance.db import targets
from appliance.db.targets import TargetId, TargetRow
from appliance.jobs import target_setup
from appliance.jobs.target_setup import Keep
from appliance.policy import bandwidth
from appliance.policy.bandwidth import Rule
from appliance.policy.hosting import Nature
from appliance.policy.roles import Action
from appliance.web.api.copies_add import SetUpBody, Text, set_up_body
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, box_of, needs
from appliance.web.pages.copies_do import remove_copy
from appliance.web.pages.copies_show import CLOCK, rules_of
from appliance.web.render import words_of

router = APIRouter(prefix="/api/v1/copies", tags=["copies"])

#: Rules of a timetable; the page offers fewer.
MOST_RULES: Final = 50
Clock = Annotated[str, Field(pattern=f"^({CLOCK.pattern})$")]


@dataclass(frozen=True, slots=True)
class CopyChangeBody:
    """What is to change of a copy; what is not named stays."""

    label: Text | None = None
    distance_km: int | Keep | None = Keep.AS_IT_IS  # null: not known


@dataclass(frozen=True, slots=True)
class NatureBody:
    """What the place is to the practice."""

    nature: Nature


@dataclass(frozen=True, slots=True)
class RateBody:
    """A rate at certain hours; the first rule that applies wins, where none does the line is free."""

    bytes_s: (
        Annotated[int, Field(ge=0, le=10**12)] | None
    )  # 0: nothing leaves; null: as fast as the line
    days: list[int]  # 0 is Monday
    start: Clock  # in the practice's time zone
    end: Clock  # the first moment outside; not after ``start``: over midnight


@dataclass(frozen=True, slots=True)
class BandwidthBody:
    """When copies may use the line."""

    rules: list[RateBody]
    now_bytes_s: int | None
    next_change: datetime | None


@dataclass(frozen=True, slots=True)
class NewBandwidthBody:
    """Another timetable; without rules the line is free."""

    rules: Annotated[list[RateBody], Field(max_length=MOST_RULES)] = field(default_factory=list)
    usual: bool = False  # what the assistant proposes, instead of rules


@dataclass(frozen=True, slots=True)
class RemovalBody:
    """A copy is removed once its name was typed."""

    typed: Text


@router.patch("/{target_id}", name="api-copy-change", dependencies=[needs(Action.COPIES_CHANGE)])
async def change_copy(
    request: Request, visitor: TheVisitor, target_id: int, wanted: CopyChangeBody
) -> SetUpBody:
    """Change what people call it, and how far away it is.

    Raises:
        InvalidInput: no name, or no distance in kilometres.
    """
    label = None if wanted.label is None else " ".join(wanted.label.split())
    return await _change(request, visitor, target_id, label=label, distance_km=wanted.distance_km)


@router.put(
    "/{target_id}/nature", name="api-copy-nature", dependencies=[needs(Action.COPIES_DECLARE)]
)
async def declare_nature(
    request: Request, visitor: TheVisitor, target_id: int, wanted: NatureBody
) -> SetUpBody:
    """Declare what the place is to the practice; the journal keeps whose word it is (HDS-01).

    «other» is kept too, as on the page: nothing is sent there, and the answer says why.
    """
    return await _change(request, visitor, target_id, nature=wanted.nature)


async def _change(
    request: Request,
    visitor: Visitor,
    target_id: int,
    *,
    label: str | None = None,
    nature: Nature | None = None,
    distance_km: int | Keep | None = Keep.AS_IT_IS,
) -> SetUpBody:
    box, words, now = box_of(request), words_of(request), utc_now()

    def change(connection: Connection) -> SetUpBody:
        row = target_setup.change_target(
            connection,
            box.settings,
            TargetId(target_id),
            label=label,
            nature=nature,
            distance_km=distance_km,
            person=visitor.person.id,
            now=now,
        )
        return set_up_body(connection, box, row, words)

    return await box.write(change)


@router.get(
    "/{target_id}/bandwidth", name="api-copy-bandwidth", dependencies=[needs(Action.COPIES_SEE)]
)
async def show_bandwidth(box: TheBox, target_id: int) -> BandwidthBody:
    """Return when copies may use the line."""
    return await box.read_aside(lambda c: _bandwidth(box, targets.get(c, TargetId(target_id))))


@router.put(
    "/{target_id}/bandwidth",
    name="api-copy-bandwidth-change",
    dependencies=[needs(Action.COPIES_CHANGE)],
)
async def change_bandwidth(
    box: TheBox, visitor: TheVisitor, target_id: int, wanted: NewBandwidthBody
) -> BandwidthBody:
    """Change when copies may use the line; a copy under way obeys within seconds.

    Raises:
        InvalidInput: nothing would ever leave, or a rule cannot be meant.
    """
    now = utc_now()
    rules = [
        Rule(
            each.bytes_s,
            frozenset(each.days),
            time.fromisoformat(each.start),
            time.fromisoformat(each.end),
        )
        for each in wanted.rules
    ]

    def change(connection: Connection) -> BandwidthBody:
        row = target_setup.set_bandwidth(
            connection,
            TargetId(target_id),
            list(bandwidth.USUAL) if wanted.usual else rules,
            person=visitor.person.id,
            now=now,
        )
        return _bandwidth(box, row)

    return await box.write(change)


@router.post(
    "/{target_id}/remove",
    name="api-copy-remove",
    status_code=204,
    dependencies=[needs(Action.COPIES_CHANGE)],
)
async def remove(box: TheBox, visitor: TheVisitor, target_id: int, wanted: RemovalBody) -> None:
    """Stop sending there, once its name was typed. What lies there stays.

    Raises:
        InvalidInput: another name was typed.
    """
    now = utc_now()

    def change(connection: Connection) -> None:
        row = targets.get(connection, TargetId(target_id))
        remove_copy(connection, row, wanted.typed, person_id=visitor.person.id, now=now)

    await box.write(change)


def _bandwidth(box: Box, row: TargetRow) -> BandwidthBody:
    rules, local = rules_of(row), utc_now().astimezone(box.zone)
    return BandwidthBody(
        [
            RateBody(
                each.bytes_s,
                sorted(each.days),
                each.start.isoformat("minutes"),
                each.end.isoformat("minutes"),
            )
            for each in rules
        ],
        bandwidth.rate_at(rules, local),
        bandwidth.next_change(rules, local),
    )
