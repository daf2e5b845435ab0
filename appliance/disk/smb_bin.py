"""What was deleted through the file explorer becomes what the bin of the web shows, and comes back from there.

Samba's recycle module moves a file into ``.armoire/bin/smb/<who>/<where it was>``. From there it is given its row
and its place in the bin, a whole folder as one thing when it is gone from the share. As in ``disk.bin`` the row
comes before the rename.
"""

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk import bin as bins
from appliance.disk import moves
from appliance.disk.paths import join
from appliance.disk.smb_config import RECYCLED
from appliance.errors import FileMissing
from appliance.model import PersonId

#: A folder is deleted file by file: one waits until nothing came for so long.
QUIET: Final = timedelta(seconds=3)
#: The second deletion of a name; Source: vfs_recycle(8), «recycle:versions».
_AGAIN: Final = re.compile(rb"Copy #\d+ of (.+)", re.DOTALL)
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _never(_path: bytes) -> None:
    return None


def gather(
    database: Database,
    share: Share,
    people: Mapping[str, PersonId],
    *,
    now: datetime,
    former: Callable[[bytes], bytes | None] = _never,
) -> int:
    """Give what lies in the recycle folder of a share to its bin; return how many things. Safe to run again.

    Args:
        database: for the rows.
        share: whose folder is looked at.
        people: by what they sign in with.
        now: aware UTC.
        former: what a path was called before a program renamed it, to put another file in its place.
    """
    top = share.folder / RECYCLED
    if not top.is_dir() or top.is_symlink():
        return 0
    with bins.opened(bins.own_folder(share, bins.BIN)) as into, bins.opened(top) as recycled:
        work = _Gathering(database, share, now, into, former)
        for name in sorted(os.listdir(recycled)):  # noqa: PTH208 - a descriptor
            with suppress(NotADirectoryError, FileNotFoundError):
                who = os.open(name, _FOLDER, dir_fd=recycled)
                try:
                    work.folder(who, b"", people.get(name.lower()))
                finally:
                    os.close(who)
    return work.count


@dataclass
class _Gathering:
    database: Database
    share: Share
    now: datetime
    into: int  # the bin's folder
    former: Callable[[bytes], bytes | None]
    count: int = 0

    def folder(self, opened: int, path: bytes, who: PersonId | None) -> None:
        for name in sorted(os.listdir(opened)):
            raw = os.fsencode(name)
            was = join(path, _original(raw))
            with suppress(FileNotFoundError, FileMissing):
                facts = os.stat(raw, dir_fd=opened, follow_symlinks=False)
                if not _is_folder(facts):
                    if self._is_quiet(facts):
                        was = self._document(was)
                        self._take(opened, raw, was, "file", facts.st_size, 1, facts, who)
                    continue
                here = join(path, raw)
                if os.path.lexists(self.share.folder / os.fsdecode(here)):
                    self._deeper(opened, raw, here, who)
                elif self._newest(opened, raw) + QUIET.total_seconds() <= self.now.timestamp():
                    size, files = bins.measure(opened, raw)
                    if files:
                        self._take(opened, raw, here, "folder", size, files, facts, who)
                    else:
                        self._deeper(opened, raw, here, who)

    def _document(self, path: bytes) -> bytes:
        """Return the document that a deleted file was until a program saved another in its place."""
        before = self.former(path)
        if before is None or not os.path.lexists(self.share.folder / os.fsdecode(before)):
            return path
        return before

    def _deeper(self, opened: int, name: bytes, path: bytes, who: PersonId | None) -> None:
        inner = os.open(name, _FOLDER, dir_fd=opened)
        try:
            self.folder(inner, path, who)
        finally:
            os.close(inner)
        with suppress(OSError):  # not empty: something in it is not quiet yet
            os.rmdir(name, dir_fd=opened)

    def _take(
        self,
        opened: int,
        name: bytes,
        path: bytes,
        kind: str,
        size: int,
        files: int,
        facts: os.stat_result,
        who: PersonId | None,
    ) -> None:
        deleted_at = min(datetime.fromtimestamp(facts.st_ctime, UTC), self.now)
        with self.database.write() as connection:
            item = bins.record(
                connection,
                self.share,
                path,
                kind=kind,
                size=size,
                files=files,
                person_id=who,
                door="smb",
                now=deleted_at,
            )
        moves.rename(opened, name, self.into, item.stored.encode())
        self.count += 1

    def _is_quiet(self, facts: os.stat_result) -> bool:
        return facts.st_ctime + QUIET.total_seconds() <= self.now.timestamp()

    def _newest(self, opened: int, name: bytes) -> float:
        newest = 0.0
        for _, folders, names, descriptor in os.fwalk(os.fsdecode(name), dir_fd=opened):
            for each in (*names, *folders):
                with suppress(FileNotFoundError):
                    facts = os.stat(each, dir_fd=descriptor, follow_symlinks=False)
                    newest = max(newest, facts.st_ctime)
        return newest


def _original(name: bytes) -> bytes:
    found = _AGAIN.fullmatch(name)
    return found.group(1) if found else name


def _is_folder(facts: os.stat_result) -> bool:
    return (facts.st_mode & 0o170000) == 0o040000
