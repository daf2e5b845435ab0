"""Several files moved or copied at once: what a taken name means, how far it is, and a way to stop.

A person answers once for all names that are taken: keep both, replace (what was there goes to the bin), or leave
out. The work tells how many bytes it has copied; it stops within one block, and nothing half done is left.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from appliance.db.engine import Database
from appliance.disk import actions, listing, paths
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.disk.actions import Doer
from appliance.errors import ArmoireError, JobCancelled, NameTaken

#: Names tried for «keep both».
MOST_TRIES: Final = 1000


class OnClash(StrEnum):
    """What to do when a name is taken."""

    REFUSE = ""
    BOTH = "both"  # the new one gets a number
    REPLACE = "replace"  # the old one goes to the bin
    SKIP = "skip"


@dataclass
class Progress:
    """How far a transfer is; read by another thread than the one that works."""

    total: int | None = None  # bytes; None: still being measured
    done: int = 0  # bytes
    items: int = 0  # of those asked for
    _stop: threading.Event = field(default_factory=threading.Event)

    def add(self, size_bytes: int) -> None:
        """Count bytes that were copied."""
        self.done += size_bytes

    def stop(self) -> None:
        """Let the work end at its next block."""
        self._stop.set()

    def should_stop(self) -> bool:
        """Return whether somebody asked it to end."""
        return self._stop.is_set()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item."""

    path: bytes
    new_path: bytes | None = None  # None: nothing was done
    error: ArmoireError | None = None  # None with new_path None: left out as wished


def transfer(
    database: Database,
    held: Held,
    items: Sequence[bytes],
    to: Held,
    folder: bytes,
    *,
    doer: Doer,
    now: datetime,
    is_copy: bool,
    new_name: bytes | None = None,
    on_clash: OnClash = OnClash.REFUSE,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Move or copy ``items`` into ``folder`` and return what became of each, in order; the others go on.

    ``new_name`` is for a single item. After a stop what was not begun has JobCancelled as its error.
    """
    progress = progress or Progress()
    if is_copy:
        progress.total = _measure(held, items, progress)
    results: list[Outcome] = []
    for path in items:
        try:
            if progress.should_stop():
                raise JobCancelled
            new_path = paths.join(folder, new_name or paths.parent(path)[1])
            made = _one(
                database,
                held,
                path,
                to,
                new_path,
                doer=doer,
                now=now,
                is_copy=is_copy,
                on_clash=on_clash,
                progress=progress,
            )
        except ArmoireError as error:
            results.append(Outcome(path, error=error))
        else:
            results.append(Outcome(path, made))
        progress.items += 1
    return results


def _one(
    database: Database,
    held: Held,
    path: bytes,
    to: Held,
    new_path: bytes,
    *,
    doer: Doer,
    now: datetime,
    is_copy: bool,
    on_clash: OnClash,
    progress: Progress,
) -> bytes | None:
    """Move or copy one item and return its path, or None when it was left out."""
    act = actions.copy if is_copy else actions.move
    is_itself = held.share.id == to.share.id and path == new_path

    def go(where: bytes) -> bytes:
        act(
            database,
            held,
            path,
            to,
            where,
            doer=doer,
            now=now,
            on_bytes=progress.add,
            should_stop=progress.should_stop,
        )
        return where

    if is_itself and not is_copy:
        return None  # it is there already
    if is_itself and on_clash in {OnClash.REFUSE, OnClash.REPLACE}:
        on_clash = OnClash.BOTH  # a copy beside itself needs no question
    try:
        return go(new_path)
    except NameTaken:
        match on_clash:
            case OnClash.REFUSE:
                raise
            case OnClash.SKIP:
                return None
            case OnClash.REPLACE:
                return _replace(database, to, new_path, go, doer=doer, now=now)
            case OnClash.BOTH:
                return _beside(new_path, go)


def _beside(new_path: bytes, go: Callable[[bytes], bytes]) -> bytes:
    folder, name = paths.parent(new_path)
    for candidate in bins.free_names(name)[1:MOST_TRIES]:
        with suppress(NameTaken):
            return go(paths.join(folder, candidate))
    raise NameTaken(name.decode("utf-8", "replace"))


def _replace(
    database: Database,
    to: Held,
    new_path: bytes,
    go: Callable[[bytes], bytes],
    *,
    doer: Doer,
    now: datetime,
) -> bytes:
    """Put what has the name into the bin first; back again when the new one does not come."""
    item = actions.delete(database, to, new_path, doer=doer, now=now)
    try:
        return go(new_path)
    except BaseException:
        actions.put_back(database, to, item.id, doer=doer, now=now)
        raise


def _measure(held: Held, items: Sequence[bytes], progress: Progress) -> int:
    """Return the bytes of everything in ``items``; what cannot be read counts as nothing, and fails later."""
    size = 0
    for path in items:
        if progress.should_stop():
            break
        with suppress(ArmoireError, OSError):
            found = listing.entry(held.share.folder, path)
            if found.kind == "folder":
                with paths.open_parent(held.share.folder, path) as (above, name):
                    size += bins.measure(above, name)[0]
            else:
                size += found.size
    return size
