"""The tables of a catalogue: one SQLite file per source, described in docs/formats/catalogue.md.

A version of a file is one row, written once: it holds from the snapshot ``first`` on until the next
row of the same file begins. A file that is gone gets a row of kind ``-``. So a changed file costs
exactly one row, and a file that did not change costs nothing (docs/decisions/0020).
"""

import sqlite3
from typing import Final

#: «ARMo»: says whose file it is. Source: SQLite, "The Database File Header", offset 68.
APPLICATION_ID: Final = 0x41524D6F
#: Raised when a table or the normalisation of names changes: older files are rebuilt.
FORMAT: Final = 1
#: The kind of a row that says «not here any more».
GONE: Final = "-"

TABLES: Final = f"""
CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY,
    taken_at INTEGER NOT NULL,          -- microseconds since the epoch
    files INTEGER NOT NULL,             -- what the snapshot holds: regular files,
    folders INTEGER NOT NULL,
    links INTEGER NOT NULL,
    others INTEGER NOT NULL,
    bytes INTEGER NOT NULL              -- of the regular files
) STRICT;
CREATE TABLE owner (
    id INTEGER PRIMARY KEY,
    uid INTEGER,
    gid INTEGER,
    user TEXT,
    team TEXT
) STRICT;
CREATE TABLE folder (
    id INTEGER PRIMARY KEY,
    parent INTEGER,                     -- NULL for the top, whose path is empty
    path BLOB NOT NULL UNIQUE
) STRICT;
CREATE INDEX folder_parent ON folder (parent);
CREATE TABLE file (                     -- every name that was ever in a folder, once
    id INTEGER PRIMARY KEY,             -- grows with time: a larger one was met later
    folder INTEGER NOT NULL,
    name BLOB NOT NULL,
    norm TEXT NOT NULL,                 -- the name as it is searched
    sort TEXT NOT NULL,                 -- the name as a folder page is sorted
    UNIQUE (folder, name)
) STRICT;
CREATE TABLE version (
    file INTEGER NOT NULL,
    first INTEGER NOT NULL,             -- snapshot from which on this row holds
    kind TEXT NOT NULL,                 -- f d l o, or {GONE} for gone
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    target BLOB,                        -- of a link
    chunks BLOB NOT NULL,               -- model.Entry.chunks
    PRIMARY KEY (file, first)
) STRICT, WITHOUT ROWID;
CREATE INDEX version_first ON version (first);
CREATE INDEX version_no_file ON version (file) WHERE kind <> 'f';
CREATE VIRTUAL TABLE names USING fts5(
    norm, content='', columnsize=0, detail=none, tokenize='trigram case_sensitive 1'
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
"""


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file."""
    connection.executescript(TABLES)


def why_unusable(connection: sqlite3.Connection) -> str | None:
    """Return why this file is no catalogue this program can read, or None when it is one."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        return "not a catalogue"
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != FORMAT:
        return f"format {version}, this program reads {FORMAT}"
    return None
