"""What the practice may choose, and what it may not."""

import pytest

from appliance.errors import InvalidInput
from appliance.policy.practice_settings import (
    BY_KEY,
    GROUP_NAMES,
    SETTINGS,
    Group,
    Kind,
    check_together,
    parse,
    setting,
)

GOOD = {
    "practice.name": "Cabinet des Lilas",
    "practice.address": "",
    "practice.language": "fr",
    "nights.start": "20:00",
    "nights.end": "06:00",
    "shares.bin-days": 30,
    "links.longest-days": 90,
    "links.days": 7,
    "ledger.months": 12,
    "ledger.reason": "",
}


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("practice.name", "  Cabinet   des Lilas ", "Cabinet des Lilas"),
        ("practice.address", "1, rue\r\n 75001  Paris \n", "1, rue\n75001 Paris"),
        ("practice.address", "", ""),
        ("practice.language", "en", "en"),
        ("nights.start", "03:00", "03:00"),
        ("links.days", "14", 14),
        ("links.days", 14, 14),
        ("links.password", "on", True),
        ("links.password", "non", False),
        ("links.password", True, True),
        ("ledger.months", " 24 ", 24),
    ],
)
def test_what_is_meant_is_understood(key, given, value):
    """A form, a program and a person at a console write it differently."""
    assert parse(BY_KEY[key], given) == value


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("practice.name", ""),
        ("practice.name", "x" * 201),
        ("practice.name", "Cabinet\x1b[31m"),
        ("practice.name", None),
        ("practice.address", "a\n" * 7),
        ("practice.language", "de"),
        ("practice.time-zone", "Europe/Atlantis"),
        ("practice.time-zone", "../../etc/passwd"),
        ("nights.start", "25:00"),
        ("nights.start", "3h"),
        ("sign-in.idle-minutes", 31),
        ("sign-in.idle-minutes", 4),
        ("sign-in.idle-minutes", True),
        ("sign-in.idle-minutes", "²"),
        ("links.longest-days", 91),
        ("links.longest-days", "-1"),
        ("shares.bin-days", 0),
        ("shares.bin-days", 1.5),
        ("links.password", "perhaps"),
        ("links.password", None),
    ],
)
def test_what_is_no_value_is_refused_with_words(key, given):
    """Each refusal says what would be right."""
    with pytest.raises(InvalidInput) as raised:
        parse(BY_KEY[key], given)
    assert raised.value.name == key
    assert raised.value.expected


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"nights.end": "20:00"}, "nights.end"),
        ({"links.longest-days": 5}, "links.days"),
        ({"ledger.months": 24}, "ledger.months"),
    ],
)
def test_two_choices_that_contradict_each_other_are_refused(changes, name):
    """Each is right alone."""
    check_together(GOOD)
    with pytest.raises(InvalidInput) as raised:
        check_together({**GOOD, **changes})
    assert raised.value.name == name


def test_every_setting_has_its_words_its_bounds_and_a_group():
    """Nothing half described reaches the page."""
    assert len(BY_KEY) == len(SETTINGS)
    assert {each.group for each in SETTINGS} == set(Group) == set(GROUP_NAMES)
    for each in SETTINGS:
        assert each.label
        assert each.expected
        assert (each.kind is Kind.NUMBER) == (each.most > 0)
        assert (each.kind in {Kind.TEXT, Kind.LINES}) == (each.longest > 0)
    with pytest.raises(InvalidInput):
        setting("no.such")
