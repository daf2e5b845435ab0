"""The body of an upload onto the disk: for a person's own (``api.upload``) and for a correspondent's (``pages.links_open``).

Bodies are raw, never multipart (measured-web.md B), and are written in a thread, a mebibyte at a time.
"""

import errno
import hashlib
import secrets
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from blake3 import blake3
from fastapi import Request
from starlette.requests import ClientDisconnect

from appliance.db.shares import Share
from appliance.disk import uploads
from appliance.disk.actions import room
from appliance.disk.batch import Batch
from appliance.disk.uploads import LARGEST, Upload
from appliance.errors import InvalidInput, ShareFull, UploadDamaged
from appliance.language import mark
from appliance.units import MIB
from appliance.web.deps import aside

TUS: Final = {"tus-resumable": "1.0.0", "cache-control": "no-store"}
EXTENSIONS: Final = "creation,creation-with-upload,termination,checksum"
PART_TYPE: Final = "application/offset+octet-stream"
#: What tus calls them, and how they are made; every server must know sha1.
CHECKSUMS: Final[dict[str, Callable[[], Any]]] = {
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "blake3": blake3,
}
SPOKEN: Final = TUS | {
    "tus-version": "1.0.0",
    "tus-extension": EXTENSIONS,
    "tus-max-size": str(LARGEST),
    "tus-checksum-algorithm": ",".join(CHECKSUMS),
}
#: Bytes gathered before a thread writes them.
GATHERED: Final = MIB
LARGEST_BATCH: Final = 512 * MIB


@dataclass(frozen=True, slots=True)
class Appended:
    """How far an upload is after a request."""

    end: int  # bytes
    is_whole: bool
    known_hash: str | None = None  # «blake3:…» of all its bytes, when they were hashed on the way


async def append(request: Request, share: Share, one: Upload, at: int) -> Appended:
    """Append the body to the part of an upload that is at the offset ``at``.

    A line that is cut leaves what arrived, for the browser asks where to go on; TLS has checked it. A body that
    is whole and not what its ``Upload-Checksum`` says leaves nothing.

    Raises:
        UploadGone, UploadBusy, ShareFull, InvalidInput.
        FileChanged: the part is not at this offset.
        UploadDamaged: the checksum is another one.
    """
    told = _checksum(request)
    whole = blake3() if at == 0 and one.wanted_hash and one.wanted_hash[:7] == "blake3:" else None
    with uploads.writing(share, one, at) as part:

        def take(data: bytes) -> None:
            with full_is_said(share):
                part.write(data)
            if whole is not None:
                whole.update(data)
            if told is not None:
                told.made.update(data)

        try:
            await in_pieces(request, take)
        except ClientDisconnect:
            return Appended(part.offset, is_whole=False)
        if told is not None and not secrets.compare_digest(told.made.digest(), told.wanted):
            await aside(part.rewind, at)
            raise UploadDamaged
        end = part.offset
    known = f"blake3:{whole.hexdigest()}" if whole is not None else None
    return Appended(end, is_whole=end == one.size, known_hash=known)


async def take_batch_body(request: Request, share: Share, batch: Batch) -> None:
    """Feed the body to a batch.

    Raises:
        InvalidInput, ShareFull.
        UploadDamaged: the body is not what its ``Content-Digest`` (RFC 9530, sha-256) says.
    """
    wanted = _content_digest(request.headers.get("content-digest"))
    made = hashlib.sha256() if wanted is not None else None

    def take(data: bytes) -> None:
        if made is not None:
            made.update(data)
        with full_is_said(share):
            batch.feed(data)

    await in_pieces(request, take)
    if made is not None and wanted is not None and made.digest() != wanted:
        raise UploadDamaged


class full_is_said:  # noqa: N801 - used as a statement
    """Turns «no space left» into the error that says how much there is."""

    def __init__(self, share: Share) -> None:
        self._share = share

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise ShareFull for a full disk or quota.

        Raises:
            ShareFull: so it was.
        """
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ShareFull(room(self._share)) from error


async def in_pieces(request: Request, take: Callable[[bytes], None]) -> None:
    """Hand the body over in pieces of about GATHERED bytes, in a thread."""
    gathered = bytearray()
    try:
        async for data in request.stream():
            gathered += data
            if len(gathered) >= GATHERED:
                full, gathered = bytes(gathered), bytearray()
                await aside(take, full)
    except ClientDisconnect:
        if gathered:
            await aside(take, bytes(gathered))
        raise
    if gathered:
        await aside(take, bytes(gathered))


def check_version(request: Request) -> None:
    """Return when the request speaks tus 1.0.0.

    Raises:
        InvalidInput: it does not.
    """
    if request.headers.get("tus-resumable") != "1.0.0":
        raise InvalidInput("tus-resumable", mark("1.0.0, please."))


def check_type(request: Request) -> None:
    """Return when the body is a part of an upload.

    Raises:
        InvalidInput: it is not.
    """
    if request.headers.get("content-type") != PART_TYPE:
        raise InvalidInput("content-type", mark("application/offset+octet-stream, please."))


def metadata(header: str) -> dict[str, bytes]:
    """Return tus' metadata: «name base64,name base64».

    Raises:
        InvalidInput: it is none.
    """
    found = {}
    for part in filter(None, (each.strip() for each in header.split(","))):
        name, _, value = part.partition(" ")
        try:
            found[name] = b64decode(value, validate=True)
        except (NotBase64, ValueError) as error:
            raise InvalidInput("upload-metadata", mark("Names and base64, please.")) from error
    return found


def number(text: str | None, name: str) -> int:
    """Return a header's number.

    Raises:
        InvalidInput: it is none.
    """
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 20:
        raise InvalidInput(name, mark("A number, please."))
    return int(text)


@dataclass(frozen=True, slots=True)
class _Checksum:
    made: Any
    wanted: bytes


def _checksum(request: Request) -> _Checksum | None:
    header = request.headers.get("upload-checksum")
    if header is None:
        return None
    kind, _, value = header.partition(" ")
    if kind not in CHECKSUMS:
        raise InvalidInput("upload-checksum", mark("sha1, sha256 or blake3, and base64, please."))
    made = CHECKSUMS[kind]()
    wanted = _base64(value)
    if len(wanted) != made.digest_size:
        raise InvalidInput("upload-checksum", mark("sha1, sha256 or blake3, and base64, please."))
    return _Checksum(made, wanted)


def _content_digest(header: str | None) -> bytes | None:
    """Return the SHA-256 of «sha-256=:…:»; None: it is not given."""
    if header is None or not header.startswith("sha-256=:") or not header.endswith(":"):
        return None
    return _base64(header[len("sha-256=:") : -1])


def _base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (NotBase64, ValueError):
        return b""
