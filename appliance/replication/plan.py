"""What to send and what to remove: pure functions of what is here, what is there, and time."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

#: An object no kept generation names stays this long: a generation being written may still want it.
GRACE: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, order=True)
class LocalFile:
    """A committed file of a repository at this moment."""

    repository: int  # source id
    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class SentObject:
    """An object this box has sent to a target, by its own record."""

    name: str
    file: LocalFile  # as it was when it was sealed
    sealed_size: int


@dataclass(frozen=True, slots=True)
class SendPlan:
    """What a push has to do."""

    send: tuple[LocalFile, ...]  # oldest segments first: a cut push has sent what changes least
    reuse: Mapping[LocalFile, SentObject]

    @property
    def bytes_to_send(self) -> int:
        """Plain bytes; sealing adds 16 in 64 KiB."""
        return sum(each.size for each in self.send)


def plan_send(
    here: Collection[LocalFile], sent: Iterable[SentObject], *, listed: Mapping[str, int] | None
) -> SendPlan:
    """Return what must be sent so that every file in ``here`` is at the target.

    A committed segment never changes, so the same path, size and time is the same content.

    Args:
        here: every file of the frozen moment.
        sent: what this box recorded as sent and whole.
        listed: name → size as the target lists it now; None when it was not asked: the record is believed.
    """
    usable: dict[LocalFile, SentObject] = {}
    for each in sent:
        if listed is None or listed.get(each.name) == each.sealed_size:
            usable[each.file] = each
    reuse = {file: usable[file] for file in here if file in usable}
    send = sorted(
        (file for file in here if file not in usable),
        key=lambda f: (f.mtime_ns, f.repository, f.path),
    )
    return SendPlan(tuple(send), reuse)


@dataclass(frozen=True, slots=True)
class KeepGenerations:
    """Which generations stay. The newest always does."""

    daily: int = 14
    weekly: int = 8
    monthly: int = 12


@dataclass(frozen=True, slots=True)
class KnownGeneration:
    """A published generation."""

    number: int
    taken_at: datetime  # in the practice's time zone: days are its days


def generations_to_remove(known: Sequence[KnownGeneration], keep: KeepGenerations) -> list[int]:
    """Return the numbers of the generations that no rule keeps, oldest first."""
    newest_first = sorted(known, key=lambda each: each.number, reverse=True)
    kept = {newest_first[0].number} if newest_first else set()
    for count, form in ((keep.daily, "%Y-%m-%d"), (keep.weekly, "%G-%V"), (keep.monthly, "%Y-%m")):
        periods: set[str] = set()
        for each in newest_first:
            period = each.taken_at.strftime(form)
            if len(periods) < count and period not in periods:
                periods.add(period)
                kept.add(each.number)
    return sorted(each.number for each in known if each.number not in kept)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object at the target, by our record."""

    name: str
    put_at: datetime
    #: When the last generation that names it was removed; None while one does, or none ever did.
    orphaned_at: datetime | None


def objects_to_remove(
    stored: Iterable[StoredObject],
    *,
    named: Collection[str],
    now: datetime,
    last_verification_was_good: bool,
    grace: timedelta = GRACE,
) -> list[str]:
    """Return the objects that no kept generation names and whose grace has passed.

    Nothing at all while the last verification of the target failed (beam 6).

    Args:
        stored: what lies there by our record.
        named: every object of every kept generation, and of the push under way.
        now: aware UTC.
        last_verification_was_good: of this target.
        grace: from being orphaned (or put, when no generation ever named it).
    """
    if not last_verification_was_good:
        return []
    wanted = frozenset(named)
    return sorted(
        each.name
        for each in stored
        if each.name not in wanted and now - (each.orphaned_at or each.put_at) >= grace
    )


def next_to_read_back(
    objects: Iterable[tuple[str, int, datetime | None]], *, budget_bytes: int
) -> list[str]:
    """Return which objects to read back tonight: those never read first, then the longest ago.

    At least one is returned when there is any, however small the budget: the figure must move.

    Args:
        objects: name, size in bytes, when it was last read back and right.
        budget_bytes: how much may be read.
    """
    waiting = sorted(
        objects, key=lambda each: (each[2].timestamp() if each[2] else float("-inf"), each[0])
    )
    chosen: list[str] = []
    left = budget_bytes
    for name, size, _ in waiting:
        if chosen and size > left:
            break
        chosen.append(name)
        left -= size
    return chosen
