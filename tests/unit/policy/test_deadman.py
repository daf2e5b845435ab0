"""Silence is what the second building listens for."""

from datetime import UTC, datetime, timedelta

import pytest

from appliance.policy.deadman import silence_finding
from appliance.policy.findings import Severity

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def ago(**span) -> datetime:
    return NOW - timedelta(**span)


def found(object_at, generation_at, known_since=None):
    one = silence_finding(
        "Cabinet",
        now=NOW,
        object_at=object_at,
        generation_at=generation_at,
        known_since=known_since,
    )
    return one and (one.code, one.severity)


@pytest.mark.parametrize(
    ("object_at", "generation_at", "expected"),
    [
        (ago(hours=1), ago(hours=1), None),
        (ago(hours=25, minutes=59), ago(hours=25, minutes=59), None),
        (ago(hours=26), ago(hours=26), ("receive.silent", Severity.WARNING)),
        (ago(hours=47), ago(hours=47), ("receive.silent", Severity.WARNING)),
        (ago(hours=48), ago(hours=72), ("receive.silent", Severity.ALARM)),
        (ago(hours=1), None, ("receive.incomplete", Severity.NOTICE)),
        (ago(hours=1), ago(hours=30), ("receive.incomplete", Severity.NOTICE)),
        (ago(hours=1), ago(hours=50), ("receive.incomplete", Severity.WARNING)),
        (None, None, ("receive.nothing-yet", Severity.NOTICE)),
        (NOW + timedelta(minutes=4), NOW, None),
        (NOW + timedelta(minutes=6), NOW, ("receive.clock", Severity.ALARM)),
    ],
)
def test_what_is_said_when(object_at, generation_at, expected):
    assert found(object_at, generation_at) == expected


def test_a_sender_let_in_long_ago_that_never_sent_is_said_louder():
    assert found(None, None, ago(hours=25)) == ("receive.nothing-yet", Severity.NOTICE)
    assert found(None, None, ago(hours=26)) == ("receive.nothing-yet", Severity.WARNING)


def test_it_is_said_in_words():
    one = silence_finding("Cabinet", now=NOW, object_at=ago(hours=27), generation_at=None)

    assert one.words("en") == "Nothing received from «Cabinet» for 27 hours."
    assert one.words("fr") == "Rien reçu de « Cabinet » depuis 27 heures."
