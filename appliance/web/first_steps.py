"""What exists of the first day's steps, read anew each time, and what was put off."""

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import Connection
from starlette.requests import Request

from appliance.accounts import people, second_factors
from appliance.clock import utc_now
from appliance.db import copies, facts, practice, repositories, shares, snapshots, sources, targets
from appliance.db.targets import TargetRow
from appliance.jobs import copy_readings, kit_words, queue
from appliance.jobs.kinds import CheckMachine
from appliance.ledger import events, proofs
from appliance.model import JobState, Outcome, Person, PersonId, Source, SourceKind
from appliance.policy.first_steps import Reading, Step, StepName, left, steps
from appliance.policy.place import BoxPlace, SftpPlace
from appliance.policy.roles import Action
from appliance.policy.status import ProofKind
from appliance.settings import Settings
from appliance.web.deps import Box, Visitor

#: Fact: names of steps that were put off.
LATER: Final = "welcome.later"
#: Fact: when the assistant was waved off; it stays where it is, and is offered no more.
CLOSED: Final = "welcome.closed"
#: A browser that left the assistant for another page carries the step's name until it is back.
COOKIE: Final = "__Host-step"
#: Pages that say how many steps are left.
SAID_ON: Final = frozenset({"/", "/status", "/disk"})
#: Seconds for which the number is believed: it costs a dozen small reads.
KNOWN_S: Final = 20.0
_MACHINES: Final = frozenset({SourceKind.PULLED, SourceKind.PUSHED})
_GOOD: Final = frozenset({JobState.SUCCEEDED, JobState.WARNED})


def found(connection: Connection, settings: Settings, person: Person) -> list[Step]:
    """Return every step as it stands for this person."""
    return steps(read(connection, settings, person), later(connection))


def read(connection: Connection, settings: Settings, person: Person) -> Reading:
    """Return what exists; the second factor and the colleagues are those of ``person``."""
    now = utc_now()
    factors = second_factors.of_person(connection, person.id)
    others = [each.created_at for each in _others(connection, person)]
    machines = [each for each in sources.all_living(connection) if each.kind in _MACHINES]
    places = targets.all_living(connection)
    kit = kit_words.state(connection)
    is_named = bool(practice.name(connection))
    return Reading(
        named_at=facts.find_at(connection, practice.NAME) if is_named else None,
        factor_at=factors[0].created_at
        if factors and second_factors.has_any(connection, person.id, settings.tls)
        else None,
        share_at=_first(each.created_at for each in shares.all_living(connection)),
        colleague_at=_first(others),
        machine_at=_first(each.created_at for each in machines),
        is_machine_ready=any(_is_ready(connection, each) for each in machines),
        machine_proven_at=_first(_proven_at(connection, each) for each in machines),
        target_at=_first(each.created_at for each in places),
        is_target_ready=any(_may_send(each, settings, now) for each in places),
        generation_at=_newest(connection, places),
        is_kit_printed=kit.number is not None,
        kit_at=kit.confirmed_at,
    )


def colleagues(connection: Connection, person: Person) -> int:
    """Return how many other accounts are open."""
    return len(_others(connection, person))


def _others(connection: Connection, person: Person) -> list[Person]:
    known = people.everybody(connection)
    return [each for each in known if each.disabled_at is None and each.id != person.id]


def later(connection: Connection) -> list[str]:
    """Return the names of the steps that were put off."""
    stored = facts.find(connection, LATER)
    return [str(each) for each in stored] if isinstance(stored, list) else []


def put_off(connection: Connection, name: StepName, *, is_later: bool, now: datetime) -> None:
    """Put a step off, or take it up again, inside the caller's write."""
    rest = [each for each in later(connection) if each != name.value]
    facts.put(connection, LATER, [*rest, name.value] if is_later else rest, now=now)


def close(connection: Connection, *, by: PersonId, now: datetime) -> None:
    """Offer the assistant no more, inside the caller's write."""
    if facts.find(connection, CLOSED) is None:
        facts.put(connection, CLOSED, now.isoformat(), now=now)
        events.record(connection, at=now, event="welcome.closed", subject="box", person_id=by)


def is_closed(connection: Connection) -> bool:
    """Return whether the assistant was waved off."""
    return facts.find(connection, CLOSED) is not None


class _Counts:
    """How many steps were left a moment ago, by person."""

    def __init__(self) -> None:
        self.known: dict[PersonId, tuple[float, int]] = {}


def _counts(request: Request) -> _Counts:
    state = request.app.state
    if not hasattr(state, "steps_left"):
        state.steps_left = _Counts()
    known: _Counts = state.steps_left
    return known


def forget_count(request: Request) -> None:
    """Count anew at the next page: something was just done."""
    _counts(request).known.clear()


def count_left(request: Request, visitor: Visitor) -> int:
    """Return how many steps this page says are left; 0: it says nothing about them."""
    if request.url.path not in SAID_ON or not visitor.may(Action.FIRST_STEPS):
        return 0
    box: Box = request.app.state.box
    if box.database.recall(CLOSED, is_closed):
        return 0
    known = _counts(request).known
    who = visitor.person.id
    at, count = known.get(who, (float("-inf"), 0))
    if time.monotonic() - at > KNOWN_S:
        with box.database.read() as connection:
            count = left(found(connection, box.settings, visitor.person))
        known[who] = (time.monotonic(), count)
    return count


def step_of(request: Request, visitor: Visitor) -> StepName | None:
    """Return the step for which somebody left the assistant, while they are elsewhere."""
    name = request.cookies.get(COOKIE)
    if name not in set(StepName) or not visitor.may(Action.FIRST_STEPS):
        return None
    return None if request.url.path == "/welcome" else StepName(name)


def _first(moments: Iterable[datetime | None]) -> datetime | None:
    return min((each for each in moments if each is not None), default=None)


def _is_ready(connection: Connection, source: Source) -> bool:
    """Return whether only the night is missing: it was reached, or it sends by itself."""
    if snapshots.newest(connection, source.id) is not None:
        return True
    if source.kind is SourceKind.PUSHED:
        return repositories.find(connection, source.id) is not None
    tried = queue.newest(connection, limit=1, source_id=source.id, kind=CheckMachine.kind)
    return source.host_key is not None and bool(tried) and tried[0].state in _GOOD


def _proven_at(connection: Connection, source: Source) -> datetime | None:
    proof = proofs.latest(connection, source.id, ProofKind.SAMPLE, outcome=Outcome.PROVEN)
    return None if proof is None else proof.at


def _may_send(row: TargetRow, settings: Settings, now: datetime) -> bool:
    place = copy_readings.place_of(row)
    is_known = not isinstance(place, SftpPlace | BoxPlace) or bool(place.host_key)
    return is_known and copy_readings.verdict_of(row, settings, now).may_send


def _newest(connection: Connection, places: list[TargetRow]) -> datetime | None:
    summaries = [copies.summary(connection, each.id) for each in places]
    return max((each.published_at for each in summaries if each is not None), default=None)
