"""The calendar: one square a night."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from appliance.model import Consistency, JobState, Outcome, Plan, Proof, SnapshotId, SourceId
from appliance.policy.nights import (
    NIGHT_TEXTS,
    NightRun,
    NightState,
    calendar,
    night_cell,
    night_of,
)

PARIS = ZoneInfo("Europe/Paris")
NIGHT = date(2026, 11, 23)
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def paris(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS).astimezone(UTC)


def proof(
    outcome: Outcome, *, seq: int = 1, snapshot: int = 7, kind: str = "snapshot.sample"
) -> Proof:
    return Proof(seq, NOW, kind, outcome, SourceId(1), SnapshotId(snapshot), {})


RUN = NightRun(paris("2026-11-23T20:00"), JobState.SUCCEEDED, SnapshotId(7), Consistency.FILES)
PROVEN = proof(Outcome.PROVEN)


def state(
    runs, proofs=(), *, night: date = NIGHT, plan: Plan | None = None, now: datetime = NOW, **more
):
    return night_cell(night, runs, proofs, plan or Plan(), now=now, tz=PARIS, **more).state


@pytest.mark.parametrize(
    ("run", "proofs", "expected"),
    [
        (RUN, [PROVEN], NightState.PROVEN),
        (replace(RUN, state=JobState.WARNED), [PROVEN], NightState.WARNED),
        (replace(RUN, consistency=Consistency.UNKNOWN), [PROVEN], NightState.UNSURE),
        (NightRun(RUN.started_at, JobState.SUCCEEDED, SnapshotId(7)), [PROVEN], NightState.UNSURE),
        (RUN, [], NightState.UNPROVEN),
        (RUN, [proof(Outcome.INCONCLUSIVE)], NightState.UNPROVEN),
        (RUN, [proof(Outcome.PROVEN, snapshot=6)], NightState.UNPROVEN),
        (RUN, [proof(Outcome.PROVEN, kind="snapshot.count")], NightState.UNPROVEN),
        (RUN, [PROVEN, proof(Outcome.FAILED, seq=2)], NightState.FAILED),
        (RUN, [proof(Outcome.PROVEN, seq=2), proof(Outcome.FAILED)], NightState.PROVEN),
        (replace(RUN, snapshot_id=None), [PROVEN], NightState.UNPROVEN),
        (replace(RUN, state=JobState.FAILED), [], NightState.FAILED),
        (replace(RUN, state=JobState.INTERRUPTED), [], NightState.FAILED),
        (replace(RUN, state=JobState.CANCELLED), [], NightState.CANCELLED),
        (replace(RUN, state=JobState.RUNNING), [], NightState.RUNNING),
        (replace(RUN, state=JobState.QUEUED), [], NightState.RUNNING),
    ],
)
def test_a_square_is_green_only_with_its_proof(run, proofs, expected):
    """The newest sample proof of that very snapshot speaks."""
    assert state([run], proofs) is expected


def test_the_best_run_of_a_night_counts_unless_a_proof_failed():
    """A first try that failed is forgotten by the second; bytes that came back wrong are not."""
    failed = replace(RUN, state=JobState.FAILED, snapshot_id=None)
    second = replace(RUN, started_at=paris("2026-11-23T22:00"), snapshot_id=SnapshotId(8))

    assert state([failed, RUN], [PROVEN]) is NightState.PROVEN
    assert state(
        [RUN, second], [proof(Outcome.FAILED), proof(Outcome.PROVEN, seq=2, snapshot=8)]
    ) is (NightState.FAILED)


@pytest.mark.parametrize(
    ("now", "more", "expected"),
    [
        ("2026-11-23T19:00", {}, NightState.PLANNED),
        ("2026-11-24T05:59", {}, NightState.PLANNED),
        ("2026-11-24T06:00", {}, NightState.MISSED),
        ("2026-11-24T10:00", {"known_since": paris("2026-11-24T06:00")}, NightState.NONE),
        ("2026-11-24T10:00", {"known_since": paris("2026-11-24T05:00")}, NightState.MISSED),
        ("2026-11-24T10:00", {"plan": Plan(weekdays=(2, 3))}, NightState.NONE),
        ("2026-11-24T10:00", {"plan": Plan(enabled=False)}, NightState.NONE),
    ],
)
def test_a_night_without_a_run_was_missed_planned_or_never_meant(now, more, expected):
    """Missed is not failed."""
    assert state([], now=paris(now), **more) is expected


def test_a_run_made_up_for_by_day_stands_in_the_night_it_missed():
    """Ten in the morning belongs to last night, ten in the evening to this one."""
    assert night_of(Plan(), paris("2026-11-24T10:00"), PARIS) == date(2026, 11, 23)
    assert night_of(Plan(), paris("2026-11-24T22:00"), PARIS) == date(2026, 11, 24)
    assert (
        state([replace(RUN, started_at=paris("2026-11-24T09:30"))], [PROVEN]) is NightState.PROVEN
    )


def test_the_calendar_ends_with_tonight_and_shows_thirty_nights():
    """Oldest first, each with its words."""
    cells = calendar([RUN], [PROVEN], Plan(), now=NOW, tz=PARIS)

    assert len(cells) == 30
    assert cells[-1].night == date(2026, 11, 24)
    assert [cell.state for cell in cells[-3:]] == [
        NightState.MISSED,
        NightState.PROVEN,
        NightState.PLANNED,
    ]
    assert cells[-2].words("fr") == "sauvegardé et prouvé"
    assert cells[-2].runs == 1


def test_every_state_has_words():
    """A square without words would be a colour only: some people see none."""
    assert set(NIGHT_TEXTS) == set(NightState)
    assert timedelta(0) < NOW - RUN.started_at
