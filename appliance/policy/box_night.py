"""When the box's own state is taken: after the others, so that it names their snapshots; not for ever after."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from appliance.model import Plan
from appliance.policy.timetable import Window, latest_window

#: So long before the end of its window the state no longer waits: the copy leaves after it.
LEAD: Final = timedelta(minutes=90)
#: A night that was missed is caught up beside those of the others; it waits for them so long.
CATCH_UP: Final = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class OtherNight:
    """Where another source stands."""

    plan: Plan
    is_busy: bool  # a job on its repository waits or is under way
    taken_at: datetime | None  # when its newest snapshot began


def waits_for_others(
    window: Window, others: Sequence[OtherNight], *, now: datetime, tz: tzinfo
) -> bool:
    """Return whether the state of the box is still to wait for the snapshots of this night.

    Inside the window it waits for every source whose own window begins before the last call, sleeping
    machines too; afterwards only for what is at work just now.

    Args:
        window: the box's own, open or over.
        others: the sources that the box reads by itself and whose plan is switched on.
        now: aware.
        tz: the practice's time zone.
    """
    if now >= window.end:
        return now < window.end + CATCH_UP and any(each.is_busy for each in others)
    last_call = window.end - LEAD
    if now >= last_call:
        return False
    return any(each.is_busy or not _is_done(each, window, last_call, tz) for each in others)


def _is_done(other: OtherNight, window: Window, last_call: datetime, tz: tzinfo) -> bool:
    its = latest_window(other.plan, last_call, tz)
    if its is None or its.end <= window.start:
        return True  # nothing of it is due tonight
    return other.taken_at is not None and other.taken_at >= its.start
