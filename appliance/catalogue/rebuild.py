"""A catalogue out of archives: one archive into a night, or all of them into a new file.

Both read an archive's items and compare them with what the catalogue says of the snapshot before,
so a rebuilt catalogue says the same as one that was written a night at a time.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from appliance import folders
from appliance.catalogue.night import Night, NightCounts
from appliance.catalogue.store import Catalogue, build, known_in, make_folder
from appliance.db.sqlite_file import Access, open_sqlite
from appliance.errors import CatalogueBusy, CatalogueDamaged, NightOutOfOrder
from appliance.model import Entry, SnapshotId

#: One archive of a repository: its snapshot, when it was taken, its items in any order.
Archive = tuple[SnapshotId, datetime, Iterable[Entry]]


def import_archive(
    catalogue: Catalogue, snapshot_id: SnapshotId, taken_at: datetime, entries: Iterable[Entry]
) -> NightCounts:
    """Read a whole archive into the catalogue as its newest snapshot; all or nothing.

    Use it where the changes are not known: a machine that pushed, a night whose catalogue was not
    committed. An error while ``entries`` is read leaves the catalogue as it was.

    Args:
        catalogue: of the source.
        snapshot_id: larger than every known one.
        taken_at: aware.
        entries: every item of the archive, in any order; of two of the same path the last holds.

    Raises:
        NightOutOfOrder, CatalogueBusy, CatalogueMissing, CatalogueDamaged; and what ``entries``
        raises.
    """
    with catalogue.night(snapshot_id, taken_at) as night:
        import_into(night, entries)
        return night.commit()


def import_into(night: Night, entries: Iterable[Entry]) -> None:
    """Put into ``night`` what is different in ``entries``, and what is gone."""
    state = night.state()
    for entry in entries:
        if not state.settles(entry):
            night.put(entry)
    for path in state.left():
        night.gone(path)


def rebuild(path: Path, archives: Iterable[Archive]) -> int:
    """Make the catalogue at ``path`` again from every archive; return how many snapshots it knows.

    A new file is built beside it and put in its place at the end, whole: until then, and after an
    error, the old one is as it was. Readers need not stop. A damaged old one is moved away to
    ``<name>.damaged``.

    Args:
        path: of the catalogue; need not exist.
        archives: oldest snapshot first.

    One at a time for each catalogue: the job's lock on the repository sees to that.

    Raises:
        NightOutOfOrder: ``archives`` is not sorted.
        CatalogueBusy: a night wrote into the old catalogue meanwhile; start again.
        What reading an archive raises: nothing is replaced by half a listing.
    """
    before = _known(path)
    draft = path.with_name(f"{path.stem}.rebuild")
    _remove(draft)  # of a rebuild that was killed
    count = 0
    try:
        make_folder(path.parent)
        build(draft)
        source_id = Catalogue(path).source_id
        connection = open_sqlite(draft, Access.REBUILD)
        try:
            newest: SnapshotId | None = None
            for snapshot_id, taken_at, entries in archives:
                if newest is not None and snapshot_id <= newest:
                    raise NightOutOfOrder(source_id, snapshot_id, newest)
                connection.execute("BEGIN")
                night = Night(connection, snapshot_id, taken_at)
                import_into(night, entries)
                night.commit()
                newest = snapshot_id
                count += 1
            connection.execute("INSERT INTO names (names) VALUES ('optimize')")
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
        folders.sync(draft)
        if before is not None and _known(path) != before:
            raise CatalogueBusy(source_id)
        _replace(path, draft)
    finally:
        _remove(draft)
    return count


def _remove(draft: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        draft.with_name(draft.name + suffix).unlink(missing_ok=True)


def _known(path: Path) -> list[int] | None:
    """Return the snapshots an old catalogue knows, or None when it cannot be read."""
    if not path.exists():
        return None
    try:
        with Catalogue(path).reading() as connection:
            return list(known_in(connection).ids)
    except CatalogueDamaged:
        return None


def _replace(path: Path, draft: Path) -> None:
    if _known(path) is not None and _copy_over(path, draft):
        return
    if path.exists():
        path.replace(path.with_name(path.name + ".damaged"))
    for suffix in ("-wal", "-shm"):  # the log of the damaged one must never be replayed into ours
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    draft.replace(path)


def _copy_over(path: Path, draft: Path) -> bool:
    """Put the new content into the old file in one transaction; False when it is too damaged.

    Renaming over a file in WAL mode would leave the old file's log beside the new file; this way
    readers and the log go on as in any other write.
    """
    try:
        target = open_sqlite(path, Access.WRITE)
        try:
            source = open_sqlite(draft, Access.READ)
            try:
                source.backup(target)
            finally:
                source.close()
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            target.close()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise CatalogueBusy(Catalogue(path).source_id) from error
        raise
    except sqlite3.DatabaseError:
        return False
    return True


# --- comparing two catalogues ----------------------------------------------------------------


def canonical_lines(path: Path) -> Iterator[bytes]:
    """Yield what a catalogue says, one fact a line, in one order, whatever way it was written."""
    catalogue = Catalogue(path)
    with catalogue.reading() as c:
        known = known_in(c)
        for row in c.execute(
            "SELECT id, taken_at, files, folders, links, others, bytes FROM snapshot ORDER BY id"
        ):
            yield b"snapshot " + repr(row).encode()
        rows = c.execute(
            "SELECT d.path, f.name, f.id, f.norm FROM folder AS d"
            " CROSS JOIN file AS f ON f.folder = d.id ORDER BY d.path, f.name"
        )
        for parent, name, file, norm in rows:
            yield b"file " + repr((parent, name, norm)).encode()
            versions = c.execute(
                "SELECT v.first, v.kind, v.size, v.mtime_ns, v.mode, o.uid, o.gid, o.user, o.team,"
                " v.target, v.chunks FROM version AS v LEFT JOIN owner AS o ON o.id = v.owner"
                " WHERE v.file = ? ORDER BY v.first",
                (file,),
            ).fetchall()
            for place, (first, *fields) in enumerate(versions):
                following = versions[place + 1][0] if place + 1 < len(versions) else None
                shown = (known.shown_first(first), known.shown_last(following))
                yield b"version " + repr((shown, fields)).encode("utf-8", "backslashreplace")


def canonical_dump(path: Path) -> str:
    """Return the SHA-256 of ``canonical_lines``: two catalogues that say the same have the same."""
    digest = hashlib.sha256()
    for line in canonical_lines(path):
        digest.update(line)
        digest.update(b"\n")
    return digest.hexdigest()
