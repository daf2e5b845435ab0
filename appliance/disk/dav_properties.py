"""Dead properties of WebDAV: what a program wrote beside a file for itself (RFC 4918, 4.1), in a SQLite file.

They belong to a path: what is renamed through WebDAV takes them along, what is renamed through another door
loses them. Losing the file loses nothing of a patient: it is made again, empty.
"""

import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from appliance.db.shares import ShareId
from appliance.db.sqlite_file import Access, open_sqlite
from appliance.disk.paths import parent
from appliance.units import KIB

LONGEST_VALUE: Final = 64 * KIB
MOST_OF_ONE: Final = 100  # properties of one file or folder
MOST_OF_SHARE: Final = 1_000_000
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS property (
  share INTEGER NOT NULL, folder BLOB NOT NULL, name BLOB NOT NULL, property TEXT NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (share, folder, name, property)
) WITHOUT ROWID
"""


class TooMany(Exception):
    """A value too long, or more properties than are kept."""


class Properties:
    """Properties by share and path; every method may be called by any thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._door = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def names(self, share: ShareId, path: bytes) -> list[str]:
        """Return the names of a resource's properties, in Clark's notation."""
        rows = self._rows(
            "SELECT property FROM property WHERE share=? AND folder=? AND name=?",
            (share, *_key(path)),
        )
        return [row[0] for row in rows]

    def value(self, share: ShareId, path: bytes, name: str) -> bytes | None:
        """Return one property as XML, or None."""
        rows = self._rows(
            "SELECT value FROM property WHERE share=? AND folder=? AND name=? AND property=?",
            (share, *_key(path), name),
        )
        return bytes(rows[0][0]) if rows else None

    def touch(self, share: ShareId, path: bytes) -> bool:
        """Return whether a resource, or something directly in it, has a property."""
        if not self._file.exists():
            return False
        folder, name = _key(path)
        return bool(
            self._rows(
                "SELECT 1 FROM property WHERE share=? AND folder=? AND name=?"
                " UNION ALL SELECT 1 FROM property WHERE share=? AND folder=? LIMIT 1",
                (share, folder, name, share, path),
            )
        )

    def check(self, share: ShareId, path: bytes, value: bytes) -> None:
        """Return when one more property may be written.

        Raises:
            TooMany: it is too long, or there are too many.
        """
        if len(value) > LONGEST_VALUE or len(self.names(share, path)) >= MOST_OF_ONE:
            raise TooMany
        (row,) = self._rows("SELECT count(*) FROM property WHERE share=?", (share,))
        if row[0] >= MOST_OF_SHARE:
            raise TooMany

    def write(self, share: ShareId, path: bytes, name: str, value: bytes) -> None:
        """Set a property."""
        self._rows(
            "INSERT INTO property VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET value=excluded.value",
            (share, *_key(path), name, value),
        )

    def remove(self, share: ShareId, path: bytes, name: str) -> None:
        """Remove a property; one that is not there is no error."""
        if self._file.exists():
            self._rows(
                "DELETE FROM property WHERE share=? AND folder=? AND name=? AND property=?",
                (share, *_key(path), name),
            )

    def forget(self, share: ShareId, path: bytes) -> None:
        """Remove every property of a resource and of all that is in it."""
        if self._file.exists():
            self._rows(
                f"DELETE FROM property WHERE {_BENEATH}",  # noqa: S608 - a text of ours
                _beneath(share, path),
            )

    def copy(
        self,
        share: ShareId,
        path: bytes,
        to_share: ShareId,
        new_path: bytes,
        *,
        with_children: bool = True,
    ) -> None:
        """Give a copy the properties of its original, and those of all in it."""
        if not self._file.exists():
            return
        rows = self._rows(
            f"SELECT folder, name, property, value FROM property WHERE {_BENEATH}",  # noqa: S608 - a text of ours
            _beneath(share, path),
        )
        for folder, name, key, value in rows:
            old = folder + b"/" + name if folder else bytes(name)
            if old == path or with_children:
                self.write(to_share, new_path + old[len(path) :], key, value)

    def close(self) -> None:
        """Close the file."""
        with self._door:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _rows(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._door:
            if self._connection is None:
                self._connection = _open(self._file)
            return self._connection.execute(statement, values).fetchall()


_BENEATH: Final = "share=? AND ((folder=? AND name=?) OR folder=? OR (folder>=? AND folder<?))"


def _beneath(share: ShareId, path: bytes) -> tuple[object, ...]:
    """Return the values of _BENEATH: the resource, what is in it, and what is in folders of it."""
    # «0» comes right after «/»: between the two lies every path that begins with «path/».
    return (share, *_key(path), path, path + b"/", path + b"0")


def _key(path: bytes) -> tuple[bytes, bytes]:
    return parent(path) if path else (b"", b"")


def _open(file: Path) -> sqlite3.Connection:
    if not file.exists():
        with suppress(FileExistsError):
            open_sqlite(file, Access.BUILD).close()
    connection = open_sqlite(file, Access.WRITE)
    connection.execute(_SCHEMA)
    return connection
