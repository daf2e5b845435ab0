"""How fast copies may leave, by the practice's timetable.

Rules in order, the first that applies wins; where none does, the line is free. A rule whose end is not after
its start goes over midnight and belongs to the day on which it begins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Final

from appliance.errors import InvalidInput
from appliance.language import mark

EVERY_DAY: Final = frozenset(range(7))
#: Slower than this a push of a day's work would never end; 0 is a pause and is fine.
SLOWEST_BYTES_S: Final = 1024


@dataclass(frozen=True, slots=True)
class Rule:
    """A rate at certain hours."""

    bytes_s: int | None  # bytes per second; 0: nothing leaves; None: as fast as the line
    days: frozenset[int] = EVERY_DAY  # 0 is Monday
    start: time = time(0)
    end: time = time(0)  # the first moment that is outside; equal to ``start``: the whole day


#: What the assistant proposes: consultations keep the line, Sundays and nights are free.
USUAL: Final = (
    Rule(bytes_s=250_000, days=frozenset(range(5)), start=time(8), end=time(19)),
    Rule(bytes_s=250_000, days=frozenset({5}), start=time(8), end=time(13)),
)


def rate_at(rules: Sequence[Rule], moment: datetime) -> int | None:
    """Return the bytes per second allowed at ``moment``; None: no limit.

    Args:
        rules: in order.
        moment: in the practice's own time zone.
    """
    return next((each.bytes_s for each in rules if _applies(each, moment)), None)


def next_change(rules: Sequence[Rule], moment: datetime) -> datetime | None:
    """Return when the rate is next another one, within a week; None: never.

    Wall-clock arithmetic: on the two days a year when clocks change, a boundary inside the missing or
    doubled hour may be an hour off.
    """
    now = rate_at(rules, moment)
    edges = sorted({edge for each in rules for edge in (each.start, each.end)} | {time(0)})
    for day in range(8):
        for edge in edges:
            at = (moment + timedelta(days=day)).replace(
                hour=edge.hour, minute=edge.minute, second=edge.second, microsecond=0
            )
            if at > moment and rate_at(rules, at) != now:
                return at
    return None


def check(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Return the rules when a push can live with them.

    Raises:
        InvalidInput: a rate is negative or uselessly low, a day does not exist, or nothing may ever leave.
    """
    for each in rules:
        if each.bytes_s is not None and 0 != each.bytes_s < SLOWEST_BYTES_S:
            raise InvalidInput("bandwidth", mark("at least 1 kB per second, or 0 for a pause."))
        if not each.days or not each.days <= EVERY_DAY:
            raise InvalidInput("bandwidth", mark("days from Monday to Sunday."))
    # Any Monday: rates only change at the edges of rules.
    monday = datetime(2024, 1, 1)  # noqa: DTZ001 - wall-clock time of no place
    edges = {edge for each in rules for edge in (each.start, each.end)} | {time(0)}
    if all(
        rate_at(rules, datetime.combine(monday + timedelta(days=day), edge)) == 0
        for day in range(7)
        for edge in edges
    ):
        raise InvalidInput("bandwidth", mark("some time of the week at which copies may leave."))
    return tuple(rules)


def from_stored(rows: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Return the rules of ``TargetRow.bandwidth``.

    Raises:
        InvalidInput: a row is not one that ``to_stored`` writes.
    """
    try:
        return check(
            [
                Rule(
                    bytes_s=None if row["bytes_s"] is None else int(row["bytes_s"]),
                    days=frozenset(int(day) for day in row["days"]),
                    start=time.fromisoformat(row["start"]),
                    end=time.fromisoformat(row["end"]),
                )
                for row in rows
            ]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput("bandwidth", mark("rules with days, start, end and a rate.")) from error


def to_stored(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Return the rules as JSON for ``TargetRow.bandwidth``."""
    return [
        {
            "bytes_s": each.bytes_s,
            "days": sorted(each.days),
            "start": each.start.isoformat("minutes"),
            "end": each.end.isoformat("minutes"),
        }
        for each in rules
    ]


def _applies(rule: Rule, moment: datetime) -> bool:
    at, today = moment.time(), moment.weekday()
    if rule.start < rule.end:
        return today in rule.days and rule.start <= at < rule.end
    return (today in rule.days and at >= rule.start) or (
        (today - 1) % 7 in rule.days and at < rule.end
    )
