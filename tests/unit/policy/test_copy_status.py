"""The truth about a copy: green from proofs alone, late is not failed, unknown is never green."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from appliance.model import JobState, Outcome, Proof
from appliance.policy.copy_status import CopyProof, CopyReading, host_notices, judge
from appliance.policy.findings import Severity
from appliance.policy.hosting import Nature, Verdict
from appliance.policy.hosting import judge as judge_hosting
from appliance.policy.immutability import EXPECTED
from appliance.policy.status import Level

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
TAKEN = NOW - timedelta(hours=4)


def proof(kind, outcome=Outcome.PROVEN, *, ago=timedelta(hours=2), seq=1, figures=None, **more):
    return Proof(seq, NOW - ago, kind, outcome, None, None, {**(figures or {}), **more}, 1)


def complete(outcome=Outcome.PROVEN, *, taken=TAKEN, ago=timedelta(hours=2), seq=1):
    return proof(
        CopyProof.COMPLETE, outcome, ago=ago, seq=seq, generation=3, taken_at=taken.isoformat()
    )


ALL = (complete(), proof(CopyProof.LISTING), proof(CopyProof.READ_BACK))
GOOD = CopyReading(
    target_id=1,
    label="Hébergeur",
    kind="sftp",
    created_at=NOW - timedelta(days=90),
    verdict=Verdict(True, None, ()),
    is_kit_confirmed=True,
    newest_at=TAKEN,
    proofs=ALL,
    last_push_state=JobState.SUCCEEDED,
)


def level(**changes):
    return judge(replace(GOOD, **changes), NOW).level


def codes(**changes):
    return [each.code for each in judge(replace(GOOD, **changes), NOW).reasons]


def test_a_copy_that_is_complete_read_back_and_can_be_opened_is_green():
    found = judge(GOOD, NOW)

    assert found.is_green
    assert found.reasons == ()
    assert found.proven_at == TAKEN
    assert found.sentence.words("fr") == (
        "« Hébergeur » contient tout ce qui existait il y a 4 heures ; vérifié il y a 2 heures."
    )


@pytest.mark.parametrize(
    "proofs",
    [
        (),
        ALL[:1],
        ALL[1:],
        (complete(Outcome.INCONCLUSIVE), *ALL[1:]),
        (*ALL[:2], proof(CopyProof.READ_BACK, Outcome.INCONCLUSIVE)),
    ],
)
def test_without_every_proof_it_is_not_known(proofs):
    assert level(proofs=proofs) is Level.UNKNOWN
    assert codes(proofs=proofs) == ["copy.unproven"]


def test_sent_just_now_keeps_the_word_of_the_copy_before_it():
    """Between a push and its verification what was proven stays proven."""
    assert level(newest_at=NOW) is Level.PROVEN


def test_no_kit_no_green_whatever_else_is_proven():
    assert level(is_kit_confirmed=False) is Level.UNKNOWN
    assert codes(is_kit_confirmed=False) == ["copy.kit-not-confirmed"]


@pytest.mark.parametrize("kind", [CopyProof.LISTING, CopyProof.READ_BACK, CopyProof.COMPLETE])
def test_a_failed_proof_is_red_and_said_once(kind):
    failed = (
        complete(Outcome.FAILED, seq=9)
        if kind is CopyProof.COMPLETE
        else proof(kind, Outcome.FAILED, seq=9)
    )
    assert level(proofs=(*ALL, failed)) is Level.FAILED
    assert codes(proofs=(*ALL, failed)) == ["copy.proof-failed"]


def test_a_later_good_proof_ends_it():
    assert level(proofs=(complete(Outcome.FAILED), complete(seq=9), *ALL[1:])) is Level.PROVEN


@pytest.mark.parametrize(
    ("hours", "expected"),
    [(25, Level.PROVEN), (26, Level.LATE), (47, Level.LATE), (48, Level.OVERDUE)],
)
def test_late_at_26_hours_and_red_at_48_by_what_is_proven(hours, expected):
    """An unproven newer generation does not make it less late."""
    old = complete(taken=NOW - timedelta(hours=hours))
    found = {"proofs": (old, *ALL[1:]), "newest_at": NOW - timedelta(hours=1)}
    assert level(**found) is expected


@pytest.mark.parametrize(
    ("days", "expected"), [(6, Level.PROVEN), (7, Level.LATE), (31, Level.OVERDUE)]
)
def test_a_disk_that_is_carried_away_is_given_a_week(days, expected):
    long_ago = timedelta(days=days)
    proofs = (
        complete(taken=NOW - long_ago, ago=long_ago),
        proof(CopyProof.READ_BACK, ago=long_ago),
        proof(CopyProof.LISTING, ago=long_ago),
    )
    assert level(is_removable=True, proofs=proofs, newest_at=NOW - long_ago) is expected


def test_proofs_that_are_too_old_prove_nothing():
    """A host nobody asked for four days may have lost everything."""
    old = timedelta(days=4)
    proofs = (complete(ago=old), proof(CopyProof.READ_BACK, ago=old), ALL[1])
    assert level(proofs=proofs) is Level.UNKNOWN
    assert codes(proofs=proofs) == ["copy.not-verified-since"]


def test_a_clock_that_jumped_is_not_green():
    future = NOW + timedelta(days=1)
    assert level(newest_at=future, proofs=(complete(taken=future), *ALL[1:])) is Level.UNKNOWN
    assert level(proofs=(complete(ago=-timedelta(days=1)), *ALL[1:])) is Level.UNKNOWN


def test_a_place_that_was_away_has_not_failed():
    for code in ("target.unreachable", "target.list-unreadable"):
        assert level(last_push_state=JobState.FAILED, last_push_error=code) is Level.PROVEN


def test_a_push_that_failed_is_red():
    for code in ("target.full", "target.refuses", "job.crashed", None):
        found = {"last_push_state": JobState.FAILED, "last_push_error": code}
        assert level(**found) is Level.FAILED
        assert codes(**found) == ["copy.push-failed"]


def test_another_box_or_host_is_a_doubt_above_all_else():
    found = {"last_push_state": JobState.FAILED, "last_push_error": "target.identity-changed"}
    assert level(**found) is Level.FROZEN
    assert codes(**found) == ["copy.identity-changed"]
    assert level(forged=1) is Level.FROZEN


def test_a_first_copy_on_its_way_is_no_failure():
    never = {"newest_at": None, "proofs": (), "last_push_state": None}
    assert level(**never) is Level.UNKNOWN
    waiting = judge(replace(GOOD, **never), NOW)
    running = judge(replace(GOOD, is_running=True, **never), NOW)
    fresh = judge(replace(GOOD, created_at=NOW, **never), NOW)
    assert [each.reasons[0].severity for each in (waiting, running, fresh)] == [
        Severity.WARNING,
        Severity.NOTICE,
        Severity.NOTICE,
    ]
    assert "première copie" in running.sentence.words("fr")


def test_what_the_rules_refuse_is_red_and_what_nobody_declared_is_not_known():
    other = judge_hosting(Nature.OTHER, None, NOW.date())
    undeclared = judge_hosting(None, None, NOW.date())
    assert level(verdict=other) is Level.FAILED
    assert codes(verdict=other) == ["copy.not-allowed"]
    assert level(verdict=undeclared) is Level.UNKNOWN
    assert codes(verdict=undeclared) == ["copy.nature-missing"]
    # The push that was refused for it says nothing more.
    refused = {"last_push_state": JobState.FAILED, "last_push_error": "target.sending-not-allowed"}
    assert codes(verdict=other, **refused) == ["copy.not-allowed"]


@pytest.mark.parametrize(
    ("left", "code", "severity"),
    [
        (181, None, None),
        (180, "copy.certificate-180", Severity.NOTICE),
        (91, "copy.certificate-180", Severity.NOTICE),
        (90, "copy.certificate-90", Severity.NOTICE),
        (30, "copy.certificate-30", Severity.WARNING),
        (7, "copy.certificate-7", Severity.ALARM),
        (0, "copy.certificate-0", Severity.ALARM),
        (-1, None, None),
    ],
)
def test_a_certificate_that_ends_is_said_at_180_90_30_7_and_0_days(left, code, severity):
    found = host_notices(1, "Hébergeur", Verdict(True, None, (), days_left=left))
    assert [(each.code, each.severity) for each in found] == (
        [] if code is None else [(code, severity)]
    )
    for each in found:
        assert "%(" not in each.words("fr")


def test_a_notice_takes_no_green_away():
    assert level(verdict=Verdict(True, None, (), days_left=20)) is Level.PROVEN


def test_repositories_carried_over_are_said_and_not_green():
    assert level(carried_over=1) is Level.WARNED


def test_immutable_is_shown_only_after_every_attempt_and_for_two_nights():
    attempts = [
        {"action": each.value, "outcome": "refused", "detail": ""} for each in EXPECTED["sftp"]
    ]

    def shown(tried, ago=timedelta(hours=5)):
        tamper = proof(CopyProof.TAMPER, ago=ago, figures={"kind": "sftp", "attempts": tried})
        return judge(replace(GOOD, proofs=(*ALL, tamper)), NOW).is_immutable_shown

    assert shown(attempts)
    assert not shown(attempts[1:])
    assert not shown([*attempts[1:], {**attempts[0], "outcome": "done"}])
    assert not shown([*attempts[1:], {"action": "of-a-newer-program", "outcome": "refused"}])
    assert not shown(attempts, ago=timedelta(hours=51))
    assert not judge(GOOD, NOW).is_immutable_shown


def test_every_sentence_has_its_words_in_both_languages():
    readings = [
        {},
        {"proofs": ()},
        {"is_kit_confirmed": False},
        {"forged": 2},
        {"carried_over": 2},
        {"newest_at": None, "proofs": ()},
        {"newest_at": None, "proofs": (), "is_running": True},
        {"proofs": (complete(taken=NOW - timedelta(days=3)), *ALL[1:])},
        {"verdict": judge_hosting(None, None, NOW.date())},
        {"last_push_state": JobState.FAILED, "last_push_error": "target.full"},
    ]
    for changes in readings:
        found = judge(replace(GOOD, **changes), NOW)
        for language in ("fr", "en"):
            said = [found.sentence.words(language)]
            said += [each.words(language) for each in found.reasons]
            said += [each.action_words(language) for each in found.reasons]
            assert all("%(" not in text for text in said)
