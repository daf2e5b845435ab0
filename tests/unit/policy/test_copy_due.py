"""Once a night, after the night's snapshots, at five o'clock at the latest."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from appliance.model import Plan
from appliance.policy.copy_due import (
    AGAIN_AFTER,
    CopyNight,
    PushRun,
    SourceNight,
    copy_night,
    push_due,
)

PARIS = ZoneInfo("Europe/Paris")
PLAN = Plan()  # 20:00 to 06:00
LATE_PLAN = Plan(window_start="22:30", window_end="06:00")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def at(day, hour, minute=0):
    return datetime(2026, 11, day, hour, minute, tzinfo=PARIS).astimezone(UTC)


def source(done=None, plan=PLAN, *, busy=False):
    return SourceNight(plan, busy, done)


def night(*sources, now):
    return copy_night(sources, now, PARIS)


def due(found, last=None, *, now, known_since=LONG_AGO):
    return push_due(found, last, known_since=known_since, now=now)


def run(began, *, ended=True, succeeded=True, may_retry=False):
    return PushRun(began, began + timedelta(hours=1) if ended else None, succeeded, may_retry)


def test_it_leaves_as_soon_as_everything_of_the_night_is_done():
    now = at(23, 23)
    waiting = night(source(at(23, 20, 10)), source(at(22, 21)), now=now)
    done = night(source(at(23, 20, 10)), source(at(23, 21)), now=now)

    assert not due(waiting, now=now)
    assert due(done, now=now)
    assert done.done_at == at(23, 21)


def test_a_source_still_at_work_is_waited_for():
    now = at(23, 23)
    assert not due(night(source(at(23, 20, 10), busy=True), now=now), now=now)


def test_at_five_it_leaves_whatever_is_missing():
    """A machine that sleeps all night does not keep the practice's copy at home."""
    asleep = (source(at(23, 20, 10)), source(at(21, 21)))
    assert not due(night(*asleep, now=at(24, 4, 59)), now=at(24, 4, 59))
    assert due(night(*asleep, now=at(24, 5)), now=at(24, 5))


def test_once_a_night():
    done = (source(at(23, 21)),)
    pushed = run(at(23, 21, 5))
    for now in (at(23, 22), at(24, 5), at(24, 12), at(24, 19, 59)):
        assert not due(night(*done, now=now), pushed, now=now)
    next_night = (source(at(24, 21)),)
    assert due(night(*next_night, now=at(24, 21, 1)), pushed, now=at(24, 21, 1))


def test_windows_that_begin_at_different_hours_are_one_night():
    """At 21:00 the earlier window is open and the later one is yesterday's: nothing is due twice."""
    pushed = run(at(22, 23, 30))
    sources = (source(at(22, 20, 30)), source(at(22, 23, 10), LATE_PLAN))
    now = at(23, 21)
    assert not due(night(*sources, now=now), pushed, now=now)
    now = at(23, 23, 30)
    later = (source(at(23, 20, 30)), source(at(23, 23, 10), LATE_PLAN))
    assert due(night(*later, now=now), pushed, now=now)


def test_what_a_person_sent_before_the_night_was_done_is_not_the_nights_copy():
    now = at(23, 23)
    assert due(night(source(at(23, 22)), now=now), run(at(23, 20, 30)), now=now)


def test_a_push_under_way_is_not_begun_again():
    now = at(24, 5)
    found = night(source(at(23, 21)), now=now)
    assert not due(found, run(at(23, 22), ended=False), now=now)
    assert not due(found, run(at(22, 22), ended=False), now=now)


def test_a_place_that_was_away_is_tried_again_and_one_that_refused_is_not():
    found = night(source(at(23, 21)), now=at(24, 9))
    away = run(at(24, 5), succeeded=False, may_retry=True)
    refused = run(at(24, 5), succeeded=False)
    ended = at(24, 6)

    assert not due(found, away, now=ended + AGAIN_AFTER - timedelta(minutes=1))
    assert due(found, away, now=ended + AGAIN_AFTER)
    assert not due(found, refused, now=ended + AGAIN_AFTER)


def test_a_box_that_was_off_at_five_sends_in_the_morning():
    now = at(24, 9)
    assert due(night(source(at(22, 21)), now=now), run(at(22, 22)), now=now)


def test_a_place_added_in_the_day_waits_for_the_night():
    now = at(24, 14)
    found = night(source(at(23, 21)), now=now)
    assert not due(found, now=now, known_since=at(24, 13))
    assert due(found, now=now, known_since=at(23, 13))


def test_without_any_source_the_night_is_the_evening_before():
    now = at(24, 6)
    assert night(now=now) == CopyNight(at(23, 20), at(24, 5), None)


@pytest.mark.parametrize("day", [25, 29])  # October: 25 is the night the clocks go back
def test_five_o_clock_is_the_practices(day):
    now = datetime(2026, 10, day, 3, 30, tzinfo=UTC)
    found = copy_night([source(None)], now, PARIS)
    assert found.latest_at.astimezone(PARIS).hour == 5
