"""Writing a catalogue: one night at a time, forgetting what was pruned.

A catalogue is never the authority: ``catalogue.rebuild`` makes an identical one from the
repository. A writer is one transaction; until it commits, every reader sees the previous night.
"""

import os
import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Final

from appliance import folders
from appliance.catalogue.night import Night, NightCounts
from appliance.catalogue.schema import GONE, create_tables, why_unusable
from appliance.db.sqlite_file import Access, is_locked, open_sqlite
from appliance.errors import (
    CatalogueBusy,
    CatalogueDamaged,
    CatalogueMissing,
    DatabaseUnusable,
    NightOutOfOrder,
    NoSpace,
    NotFound,
)
from appliance.folders import make_shared
from appliance.language import mark
from appliance.model import BOX_SOURCE, SnapshotId, SourceId
from appliance.settings import Settings

__all__ = [
    "Catalogue",
    "Known",
    "Night",
    "NightCounts",
    "at_path",
    "of_source",
    "opened",
    "path_of",
]

IDLE_CONNECTIONS: Final = 4

Fields = tuple[str, int, int, int, int, bytes | None, bytes]


class Known:
    """The snapshots a catalogue knows, oldest first, and what they make of a row's ``first``."""

    __slots__ = ("ids",)

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = ids

    def shown_first(self, first: int) -> SnapshotId | None:
        """Return the oldest known snapshot a row that begins at ``first`` may be seen in."""
        place = bisect_left(self.ids, first)
        return SnapshotId(self.ids[place]) if place < len(self.ids) else None

    def shown_last(self, following: int | None) -> SnapshotId | None:
        """Return the newest known snapshot before ``following`` (None: the newest of all)."""
        place = len(self.ids) if following is None else bisect_left(self.ids, following)
        return SnapshotId(self.ids[place - 1]) if place else None

    def before(self, snapshot: int) -> int:
        """Return the known snapshot just before ``snapshot``, or -1."""
        place = bisect_left(self.ids, snapshot)
        return self.ids[place - 1] if place else -1

    def after(self, snapshot: int) -> int | None:
        """Return the known snapshot just after ``snapshot``, or None."""
        place = bisect_right(self.ids, snapshot)
        return self.ids[place] if place < len(self.ids) else None

    def __contains__(self, snapshot: int) -> bool:
        place = bisect_left(self.ids, snapshot)
        return place < len(self.ids) and self.ids[place] == snapshot


def path_of(settings: Settings, source_id: SourceId) -> Path:
    """Return where the catalogue of a source lies.

    Raises:
        NotFound: the source is the box itself. What it holds (password hashes, sealed secrets) is looked
            at by nobody, so its catalogue lies elsewhere and only the jobs on its repository know it.
    """
    if source_id == BOX_SOURCE:
        raise NotFound("file", "box")
    return settings.catalogues / f"{source_id}.sqlite"


def of_source(settings: Settings, source_id: SourceId, *, create: bool = False) -> "Catalogue":
    """Return the catalogue of a source.

    Raises:
        NotFound: the source is the box itself.
        CatalogueMissing: there is none and ``create`` is False.
        CatalogueDamaged: it cannot be read.
    """
    return opened(path_of(settings, source_id), create=create)


def opened(path: Path, *, create: bool = False) -> "Catalogue":
    """Return the catalogue at ``path``, once it can be read.

    Raises:
        CatalogueMissing: there is none and ``create`` is False.
        CatalogueDamaged: it cannot be read.
    """
    if create and not path.exists():
        make_empty(path)
    catalogue = at_path(path)
    with catalogue.reading():
        return catalogue


_opened: Final[dict[Path, "Catalogue"]] = {}


def at_path(path: Path) -> "Catalogue":
    """Return the one catalogue of this process at ``path``, whose connections are kept open.

    Nothing is read yet: a missing or damaged file shows at the first query.
    """
    return _opened.setdefault(path, Catalogue(path))


class Catalogue:
    """What every snapshot of one source holds. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        """Use ``open``."""
        self.path = path
        self.source_id = SourceId(int(path.stem) if path.stem.isdecimal() else 0)
        self._idle: list[tuple[int, sqlite3.Connection]] = []
        self._lock = Lock()

    @classmethod
    def open(cls, path: Path, *, create: bool = False) -> "Catalogue":
        """Return the catalogue at ``path`` (``<source id>.sqlite``), made empty if ``create``.

        Raises:
            CatalogueMissing: there is none and ``create`` is False.
            CatalogueDamaged: it cannot be read, or was written in another format.
        """
        catalogue = cls(path)
        if create and not path.exists():
            make_empty(path)
        with catalogue.reading():
            pass
        return catalogue

    # --- reading ---------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a read-only connection that sees one moment, whatever is written meanwhile.

        Raises:
            CatalogueMissing, CatalogueDamaged.
        """
        with self._translated():
            connection, inode = self._take()
            try:
                connection.execute("BEGIN")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
        with self._lock:
            if len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append((inode, connection))
                return
        connection.close()

    def _take(self) -> tuple[sqlite3.Connection, int]:
        try:
            inode = os.stat(self.path).st_ino  # noqa: PTH116 - the hot path of every query
        except FileNotFoundError as error:
            self.close()
            raise CatalogueMissing(self.source_id) from error
        except PermissionError as error:
            raise may_not_open(self.path) from error
        with self._lock:
            while self._idle:
                known, connection = self._idle.pop()
                if known == inode:
                    return connection, inode
                connection.close()  # the file was replaced by a rebuild
        connection = open_sqlite(self.path, Access.READ)
        reason = why_unusable(connection)
        if reason is not None:
            connection.close()
            raise CatalogueDamaged(self.source_id, reason)
        return connection, inode

    def close(self) -> None:
        """Close idle connections; the catalogue stays usable."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._error_of(error) from error

    def _error_of(self, error: sqlite3.Error) -> Exception:
        if is_locked(error):
            return CatalogueBusy(self.source_id)
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            disk = os.statvfs(self.path.parent)
            return NoSpace(str(self.path.parent), disk.f_bavail * disk.f_frsize, 0)
        if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
            if not self.path.exists():
                return CatalogueMissing(self.source_id)
            return may_not_open(self.path)
        # SQLite's own words: they name tables, never what is in them.
        return CatalogueDamaged(self.source_id, str(error))

    def known_snapshots(self) -> list[SnapshotId]:
        """Return the snapshots the catalogue knows, newest first."""
        with self.reading() as connection:
            return [SnapshotId(each) for each in reversed(known_in(connection).ids)]

    # --- writing ---------------------------------------------------------------------------

    @contextmanager
    def night(self, snapshot_id: SnapshotId, taken_at: datetime) -> Iterator[Night]:
        """Yield the night in which ``snapshot_id`` is written; nothing shows before its commit.

        Leaving without ``commit`` rolls back; so does an exception and so does kill -9.

        Args:
            snapshot_id: larger than every one the catalogue knows.
            taken_at: aware; kept to the microsecond.

        Raises:
            NightOutOfOrder: a snapshot as new or newer is known.
            CatalogueBusy: another night, a rebuild or a pruning writes at this moment.
            CatalogueMissing, CatalogueDamaged.
        """
        with self.writing() as connection:
            newest = known_in(connection).shown_last(None)
            if newest is not None and snapshot_id <= newest:
                raise NightOutOfOrder(self.source_id, snapshot_id, newest)
            night = Night(connection, snapshot_id, taken_at)
            try:
                yield night
            finally:
                night.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection inside one write transaction, rolled back unless it was committed."""
        with self._translated():
            if not self.path.exists():
                raise CatalogueMissing(self.source_id)
            connection = open_sqlite(self.path, Access.WRITE)
            try:
                reason = why_unusable(connection)
                if reason is not None:
                    raise CatalogueDamaged(self.source_id, reason)
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                if not connection.in_transaction:
                    _tidy(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                connection.close()

    def forget(self, snapshot_ids: Collection[SnapshotId]) -> int:
        """Remove what only these snapshots showed, after they were pruned; return versions removed.

        Unknown ids are ignored, so it is safe to run again. When the newest snapshots go, the
        catalogue stands again where the newest kept one stood.

        Raises:
            CatalogueBusy, CatalogueMissing, CatalogueDamaged.
        """
        with self.writing() as connection:
            known = known_in(connection)
            removed = sorted(each for each in set(snapshot_ids) if each in known)
            kept = Known([each for each in known.ids if each not in set(removed)])
            count = 0
            for low, following in _runs(removed, kept):
                count += _forget_run(connection, kept, low, following)
            connection.executemany("DELETE FROM snapshot WHERE id = ?", [(r,) for r in removed])
            connection.execute("COMMIT")
        return count


def may_not_open(path: Path) -> DatabaseUnusable:
    """Return the error for rights that are missing: making the list again would not help."""
    return DatabaseUnusable(str(path), mark("the account of this program may not open it"))


def make_empty(path: Path) -> None:
    """Make an empty catalogue at ``path``, which must not exist; whole or not at all."""
    make_folder(path.parent)
    for left in path.parent.glob(f".{path.name}.*.new"):
        if not Path("/proc", left.name.split(".")[-2]).exists():  # its maker was killed
            left.unlink(missing_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    build(draft)
    try:
        os.link(draft, path)  # another process may have been first: theirs stays
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def make_folder(folder: Path) -> None:
    """Make the folder of catalogues where there is none."""
    make_shared(folder)  # the web reads as another user of the group, and SQLite makes files beside


def build(path: Path) -> None:
    """Make an empty catalogue at ``path``, a draft nobody else knows; a kill may leave half of it."""
    connection = open_sqlite(path, Access.BUILD)
    try:
        create_tables(connection)
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
    folders.sync(path)


def known_in(connection: sqlite3.Connection) -> Known:
    """Return the snapshots known at the moment ``connection`` sees."""
    return Known([row[0] for row in connection.execute("SELECT id FROM snapshot ORDER BY id")])


def _tidy(connection: sqlite3.Connection) -> None:
    # What was written goes from the log into the file, unless a reader still looks at the old state.
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.OperationalError as error:
        if not is_locked(error):
            raise


def _runs(removed: Sequence[int], kept: Known) -> list[tuple[int, int | None]]:
    """Return, oldest first, the gaps removed snapshots leave: (kept before, kept after)."""
    return sorted(
        {(kept.before(each), kept.after(each)) for each in removed}, key=lambda gap: gap[0]
    )


_DEAD: Final = """
SELECT DISTINCT file FROM version AS v INDEXED BY version_first
WHERE first > :low AND first < :following AND EXISTS (
    SELECT 1 FROM version AS later
    WHERE later.file = v.file AND later.first > v.first AND later.first <= :following
)
"""
_DEAD_AT_THE_END: Final = """
SELECT DISTINCT file FROM version INDEXED BY version_first WHERE first > :low
"""


def _forget_run(
    connection: sqlite3.Connection, kept: Known, low: int, following: int | None
) -> int:
    # A row is dead when no kept snapshot lies between its beginning and the next row's.
    query = _DEAD_AT_THE_END if following is None else _DEAD
    files = connection.execute(query, {"low": low, "following": following}).fetchall()
    dead: list[tuple[int, int]] = []
    empty: list[int] = []
    for (file,) in files:
        rows = connection.execute(
            "SELECT first, kind, size, mtime_ns, mode, owner, target, chunks"
            " FROM version WHERE file = ? ORDER BY first",
            (file,),
        ).fetchall()
        living = 0
        previous: tuple[object, ...] | None = None
        for place, (first, *fields) in enumerate(rows):
            shown = kept.shown_first(first)
            after = rows[place + 1][0] if place + 1 < len(rows) else None
            is_dead = shown is None or (after is not None and after <= shown)
            # What lay between two equal rows is gone: the first of them holds for both.
            is_same = previous is not None and previous == tuple(fields)
            if is_dead or is_same or (previous is None and fields[0] == GONE):
                dead.append((file, first))
            else:
                living += 1
                previous = tuple(fields)
        if not living:
            empty.append(file)
    connection.executemany("DELETE FROM version WHERE file = ? AND first = ?", dead)
    _remove_files(connection, empty)
    return len(dead)


def _remove_files(connection: sqlite3.Connection, files: Sequence[int]) -> None:
    folders: set[int] = set()
    for file in files:
        row = connection.execute("SELECT folder, norm FROM file WHERE id = ?", (file,)).fetchone()
        folders.add(row[0])
        connection.execute(
            "INSERT INTO names (names, rowid, norm) VALUES ('delete', ?, ?)", (file, row[1])
        )
        connection.execute("DELETE FROM file WHERE id = ?", (file,))
    waiting = list(folders)
    while waiting:
        folder = waiting.pop()
        found = connection.execute(
            "DELETE FROM folder WHERE id = ?1"
            " AND NOT EXISTS (SELECT 1 FROM file WHERE folder = ?1)"
            " AND NOT EXISTS (SELECT 1 FROM folder AS child WHERE child.parent = ?1)"
            " RETURNING parent",
            (folder,),
        ).fetchone()
        if found is not None and found[0] is not None:
            waiting.append(found[0])
