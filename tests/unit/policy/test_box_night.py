"""When the box's own state is taken: after the others, and not for ever after."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from appliance.model import Plan
from appliance.policy.box_night import CATCH_UP, LEAD, OtherNight, waits_for_others
from appliance.policy.timetable import latest_window

PARIS = ZoneInfo("Europe/Paris")
EVENING = datetime(2026, 1, 14, 19, 5, tzinfo=UTC)  # 20:05 in Paris
WINDOW = latest_window(Plan(), EVENING, PARIS)
TONIGHT = EVENING + timedelta(minutes=1)
YESTERDAY = EVENING - timedelta(days=1)
BY_DAY = Plan(window_start="12:00", window_end="14:00")
AT_FIVE = Plan(window_start="05:00", window_end="06:00")


@pytest.mark.parametrize(
    ("other", "waits"),
    [
        (None, False),
        (OtherNight(Plan(), is_busy=False, taken_at=None), True),
        (OtherNight(Plan(), is_busy=False, taken_at=YESTERDAY), True),
        (OtherNight(Plan(), is_busy=False, taken_at=TONIGHT), False),
        (OtherNight(Plan(), is_busy=True, taken_at=TONIGHT), True),  # it is pruned just now
        (OtherNight(BY_DAY, is_busy=False, taken_at=None), False),  # nothing of it is due tonight
        (OtherNight(AT_FIVE, is_busy=False, taken_at=YESTERDAY), False),  # after the last call
        (OtherNight(Plan(window_start="23:00"), is_busy=False, taken_at=YESTERDAY), True),
        (OtherNight(Plan(weekdays=()), is_busy=False, taken_at=None), False),
        (OtherNight(Plan(weekdays=()), is_busy=True, taken_at=None), True),
    ],
)
def test_in_the_night_it_waits_for_what_is_still_to_come(other, waits):
    """A machine that pushes has no night of its own: only its work is waited for."""
    others = [] if other is None else [other]
    now = EVENING + timedelta(hours=3)

    assert waits_for_others(WINDOW, others, now=now, tz=PARIS) is waits


def test_at_the_last_call_nobody_is_waited_for():
    """The copy leaves after it: a machine that reads for hours must not keep the whole box inside."""
    busy = [OtherNight(Plan(), is_busy=True, taken_at=None)]
    last_call = WINDOW.end - LEAD

    assert waits_for_others(WINDOW, busy, now=last_call - timedelta(seconds=1), tz=PARIS)
    assert not waits_for_others(WINDOW, busy, now=last_call, tz=PARIS)


def test_a_missed_night_is_caught_up_after_those_that_are_at_work():
    """The box was off: all of them begin in the morning; sleeping machines are not waited for."""
    busy = [OtherNight(Plan(), is_busy=True, taken_at=None)]
    asleep = [OtherNight(Plan(), is_busy=False, taken_at=None)]
    morning = WINDOW.end + timedelta(hours=2)

    assert waits_for_others(WINDOW, busy, now=morning, tz=PARIS)
    assert not waits_for_others(WINDOW, asleep, now=morning, tz=PARIS)
    assert not waits_for_others(WINDOW, busy, now=WINDOW.end + CATCH_UP, tz=PARIS)
