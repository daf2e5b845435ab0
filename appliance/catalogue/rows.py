# ruff: noqa: S608 - only constants of this package are put into statements
"""From rows of the catalogue to values: what every question shares."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from appliance.catalogue.schema import GONE
from appliance.catalogue.store import Known, known_in
from appliance.errors import SnapshotMissing
from appliance.model import Entry, EntryKind, SnapshotId


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a file, and the snapshots it is seen in."""

    entry: Entry
    first: SnapshotId
    last: SnapshotId
    #: The newest known snapshot shows it.
    is_present: bool


FIELDS: Final = (
    "v.kind, v.size, v.mtime_ns, v.mode, o.uid, o.gid, o.user, o.team, v.target, v.chunks"
)
#: The row of ``file`` that holds at a snapshot.
AT: Final = (
    "v.first = (SELECT max(w.first) FROM version AS w WHERE w.file = f.id AND w.first <= :at)"
)


def known_with(c: sqlite3.Connection, snapshot_id: SnapshotId) -> Known:
    """Return the known snapshots.

    Raises:
        SnapshotMissing: ``snapshot_id`` is none of them.
    """
    known = known_in(c)
    if snapshot_id not in known:
        raise SnapshotMissing(snapshot_id)
    return known


def entry_of(path: bytes, fields: Sequence[Any]) -> Entry:
    """Return the entry of a row selected as ``FIELDS``."""
    return Entry(path, EntryKind(fields[0]), *fields[1:])


def find(c: sqlite3.Connection, at: int, path: bytes) -> Entry | None:
    """Return the entry of ``path`` at a snapshot, or None when it is not there."""
    parent, _, name = path.rpartition(b"/")
    row = c.execute(
        f"SELECT {FIELDS} FROM folder AS d CROSS JOIN file AS f ON f.folder = d.id"
        f" CROSS JOIN version AS v ON v.file = f.id AND {AT}"
        " JOIN owner AS o ON o.id = v.owner WHERE d.path = :parent AND f.name = :name",
        {"at": at, "parent": parent, "name": name},
    ).fetchone()
    return None if row is None else entry_of(path, row)


def state(c: sqlite3.Connection, file: int, at: int, path: bytes) -> Entry | None:
    """Return the entry of the row ``file`` at a snapshot, or None when it is not there."""
    row = c.execute(
        f"SELECT {FIELDS} FROM version AS v LEFT JOIN owner AS o ON o.id = v.owner"
        " WHERE v.file = ? AND v.first <= ? ORDER BY v.first DESC LIMIT 1",
        (file, at),
    ).fetchone()
    return None if row is None or row[0] == GONE else entry_of(path, row)


def versions_of(c: sqlite3.Connection, known: Known, file: int, path: bytes) -> list[Version]:
    """Return the versions of ``file`` that known snapshots show, newest first."""
    found: list[Version] = []
    following: int | None = None
    newest = known.shown_last(None)
    for first, *fields in c.execute(
        f"SELECT v.first, {FIELDS} FROM version AS v LEFT JOIN owner AS o ON o.id = v.owner"
        " WHERE v.file = ? ORDER BY v.first DESC",
        (file,),
    ).fetchall():
        shown, last = known.shown_first(first), known.shown_last(following)
        if fields[0] != GONE and shown is not None and last is not None and shown <= last:
            found.append(Version(entry_of(path, fields), shown, last, last == newest))
        following = first
    return found
