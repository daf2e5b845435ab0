"""The files a state is laid out in: copied at one moment, written only when they are others than before."""

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path

from appliance import folders
from appliance.db.sqlite_file import Access, open_sqlite
from appliance.folders import put_file


def copy_database(source: Path, place: Path, *, without: Sequence[str] = ()) -> None:
    """Copy a SQLite file as it is at one moment; when it is as it was, the old copy stays.

    Secrets named in ``without`` are left out: what the box shall forget must not live on in its copies.
    """
    draft = place.with_name(place.name + ".new")
    remove_database(draft)
    with (
        contextlib.closing(open_sqlite(source, Access.READ)) as reading,
        contextlib.closing(open_sqlite(draft, Access.BUILD)) as writing,
    ):
        reading.backup(writing)
        # The copy is one file: nothing beside it must be needed to read it.
        writing.execute("PRAGMA journal_mode=DELETE")
        writing.execute("PRAGMA secure_delete=ON")
        for name in without:
            writing.execute("DELETE FROM secret WHERE name = ?", (name,))
        writing.commit()
    draft.chmod(0o600)
    if place.exists() and digest(place) == digest(draft):
        remove_database(draft)
        return
    folders.sync(draft)
    draft.rename(place)


def stamp(path: Path) -> list[int]:
    """Return what changes when the database at ``path`` does."""
    found = []
    for place in (path, path.with_name(path.name + "-wal")):
        try:
            facts_of = place.stat()
            found += [facts_of.st_size, facts_of.st_mtime_ns, facts_of.st_ino]
        except FileNotFoundError:
            found += [0, 0, 0]
    return found


def remove_database(path: Path) -> None:
    """Remove a SQLite file with all that lies beside it."""
    for extra in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + extra).unlink(missing_ok=True)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put_if_other(place: Path, data: bytes) -> None:
    """Put a file in place unless this very content lies there."""
    if not place.exists() or place.read_bytes() != data:
        put_file(place, data, 0o600)
