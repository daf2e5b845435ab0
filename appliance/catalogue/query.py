# ruff: noqa: S608 - only constants of this module are put into statements
"""Reading a catalogue: folders, one entry, histories, differences, samples.

Every function sees one moment of the catalogue and answers from indexes: what it costs grows with
what it returns, not with what was ever backed up. Generators keep their moment until they end.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from operator import itemgetter

from appliance.catalogue.differences import Change, ChangeKind, Lost, compare, lost_if_removed
from appliance.catalogue.picking import Sample, sample
from appliance.catalogue.rows import AT, FIELDS, Version, entry_of, find, known_with, versions_of
from appliance.catalogue.schema import GONE
from appliance.catalogue.store import Catalogue, known_in
from appliance.catalogue.words import natural, normalise_name
from appliance.clock import from_epoch
from appliance.errors import NotFound, SnapshotMissing
from appliance.model import Entry, EntryKind, SnapshotId

__all__ = [
    "Change",
    "ChangeKind",
    "Listed",
    "Lost",
    "Order",
    "Page",
    "Sample",
    "Totals",
    "Version",
    "compare",
    "entry",
    "folder",
    "history",
    "lost_if_removed",
    "sample",
    "snapshots",
    "totals",
    "walk",
]


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
class Totals:
    """What a snapshot holds."""

    snapshot_id: SnapshotId
    taken_at: datetime
    files: int
    folders: int
    links: int
    others: int
    bytes: int  # of the regular files


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
        known_with(c, snapshot_id)
        number = c.execute("SELECT id FROM folder WHERE path = ?", (path,)).fetchone()
        rows: list[_Line] = []
        if number is not None:
            rows = c.execute(
                "SELECT f.name, f.sort, v.kind, v.size, v.mtime_ns, v.mode"
                f" FROM file AS f CROSS JOIN version AS v ON v.file = f.id AND {AT}"
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
            for name, _, kind, size, mtime_ns, mode in rows[offset:end]
        ],
        len(rows),
        offset,
    )


#: Name, what it is sorted by, kind, size, mtime_ns, mode; a mode of -1 marks an implied folder.
_Line = tuple[bytes, str, str, int, int, int]


_by_name = itemgetter(1, 0)


def _sort(lines: list[_Line], order: Order) -> None:
    down = order.value.startswith("-")
    lines.sort(key=_by_name, reverse=order is Order.NAME_DOWN)
    if order in {Order.SIZE, Order.SIZE_DOWN}:
        lines.sort(key=lambda line: line[3], reverse=down)
    elif order in {Order.TIME, Order.TIME_DOWN}:
        lines.sort(key=lambda line: line[4], reverse=down)
    lines.sort(key=lambda line: line[2] != "d")


def _implied(c: sqlite3.Connection, at: int, folder_id: int, shown: set[bytes]) -> list[_Line]:
    """Return the folders above the roots: they hold something, but are no item themselves."""
    found: list[_Line] = []
    for (path,) in c.execute("SELECT path FROM folder WHERE parent = ?", (folder_id,)).fetchall():
        name = path.rpartition(b"/")[2]
        if name and name not in shown and _holds_something(c, at, path):
            found.append((name, natural(normalise_name(name)), "d", 0, 0, -1))
    return found


def _holds_something(c: sqlite3.Connection, at: int, path: bytes) -> bool:
    return (
        c.execute(
            "SELECT 1 FROM folder AS d CROSS JOIN file AS f ON f.folder = d.id"
            f" CROSS JOIN version AS v ON v.file = f.id AND {AT}"
            f" WHERE (d.path = :path OR (d.path > :low AND d.path < :high)) AND v.kind <> '{GONE}'"
            " LIMIT 1",
            {"at": at, "path": path, "low": path + b"/", "high": path + b"0"},
        ).fetchone()
        is not None
    )


def _is_folder(c: sqlite3.Connection, at: int, path: bytes) -> bool:
    found = find(c, at, path)
    return found is not None and found.kind is EntryKind.FOLDER


def entry(catalogue: Catalogue, snapshot_id: SnapshotId, path: bytes) -> Entry:
    """Return one entry of a snapshot, with its chunk ids.

    Raises:
        SnapshotMissing: the catalogue does not know the snapshot.
        NotFound: there is no such path in it.
    """
    with catalogue.reading() as c:
        known_with(c, snapshot_id)
        found = find(c, snapshot_id, path)
    if found is None:
        raise NotFound("file", path.decode("utf-8", "replace"))
    return found


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


def walk(catalogue: Catalogue, snapshot_id: SnapshotId, under: bytes = b"") -> Iterator[Entry]:
    """Yield every entry of a snapshot at and below ``under``, each folder before what it holds.

    Raises:
        SnapshotMissing: the catalogue does not know the snapshot.
        NotFound: nothing of that path is in it.
    """
    is_empty = True
    with catalogue.reading() as c:
        known_with(c, snapshot_id)
        if under:
            top = find(c, snapshot_id, under)
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
            f"SELECT d.path, f.name, {FIELDS} FROM folder AS d"
            " CROSS JOIN file AS f ON f.folder = d.id"
            f" CROSS JOIN version AS v ON v.file = f.id AND {AT}"
            f" JOIN owner AS o ON o.id = v.owner {where} v.kind <> '{GONE}'"
            " ORDER BY d.path, f.name",
            {"at": snapshot_id, "path": under, "low": under + b"/", "high": under + b"0"},
        )
        for parent, name, *fields in rows:
            is_empty = False
            yield entry_of(parent + b"/" + name if parent else name, fields)
    if is_empty and under:
        raise NotFound("folder", under.decode("utf-8", "replace"))
