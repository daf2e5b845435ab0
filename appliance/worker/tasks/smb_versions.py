"""«Previous versions» in the file explorer: every snapshot of a share as a folder ``@GMT-…``, read-only.

``python -m appliance.worker.tasks.smb_versions --data DIR --mount PLACE --owner ACCOUNT``. Names come out of the
catalogue, bytes from the worker's reader: this process opens no repository and has no key. Read-only is the
mount itself, so nothing that comes over SMB can change a snapshot (measured-web.md J).
"""

import argparse
import ctypes
import errno
import logging
import os
import pwd
import signal
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from appliance.catalogue import query
from appliance.catalogue.reader_client import OpenFile, open_file
from appliance.catalogue.store import of_source
from appliance.db import shares, snapshots
from appliance.db.engine import Database, open_database
from appliance.disk.smb_config import SNAPSHOT_FORMAT
from appliance.errors import ArmoireError
from appliance.model import EntryKind, SnapshotId, SourceId
from appliance.settings import Settings, load
from appliance.worker.tasks.smb_fuse import Facts, Mount

KNOWN_S: Final = 5.0  # seconds the list of snapshots is believed
MOST: Final = 2_000  # snapshots of a share
#: A jump forward shorter than this is read through: opening anew costs more.
SKIP: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Shown:
    """One share and its snapshots by folder name."""

    source_id: SourceId
    snapshots: dict[bytes, "_Night"]


@dataclass(frozen=True, slots=True)
class _Night:
    """One snapshot of a share."""

    id: SnapshotId
    taken_ns: int
    top: bytes  # where the catalogue has the share in it

    def inside(self, path: tuple[bytes, ...]) -> bytes:
        """Return where the catalogue has what lies at a path here."""
        return b"/".join((self.top, *path[2:]))


class Versions:
    """``<share>/@GMT-2026.03.01-02.00.00/<path>``."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._shown: tuple[float, dict[bytes, _Shown]] = (float("-inf"), {})

    def facts(self, path: tuple[bytes, ...]) -> Facts:
        """Return what lies at a path."""
        shown = self._shares()
        if len(path) < 2:
            if path and path[0] not in shown:
                raise _missing()
            return Facts(is_folder=True)
        share, night = self._snapshot(path)
        if len(path) == 2:
            return Facts(is_folder=True, mtime_ns=night.taken_ns)
        catalogue = of_source(self._settings, share.source_id)
        try:
            found = query.entry(catalogue, night.id, night.inside(path))
        except ArmoireError as error:
            raise _missing() from error
        if found.kind is EntryKind.FOLDER:
            return Facts(is_folder=True, mtime_ns=found.mtime_ns)
        if found.kind is not EntryKind.FILE:
            raise _missing()  # links and devices are not followed through any door
        return Facts(is_folder=False, size=found.size, mtime_ns=found.mtime_ns)

    def names(self, path: tuple[bytes, ...]) -> list[tuple[bytes, bool]]:
        """Return the names in a folder."""
        if not path:
            return [(name, True) for name in self._shares()]
        if len(path) == 1:
            share = self._shares().get(path[0])
            if share is None:
                raise _missing()
            return [(name, True) for name in share.snapshots]
        share, night = self._snapshot(path)
        catalogue = of_source(self._settings, share.source_id)
        try:
            page = query.folder(catalogue, night.id, night.inside(path), limit=None)
        except ArmoireError as error:
            raise _missing() from error
        return [
            (row.name, row.kind is EntryKind.FOLDER)
            for row in page.rows
            if row.kind in {EntryKind.FOLDER, EntryKind.FILE}
        ]

    def open(self, path: tuple[bytes, ...]) -> "Reading":
        """Open a file of a snapshot."""
        if self.facts(path).is_folder:
            raise OSError(errno.EISDIR, "")
        share, night = self._snapshot(path)
        return Reading(self._settings, share.source_id, night.id, night.inside(path))

    def _shares(self) -> dict[bytes, _Shown]:
        at, known = self._shown
        if time.monotonic() - at < KNOWN_S:
            return known
        found = {}
        with self._database.read() as connection:
            for share in shares.all_living(connection):
                if not share.over_smb or share.source_id is None:
                    continue
                then = snapshots.roots(connection, share.source_id)
                taken = {
                    each.started_at.strftime(SNAPSHOT_FORMAT).encode(): _Night(
                        each.id,
                        int(each.started_at.timestamp()) * 1_000_000_000,
                        # A share may have been moved since.
                        os.fsencode(then.get(each.id) or share.folder).strip(b"/"),
                    )
                    for each in snapshots.of_source(connection, share.source_id, limit=MOST)
                }
                found[share.name.encode()] = _Shown(share.source_id, taken)
        self._shown = (time.monotonic(), found)
        return found

    def _snapshot(self, path: tuple[bytes, ...]) -> tuple[_Shown, _Night]:
        share = self._shares().get(path[0])
        found = None if share is None else share.snapshots.get(path[1])
        if share is None or found is None:
            raise _missing()
        return share, found


@dataclass
class Reading:
    """A file of a snapshot, read mostly from its beginning to its end."""

    settings: Settings
    source_id: SourceId
    snapshot_id: SnapshotId
    path: bytes
    _opened: OpenFile | None = None
    _blocks: Iterator[bytes] | None = None
    _at: int = 0  # where the next block begins
    _rest: bytes = b""  # what came and was not asked for yet; begins at _at - len(_rest)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``."""
        with self._lock:
            try:
                return self._read(offset, size)
            except ArmoireError as error:
                self._end()
                raise OSError(errno.EIO, "") from error

    def close(self) -> None:
        """Let the worker go."""
        with self._lock:
            self._end()

    def _read(self, offset: int, size: int) -> bytes:
        start = self._at - len(self._rest)
        if self._blocks is None or not start <= offset <= self._at + SKIP:
            self._end()
            self._opened = open_file(
                self.settings, self.source_id, self.snapshot_id, self.path, offset
            )
            self._blocks = self._opened.blocks
            self._at = start = offset
            self._rest = b""
        while self._at < offset + size:
            block = next(self._blocks, None)
            if block is None:
                break
            self._rest += block
            self._at += len(block)
            if self._at <= offset:  # skipped over
                self._rest = b""
            start = self._at - len(self._rest)
        skip = offset - start
        data = self._rest[skip : skip + size]
        # What was given may be asked for once more by a parallel read-ahead: a little stays.
        drop = max(0, skip + len(data) - 131072)
        self._rest = self._rest[drop:]
        return data

    def _end(self) -> None:
        if self._opened is not None:
            self._opened.close()
        self._opened = self._blocks = None
        self._rest = b""
        self._at = 0


def _missing() -> OSError:
    return FileNotFoundError(errno.ENOENT, "")


def _give_up_rights() -> None:
    """Drop every capability: mounting needed one. Source: capset(2), version 3."""
    header = struct.pack("<Ii", 0x2008_0522, 0)
    ctypes.CDLL(None, use_errno=True).capset(header, bytes(24))


def main(argv: Sequence[str] | None = None) -> int:
    """Mount and serve until SIGTERM; as an ordinary account the mount itself ends with this process."""
    parser = argparse.ArgumentParser(prog="armoire-versions")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--mount", type=Path, required=True)
    parser.add_argument("--owner", required=True, help="as whom Samba reads")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    settings = load(given.data)
    account = pwd.getpwnam(given.owner)
    database = open_database(settings.database)
    mount = Mount(
        Versions(settings, database),
        given.mount,
        owner=(account.pw_uid, account.pw_gid),
        may_read=frozenset({os.geteuid()}),
    )
    if os.geteuid() != 0:
        _give_up_rights()  # what follows reads names and bytes of others: it needs none
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: mount.close())
    try:
        mount.serve()
    finally:
        mount.close()
        database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
