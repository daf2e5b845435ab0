"""SFTP to a machine: the door to the ``sftp_*`` family, and a client that does one thing at a time.

Reading a whole source goes through the pipeline (``sources/pulled.py``); this client is for checks,
for comparing a file with its snapshot, and for putting files back.
"""

import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from appliance.backup_jobs import sftp_packets as packets
from appliance.backup_jobs import ssh
from appliance.backup_jobs.sftp_packets import Attributes
from appliance.backup_jobs.sftp_pipeline import Pipeline, PlainTransport, Transport
from appliance.errors import ProtocolViolation

__all__ = [
    "Attributes",
    "Pipeline",
    "PlainTransport",
    "SftpClient",
    "SftpRefused",
    "Space",
    "Transport",
    "connect",
    "open_pipeline",
    "start_pipeline",
]

_WRITE_BYTES: Final = 32 * 1024  # what every server takes
_AHEAD: Final = 64  # requests in flight for one file


class SftpRefused(OSError):
    """The server answered no to one request; the line is fine.

    ``code`` is the SFTP status. The text names no file.
    """

    def __init__(self, code: int) -> None:
        super().__init__(REASONS.get(code, "failure"))
        self.code = code

    @property
    def is_missing(self) -> bool:
        """Whether nothing has this name."""
        return self.code == packets.NO_SUCH_FILE


REASONS: Final = {
    packets.EOF: "end of file",
    packets.NO_SUCH_FILE: "no such file",
    packets.PERMISSION_DENIED: "permission denied",
    packets.FAILURE: "failure",
    packets.OP_UNSUPPORTED: "not supported",
}


@dataclass(frozen=True, slots=True)
class Space:
    """Room on the disk that holds a path."""

    total_bytes: int
    free_bytes: int  # for this account


@contextmanager
def open_pipeline(endpoint: ssh.Endpoint) -> Iterator[Pipeline]:
    """Yield a pipeline to the machine, its session begun.

    Raises:
        MachineUnreachable, KeyRefused, HostKeyChanged, HostKeyUnknown, SftpUnavailable,
        ProtocolViolation, ConnectionLost, ToolMissing.
    """
    with start_pipeline(endpoint) as pipeline:
        pipeline.handshake()
        yield pipeline


@contextmanager
def start_pipeline(endpoint: ssh.Endpoint) -> Iterator[Pipeline]:
    """Yield a pipeline whose connection is being made: call ``handshake`` before anything else.

    Raises:
        HostKeyUnknown, ToolMissing.
    """
    with ssh.open_line(endpoint, subsystem="sftp") as line:
        yield Pipeline(line)


@contextmanager
def connect(endpoint: ssh.Endpoint) -> Iterator["SftpClient"]:
    """Yield a client to the machine.

    Raises:
        as ``open_pipeline``.
    """
    with open_pipeline(endpoint) as pipeline:
        yield SftpClient(pipeline)


class SftpClient:
    """One request at a time, but whole files with many reads and writes in flight.

    Paths are bytes as the server names them. Every method raises SftpRefused when the server says
    no, ConnectionLost when the line is cut, ProtocolViolation when the answer cannot be read.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    # --- asking ---

    def stat(self, path: bytes) -> Attributes:
        """Return what ``path`` is, links followed."""
        return self._attributes(packets.STAT, path)

    def lstat(self, path: bytes) -> Attributes:
        """Return what ``path`` is, a link being a link."""
        return self._attributes(packets.LSTAT, path)

    def real_path(self, path: bytes) -> bytes:
        """Return the absolute path without links, as the server sees it."""
        return self._one_name(packets.REALPATH, path)

    def read_link(self, path: bytes) -> bytes:
        """Return what the link ``path`` points to."""
        return self._one_name(packets.READLINK, path)

    def list_folder(self, path: bytes) -> list[tuple[bytes, Attributes]]:
        """Return the entries of a folder in no order, without «.» and «..».

        Raises:
            ProtocolViolation: a name that no file can have.
        """
        handle = self._handle(packets.OPENDIR, path)
        found: list[tuple[bytes, Attributes]] = []
        try:
            while True:
                kind, body = self._ask(packets.READDIR, handle)
                if kind == packets.STATUS:
                    self._expect_status(body, packets.EOF)
                    return found
                self._expect(kind, packets.NAME)
                with self.pipeline.understood():
                    names = packets.read_names(body)
                for each in names:
                    if each.name in {b".", b".."}:
                        continue
                    if not each.name or b"/" in each.name or b"\0" in each.name:
                        raise ProtocolViolation(self.pipeline.host, "a name no file can have")
                    found.append((each.name, each.attributes))
        finally:
            self._close(handle)

    def probe_folder(self, path: bytes) -> None:
        """Open a folder and close it again: whether it may be read."""
        self._close(self._handle(packets.OPENDIR, path))

    def space(self, path: bytes) -> Space | None:
        """Return the room on the disk that holds ``path``, or None when the server cannot say."""
        if b"statvfs@openssh.com" not in self.pipeline.extensions:
            return None
        kind, body = self.pipeline.call(
            lambda request: packets.extended(request, b"statvfs@openssh.com", packets.string(path))
        )
        if kind == packets.STATUS:
            raise self._refused(body)
        # Source: OpenSSH PROTOCOL 4.4: bsize, frsize, blocks, bfree, bavail, …
        with self.pipeline.understood():
            _block, fragment, blocks, _free, available = packets.read_numbers(body, 5)
        return Space(blocks * fragment, available * fragment)

    # --- reading ---

    def read_file(self, path: bytes, *, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes of a file from ``offset`` to its end, many reads in flight."""
        handle = self._opened(path, packets.FXF_READ)
        try:
            yield from self._read_all(handle, offset)
        finally:
            self._close(handle)

    def _read_all(self, handle: bytes, offset: int) -> Iterator[bytes]:
        length = self.pipeline.read_length
        waiting: deque[_Piece] = deque()
        asked = offset
        try:
            while True:
                while len(waiting) < _AHEAD and (self.pipeline.has_room or not waiting):
                    waiting.append(_Piece(self.pipeline, handle, asked, length))
                    asked += length
                piece = waiting.popleft()
                self.pipeline.wait(piece.is_there)
                data = piece.take()
                if data is None:
                    return
                yield data
                if len(data) < piece.length:
                    # A short answer is no end: ask again from there, forget what was asked beyond.
                    self._forget(waiting)
                    asked = piece.offset + len(data)
        finally:
            self._forget(waiting)

    def _forget(self, pieces: "deque[_Piece]") -> None:
        while pieces:
            self.pipeline.used_bytes -= pieces.popleft().length

    # --- writing ---

    def write_file(
        self,
        path: bytes,
        blocks: Iterable[bytes],
        *,
        mode: int | None = None,
        owner: tuple[int, int] | None = None,
        times: tuple[int, int] | None = None,
        replace: bool = False,
    ) -> int:
        """Write a file whole and return its size: under another name, then renamed, or not at all.

        Args:
            path: where it will be; its folder exists.
            blocks: its bytes.
            mode: permission bits; what the server gives when None.
            owner: uid and gid, tried only (an ordinary account may not).
            times: access and change, in seconds.
            replace: whether a file that is there may be replaced.

        Raises:
            SftpRefused: also with code FAILURE when something is there and ``replace`` is off.
        """
        if not replace and self.exists(path):
            raise SftpRefused(packets.FAILURE)
        folder, _slash, name = path.rpartition(b"/")
        draft = folder + _slash + b".armoire-" + uuid4().hex.encode() + b".part"
        del name
        flags = packets.FXF_WRITE | packets.FXF_CREAT | packets.FXF_EXCL
        handle = self._opened(draft, flags, 0o600)
        try:
            try:
                size = self._write_all(handle, blocks)
                self._sync(handle)
            finally:
                self._close(handle)
            self.set_attributes(draft, mode=mode, owner=owner, times=times)
            self.rename(draft, path, replace=replace)
        except BaseException:
            with suppress(Exception):
                self.remove(draft)
            raise
        return size

    def _write_all(self, handle: bytes, blocks: Iterable[bytes]) -> int:
        offset = 0
        codes: list[int] = []
        asked: list[int] = []

        def answered(kind: int, body: bytes) -> None:
            if kind != packets.STATUS:
                raise packets.Malformed("another answer than a status")
            codes.append(packets.read_status(body))

        for block in blocks:
            for start in range(0, len(block), _WRITE_BYTES):
                part = bytes(block[start : start + _WRITE_BYTES])
                self.pipeline.send_made(_write_maker(handle, offset, part), answered)
                offset += len(part)
                asked.append(len(part))
                self.pipeline.wait(lambda: len(asked) - len(codes) < _AHEAD)
        self.pipeline.wait(lambda: len(asked) == len(codes))
        for code in codes:
            if code != packets.OK:
                raise SftpRefused(code)
        return offset

    def _sync(self, handle: bytes) -> None:
        if b"fsync@openssh.com" in self.pipeline.extensions:
            kind, body = self.pipeline.call(
                lambda request: packets.extended(
                    request, b"fsync@openssh.com", packets.string(handle)
                )
            )
            self._done(kind, body)

    def make_folder(self, path: bytes, mode: int = 0o755) -> None:
        """Make a folder; its parent exists."""
        attributes = packets.pack_attributes(mode=mode)
        self._do(lambda request: packets.with_attributes(packets.MKDIR, request, path, attributes))

    def make_link(self, path: bytes, target: bytes) -> None:
        """Make a symbolic link at ``path`` that points to ``target``."""
        # OpenSSH swapped the two by mistake and kept it. Source: OpenSSH PROTOCOL 4.1.
        self._do(lambda request: packets.with_two_strings(packets.SYMLINK, request, target, path))

    def set_attributes(
        self,
        path: bytes,
        *,
        mode: int | None = None,
        owner: tuple[int, int] | None = None,
        times: tuple[int, int] | None = None,
        follow: bool = True,
    ) -> bool:
        """Set what is given; return False when the owner could not be set (no right to).

        ``follow`` off sets them on a link itself, where the server can (else nothing happens).
        """
        owner_set = True
        # One by one: a server that refuses the owner would refuse the rest with it. Mode after owner,
        # which clears set-uid bits; times last.
        if owner is not None:
            try:
                self._set(path, packets.pack_attributes(owner=owner), follow=follow)
            except SftpRefused:
                owner_set = False
        if mode is not None and follow:
            self._set(path, packets.pack_attributes(mode=mode), follow=follow)
        if times is not None:
            self._set(path, packets.pack_attributes(times=times), follow=follow)
        return owner_set

    def _set(self, path: bytes, attributes: bytes, *, follow: bool) -> None:
        if follow:
            self._do(
                lambda request: packets.with_attributes(packets.SETSTAT, request, path, attributes)
            )
        elif b"lsetstat@openssh.com" in self.pipeline.extensions:
            self._do(
                lambda request: packets.extended(
                    request, b"lsetstat@openssh.com", packets.string(path), attributes
                )
            )

    def rename(self, old: bytes, new: bytes, *, replace: bool = False) -> None:
        """Rename; with ``replace`` in one step over what is there, where the server can."""
        if not replace:
            # Plain RENAME refuses to replace; but not on every server: what is there was asked before.
            self._do(lambda request: packets.with_two_strings(packets.RENAME, request, old, new))
        elif b"posix-rename@openssh.com" in self.pipeline.extensions:
            self._do(
                lambda request: packets.extended(
                    request,
                    b"posix-rename@openssh.com",
                    packets.string(old),
                    packets.string(new),
                )
            )
        else:
            with suppress(SftpRefused):
                self.remove(new)
            self._do(lambda request: packets.with_two_strings(packets.RENAME, request, old, new))

    def remove(self, path: bytes) -> None:
        """Remove a file or a link."""
        self._do(lambda request: packets.with_string(packets.REMOVE, request, path))

    def remove_folder(self, path: bytes) -> None:
        """Remove an empty folder."""
        self._do(lambda request: packets.with_string(packets.RMDIR, request, path))

    def exists(self, path: bytes) -> bool:
        """Whether anything has this name, a dangling link included."""
        try:
            self.lstat(path)
        except SftpRefused as error:
            if error.is_missing:
                return False
            raise
        return True

    def is_folder(self, path: bytes) -> bool:
        """Whether a folder has this name, links not followed."""
        try:
            mode = self.lstat(path).mode
        except SftpRefused as error:
            if error.is_missing:
                return False
            raise
        return mode is not None and stat.S_ISDIR(mode)

    # --- asking and answering ---

    def _ask(self, kind: int, text: bytes) -> tuple[int, bytes]:
        return self.pipeline.call(lambda request: packets.with_string(kind, request, text))

    def _do(self, make: Callable[[int], bytes]) -> None:
        self._done(*self.pipeline.call(make))

    def _done(self, kind: int, body: bytes) -> None:
        self._expect(kind, packets.STATUS)
        self._expect_status(body, packets.OK)

    def _attributes(self, kind: int, path: bytes) -> Attributes:
        answer, body = self._ask(kind, path)
        if answer == packets.STATUS:
            raise self._refused(body)
        self._expect(answer, packets.ATTRS)
        with self.pipeline.understood():
            return packets.read_attributes(body)

    def _one_name(self, kind: int, path: bytes) -> bytes:
        answer, body = self._ask(kind, path)
        if answer == packets.STATUS:
            raise self._refused(body)
        self._expect(answer, packets.NAME)
        with self.pipeline.understood():
            names = packets.read_names(body)
            if len(names) != 1:
                raise packets.Malformed("not exactly one name")
        return names[0].name

    def _opened(self, path: bytes, flags: int, mode: int | None = None) -> bytes:
        kind, body = self.pipeline.call(
            lambda request: packets.open_file(request, path, flags, mode)
        )
        return self._read_handle(kind, body)

    def _handle(self, kind: int, path: bytes) -> bytes:
        return self._read_handle(*self._ask(kind, path))

    def _read_handle(self, kind: int, body: bytes) -> bytes:
        if kind == packets.STATUS:
            raise self._refused(body)
        self._expect(kind, packets.HANDLE)
        with self.pipeline.understood():
            return packets.read_handle(body)

    def _close(self, handle: bytes) -> None:
        self._ask(packets.CLOSE, handle)

    def _refused(self, body: bytes) -> SftpRefused:
        with self.pipeline.understood():
            return SftpRefused(packets.read_status(body))

    def _expect_status(self, body: bytes, wanted: int) -> None:
        with self.pipeline.understood():
            code = packets.read_status(body)
        if code != wanted:
            raise SftpRefused(code)

    def _expect(self, kind: int, wanted: int) -> None:
        if kind != wanted:
            raise ProtocolViolation(self.pipeline.host, "another answer than was asked for")


class _Piece:
    """One READ in flight."""

    __slots__ = ("_code", "_data", "_pipeline", "length", "offset")

    def __init__(self, pipeline: Pipeline, handle: bytes, offset: int, length: int) -> None:
        self.offset = offset
        self.length = length
        self._pipeline = pipeline
        self._data: bytes | None = None
        self._code: int | None = None
        pipeline.used_bytes += length
        pipeline.send_read(handle, offset, length, self._answered)

    def _answered(self, kind: int, body: bytes) -> None:
        if kind == packets.DATA:
            self._data = body
            if not 0 < len(body) <= self.length:
                raise packets.Malformed("more or less data than asked for")
        elif kind == packets.STATUS:
            self._code = packets.read_status(body)
        else:
            raise packets.Malformed("another answer than data")

    def is_there(self) -> bool:
        """Whether it was answered."""
        return self._data is not None or self._code is not None

    def take(self) -> bytes | None:
        """Return the data, None at the end of the file; gives its room back.

        Raises:
            SftpRefused: the server could not read.
        """
        self._pipeline.used_bytes -= self.length
        if self._code is not None and self._code != packets.EOF:
            raise SftpRefused(self._code)
        return self._data


def _write_maker(handle: bytes, offset: int, data: bytes) -> Callable[[int], bytes]:
    return lambda request: packets.write(request, handle, offset, data)
