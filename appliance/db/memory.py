"""What was read from the state database and still holds, because nothing was committed since.

SQLite counts commits: ``PRAGMA data_version`` of a connection that writes nothing changes when any other connection,
of this process or another, has committed. Asking costs three microseconds; a session with its person, or the grants
on the shares, half a millisecond through SQLAlchemy (docs/decisions/0191).

Source: SQLite, «PRAGMA data_version».
"""

import sqlite3
import threading
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

from appliance.db.sqlite_file import Access, open_sqlite

#: Values kept at most; then all are let go. Cookies that somebody invents count too.
MOST: Final = 2_000
#: Milliseconds that asking may wait; longer, and the database is read as ever.
BUSY_MS: Final = 20


class Memory:
    """Values by key, all of the same moment of the database."""

    def __init__(self, path: Path) -> None:
        """Remember what is read from the database at ``path``."""
        self._path = path
        self._door = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None  # of this opening: SQLite begins each at the same number
        self._moments = 0  # so many were told apart; no number comes twice
        self._moment: int | None = None
        self._kept: dict[Hashable, Any] = {}

    def moment(self) -> int | None:
        """Return a number that changes with every commit of anybody; None when that cannot be said now.

        To be asked before the database is read: what is read later is at least as new.
        """
        with self._door:
            try:
                if self._connection is None:
                    self._connection = open_sqlite(self._path, Access.READ)
                    self._connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
                row = self._connection.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error:
                self._drop()
                return None
            if row[0] != self._version:
                self._kept = {}
                self._version = row[0]
                self._moments += 1
                self._moment = self._moments
            return self._moment

    def find(self, moment: int, key: Hashable) -> tuple[bool, Any]:
        """Return whether the value of ``key`` at ``moment`` is known, and the value."""
        with self._door:
            if moment != self._moment or key not in self._kept:
                return False, None
            return True, self._kept[key]

    def keep(self, moment: int, key: Hashable, value: object) -> None:
        """Remember a value that was read after ``moment`` was asked for."""
        with self._door:
            if moment != self._moment:
                return
            if len(self._kept) >= MOST:
                self._kept = {}
            self._kept[key] = value

    def close(self) -> None:
        """Close the file and forget everything."""
        with self._door:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._version = None
        self._moment = None
        self._kept = {}
