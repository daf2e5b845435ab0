"""When a copy leaves: once a night, after the night's snapshots, at five o'clock at the latest."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final

from appliance.model import Plan
from appliance.policy.timetable import next_window

#: Local time at which the copy leaves, whatever is still being read.
AT_THE_LATEST: Final = time(5)
#: Without any plan, the night is the evening before.
EVENING: Final = time(20)
#: A place that was away is tried again so often, at any hour.
AGAIN_AFTER: Final = timedelta(hours=2)
#: A connected copy that nobody looked at for so long is verified without a push.
VERIFY_AFTER: Final = timedelta(hours=30)
_DAY: Final = timedelta(days=1)
_MOMENT: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class SourceNight:
    """Where a source stands in its night."""

    plan: Plan
    is_busy: bool  # a run waits or is under way
    done_at: datetime | None  # its newest snapshot was complete then


@dataclass(frozen=True, slots=True)
class PushRun:
    """The newest push of a target that counts."""

    began_at: datetime
    ended_at: datetime | None  # None: waiting or under way
    succeeded: bool
    may_retry: bool = False  # the place was away, or another worked on a repository


@dataclass(frozen=True, slots=True)
class CopyNight:
    """The night a copy belongs to."""

    began_at: datetime
    latest_at: datetime  # AT_THE_LATEST after it
    #: When everything of the night was done; None while it is not.
    done_at: datetime | None

    @property
    def leaves_at(self) -> datetime:
        """From when on a push is this night's."""
        return self.latest_at if self.done_at is None else min(self.done_at, self.latest_at)


def copy_night(sources: Sequence[SourceNight], now: datetime, zone: tzinfo) -> CopyNight:
    """Return the night that ``now`` belongs to.

    Nights are parted at AT_THE_LATEST. Until the first window of the next one opens, it is the night before. It is
    done when every source with a window in it has a snapshot that ended after that window's beginning, and none
    is at work; a source that did not answer is waited for until AT_THE_LATEST.

    Args:
        sources: those that the box reads by itself, the box's own state among them.
        now: aware.
        zone: of the practice.
    """
    parted = _last(AT_THE_LATEST, now, zone)
    end = _next(AT_THE_LATEST, parted, zone)
    tonight = _windows(sources, parted, end, zone)
    if not any(start <= now for _, start in tonight):
        end = parted
        tonight = _windows(sources, _last(AT_THE_LATEST, parted - _MOMENT, zone), end, zone)
    ended = [
        each.done_at
        for each, start in tonight
        if each.done_at is not None and each.done_at >= start and not each.is_busy
    ]
    return CopyNight(
        began_at=min((start for _, start in tonight), default=_last(EVENING, end, zone)),
        latest_at=end,
        done_at=max(ended) if tonight and len(ended) == len(tonight) else None,
    )


def _windows(
    sources: Sequence[SourceNight], begin: datetime, end: datetime, zone: tzinfo
) -> list[tuple[SourceNight, datetime]]:
    """Return the sources that have a window between two moments, with its beginning."""
    found = [(each, next_window(each.plan, begin - _MOMENT, zone)) for each in sources]
    return [
        (each, window.start) for each, window in found if window is not None and window.start < end
    ]


def push_due(
    night: CopyNight, last: PushRun | None, *, known_since: datetime, now: datetime
) -> bool:
    """Return whether a push begins now.

    Args:
        night: of ``copy_night``.
        last: the newest push that began, or waits; None: there was none.
        known_since: when the target was added: nights over by then were not missed.
        now: aware.
    """
    if now < night.leaves_at or known_since >= max(night.leaves_at, night.latest_at):
        return False
    if last is None or last.began_at < night.leaves_at:
        return last is None or last.ended_at is not None
    if last.ended_at is None or last.succeeded:
        return False
    return last.may_retry and now - last.ended_at >= AGAIN_AFTER


def _last(at: time, now: datetime, zone: tzinfo) -> datetime:
    today = now.astimezone(zone).date()
    found = datetime.combine(today, at, zone).astimezone(UTC)
    return found if found <= now else datetime.combine(today - _DAY, at, zone).astimezone(UTC)


def _next(at: time, after: datetime, zone: tzinfo) -> datetime:
    day = after.astimezone(zone).date()
    found = datetime.combine(day, at, zone).astimezone(UTC)
    return found if found > after else datetime.combine(day + _DAY, at, zone).astimezone(UTC)
