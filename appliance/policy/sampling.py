"""Which files a proof restores: enough of every sort, chosen so that it can be repeated.

All dumps, then the largest, the newest changes and random others, at least 20 files or 1 % of them,
within a budget of bytes. What did not fit is counted, never silently dropped.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

FILES_AT_LEAST: Final = 20
SHARE: Final = 0.01
#: Of the budget, what the largest files may take, or one film would be the whole proof.
_LARGEST_BUDGET: Final = 0.5
#: Random candidates kept per place, so that those too large can be passed over.
_SPARE: Final = 4


class Picked(StrEnum):
    """Why a file is in the sample."""

    DUMP = "dump"
    LARGEST = "largest"
    CHANGED = "changed"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A regular file of a snapshot."""

    path: bytes
    size: int  # bytes
    mtime_ns: int
    changed: bool = False  # new or changed in this snapshot
    dump: bool = False  # made by a recipe


@dataclass(frozen=True, slots=True)
class Sample:
    """What to restore, and what the budget left out."""

    chosen: tuple[tuple[Candidate, Picked], ...]
    wanted: int  # files, before the budget
    bytes: int  # of what was chosen
    dumps_left_out: int
    files_left_out: int  # dumps included

    @property
    def counts(self) -> dict[str, int]:
        """How many of each sort, for the proof's figures."""
        return {sort: sum(1 for _, why in self.chosen if why is sort) for sort in Picked}


def files_wanted(total: int) -> int:
    """Return how many of ``total`` files a proof samples: 1 %, at least 20, never more than all."""
    return min(total, max(FILES_AT_LEAST, -int(-total * SHARE // 1)))


def choose(candidates: Iterable[Candidate], *, total: int, budget_bytes: int, seed: int) -> Sample:
    """Return the sample; the same candidates in the same order and seed give the same one.

    Reads the candidates once and keeps only a few times the sample in memory. A snapshot with files
    always gives at least one, however small the budget: the smallest dump, else the smallest file.

    Args:
        candidates: every regular file of the snapshot.
        total: how many there are.
        budget_bytes: what the proof may restore.
        seed: of the random choice: the snapshot's id, so that nights differ and a proof can be repeated.
    """
    wanted = files_wanted(total)
    quarter = max(1, wanted // 4)
    dumps: list[Candidate] = []
    largest: list[tuple[int, bytes, Candidate]] = []
    newest: list[tuple[int, bytes, Candidate]] = []
    reservoir: list[Candidate] = []
    smallest: Candidate | None = None
    random = Random(seed)  # noqa: S311 - a sample, not a secret
    seen = 0  # files that are no dump
    for one in candidates:
        if smallest is None or one.size < smallest.size:
            smallest = one
        if one.dump:
            dumps.append(one)
            continue
        seen += 1
        _keep_top(largest, (one.size, one.path, one), quarter)
        if one.changed:
            _keep_top(
                newest, (one.mtime_ns, one.path, one), 2 * quarter
            )  # some are the largest too
        if len(reservoir) < wanted * _SPARE:
            reservoir.append(one)
        elif (place := random.randrange(seen)) < len(reservoir):
            reservoir[place] = one
    random.shuffle(reservoir)
    dumps.sort(key=lambda one: one.size)

    chosen: dict[bytes, tuple[Candidate, Picked]] = {}
    left = budget_bytes

    def take(pool: Iterable[Candidate], why: Picked, places: int, allowance: int) -> int:
        """Choose up to ``places`` of what fits; return how many had to be passed over."""
        nonlocal left
        passed = 0
        for one in pool:
            if places <= 0:
                break
            if one.path in chosen:
                continue
            if one.size > min(left, allowance):
                passed += 1
                continue
            chosen[one.path] = (one, why)
            left -= one.size
            allowance -= one.size
            places -= 1
        return passed

    dumps_left_out = take(dumps, Picked.DUMP, len(dumps), budget_bytes)
    others = min(wanted, total) - len(dumps)
    if others > 0:
        by_size = [one for _, _, one in sorted(largest, reverse=True)]
        by_time = [one for _, _, one in sorted(newest, reverse=True)]
        take(by_size, Picked.LARGEST, min(quarter, others), int(left * _LARGEST_BUDGET))
        room = len(dumps) - dumps_left_out + others
        take(by_time, Picked.CHANGED, min(quarter, room - len(chosen)), left)
        take(reservoir, Picked.RANDOM, room - len(chosen), left)
    if not chosen and smallest is not None:
        first = dumps[0] if dumps else smallest
        chosen[first.path] = (first, Picked.DUMP if first.dump else Picked.RANDOM)
        dumps_left_out -= first.dump
    target = max(wanted, len(dumps))
    return Sample(
        chosen=tuple(chosen.values()),
        wanted=target,
        bytes=sum(one.size for one, _ in chosen.values()),
        dumps_left_out=dumps_left_out,
        files_left_out=max(0, target - len(chosen)),
    )


def _keep_top(
    heap: list[tuple[int, bytes, Candidate]], item: tuple[int, bytes, Candidate], size: int
) -> None:
    if len(heap) < size:
        heapq.heappush(heap, item)
    else:
        heapq.heappushpop(heap, item)
