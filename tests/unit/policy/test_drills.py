"""Drills: a verdict only from what was compared, and a reminder each quarter."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from appliance.model import Outcome
from appliance.policy import drills
from appliance.policy.drills import Drill, RepositoryLine
from appliance.policy.findings import Severity

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
LINE = RepositoryLine(1, "Partage", 12, 4_000_000, 1.5, "right")
RIGHT = Drill(
    "Disque", 3, "2026-11-23T02:00:00+00:00",
    repositories=(LINE,), documents=9, documents_same=9, segments=4, segments_same=4,
    restored_s=90.0,
)  # fmt: skip


def codes(found):
    return [each.code for each in found]


def test_a_drill_that_made_the_box_again_is_proven():
    assert RIGHT.is_right
    assert RIGHT.outcome is Outcome.PROVEN


@pytest.mark.parametrize(
    "harm",
    [
        {"reason": "target.object-missing"},
        {"documents_different": 1},
        {"segments_different": 1},
        {"repositories_missing": 1},
        {"passphrases_wrong": 1},
        {"ledger_follows": False},
        {"repositories": (LINE, replace(LINE, check="damaged"))},
    ],
)
def test_one_difference_makes_it_fail(harm):
    """No figure outweighs another."""
    assert replace(RIGHT, **harm).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    "doubt", [{"lost_s": 86_400}, {"faults": 1}, {"documents_same": 0, "segments_same": 0}]
)
def test_an_older_generation_or_nothing_compared_is_no_proof(doubt):
    """Green means the newest copy made this box, and that somebody looked."""
    assert replace(RIGHT, **doubt).outcome is Outcome.INCONCLUSIVE


def test_figures_survive_the_chain():
    """They are plain JSON, and what a later program adds does no harm."""
    stored = json.loads(json.dumps(drills.to_figures(RIGHT)))
    stored["later"] = 1
    stored["repositories"][0]["later"] = 1

    assert drills.from_figures(stored) == RIGHT
    assert drills.from_figures({}).generation == 0


def test_promises_are_those_of_the_strictest_plan():
    assert drills.strictest([(24, 12), (8, 48)]) == (8 * 3600, 12 * 3600)
    assert drills.strictest([]) == (0, 0)
    slow = replace(RIGHT, dmia_s=60, data_age_s=7200, pdma_s=3600)
    assert slow.is_slower_than_promised
    assert slow.is_older_than_promised
    assert not RIGHT.is_slower_than_promised


def test_the_first_drill_is_asked_for_as_soon_as_there_is_a_copy():
    assert drills.findings(last=None, last_right=None, first_copy=None, now=NOW) == []
    (found,) = drills.findings(last=None, last_right=None, first_copy=NOW, now=NOW)
    assert (found.code, found.severity) == ("drill.never", Severity.NOTICE)


@pytest.mark.parametrize(
    ("days", "expected"),
    [(84, []), (85, [Severity.NOTICE]), (364, [Severity.NOTICE]), (365, [Severity.WARNING])],
)
def test_one_a_quarter_and_a_warning_after_a_year(days, expected):
    right = NOW - timedelta(days=days)
    found = drills.findings(
        last=(right, Outcome.PROVEN, RIGHT),
        last_right=right,
        first_copy=NOW - timedelta(days=900),
        now=NOW,
    )
    assert [each.severity for each in found] == expected


def test_a_failed_drill_is_an_alarm_until_another_succeeds():
    """The last word counts, and the reminder goes on beside it."""
    broken = replace(RIGHT, reason="target.object-altered")
    found = drills.findings(
        last=(NOW, Outcome.FAILED, broken),
        last_right=NOW - timedelta(days=200),
        first_copy=NOW - timedelta(days=900),
        now=NOW,
    )
    assert codes(found) == ["drill.failed", "drill.due"]
    assert "Disque" in found[0].words("fr")


def test_slower_than_promised_is_said():
    slow = replace(RIGHT, dmia_s=60)
    found = drills.findings(
        last=(NOW, Outcome.PROVEN, slow), last_right=NOW, first_copy=NOW, now=NOW
    )
    assert codes(found) == ["drill.slow"]
