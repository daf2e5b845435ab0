"""News of what changes below a share, from the kernel: fanotify where the box may, inotify elsewhere.

fanotify watches a whole file system with one mark, whatever the number of folders, and needs CAP_SYS_ADMIN
and CAP_DAC_READ_SEARCH; inotify needs a watch for each folder. Neither is believed: news are places to look at.
When some were lost (a queue that ran over, no watch left), everything is looked at again.
Source: fanotify(7), fanotify_init(2), fanotify_mark(2), open_by_handle_at(2), inotify(7); Linux 5.9 or newer.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Final, Protocol

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class News:
    """A place to look at: by the number of its folder, or by its path; neither: everything."""

    folder: int | None = None
    path: bytes | None = None
    name: bytes | None = None  # None: the folder itself


class Watcher(Protocol):
    """What tells of changes below one share."""

    @property
    def is_blind(self) -> bool:
        """Some folders are not watched: everything has to be looked at from time to time."""
        ...

    def fileno(self) -> int:
        """A descriptor that becomes readable with news."""
        ...

    def watch(self, folder: int, descriptor: int) -> None:
        """Watch a folder from now on; called before it is read."""
        ...

    def news(self) -> Iterator[News]:
        """Return what came; never blocks."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


def make_watcher(root: Path) -> Watcher:
    """Return the best watcher for a share that this process may have."""
    with suppress(OSError):
        return Fanotify(root)
    with suppress(OSError):
        return Inotify()
    return Nothing()


class Nothing:
    """Hears of nothing: no queue was left (fs.inotify.max_user_instances)."""

    is_blind = True

    def __init__(self) -> None:
        """Open something that never becomes readable."""
        self._silence = os.eventfd(0, os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return a descriptor without news."""
        return self._silence

    def watch(self, folder: int, descriptor: int) -> None:
        """Nothing to watch with."""

    def news(self) -> Iterator[News]:
        """There are none."""
        return iter(())

    def close(self) -> None:
        """Stop."""
        os.close(self._silence)


# --- inotify --------------------------------------------------------------------------------

_IN_NONBLOCK: Final = os.O_NONBLOCK
_IN_CLOSE_WRITE: Final = 0x8
_IN_MOVED_FROM: Final = 0x40
_IN_MOVED_TO: Final = 0x80
_IN_CREATE: Final = 0x100
_IN_DELETE: Final = 0x200
_IN_Q_OVERFLOW: Final = 0x4000
_IN_IGNORED: Final = 0x8000
_IN_ONLYDIR: Final = 0x0100_0000
_IN_MASK: Final = _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
_IN_EVENT: Final = Struct("=iIII")  # watch, mask, cookie, length of the name
_BUFFER: Final = 256 * 1024


class Inotify:
    """One watch for each folder, kept with the folder when it is renamed."""

    def __init__(self) -> None:
        """Open the queue.

        Raises:
            OSError: too many of them on this machine.
        """
        self._queue = _checked(_libc.inotify_init1(_IN_NONBLOCK | os.O_CLOEXEC))
        self._folders: dict[int, int] = {}  # watch → folder
        self._is_blind = False

    @property
    def is_blind(self) -> bool:
        """No watch was left for some folder (fs.inotify.max_user_watches)."""
        return self._is_blind

    def fileno(self) -> int:
        """Return the queue's descriptor."""
        return self._queue

    def watch(self, folder: int, descriptor: int) -> None:
        """Watch the folder that ``descriptor`` is open on."""
        place = b"/proc/self/fd/%d" % descriptor  # the folder itself, whatever its name is now
        number = _libc.inotify_add_watch(
            self._queue, place, ctypes.c_uint32(_IN_MASK | _IN_ONLYDIR)
        )
        if number < 0:
            self._is_blind = True
        else:
            self._folders[number] = folder

    def news(self) -> Iterator[News]:
        """Return what came; each place at most once."""
        seen: set[tuple[int, bytes]] = set()
        while True:
            try:
                block = os.read(self._queue, _BUFFER)
            except BlockingIOError:
                return
            at = 0
            while at < len(block):
                watch, mask, _, length = _IN_EVENT.unpack_from(block, at)
                name = block[at + _IN_EVENT.size : at + _IN_EVENT.size + length].rstrip(b"\0")
                at += _IN_EVENT.size + length
                if mask & _IN_Q_OVERFLOW:
                    yield News()
                    continue
                if mask & _IN_IGNORED:
                    self._folders.pop(watch, None)
                    continue
                folder = self._folders.get(watch)
                if folder is not None and name and (folder, name) not in seen:
                    seen.add((folder, name))
                    yield News(folder=folder, name=name)

    def close(self) -> None:
        """Stop watching."""
        os.close(self._queue)


# --- fanotify -------------------------------------------------------------------------------

_FAN_CLOEXEC: Final = 0x1
_FAN_NONBLOCK: Final = 0x2
_FAN_REPORT_DFID_NAME: Final = 0x400 | 0x800
_FAN_MARK_ADD: Final = 0x1
_FAN_MARK_FILESYSTEM: Final = 0x100
_FAN_ONDIR: Final = 0x4000_0000
_FAN_Q_OVERFLOW: Final = 0x4000
_FAN_MASK: Final = _IN_MASK | _FAN_ONDIR  # the same bits. Source: <linux/fanotify.h>
_FAN_META: Final = Struct("=IBBHQii")  # length, version, reserved, metadata length, mask, fd, pid
_FAN_INFO: Final = Struct("=BBHii")  # type, pad, length, fsid (two numbers)
_FAN_HANDLE: Final = Struct("=Ii")  # bytes of the handle, its type
_FAN_DFID_NAME: Final = 2  # FAN_EVENT_INFO_TYPE_DFID_NAME
_AT_FDCWD: Final = -100


class Fanotify:
    """One mark on the file system of a share; what happens elsewhere on it is passed over."""

    def __init__(self, root: Path) -> None:
        """Mark the file system that holds ``root``.

        Raises:
            OSError: this process may not, or the kernel or the file system cannot.
        """
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._queue = -1
        try:
            flags = _FAN_CLOEXEC | _FAN_NONBLOCK | _FAN_REPORT_DFID_NAME
            self._queue = _checked(_libc.fanotify_init(ctypes.c_uint(flags), os.O_RDONLY))
            _checked(
                _libc.fanotify_mark(
                    self._queue,
                    ctypes.c_uint(_FAN_MARK_ADD | _FAN_MARK_FILESYSTEM),
                    ctypes.c_uint64(_FAN_MASK),
                    _AT_FDCWD,
                    b"/proc/self/fd/%d" % self._root,
                )
            )
            # One handle is opened now: without CAP_DAC_READ_SEARCH every event would be lost in silence.
            _may_open_handles(self._root)
        except OSError:
            self.close()
            raise

    @property
    def is_blind(self) -> bool:
        """Return False: every folder of the file system is covered."""
        return False

    def fileno(self) -> int:
        """Return the queue's descriptor."""
        return self._queue

    def watch(self, folder: int, descriptor: int) -> None:
        """Do nothing: the mark covers every folder."""

    def news(self) -> Iterator[News]:
        """Return what came below the share; each place at most once."""
        paths: dict[bytes, bytes | None] = {}
        seen: set[tuple[bytes, bytes]] = set()
        top = _place(self._root)
        while True:
            try:
                block = os.read(self._queue, _BUFFER)
            except BlockingIOError:
                return
            for handle, name in _events(block):
                if handle is None:
                    yield News()
                    continue
                if (handle, name) in seen:
                    continue
                seen.add((handle, name))
                if handle not in paths:
                    paths[handle] = self._below(top, handle)
                path = paths[handle]
                if path is not None:
                    # The folder's own entry changes its time too, and is shown with it.
                    yield News(path=path, name=None if name == b"." else name)

    def _below(self, top: bytes, handle: bytes) -> bytes | None:
        """Return the path of a folder below the share; None when it is elsewhere or gone."""
        kept = ctypes.create_string_buffer(handle, len(handle))
        descriptor = _libc.open_by_handle_at(
            self._root, kept, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_PATH
        )
        if descriptor < 0:
            return None  # ESTALE: it is gone; its folder tells of that
        try:
            place = _place(descriptor)
        finally:
            os.close(descriptor)
        if place == top:
            return b""
        return place[len(top) + 1 :] if place.startswith(top + b"/") else None

    def close(self) -> None:
        """Stop watching."""
        for each in (self._queue, self._root):
            if each >= 0:
                os.close(each)
        self._queue = self._root = -1


def _events(block: bytes) -> Iterator[tuple[bytes | None, bytes]]:
    """Return folder handles and names; None for a queue that ran over."""
    at = 0
    while at + _FAN_META.size <= len(block):
        length, _, _, meta, mask, descriptor, _ = _FAN_META.unpack_from(block, at)
        if descriptor >= 0:
            os.close(descriptor)
        if mask & _FAN_Q_OVERFLOW:
            yield None, b""
        elif length > meta:
            kind, _, _, _, _ = _FAN_INFO.unpack_from(block, at + meta)
            start = at + meta + _FAN_INFO.size
            size, _ = _FAN_HANDLE.unpack_from(block, start)
            end = start + _FAN_HANDLE.size + size
            if kind == _FAN_DFID_NAME:
                yield block[start:end], block[end : at + length].split(b"\0", 1)[0]
        at += length


def _place(descriptor: int) -> bytes:
    return os.readlink(b"/proc/self/fd/%d" % descriptor)  # noqa: PTH115 - bytes


_HANDLE_BYTES: Final = 128


def _may_open_handles(folder: int) -> None:
    handle = ctypes.create_string_buffer(_FAN_HANDLE.pack(_HANDLE_BYTES, 0), 8 + _HANDLE_BYTES)
    mount = ctypes.c_int()
    _checked(_libc.name_to_handle_at(folder, b"", handle, ctypes.byref(mount), 0x1000))
    os.close(_checked(_libc.open_by_handle_at(folder, handle, os.O_PATH | os.O_CLOEXEC)))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno() or errno.EIO
        raise OSError(number, os.strerror(number))
    return result
