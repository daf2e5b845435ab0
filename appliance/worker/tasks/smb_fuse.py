"""A read-only file system for the kernel: the part of FUSE's protocol that reading needs, in plain Python.

Source: include/uapi/linux/fuse.h, protocol 7.31; mount(8) «fuse» options. No library: two dozen messages, and a
library of C that a practice would have to trust with every document is none the better.
"""

import ctypes
import errno
import logging
import os
import select
import stat
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

_log = logging.getLogger("armoire.versions")

READERS: Final = 4  # files read at once
_LARGEST: Final = 1024 * 1024
_VALID_S: Final = 5  # seconds the kernel may believe a name
_HEADER: Final = struct.Struct("<IIQQIIII")
_ANSWER: Final = struct.Struct("<IiQ")
_ATTR: Final = struct.Struct("<6Q3I7I")
_READ: Final = struct.Struct("<QQIIQII")
_READ_ONLY, _NO_SUID, _NO_DEV, _NO_EXEC = 1, 2, 4, 8
_DETACH: Final = 2

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE = 1, 2, 3, 14, 15, 17, 18
GETXATTR, LISTXATTR, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR = 22, 23, 25, 26, 27, 28, 29
ACCESS, INTERRUPT, DESTROY, BATCH_FORGET = 34, 36, 38, 42


@dataclass(frozen=True, slots=True)
class Facts:
    """What the kernel is told of a file or a folder."""

    is_folder: bool
    size: int = 0
    mtime_ns: int = 0


class Stream(Protocol):
    """A file being read."""

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``; fewer at the end only."""

    def close(self) -> None:
        """Let it go."""


class Tree(Protocol):
    """What is shown. A path is a tuple of names; () is the top. Any OSError is told to who asked."""

    def facts(self, path: tuple[bytes, ...]) -> Facts:
        """Return what lies at a path."""

    def names(self, path: tuple[bytes, ...]) -> list[tuple[bytes, bool]]:
        """Return the names in a folder, and whether each is one."""

    def open(self, path: tuple[bytes, ...]) -> Stream:
        """Open a file."""


class Mount:
    """A tree, mounted at ``place`` until ``close``; ``serve`` answers the kernel.

    Args:
        tree: what is shown.
        place: an empty folder.
        owner: uid and gid that own everything, and read it.
        may_read: further uids; everybody else is refused, root of the box not.

    Raises:
        OSError: not allowed (CAP_SYS_ADMIN), or no /dev/fuse.
    """

    def __init__(
        self, tree: Tree, place: Path, *, owner: tuple[int, int], may_read: frozenset[int]
    ) -> None:
        self._tree = tree
        self._place = place
        self._owner = owner
        self._may_read = may_read | {0, owner[0]}
        self._nodes: dict[int, tuple[bytes, ...]] = {1: ()}
        self._numbers: dict[tuple[bytes, ...], int] = {(): 1}
        self._known: dict[int, int] = {}  # node → how often the kernel was told
        self._next = 2
        self._handles: dict[int, object] = {}
        self._next_handle = 1
        self._lock = threading.Lock()
        self._ending, self._end = os.pipe()
        self._channel = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        options = (
            f"fd={self._channel},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()},"
            "allow_other"
        )
        library = ctypes.CDLL(None, use_errno=True)
        flags = _READ_ONLY | _NO_SUID | _NO_DEV | _NO_EXEC
        if library.mount(b"armoire", os.fsencode(place), b"fuse", flags, options.encode()) != 0:
            number = ctypes.get_errno()
            for each in (self._channel, self._ending, self._end):
                os.close(each)
            raise OSError(number, os.strerror(number))

    def close(self) -> None:
        """Take the mount away, at once even where somebody looks into it, and let ``serve`` return.

        Without the right to unmount the kernel ends the connection when ``serve`` is left; whoever started us unmounts.
        """
        with suppress(OSError):
            os.write(self._end, b"x")
        ctypes.CDLL(None).umount2(os.fsencode(self._place), _DETACH)

    def serve(self) -> None:
        """Answer until the mount is gone, or ``close``."""
        answers: dict[int, Callable[[int, bytes, int], bytes]] = {
            LOOKUP: self._lookup,
            GETATTR: lambda node, _data, _uid: (
                struct.pack("<QII", _VALID_S, 0, 0) + self._attributes(node)
            ),
            OPENDIR: self._open_folder,
            READDIR: self._read_folder,
            OPEN: self._open,
            READ: self._read,
            RELEASE: self._release,
            RELEASEDIR: self._release,
            STATFS: lambda _node, _data, _uid: struct.pack(
                "<5Q4I6I", 1, 0, 0, 1, 0, 4096, 255, 4096, 0, *([0] * 6)
            ),
            GETXATTR: _no_attribute,
            LISTXATTR: lambda _node, data, _uid: (
                struct.pack("<II", 0, 0) if struct.unpack_from("<I", data)[0] == 0 else b""
            ),
            FLUSH: lambda _node, _data, _uid: b"",
            ACCESS: lambda _node, _data, _uid: b"",
        }
        waiting = select.poll()
        waiting.register(self._channel, select.POLLIN)
        waiting.register(self._ending, select.POLLIN)
        with ThreadPoolExecutor(READERS) as pool:
            while True:
                if any(each == self._ending for each, _ in waiting.poll()):
                    break
                try:
                    message = os.read(self._channel, _LARGEST + 65536)
                except OSError as error:
                    if error.errno in {errno.ENOENT, errno.EINTR, errno.EAGAIN}:
                        continue
                    break  # ENODEV: unmounted
                if not message:
                    break
                _, code, unique, node, uid, *_ = _HEADER.unpack_from(message)
                data = message[_HEADER.size :]
                match code:
                    case 26:  # INIT
                        self._send(unique, _begin(data))
                    case 2:  # FORGET
                        self._forget(node, struct.unpack_from("<Q", data)[0])
                    case 42:  # BATCH_FORGET
                        for number in range(struct.unpack_from("<I", data)[0]):
                            self._forget(*struct.unpack_from("<QQ", data, 8 + 16 * number))
                    case 36:  # INTERRUPT: what was asked is answered
                        pass
                    case 38:  # DESTROY
                        break
                    case _ if code not in answers:
                        self._fail(unique, errno.ENOSYS)
                    case _ if uid not in self._may_read:
                        self._fail(unique, errno.EACCES)
                    case 15:  # READ waits for the worker
                        pool.submit(self._answer, answers[READ], unique, node, data, uid)
                    case _:
                        self._answer(answers[code], unique, node, data, uid)
        for each in (self._channel, self._ending):
            with suppress(OSError):
                os.close(each)

    def _answer(
        self,
        work: Callable[[int, bytes, int], bytes],
        unique: int,
        node: int,
        data: bytes,
        uid: int,
    ) -> None:
        try:
            self._send(unique, work(node, data, uid))
        except OSError as error:
            self._fail(unique, error.errno or errno.EIO)
        except Exception as error:  # noqa: BLE001 - the others go on; its text may name a file
            _log.error("a request failed: %s", type(error).__name__)
            self._fail(unique, errno.EIO)

    def _send(self, unique: int, data: bytes) -> None:
        with suppress(OSError):  # who asked went away
            os.write(self._channel, _ANSWER.pack(_ANSWER.size + len(data), 0, unique) + data)

    def _fail(self, unique: int, number: int) -> None:
        with suppress(OSError):
            os.write(self._channel, _ANSWER.pack(_ANSWER.size, -number, unique))

    # --- names -----------------------------------------------------------------------------------

    def _path(self, node: int) -> tuple[bytes, ...]:
        try:
            return self._nodes[node]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "") from None

    def _number(self, path: tuple[bytes, ...]) -> int:
        with self._lock:
            number = self._numbers.get(path)
            if number is None:
                number, self._next = self._next, self._next + 1
                self._numbers[path] = number
                self._nodes[number] = path
            return number

    def _forget(self, node: int, times: int) -> None:
        with self._lock:
            left = self._known.get(node, 0) - times
            if left > 0 or node == 1:
                self._known[node] = left
                return
            self._known.pop(node, None)
            path = self._nodes.pop(node, None)
            if path is not None:
                self._numbers.pop(path, None)

    def _lookup(self, node: int, data: bytes, _uid: int) -> bytes:
        path = (*self._path(node), data.rstrip(b"\0"))
        self._tree.facts(path)
        number = self._number(path)
        with self._lock:
            self._known[number] = self._known.get(number, 0) + 1
        return struct.pack("<4Q2I", number, 0, _VALID_S, _VALID_S, 0, 0) + self._attributes(number)

    def _attributes(self, node: int) -> bytes:
        facts = self._tree.facts(self._path(node))
        mode = stat.S_IFDIR | 0o550 if facts.is_folder else stat.S_IFREG | 0o440
        seconds, nanoseconds = divmod(facts.mtime_ns, 1_000_000_000)
        seconds = max(seconds, 0)
        return _ATTR.pack(
            *(node, facts.size, (facts.size + 511) // 512),
            *(seconds, seconds, seconds, nanoseconds, nanoseconds, nanoseconds),
            *(mode, 2 if facts.is_folder else 1, *self._owner, 0, 4096, 0),
        )

    # --- folders and files -------------------------------------------------------------------------

    def _keep(self, what: object) -> bytes:
        with self._lock:
            number, self._next_handle = self._next_handle, self._next_handle + 1
            self._handles[number] = what
        return struct.pack("<QII", number, 0, 0)

    def _open_folder(self, node: int, _data: bytes, _uid: int) -> bytes:
        found = self._tree.names(self._path(node))
        return self._keep([(b".", True), (b"..", True), *found])

    def _read_folder(self, node: int, data: bytes, _uid: int) -> bytes:
        handle, offset, size, *_ = _READ.unpack_from(data)
        found = self._handles[handle]
        assert isinstance(found, list)  # noqa: S101 - OPENDIR made it
        lines = b""
        for index in range(offset, len(found)):
            name, is_folder = found[index]
            kind = (stat.S_IFDIR if is_folder else stat.S_IFREG) >> 12
            line = struct.pack("<QQII", node * 1_000_003 + index + 2, index + 1, len(name), kind)
            line += name
            line += b"\0" * (-len(line) % 8)
            if len(lines) + len(line) > size:
                break
            lines += line
        return lines

    def _open(self, node: int, data: bytes, _uid: int) -> bytes:
        if struct.unpack_from("<I", data)[0] & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EROFS, "")
        return self._keep(self._tree.open(self._path(node)))

    def _read(self, _node: int, data: bytes, _uid: int) -> bytes:
        handle, offset, size, *_ = _READ.unpack_from(data)
        stream: Stream = self._handles[handle]  # type: ignore[assignment]
        return stream.read(offset, size)

    def _release(self, _node: int, data: bytes, _uid: int) -> bytes:
        with self._lock:
            found = self._handles.pop(struct.unpack_from("<Q", data)[0], None)
        if found is not None and not isinstance(found, list):
            found.close()  # type: ignore[attr-defined]
        return b""


def _begin(data: bytes) -> bytes:
    major, _minor, ahead, _flags = struct.unpack_from("<4I", data)
    return struct.pack("<4I2H2I2H8I", major, 31, ahead, 0, 12, 9, 131072, 1, 32, 0, *([0] * 8))


def _no_attribute(_node: int, _data: bytes, _uid: int) -> bytes:
    raise OSError(errno.ENODATA, "")
