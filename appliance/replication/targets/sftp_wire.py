"""SFTP version 3 with many requests in flight: what is far away or large costs bandwidth, not round trips.

Requests are as large as the host takes (limits@openssh.com, else 32 KiB) and every answer is looked at.
Source: draft-ietf-secsh-filexfer-02; OpenSSH PROTOCOL (limits, fsync, statvfs @openssh.com).
"""

import itertools
import stat as stat_module
import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from appliance.replication.targets.sftp_lines import Line, LineLost

#: Bytes in flight per connection: 20 ms away that is 1.6 Gbit/s.
WINDOW_BYTES: Final = 4 << 20
FOLDERS_AHEAD: Final = 64
_SAFE_BYTES: Final = 32 * 1024  # what every server takes
_LARGEST_BYTES: Final = 256 * 1024
_LARGEST_PACKET: Final = 1 << 24  # an answer that long is no SFTP
_OPEN, _CLOSE, _READ, _WRITE, _LSTAT, _FSTAT = 3, 4, 5, 6, 7, 8
_OPENDIR, _READDIR, _REMOVE, _MKDIR, _RENAME = 11, 12, 13, 14, 18
_EXTENDED: Final = 200
_STATUS, _HANDLE, _DATA, _NAME, _ATTRS, _EXTENDED_REPLY = 101, 102, 103, 104, 105, 201
_OK, _EOF, _NO_FILE, _DENIED = 0, 1, 2, 3
_GONE: Final = frozenset({6, 7})  # no connection, connection lost
READ, WRITE, CREATE, TRUNCATE = 1, 2, 8, 16


@dataclass(frozen=True, slots=True)
class Facts:
    """What a host says about a path."""

    size: int
    mode: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat_module.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a file."""
        return stat_module.S_ISREG(self.mode)


class Refused(OSError):
    """The host said no in a way SFTP has no word for: a full disk, a quota, a name that is taken."""


class Wire:
    """A client over a line. Raises FileNotFoundError, PermissionError, Refused and LineLost."""

    def __init__(self, line: Line) -> None:
        """Begin the session.

        Raises:
            LineLost.
        """
        self._line = line
        self._buffer = bytearray()
        self._ids = itertools.count(1)
        self._answers: dict[int, tuple[int, bytes]] = {}
        self._unwanted: set[int] = set()
        self._read_bytes = self._write_bytes = _SAFE_BYTES
        line.send([struct.pack(">IBI", 5, 1, 3)])
        kind, body = self._packet()
        if kind != 2:
            raise LineLost
        names = set()
        at = 4
        while at < len(body):
            name, at = _string(body, at)
            _, at = _string(body, at)
            names.add(name)
        if b"limits@openssh.com" in names:
            self._ask_limits()

    def _ask_limits(self) -> None:
        kind, body = self.answer(self.ask(_EXTENDED, _packed(b"limits@openssh.com")))
        if kind == _EXTENDED_REPLY and len(body) >= 32:
            _, reading, writing, _ = struct.unpack_from(">QQQQ", body)
            self._read_bytes = min(max(reading, _SAFE_BYTES), _LARGEST_BYTES)
            self._write_bytes = min(max(writing, _SAFE_BYTES), _LARGEST_BYTES)

    # --- requests ---------------------------------------------------------------------------

    def ask(self, kind: int, body: bytes, data: memoryview | bytes = b"") -> int:
        """Send a request and return its number; its answer is waited for with ``answer``."""
        number = next(self._ids)
        head = struct.pack(">IBI", 5 + len(body) + len(data), kind, number) + body
        self._line.send([head, data] if len(data) else [head])
        return number

    def answer(self, number: int) -> tuple[int, bytes]:
        """Return kind and body of the answer to a request."""
        while number not in self._answers:
            self._take()
        return self._answers.pop(number)

    def forget(self, numbers: Iterator[int] | list[int]) -> None:
        """Throw the answers to these requests away, whenever they come."""
        for number in numbers:
            if self._answers.pop(number, None) is None:
                self._unwanted.add(number)

    def _take(self) -> int:
        kind, body = self._packet()
        (number,) = struct.unpack_from(">I", body)
        if number in self._unwanted:
            self._unwanted.discard(number)
        else:
            self._answers[number] = (kind, body[4:])
        return int(number)

    def _packet(self) -> tuple[int, bytes]:
        buffer = self._buffer
        while len(buffer) < 4:
            buffer += self._line.receive()
        (size,) = struct.unpack_from(">I", buffer)
        if not 1 <= size <= _LARGEST_PACKET:
            raise LineLost
        while len(buffer) < 4 + size:
            buffer += self._line.receive()
        kind, body = buffer[4], bytes(memoryview(buffer)[5 : 4 + size])
        del buffer[: 4 + size]
        return kind, body

    # --- one at a time ------------------------------------------------------------------------

    def lstat(self, path: str) -> Facts | None:
        """Return what a path is, or None where there is nothing."""
        return self.facts(self.ask_lstat(path))

    def ask_lstat(self, path: str) -> int:
        """Ask without waiting; ``facts`` of the number gives the answer."""
        return self.ask(_LSTAT, _packed(path.encode()))

    def facts(self, number: int) -> Facts | None:
        """Return the answer to ``ask_lstat``."""
        kind, body = self.answer(number)
        if kind == _ATTRS:
            return _facts(body, 0)[0]
        try:
            _check(kind, body)
        except FileNotFoundError:
            return None
        raise LineLost

    def open(self, path: str, flags: int) -> bytes:
        """Return a handle."""
        number = self.ask(_OPEN, _packed(path.encode()) + struct.pack(">III", flags, 4, 0o600))
        return self._handle(number)

    def _handle(self, number: int) -> bytes:
        kind, body = self.answer(number)
        if kind != _HANDLE:
            _check(kind, body)
            raise LineLost
        return _string(body, 0)[0]

    def close_later(self, handle: bytes) -> None:
        """Close without waiting."""
        self.forget([self.ask(_CLOSE, _packed(handle))])

    def size_of(self, handle: bytes) -> int:
        """Return the size of an open file."""
        kind, body = self.answer(self.ask(_FSTAT, _packed(handle)))
        if kind != _ATTRS:
            _check(kind, body)
            raise LineLost
        return _facts(body, 0)[0].size

    def sync_and_close(self, handle: bytes) -> int:
        """Make an open file durable where the host can, close it, and return its size: one round trip."""
        sync = self.ask(_EXTENDED, _packed(b"fsync@openssh.com") + _packed(handle))
        size = self.ask(_FSTAT, _packed(handle))
        close = self.ask(_CLOSE, _packed(handle))
        self.answer(sync)  # a host that does not know it keeps its own promises
        kind, body = self.answer(size)
        _check(*self.answer(close))
        if kind != _ATTRS:
            _check(kind, body)
            raise LineLost
        return _facts(body, 0)[0].size

    def make_folder(self, path: str) -> None:
        """Make one folder."""
        self._do(_MKDIR, _packed(path.encode()) + struct.pack(">II", 4, 0o700))

    def rename(self, old: str, new: str) -> None:
        """Rename; a name that is taken is refused (version 3)."""
        self._do(_RENAME, _packed(old.encode()) + _packed(new.encode()))

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._do(_REMOVE, _packed(path.encode()))

    def free_bytes(self, path: str) -> int | None:
        """Return how much room is left there, None where the host does not say."""
        number = self.ask(_EXTENDED, _packed(b"statvfs@openssh.com") + _packed(path.encode()))
        kind, body = self.answer(number)
        if kind != _EXTENDED_REPLY or len(body) < 40:
            return None
        _block, fragment, _blocks, _free, available = struct.unpack_from(">QQQQQ", body)
        return int(fragment * available)

    def _do(self, kind: int, body: bytes) -> None:
        _check(*self.answer(self.ask(kind, body)))

    # --- many in flight -----------------------------------------------------------------------

    def write(
        self,
        handle: bytes,
        offset: int,
        blocks: Iterator[bytes],
        on_bytes: Callable[[int], None],
    ) -> None:
        """Write blocks from ``offset`` on; every answer is looked at before this returns."""
        waiting: deque[tuple[int, int]] = deque()
        in_flight = 0
        head = _packed(handle)
        try:
            for block in blocks:
                view = memoryview(block)
                for start in range(0, len(view), self._write_bytes):
                    part = view[start : start + self._write_bytes]
                    body = head + struct.pack(">QI", offset, len(part))
                    waiting.append((self.ask(_WRITE, body, part), len(part)))
                    offset += len(part)
                    in_flight += len(part)
                    on_bytes(len(part))
                    while in_flight > WINDOW_BYTES:
                        number, size = waiting.popleft()
                        _check(*self.answer(number))
                        in_flight -= size
            while waiting:
                _check(*self.answer(waiting.popleft()[0]))
        finally:
            self.forget([number for number, _ in waiting])

    def read(self, handle: bytes, offset: int, length: int) -> Iterator[bytes]:
        """Yield ``length`` bytes from ``offset`` on; LineLost when the file ends before."""
        waiting: deque[tuple[int, int, int]] = deque()
        asked, end = offset, offset + length
        try:
            while asked < end or waiting:
                while asked < end and len(waiting) * self._read_bytes < WINDOW_BYTES:
                    size = min(self._read_bytes, end - asked)
                    waiting.append((self._ask_read(handle, asked, size), asked, size))
                    asked += size
                number, at, size = waiting.popleft()
                data = self._data(number)
                yield data
                while len(data) < size:  # a host may give less than was asked for
                    at, size = at + len(data), size - len(data)
                    data = self._data(self._ask_read(handle, at, size))
                    yield data
        finally:
            self.forget([number for number, _, _ in waiting])

    def _ask_read(self, handle: bytes, offset: int, size: int) -> int:
        return self.ask(_READ, _packed(handle) + struct.pack(">QI", offset, size))

    def _data(self, number: int) -> bytes:
        kind, body = self.answer(number)
        if kind != _DATA or len(body) <= 4:
            if kind == _STATUS:
                (code,) = struct.unpack_from(">I", body)
                if code != _EOF:
                    _check(kind, body)
            raise EOFError
        return body[4:]

    def walk(self, top: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Facts]]:
        """Yield every entry below a folder that is no folder, with its path from ``top``; in no order.

        Args:
            top: where to begin.
            wanted: asked for every folder, by its path from ``top`` with «/» at its end.

        Raises:
            FileNotFoundError: ``top`` is not there. A folder that vanishes meanwhile is passed over.
        """
        to_open: deque[str] = deque([""])
        running: dict[int, tuple[str, bytes]] = {}  # request → folder, handle (empty: being opened)
        try:
            while to_open or running:
                while to_open and len(running) < FOLDERS_AHEAD:
                    folder = to_open.popleft()
                    path = f"{top}/{folder}".rstrip("/") or "/"
                    running[self.ask(_OPENDIR, _packed(path.encode()))] = (folder, b"")
                number = next((each for each in running if each in self._answers), None)
                while number is None:
                    taken = self._take()
                    number = taken if taken in running else None
                folder, handle = running.pop(number)
                kind, body = self.answer(number)
                if kind == _HANDLE:
                    handle = _string(body, 0)[0]
                elif kind == _NAME:
                    for name, facts in _names(body):
                        if facts.is_folder and wanted(folder + name + "/"):
                            to_open.append(folder + name + "/")
                        elif not facts.is_folder:
                            yield folder + name, facts
                else:
                    self._folder_ended(folder, handle, kind, body)
                    continue
                running[self.ask(_READDIR, _packed(handle))] = (folder, handle)
        finally:
            self.forget(list(running))

    def _folder_ended(self, folder: str, handle: bytes, kind: int, body: bytes) -> None:
        if handle:
            self.close_later(handle)
        try:
            _check(kind, body)
        except EOFError:
            return
        except FileNotFoundError:
            if folder:  # removed meanwhile
                return
            raise
        raise LineLost


def _packed(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def _string(body: bytes, at: int) -> tuple[bytes, int]:
    try:
        (size,) = struct.unpack_from(">I", body, at)
    except struct.error as error:
        raise LineLost from error
    return body[at + 4 : at + 4 + size], at + 4 + size


def _facts(body: bytes, at: int) -> tuple[Facts, int]:
    """Return attributes and where they end. Source: draft-ietf-secsh-filexfer-02, section 5."""
    try:
        (flags,) = struct.unpack_from(">I", body, at)
        at += 4
        size = mode = 0
        if flags & 1:
            (size,) = struct.unpack_from(">Q", body, at)
            at += 8
        if flags & 2:
            at += 8
        if flags & 4:
            (mode,) = struct.unpack_from(">I", body, at)
            at += 4
        if flags & 8:
            at += 8
        if flags & 0x80000000:
            (count,) = struct.unpack_from(">I", body, at)
            at += 4
            for _ in range(2 * count):
                _, at = _string(body, at)
    except struct.error as error:
        raise LineLost from error
    return Facts(size, mode), at


def _names(body: bytes) -> Iterator[tuple[str, Facts]]:
    try:
        (count,) = struct.unpack_from(">I", body)
    except struct.error as error:
        raise LineLost from error
    at = 4
    for _ in range(count):
        name, at = _string(body, at)
        _, at = _string(body, at)
        facts, at = _facts(body, at)
        if at > len(body):
            raise LineLost
        if name not in {b".", b".."} and b"/" not in name:
            yield name.decode("utf-8", "replace"), facts


def _check(kind: int, body: bytes) -> None:
    """Raise what a status means; return when it is «done»."""
    if kind != _STATUS or len(body) < 4:
        raise LineLost
    (code,) = struct.unpack_from(">I", body)
    if code == _OK:
        return
    if code == _EOF:
        raise EOFError
    if code == _NO_FILE:
        raise FileNotFoundError
    if code == _DENIED:
        raise PermissionError
    if code in _GONE:
        raise LineLost
    text = _string(body, 4)[0].decode("utf-8", "replace") if len(body) > 4 else ""
    raise Refused(text)
