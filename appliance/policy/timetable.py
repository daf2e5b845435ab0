"""When a source is backed up, what is late, and what a wrong clock looks like.

A *night* is named after the local day on which its window begins. Its window may cross midnight and
is shorter or longer by an hour when the clocks change. The night's work is done once a backup that
began in the window, or after it, has succeeded.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Final

from appliance.model import Plan
from appliance.units import DAY_S, HOUR_S, MINUTE_S

#: After a failed run, the next try of the same night waits so long.
RETRY_AFTER: Final = timedelta(seconds=HOUR_S)
#: A clock may be set back by so much without a word (time servers do).
CLOCK_TOLERANCE: Final = timedelta(seconds=5 * MINUTE_S)
#: domain.md row 6: alert at 26 h and red at 48 h for the usual 24 h, so these shares of the PDMA.
LATE_AFTER_PDMA: Final = 26 / 24
OVERDUE_AFTER_PDMA: Final = 48 / 24
#: «Not seen for 3 days» is said from so many days on.
UNSEEN_DAYS: Final = 3

_DAY: Final = timedelta(days=1)
_WEEK_DAYS: Final = 8  # from a day to the same day of the next week, both counted


@dataclass(frozen=True, slots=True)
class Window:
    """The time in which a night's work may begin; ``end`` is the first moment that is too late."""

    night: date  # the local day on which it begins
    start: datetime  # aware, UTC
    end: datetime  # aware, UTC, after ``start``


class DueBecause(StrEnum):
    """Why a run begins now."""

    WINDOW = "window"
    RETRY = "retry"  # the night's earlier try did not succeed


@dataclass(frozen=True, slots=True)
class Due:
    """Begin now."""

    window: Window
    because: DueBecause = DueBecause.WINDOW


@dataclass(frozen=True, slots=True)
class Missed:
    """The window passed without a run (box off, machine asleep): begin now, once."""

    window: Window


@dataclass(frozen=True, slots=True)
class WaitForMachine:
    """A run is due, but the machine does not answer: wake it, or begin when it is next seen."""

    window: Window
    missed: bool  # its window is over


@dataclass(frozen=True, slots=True)
class NotYet:
    """Nothing to do before ``until``; None: the plan names no time at all."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class ClockWrong:
    """The newest record is dated after now: nothing begins, or a night would be done twice."""

    now: datetime
    last: datetime


Verdict = Due | Missed | WaitForMachine | NotYet | ClockWrong


def window_of_night(plan: Plan, night: date, tz: tzinfo) -> Window:
    """Return the window of this night, whether or not the plan runs on its weekday.

    A local time the spring change skips is taken an hour later; of a time the autumn change repeats,
    the window begins at the first and ends at the second. Equal times mean a whole day.

    Raises:
        ValueError: a time of the plan is not ``HH:MM``.
    """
    starts = time.fromisoformat(plan.window_start)
    ends = time.fromisoformat(plan.window_end)
    last_day = night if ends > starts else night + _DAY
    start = datetime.combine(night, starts, tz).astimezone(UTC)
    nominal_end = datetime.combine(last_day, ends, tz)
    end = max(nominal_end.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if end <= start:  # both ends lie around the skipped hour
        end = start + (datetime.combine(last_day, ends) - datetime.combine(night, starts))
    return Window(night, start, end)


def _runs_on(plan: Plan, night: date) -> bool:
    return plan.enabled and night.isoweekday() in plan.weekdays


def next_window(plan: Plan, after: datetime, tz: tzinfo) -> Window | None:
    """Return the first window that begins after ``after``; None: the plan has no night."""
    today = after.astimezone(tz).date()
    for ahead in range(_WEEK_DAYS):
        night = today + ahead * _DAY
        if _runs_on(plan, night):
            window = window_of_night(plan, night, tz)
            if window.start > after:
                return window
    return None


def latest_window(plan: Plan, now: datetime, tz: tzinfo) -> Window | None:
    """Return the newest window that has begun, open or over; None: the plan has no night."""
    today = now.astimezone(tz).date()
    for back in range(_WEEK_DAYS):
        night = today - back * _DAY
        if _runs_on(plan, night):
            window = window_of_night(plan, night, tz)
            if window.start <= now:
                return window
    return None


def due(
    plan: Plan,
    *,
    last_success_started: datetime | None,
    last_attempt: datetime | None,
    now: datetime,
    tz: tzinfo,
    machine_seen: bool = True,
    known_since: datetime | None = None,
) -> Verdict:
    """Return whether a run begins now.

    One night is done once. After a failed try the next waits ``RETRY_AFTER``, inside the window; if
    the window ends without a success, one more run begins as soon as the machine is seen, and the
    rest waits for the next night. Nights missed in a row are caught up by one run.

    Args:
        plan: of the source.
        last_success_started: when the newest successful run began.
        last_attempt: when the newest run began, however it ended.
        now: aware.
        tz: the practice's time zone.
        machine_seen: the machine answers just now; True for a share.
        known_since: when the source was added: windows over by then were not missed.
    """
    records = [at for at in (last_success_started, last_attempt) if at is not None]
    if records and max(records) > now + CLOCK_TOLERANCE:
        return ClockWrong(now, max(records))
    window = latest_window(plan, now, tz)
    following = next_window(plan, now, tz)
    later = NotYet(following.start if following else None)
    if window is None:
        return later
    if last_success_started is not None and last_success_started >= window.start:
        return later
    tried = last_attempt is not None and last_attempt >= window.start
    retry_at = last_attempt + RETRY_AFTER if last_attempt is not None and tried else window.start
    if now < window.end:
        if now < retry_at:
            return NotYet(min(retry_at, window.end))
        if not machine_seen:
            return WaitForMachine(window, missed=False)
        return Due(window, DueBecause.RETRY if tried else DueBecause.WINDOW)
    if last_attempt is not None and last_attempt >= window.end:
        return later  # the one run a missed night gets was already tried
    if last_success_started is None and known_since is not None and window.end <= known_since:
        return later
    if now < retry_at:
        return NotYet(retry_at)
    return Missed(window) if machine_seen else WaitForMachine(window, missed=True)


class Lateness(StrEnum):
    """How old the newest backup is, against what was promised."""

    ON_TIME = "on-time"
    LATE = "late"
    OVERDUE = "overdue"  # red
    UNKNOWN = "unknown"


def late_state(plan: Plan, last_success: datetime | None, now: datetime, tz: tzinfo) -> Lateness:
    """Return whether the newest successful backup is older than the PDMA allows.

    A plan that skips days (no nights at the weekend) cannot be late before the window that follows
    the backup has begun: there the limits count from that beginning, as if one PDMA had passed.

    Args:
        plan: its ``pdma_hours`` is the promise.
        last_success: when the newest successful backup began; None: there is none.
        now: aware.
        tz: the practice's time zone.

    Source: domain.md row 6: a PDMA of 24 h is late at 26 h and red at 48 h.
    """
    if last_success is None or last_success > now + CLOCK_TOLERANCE:
        return Lateness.UNKNOWN
    pdma = timedelta(hours=plan.pdma_hours)
    following = next_window(plan, last_success, tz)
    promised_by = last_success + pdma
    if following is not None:
        promised_by = max(promised_by, following.start)
    if now < promised_by + pdma * (LATE_AFTER_PDMA - 1):
        return Lateness.ON_TIME
    if now < promised_by + pdma * (OVERDUE_AFTER_PDMA - 1):
        return Lateness.LATE
    return Lateness.OVERDUE


def unseen_days(last_seen_at: datetime | None, now: datetime) -> int | None:
    """Return for how many whole days a machine was not seen, from ``UNSEEN_DAYS`` on; else None."""
    if last_seen_at is None:
        return None
    days = int((now - last_seen_at).total_seconds() // DAY_S)
    return days if days >= UNSEEN_DAYS else None
