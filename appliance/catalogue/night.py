"""One night's writing into a catalogue: a row for what changed, nothing for what did not."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from appliance.catalogue.schema import GONE
from appliance.catalogue.words import natural, normalise_name
from appliance.clock import from_epoch
from appliance.model import Entry, EntryKind, SnapshotId

#: Entries are written in batches of this many.
BATCH: Final = 2_000
_LARGEST: Final = 2**63 - 1  # SQLite's integers; a hostile server may send more
_MICROSECOND: Final = timedelta(microseconds=1)

#: kind, size, mtime_ns, mode, owner, target, chunks: what makes two versions the same or not.
Row = tuple[str, int, int, int, int, bytes | None, bytes]
_GONE: Final[Row] = (GONE, 0, 0, 0, 0, None, b"")
#: One column of ``snapshot`` per kind.
_TOTAL: Final = {"f": 0, "d": 1, "l": 2, "o": 3}

_FIND: Final = "SELECT id FROM file WHERE folder = ? AND name = ?"
_NEWEST_TWO: Final = (
    "SELECT first, kind, size, mtime_ns, mode, owner, target, chunks"
    " FROM version WHERE file = ? ORDER BY first DESC LIMIT 2"
)
_ADD_FILE: Final = "INSERT INTO file (id, folder, name, norm, sort) VALUES (?, ?, ?, ?, ?)"
_ADD_VERSION: Final = (
    "INSERT OR REPLACE INTO version"
    " (file, first, kind, size, mtime_ns, mode, owner, target, chunks)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class NightCounts:
    """What a night wrote."""

    added: int  # paths that were not in the previous snapshot
    changed: int
    gone: int
    unchanged: int  # named, but the same as before: nothing was written
    rows_written: int  # in every table but the index of names


class Night:
    """What changed since the previous snapshot; see ``Catalogue.night``. Used by one thread."""

    def __init__(
        self, connection: sqlite3.Connection, snapshot_id: SnapshotId, taken_at: datetime
    ) -> None:
        self._connection = connection
        self._snapshot_id = int(snapshot_id)
        self._taken_at = taken_at
        self._pending: dict[bytes, Entry | None] = {}
        self._folders: dict[bytes, int] = {}
        self._owners: dict[tuple[object, ...], int] = {
            (uid, gid, user, team): owner
            for owner, uid, gid, user, team in connection.execute("SELECT * FROM owner")
        }
        (newest,) = connection.execute("SELECT coalesce(max(id), 0) FROM file").fetchone()
        self._first_new_file = self._next_file = newest + 1
        self._is_first_night = newest == 0
        self._totals = [0, 0, 0, 0, 0]  # change of files, folders, links, others, bytes
        self._added = self._changed = self._gone = self._unchanged = self._rows = 0
        self._is_over = False

    def put(self, entry: Entry) -> None:
        """Note an entry that is new or changed since the previous snapshot; the same is no harm."""
        self._pending[entry.path] = entry
        if len(self._pending) >= BATCH:
            self._flush()

    def gone(self, path: bytes) -> None:
        """Note that ``path`` was in the previous snapshot and is not in this one.

        A folder's content is not implied: name every path that is gone.
        """
        self._pending[path] = None
        if len(self._pending) >= BATCH:
            self._flush()

    def commit(self) -> NightCounts:
        """Make the snapshot visible, whole; call it once the archive is committed."""
        self._flush()
        c = self._connection
        c.execute(
            "INSERT INTO names (rowid, norm) SELECT id, norm FROM file WHERE id >= ?",
            (self._first_new_file,),
        )
        before = c.execute(
            "SELECT files, folders, links, others, bytes FROM snapshot ORDER BY id DESC LIMIT 1"
        ).fetchone() or (0, 0, 0, 0, 0)
        c.execute(
            "INSERT INTO snapshot (id, taken_at, files, folders, links, others, bytes)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                self._snapshot_id,
                (self._taken_at - from_epoch(0)) // _MICROSECOND,
                *(
                    max(0, min(_LARGEST, old + change))
                    for old, change in zip(before, self._totals, strict=True)
                ),
            ),
        )
        self._rows += 1
        c.execute("COMMIT")
        self._is_over = True
        return NightCounts(self._added, self._changed, self._gone, self._unchanged, self._rows)

    def close(self) -> None:
        """Refuse further calls: the transaction ends with the ``with`` block."""
        self._is_over = True
        self._pending.clear()

    def state(self) -> "State":
        """Return what the previous snapshot holds, to be compared with a whole listing."""
        return State(self)

    # --- batches -----------------------------------------------------------------------------

    def _flush(self) -> None:
        if self._is_over:
            raise RuntimeError("this night is over")
        pending, self._pending = self._pending, {}
        if self._is_first_night and self._add_all(pending):
            return
        versions: list[tuple[object, ...]] = []
        for path, entry in pending.items():
            self._put_one(path, None if entry is None else self._row(entry), versions)
        self._connection.executemany(_ADD_VERSION, versions)
        self._rows += len(versions)

    def _add_all(self, pending: dict[bytes, Entry | None]) -> bool:
        """Write a batch of the first night without looking anything up; False: that is not so."""
        c = self._connection
        files, versions = [], []
        totals = list(self._totals)
        file = self._next_file
        for path, entry in pending.items():
            if entry is None:
                return False
            parent, _, name = path.rpartition(b"/")
            row = self._row(entry)
            norm = normalise_name(name)
            files.append((file, self._folder(parent), name, norm, natural(norm)))
            versions.append((file, self._snapshot_id, *row))
            totals[_TOTAL[row[0]]] += 1
            if row[0] == "f":
                totals[4] += row[1]
            file += 1
        before = c.total_changes
        c.execute("SAVEPOINT batch")
        c.executemany(_ADD_FILE.replace("INSERT", "INSERT OR IGNORE"), files)
        if c.total_changes - before != len(files):  # a path was named twice this night
            c.execute("ROLLBACK TO batch")
            c.execute("RELEASE batch")
            return False
        c.execute("RELEASE batch")
        c.executemany(_ADD_VERSION, versions)
        self._next_file = file
        self._totals = totals
        self._added += len(files)
        self._rows += 2 * len(files)
        return True

    def _put_one(self, path: bytes, row: Row | None, versions: list[tuple[object, ...]]) -> None:
        c = self._connection
        parent, _, name = path.rpartition(b"/")
        folder = self._folder(parent)
        found = c.execute(_FIND, (folder, name)).fetchone()
        rows = c.execute(_NEWEST_TWO, found).fetchall() if found else []
        # ``tonight``: the same path was named before in this night; the last word holds.
        tonight: Row | None = rows.pop(0)[1:] if rows and rows[0][0] == self._snapshot_id else None
        before: Row | None = rows[0][1:] if rows and rows[0][1] != GONE else None
        if tonight is not None:
            self._count(before, None if tonight[0] == GONE else tonight, -1)
        self._count(before, row, 1)
        if row == before:
            if tonight is not None:
                c.execute(
                    "DELETE FROM version WHERE file = ? AND first = ?",
                    (found[0], self._snapshot_id),
                )
            return
        if found is None:
            file = self._next_file
            self._next_file += 1
            norm = normalise_name(name)
            c.execute(_ADD_FILE, (file, folder, name, norm, natural(norm)))
            self._rows += 1
        else:
            (file,) = found
        versions.append((file, self._snapshot_id, *(row or _GONE)))

    def _count(self, before: Row | None, after: Row | None, sign: int) -> None:
        if before == after:
            self._unchanged += sign
            return
        for row, change in ((before, -sign), (after, sign)):
            if row is not None:
                self._totals[_TOTAL[row[0]]] += change
                if row[0] == "f":
                    self._totals[4] += change * row[1]
        if before is None:
            self._added += sign
        elif after is None:
            self._gone += sign
        else:
            self._changed += sign

    # --- interning -----------------------------------------------------------------------------

    def _row(self, entry: Entry) -> Row:
        owner = (entry.uid, entry.gid, entry.owner, entry.group)
        number = self._owners.get(owner)
        if number is None:
            number = self._add_owner(owner)
        size, mtime_ns = entry.size, entry.mtime_ns
        if not -_LARGEST <= mtime_ns <= _LARGEST:
            mtime_ns = max(-_LARGEST, min(_LARGEST, mtime_ns))
        if not 0 <= size <= _LARGEST:
            size = max(0, min(_LARGEST, size))
        return (
            entry.kind.value,
            size,
            mtime_ns,
            entry.mode,
            number,
            entry.target,
            entry.chunks if entry.kind is EntryKind.FILE else b"",
        )

    def _add_owner(self, owner: tuple[int | None, int | None, str | None, str | None]) -> int:
        uid, gid, *names = owner
        # A name in another encoding reaches us with surrogates, which SQLite refuses.
        texts = [n if n is None else n.encode("utf-8", "replace").decode() for n in names]
        clean = (uid, gid, *texts)
        number = self._owners.get(clean)
        if number is None:
            number = len(set(self._owners.values())) + 1
            self._connection.execute(
                "INSERT INTO owner (id, uid, gid, user, team) VALUES (?, ?, ?, ?, ?)",
                (number, *clean),
            )
            self._rows += 1
            self._owners[clean] = number
        self._owners[owner] = number
        return number

    def _folder(self, path: bytes) -> int:
        known = self._folders.get(path)
        if known is not None:
            return known
        c = self._connection
        missing: list[bytes] = []
        parent: int | None = None
        here: bytes | None = path
        while here is not None:
            found = c.execute("SELECT id FROM folder WHERE path = ?", (here,)).fetchone()
            if found is not None:
                (parent,) = found
                break
            missing.append(here)
            here = here.rpartition(b"/")[0] if here else None
        for each in reversed(missing):
            cursor = c.execute("INSERT INTO folder (parent, path) VALUES (?, ?)", (parent, each))
            parent = cursor.lastrowid
            self._rows += 1
        assert parent is not None  # noqa: S101 - either found or just made
        if len(self._folders) > 100_000:
            self._folders.clear()
        self._folders[path] = parent
        return parent


_STATE: Final = """
SELECT f.name, v.kind, v.size, v.mtime_ns, v.mode, v.owner, v.target, v.chunks
FROM file AS f CROSS JOIN version AS v ON v.file = f.id AND v.first = (
    SELECT max(w.first) FROM version AS w WHERE w.file = f.id AND w.first < ?
)
WHERE f.folder = ?
"""


class State:
    """What the previous snapshot holds; each entry of a listing settles its own line.

    A folder's lines are read when its first entry comes, and let go as they are settled: a listing
    that goes folder by folder needs the memory of one folder.
    """

    def __init__(self, night: Night) -> None:
        self._night = night
        self._connection = night._connection  # noqa: SLF001 - the night's own comparison
        self._is_empty = night._is_first_night  # noqa: SLF001
        self._waiting: dict[bytes, dict[bytes, Row]] = {}

    def settles(self, entry: Entry) -> bool:
        """Say whether ``entry`` is as it was; it is then known to be there, as it is otherwise."""
        if self._is_empty:
            return False
        parent, _, name = entry.path.rpartition(b"/")
        lines = self._waiting.get(parent)
        if lines is None:
            lines = self._waiting[parent] = self._lines(parent)
        return lines.pop(name, None) == self._night._row(entry)  # noqa: SLF001

    def _lines(self, parent: bytes) -> dict[bytes, Row]:
        number = self._connection.execute(
            "SELECT id FROM folder WHERE path = ?", (parent,)
        ).fetchone()
        if number is None:
            return {}
        rows = self._connection.execute(_STATE, (self._night._snapshot_id, number[0]))  # noqa: SLF001
        return {name: tuple(row) for name, *row in rows if row[0] != GONE}

    def left(self) -> Iterator[bytes]:
        """Yield the paths no entry settled: they are gone."""
        if self._is_empty:
            return
        for (parent,) in self._connection.execute("SELECT path FROM folder").fetchall():
            lines = self._waiting.pop(parent, None)
            for name in self._lines(parent) if lines is None else lines:
                yield parent + b"/" + name if parent else name
