"""Folders whose paths are too long for SFTP: read as a `tar` stream from a command on the machine.

A server on Linux leaves out of its listing, without a word, what lies beyond PATH_MAX; `tar` walks from
folder to folder and reads any depth. The stream is parsed here, bounded: tarfile would read a header
of any size into memory. Source: POSIX pax, «ustar Interchange Format»; GNU tar manual, «Basic Tar Format».
"""

import shlex
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

from appliance.units import KIB, MIB

_BLOCK: Final = 512
_MOST_HEADER: Final = MIB
_PIECE: Final = 256 * KIB
_KINDS: Final = {
    b"0": stat.S_IFREG,
    b"\0": stat.S_IFREG,
    b"7": stat.S_IFREG,
    b"1": 0,  # another name of a file before it
    b"2": stat.S_IFLNK,
    b"5": stat.S_IFDIR,
}


class Refused(Exception):
    """The stream is no tar, or was cut."""


class Member(NamedTuple):
    """One entry of the stream."""

    name: bytes  # relative to the folder, without «./»; b"" is the folder itself
    mode: int  # kind and permissions; 0 for another name of ``target``
    size: int
    mtime: int
    uid: int
    gid: int
    owner: bytes | None
    group: bytes | None
    target: bytes  # of a link


def command(folder: bytes) -> str:
    """Return the command that writes ``folder`` as a tar to its output; it needs a POSIX shell."""
    return f"cd {shlex.quote(folder.decode('utf-8', 'surrogateescape'))} && exec tar -cf - ."


class TarStream:
    """Reads members one after the other; ``content`` of each before the next."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._held = b""
        self._left = 0  # bytes of the current member not read
        self._padding = 0

    def members(self) -> Iterator[Member]:
        """Yield the members.

        Raises:
            Refused: what came is no tar, or ended too early.
        """
        long_name = long_target = b""
        pax: dict[bytes, bytes] = {}
        while True:
            for _piece in self.content():
                pass
            header = self._exactly(_BLOCK)
            if header.count(0) == _BLOCK:
                return
            if _number(header[148:156]) != sum(header[:148]) + 256 + sum(header[156:]):
                raise Refused("checksum")
            kind, size = header[156:157], _number(header[124:136])
            self._left, self._padding = size, -size % _BLOCK
            if kind in {b"x", b"g", b"L", b"K"}:
                if size > _MOST_HEADER:
                    raise Refused("header")
                data = b"".join(self.content())
                if kind == b"L":
                    long_name = data.rstrip(b"\0")
                elif kind == b"K":
                    long_target = data.rstrip(b"\0")
                elif kind == b"x":
                    pax = _pax(data)
                continue
            if b"size" in pax:
                self._left = size = _decimal(pax[b"size"])
                self._padding = -size % _BLOCK
            if kind not in _KINDS or kind in {b"1", b"2", b"5"}:
                self._left = self._padding = 0
            name = pax.get(b"path") or long_name or _name(header)
            yield Member(
                name=_clean(name),
                mode=_KINDS.get(kind, stat.S_IFIFO)
                and (_KINDS.get(kind, stat.S_IFIFO) | (_number(header[100:108]) & 0o7777)),
                size=self._left,
                mtime=_decimal(pax[b"mtime"]) if b"mtime" in pax else _number(header[136:148]),
                uid=_decimal(pax[b"uid"]) if b"uid" in pax else _number(header[108:116]),
                gid=_decimal(pax[b"gid"]) if b"gid" in pax else _number(header[116:124]),
                owner=_text(header[265:297]),
                group=_text(header[297:329]),
                target=pax.get(b"linkpath") or long_target or (_text(header[157:257]) or b""),
            )
            long_name = long_target = b""
            pax = {}

    def content(self) -> Iterator[bytes]:
        """Yield the bytes of the current member."""
        while self._left:
            piece = self._exactly(min(self._left, _PIECE))
            self._left -= len(piece)
            yield piece
        if self._padding:
            self._exactly(self._padding)
            self._padding = 0

    def _exactly(self, size: int) -> bytes:
        parts = [self._held]
        have = len(self._held)
        while have < size:
            block = next(self._blocks, b"")
            if not block:
                raise Refused("cut")
            parts.append(block)
            have += len(block)
        data = b"".join(parts)
        self._held = data[size:]
        return data[:size]


def _number(field: bytes) -> int:
    if field[:1] == b"\x80":  # larger than octal digits can say
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b"\0 ")
    try:
        return int(digits, 8) if digits else 0
    except ValueError as error:
        raise Refused("number") from error


def _decimal(text: bytes) -> int:
    try:
        return max(0, int(float(text))) if b"." in text else max(0, int(text))
    except (ValueError, OverflowError) as error:
        raise Refused("number") from error


def _pax(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    while data:
        digits, space, _rest = data.partition(b" ")
        if not space or not digits.isdigit() or not len(digits) < int(digits[:9]) <= len(data):
            raise Refused("header")
        size = int(digits)
        key, equals, value = data[len(digits) + 1 : size - 1].partition(b"=")
        if not equals:
            raise Refused("header")
        found[key] = value
        data = data[size:]
    return found


def _name(header: bytes) -> bytes:
    name = _text(header[:100]) or b""
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else None
    return prefix + b"/" + name if prefix else name


def _text(field: bytes) -> bytes | None:
    return field.partition(b"\0")[0] or None


def _clean(name: bytes) -> bytes:
    parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
    if b".." in parts or b"\0" in name:
        raise Refused("name")
    return b"/".join(parts)
