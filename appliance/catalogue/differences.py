"""What is different between snapshots, and what would be lost with some of them."""

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from heapq import nlargest

from appliance.catalogue.rows import Version, known_with, state, versions_of
from appliance.catalogue.store import Catalogue, Known, known_in
from appliance.model import Entry, SnapshotId


class ChangeKind(StrEnum):
    """What happened between two snapshots."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two snapshots."""

    kind: ChangeKind
    path: bytes
    before: Entry | None
    after: Entry | None


@dataclass(frozen=True, slots=True)
class Lost:
    """Files that no kept snapshot would show any more."""

    files: int
    bytes: int  # of their newest versions
    first: list[Version]  # newest first, at most as many as asked


def compare(catalogue: Catalogue, a: SnapshotId, b: SnapshotId) -> Iterator[Change]:
    """Yield what is different in snapshot ``b`` from snapshot ``a``, sorted by folder and name.

    Raises:
        SnapshotMissing: the catalogue does not know one of them.
    """
    low, high = sorted((int(a), int(b)))
    with catalogue.reading() as c:
        known_with(c, a)
        known_with(c, b)
        rows = c.execute(
            "SELECT d.path, f.name, f.id FROM"
            " (SELECT DISTINCT file FROM version INDEXED BY version_first"
            "  WHERE first > ? AND first <= ?) AS x"
            " CROSS JOIN file AS f ON f.id = x.file CROSS JOIN folder AS d ON d.id = f.folder"
            " ORDER BY d.path, f.name",
            (low, high),
        )
        for parent, name, file in rows:
            path = parent + b"/" + name if parent else name
            before, after = state(c, file, a, path), state(c, file, b, path)
            if before == after:
                continue
            if before is None:
                kind = ChangeKind.ADDED
            elif after is None:
                kind = ChangeKind.REMOVED
            else:
                kind = ChangeKind.CHANGED
            yield Change(kind, path, before, after)


def lost_if_removed(
    catalogue: Catalogue,
    snapshot_ids: Collection[SnapshotId],
    kept_ids: Collection[SnapshotId] | None = None,
    *,
    limit: int = 100,
) -> Lost:
    """Return the files that no snapshot would show any more if ``snapshot_ids`` were removed.

    Args:
        catalogue: of the source.
        snapshot_ids: what would be removed; unknown ones are ignored.
        kept_ids: what stays; by default every other known snapshot.
        limit: how many files are named; the count and the bytes are whole.
    """
    with catalogue.reading() as c:
        known = known_in(c)
        removed = {int(each) for each in snapshot_ids}
        others = [each for each in known.ids if each not in removed]
        kept = Known(others if kept_ids is None else sorted({int(e) for e in kept_ids} & {*others}))
        newest_kept = kept.ids[-1] if kept.ids else -1
        files = size = 0
        named: list[tuple[int, int, int]] = []
        # Only a path that was once something else than a file, or came after the newest kept
        # snapshot, can be lost.
        candidates = c.execute(
            "SELECT file FROM version INDEXED BY version_no_file WHERE kind <> 'f'"
            " UNION SELECT file FROM version INDEXED BY version_first WHERE first > ?",
            (newest_kept,),
        )
        for (file,) in candidates:
            newest = _newest_lost(c, known, kept, file)
            if newest is None:
                continue
            files += 1
            size += newest[1]
            named.append((newest[0], file, newest[1]))
            if len(named) > 4 * limit + 1000:
                named = nlargest(limit, named)
        first: list[Version] = []
        for _, file, _ in nlargest(limit, named):
            (parent, name) = c.execute(
                "SELECT d.path, f.name FROM file AS f JOIN folder AS d ON d.id = f.folder"
                " WHERE f.id = ?",
                (file,),
            ).fetchone()
            path = parent + b"/" + name if parent else name
            first += versions_of(c, known, file, path)[:1]
    return Lost(files, size, first)


def _newest_lost(
    c: sqlite3.Connection, known: Known, kept: Known, file: int
) -> tuple[int, int] | None:
    """Return (last, size) of a file's newest version when no kept snapshot shows any of them."""
    following: int | None = None
    newest: tuple[int, int] | None = None
    for first, kind, size in c.execute(
        "SELECT first, kind, size FROM version WHERE file = ? ORDER BY first DESC", (file,)
    ):
        if kind == "f":
            shown = kept.shown_first(first)
            if shown is not None and (following is None or shown < following):
                return None
            last = known.shown_last(following)
            begins = known.shown_first(first)
            if newest is None and last is not None and begins is not None and begins <= last:
                newest = (last, size)
        following = first
    return newest
