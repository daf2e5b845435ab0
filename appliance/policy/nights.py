"""The calendar of nights: what one square says about one night of one source."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Final

from appliance.language import Language, mark, translate
from appliance.model import Consistency, JobState, Outcome, Plan, Proof, SnapshotId
from appliance.policy.status import GREEN_CONSISTENCY, ProofKind
from appliance.policy.timetable import window_of_night

NIGHTS_SHOWN: Final = 30
_DAY: Final = timedelta(days=1)


class NightState(StrEnum):
    """What became of a night. Only ``PROVEN`` is green."""

    PROVEN = "proven"
    WARNED = "warned"  # proven, but some files could not be read
    UNSURE = "unsure"  # proven, but whether the application could start from it is not known
    UNPROVEN = "unproven"  # there is a snapshot, nothing came back out of it yet
    FAILED = "failed"
    CANCELLED = "cancelled"
    MISSED = "missed"  # planned, and nothing began
    RUNNING = "running"
    PLANNED = "planned"  # its window is not over
    NONE = "none"  # the plan has no night here, or the source was not there yet


NIGHT_TEXTS: Final[dict[NightState, str]] = {
    NightState.PROVEN: mark("backed up and proven"),
    NightState.WARNED: mark("proven, but some files could not be read"),
    NightState.UNSURE: mark("proven, but the consistency of the application is not known"),
    NightState.UNPROVEN: mark("backed up, not proven"),
    NightState.FAILED: mark("failed"),
    NightState.CANCELLED: mark("stopped by a person"),
    NightState.MISSED: mark("not backed up: the box or the machine was off"),
    NightState.RUNNING: mark("under way"),
    NightState.PLANNED: mark("planned"),
    NightState.NONE: mark("no backup planned"),
}


@dataclass(frozen=True, slots=True)
class NightRun:
    """One run of a source, as the calendar needs it."""

    started_at: datetime
    state: JobState
    snapshot_id: SnapshotId | None = None
    consistency: Consistency = Consistency.UNKNOWN  # said nothing, never green


@dataclass(frozen=True, slots=True)
class NightCell:
    """One square of the calendar."""

    night: date  # the local day on which the night begins
    state: NightState
    runs: int

    def words(self, language: Language) -> str:
        """Return what became of the night."""
        return translate(NIGHT_TEXTS[self.state], language)


def night_of(plan: Plan, at: datetime, tz: tzinfo) -> date:
    """Return the night a run begun ``at`` belongs to: the newest whose window had begun by then.

    A run made up for by day thus stands in the square of the night it missed.
    """
    today = at.astimezone(tz).date()
    return today if window_of_night(plan, today, tz).start <= at else today - _DAY


def night_cell(
    night: date,
    runs: Sequence[NightRun],
    proofs: Sequence[Proof],
    plan: Plan,
    *,
    now: datetime,
    tz: tzinfo,
    known_since: datetime | None = None,
) -> NightCell:
    """Return one square: the best run of the night, unless a proof about it failed.

    Args:
        night: the local day on which the night begins.
        runs: of one source, in any order; those of other nights are ignored.
        proofs: of the same source; those of other snapshots are ignored.
        plan: today's plan: a night is judged by it even if the plan was another one then.
        now: aware.
        tz: the practice's time zone.
        known_since: when the source was added.
    """
    mine = [run for run in runs if night_of(plan, run.started_at, tz) == night]
    states = {_run_state(run, proofs) for run in mine}
    for state in (
        NightState.RUNNING,
        NightState.PROVEN,
        NightState.WARNED,
        NightState.UNSURE,
        NightState.UNPROVEN,
        NightState.FAILED,
        NightState.CANCELLED,
    ):
        if state in states and not _a_proof_failed(mine, proofs):
            return NightCell(night, state, len(mine))
    if mine:
        return NightCell(night, NightState.FAILED, len(mine))
    window = window_of_night(plan, night, tz)
    is_planned = plan.enabled and night.isoweekday() in plan.weekdays
    if not is_planned or (known_since is not None and window.end <= known_since):
        return NightCell(night, NightState.NONE, 0)
    return NightCell(night, NightState.PLANNED if now < window.end else NightState.MISSED, 0)


def calendar(
    runs: Sequence[NightRun],
    proofs: Sequence[Proof],
    plan: Plan,
    *,
    now: datetime,
    tz: tzinfo,
    known_since: datetime | None = None,
    nights: int = NIGHTS_SHOWN,
) -> list[NightCell]:
    """Return the squares of the last ``nights`` nights, oldest first; the last one is tonight's."""
    today = now.astimezone(tz).date()
    return [
        night_cell(today - back * _DAY, runs, proofs, plan, now=now, tz=tz, known_since=known_since)
        for back in reversed(range(nights))
    ]


def _sample_outcomes(run: NightRun, proofs: Sequence[Proof]) -> list[Outcome]:
    if run.snapshot_id is None:
        return []
    return [
        proof.outcome
        for proof in sorted(proofs, key=lambda one: one.seq)
        if proof.kind == ProofKind.SAMPLE and proof.snapshot_id == run.snapshot_id
    ]


def _a_proof_failed(runs: Sequence[NightRun], proofs: Sequence[Proof]) -> bool:
    return any(Outcome.FAILED in _sample_outcomes(run, proofs)[-1:] for run in runs)


def _run_state(run: NightRun, proofs: Sequence[Proof]) -> NightState:
    if run.state in {JobState.QUEUED, JobState.RUNNING}:
        return NightState.RUNNING
    if run.state is JobState.CANCELLED:
        return NightState.CANCELLED
    if run.state not in {JobState.SUCCEEDED, JobState.WARNED}:
        return NightState.FAILED
    if Outcome.PROVEN not in _sample_outcomes(run, proofs)[-1:]:
        return NightState.UNPROVEN
    if run.consistency not in GREEN_CONSISTENCY:
        return NightState.UNSURE
    return NightState.PROVEN if run.state is JobState.SUCCEEDED else NightState.WARNED
