"""Readings of the box become findings with words and something to do."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import SourceId
from appliance.policy.findings import (
    Severity,
    box_drift,
    clock_finding,
    days_until_full,
    disk_finding,
    machine_clock_finding,
)
from appliance.policy.wording import duration_words, in_language, percent_words, size_words
from appliance.units import DAY_S

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TB = 10**12


@pytest.mark.parametrize(
    ("used", "days", "code", "severity"),
    [
        (0.5, None, None, None),
        (0.7999, 31, None, None),
        (0.80, None, "disk.nearly-full", Severity.WARNING),
        (0.8999, 400, "disk.nearly-full", Severity.WARNING),
        (0.90, None, "disk.nearly-full", Severity.ALARM),
        (1.0, 0, "disk.nearly-full", Severity.ALARM),
        (0.5, 30, "disk.full-soon", Severity.WARNING),
        (0.5, 7, "disk.full-soon", Severity.ALARM),
    ],
)
def test_a_disk_warns_at_80_and_alarms_at_90_percent_or_when_it_fills_soon(
    used, days, code, severity
):
    """domain.md SAV-25."""
    found = disk_finding(used * TB, TB, days)

    assert (found and found.code, found and found.severity) == (code, severity)


def test_a_disk_that_cannot_be_read_is_an_alarm_not_an_empty_disk():
    """A capacity of nothing is a doubt."""
    found = disk_finding(0, 0, None)

    assert found.code == "disk.unreadable"
    assert found.severity is Severity.ALARM


def test_a_full_disk_is_said_in_french_and_english():
    """With the space French puts before the percent sign, and what to do."""
    found = disk_finding(0.853 * TB, TB, None)

    assert found.words("en") == "The disk of the box is 85% full."
    assert found.words("fr") == "Le disque du boîtier est plein à 85 %."
    assert found.action_words("fr").startswith("Libérez de la place")


@given(
    st.floats(0, 1e12),
    st.floats(1e6, 1e10),
    st.integers(4, 30),
)
def test_a_steady_growth_is_foretold_exactly(start, a_day, days):
    """The line through the readings meets the capacity where arithmetic says."""
    readings = [(NOW + timedelta(days=day), start + a_day * day) for day in range(days)]
    capacity = readings[-1][1] + 10 * a_day

    assert days_until_full(readings[::-1], capacity) == pytest.approx(10, rel=1e-3)


@pytest.mark.parametrize(
    "readings",
    [
        [],
        [(NOW, 1.0), (NOW + timedelta(days=9), 2.0)],
        [(NOW + timedelta(hours=hour), float(hour)) for hour in range(70)],
        [(NOW + timedelta(days=day), 5.0) for day in range(9)],
        [(NOW + timedelta(days=day), 50.0 - day) for day in range(9)],
    ],
)
def test_nothing_is_foretold_from_too_little_or_without_growth(readings):
    """A guess from one afternoon would cry wolf."""
    assert days_until_full(readings, TB) is None


def test_a_disk_that_is_over_its_capacity_is_full_today():
    """Not in minus three days."""
    assert days_until_full([(NOW + timedelta(days=day), day * 1.0) for day in range(9)], 2.0) == 0.0


@pytest.mark.parametrize(
    ("machines", "box"),
    [
        ([], None),
        ([60], None),  # one alone may itself be wrong
        ([60, 61], 61),
        ([-600, -602, -601], -601),
        ([60, 0], None),  # they do not agree: nobody knows
        ([3, 4], None),  # nobody sees five seconds
    ],
)
def test_machines_that_agree_with_each_other_say_that_the_box_is_wrong(machines, box):
    """domain.md SEC-14, without asking a time server that may be out of reach."""
    found = box_drift([timedelta(seconds=each) for each in machines])

    assert found == (None if box is None else timedelta(seconds=box))


@pytest.mark.parametrize(
    ("seconds", "severity"),
    [
        (0, None),
        (5, None),
        (-5, None),
        (6, Severity.WARNING),
        (-299, Severity.WARNING),
        (300, Severity.ALARM),
        (-DAY_S, Severity.ALARM),
    ],
)
def test_a_clock_off_by_more_than_five_seconds_is_said(seconds, severity):
    """domain.md SEC-14, whichever way it is off."""
    found = clock_finding(timedelta(seconds=seconds))

    assert (found and found.severity) == severity


def test_a_machines_clock_is_a_notice_from_five_minutes_on():
    """It harms dates, not bytes."""
    assert machine_clock_finding(SourceId(3), "Accueil", timedelta(seconds=299)) is None
    found = machine_clock_finding(SourceId(3), "Accueil", timedelta(minutes=-12))

    assert found.severity is Severity.NOTICE
    assert found.words("fr") == (
        "L’horloge de « Accueil » est décalée de 12 minutes : les dates de ses fichiers aussi."
    )


@pytest.mark.parametrize(
    ("span", "english", "french"),
    [
        (timedelta(seconds=-3), "0 seconds", "0 seconde"),
        (timedelta(seconds=1), "1 second", "1 seconde"),
        (timedelta(seconds=59.9), "59 seconds", "59 secondes"),
        (timedelta(minutes=1), "1 minute", "1 minute"),
        (timedelta(minutes=59), "59 minutes", "59 minutes"),
        (timedelta(hours=1), "1 hour", "1 heure"),
        (timedelta(hours=47), "47 hours", "47 heures"),
        (timedelta(days=2), "2 days", "2 jours"),
        (timedelta(days=400, hours=23), "400 days", "400 jours"),
    ],
)
def test_a_duration_is_said_in_its_largest_unit(span, english, french):
    """Up to two days in hours: «47 hours» says more than «1 day»."""
    assert duration_words(span, "en") == english
    assert duration_words(span, "fr") == french


@pytest.mark.parametrize(
    ("size", "english", "french"),
    [
        (0, "0 B", "0 o"),
        (999, "999 B", "999 o"),
        (1000, "1.0 kB", "1,0 ko"),
        (1_234_567, "1.2 MB", "1,2 Mo"),
        (9_960_000, "10 MB", "10 Mo"),
        (999_499, "999 kB", "999 ko"),
        (999_500, "1.0 MB", "1,0 Mo"),
        (3.2e15, "3.2 PB", "3,2 Po"),
        (3.2e18, "3200 PB", "3200 Po"),
    ],
)
def test_a_size_is_said_as_disks_are_sold(size, english, french):
    """Thousands, a comma and «octets» in French."""
    assert size_words(size, "en") == english
    assert size_words(size, "fr") == french


@pytest.mark.parametrize(
    ("part", "english", "french"),
    [(0, "0%", "0 %"), (0.004, "0.4%", "0,4 %"), (0.3, "30%", "30 %"), (1, "100%", "100 %")],
)
def test_a_share_is_said_in_percent(part, english, french):
    """With a decimal only where it matters."""
    assert percent_words(part, "en") == english
    assert percent_words(part, "fr") == french


def test_facts_are_written_the_readers_way():
    """By their type and the end of their name; the rest stays as it is."""
    facts = {
        "age": timedelta(hours=3),
        "free_bytes": 2e9,
        "used_share": 0.5,
        "reason": "failed",
        "label": "failed",
        "odd_bytes": "?",
        "odd_share": None,
        "count": 3,
    }

    assert in_language(facts, "fr") == {
        **facts,
        "age": "3 heures",
        "free_bytes": "2,0 Go",
        "used_share": percent_words(0.5, "fr"),
        "reason": "en échec",
    }
