# ruff: noqa: S608 - only constants of this module are put into statements
"""Reading a catalogue: folders, one entry, histories, differences, samples.

Every function sees one moment of the catalogue and answers from indexes: what it costs grows with
what it returns, not with what was ever backed up. Generators keep their moment until they end.
"""

import random
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from heapq import nlargest
from typing import Any, Final

from appliance.catalogue.schema import GONE
from appliance.catalogue.store import Catalogue, Known, known_in
from appliance.catalogue.words import natural
from appliance.clock import from_epoch
from appliance.errors import NotFound, SnapshotMissing
from appliance.model import Entry, EntryKind, SnapshotId


class Order(StrEnum):
    """How a folder page is sorted; folders always come first."""

    NAME = "name"
    NAME_DOWN = "-name"
    SIZE = "size"
    SIZE_DOWN = "-size"
    TIME = "time"
    TIME_DOWN = "-time"


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a folder page."""

    path: bytes
    name: bytes
    kind: EntryKind
    size: int
    mtime_ns: int
    mode: int
    #: No item of the snapshot: a folder above what was asked to be backed up.
    is_implied: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a folder, sorted."""

    rows: list[Listed]
    total: int  # entries of the folder
    offset: int


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a file, and the snapshots it is seen in."""

    entry: Entry
    first: SnapshotId
    last: SnapshotId
    #: The newest known snapshot shows it.
    is_present: bool


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


@dataclass(frozen=True, slots=True)
class Totals:
    """What a snapshot holds."""

    snapshot_id: SnapshotId
    taken_at: datetime
    files: int
    folders: int
    links: int
    others: int
    bytes: int  # of the regular files


@dataclass(frozen=True, slots=True)
class Sample:
    """Files picked for a proof; no file is in two of the lists."""

    newest: list[Entry]
    largest: list[Entry]
    old: list[Entry]

    @property
    def all(self) -> list[Entry]:
        """Every picked file."""
        return [*self.newest, *self.largest, *self.old]


_FIELDS: Final = (
    "v.kind, v.size, v.mtime_ns, v.mode, o.uid, o.gid, o.user, o.team, v.target, v.chunks"
)
#: The row of ``file`` that holds at a snapshot.
_AT: Final = (
    "v.first = (SELECT max(w.first) FROM version AS w WHERE w.file = f.id AND w.first <= :at)"
)


def snapshots(catalogue: Catalogue) -> list[Totals]:
    """Return every known snapshot with what it holds, newest first."""
    with catalogue.reading() as c:
        rows = c.execute(
            "SELECT id, taken_at, files, folders, links, others, bytes"
            " FROM snapshot ORDER BY id DESC"
        ).fetchall()
    return [
        Totals(SnapshotId(each[0]), from_epoch(0) + timedelta(microseconds=each[1]), *each[2:])
        for each in rows
    ]


def totals(catalogue: Catalogue, snapshot_id: SnapshotId) -> Totals:
    """Return what a snapshot holds.

    Raises:
        SnapshotMissing: the catalogue does not know it.
    """
    for each in snapshots(catalogue):
        if each.snapshot_id == snapshot_id:
            return each
    raise SnapshotMissing(snapshot_id)


def folder(
    catalogue: Catalogue,
    snapshot_id: SnapshotId,
    path: bytes,
    *,
    offset: int = 0,
    limit: int | None = 200,
    order: Order = Order.NAME,
) -> Page:
    """Return what a folder held in a snapshot; ``b""`` is the top.

    Raises:
        SnapshotMissing: the catalogue does not know the snapshot.
        NotFound: the folder is not in it.
    """
    with catalogue.reading() as c:
        _known_with(c, snapshot_id)
        number = c.execute("SELECT id FROM folder WHERE path = ?", (path,)).fetchone()
        rows: list[tuple[bytes, str, int, int, int]] = []
        if number is not None:
            rows = c.execute(
                "SELECT f.name, v.kind, v.size, v.mtime_ns, v.mode"
                f" FROM file AS f CROSS JOIN version AS v ON v.file = f.id AND {_AT}"
                f" WHERE f.folder = :folder AND v.kind <> '{GONE}'",
                {"folder": number[0], "at": snapshot_id},
            ).fetchall()
            rows += _implied(c, snapshot_id, number[0], {row[0] for row in rows})
        if not rows and path and not _is_folder(c, snapshot_id, path):
            raise NotFound("folder", path.decode("utf-8", "replace"))
    _sort(rows, order)
    end = None if limit is None else offset + limit
    above = path + b"/" if path else b""
    return Page(
        [
            Listed(above + name, name, EntryKind(kind), size, mtime_ns, mode, mode < 0)
            for name, kind, size, mtime_ns, mode in rows[offset:end]
        ],
        len(rows),
        offset,
    )


def _sort(rows: list[tuple[bytes, str, int, int, int]], order: Order) -> None:
    down = order.value.startswith("-")
    rows.sort(key=lambda row: natural(row[0]), reverse=order is Order.NAME_DOWN)
    if order in {Order.SIZE, Order.SIZE_DOWN}:
        rows.sort(key=lambda row: row[2], reverse=down)
    elif order in {Order.TIME, Order.TIME_DOWN}:
        rows.sort(key=lambda row: row[3], reverse=down)
    rows.sort(key=lambda row: row[1] != "d")


def _implied(
    c: sqlite3.Connection, at: int, folder_id: int, shown: set[bytes]
) -> list[tuple[bytes, str, int, int, int]]:
    """Return the folders above the roots: they hold something, but are no item themselves."""
    found: list[tuple[bytes, str, int, int, int]] = []
    for (path,) in c.execute("SELECT path FROM folder WHERE parent = ?", (folder_id,)).fetchall():
        name = path.rpartition(b"/")[2]
        if name and name not in shown and _holds_something(c, at, path):
            found.append((name, "d", 0, 0, -1))
    return found


def _holds_something(c: sqlite3.Connection, at: int, path: bytes) -> bool:
    return (
        c.execute(
            "SELECT 1 FROM folder AS d CROSS JOIN file AS f ON f.folder = d.id"
            f" CROSS JOIN version AS v ON v.file = f.id AND {_AT}"
            f" WHERE (d.path = :path OR (d.path > :low AND d.path < :high)) AND v.kind <> '{GONE}'"
            " LIMIT 1",
            {"at": at, "path": path, "low": path + b"/", "high": path + b"0"},
        ).fetchone()
        is not None
    )


def _is_folder(c: sqlite3.Connection, at: int, path: bytes) -> bool:
    found = _find(c, at, path)
    return found is not None and found.kind is EntryKind.FOLDER


def entry(catalogue: Catalogue, snapshot_id: SnapshotId, path: bytes) -> Entry:
    """Return one entry of a snapshot, with its chunk ids.

    Raises:
        SnapshotMissing: the catalogue does not know the snapshot.
        NotFound: there is no such path in it.
    """
    with catalogue.reading() as c:
        _known_with(c, snapshot_id)
        found = _find(c, snapshot_id, path)
    if found is None:
        raise NotFound("file", path.decode("utf-8", "replace"))
    return found


def _find(c: sqlite3.Connection, at: int, path: bytes) -> Entry | None:
    parent, _, name = path.rpartition(b"/")
    row = c.execute(
        f"SELECT {_FIELDS} FROM folder AS d CROSS JOIN file AS f ON f.folder = d.id"
        f" CROSS JOIN version AS v ON v.file = f.id AND {_AT}"
        " JOIN owner AS o ON o.id = v.owner WHERE d.path = :parent AND f.name = :name",
        {"at": at, "parent": parent, "name": name},
    ).fetchone()
    return None if row is None else entry_of(path, row)


def history(catalogue: Catalogue, path: bytes) -> list[Version]:
    """Return every version of a path that a known snapshot shows, newest first.

    A file that is deleted now has versions still: none of them ``is_present``.

    Raises:
        NotFound: no known snapshot shows the path.
    """
    parent, _, name = path.rpartition(b"/")
    with catalogue.reading() as c:
        file = c.execute(
            "SELECT f.id FROM folder AS d CROSS JOIN file AS f ON f.folder = d.id"
            " WHERE d.path = ? AND f.name = ?",
            (parent, name),
        ).fetchone()
        found = [] if file is None else versions_of(c, known_in(c), file[0], path)
    if not found:
        raise NotFound("file", path.decode("utf-8", "replace"))
    return found


def versions_of(c: sqlite3.Connection, known: Known, file: int, path: bytes) -> list[Version]:
    """Return the versions of ``file`` that known snapshots show, newest first."""
    found: list[Version] = []
    following: int | None = None
    newest = known.shown_last(None)
    for first, *fields in c.execute(
        f"SELECT v.first, {_FIELDS} FROM version AS v LEFT JOIN owner AS o ON o.id = v.owner"
        " WHERE v.file = ? ORDER BY v.first DESC",
        (file,),
    ).fetchall():
        shown, last = known.shown_first(first), known.shown_last(following)
        if fields[0] != GONE and shown is not None and last is not None and shown <= last:
            found.append(Version(entry_of(path, fields), shown, last, last == newest))
        following = first
    return found


def compare(catalogue: Catalogue, a: SnapshotId, b: SnapshotId) -> Iterator[Change]:
    """Yield what is different in snapshot ``b`` from snapshot ``a``, sorted by folder and name.

    Raises:
        SnapshotMissing: the catalogue does not know one of them.
    """
    low, high = sorted((int(a), int(b)))
    with catalogue.reading() as c:
        _known_with(c, a)
        _known_with(c, b)
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
            before, after = _state(c, file, a, path), _state(c, file, b, path)
            if before == after:
                continue
            if before is None:
                kind = ChangeKind.ADDED
            elif after is None:
                kind = ChangeKind.REMOVED
            else:
                kind = ChangeKind.CHANGED
            yield Change(kind, path, before, after)


def _state(c: sqlite3.Connection, file: int, at: int, path: bytes) -> Entry | None:
    row = c.execute(
        f"SELECT {_FIELDS} FROM version AS v LEFT JOIN owner AS o ON o.id = v.owner"
        " WHERE v.file = ? AND v.first <= ? ORDER BY v.first DESC LIMIT 1",
        (file, at),
    ).fetchone()
    return None if row is None or row[0] == GONE else entry_of(path, row)


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


def sample(
    catalogue: Catalogue,
    snapshot_id: SnapshotId,
    *,
    newest: int = 10,
    largest: int = 5,
    old: int = 10,
    seed: int = 0,
) -> Sample:
    """Pick regular files of a snapshot for a proof; the same seed picks the same files.

    Args:
        catalogue: of the source.
        snapshot_id: a known snapshot.
        newest: how many of those that changed in this snapshot.
        largest: how many of the largest.
        old: how many at random of the others.
        seed: of the two random picks.

    Raises:
        SnapshotMissing: the catalogue does not know the snapshot.
    """
    dice = random.Random(seed)  # noqa: S311 - a sample, not a secret
    with catalogue.reading() as c:
        known = _known_with(c, snapshot_id)
        changed = [
            row[0]
            for row in c.execute(
                "SELECT file FROM version INDEXED BY version_first"
                " WHERE first > ? AND first <= ? AND kind = 'f' ORDER BY file",
                (known.before(snapshot_id), snapshot_id),
            )
        ]
        picked = dice.sample(changed, min(newest, len(changed)))
        seen = set(picked)
        big = [
            row[0]
            for row in c.execute(
                "SELECT f.file FROM version AS f WHERE f.kind = 'f' AND f.first = (SELECT"
                " max(w.first) FROM version AS w WHERE w.file = f.file AND w.first <= :at)"
                " ORDER BY f.size DESC, f.file LIMIT :many",
                {"at": snapshot_id, "many": largest + len(seen)},
            )
            if row[0] not in seen
        ][:largest]
        seen.update(big)
        others = _random_files(c, snapshot_id, old, dice, seen)
        lists = [
            [_entry_of_file(c, file, snapshot_id) for file in ids] for ids in (picked, big, others)
        ]
    return Sample(*([e for e in each if e is not None] for each in lists))


def _random_files(
    c: sqlite3.Connection, at: int, many: int, dice: random.Random, seen: set[int]
) -> list[int]:
    (largest_id,) = c.execute("SELECT coalesce(max(id), 0) FROM file").fetchone()
    found: list[int] = []
    for _ in range(20 * many if largest_id else 0):
        if len(found) == many:
            return found
        file = dice.randint(1, largest_id)
        row = c.execute(
            "SELECT kind FROM version WHERE file = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            (file, at),
        ).fetchone()
        if row is not None and row[0] == "f" and file not in seen:
            seen.add(file)
            found.append(file)
    return found


def _entry_of_file(c: sqlite3.Connection, file: int, at: int) -> Entry | None:
    parent, name = c.execute(
        "SELECT d.path, f.name FROM file AS f JOIN folder AS d ON d.id = f.folder WHERE f.id = ?",
        (file,),
    ).fetchone()
    return _state(c, file, at, parent + b"/" + name if parent else name)


def walk(catalogue: Catalogue, snapshot_id: SnapshotId, under: bytes = b"") -> Iterator[Entry]:
    """Yield every entry of a snapshot at and below ``under``, each folder before what it holds.

    Raises:
        SnapshotMissing: the catalogue does not know the snapshot.
        NotFound: nothing of that path is in it.
    """
    is_empty = True
    with catalogue.reading() as c:
        _known_with(c, snapshot_id)
        if under:
            top = _find(c, snapshot_id, under)
            if top is not None:
                is_empty = False
                yield top
        # One range of the index, in order; between «a» and «a/» sort strangers such as «a-b».
        where = (
            "WHERE d.path >= :path AND d.path < :high AND (d.path = :path OR d.path > :low) AND"
            if under
            else "WHERE"
        )
        rows = c.execute(
            f"SELECT d.path, f.name, {_FIELDS} FROM folder AS d"
            " CROSS JOIN file AS f ON f.folder = d.id"
            f" CROSS JOIN version AS v ON v.file = f.id AND {_AT}"
            f" JOIN owner AS o ON o.id = v.owner {where} v.kind <> '{GONE}'"
            " ORDER BY d.path, f.name",
            {"at": snapshot_id, "path": under, "low": under + b"/", "high": under + b"0"},
        )
        for parent, name, *fields in rows:
            is_empty = False
            yield entry_of(parent + b"/" + name if parent else name, fields)
    if is_empty and under:
        raise NotFound("folder", under.decode("utf-8", "replace"))


def _known_with(c: sqlite3.Connection, snapshot_id: SnapshotId) -> Known:
    known = known_in(c)
    if snapshot_id not in known:
        raise SnapshotMissing(snapshot_id)
    return known


def entry_of(path: bytes, fields: Sequence[Any]) -> Entry:
    """Return the entry of a row selected as ``_FIELDS``."""
    return Entry(path, EntryKind(fields[0]), *fields[1:])
