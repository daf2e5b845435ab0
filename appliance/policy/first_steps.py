"""The first day of a box: what there is to do, in which order, and what is done, out of what exists.

Nothing here is a stored «done»: a step is done because its share, its proof, its confirmed kit is there, and is
to do again when that is gone. What a person puts off is kept, and counts for less than what exists.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from appliance.language import mark
from appliance.model import Role
from appliance.policy.share_rights import ALL, Right


class StepName(StrEnum):
    """The steps, in their order."""

    PRACTICE = "practice"
    FACTOR = "factor"
    SHARE = "share"
    PEOPLE = "people"
    MACHINE = "machine"
    COPY = "copy"
    KIT = "kit"


class StepState(StrEnum):
    """How it stands with a step."""

    DONE = "done"
    WAITING = "waiting"  # nothing to do for a person: the night comes
    BEGUN = "begun"  # something is there, and a person has to go on
    TO_DO = "to-do"
    LATER = "later"  # put off


#: States in which a person still has something to do.
OPEN: Final = frozenset({StepState.TO_DO, StepState.BEGUN, StepState.LATER})
#: Minutes each takes: fourteen for all of it.
MINUTES: Final = {
    StepName.PRACTICE: 1,
    StepName.FACTOR: 2,
    StepName.SHARE: 1,
    StepName.PEOPLE: 1,
    StepName.MACHINE: 4,
    StepName.COPY: 3,
    StepName.KIT: 2,
}
STEP_NAMES: Final = {
    StepName.PRACTICE: mark("The practice's name"),
    StepName.FACTOR: mark("Your second factor"),
    StepName.SHARE: mark("The first share"),
    StepName.PEOPLE: mark("Your colleagues"),
    StepName.MACHINE: mark("The first machine"),
    StepName.COPY: mark("The first copy elsewhere"),
    StepName.KIT: mark("The recovery kit"),
}
STEP_REASONS: Final = {
    StepName.PRACTICE: mark("It stands on every paper the box prints."),
    StepName.FACTOR: mark(
        "A password can be guessed, stolen or read over a shoulder. With a second factor it opens nothing alone."
    ),
    StepName.SHARE: mark(
        "A share is a part of the practice's disk, with its own rights. It is kept every night."
    ),
    StepName.PEOPLE: mark(
        "One account a person: the journal can say who opened what. You may do it any day."
    ),
    StepName.MACHINE: mark(
        "The computer that holds the patients' files: the box fetches them every night."
    ),
    StepName.COPY: mark(
        "Three copies, on two kinds of disk, one of them in another building: fire, theft and water take"
        " only one place. Health data lie outside the practice only at a host certified for them (HDS),"
        " or on the practice's own equipment in its second building."
    ),
    StepName.KIT: mark(
        "Twenty words on paper open the copies the day the box is gone. Nobody can open them without."
    ),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What exists; every moment is aware UTC, None: it is not there."""

    named_at: datetime | None = None  # when the practice got its name
    factor_at: datetime | None = None  # newest second factor of who looks
    share_at: datetime | None = None  # first living share
    colleague_at: datetime | None = None  # first other open account
    machine_at: datetime | None = None  # first living machine was added
    is_machine_ready: bool = False  # one of them may be reached: only the night is missing
    machine_proven_at: datetime | None = None  # bytes of a machine came back out of a snapshot
    target_at: datetime | None = None  # first living target was added
    is_target_ready: bool = False  # one may be sent to: only the sending is missing
    generation_at: datetime | None = None  # newest generation that lies at a target
    is_kit_printed: bool = False
    kit_at: datetime | None = None  # its words were typed


@dataclass(frozen=True, slots=True)
class Step:
    """One step and how it stands."""

    name: StepName
    state: StepState
    at: datetime | None = None  # of what makes it done

    @property
    def is_open(self) -> bool:
        """Whether a person still has something to do."""
        return self.state in OPEN


def steps(reading: Reading, later: Collection[str]) -> list[Step]:
    """Return every step in its order.

    Args:
        reading: what exists.
        later: names of steps that were put off.
    """
    return [_put_off(_step(name, reading), later) for name in StepName]


def left(found: Collection[Step]) -> int:
    """Return how many steps still want somebody."""
    return sum(each.is_open for each in found)


def minutes_left(found: Collection[Step]) -> int:
    """Return about how many minutes they take."""
    return sum(MINUTES[each.name] for each in found if each.is_open)


def current(found: Collection[Step]) -> StepName | None:
    """Return the step to show open: the first one that was not put off; None: nothing is pressing."""
    pressing = {StepState.TO_DO, StepState.BEGUN}
    return next((each.name for each in found if each.state in pressing), None)


def _step(name: StepName, reading: Reading) -> Step:
    match name:
        case StepName.PRACTICE:
            return _there(name, reading.named_at)
        case StepName.FACTOR:
            return _there(name, reading.factor_at)
        case StepName.SHARE:
            return _there(name, reading.share_at)
        case StepName.PEOPLE:
            return _there(name, reading.colleague_at)
        case StepName.MACHINE:
            done, begun = reading.machine_proven_at, reading.machine_at
            return _grown(name, done, begun, is_ready=reading.is_machine_ready)
        case StepName.COPY:
            done, begun = reading.generation_at, reading.target_at
            return _grown(name, done, begun, is_ready=reading.is_target_ready)
        case StepName.KIT:
            if reading.kit_at is None and reading.is_kit_printed:
                return Step(name, StepState.BEGUN)
            return _there(name, reading.kit_at)


def _there(name: StepName, at: datetime | None) -> Step:
    return Step(name, StepState.TO_DO if at is None else StepState.DONE, at)


def _grown(
    name: StepName, done: datetime | None, begun: datetime | None, *, is_ready: bool
) -> Step:
    if done is not None:
        return Step(name, StepState.DONE, done)
    if begun is None:
        return Step(name, StepState.TO_DO)
    return Step(name, StepState.WAITING if is_ready else StepState.BEGUN)


def _put_off(step: Step, later: Collection[str]) -> Step:
    if step.is_open and step.name.value in later:
        return Step(step.name, StepState.LATER)
    return step


# --- the first shares -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShareTemplate:
    """A share most practices want, with the rights it begins with."""

    key: str
    label: str
    text: str
    rights: dict[Role, frozenset[Right]]


_WORKS: Final = ALL - {Right.SHARE_OUT}
SHARE_TEMPLATES: Final = (
    ShareTemplate(
        "everybody",
        mark("Whole practice"),
        mark("Doctors and secretaries read and write. Only doctors give links to the outside."),
        {Role.OWNER: ALL, Role.ASSOCIATE: ALL, Role.SECRETARY: _WORKS},
    ),
    ShareTemplate(
        "doctors",
        mark("Doctors"),
        mark("Only doctors see it."),
        {Role.OWNER: ALL, Role.ASSOCIATE: ALL},
    ),
    ShareTemplate(
        "secretariat",
        mark("Secretariat"),
        mark(
            "Secretaries read and write; the practice owners too. For post, appointments, models."
        ),
        {Role.OWNER: ALL, Role.SECRETARY: _WORKS},
    ),
    ShareTemplate(
        "accounting",
        mark("Accounting"),
        mark("Only the practice owners see it."),
        {Role.OWNER: ALL},
    ),
)
