# ruff: noqa: S608 - only constants of this module are put into statements
"""The file that holds what a share contains, to be searched: names in threes of letters, texts by words.

One SQLite file for each share, so that a right on a share is a right on a file and nothing has to be filtered
afterwards. It is never the authority: what is damaged, or of another format, is made again from the disk.

A folder is a row like a file and knows only its parent: to rename or to move one is to change one row. What
went is put aside first (``parent`` is GONE): whatever is found without a way up to the share is shown to
nobody, and a folder that turns up elsewhere keeps what is known about its contents.
"""

import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.db.sqlite_file import Access, is_locked, open_sqlite
from appliance.folders import make_shared
from appliance.policy.plain_words import normalise, normalise_name
from appliance.settings import Settings

APPLICATION_ID: Final = 0x41524D49  # «ARMI»
#: Raised when the tables or the way texts are made comparable change: files of another one are made again.
FORMAT: Final = 1
ROOT: Final = 1  # the share itself
GONE: Final = -1  # parent of what is put aside

#: What is known of a file's text.
NO_TEXT: Final = 0
WAITING: Final = 1
DONE: Final = 2
UNREADABLE: Final = 3

_NAMES: Final = (
    "norm, content='entry', content_rowid='id', columnsize=0, detail=none,"
    " tokenize='trigram case_sensitive 1'"
)
TABLES: Final = f"""
CREATE TABLE entry (
    id INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL,
    name BLOB NOT NULL,
    norm TEXT NOT NULL,
    kind TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    text INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX entry_place ON entry (parent, name);
CREATE INDEX entry_inode ON entry (inode);
CREATE INDEX entry_waiting ON entry (mtime_ns) WHERE text = {WAITING};
CREATE VIRTUAL TABLE names USING fts5({_NAMES});
CREATE VIRTUAL TABLE folder_names USING fts5({_NAMES});
CREATE VIRTUAL TABLE words USING fts5(
    body, content='', detail=none, columnsize=0, prefix='3 4',
    tokenize='unicode61 remove_diacritics 2'
);
CREATE TABLE page (id INTEGER PRIMARY KEY, raw BLOB NOT NULL);
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO entry (id, parent, name, norm, kind, size, mtime_ns, inode)
VALUES ({ROOT}, 0, x'', '', 'd', 0, 0, 0);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
"""


@dataclass(frozen=True, slots=True)
class Row:
    """An entry as the index knows it."""

    id: int
    parent: int
    name: bytes
    kind: str  # d · f · l · o
    size: int
    mtime_ns: int
    inode: int
    text: int


def path_of(settings: Settings, share_id: int) -> Path:
    """Return where the index of a share lies."""
    return settings.indexes / f"{share_id}.sqlite"


def open_index(path: Path) -> sqlite3.Connection:
    """Open an index for its one writer; what is missing, damaged or of another format is made anew.

    Raises:
        sqlite3.Error: it is locked by another writer, or the disk is full.
    """
    try:
        connection = open_sqlite(path, Access.WRITE)
    except sqlite3.DatabaseError as error:
        if is_locked(error):
            raise
        return _anew(path)
    try:
        known = connection.execute("PRAGMA application_id").fetchone()[0]
        form = connection.execute("PRAGMA user_version").fetchone()[0]
        is_whole = (known, form) == (APPLICATION_ID, FORMAT) and (
            connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
        )
    except sqlite3.DatabaseError as error:
        connection.close()
        if is_locked(error):
            raise
        return _anew(path)
    if not is_whole:
        connection.close()
        return _anew(path)
    # A power cut may cost the last changes, never the file: at every start the disk is compared.
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def remove(path: Path) -> None:
    """Remove an index and what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{suffix}")  # noqa: PTH108 - a suffix, not a path of its own


def _anew(path: Path) -> sqlite3.Connection:
    remove(path)
    make_shared(path.parent)
    with closing(open_sqlite(path, Access.BUILD)) as fresh:
        fresh.executescript(TABLES)
    connection = open_sqlite(path, Access.WRITE)
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


class Index:
    """What is written into one index. One writer at a time; the caller says BEGIN and COMMIT."""

    def __init__(self, path: Path) -> None:
        """Open, or make, the index at ``path``.

        Raises:
            sqlite3.Error: as ``open_index``.
        """
        self.path = path
        self.connection = open_index(path)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def find(self, parent: int, name: bytes) -> Row | None:
        """Return the entry called ``name`` in the folder ``parent``, or None."""
        return _row(
            self.connection.execute(
                f"SELECT {_COLUMNS} FROM entry WHERE parent = ? AND name = ?", (parent, name)
            ).fetchone()
        )

    def get(self, entry_id: int) -> Row | None:
        """Return an entry by its number, or None."""
        return _row(
            self.connection.execute(
                f"SELECT {_COLUMNS} FROM entry WHERE id = ?", (entry_id,)
            ).fetchone()
        )

    def of_inode(self, inode: int, kind: str) -> list[Row]:
        """Return the entries that had this inode: where a moved one was, or other names of a file."""
        found = self.connection.execute(
            f"SELECT {_COLUMNS} FROM entry WHERE inode = ? AND kind = ? AND id <> {ROOT}",
            (inode, kind),
        )
        return [Row(*each) for each in found]

    def inside(self, parent: int) -> dict[bytes, Row]:
        """Return what a folder holds, by name."""
        found = self.connection.execute(f"SELECT {_COLUMNS} FROM entry WHERE parent = ?", (parent,))
        return {each[2]: Row(*each) for each in found}

    def way(self, entry_id: int) -> bytes | None:
        """Return the path of an entry, b"" for the share; None when it is put aside or unknown."""
        return way(self.connection, entry_id)

    def add(
        self,
        parent: int,
        name: bytes,
        kind: str,
        *,
        size: int,
        mtime_ns: int,
        inode: int,
        text: int,
    ) -> int:
        """Add an entry and return its number."""
        norm = normalise_name(name)
        done = self.connection.execute(
            "INSERT INTO entry (parent, name, norm, kind, size, mtime_ns, inode, text)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (parent, name, norm, kind, size, mtime_ns, inode, text),
        )
        assert done.lastrowid is not None  # noqa: S101 - an INSERT has one
        self._name(done.lastrowid, norm, kind)
        return done.lastrowid

    def place(self, entry_id: int, parent: int, name: bytes) -> None:
        """Give an entry another place; what is below it comes along."""
        norm = normalise_name(name)
        was, kind = self._norm(entry_id)
        self.connection.execute(
            "UPDATE entry SET parent = ?, name = ?, norm = ? WHERE id = ?",
            (parent, name, norm, entry_id),
        )
        if norm != was:
            self._unname(entry_id, was, kind)
            self._name(entry_id, norm, kind)

    def alter(self, entry_id: int, *, size: int, mtime_ns: int, inode: int, text: int) -> None:
        """Write down that a file has another content."""
        self.connection.execute(
            "UPDATE entry SET size = ?, mtime_ns = ?, inode = ?, text = ? WHERE id = ?",
            (size, mtime_ns, inode, text, entry_id),
        )

    def shelve(self, entry_id: int) -> None:
        """Put an entry aside: with all below it, it is found no more from the next commit on."""
        self.connection.execute(
            "UPDATE entry SET parent = ?, name = CAST(id AS BLOB) WHERE id = ?", (GONE, entry_id)
        )

    def shelved(self) -> int | None:
        """Return one entry that is put aside, or None."""
        row = self.connection.execute(
            "SELECT id FROM entry WHERE parent = ? LIMIT 1", (GONE,)
        ).fetchone()
        return None if row is None else row[0]

    def below(self, entry_id: int) -> Iterator[int]:
        """Return an entry and all below it, the deepest first."""
        found = self.connection.execute(
            "WITH RECURSIVE sub(id) AS (SELECT ? UNION ALL"
            " SELECT e.id FROM entry AS e JOIN sub ON e.parent = sub.id) SELECT id FROM sub",
            (entry_id,),
        ).fetchall()
        return (each[0] for each in reversed(found))

    def forget(self, entry_id: int) -> None:
        """Remove an entry and its text for good; nothing may be below it."""
        self.forget_text(entry_id)
        norm, kind = self._norm(entry_id)
        self.connection.execute("DELETE FROM entry WHERE id = ?", (entry_id,))
        self._unname(entry_id, norm, kind)

    # Not by triggers: a statement with one opens a savepoint, at which FTS5 writes out all it had gathered:
    # 8 times slower (docs/decisions/0165).

    def _norm(self, entry_id: int) -> tuple[str, str]:
        found: tuple[str, str] = self.connection.execute(
            "SELECT norm, kind FROM entry WHERE id = ?", (entry_id,)
        ).fetchone()
        return found

    def _name(self, entry_id: int, norm: str, kind: str) -> None:
        for table in _OF_NAMES[kind == "d"]:
            self.connection.execute(
                f"INSERT INTO {table} (rowid, norm) VALUES (?, ?)", (entry_id, norm)
            )

    def _unname(self, entry_id: int, norm: str, kind: str) -> None:
        for table in _OF_NAMES[kind == "d"]:
            self.connection.execute(
                f"INSERT INTO {table} ({table}, rowid, norm) VALUES ('delete', ?, ?)",
                (entry_id, norm),
            )

    # --- texts -------------------------------------------------------------------------------

    def waiting(self, limit: int) -> list[Row]:
        """Return files whose text is to be read, the last changed first."""
        found = self.connection.execute(
            f"SELECT {_COLUMNS} FROM entry WHERE text = {WAITING} ORDER BY mtime_ns DESC LIMIT ?",
            (limit,),
        )
        return [Row(*each) for each in found]

    def set_text(self, entry_id: int, text: str | None) -> None:
        """Store the text of a file; None: it has none that can be read."""
        self.forget_text(entry_id)
        if text:
            self.connection.execute(
                "INSERT INTO page (id, raw) VALUES (?, ?)", (entry_id, zlib.compress(text.encode()))
            )
            self.connection.execute(
                "INSERT INTO words (rowid, body) VALUES (?, ?)", (entry_id, normalise(text))
            )
        self.connection.execute(
            "UPDATE entry SET text = ? WHERE id = ?",
            (UNREADABLE if text is None else DONE, entry_id),
        )

    def forget_text(self, entry_id: int) -> None:
        """Remove the text of a file."""
        row = self.connection.execute("SELECT raw FROM page WHERE id = ?", (entry_id,)).fetchone()
        if row is None:
            return
        # Without its own copy FTS5 must be told what it had indexed. Source: SQLite, FTS5 «The delete command».
        self.connection.execute(
            "INSERT INTO words (words, rowid, body) VALUES ('delete', ?, ?)",
            (entry_id, normalise(unpacked(row[0]))),
        )
        self.connection.execute("DELETE FROM page WHERE id = ?", (entry_id,))

    # --- facts -------------------------------------------------------------------------------

    def note(self, name: str, value: str) -> None:
        """Remember something about the index itself."""
        self.connection.execute(
            "INSERT INTO fact (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def noted(self, name: str) -> str | None:
        """Return what was remembered, or None."""
        row = self.connection.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])


#: Which tables hold the name of a file, and of a folder.
_OF_NAMES: Final = (("names",), ("names", "folder_names"))
_COLUMNS: Final = "id, parent, name, kind, size, mtime_ns, inode, text"


def unpacked(raw: bytes) -> str:
    """Return a stored text."""
    return zlib.decompress(raw).decode("utf-8", "replace")


def way(connection: sqlite3.Connection, entry_id: int) -> bytes | None:
    """Return the path of an entry, b"" for the share; None when nothing leads up from it."""
    names: list[bytes] = []
    while entry_id != ROOT:
        row = connection.execute(
            "SELECT parent, name FROM entry WHERE id = ?", (entry_id,)
        ).fetchone()
        if row is None or row[0] == GONE or len(names) > 200:
            return None
        names.append(row[1])
        entry_id = row[0]
    return b"/".join(reversed(names))


def _row(values: tuple[int, int, bytes, str, int, int, int, int] | None) -> Row | None:
    return None if values is None else Row(*values)
