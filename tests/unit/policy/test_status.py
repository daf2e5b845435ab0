"""From proofs to the truth: green only from proofs, unknown never green, late is not failed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import (
    Consistency,
    JobState,
    Outcome,
    Plan,
    Proof,
    SnapshotId,
    SourceId,
    SourceKind,
)
from appliance.policy.findings import Finding, Severity
from appliance.policy.retention import FreezeReason
from appliance.policy.status import (
    GREEN_CONSISTENCY,
    LEVEL_NAMES,
    OUTCOME_NAMES,
    PROOF_NAMES,
    Level,
    NewestSnapshot,
    ProofKind,
    SourceReading,
    home_level,
    home_sentence,
    needs_doing,
    source_sentence,
    source_status,
    worst,
)

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TAKEN = NOW - timedelta(hours=13)


def proof(
    kind: str = "snapshot.sample",
    outcome: Outcome = Outcome.PROVEN,
    *,
    snapshot: int | None = 7,
    at: datetime = NOW - timedelta(hours=12),
    seq: int = 1,
) -> Proof:
    return Proof(
        seq, at, kind, outcome, SourceId(3), None if snapshot is None else SnapshotId(snapshot), {}
    )


GOOD = SourceReading(
    source_id=SourceId(3),
    label="Accueil",
    kind=SourceKind.PULLED,
    plan=Plan(),
    snapshot=NewestSnapshot(SnapshotId(7), TAKEN, Consistency.FILES),
    last_run_state=JobState.SUCCEEDED,
    proofs=(proof(), proof("snapshot.count", seq=2)),
    last_seen_at=NOW,
)


def status(**change):
    return source_status(replace(GOOD, **change), NOW, PARIS)


def snapshot(**change):
    return replace(GOOD.snapshot, **change)


def test_a_fresh_proven_complete_backup_is_green():
    """And its age stands beside the proof."""
    found = status()

    assert found.level is Level.PROVEN
    assert found.is_green
    assert found.reasons == ()
    assert found.proof_age == timedelta(hours=12)
    assert found.backup_age == timedelta(hours=13)
    assert [badge.kind for badge in found.badges] == [ProofKind.SAMPLE, ProofKind.COUNT]


AWAY = {"last_run_state": JobState.FAILED, "last_run_error": "machine.unreachable"}


@pytest.mark.parametrize(
    ("change", "level", "codes"),
    [
        ({"proofs": ()}, Level.UNKNOWN, ["status.unproven"]),
        ({"proofs": (proof(),)}, Level.UNKNOWN, ["status.unproven"]),
        ({"proofs": (proof("snapshot.count"),)}, Level.UNKNOWN, ["status.unproven"]),
        (
            {"proofs": (proof(snapshot=6), proof("snapshot.count", seq=2))},
            Level.UNKNOWN,
            ["status.unproven"],
        ),
        (
            {"proofs": (proof(outcome=Outcome.INCONCLUSIVE), proof("snapshot.count", seq=2))},
            Level.UNKNOWN,
            ["status.unproven"],
        ),
        (
            {"proofs": (*GOOD.proofs, proof(outcome=Outcome.FAILED, seq=3))},
            Level.FAILED,
            ["status.proof-failed", "status.unproven"],
        ),
        (
            {
                "proofs": (
                    *GOOD.proofs,
                    proof("repository.check", Outcome.FAILED, snapshot=None, seq=3),
                )
            },
            Level.FAILED,
            ["status.proof-failed"],
        ),
        (
            {"proofs": (proof(at=NOW + timedelta(days=1)), proof("snapshot.count", seq=2))},
            Level.UNKNOWN,
            ["status.unproven"],
        ),
        ({"last_run_state": JobState.FAILED}, Level.FAILED, ["status.run-failed"]),
        ({"last_run_state": JobState.INTERRUPTED}, Level.FAILED, ["status.run-failed"]),
        ({"last_run_state": JobState.CANCELLED}, Level.PROVEN, []),
        ({"last_run_state": JobState.RUNNING}, Level.PROVEN, []),
        (AWAY, Level.PROVEN, []),
        (
            {**AWAY, "snapshot": snapshot(started_at=NOW - timedelta(hours=30))},
            Level.LATE,
            ["status.late"],
        ),
        ({"snapshot": snapshot(started_at=NOW - timedelta(hours=30))}, Level.LATE, ["status.late"]),
        (
            {"snapshot": snapshot(started_at=NOW - timedelta(hours=80))},
            Level.OVERDUE,
            ["status.overdue"],
        ),
        (
            {
                "snapshot": snapshot(started_at=NOW - timedelta(hours=80)),
                "last_seen_at": NOW - timedelta(days=3),
            },
            Level.OVERDUE,
            ["status.overdue", "status.unseen"],
        ),
        (
            {"last_seen_at": NOW - timedelta(days=5), "kind": SourceKind.SHARE},
            Level.PROVEN,
            [],
        ),
        (
            {"snapshot": snapshot(started_at=NOW + timedelta(days=1))},
            Level.UNKNOWN,
            ["status.clock"],
        ),
        ({"snapshot": None}, Level.UNKNOWN, ["status.never"]),
        ({"snapshot": None, "last_run_state": None, "proofs": ()}, Level.UNKNOWN, ["status.never"]),
        (
            {"snapshot": snapshot(consistency=Consistency.UNKNOWN)},
            Level.UNKNOWN,
            ["status.consistency"],
        ),
        (
            {"snapshot": snapshot(consistency=Consistency.VSS_SIMPLE)},
            Level.UNKNOWN,
            ["status.consistency"],
        ),
        ({"snapshot": snapshot(unread=4)}, Level.WARNED, ["status.unread"]),
        ({"open_anomalies": 1}, Level.FROZEN, ["status.anomaly-open"]),
        ({"freeze": (FreezeReason.ANOMALY_OPEN,)}, Level.FROZEN, ["status.anomaly-open"]),
        ({"freeze": (FreezeReason.ARCHIVE_VANISHED,)}, Level.FROZEN, ["status.archive-vanished"]),
        ({"freeze": (FreezeReason.LIST_UNREADABLE,)}, Level.FROZEN, ["status.list-unreadable"]),
        ({"freeze": (FreezeReason.CLOCK_WRONG,)}, Level.FROZEN, ["status.clock-wrong"]),
        (
            {"freeze": (FreezeReason.RUN_FAILED,)},
            Level.PROVEN,
            [],
        ),  # the run itself says it, or not
        (
            {"all_read_since": NOW - timedelta(days=40)},
            Level.PROVEN,
            ["status.data-not-read"],
        ),
        ({"all_read_since": NOW - timedelta(days=20)}, Level.PROVEN, []),
    ],
)
def test_the_truth_table(change, level, codes):
    """One change to a good night, and what becomes of the colour and why."""
    found = status(**change)

    assert found.level is level
    assert found.is_green is (level is Level.PROVEN)
    assert [one.code for one in found.reasons] == codes


readings = st.builds(
    SourceReading,
    source_id=st.just(SourceId(3)),
    label=st.just("Accueil"),
    kind=st.sampled_from(SourceKind),
    plan=st.just(Plan()),
    snapshot=st.none()
    | st.builds(
        NewestSnapshot,
        id=st.just(SnapshotId(7)),
        started_at=st.integers(-30, 100).map(lambda hours: NOW - timedelta(hours=hours)),
        consistency=st.sampled_from(Consistency),
        unread=st.integers(0, 2),
    ),
    last_run_state=st.none() | st.sampled_from(JobState),
    last_run_error=st.sampled_from([None, "machine.unreachable", "backup.borg-failed"]),
    proofs=st.lists(
        st.builds(
            proof,
            st.sampled_from([kind.value for kind in ProofKind]),
            st.sampled_from(Outcome),
            snapshot=st.sampled_from([6, 7, None]),
            at=st.integers(-30, 100).map(lambda hours: NOW - timedelta(hours=hours)),
            seq=st.integers(1, 9),
        ),
        max_size=6,
    ),
    freeze=st.lists(st.sampled_from(FreezeReason), max_size=2),
    open_anomalies=st.integers(0, 1),
    last_seen_at=st.none() | st.just(NOW - timedelta(days=4)),
    all_read_since=st.none() | st.just(NOW - timedelta(days=40)),
)


@given(readings)
def test_green_is_never_said_without_its_proofs(reading):
    """Whatever else is true, green means: these very bytes came back, in time, and were right."""
    found = source_status(reading, NOW, PARIS)

    if found.is_green:
        assert reading.snapshot is not None
        assert reading.snapshot.consistency in GREEN_CONSISTENCY
        assert reading.snapshot.unread == 0
        assert NOW - reading.snapshot.started_at < timedelta(hours=26)
        assert not reading.open_anomalies
        newest = {one.kind: one for one in sorted(reading.proofs, key=lambda one: one.seq)}
        for kind in ("snapshot.sample", "snapshot.count"):
            assert newest[kind].outcome is Outcome.PROVEN
            assert newest[kind].snapshot_id == reading.snapshot.id
        assert all(one.outcome is not Outcome.FAILED for one in newest.values())
        assert found.proof_age is not None


@given(readings)
def test_whatever_is_not_green_says_why_in_both_languages(reading):
    """And every reason says what to do."""
    found = source_status(reading, NOW, PARIS)

    assert found.is_green or found.reasons
    for language in ("fr", "en"):
        assert "%(" not in source_sentence(found, language)
        for one in found.reasons:
            assert "%(" not in one.words(language) + one.action_words(language)
            assert one.action_words(language)
    assert all(one.words("fr") != one.words("en") for one in found.reasons)


def test_a_badge_names_its_proof_and_its_age():
    """One badge, one proof."""
    found = status(proofs=(*GOOD.proofs, proof("drill.restore", Outcome.INCONCLUSIVE, seq=3)))

    assert [badge.words("en") for badge in found.badges] == [
        "sample restored and compared: proven, 12 hours ago",
        "files counted on both sides: proven, 12 hours ago",
        "restore drill: could not be done, 12 hours ago",
    ]
    assert (
        found.badges[0].words("fr") == "échantillon restauré et comparé : prouvé, il y a 12 heures"
    )


def test_a_proof_of_an_unknown_kind_makes_no_badge():
    """A kind this version does not know claims nothing."""
    assert status(proofs=(*GOOD.proofs, proof("moon.phase", seq=3))).badges == status().badges


FILES = replace(GOOD, source_id=SourceId(4), label="Documents", kind=SourceKind.SHARE)


def test_the_home_page_says_all_is_well_with_the_age_of_the_oldest_check():
    """The weakest of the checks, not the best one."""
    older = replace(
        FILES,
        proofs=tuple(replace(one, at=NOW - timedelta(hours=20)) for one in GOOD.proofs),
    )
    all_good = [source_status(GOOD, NOW, PARIS), source_status(older, NOW, PARIS)]

    assert home_level(all_good) is Level.PROVEN
    assert home_sentence(all_good, "en") == (
        "Everything is backed up and verified: 2 sources, the oldest check 20 hours ago."
    )
    assert home_sentence(all_good, "fr") == (
        "Tout est sauvegardé et vérifié : 2 sources, le contrôle le plus ancien date de 20 heures."
    )
    assert home_sentence(all_good[:1], "fr") == (
        "Tout est sauvegardé et vérifié : 1 source, contrôlée il y a 12 heures."
    )


def test_the_home_page_says_the_worst_first_and_counts_the_others():
    """«Le poste … n'a pas été sauvegardé depuis 3 jours»."""
    late = status(snapshot=snapshot(started_at=NOW - timedelta(days=3, hours=2)))
    unknown = source_status(replace(FILES, proofs=()), NOW, PARIS)

    assert home_level([status(), unknown, late]) is Level.OVERDUE
    assert home_sentence([status(), unknown, late], "fr") == (
        "Le poste « Accueil » n’a pas été sauvegardé depuis 3 jours."
        " 1 autre source demande votre attention."
    )
    assert home_sentence([status(), late], "en") == (
        "The machine «Accueil» has not been backed up for 3 days."
    )
    assert home_sentence([late, late, unknown], "en").endswith("2 other sources need attention.")


def test_a_late_share_is_not_called_a_machine():
    """Words of the practice."""
    late = source_status(
        replace(FILES, snapshot=snapshot(started_at=NOW - timedelta(days=3))), NOW, PARIS
    )

    assert source_sentence(late, "en") == "The share «Documents» has not been backed up for 3 days."


def test_without_a_source_nothing_is_claimed():
    """An empty box is not «all is well»."""
    assert home_level([]) is Level.UNKNOWN
    assert home_sentence([], "fr").startswith("Rien n’est encore sauvegardé")


def test_a_green_source_says_so_with_its_age():
    """And a status without reasons or proof says that nothing is known."""
    assert source_sentence(status(), "en") == (
        "«Accueil» is backed up and verified; the check is 12 hours old."
    )
    assert source_sentence(replace(status(), proof_age=None), "en") == (
        "The state of «Accueil» is not known."
    )


def test_what_needs_doing_puts_alarms_first_and_the_box_before_its_sources():
    """Whatever order the readings came in."""
    full = Finding("disk.nearly-full", Severity.ALARM, "Full.", "Free some.")
    notice = Finding("clock.machine", Severity.NOTICE, "Late.", "Set it.")
    found = needs_doing(
        [status(snapshot=snapshot(unread=2)), status(last_run_state=JobState.FAILED)],
        [notice, full],
    )

    assert [one.code for one in found] == [
        "disk.nearly-full",
        "status.run-failed",
        "status.unread",
        "clock.machine",
    ]


def test_every_level_kind_and_outcome_has_a_name_and_an_order():
    """A level added later has to be named and ranked."""
    assert set(LEVEL_NAMES) == set(Level)
    assert set(PROOF_NAMES) == set(ProofKind)
    assert set(OUTCOME_NAMES) == set(Outcome)
    assert worst(list(Level)) is Level.FROZEN
    assert worst([]) is Level.PROVEN
