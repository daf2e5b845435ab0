"""The words of the reader's socket, for both sides; byte by byte in docs/formats/reader-socket.md."""

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Any, Final

from appliance.errors import ArmoireError, all_errors
from appliance.language import DEFAULT, Language
from appliance.model import PersonId, SnapshotId, SourceId
from appliance.units import KIB, MIB

VERSION: Final = 1
#: Every frame begins with its length, unsigned 32 bit big endian.
LENGTH: Final = Struct(">I")
#: A length that is none: an error frame follows instead of a block.
FAILED: Final = 0xFFFFFFFF
#: A request or a header longer than this is not one of ours.
LARGEST_JSON: Final = 256 * KIB
LARGEST_BLOCK: Final = 1 * MIB
_LONGEST_DOCUMENT: Final = 20
_LONGEST_ADDRESS: Final = 100  # bytes; Linux takes 107, sockaddr_un in unix(7)


class Malformed(ValueError):
    """What came over the socket is not this protocol."""


@dataclass(frozen=True, slots=True)
class Request:
    """A file of a snapshot, or a part of it."""

    source_id: SourceId
    snapshot_id: SnapshotId
    path: bytes
    offset: int = 0
    length: int | None = None  # None: to the end

    def pack(self) -> bytes:
        """Return the request's frame."""
        return frame(
            {
                "version": VERSION,
                "source": self.source_id,
                "snapshot": self.snapshot_id,
                "path": urlsafe_b64encode(self.path).decode("ascii"),
                "offset": self.offset,
                "length": self.length,
            }
        )


@dataclass(frozen=True, slots=True)
class KitRequest:
    """A document of the recovery kit: a sheet to print, or the kit file."""

    document: str  # «sheet/1» … «sheet/3» · «file»
    person_id: PersonId  # who asks
    password: str = field(repr=False)  # theirs, asked for again
    language: Language = DEFAULT

    def pack(self) -> bytes:
        """Return the request's frame."""
        return frame(
            {
                "version": VERSION,
                "kit": self.document,
                "person": self.person_id,
                "password": self.password,
                "language": self.language,
            }
        )


@dataclass(frozen=True, slots=True)
class Header:
    """What comes before the blocks."""

    size: int  # of the whole file
    mtime_ns: int
    offset: int  # of the first byte that follows
    length: int  # bytes that follow

    def pack(self) -> bytes:
        """Return the header's frame."""
        return frame(
            {
                "status": "ok",
                "size": self.size,
                "mtime_ns": self.mtime_ns,
                "offset": self.offset,
                "length": self.length,
            }
        )


def frame(values: dict[str, Any]) -> bytes:
    """Return a JSON object with its length before it."""
    body = json.dumps(values, separators=(",", ":")).encode()
    return LENGTH.pack(len(body)) + body


def pack_error(error: ArmoireError) -> bytes:
    """Return an error's frame; its facts are for the person who asked, private ones too."""
    facts = {
        name: value if isinstance(value, int | float | str | None) else str(value)
        for name, value in error.facts.items()
    }
    return frame({"status": "error", "code": error.code, "facts": facts})


def _object(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed("not JSON") from error
    if not isinstance(values, dict):
        raise Malformed("not an object")
    return values


def _number(values: dict[str, Any], name: str) -> int:
    value = values.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise Malformed(name)
    return value


def parse_request(body: bytes) -> Request | KitRequest:
    """Return the request in a frame's body.

    Raises:
        Malformed: it is none.
    """
    values = _object(body)
    if values.get("version") != VERSION:
        raise Malformed("version")
    if "kit" in values:
        return _kit_request(values)
    packed = values.get("path")
    if not isinstance(packed, str):
        raise Malformed("path")
    try:
        path = urlsafe_b64decode(packed.encode("ascii"))
    except ValueError as error:
        raise Malformed("path") from error
    return Request(
        SourceId(_number(values, "source")),
        SnapshotId(_number(values, "snapshot")),
        path,
        _number(values, "offset"),
        None if values.get("length") is None else _number(values, "length"),
    )


def _kit_request(values: dict[str, Any]) -> KitRequest:
    document, password = values["kit"], values.get("password")
    if not isinstance(document, str) or len(document) > _LONGEST_DOCUMENT:
        raise Malformed("kit")
    if not isinstance(password, str):
        raise Malformed("password")
    language: Language = "en" if values.get("language") == "en" else "fr"
    return KitRequest(document, PersonId(_number(values, "person")), password, language)


def parse_header(body: bytes) -> Header:
    """Return the header in a frame's body; an error in it is raised.

    Raises:
        Malformed: it is neither.
        ArmoireError: what the worker raised, as its class.
    """
    values = _object(body)
    if values.get("status") != "ok":
        raise parse_error(body)
    mtime_ns = values.get("mtime_ns")
    if not isinstance(mtime_ns, int):
        raise Malformed("mtime_ns")
    return Header(
        _number(values, "size"), mtime_ns, _number(values, "offset"), _number(values, "length")
    )


def parse_error(body: bytes) -> ArmoireError:
    """Return the error in a frame's body.

    Raises:
        Malformed: there is none.
    """
    values = _object(body)
    if values.get("status") != "error" or not isinstance(values.get("facts"), dict):
        raise Malformed("status")
    for kind in all_errors():
        if kind.code == values.get("code"):
            try:
                return kind(**values["facts"])
            except TypeError:
                break
    return ArmoireError()


@contextmanager
def address(path: Path) -> Iterator[str]:
    """Yield an address for the socket ``path`` that Unix sockets can hold, however deep it lies."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
