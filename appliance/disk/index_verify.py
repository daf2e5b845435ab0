"""Compares an index with its disk: what is missing from the search, and what it shows that is not there.

Files come and go while one compares: what differs is looked at a second time, after the index had time to
follow, and only what differs still is counted.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from appliance.db.shares import Share
from appliance.db.sqlite_file import Access, open_sqlite
from appliance.disk import paths
from appliance.disk.index_file import (
    APPLICATION_ID,
    DONE,
    FORMAT,
    NO_TEXT,
    ROOT,
    UNREADABLE,
    WAITING,
    path_of,
)
from appliance.disk.index_keep import kind_of
from appliance.errors import ArmoireError
from appliance.settings import Settings

#: Seconds the index is given to follow what changed meanwhile.
GRACE_S: Final = 5.0
#: Differences that are looked at again; more are counted as they are: something is wrong at large.
AGAIN_AT_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison found. Figures only, never a name (beam 7)."""

    on_disk: int  # entries
    missing: int  # on the disk, not in the index
    stale: int  # in the index, not on the disk
    altered: int  # in both, with another size or time
    texts: int  # files whose words are found
    unreadable: int  # files whose words cannot be read
    waiting: int  # files whose words are not read yet
    seconds: float

    @property
    def is_right(self) -> bool:
        """The names are what the disk says; texts may be on their way."""
        return not (self.missing or self.stale or self.altered)


_Facts = tuple[str, int, int]  # kind, size, mtime_ns; of folders the kind only


def compare(
    settings: Settings,
    share: Share,
    *,
    check: Callable[[], None] = lambda: None,
    grace_s: float | None = None,
) -> Compared | None:
    """Return how the index of a share differs from its disk; None when there is no index, or no disk.

    Args:
        settings: of the box.
        share: a living one.
        check: called for each folder; may raise.
        grace_s: seconds between the two looks at what differs; None: GRACE_S.
    """
    began = time.monotonic()
    try:
        with closing(open_sqlite(path_of(settings, share.id), Access.READ)) as connection:
            form = (
                connection.execute("PRAGMA application_id").fetchone()[0],
                connection.execute("PRAGMA user_version").fetchone()[0],
            )
            if form != (APPLICATION_ID, FORMAT) or not share.folder.is_dir():
                return None
            seen, differing = _walk(connection, share, check)
            wrong = [0, 0, 0]
            if differing and len(differing) <= AGAIN_AT_MOST:
                time.sleep(GRACE_S if grace_s is None else grace_s)
                differing = {path for path in differing if _differs(connection, share, path)}
            for path in differing:
                wrong[_sort(connection, share, path)] += 1
            states = dict(
                connection.execute("SELECT text, count(*) FROM entry GROUP BY text").fetchall()
            )
    except sqlite3.Error:
        return None
    states.pop(NO_TEXT, None)
    return Compared(
        on_disk=seen,
        missing=wrong[0],
        stale=wrong[1],
        altered=wrong[2],
        texts=states.get(DONE, 0),
        unreadable=states.get(UNREADABLE, 0),
        waiting=states.get(WAITING, 0),
        seconds=round(time.monotonic() - began, 2),
    )


def _walk(
    connection: sqlite3.Connection, share: Share, check: Callable[[], None]
) -> tuple[int, set[bytes]]:
    """Return how many entries the disk has, and the paths that the two tell differently."""
    differing: set[bytes] = set()
    seen = 0
    folders: list[tuple[bytes, int | None]] = [(b"", ROOT)]
    while folders:
        check()
        path, number = folders.pop()
        known: dict[bytes, tuple[int, _Facts]] = {}
        if number is not None:
            known = {
                name: (entry_id, _facts(kind, size, mtime_ns))
                for entry_id, name, kind, size, mtime_ns in connection.execute(
                    "SELECT id, name, kind, size, mtime_ns FROM entry WHERE parent = ?", (number,)
                )
            }
        for name, facts in _on_disk(share, path):
            seen += 1
            entry_id, said = known.pop(name, (None, None))
            if said != facts:
                differing.add(paths.join(path, name))
            if facts[0] == "d":
                folders.append((paths.join(path, name), entry_id))
        differing.update(paths.join(path, name) for name in known)
    return seen, differing


def _facts(kind: str, size: int, mtime_ns: int) -> _Facts:
    return (kind, size, mtime_ns) if kind == "f" else (kind, 0, 0)


def _on_disk(share: Share, path: bytes) -> Iterator[tuple[bytes, _Facts]]:
    try:
        with paths.open_folder(share.folder, path) as folder, os.scandir(folder) as found:
            for each in found:
                name = os.fsencode(each.name)
                if not path and name.lower() == paths.RESERVED:
                    continue
                try:
                    facts = each.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield name, _facts(kind_of(facts.st_mode), facts.st_size, facts.st_mtime_ns)
    except (ArmoireError, OSError):
        return  # it went while we looked


def _said(connection: sqlite3.Connection, path: bytes) -> _Facts | None:
    at = ROOT
    found: _Facts | None = None
    for name in path.split(b"/"):
        row = connection.execute(
            "SELECT id, kind, size, mtime_ns FROM entry WHERE parent = ? AND name = ?", (at, name)
        ).fetchone()
        if row is None:
            return None
        at, found = row[0], _facts(*row[1:])
    return found


def _is(share: Share, path: bytes) -> _Facts | None:
    try:
        with paths.open_parent(share.folder, path) as (folder, name):
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except (ArmoireError, OSError):
        return None
    return _facts(kind_of(facts.st_mode), facts.st_size, facts.st_mtime_ns)


def _differs(connection: sqlite3.Connection, share: Share, path: bytes) -> bool:
    return _said(connection, path) != _is(share, path)


def _sort(connection: sqlite3.Connection, share: Share, path: bytes) -> int:
    """Return 0 for what is missing from the index, 1 for what is only there, 2 for what is told otherwise."""
    if _said(connection, path) is None:
        return 0
    return 1 if _is(share, path) is None else 2
