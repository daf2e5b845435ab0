"""What the steps of an assistant look like as JSON, of a machine and of a place for copies alike."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from appliance.web.pages.set_up import CheckLine, Step, outcome_of
from appliance.web.render import Words


@dataclass(frozen=True, slots=True)
class StageBody:
    """Where one step of the assistant stands."""

    state: str  # waiting · busy · done · failed
    job_id: int | None


@dataclass(frozen=True, slots=True)
class CheckBody:
    """One thing that was tried."""

    outcome: str  # ok · warning · failed · skipped
    text: str  # in the reader's language


@dataclass(frozen=True, slots=True)
class HostKeyBody:
    """The identity that is to be confirmed: the one in ``offered_key``."""

    key: Annotated[str, Field(max_length=5000)]


def stage_body(step: Step) -> StageBody:
    """Return a step as the API shows it."""
    return StageBody(step.state, None if step.job is None else step.job.job.id)


def check_bodies(lines: list[CheckLine], words: Words) -> list[CheckBody]:
    """Return what was tried as the API shows it."""
    return [CheckBody(outcome_of(each), words.explain(each.text, each.facts)) for each in lines]
