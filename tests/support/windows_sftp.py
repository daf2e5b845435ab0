"""SFTP version 3 as Win32-OpenSSH answers it, over the drives of ``windows_disk``.

Where each behaviour comes from (PowerShell/openssh-portable, contrib/win32/win32compat):
fileio.c ``fileio_stat_or_lstat_internal`` (owner 0, times in whole seconds, a junction is a folder),
``fileio_readlink`` (only symbolic links, «/» before absolute targets), ``errno_from_Win32Error``
(a sharing violation is no errno, so «Failure»); win32_dirent.c (``_wfindfirst``: whatever is not «not
found» is EINVAL, so a folder that may not be listed answers «Bad message», not «Permission denied»;
«/» lists the drives); misc.c (``chmod`` is the read-only mark, ``chown`` does not exist).
sftp-server.c: names whose ``lstat`` fails are left out of a listing.
"""

import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from tests.support import windows_disk as disk
from tests.support.windows_disk import Attributes, Win32Error, WindowsDisk

OK, EOF, NO_SUCH_FILE, DENIED, FAILURE, BAD_MESSAGE, UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8
TEXTS = {
    OK: "Success",
    EOF: "End of file",
    NO_SUCH_FILE: "No such file",
    DENIED: "Permission denied",
    FAILURE: "Failure",
    BAD_MESSAGE: "Bad message",
    UNSUPPORTED: "Operation unsupported",
}
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED_REPLY = 101, 102, 103, 104, 105, 201
SIZE, OWNER, MODE, TIMES = 1, 2, 4, 8
READ, WRITE, APPEND, CREATE, TRUNCATE, EXCLUSIVE = 1, 2, 4, 8, 16, 32
PER_REPLY = 100  # names in one answer, as sftp-server sends them
MAX_READ = 255 * 1024


class Status(Exception):
    """A request that is answered with a status."""

    def __init__(self, code: int) -> None:
        super().__init__(TEXTS[code])
        self.code = code


def usual(error: Win32Error) -> int:
    """The status of a failed call of Windows."""
    if error.code in (disk.NOT_FOUND, disk.PATH_NOT_FOUND, disk.INVALID_NAME):
        return NO_SUCH_FILE
    return DENIED if error.code in (disk.DENIED, disk.NO_PRIVILEGE) else FAILURE


def of_opening_a_folder(error: Win32Error) -> int:
    """The status when ``_wfindfirst`` failed."""
    return NO_SUCH_FILE if error.code in (disk.NOT_FOUND, disk.PATH_NOT_FOUND) else BAD_MESSAGE


def of_the_c_library(error: Win32Error) -> int:
    """The status when ``_wunlink``, ``_wrmdir``, ``_wmkdir`` failed: in use is «denied» there."""
    return DENIED if error.code in (disk.IN_USE, disk.WRITE_PROTECT) else usual(error)


@dataclass
class _Listing:
    names: list[str]
    folder: str


class SftpSession:
    """One «sftp» subsystem: packets in, packets out."""

    def __init__(self, drives: WindowsDisk, fault: Callable[[str, str], int | None]) -> None:
        self.disk = drives
        self.fault = fault  # (operation, path) -> a status to answer instead, or None
        self.handles: dict[bytes, IO[bytes] | _Listing] = {}
        self.made = 0

    def close(self) -> None:
        for each in self.handles.values():
            if not isinstance(each, _Listing):
                each.close()

    def answer(self, packet: bytes) -> bytes:
        """The answer to one packet (without lengths)."""
        kind = packet[0]
        if kind == 1:
            extensions = (
                (b"posix-rename@openssh.com", b"1"), (b"statvfs@openssh.com", b"2"),
                (b"hardlink@openssh.com", b"1"), (b"fsync@openssh.com", b"1"),
            )  # fmt: skip
            return struct.pack(">BI", 2, 3) + b"".join(_blob(a) + _blob(b) for a, b in extensions)
        number = packet[1:5]
        reader = _Reader(packet[5:])
        does = _OPERATIONS.get(kind)
        try:
            if does is None:
                raise Status(UNSUPPORTED)
            _name, function, status_of = does
            try:
                return self._reply(number, function(self, reader))
            except Win32Error as error:
                raise Status(status_of(error)) from None
            except (struct.error, IndexError):
                raise Status(BAD_MESSAGE) from None
        except Status as status:
            text = TEXTS[status.code].encode()
            return (
                struct.pack(">B", STATUS)
                + number
                + struct.pack(">I", status.code)
                + _blob(text)
                + _blob(b"")
            )

    @staticmethod
    def _reply(number: bytes, given: tuple[int, bytes]) -> bytes:
        return bytes([given[0]]) + number + given[1]

    # --- paths and handles -----------------------------------------------------------------

    def _path(self, reader: "_Reader", operation: str) -> str:
        try:
            path = reader.blob().decode("utf-8")
        except UnicodeDecodeError:
            raise Status(FAILURE) from None
        wrong = self.fault(operation, path)
        if wrong is not None:
            raise Status(wrong)
        return path

    def _hold(self, what: "IO[bytes] | _Listing") -> tuple[int, bytes]:
        self.made += 1
        handle = struct.pack(">I", self.made)
        self.handles[handle] = what
        return HANDLE, _blob(handle)

    def _held(self, reader: "_Reader") -> "IO[bytes] | _Listing":
        held = self.handles.get(reader.blob())
        if held is None:
            raise Status(FAILURE)
        return held

    def _file(self, reader: "_Reader") -> IO[bytes]:
        held = self._held(reader)
        if isinstance(held, _Listing):
            raise Status(FAILURE)
        return held

    # --- operations ------------------------------------------------------------------------

    def _open(self, reader: "_Reader") -> tuple[int, bytes]:
        path = self._path(reader, "open")
        flags = reader.number()
        if not flags & WRITE:
            return self._hold(self.disk.open(path, "rb"))
        exists = True
        try:
            self.disk.attributes(path)
        except Win32Error as error:
            if error.code != disk.NOT_FOUND:
                raise
            exists = False
        if exists and flags & EXCLUSIVE:
            raise Win32Error(disk.EXISTS)
        if not exists and not flags & CREATE:
            raise Win32Error(disk.NOT_FOUND)
        if exists and self.disk.attributes(path).read_only:
            raise Win32Error(disk.DENIED)
        mode = "ab" if flags & APPEND else "r+b" if exists and not flags & TRUNCATE else "w+b"
        return self._hold(self.disk.open(path, mode))

    def _close(self, reader: "_Reader") -> tuple[int, bytes]:
        held = self.handles.pop(reader.blob(), None)
        if held is None:
            raise Status(FAILURE)
        if not isinstance(held, _Listing):
            held.close()
        raise Status(OK)

    def _read(self, reader: "_Reader") -> tuple[int, bytes]:
        file, offset, count = self._file(reader), reader.long(), reader.number()
        data = os.pread(file.fileno(), min(count, MAX_READ), offset)
        if not data:
            raise Status(EOF)
        return DATA, _blob(data)

    def _write(self, reader: "_Reader") -> tuple[int, bytes]:
        file, offset, data = self._file(reader), reader.long(), reader.blob()
        os.pwrite(file.fileno(), data, offset)
        raise Status(OK)

    def _stat(self, reader: "_Reader") -> tuple[int, bytes]:
        path = self._path(reader, "stat")
        return ATTRS, _root() if path == "/" else packed(self.disk.attributes(path))

    def _lstat(self, reader: "_Reader") -> tuple[int, bytes]:
        path = self._path(reader, "stat")
        return ATTRS, _root() if path == "/" else packed(self.disk.attributes(path, follow=False))

    def _fstat(self, reader: "_Reader") -> tuple[int, bytes]:
        info = os.fstat(self._file(reader).fileno())
        return ATTRS, _attributes(info.st_size, 0o100600, int(info.st_mtime))

    def _setstat(self, reader: "_Reader") -> tuple[int, bytes]:
        path = self._path(reader, "setstat")
        spot = self.disk.find(path)
        if not spot.real.exists():
            raise Win32Error(disk.NOT_FOUND)
        raise Status(self._change(reader, spot.real))

    def _fsetstat(self, reader: "_Reader") -> tuple[int, bytes]:
        name = self._file(reader).name
        raise Status(self._change(reader, name))

    @staticmethod
    def _change(reader: "_Reader", real: object) -> int:
        flags, status = reader.number(), OK
        if flags & SIZE:
            os.truncate(real, reader.long())
        owner = (reader.number(), reader.number()) if flags & OWNER else None
        if flags & MODE:  # only the read-only mark exists
            folder = os.path.isdir(real)
            usual_mode = 0o700 if folder else 0o600
            os.chmod(real, usual_mode if reader.number() & stat.S_IWUSR or folder else 0o400)
        if flags & TIMES:
            os.utime(real, (reader.number(), reader.number()))
        return FAILURE if owner is not None else status

    def _opendir(self, reader: "_Reader") -> tuple[int, bytes]:
        path = self._path(reader, "opendir")
        if path == "/":
            return self._hold(_Listing([f"{letter}:" for letter in sorted(self.disk.drives)], "/"))
        return self._hold(_Listing(self.disk.listing(path), path.rstrip("/")))

    def _readdir(self, reader: "_Reader") -> tuple[int, bytes]:
        held = self._held(reader)
        if not isinstance(held, _Listing):
            raise Status(FAILURE)
        entries: list[bytes] = []
        while held.names and len(entries) < PER_REPLY:
            name = held.names.pop(0)
            with suppress(Win32Error):  # a name whose lstat fails is left out
                path = f"/{name}/" if held.folder == "/" else f"{held.folder}/{name}"
                what = self.disk.attributes(path, follow=False)
                entries.append(_blob(name.encode()) + _blob(_long_name(name, what)) + packed(what))
        if not entries:
            raise Status(EOF)
        return NAME, struct.pack(">I", len(entries)) + b"".join(entries)

    def _realpath(self, reader: "_Reader") -> tuple[int, bytes]:
        path = self._path(reader, "realpath") or "."
        full = "/" if path == "/" else "/" + self.disk.lexical(path).replace("\\", "/")
        name = full.encode()
        return NAME, struct.pack(">I", 1) + _blob(name) + _blob(name) + struct.pack(">I", 0)

    def _readlink(self, reader: "_Reader") -> tuple[int, bytes]:
        path = self._path(reader, "readlink")
        link = self.disk.attributes(path, follow=False).link
        if link is None:
            raise Status(FAILURE)  # ERROR_NOT_A_REPARSE_POINT is no errno
        if link.kind == "junction":
            raise Status(BAD_MESSAGE)  # EINVAL
        target = link.target.replace("\\", "/")
        absolute = target.startswith("/") or target[1:2] == ":"
        name = (f"/{target}" if absolute else target).encode()
        return NAME, struct.pack(">I", 1) + _blob(name) + _blob(name) + struct.pack(">I", 0)

    def _symlink(self, reader: "_Reader") -> tuple[int, bytes]:
        target, path = (
            self._path(reader, "symlink"),
            self._path(reader, "symlink"),
        )  # OpenSSH's order
        absolute = self.disk.lexical(target, self.disk.lexical(path).rpartition("\\")[0])
        what = self.disk.attributes(absolute)
        self.disk.make_link(path, absolute, "symlink-folder" if what.folder else "symlink-file")
        raise Status(OK)

    def _mkdir(self, reader: "_Reader") -> tuple[int, bytes]:
        self.disk.make_folder(self._path(reader, "mkdir"))
        raise Status(OK)

    def _rmdir(self, reader: "_Reader") -> tuple[int, bytes]:
        self.disk.remove_folder(self._path(reader, "rmdir"))
        raise Status(OK)

    def _remove(self, reader: "_Reader") -> tuple[int, bytes]:
        self.disk.remove_file(self._path(reader, "remove"))
        raise Status(OK)

    def _rename(self, reader: "_Reader") -> tuple[int, bytes]:
        self.disk.rename(self._path(reader, "rename"), self._path(reader, "rename"), replace=False)
        raise Status(OK)

    def _extended(self, reader: "_Reader") -> tuple[int, bytes]:
        name = reader.blob()
        if name == b"posix-rename@openssh.com":
            self.disk.rename(
                self._path(reader, "rename"), self._path(reader, "rename"), replace=True
            )
            raise Status(OK)
        if name == b"fsync@openssh.com":
            self._file(reader)
            raise Status(OK)
        if name == b"statvfs@openssh.com":
            spot = self.disk.find(self._path(reader, "statvfs"))
            free = os.statvfs(spot.volume.root)
            no = 2**32 - 1
            return EXTENDED_REPLY, struct.pack(
                ">11Q",
                4096,
                4096,
                free.f_blocks,
                free.f_bavail,
                free.f_bavail,
                no,
                no,
                no,
                0,
                0,
                32_767,
            )
        raise Status(UNSUPPORTED)


_OPERATIONS = {
    3: ("open", SftpSession._open, usual),
    4: ("close", SftpSession._close, usual),
    5: ("read", SftpSession._read, usual),
    6: ("write", SftpSession._write, usual),
    7: ("lstat", SftpSession._lstat, usual),
    8: ("fstat", SftpSession._fstat, usual),
    9: ("setstat", SftpSession._setstat, usual),
    10: ("fsetstat", SftpSession._fsetstat, usual),
    11: ("opendir", SftpSession._opendir, of_opening_a_folder),
    12: ("readdir", SftpSession._readdir, usual),
    13: ("remove", SftpSession._remove, of_the_c_library),
    14: ("mkdir", SftpSession._mkdir, of_the_c_library),
    15: ("rmdir", SftpSession._rmdir, of_the_c_library),
    16: ("realpath", SftpSession._realpath, usual),
    17: ("stat", SftpSession._stat, usual),
    18: ("rename", SftpSession._rename, usual),
    19: ("readlink", SftpSession._readlink, usual),
    20: ("symlink", SftpSession._symlink, usual),
    200: ("extended", SftpSession._extended, usual),
}


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self) -> int:
        (value,) = struct.unpack_from(">I", self.data, self.at)
        self.at += 4
        return int(value)

    def long(self) -> int:
        (value,) = struct.unpack_from(">Q", self.data, self.at)
        self.at += 8
        return int(value)

    def blob(self) -> bytes:
        size = self.number()
        found = self.data[self.at : self.at + size]
        if len(found) != size:
            raise IndexError
        self.at += size
        return found


def packed(what: Attributes) -> bytes:
    """Attributes as Win32-OpenSSH sends them: only symbolic links are links, owner and group are 0."""
    mode = (
        stat.S_IRUSR
        | (0 if what.read_only else stat.S_IWUSR)
        | (stat.S_IXUSR if what.executable else 0)
    )
    if what.link is not None and what.link.kind != "junction":
        kind = stat.S_IFLNK
    else:
        kind = stat.S_IFDIR if what.folder else stat.S_IFREG
        mode |= stat.S_IXUSR if what.folder else 0
    return _attributes(what.size, kind | mode, what.mtime_ns // 10**9)


def _attributes(size: int, mode: int, mtime: int) -> bytes:
    return struct.pack(">IQIIIII", SIZE | OWNER | MODE | TIMES, size, 0, 0, mode, mtime, mtime)


def _root() -> bytes:
    return _attributes(0, stat.S_IFDIR | 0o777, 0)


def _long_name(name: str, what: Attributes) -> bytes:
    first = "l" if what.link and what.link.kind != "junction" else "d" if what.folder else "-"
    return f"{first}rw-******    1 -        -        {what.size:>10} Jan  1 12:00 {name}".encode()


def _blob(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
