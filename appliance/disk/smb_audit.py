"""Who did what through the file explorer: Samba's audit lines, read from memory and written into the ledger.

Samba writes them into a file on tmpfs (never a disk, never syslog: they name documents) and begins a new one
after so many KiB. The place reached is stored in the same transaction as the entries: a worker that was
killed goes on where it was, nothing twice and nothing left out. What a reboot takes with the memory is what
was written in its last second.

Opening a document often makes Windows open it ten times: one entry a minute says it.
"""

import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from appliance.db import facts
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk.paths import RESERVED
from appliance.disk.smb_config import ACCOUNT
from appliance.ledger import events
from appliance.model import Person
from appliance.packed import pack_path

#: Where in the audit lines the ledger is.
FACT: Final = "smb.audit"
MOST_BYTES: Final = 1024 * 1024  # read in one turn
#: The same thing by the same person is said again after so long.
AGAIN: Final = timedelta(minutes=1)
CONNECTED_AGAIN: Final = timedelta(hours=1)
REMEMBERED: Final = 10_000
#: A program that saves under another name and puts it in place is done with the former one within this time.
SAVING: Final = timedelta(minutes=10)

# Source: MS-SMB2 2.2.13.1, access masks.
_READS: Final = 0x0000_0001 | 0x2000_0000 | 0x8000_0000 | 0x1000_0000 | 0x0200_0000
_MAKES: Final = frozenset({"create", "overwrite", "overwrite_if", "supersede"})


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened."""

    event: str  # as the other doors name it
    user: str
    address: str
    share: str
    path: bytes = b""  # relative to the share
    to_path: bytes | None = None
    is_refused: bool = False


def parse(line: bytes, folders: Mapping[str, Path]) -> Line | None:
    """Return what a line says; None when it says nothing a person would ask for, or is none of ours.

    Args:
        line: ``user|address|share|operation|ok or fail (…)|…``, without its end.
        folders: of the shares, by name.

    Source: vfs_full_audit(8); the fields of each operation were read off Samba 4.17.
    """
    parts = line.split(b"|", 5)
    if len(parts) != 6:
        return None
    user, address, share, operation, result = (
        each.decode("utf-8", "replace") for each in parts[:5]
    )
    folder = folders.get(share)
    if folder is None:
        return None
    rest = parts[5]
    if operation == "connect":
        is_refused = not result.startswith("ok")
        return Line(
            "smb.refused" if is_refused else "smb.connected",
            user,
            address,
            share,
            is_refused=is_refused,
        )
    if result != "ok":
        return None
    top = os.fsencode(folder)
    match operation:
        case "create_file":
            return _opened(user, address, share, rest, top)
        case "renameat":
            old, found, new = rest.rpartition(b"|" + top + b"/")
            path, to_path = _inside(old, top), _inside(top + b"/" + new, top)
            if not found or path is None or to_path is None:
                return None
            return Line("file.moved", user, address, share, path, to_path)
        case "unlinkat" | "mkdirat":
            path = _inside(rest, top)
            if path is None:
                return None
            event = "file.deleted" if operation == "unlinkat" else "folder.made"
            return Line(event, user, address, share, path)
        case _:
            return None


def _opened(user: str, address: str, share: str, rest: bytes, top: bytes) -> Line | None:
    parts = rest.split(b"|", 3)
    if len(parts) != 4 or parts[1] != b"file":
        return None
    path = _inside(parts[3], top)
    try:
        mask = int(parts[0], 16)
    except ValueError:
        return None
    if path is None:
        return None
    if parts[2].decode("ascii", "replace") in _MAKES:
        return Line("file.added", user, address, share, path)
    return Line("file.opened", user, address, share, path) if mask & _READS else None


def _inside(place: bytes, top: bytes) -> bytes | None:
    """Return a path relative to its share; None for the share itself, what is ours, and streams of a file."""
    if not place.startswith(top + b"/"):
        return None
    path = place[len(top) + 1 :]
    names = path.split(b"/")
    if names[0].lower() == RESERVED or b":" in names[-1] or not path:
        return None
    return path


@dataclass
class Follower:
    """Writes what Samba audited into the ledger; ``turn`` as often as one likes."""

    database: Database
    log: Path
    _said: OrderedDict[tuple[object, ...], datetime] = field(default_factory=OrderedDict)
    _moved: OrderedDict[tuple[str, bytes], tuple[bytes, datetime]] = field(
        default_factory=OrderedDict
    )

    def former(self, share: str, path: bytes, now: datetime) -> bytes | None:
        """Return what ``path`` was called until lately; None when nobody renamed it.

        Word, Excel and others rename a document away, put the new one in its place and delete the former: what lies
        in the bin as «~WRL0003.tmp» is the letter as it was.
        """
        path_before, at = self._moved.get((share, path), (None, now))
        return path_before if now - at < SAVING else None

    def turn(
        self, shares: Iterable[Share], people: Iterable[Person], *, mark: str, now: datetime
    ) -> int:
        """Read what is new and return how many entries were written; a line without ``mark`` is none of Samba's."""
        by_name = {each.name: each for each in shares}
        folders = {name: each.folder for name, each in by_name.items()}
        persons = {each.login: each for each in people}
        persons |= {f"{ACCOUNT}{each.id}": each for each in list(persons.values())}
        with self.database.read() as connection:
            stored = facts.find(connection, FACT)
        place = _place(stored)
        data, place_after = self._read(place)
        if place_after == place:
            return 0
        sign = mark.encode("ascii")
        said = [each[len(sign) :] for each in data.split(b"\n") if each.startswith(sign)]
        lines = [parse(each, folders) for each in said]
        self._remember_moves([each for each in lines if each is not None], now)
        wanted = [each for each in lines if each is not None and not self._was_said(each, now)]
        with self.database.write() as connection:
            for line in wanted:
                person = persons.get(line.user.lower())
                body: dict[str, object] = {"door": "smb", "address": line.address}
                if line.path:
                    body["path"] = pack_path(line.path)
                if line.to_path is not None:
                    body["to_path"] = pack_path(line.to_path)
                    body["to"] = f"share:{by_name[line.share].id}"
                events.record(
                    connection,
                    at=now,
                    event=line.event,
                    subject=f"share:{by_name[line.share].id}",
                    person_id=None if person is None else person.id,
                    actor=None if person is not None else "smb:unknown",
                    **body,
                )
            facts.put(connection, FACT, list(place_after), now=now)
        return len(wanted)

    def _read(self, place: tuple[int, int]) -> tuple[bytes, tuple[int, int]]:
        """Return whole lines after ``place`` and where they end; a file Samba put aside is read to its end first."""
        aside = self.log.with_name(self.log.name + ".old")
        for path in (aside, self.log):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                inode = os.fstat(descriptor).st_ino
                if path is aside and inode != place[0]:
                    continue
                offset = place[1] if inode == place[0] else 0
                data = os.pread(descriptor, MOST_BYTES, offset)
            finally:
                os.close(descriptor)
            whole = data[: data.rfind(b"\n") + 1]
            if whole or (path is self.log and inode != place[0]):
                return whole, (inode, offset + len(whole))
        return b"", place

    def _remember_moves(self, lines: Iterable[Line], now: datetime) -> None:
        for line in lines:
            if line.event == "file.moved" and line.to_path is not None:
                self._moved[line.share, line.to_path] = (line.path, now)
                self._moved.move_to_end((line.share, line.to_path))
        while len(self._moved) > REMEMBERED:
            self._moved.popitem(last=False)

    def _was_said(self, line: Line, now: datetime) -> bool:
        if line.event not in {"file.opened", "file.added", "smb.connected", "smb.refused"}:
            return False
        key = (line.event, line.user, line.share, line.path)
        pause = CONNECTED_AGAIN if line.event == "smb.connected" else AGAIN
        before = self._said.get(key)
        if before is not None and timedelta() <= now - before < pause:
            return True
        self._said[key] = now
        self._said.move_to_end(key)
        while len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        return False


def _place(stored: object) -> tuple[int, int]:
    if isinstance(stored, list) and len(stored) == 2:
        return int(stored[0]), int(stored[1])
    return 0, 0
