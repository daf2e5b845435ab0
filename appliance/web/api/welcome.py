"""The first steps under /api/v1: how far the box is set up, read from what exists."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter
from sqlalchemy import Connection

from appliance.clock import utc_now
from appliance.errors import NotFound
from appliance.policy.first_steps import MINUTES, StepName, left, minutes_left
from appliance.policy.roles import Action
from appliance.web import first_steps
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, needs

router = APIRouter(prefix="/api/v1", tags=["first-steps"], dependencies=[needs(Action.FIRST_STEPS)])


@dataclass(frozen=True, slots=True)
class StepBody:
    """One step."""

    name: str  # practice · factor · share · people · machine · copy · kit
    state: str  # done · waiting · begun · to-do · later
    at: datetime | None  # of what makes it done
    minutes: int  # it takes about


@dataclass(frozen=True, slots=True)
class StepsBody:
    """Every step, in its order."""

    steps: list[StepBody]
    left: int
    minutes_left: int


@dataclass(frozen=True, slots=True)
class LaterBody:
    """Whether a step is put off."""

    is_later: bool


@router.get("/first-steps", name="api-first-steps")
async def show(box: TheBox, visitor: TheVisitor) -> StepsBody:
    """Return how far it is."""
    return await _all(box, visitor)


@router.put("/first-steps/{step}/later", name="api-first-steps-later")
async def put_off(box: TheBox, visitor: TheVisitor, step: str, wanted: LaterBody) -> StepsBody:
    """Put a step off, or take it up again; 404 when there is no such step."""
    if step not in set(StepName):
        raise NotFound("page", step[:40])
    name = StepName(step)
    await box.write(lambda c: first_steps.put_off(c, name, is_later=wanted.is_later, now=utc_now()))
    return await _all(box, visitor)


async def _all(box: Box, visitor: Visitor) -> StepsBody:
    def gather(connection: Connection) -> StepsBody:
        found = first_steps.found(connection, box.settings, visitor.person)
        return StepsBody(
            [
                StepBody(each.name.value, each.state.value, each.at, MINUTES[each.name])
                for each in found
            ],
            left(found),
            minutes_left(found),
        )

    return await box.read_aside(gather)
