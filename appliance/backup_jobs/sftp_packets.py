"""SFTP version 3, byte by byte: pure functions that build requests and read replies.

Nothing a server sends is believed: every length is checked against what is there, and anything that
does not fit raises ``Malformed``. No I/O, no state but the splitter's buffer.
Source: draft-ietf-secsh-filexfer-02 and OpenSSH's PROTOCOL, section 4 (extensions).
"""

import stat
import struct
from struct import Struct
from typing import Final, NamedTuple

VERSION: Final = 3
#: OpenSSH sends at most 256 KiB; other servers a little more.
MAX_PACKET: Final = 1024 * 1024  # bytes
MAX_HANDLE: Final = 1024  # bytes; the draft says 256
MAX_EXTENSIONS: Final = 100
READ_BYTES: Final = 32 * 1024  # what every server must answer whole

# Types of requests and replies.
INIT, VERSION_REPLY = 1, 2
OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT = 3, 4, 5, 6, 7, 8, 9, 10
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME = 11, 12, 13, 14, 15, 16, 17, 18
READLINK, SYMLINK = 19, 20
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
EXTENDED, EXTENDED_REPLY = 200, 201

# Status codes.
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE = 0, 1, 2, 3, 4, 5
NO_CONNECTION, CONNECTION_LOST, OP_UNSUPPORTED = 6, 7, 8

# How a file is opened.
FXF_READ, FXF_WRITE, FXF_CREAT, FXF_TRUNC, FXF_EXCL = 0x01, 0x02, 0x08, 0x10, 0x20

_SIZE, _UIDGID, _PERMISSIONS, _TIMES, _EXTENDED = 0x01, 0x02, 0x04, 0x08, 0x80000000
_KNOWN_FLAGS: Final = _SIZE | _UIDGID | _PERMISSIONS | _TIMES | _EXTENDED

_U32: Final = Struct(">I")
_U64: Final = Struct(">Q")
_TWO: Final = Struct(">II")
_HEAD: Final = Struct(">IBI")  # length, type, request
_FRAME: Final = Struct(">IB")
_WHOLE_ATTRS: Final = Struct(">IQIIIII")  # flags 0x0f: size, uid, gid, permissions, atime, mtime
_KIND_REQUEST: Final = Struct(">BI")
_READ_TAIL: Final = Struct(">QI")
_ALL_FOUR: Final = b"\x00\x00\x00\x0f"


class Malformed(Exception):
    """What was received is not SFTP; the text never holds what was received."""


class Attributes(NamedTuple):
    """What a server says about a file; None where it says nothing."""

    size: int | None = None  # bytes
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None  # kind and permissions
    atime: int | None = None  # seconds since the epoch
    mtime: int | None = None

    @property
    def is_folder(self) -> bool:
        """Whether it says that this is a folder."""
        return self.mode is not None and stat.S_ISDIR(self.mode)


class Name(NamedTuple):
    """One entry of a folder."""

    name: bytes
    long_name: bytes  # a line like `ls -l`, in no fixed form
    attributes: Attributes


# --- requests ------------------------------------------------------------------------------


def init() -> bytes:
    """Return the first packet of a session."""
    return _FRAME.pack(5, INIT) + _U32.pack(VERSION)


def with_string(kind: int, request: int, text: bytes) -> bytes:
    """Return a request that carries one path or handle (CLOSE, OPENDIR, LSTAT, …)."""
    size = len(text)
    return _HEAD.pack(9 + size, kind, request) + _U32.pack(size) + text


def open_file(request: int, path: bytes, flags: int, mode: int | None = None) -> bytes:
    """Return OPEN; ``mode`` are the permission bits of a file that is created."""
    attributes = pack_attributes(mode=mode)
    return packed(OPEN, request, string(path), _U32.pack(flags), attributes)


def read(request: int, handle: bytes, offset: int, length: int) -> bytes:
    """Return READ of ``length`` bytes at ``offset``."""
    size = len(handle)
    head = _HEAD.pack(21 + size, READ, request)
    return head + _U32.pack(size) + handle + _READ_TAIL.pack(offset, length)


def write(request: int, handle: bytes, offset: int, data: bytes) -> bytes:
    """Return WRITE of ``data`` at ``offset``."""
    return packed(WRITE, request, string(handle), _U64.pack(offset), string(data))


def with_attributes(kind: int, request: int, text: bytes, attributes: bytes) -> bytes:
    """Return SETSTAT, FSETSTAT or MKDIR; ``attributes`` as ``pack_attributes`` makes them."""
    return packed(kind, request, string(text), attributes)


def with_two_strings(kind: int, request: int, first: bytes, second: bytes) -> bytes:
    """Return RENAME or SYMLINK (OpenSSH's order there: target, then the link's path)."""
    return packed(kind, request, string(first), string(second))


def extended(request: int, name: bytes, *parts: bytes) -> bytes:
    """Return an extended request; ``parts`` are ready made (``string`` and the like)."""
    return packed(EXTENDED, request, string(name), *parts)


def packed(kind: int, request: int, *parts: bytes) -> bytes:
    """Return a request out of parts that are ready made."""
    body = b"".join(parts)
    return _HEAD.pack(5 + len(body), kind, request) + body


def string(text: bytes) -> bytes:
    """Return ``text`` with its length before it."""
    return _U32.pack(len(text)) + text


def pack_attributes(
    *,
    size: int | None = None,
    owner: tuple[int, int] | None = None,
    mode: int | None = None,
    times: tuple[int, int] | None = None,
) -> bytes:
    """Return attributes to set; None leaves one as it is. ``times``: access and change, in seconds."""
    flags = 0
    parts = []
    if size is not None:
        flags |= _SIZE
        parts.append(_U64.pack(size))
    if owner is not None:
        flags |= _UIDGID
        parts.append(_TWO.pack(*owner))
    if mode is not None:
        flags |= _PERMISSIONS
        parts.append(_U32.pack(stat.S_IMODE(mode)))
    if times is not None:
        flags |= _TIMES
        parts.append(_TWO.pack(*(min(max(each, 0), 0xFFFFFFFF) for each in times)))
    return _U32.pack(flags) + b"".join(parts)


# --- replies -------------------------------------------------------------------------------


#: Type, number of the request it answers (of a VERSION: the version), what follows (of a DATA: the
#: data alone).
Packet = tuple[int, int, bytes]


class Splitter:
    """Cuts a stream into packets: bytes go in as they come, packets come out."""

    __slots__ = ("_missing", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of a packet that is not whole yet
        self._missing = 0  # bytes until its length is known, or until it is whole

    def feed(self, data: bytes) -> list[Packet]:
        """Return the packets that are whole now, in order.

        Raises:
            Malformed: a length no packet can have, or data of another length than announced.
        """
        found: list[Packet] = []
        at = 0
        end = len(data)
        # Only a packet that was cut is put together; the others are read where they lie.
        while self._parts:
            if end - at < self._missing:
                if at < end:
                    self._parts.append(data[at:])
                    self._missing -= end - at
                return found
            whole = b"".join([*self._parts, data[at : at + self._missing]])
            at += self._missing
            if len(whole) == 4:
                self._parts = [whole]
                self._missing = _length(whole, 0)
            else:
                self._parts = []
                found.append(_packet(whole, 0, len(whole)))
        while end - at >= 4:
            after = at + 4 + _length(data, at)
            if after > end:
                self._parts = [data[at:]]
                self._missing = after - end
                return found
            found.append(_packet(data, at, after))
            at = after
        if at < end:
            self._parts = [data[at:]]
            self._missing = 4 - (end - at)
        return found


def _length(data: bytes, at: int) -> int:
    length: int = _U32.unpack_from(data, at)[0]
    if not 5 <= length <= MAX_PACKET:
        raise Malformed("impossible packet length")
    return length


def _packet(data: bytes, at: int, after: int) -> Packet:
    kind, request = _KIND_REQUEST.unpack_from(data, at + 4)
    if kind != DATA:
        return kind, request, data[at + 9 : after]
    if after < at + 13 or _U32.unpack_from(data, at + 9)[0] != after - at - 13:
        raise Malformed("data of another length than announced")
    return kind, request, data[at + 13 : after]


def read_extensions(body: bytes) -> dict[bytes, bytes]:
    """Return the extensions a server names in its VERSION."""
    at = 0
    extensions: dict[bytes, bytes] = {}
    while at < len(body):
        if len(extensions) >= MAX_EXTENSIONS:
            raise Malformed("too many extensions")
        name, at = _string(body, at)
        value, at = _string(body, at)
        extensions[name] = value
    return extensions


def read_status(body: bytes) -> int:
    """Return the code of a STATUS; its text is not read: it may name a file, in any encoding."""
    code, _at = _u32(body, 0)
    return code


def read_handle(body: bytes) -> bytes:
    """Return the handle of a HANDLE."""
    handle, at = _string(body, 0)
    if not 1 <= len(handle) <= MAX_HANDLE or at != len(body):
        raise Malformed("impossible handle")
    return handle


def read_names(body: bytes) -> list[Name]:
    """Return the entries of a NAME."""
    count, at = _u32(body, 0)
    if count > (len(body) - at) // 12:  # two lengths and the flags, at least
        raise Malformed("more names than the packet can hold")
    found = []
    end = len(body)
    unpack = _U32.unpack_from
    try:
        for _ in range(count):
            (size,) = unpack(body, at)
            at += 4
            after = at + size
            name = body[at:after]
            (size,) = unpack(body, after)
            at = after + 4
            after = at + size
            long_name = body[at:after]
            if after + 32 <= end and body[after : after + 4] == _ALL_FOUR:
                found.append(
                    Name(
                        name, long_name, Attributes._make(_WHOLE_ATTRS.unpack_from(body, after)[1:])
                    )
                )
                at = after + 32
            else:
                attributes, at = _attributes(body, after)
                found.append(Name(name, long_name, attributes))
    except struct.error as error:
        raise Malformed("names cut short") from error
    if at != end:
        raise Malformed("names of another length than announced")
    return found


def read_attributes(body: bytes) -> Attributes:
    """Return the attributes of an ATTRS."""
    attributes, at = _attributes(body, 0)
    if at != len(body):
        raise Malformed("attributes of another length than announced")
    return attributes


def read_numbers(body: bytes, count: int) -> tuple[int, ...]:
    """Return the ``count`` unsigned 64-bit numbers of an extended reply; later ones are ignored."""
    if len(body) < 8 * count:
        raise Malformed("extended reply cut short")
    return tuple(_U64.unpack_from(body, 8 * index)[0] for index in range(count))


def _u32(body: bytes, at: int) -> tuple[int, int]:
    if at + 4 > len(body):
        raise Malformed("packet cut short")
    return int.from_bytes(body[at : at + 4], "big"), at + 4


def _u64(body: bytes, at: int) -> tuple[int, int]:
    if at + 8 > len(body):
        raise Malformed("packet cut short")
    return int.from_bytes(body[at : at + 8], "big"), at + 8


def _string(body: bytes, at: int) -> tuple[bytes, int]:
    size, at = _u32(body, at)
    if at + size > len(body):
        raise Malformed("text longer than its packet")
    return body[at : at + size], at + size


def _attributes(body: bytes, at: int) -> tuple[Attributes, int]:
    flags, at = _u32(body, at)
    if flags & ~_KNOWN_FLAGS:
        raise Malformed("attributes of an unknown kind")
    size = uid = gid = mode = atime = mtime = None
    if flags & _SIZE:
        size, at = _u64(body, at)
    if flags & _UIDGID:
        uid, at = _u32(body, at)
        gid, at = _u32(body, at)
    if flags & _PERMISSIONS:
        mode, at = _u32(body, at)
    if flags & _TIMES:
        atime, at = _u32(body, at)
        mtime, at = _u32(body, at)
    if flags & _EXTENDED:
        count, at = _u32(body, at)
        if count > MAX_EXTENSIONS:
            raise Malformed("too many extended attributes")
        for _ in range(count):
            _kind, at = _string(body, at)
            _value, at = _string(body, at)
    return Attributes(size, uid, gid, mode, atime, mtime), at
