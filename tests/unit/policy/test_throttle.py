"""Failed sign-ins slow the next one down; sessions end."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.throttle import (
    BLOCKED_AT,
    LONGEST_WAIT,
    Gate,
    SessionEnd,
    alert_due,
    gate,
    locked_until,
    session_end,
    wait_after,
)

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("failures", "minutes"),
    [(0, 0), (1, 0), (2, 0), (3, 1), (4, 2), (5, 4), (6, 8), (7, 16), (8, 32), (9, 60)],
)
def test_the_wait_grows_from_a_minute_to_an_hour(failures, minutes):
    """domain.md SEC-07."""
    assert wait_after(failures) == minutes * MINUTE
    assert locked_until(failures, NOW) == (NOW + minutes * MINUTE if minutes else None)


@pytest.mark.parametrize("failures", [10, 11, 500])
def test_ten_failures_block_until_somebody_helps(failures):
    """However long one waits."""
    assert wait_after(failures) is None
    assert locked_until(failures, NOW) is None
    assert gate(failures, None, NOW) == Gate(open=False, blocked=True)
    assert gate(failures, NOW - timedelta(days=9), NOW).blocked


def test_the_door_opens_when_the_wait_is_over():
    """Not a second early, and the wait is told rounded up."""
    until = locked_until(3, NOW)

    assert gate(3, until, NOW) == Gate(open=False, wait_s=60)
    assert gate(3, until, NOW + timedelta(seconds=59.5)) == Gate(open=False, wait_s=1)
    assert gate(3, until, NOW + MINUTE) == Gate(open=True)
    assert gate(0, None, NOW) == Gate(open=True)


def test_a_clock_that_went_back_locks_nobody_out_for_a_day():
    """The wait is never longer than what the failures cost."""
    assert gate(3, NOW + timedelta(days=1), NOW) == Gate(open=False, wait_s=60)
    assert gate(1, NOW + timedelta(days=1), NOW) == Gate(open=True)


@given(st.integers(0, 30), st.none() | st.integers(-10_000, 10_000))
def test_a_closed_door_says_how_long_or_that_waiting_does_not_help(failures, seconds):
    """Never closed without a reason."""
    found = gate(failures, None if seconds is None else NOW + timedelta(seconds=seconds), NOW)

    assert found.open == (found.wait_s == 0 and not found.blocked)
    assert 0 <= found.wait_s <= LONGEST_WAIT.total_seconds()
    assert found.blocked == (failures >= BLOCKED_AT)


def test_a_guesser_gets_fewer_than_25_tries_a_day():
    """domain.md SEC-07: at most 25 failures in 24 h, or a block at 10: here the block comes first."""
    now, failures, locked = NOW, 0, None
    for _ in range(24 * 60):
        if gate(failures, locked, now).open:
            failures += 1
            locked = locked_until(failures, now)
        now += MINUTE

    assert failures == BLOCKED_AT


def test_the_third_lock_of_a_day_is_told():
    """PGSSI-S 5.2.3."""
    assert [alert_due(locks, 5) for locks in (0, 2, 3, 4)] == [False, False, True, False]


def test_the_failure_that_blocks_is_told_however_slowly_it_came():
    """One a day for ten days: no third lock of a day ever was, and the account is shut for good."""
    assert [alert_due(1, failures) for failures in (9, 10, 11)] == [False, True, False]


@pytest.mark.parametrize("failures", [10, 11, 500, 10**9])
def test_a_secret_nobody_guesses_waits_an_hour_and_is_never_blocked(failures):
    """120 bits off paper: who mistyped ten times comes in all the same."""
    until = locked_until(failures, NOW, blocks=False)

    assert until == NOW + LONGEST_WAIT
    assert not gate(failures, until, NOW, blocks=False).blocked
    assert gate(failures, until, until, blocks=False) == Gate(open=True)
    assert gate(3, locked_until(3, NOW, blocks=False), NOW, blocks=False) == Gate(False, 60)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"seen_at": NOW - 14.9 * MINUTE}, None),
        ({"seen_at": NOW - 15 * MINUTE}, SessionEnd.IDLE),
        ({"seen_at": NOW - 20 * MINUTE, "idle": 25 * MINUTE}, None),
        ({"seen_at": NOW - 30 * MINUTE, "idle": timedelta(hours=9)}, SessionEnd.IDLE),
        ({"created_at": NOW - timedelta(hours=4)}, None),
        ({"created_at": NOW - timedelta(hours=12)}, SessionEnd.TOO_OLD),
        ({"created_at": NOW - timedelta(hours=4), "is_remote": True}, SessionEnd.TOO_OLD),
        ({"created_at": NOW - timedelta(hours=3.9), "is_remote": True}, None),
        ({"revoked_at": NOW}, SessionEnd.REVOKED),
        ({"created_at": NOW + timedelta(hours=1), "seen_at": NOW}, SessionEnd.CLOCK),
        ({"created_at": NOW + MINUTE, "seen_at": NOW + MINUTE}, None),
    ],
)
def test_a_session_ends_idle_old_revoked_or_made_in_the_future(change, expected):
    """domain.md SEC-08: 15 minutes idle, at most 30; 4 hours from outside."""
    usual = {
        "created_at": NOW - MINUTE,
        "seen_at": NOW - MINUTE,
        "revoked_at": None,
        "is_remote": False,
    }

    assert session_end(**{**usual, **change}, now=NOW) is expected
