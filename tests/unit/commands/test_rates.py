"""How a person writes the timetable of a line."""

from datetime import time

import pytest

from appliance.commands.rates import rule_of, rule_words
from appliance.errors import InvalidInput
from appliance.policy.bandwidth import EVERY_DAY, USUAL, Rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("mon-fri 08:00-19:00 2Mbit", Rule(250_000, frozenset(range(5)), time(8), time(19))),
        ("lun-ven 8:00-19:00 250ko/s", Rule(250_000, frozenset(range(5)), time(8), time(19))),
        ("sam,dim libre", Rule(None, frozenset({5, 6}))),
        ("fri-mon 1,5MB", Rule(1_500_000, frozenset({4, 5, 6, 0}))),
        ("22:00-06:00 pause", Rule(0, EVERY_DAY, time(22), time(6))),
        ("20Mbit", Rule(2_500_000)),
    ],
)
def test_a_rule_is_read_as_a_person_writes_it(text, rule):
    """Days and hours may be left out; bits and bytes, French and English are understood."""
    assert rule_of(text) == rule


@pytest.mark.parametrize(
    "text", ["", "mon-fri", "08:00-19:00", "fast", "mon-foo 2Mbit", "25:00-26:00 2Mbit", "2Mbit 3Mbit", "2Mb"]
)  # fmt: skip
def test_what_cannot_be_read_is_refused(text):
    """Half a rule is no rule."""
    with pytest.raises(InvalidInput):
        rule_of(text)


@pytest.mark.parametrize("language", ["fr", "en"])
def test_what_is_said_is_read_back_the_same(language):
    """«target bandwidth» prints rules that may be given to it again."""
    rules = [*USUAL, Rule(None, frozenset({0, 2})), Rule(0), Rule(2_500_000, frozenset({6}))]

    assert [rule_of(rule_words(each, language)) for each in rules] == rules
