"""How fast copies may leave."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InvalidInput
from appliance.policy.bandwidth import (
    USUAL,
    Rule,
    check,
    from_stored,
    next_change,
    rate_at,
    to_stored,
)

PARIS = ZoneInfo("Europe/Paris")
NIGHT = Rule(bytes_s=None, start=time(20), end=time(6))


def paris(day: int, hour: int, minute: int = 0) -> datetime:
    """23 November 2026 is a Monday."""
    return datetime(2026, 11, day, hour, minute, tzinfo=PARIS)


@pytest.mark.parametrize(
    ("moment", "rate"),
    [
        (paris(23, 7, 59), None),
        (paris(23, 8), 250_000),
        (paris(23, 18, 59), 250_000),
        (paris(23, 19), None),
        (paris(28, 12), 250_000),  # Saturday
        (paris(28, 13), None),
        (paris(29, 12), None),  # Sunday
    ],
)
def test_consultations_keep_the_line(moment, rate):
    assert rate_at(USUAL, moment) == rate


def test_the_first_rule_that_applies_wins():
    rules = (NIGHT, Rule(bytes_s=0))

    assert rate_at(rules, paris(23, 21)) is None
    assert rate_at(rules, paris(23, 5)) is None
    assert rate_at(rules, paris(23, 12)) == 0
    assert rate_at((), paris(23, 12)) is None


def test_a_rule_over_midnight_belongs_to_the_day_it_begins():
    friday_night = (Rule(bytes_s=5_000, days=frozenset({4}), start=time(22), end=time(6)),)

    assert rate_at(friday_night, paris(27, 23)) == 5_000
    assert rate_at(friday_night, paris(28, 5)) == 5_000
    assert rate_at(friday_night, paris(28, 23)) is None
    assert rate_at(friday_night, paris(27, 5)) is None


def test_a_rule_without_hours_is_the_whole_day():
    sunday = (Rule(bytes_s=0, days=frozenset({6})),)

    assert [rate_at(sunday, paris(day, 0)) for day in (28, 29, 30)] == [None, 0, None]
    assert rate_at(sunday, paris(29, 23, 59)) == 0


def test_the_next_change_is_told():
    assert next_change(USUAL, paris(23, 9)) == paris(23, 19)
    assert next_change(USUAL, paris(27, 20)) == paris(28, 8)
    assert next_change(USUAL, paris(28, 14)) == paris(30, 8)
    assert next_change((), paris(23, 9)) is None
    assert next_change((Rule(bytes_s=2_000),), paris(23, 9)) is None


@pytest.mark.parametrize(
    "rules",
    [
        (Rule(bytes_s=-1),),
        (Rule(bytes_s=10),),
        (Rule(bytes_s=0),),
        (Rule(bytes_s=0, start=time(8), end=time(20)), Rule(bytes_s=0)),
        (Rule(bytes_s=None, days=frozenset()),),
        (Rule(bytes_s=None, days=frozenset({7})),),
    ],
)
def test_rules_with_which_no_copy_would_ever_arrive_are_refused(rules):
    with pytest.raises(InvalidInput):
        check(rules)


TIMES = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30]))
RULES = st.lists(
    st.builds(
        Rule,
        bytes_s=st.one_of(st.none(), st.integers(2_000, 9_000_000)),
        days=st.frozensets(st.integers(0, 6), min_size=1),
        start=TIMES,
        end=TIMES,
    ),
    max_size=4,
)


@given(RULES, st.integers(0, 7 * 24 * 60 - 1))
def test_what_is_stored_says_the_same_and_between_changes_nothing_changes(rules, minute):
    moment = paris(23, 0) + timedelta(minutes=minute)
    stored = from_stored(to_stored(rules))

    assert rate_at(stored, moment) == rate_at(rules, moment)
    change = next_change(rules, moment)
    for step in range(0, 7 * 24 * 60, 15):
        at = moment + timedelta(minutes=step)
        if change is None or at < change:
            assert rate_at(rules, at) == rate_at(rules, moment)
    if change is not None:
        assert rate_at(rules, change) != rate_at(rules, moment)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"bytes_s": "x", "days": [0], "start": "08:00", "end": "09:00"},
        {"bytes_s": 5000, "days": [0], "start": "8", "end": "99:00"},
        {"bytes_s": 5000, "days": None, "start": "08:00", "end": "09:00"},
    ],
)
def test_a_stored_rule_that_is_none_is_said(row):
    with pytest.raises(InvalidInput):
        from_stored([row])
