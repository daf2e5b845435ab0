"""What is said between who wants a preview and the process that makes it: one request, one answer, then the end.

The request carries open files (SCM_RIGHTS in unix(7)), never a name: who makes previews opens nothing. Both
frames begin with their length, unsigned 32 bit big endian.
"""

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from struct import Struct
from typing import Any, Final

from appliance.units import KIB, MIB

LENGTH: Final = Struct(">I")
LARGEST_REQUEST: Final = 16 * KIB
LARGEST_HEADER: Final = 64 * KIB
LARGEST_BODY: Final = 24 * MIB
#: Files in one request; the kernel carries 253 (SCM_MAX_FD).
MOST_FILES: Final = 200
LARGEST_SIDE: Final = 2048  # pixels of a picture
SMALLEST_SIDE: Final = 32
#: Characters of one text.
LONGEST_TEXT: Final = 4 * MIB
_LONGEST_ADDRESS: Final = 100  # bytes; Linux takes 107, sockaddr_un in unix(7)

WEBP: Final = "image/webp"
JSON: Final = "application/json"
#: Grey values of 16 bits, deflated (gzip); ``dicom.pixels`` says how they lie.
PIXELS: Final = "application/octet-stream"

#: Why there is no preview; ``reasons`` has the words.
REASONS: Final = frozenset({"kind", "broken", "large", "locked", "codec", "page"})


class Do(StrEnum):
    """What can be asked of an open file."""

    INFO = "info"  # what it is: kind, pages, size, windows; JSON
    PICTURE = "picture"  # a page or a frame; WebP
    TEXT = "text"  # its words; JSON
    PIXELS = "pixels"  # a DICOM frame's grey values, for windowing in the browser
    FIELDS = "fields"  # who and what a DICOM file is about; JSON
    BRIEFS = "briefs"  # of many files: series and place; JSON


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request."""

    do: Do
    ending: str = ""  # of the file's name, without the point, lower case: a hint, never believed
    page: int = 0  # of a document, or frame, from 0
    side: int = 1024  # pixels of the picture's longer side, at most
    centre: float | None = None  # of the window, in the file's units; None: the file's own
    width: float | None = None
    letters: int = 256 * KIB  # of a text, at most

    def pack(self) -> bytes:
        """Return the request's frame."""
        return _framed(asdict(self))


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: a picture, grey values, or JSON."""

    type: str  # WEBP · JSON · PIXELS
    body: bytes

    def pack(self) -> bytes:
        """Return the answer's frames."""
        return _framed({"type": self.type, "length": len(self.body)}) + self.body

    def values(self) -> Any:  # noqa: ANN401 - JSON
        """Return what a JSON answer says.

        Raises:
            ValueError: it is none.
        """
        return json.loads(self.body)


class Malformed(ValueError):
    """What came is not this protocol."""


def parse_wanted(body: bytes) -> Wanted:
    """Return the request in a frame's body; numbers are brought into their ranges.

    Raises:
        Malformed: it is none.
    """
    try:
        values = json.loads(body)
        return Wanted(
            Do(values["do"]),
            str(values["ending"]),
            max(0, int(values["page"])),
            min(LARGEST_SIDE, max(SMALLEST_SIDE, int(values["side"]))),
            None if values["centre"] is None else float(values["centre"]),
            None if values["width"] is None else float(values["width"]),
            min(LONGEST_TEXT, max(0, int(values["letters"]))),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Malformed("request") from error


def pack_refusal(reason: str) -> bytes:
    """Return the frame that says why there is no preview; ``reason`` is one of REASONS."""
    return _framed({"refused": reason})


def read_answer(channel: socket.socket) -> Answer | str:
    """Return the answer, or the reason why there is none; it is believed in nothing.

    Raises:
        Malformed: something else came, or the maker ended before it had said all.
        OSError: of the socket.
    """
    header = _object(_exactly(channel, _length(channel, LARGEST_HEADER)))
    if "refused" in header:
        reason = header["refused"]
        return reason if isinstance(reason, str) and reason in REASONS else "broken"
    kind, length = header.get("type"), header.get("length")
    if kind not in {WEBP, JSON, PIXELS} or not isinstance(length, int):
        raise Malformed("header")
    if not 0 < length <= LARGEST_BODY:
        raise Malformed("length")
    body = _exactly(channel, length)
    if kind == WEBP and not (body[:4] == b"RIFF" and body[8:12] == b"WEBP"):
        raise Malformed("picture")
    if kind == PIXELS and body[:2] != b"\x1f\x8b":
        raise Malformed("pixels")
    return Answer(kind, body)


def send_request(channel: socket.socket, wanted: Wanted, files: Sequence[int]) -> None:
    """Send a request with its open files.

    Raises:
        OSError: of the socket.
    """
    packed = wanted.pack()
    sent = socket.send_fds(channel, [packed], list(files))
    if sent < len(packed):
        channel.sendall(packed[sent:])


def receive_request(channel: socket.socket) -> tuple[Wanted, list[int]]:
    """Return a request and its files, which the caller closes.

    Raises:
        Malformed: something else came.
        OSError: of the socket.
    """
    begun, files, _, _ = socket.recv_fds(channel, LARGEST_REQUEST, MOST_FILES)
    if len(begun) < LENGTH.size or not files:
        raise Malformed("request")
    (length,) = LENGTH.unpack(begun[: LENGTH.size])
    if length > LARGEST_REQUEST:
        raise Malformed("length")
    missing = LENGTH.size + length - len(begun)
    body = begun[LENGTH.size :] + (_exactly(channel, missing) if missing > 0 else b"")
    return parse_wanted(body), files


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


def _framed(values: dict[str, Any]) -> bytes:
    body = json.dumps(values, separators=(",", ":")).encode()
    return LENGTH.pack(len(body)) + body


def _object(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed("header") from error
    if not isinstance(values, dict):
        raise Malformed("header")
    return values


def _length(channel: socket.socket, largest: int) -> int:
    (length,) = LENGTH.unpack(_exactly(channel, LENGTH.size))
    if length > largest:
        raise Malformed("length")
    return int(length)


def _exactly(channel: socket.socket, size: int) -> bytes:
    buffer = bytearray(size)
    view = memoryview(buffer)
    got = 0
    while got < size:
        count = channel.recv_into(view[got:])
        if count == 0:
            raise Malformed("end")
        got += count
    return bytes(buffer)
