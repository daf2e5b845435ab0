"""How the pages say numbers and times."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from babel.dates import format_date

from appliance.web.render import Words

NOW = datetime(2026, 11, 23, 16, 30, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")
FRENCH, ENGLISH = Words("fr", PARIS, NOW), Words("en", PARIS, NOW)


@pytest.mark.parametrize("offset", range(0, 366, 13))
def test_days_are_named_as_a_locale_library_names_them(offset):
    """Unicode CLDR, through babel."""
    day = date(2026, 1, 1) + timedelta(days=offset)
    assert FRENCH.day(day) == format_date(day, "EEEE d MMMM", locale="fr_FR")
    assert ENGLISH.day(day) == format_date(day, "EEEE, d MMMM", locale="en_GB")


def test_a_moment_is_told_in_the_practices_time():
    """16:30 UTC is half past five in Paris in November."""
    assert FRENCH.moment(NOW) == "lundi 23 novembre 2026 à 17:30"
    assert ENGLISH.moment(NOW) == "Monday, 23 November 2026, 17:30"
    assert FRENCH.short(NOW) == "23/11/2026 17:30"
    summer = datetime(2026, 7, 14, 22, 30, tzinfo=UTC)
    assert FRENCH.day(summer) == "mercredi 15 juillet"


def test_an_age_is_told_in_one_unit():
    """«à l’instant», «il y a 3 heures»."""
    assert FRENCH.ago(NOW - timedelta(seconds=3)) == "à l’instant"
    assert FRENCH.ago(NOW - timedelta(hours=3, minutes=20)) == "il y a 3 heures"
    assert ENGLISH.ago(NOW - timedelta(days=4)) == "4 days ago"


def test_numbers_are_parted_as_the_reader_parts_them():
    """A narrow space in French, a comma in English; sizes in o and B."""
    assert FRENCH.number(1234567) == "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"
    assert ENGLISH.number(1234567) == "1,234,567"
    assert FRENCH.size(1_234_000) == "1,2\N{NO-BREAK SPACE}Mo"
    assert FRENCH.count("%(count)s file", "%(count)s files", 12345).startswith(
        "12\N{NARROW NO-BREAK SPACE}345"
    )


def test_french_quotes_and_double_signs_keep_to_their_words():
    """«:» never begins a line."""
    assert FRENCH.spaced("« Poste » : vu ?") == "«\u00a0Poste\u00a0»\u00a0: vu\u00a0?"
    assert ENGLISH.spaced("a : b") == "a : b"


def test_a_stored_text_of_another_version_is_shown_rather_than_failing():
    """A note whose facts changed is still readable."""
    assert ENGLISH.explain("%(count)s files", {}) == "%(count)s files"
    assert ENGLISH.explain("%(count)s files", {"other": 1}) == "%(count)s files"
