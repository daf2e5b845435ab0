"""From a reading to a finding: what is wrong, how grave it is, and what to do about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import fmean
from typing import Final

from appliance.language import Language, mark, translate
from appliance.model import SourceId
from appliance.policy.wording import in_language
from appliance.units import DAY_S, share

#: domain.md SAV-25.
DISK_WARNING: Final = 0.80
DISK_ALARM: Final = 0.90
DAYS_WARNING: Final = 30.0
DAYS_ALARM: Final = 7.0
#: A forecast needs so many readings over so many days.
FORECAST_READINGS: Final = 3
FORECAST_DAYS: Final = 3.0
#: domain.md SEC-14; from the second on, times in the journal are worth nothing.
CLOCK_WARNING: Final = timedelta(seconds=5)
CLOCK_ALARM: Final = timedelta(minutes=5)
MACHINES_THAT_AGREE: Final = 2
#: Fact: ids of the shares of which the kernel watches some folders only.
BLIND: Final = "search.blind"


class Severity(StrEnum):
    """How grave a finding is."""

    NOTICE = "notice"
    WARNING = "warning"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that needs doing, in words that are translated where they are shown."""

    code: str  # area.reason, stable
    severity: Severity
    text: str  # English template over ``facts``
    action: str  # English template over ``facts``: what to do next
    facts: Mapping[str, object] = field(
        default_factory=dict
    )  # no file name; see wording.in_language
    source_id: SourceId | None = None

    def words(self, language: Language) -> str:
        """Return what is wrong."""
        return translate(self.text, language, **in_language(self.facts, language))

    def action_words(self, language: Language) -> str:
        """Return what to do next."""
        return translate(self.action, language, **in_language(self.facts, language))


_GRAVEST_FIRST = (Severity.ALARM, Severity.WARNING, Severity.NOTICE)


def gravest_first(findings: list[Finding]) -> list[Finding]:
    """Return them as a page lists them; the order within a severity stays."""
    return sorted(findings, key=lambda one: _GRAVEST_FIRST.index(one.severity))


def days_until_full(
    readings: Sequence[tuple[datetime, float]], capacity_bytes: float
) -> float | None:
    """Return in how many days a disk is full if it goes on so, from the last reading on.

    None when there are too few readings, or it does not grow. Least squares through all of them.

    Args:
        readings: (when, used bytes), any order.
        capacity_bytes: of the disk.
    """
    if len(readings) < FORECAST_READINGS:
        return None
    ordered = sorted(readings)
    last_at, last_used = ordered[-1]
    days = [(at - last_at).total_seconds() / DAY_S for at, _ in ordered]
    if -days[0] < FORECAST_DAYS:
        return None
    mean_day, mean_used = fmean(days), fmean(used for _, used in ordered)
    spread = sum((day - mean_day) ** 2 for day in days)
    both = sum(
        (day - mean_day) * (used - mean_used) for day, (_, used) in zip(days, ordered, strict=True)
    )
    a_day = both / spread
    return None if a_day <= 0 else max(0.0, (capacity_bytes - last_used) / a_day)


def disk_finding(
    used_bytes: float, capacity_bytes: float, days_left: float | None
) -> Finding | None:
    """Return what there is to say about a disk of the box; None: nothing.

    Args:
        used_bytes: on it.
        capacity_bytes: of it; 0 means it cannot be read and is an alarm.
        days_left: of ``days_until_full``.
    """
    action = mark("Free some space or add a disk; shorten the plans only if the practice agrees.")
    if capacity_bytes <= 0:
        return Finding(
            "disk.unreadable",
            Severity.ALARM,
            mark("The size of the disk of the box cannot be read."),
            mark("Check that the disk is plugged in."),
        )
    used = share(used_bytes, capacity_bytes)
    if used >= DISK_WARNING:
        return Finding(
            "disk.nearly-full",
            Severity.ALARM if used >= DISK_ALARM else Severity.WARNING,
            mark("The disk of the box is %(used_share)s full."),
            action,
            {"used_share": used},
        )
    if days_left is not None and days_left <= DAYS_WARNING:
        return Finding(
            "disk.full-soon",
            Severity.ALARM if days_left <= DAYS_ALARM else Severity.WARNING,
            mark("The disk of the box will be full in %(left)s if it goes on so."),
            action,
            {"left": timedelta(days=days_left)},
        )
    return None


def box_drift(offsets: Sequence[timedelta]) -> timedelta | None:
    """Return by how much the box's own clock is wrong, as far as its machines can tell; None: it is not.

    Machines that agree with each other and not with the box are right: one alone may itself be wrong.

    Args:
        offsets: of each machine's clock against the box's.
    """
    if len(offsets) < MACHINES_THAT_AGREE or max(offsets) - min(offsets) > CLOCK_WARNING:
        return None
    drift = sorted(offsets)[len(offsets) // 2]
    return drift if abs(drift) > CLOCK_WARNING else None


def clock_finding(drift: timedelta) -> Finding | None:
    """Return what there is to say about a clock of the box that is off by ``drift``; None: nothing."""
    off = abs(drift)
    if off <= CLOCK_WARNING:
        return None
    return Finding(
        "clock.drift",
        Severity.ALARM if off >= CLOCK_ALARM else Severity.WARNING,
        mark("The clock of the box is wrong by %(drift)s."),
        mark("Set it right, and check that it asks a time server."),
        {"drift": off},
    )


def machine_clock_finding(source_id: SourceId, label: str, drift: timedelta) -> Finding | None:
    """Return what there is to say about a machine's clock; a few minutes off harm no backup."""
    off = abs(drift)
    if off < CLOCK_ALARM:
        return None
    return Finding(
        "clock.machine",
        Severity.NOTICE,
        mark("The clock of «%(label)s» is wrong by %(drift)s: dates of its files are, too."),
        mark("Set the clock of the machine right."),
        {"label": label, "drift": off},
        source_id,
    )


def blind_finding(shares: int) -> Finding | None:
    """Return what there is to say about ``shares`` whose folders are too many to be watched; None: nothing."""
    if shares < 1:
        return None
    return Finding(
        "search.blind",
        Severity.NOTICE,
        mark(
            "The search learns of new files in %(count)s share(s) only every quarter of an hour: "
            "the box cannot watch so many folders."
        ),
        mark(
            "On the box: raise «fs.inotify.max_user_watches» (guide, «The search is late»), "
            "then restart it."
        ),
        {"count": shares},
    )
