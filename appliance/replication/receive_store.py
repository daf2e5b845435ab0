"""One sender's folder on a receiving box: what may be done in it, and nothing else.

- A *draft* (``.name.0123456789abcdef.part``) may be made, written, cut and removed by its sender.
- An *object* begins when a draft is published under a free name beside it, and is never written again:
  its draft's handles are taken away first, so a file that was left open writes nothing more.
- Links are never followed: every part of a path is opened below the folder before it.
- Everything counts towards the quota: bytes, and a little for each file and folder, so that a million
  empty ones are no way around it.

Killed at any line: an object is there whole or not at all. Between the link of the new name and the removal
of the draft's, one file has two names; such a draft is never opened again, it is removed where it is met.

Failures are ``OSError`` with the number that says why: EACCES, EDQUOT, EEXIST, ENOENT, ENOSPC, ESTALE, EMLINK.
"""

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from appliance.replication.receive_paths import (
    ENTRY_BYTES,
    FOLDER_FLAGS,
    Entry,
    Place,
    charge_of,
    check_room,
    checked,
    drafted,
    entry_of,
    names_in,
    open_file,
)


class OpenFile:
    """An open draft or object; ``close`` is the caller's to call."""

    def __init__(self, store: "SenderStore", descriptor: int, *, is_writing: bool) -> None:
        self._store = store
        self._descriptor = descriptor
        self.inode = os.fstat(descriptor).st_ino
        self.is_writing = is_writing
        #: False once it was published or taken over. The descriptor stays until ``close``: its number
        #: must not become another file's while a session still uses it.
        self.may_write = is_writing

    def read(self, offset: int, length: int) -> bytes:
        """Return at most ``length`` bytes from ``offset``; empty at the end."""
        return os.pread(self._descriptor, length, offset)

    def write(self, offset: int, data: bytes) -> None:
        """Write all of ``data`` at ``offset``.

        Raises:
            OSError: EACCES it was opened to read; EDQUOT, ENOSPC no room; ESTALE it was published, or
                another session took it over.
        """
        if not self.is_writing:
            raise OSError(errno.EACCES, "not opened to write")
        self._store.write(self, self._descriptor, offset, data)

    def sync(self) -> None:
        """Make what was written survive a power cut."""
        os.fsync(self._descriptor)

    def size(self) -> int:
        """Return the file's bytes."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Let go of it; again is fine."""
        self._store.let_go(self)

    def end(self) -> None:
        """Only the store calls this, under its lock."""
        self.may_write = False
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class SenderStore:
    """The folder of one sender; shared by its sessions, which are threads of one process."""

    def __init__(
        self,
        folder: Path,
        *,
        quota_bytes: Callable[[], int],
        floor_bytes: int,
        on_object: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """Open ``folder``, making it when it is not there, and count what lies in it.

        Args:
            folder: this sender's own.
            quota_bytes: asked at each write.
            floor_bytes: the receiving box keeps so much of its disk for itself.
            on_object: told the name of each new whole object.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._root = os.open(folder, FOLDER_FLAGS)
        self._quota_bytes = quota_bytes
        self._floor_bytes = floor_bytes
        self._on_object = on_object
        self._door = threading.Lock()
        self._writers: dict[int, list[OpenFile]] = {}
        self._opened: set[OpenFile] = set()
        self._used = 0
        for _, _, facts in self._everything():
            self._used += charge_of(facts)

    @property
    def used_bytes(self) -> int:
        """What counts towards the quota."""
        return self._used

    def free_bytes(self) -> int:
        """Return how much more may be laid down."""
        found = os.fstatvfs(self._root)
        room = found.f_bavail * found.f_frsize - self._floor_bytes
        return max(0, min(self._quota_bytes() - self._used, room))

    # --- files --------------------------------------------------------------------------------

    def open_to_read(self, path: str) -> OpenFile:
        """Return an object or a draft, open to read.

        Raises:
            OSError: ENOENT, EACCES.
        """
        place = checked(path)
        with self._door, self._below(place) as folder:
            return self._kept(
                OpenFile(self, open_file(place, os.O_RDONLY, folder), is_writing=False)
            )

    def open_draft(self, path: str, *, create: bool, cut: bool, exclusive: bool) -> OpenFile:
        """Return a draft, open to read and write; an older session that has it open loses it.

        Args:
            path: must be a draft's.
            create: make it when it is not there.
            cut: begin again at 0 bytes.
            exclusive: fail when it is there.

        Raises:
            OSError: EACCES it is not a draft; ENOENT; EEXIST; EDQUOT, ENOSPC.
        """
        place = checked(path)
        if not place.is_draft:
            raise OSError(errno.EACCES, "objects are written once")
        with self._door, self._below(place) as folder:
            self._end_half_published(place, folder)
            try:
                descriptor = open_file(place, os.O_RDWR, folder)
            except FileNotFoundError:
                if not create:
                    raise
                self._reserve(ENTRY_BYTES)
                check_room(folder)
                descriptor = open_file(place, os.O_RDWR | os.O_CREAT | os.O_EXCL, folder)
                self._used += ENTRY_BYTES
            else:
                if exclusive:
                    os.close(descriptor)
                    raise OSError(errno.EEXIST, "there already")
            found = OpenFile(self, descriptor, is_writing=True)
            self._take_away(found.inode)
            if cut:
                self._used -= os.fstat(descriptor).st_size
                os.ftruncate(descriptor, 0)
            self._writers.setdefault(found.inode, []).append(found)
            return self._kept(found)

    def write(self, file: OpenFile, descriptor: int, offset: int, data: bytes) -> None:
        """As ``OpenFile.write``."""
        with self._door:
            if not file.may_write:
                raise OSError(errno.ESTALE, "published, or taken over")
            growth = max(0, offset + len(data) - os.fstat(descriptor).st_size)
            self._reserve(growth)
            at = 0
            try:
                while at < len(data):
                    at += os.pwrite(descriptor, data[at:], offset + at)
            finally:
                # A disk that was full half-way keeps the first half.
                self._used += growth if at == len(data) else min(growth, at)

    def publish(self, draft: str, name: str) -> None:
        """Make a draft the object ``name``: whole and durable, and never written again.

        Raises:
            OSError: EACCES these names do not belong together; ENOENT no such draft; EEXIST the name is
                taken: nothing is overwritten.
        """
        old, new = checked(draft), checked(name)
        if not old.is_draft or new.is_draft or old.folders != new.folders:
            raise OSError(errno.EACCES, "only a draft becomes an object, beside it")
        if drafted(old.leaf) != new.leaf:
            raise OSError(errno.EACCES, "the draft of another object")
        with self._door, self._below(old) as folder:
            self._end_half_published(old, folder)
            descriptor = open_file(old, os.O_RDONLY, folder)
            try:
                self._take_away(os.fstat(descriptor).st_ino)
                os.fsync(descriptor)
                # link() fails when the name is taken, in one step; rename() would overwrite.
                os.link(
                    old.leaf, new.leaf, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False
                )
                os.fchmod(descriptor, 0o400)  # not before: a draft must open again after a kill
            finally:
                os.close(descriptor)
            os.fsync(folder)
            os.unlink(old.leaf, dir_fd=folder)
        self._on_object(new.name)

    def remove_draft(self, path: str) -> None:
        """Remove a draft; an object is never removed.

        Raises:
            OSError: EACCES it is not a draft; ENOENT.
        """
        place = checked(path)
        if not place.is_draft:
            raise OSError(errno.EACCES, "objects stay")
        with self._door, self._below(place) as folder:
            self._unlink(place.leaf, folder)

    # --- folders ------------------------------------------------------------------------------

    def look(self, path: str) -> Entry | None:
        """Return what lies at ``path``, None where there is nothing; links count as nothing.

        Raises:
            OSError: EACCES the path leads elsewhere.
        """
        place = checked(path)
        with self._door:
            try:
                with self._below(place) as folder:
                    if not place.leaf:
                        return Entry("", 0, True, int(os.fstat(folder).st_mtime))
                    if place.is_draft:
                        self._end_half_published(place, folder)
                    return entry_of(place.leaf, folder)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def list_folder(self, path: str) -> list[Entry]:
        """Return what lies in a folder, by name; links and other things are left out.

        Raises:
            OSError: ENOENT, EACCES.
        """
        place = checked(path)
        with self._door, self._below(place) as folder:
            opened = os.open(place.leaf or ".", FOLDER_FLAGS, dir_fd=folder)
            try:
                found = [entry_of(name, opened) for name in names_in(opened)]
            finally:
                os.close(opened)
        return [each for each in found if each is not None]

    def make_folder(self, path: str) -> None:
        """Make a folder.

        Raises:
            OSError: EEXIST, ENOENT, EACCES, EDQUOT, ENOSPC.
        """
        place = checked(path)
        if place.is_draft or not place.leaf:
            raise OSError(errno.EACCES, "not a folder's name")
        with self._door, self._below(place) as folder:
            self._reserve(ENTRY_BYTES)
            check_room(folder)
            os.mkdir(place.leaf, 0o700, dir_fd=folder)
            self._used += ENTRY_BYTES
            os.fsync(folder)

    def sweep(self, *, older_than_s: float, now_s: float) -> int:
        """Remove drafts nobody wrote to for so long, and those a kill left published; return how many.

        Nothing else is ever removed here.
        """
        removed = 0
        with self._door:
            for folders, name, facts in self._everything():
                if drafted(name) is None or not stat.S_ISREG(facts.st_mode):
                    continue
                if facts.st_nlink == 1 and (
                    now_s - facts.st_mtime < older_than_s or facts.st_ino in self._writers
                ):
                    continue
                with (
                    suppress(FileNotFoundError),
                    self._below(Place(folders, name, True)) as folder,
                ):
                    self._unlink(name, folder)
                    removed += 1
        return removed

    def let_go(self, file: OpenFile) -> None:
        """As ``OpenFile.close``."""
        with self._door:
            self._opened.discard(file)
            writers = self._writers.get(file.inode, [])
            if file in writers:
                writers.remove(file)
                if not writers:
                    del self._writers[file.inode]
            file.end()

    def close(self) -> None:
        """Let go of everything."""
        with self._door:
            for each in self._opened:
                each.end()
            self._opened.clear()
            self._writers.clear()
            if self._root >= 0:
                os.close(self._root)
                self._root = -1

    # --- inside -------------------------------------------------------------------------------

    def _kept(self, file: OpenFile) -> OpenFile:
        self._opened.add(file)
        return file

    def _take_away(self, inode: int) -> None:
        for each in self._writers.pop(inode, []):
            each.may_write = False

    def _reserve(self, growth: int) -> None:
        if growth <= 0:
            return
        if self._used + growth > self._quota_bytes():
            raise OSError(errno.EDQUOT, "quota reached")
        found = os.fstatvfs(self._root)
        if found.f_bavail * found.f_frsize - growth < self._floor_bytes:
            raise OSError(errno.ENOSPC, "the disk is full")

    def _unlink(self, leaf: str, folder: int) -> None:
        facts = os.stat(leaf, dir_fd=folder, follow_symlinks=False)
        if facts.st_nlink == 1:
            self._take_away(facts.st_ino)
            self._used -= charge_of(facts)
        os.unlink(leaf, dir_fd=folder)

    def _end_half_published(self, place: Place, folder: int) -> None:
        """A kill came between the two steps of ``publish``: the object is whole, this name must go."""
        with suppress(FileNotFoundError):
            if os.stat(place.leaf, dir_fd=folder, follow_symlinks=False).st_nlink > 1:
                os.unlink(place.leaf, dir_fd=folder)

    @contextmanager
    def _below(self, place: Place) -> Iterator[int]:
        """Open the folder a path lies in, one part at a time, following no link."""
        if self._root < 0:
            raise OSError(errno.ESTALE, "closed")
        current = os.dup(self._root)
        try:
            for part in place.folders:
                following = os.open(part, FOLDER_FLAGS, dir_fd=current)
                os.close(current)
                current = following
            yield current
        finally:
            os.close(current)

    def _everything(self) -> Iterator[tuple[tuple[str, ...], str, os.stat_result]]:
        waiting: list[tuple[str, ...]] = [()]
        seen: set[int] = set()
        while waiting:
            folders = waiting.pop()
            with self._below(Place(folders, "", False)) as folder:
                for name in names_in(folder):
                    with suppress(FileNotFoundError):
                        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
                        if stat.S_ISDIR(facts.st_mode):
                            waiting.append((*folders, name))
                        elif facts.st_nlink > 1 and facts.st_ino in seen:
                            continue  # an object and its draft: charged once
                        seen.add(facts.st_ino)
                        yield folders, name, facts
