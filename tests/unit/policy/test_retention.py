"""What to keep: Borg's rules, and the house's promises on top of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import JobState, Keep, Outcome, SnapshotId
from appliance.policy.retention import (
    DAYS_AT_LEAST,
    FREEZE_TEXTS,
    RULES,
    FreezeReason,
    Horizon,
    KeepCandidate,
    KeepReason,
    any_rule,
    decide,
    freeze_text,
    horizon,
    reason_words,
    sentence,
    why_frozen,
)

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def nights(count: int, *, every_h: float = 24.0) -> list[KeepCandidate]:
    """Snapshots every ``every_h`` hours, the newest 10 hours ago."""
    return [
        KeepCandidate(SnapshotId(count - back), NOW - timedelta(hours=10 + back * every_h))
        for back in range(count)
    ]


def kept(snapshots, keep, now=NOW, tz=PARIS) -> dict[int, KeepReason]:
    return {one.id: one.why for one in decide(snapshots, keep, now, tz) if one.kept}


snapshots_strategy = st.lists(
    st.tuples(
        st.integers(min_value=-3 * 24 * 60, max_value=900 * 24 * 60),  # minutes before now
        st.booleans(),
        st.booleans(),
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    max_size=60,
).map(
    lambda rows: [
        KeepCandidate(
            SnapshotId(number),
            NOW - timedelta(minutes=minutes),
            protected=protected == 0,
            legal_hold=held == 0,
            complete=complete,
        )
        for number, (minutes, complete, _, protected, held) in enumerate(rows, 1)
    ]
)
keep_strategy = st.builds(
    Keep,
    within_days=st.integers(0, 40),
    daily=st.integers(0, 20),
    weekly=st.integers(0, 10),
    monthly=st.integers(0, 14),
    yearly=st.integers(0, 3),
)


@given(snapshots_strategy, keep_strategy)
def test_the_newest_and_the_last_complete_snapshot_never_go(snapshots, keep):
    """Whatever the rules, there is always something to restore from."""
    staying = kept(snapshots, keep)
    past = sorted(
        (one for one in snapshots if one.taken_at <= NOW), key=lambda one: (one.taken_at, one.id)
    )
    complete = [one for one in past if one.complete]

    assert not past or past[-1].id in staying
    assert not complete or complete[-1].id in staying


@given(snapshots_strategy, keep_strategy)
def test_protected_held_and_future_snapshots_never_go(snapshots, keep):
    """A person's word and a wrong clock are both stronger than a rule."""
    staying = kept(snapshots, keep)

    for one in snapshots:
        if one.protected or one.legal_hold or one.taken_at > NOW:
            assert one.id in staying


@given(snapshots_strategy, keep_strategy)
def test_deciding_again_on_what_was_kept_removes_nothing(snapshots, keep):
    """Pruning twice is pruning once."""
    staying = kept(snapshots, keep)

    assert kept([one for one in snapshots if one.id in staying], keep) == staying


@given(
    snapshots_strategy,
    keep_strategy.filter(any_rule),
    st.sampled_from(["within_days", "daily", "weekly", "monthly", "yearly"]),
    st.integers(1, 20),
)
def test_a_larger_rule_never_keeps_less(snapshots, keep, field, more):
    """Asking for more nights cannot cost one."""
    larger = replace(keep, **{field: getattr(keep, field) + more})

    assert set(kept(snapshots, keep)) <= set(kept(snapshots, larger))


@given(snapshots_strategy, keep_strategy)
def test_a_rule_never_keeps_more_than_it_says(snapshots, keep):
    """Twelve months are twelve."""
    reasons = list(kept(snapshots, keep).values())

    for rule, count, _ in RULES:
        assert reasons.count(rule) <= count(keep)


@given(snapshots_strategy, keep_strategy, st.randoms())
def test_the_order_they_are_given_in_does_not_matter(snapshots, keep, random):
    """A list from a database has no order one may rely on."""
    shuffled = list(snapshots)
    random.shuffle(shuffled)

    assert decide(shuffled, keep, NOW, PARIS) == decide(snapshots, keep, NOW, PARIS)


@given(snapshots_strategy, keep_strategy)
def test_every_snapshot_gets_one_decision_and_expired_means_goes(snapshots, keep):
    """Nothing is forgotten, and the reason agrees with the verdict."""
    decisions = decide(snapshots, keep, NOW, PARIS)

    assert sorted(one.id for one in decisions) == sorted(one.id for one in snapshots)
    assert all(one.kept == (one.why is not KeepReason.EXPIRED) for one in decisions)


def test_each_rule_keeps_the_newest_of_its_period():
    """Two years of nights under the usual plan."""
    reasons = list(kept(nights(730), Keep(yearly=1)).values())

    assert reasons.count(KeepReason.WITHIN) == 15
    assert reasons.count(KeepReason.DAILY) == 15
    assert reasons.count(KeepReason.WEEKLY) == 8
    assert reasons.count(KeepReason.MONTHLY) == 12
    assert reasons.count(KeepReason.YEARLY) == 1
    assert len(reasons) == 51


def test_a_day_ends_at_midnight_of_the_practice_not_of_greenwich():
    """23:30 UTC in winter is half past midnight in Paris: another day."""
    before, after = (
        KeepCandidate(SnapshotId(1), datetime(2026, 11, 20, 22, 30, tzinfo=UTC)),
        KeepCandidate(SnapshotId(2), datetime(2026, 11, 20, 23, 30, tzinfo=UTC)),
    )
    newer = KeepCandidate(SnapshotId(3), datetime(2026, 11, 22, 22, 0, tzinfo=UTC))
    keep = Keep(within_days=0, daily=3, weekly=0, monthly=0)

    assert set(kept([before, after, newer], keep)) == {1, 2, 3}
    assert kept([before, after, newer], replace(keep, daily=2), tz=UTC) == {
        3: KeepReason.DAILY,
        2: KeepReason.DAILY,
    }


def test_a_rule_that_is_not_filled_keeps_the_oldest():
    """As Borg does: with too few days, the first snapshot ever stays too."""
    found = kept(nights(4, every_h=6), Keep(within_days=0, daily=7, weekly=0, monthly=0))

    assert found[1] is KeepReason.OLDEST


def test_a_plan_without_any_rule_removes_nothing():
    """Borg refuses such a plan; forgetting the rules must not mean forgetting the snapshots."""
    found = kept(nights(5), Keep(0, 0, 0, 0, 0))

    assert set(found.values()) == {KeepReason.NO_RULE}
    assert len(found) == 5


def test_the_newest_stays_when_it_is_older_than_the_rule():
    """A machine away for a month still has its last snapshot."""
    old = [replace(one, taken_at=one.taken_at - timedelta(days=30)) for one in nights(3)]
    incomplete_newest = [replace(old[0], complete=False), *old[1:]]
    keep = Keep(within_days=5, daily=0, weekly=0, monthly=0)

    assert kept(old, keep) == {3: KeepReason.NEWEST}
    assert kept(incomplete_newest, keep) == {3: KeepReason.NEWEST, 2: KeepReason.LAST_COMPLETE}


def test_a_snapshot_of_the_future_fills_no_place_and_stays():
    """After the clock went back, tonight's snapshots must not push yesterday's out."""
    future = KeepCandidate(SnapshotId(99), NOW + timedelta(days=1))
    keep = Keep(within_days=0, daily=2, weekly=0, monthly=0)

    assert kept([*nights(5), future], keep) == {99: KeepReason.FUTURE, **kept(nights(5), keep)}


def test_protection_is_named_before_the_rule():
    """The page says «protected» even where the rule would have kept it anyway."""
    held, protected, *_ = nights(4)
    found = kept(
        [replace(held, legal_hold=True, protected=True), replace(protected, protected=True)], Keep()
    )

    assert found == {4: KeepReason.LEGAL_HOLD, 3: KeepReason.PROTECTED}


def test_nothing_gives_nothing():
    """An empty list is no error."""
    assert decide([], Keep(), NOW, PARIS) == []


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (Keep(), Horizon(12, "month")),
        (Keep(within_days=0, daily=0, weekly=0, monthly=12), Horizon(10, "month")),
        (Keep(within_days=0, daily=0, weekly=5, monthly=0), Horizon(3, "week")),
        (Keep(within_days=10, daily=0, weekly=5, monthly=0), Horizon(5, "week")),
        (Keep(within_days=7, daily=30, weekly=0, monthly=0), Horizon(30, "day")),
        (Keep(within_days=1, daily=0, weekly=5, monthly=0), Horizon(4, "week")),
        (Keep(yearly=3), Horizon(3, "year")),
        (Keep(monthly=0, yearly=3), Horizon(2, "year")),
    ],
)
def test_the_horizon_of_a_plan_is_what_its_furthest_rule_can_promise(keep, expected):
    """The current period takes a place unless a finer rule keeps it."""
    assert horizon(keep) == expected


@pytest.mark.parametrize(
    "keep",
    [
        Keep(),
        Keep(within_days=0, daily=0, weekly=0, monthly=6),
        Keep(within_days=0, daily=2, weekly=0, monthly=6),
        Keep(within_days=20, daily=12, weekly=0, monthly=6),
        Keep(within_days=0, daily=0, weekly=5, monthly=0),
        Keep(within_days=3, daily=0, weekly=4, monthly=0),
        Keep(within_days=5, daily=5, weekly=6, monthly=0),
        Keep(within_days=0, daily=10, weekly=0, monthly=0),
        Keep(within_days=10, daily=25, weekly=4, monthly=11, yearly=2),
    ],
)
def test_what_the_sentence_promises_holds_night_after_night(keep):
    """Years of nights, pruned every night: whoever deletes a file gets it back for as long as said.

    The file had been there for one period of the longest rule when it was last seen.
    """
    promise = horizon(keep)
    promised_days = promise.count * DAYS_AT_LEAST[promise.unit]
    lived = {"day": 1, "week": 7, "month": 31, "year": 366}[promise.unit]
    first = datetime(2023, 1, 1, 19, 0, tzinfo=UTC)
    staying: list[KeepCandidate] = []
    for night in range(1, 1500):
        staying.append(KeepCandidate(SnapshotId(night), first + timedelta(days=night)))
        decisions = decide(staying, keep, staying[-1].taken_at + timedelta(hours=1), PARIS)
        ids = {one.id for one in decisions if one.kept}
        staying = [one for one in staying if one.id in ids]
        if night > promised_days + lived and night % 3 == 0:
            for age in range(promised_days):
                last_seen = night - age
                assert any(had in ids for had in range(last_seen - lived + 1, last_seen + 1)), (
                    f"night {night}, deleted {age} nights ago"
                )


@pytest.mark.parametrize(
    ("keep", "french", "english"),
    [
        (
            Keep(),
            "Un fichier effacé reste récupérable 12 mois ;"
            " s’il n’a été là qu’une seule nuit, 15 jours.",
            "A deleted file stays recoverable for 12 months;"
            " one that was there for a single night, for 15 days.",
        ),
        (
            Keep(0, 0, 0, 3, 0),
            "Un fichier effacé reste récupérable 1 mois.",
            "A deleted file stays recoverable for 1 month.",
        ),
        (
            Keep(0, 0, 0, 0, 0),
            "Rien n’est jamais supprimé : un fichier effacé reste récupérable.",
            "Nothing is ever removed: a deleted file stays recoverable.",
        ),
        (
            Keep(0, 0, 1, 0, 0),
            "Seul le dernier instantané est gardé : un fichier effacé est perdu la nuit suivante.",
            "Only the newest snapshot is kept: a deleted file is lost the next night.",
        ),
        (
            Keep(30, 30, 0, 0, 0),
            "Un fichier effacé reste récupérable 30 jours.",
            "A deleted file stays recoverable for 30 days.",
        ),
    ],
)
def test_a_plan_is_said_in_plain_words(keep, french, english):
    """The page says for how long, not «keep-monthly 12»."""
    assert sentence(keep, "fr") == french
    assert sentence(keep, "en") == english


SOUND = {
    "last_run_state": JobState.SUCCEEDED,
    "last_proof": Outcome.PROVEN,
    "open_anomalies": 0,
    "archive_list_readable": True,
    "vanished_archives": 0,
    "clock_ok": True,
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"last_run_state": JobState.WARNED}, []),
        ({"last_run_state": JobState.CANCELLED}, []),
        ({"last_run_state": JobState.FAILED}, [FreezeReason.RUN_FAILED]),
        ({"last_run_state": JobState.INTERRUPTED}, [FreezeReason.RUN_FAILED]),
        ({"last_run_state": JobState.RUNNING}, [FreezeReason.RUN_UNKNOWN]),
        ({"last_run_state": JobState.QUEUED}, [FreezeReason.RUN_UNKNOWN]),
        ({"last_run_state": None}, [FreezeReason.RUN_UNKNOWN]),
        ({"last_proof": Outcome.FAILED}, [FreezeReason.PROOF_FAILED]),
        ({"last_proof": Outcome.INCONCLUSIVE}, [FreezeReason.PROOF_MISSING]),
        ({"last_proof": None}, [FreezeReason.PROOF_MISSING]),
        ({"open_anomalies": 1}, [FreezeReason.ANOMALY_OPEN]),
        ({"archive_list_readable": False}, [FreezeReason.LIST_UNREADABLE]),
        ({"vanished_archives": 2}, [FreezeReason.ARCHIVE_VANISHED]),
        ({"clock_ok": False}, [FreezeReason.CLOCK_WRONG]),
        (
            {"clock_ok": False, "vanished_archives": 1, "last_run_state": JobState.FAILED},
            [FreezeReason.ARCHIVE_VANISHED, FreezeReason.RUN_FAILED, FreezeReason.CLOCK_WRONG],
        ),
    ],
)
def test_any_doubt_freezes_pruning_and_is_named(change, expected):
    """Beam 6: nothing is destroyed by a machine in doubt."""
    assert why_frozen(**{**SOUND, **change}) == expected


@pytest.mark.parametrize("state", list(JobState))
def test_only_a_run_that_ended_well_lets_pruning_run(state):
    """A state added later must not slip through as «fine»."""
    frozen = why_frozen(**{**SOUND, "last_run_state": state})

    assert (frozen == []) == (state in {JobState.SUCCEEDED, JobState.WARNED, JobState.CANCELLED})


def test_every_reason_has_words():
    """A reason without words would show a code to a doctor."""
    assert set(FREEZE_TEXTS) == set(FreezeReason)
    assert all(freeze_text(reason) for reason in FreezeReason)
    assert reason_words(KeepReason.PROTECTED, "fr") == "protégé par une personne"
    assert all(reason_words(reason, "en") for reason in KeepReason)
