"""When a source is backed up, across midnights, clock changes, sleep and wrong clocks."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import Plan
from appliance.policy.timetable import (
    RETRY_AFTER,
    ClockWrong,
    Due,
    DueBecause,
    Lateness,
    Missed,
    NotYet,
    WaitForMachine,
    due,
    late_state,
    latest_window,
    next_window,
    unseen_days,
    window_of_night,
)

PARIS = ZoneInfo("Europe/Paris")
PLAN = Plan()  # 20:00 to 06:00, every night
HOUR = timedelta(hours=1)


def paris(text: str) -> datetime:
    """A time as the practice's wall clock shows it, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=PARIS).astimezone(UTC)


def test_a_window_crosses_midnight_and_is_named_after_the_day_it_begins():
    """The night of the 23rd ends on the 24th at six."""
    window = window_of_night(PLAN, date(2026, 11, 23), PARIS)

    assert (window.start, window.end) == (paris("2026-11-23T20:00"), paris("2026-11-24T06:00"))
    assert window.night == date(2026, 11, 23)


@pytest.mark.parametrize(
    ("night", "start", "end", "hours"),
    [
        (date(2026, 3, 28), "20:00", "06:00", 9),  # spring: an hour is missing
        (date(2026, 10, 24), "20:00", "06:00", 11),  # autumn: one comes twice
        (date(2026, 3, 29), "02:30", "04:00", 0.5),  # begins in the missing hour: 03:30 to 04:00
        (date(2026, 3, 29), "01:00", "02:30", 1.5),  # ends in the missing hour: at 03:30
        (date(2026, 3, 29), "02:10", "02:50", 40 / 60),  # lies in it whole
        (date(2026, 3, 29), "02:30", "03:15", 0.75),  # would end before it begins
        (
            date(2026, 10, 25),
            "01:30",
            "02:30",
            2,
        ),  # ends in the hour that comes twice: at the second
        (date(2026, 10, 25), "02:30", "03:30", 2),  # begins in it: at the first
        (date(2026, 11, 23), "12:00", "13:30", 1.5),
        (date(2026, 11, 23), "20:00", "20:00", 24),
    ],
)
def test_a_window_is_as_long_as_the_clocks_make_it(night, start, end, hours):
    """No window is empty, ends before it begins, or loses the repeated hour."""
    window = window_of_night(Plan(window_start=start, window_end=end), night, PARIS)

    assert window.end - window.start == timedelta(hours=hours)


@given(
    st.dates(date(2020, 1, 1), date(2037, 12, 31)),
    st.times(),
    st.times(),
    st.sampled_from(
        ["Europe/Paris", "Indian/Reunion", "America/Martinique", "Pacific/Noumea", "UTC"]
    ),
)
def test_every_window_has_a_length_between_nothing_and_a_day_and_an_hour(night, starts, ends, zone):
    """Whatever the times, the zone and the night."""
    plan = Plan(window_start=f"{starts:%H:%M}", window_end=f"{ends:%H:%M}")
    window = window_of_night(plan, night, ZoneInfo(zone))

    assert timedelta(0) < window.end - window.start <= timedelta(hours=25)


plans = st.builds(
    Plan,
    window_start=st.times().map("{:%H:%M}".format),
    window_end=st.times().map("{:%H:%M}".format),
    weekdays=st.sets(st.integers(1, 7), min_size=1).map(lambda days: tuple(sorted(days))),
)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(plans, moments)
def test_the_next_and_the_latest_window_lie_around_now(plan, now):
    """There is always one behind and one ahead, on a day the plan names, with none between."""
    latest, following = latest_window(plan, now, PARIS), next_window(plan, now, PARIS)

    assert latest.start <= now < following.start
    assert {latest.night.isoweekday(), following.night.isoweekday()} <= set(plan.weekdays)
    assert next_window(plan, latest.start, PARIS) == following


@given(plans, moments, st.lists(st.integers(1, 5 * 24 * 60), max_size=40))
def test_a_night_is_done_once_whenever_one_asks(plan, now, steps):
    """A planner that asks at any moments, every run succeeding at once, never repeats a night."""
    done: dict[date, int] = {}
    last = None
    for minutes in steps:
        now += timedelta(minutes=minutes)
        verdict = due(plan, last_success_started=last, last_attempt=last, now=now, tz=PARIS)
        if isinstance(verdict, Due | Missed):
            done[verdict.window.night] = done.get(verdict.window.night, 0) + 1
            last = now

    assert set(done.values()) <= {1}


@given(plans, moments, st.integers(1, 72))
def test_a_machine_that_always_fails_is_not_hammered(plan, now, ask_every_half_hours):
    """Failed runs are an hour apart at least, and one a night once the window is over."""
    attempts: list[datetime] = []
    after_window: dict[date, int] = {}
    for _ in range(100):
        now += timedelta(minutes=30 * ask_every_half_hours)
        last = attempts[-1] if attempts else None
        verdict = due(plan, last_success_started=None, last_attempt=last, now=now, tz=PARIS)
        if isinstance(verdict, Due | Missed):
            assert last is None or now - last >= RETRY_AFTER or last < verdict.window.start
            attempts.append(now)
        if isinstance(verdict, Missed):
            after_window[verdict.window.night] = after_window.get(verdict.window.night, 0) + 1

    assert set(after_window.values()) <= {1}


def ask(
    now: str, *, success: str | None = None, attempt: str | None = None, plan: Plan = PLAN, **more
):
    return due(
        plan,
        last_success_started=paris(success) if success else None,
        last_attempt=paris(attempt or success) if attempt or success else None,
        now=paris(now),
        tz=PARIS,
        **more,
    )


def test_a_run_begins_when_the_window_opens_and_not_before():
    """Yesterday's success does not count for tonight."""
    assert ask("2026-11-23T19:59", success="2026-11-22T20:00") == NotYet(paris("2026-11-23T20:00"))
    verdict = ask("2026-11-23T20:00", success="2026-11-22T20:00")

    assert isinstance(verdict, Due)
    assert verdict.because is DueBecause.WINDOW
    assert verdict.window.night == date(2026, 11, 23)


def test_one_success_is_enough_for_the_night():
    """Neither later in the window nor the next morning."""
    until = NotYet(paris("2026-11-24T20:00"))

    assert ask("2026-11-24T05:00", success="2026-11-23T20:00") == until
    assert ask("2026-11-24T09:00", success="2026-11-23T20:00") == until


def test_after_a_failure_the_window_gives_another_try_an_hour_later():
    """Not at once, or a broken machine would be tried all night."""
    early = ask("2026-11-23T20:59", success="2026-11-22T20:00", attempt="2026-11-23T20:00")
    retry = ask("2026-11-23T21:00", success="2026-11-22T20:00", attempt="2026-11-23T20:00")

    assert early == NotYet(paris("2026-11-23T21:00"))
    assert isinstance(retry, Due)
    assert retry.because is DueBecause.RETRY


def test_a_failure_at_the_end_of_the_window_is_tried_once_more_after_it():
    """Then the rest waits for the next night."""
    late = {"success": "2026-11-22T20:00", "attempt": "2026-11-24T05:30"}

    assert ask("2026-11-24T05:45", **late) == NotYet(paris("2026-11-24T06:00"))
    assert ask("2026-11-24T06:10", **late) == NotYet(paris("2026-11-24T06:30"))
    assert isinstance(ask("2026-11-24T06:30", **late), Missed)
    assert ask(
        "2026-11-24T15:00", success="2026-11-22T20:00", attempt="2026-11-24T06:30"
    ) == NotYet(paris("2026-11-24T20:00"))


def test_a_window_is_over_at_its_end_to_the_minute():
    """A run begun then is one that was missed."""
    assert isinstance(ask("2026-11-24T05:59", success="2026-11-22T20:00"), Due)
    assert isinstance(ask("2026-11-24T06:00", success="2026-11-22T20:00"), Missed)


def test_a_failed_try_before_the_window_does_not_delay_the_night():
    """Somebody pressed the button at half past seven: eight o'clock is eight o'clock."""
    verdict = ask("2026-11-23T20:00", success="2026-11-22T20:00", attempt="2026-11-23T19:30")

    assert isinstance(verdict, Due)
    assert verdict.because is DueBecause.WINDOW


def test_a_night_missed_while_the_box_was_off_is_made_up_for_once():
    """Three nights off are one run, and then tonight's as planned."""
    verdict = ask("2026-11-26T10:00", success="2026-11-22T20:00")

    assert isinstance(verdict, Missed)
    assert verdict.window.night == date(2026, 11, 25)
    assert ask("2026-11-26T11:00", success="2026-11-26T10:00") == NotYet(paris("2026-11-26T20:00"))
    assert isinstance(ask("2026-11-26T20:00", success="2026-11-26T10:00"), Due)


def test_a_sleeping_machine_is_waited_for_in_the_window_and_after_it():
    """And the run begins the moment it is seen."""
    asleep = {"success": "2026-11-22T20:00", "machine_seen": False}

    assert ask("2026-11-23T22:00", **asleep).missed is False
    assert ask("2026-11-24T09:00", **asleep).missed is True
    assert isinstance(ask("2026-11-24T09:00", **asleep), WaitForMachine)
    assert isinstance(ask("2026-11-24T09:01", success="2026-11-22T20:00"), Missed)


def test_a_source_added_by_day_has_missed_nothing_yet():
    """But one added in an open window begins at once, and one whose first window passed is late."""
    added = paris("2026-11-23T15:00")

    assert ask("2026-11-23T15:01", known_since=added) == NotYet(paris("2026-11-23T20:00"))
    assert isinstance(ask("2026-11-23T20:01", known_since=added), Due)
    assert isinstance(ask("2026-11-24T07:00", known_since=added), Missed)
    assert isinstance(ask("2026-11-24T07:00"), Missed)


@pytest.mark.parametrize("back", [timedelta(days=1), timedelta(minutes=6)])
def test_a_clock_that_went_back_starts_nothing_and_is_named(back):
    """Otherwise the night would be done twice, and pruned by wrong dates."""
    last = paris("2026-11-24T20:00")
    verdict = due(PLAN, last_success_started=last, last_attempt=last, now=last - back, tz=PARIS)

    assert verdict == ClockWrong(last - back, last)


def test_a_time_server_may_set_the_clock_back_by_a_moment():
    """And the night is still done only once."""
    last = paris("2026-11-23T20:00")
    verdict = due(
        PLAN,
        last_success_started=last,
        last_attempt=last,
        now=last - timedelta(seconds=40),
        tz=PARIS,
    )

    assert isinstance(verdict, NotYet)


def test_the_hour_that_comes_twice_is_one_night():
    """25 October 2026: 02:30 comes twice, the run is made once."""
    plan = Plan(window_start="02:00", window_end="03:00")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)

    assert isinstance(
        due(plan, last_success_started=None, last_attempt=None, now=first, tz=PARIS), Due
    )
    again = due(plan, last_success_started=first, last_attempt=first, now=first + HOUR, tz=PARIS)
    assert isinstance(again, NotYet)


@pytest.mark.parametrize("plan", [Plan(enabled=False), Plan(weekdays=())])
def test_a_plan_without_nights_never_starts(plan):
    """And nothing can be late against a promise not made, but for its PDMA."""
    assert ask("2026-11-23T21:00", plan=plan) == NotYet(None)
    assert next_window(plan, paris("2026-11-23T21:00"), PARIS) is None
    assert (
        late_state(plan, paris("2026-11-23T20:00"), paris("2026-11-24T23:00"), PARIS)
        is Lateness.LATE
    )


@pytest.mark.parametrize(
    ("age_h", "expected"),
    [
        (0, Lateness.ON_TIME),
        (25.9, Lateness.ON_TIME),
        (26, Lateness.LATE),
        (47.9, Lateness.LATE),
        (48, Lateness.OVERDUE),
        (500, Lateness.OVERDUE),
        (-4 / 60, Lateness.ON_TIME),
        (-5 / 60, Lateness.ON_TIME),
        (-6 / 60, Lateness.UNKNOWN),
        (-1, Lateness.UNKNOWN),
    ],
)
def test_a_daily_promise_is_late_at_26_hours_and_red_at_48(age_h, expected):
    """domain.md row 6."""
    success = paris("2026-11-23T20:00")

    assert late_state(PLAN, success, success + timedelta(hours=age_h), PARIS) is expected


def test_without_a_success_nothing_is_known():
    """Unknown is not «on time»."""
    assert late_state(PLAN, None, paris("2026-11-23T20:00"), PARIS) is Lateness.UNKNOWN


def test_the_limits_follow_the_promise():
    """A promise of 12 hours is late at 13 and red at 24, the plan allowing."""
    plan = Plan(window_start="08:00", window_end="08:00", pdma_hours=12)
    success = paris("2026-11-24T07:00")

    assert late_state(plan, success, success + timedelta(hours=12.9), PARIS) is Lateness.ON_TIME
    assert late_state(plan, success, success + timedelta(hours=13), PARIS) is Lateness.LATE
    assert late_state(plan, success, success + timedelta(hours=24), PARIS) is Lateness.OVERDUE


def test_a_plan_without_weekends_is_not_red_every_sunday():
    """It becomes late when Monday's window has begun and nothing came."""
    plan = Plan(weekdays=(1, 2, 3, 4, 5))
    friday = paris("2026-11-20T20:00")

    assert late_state(plan, friday, paris("2026-11-22T23:00"), PARIS) is Lateness.ON_TIME
    assert late_state(plan, friday, paris("2026-11-23T21:59"), PARIS) is Lateness.ON_TIME
    assert late_state(plan, friday, paris("2026-11-23T22:00"), PARIS) is Lateness.LATE
    assert late_state(plan, friday, paris("2026-11-24T20:00"), PARIS) is Lateness.OVERDUE


@pytest.mark.parametrize(
    ("hours", "expected"), [(0, None), (71, None), (72, 3), (95, 3), (96, 4), (-5, None)]
)
def test_a_machine_is_called_unseen_from_three_days_on(hours, expected):
    """«Not seen for 3 days»."""
    now = paris("2026-11-23T20:00")

    assert unseen_days(now - timedelta(hours=hours), now) == expected
    assert unseen_days(None, now) is None
