"""Uploads over HTTP: tus 1.0 for large files (https://tus.io/protocols/resumable-upload), our batch for many small ones.

Bodies are raw, never multipart (measured-web.md B), and are written in a thread, a mebibyte at a time.
"""

import errno
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from blake3 import blake3
from fastapi import APIRouter, Body, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from appliance.clock import utc_now
from appliance.disk import access, uploads
from appliance.disk.access import Held
from appliance.disk.actions import Doer
from appliance.disk.batch import Batch, Outcome
from appliance.disk.listing import Entry
from appliance.disk.paths import join
from appliance.disk.uploads import LARGEST, Upload, Writing
from appliance.errors import FileChanged, InvalidInput, ShareFull
from appliance.jobs.kinds import pack_path, unpack_path
from appliance.language import Language, explain, mark
from appliance.policy.roles import Action
from appliance.units import MIB
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, language_of, needs

router = APIRouter(prefix="/api/v1", tags=["disk"], dependencies=[needs(Action.DISK_USE)])

TUS: Final = {"tus-resumable": "1.0.0", "cache-control": "no-store"}
EXTENSIONS: Final = "creation,creation-with-upload,termination,checksum"
PART_TYPE: Final = "application/offset+octet-stream"
#: Bytes gathered before a thread writes them.
GATHERED: Final = MIB
LARGEST_BATCH: Final = 512 * MIB


@router.options("/disk/{share}/uploads", include_in_schema=False)  # noqa: FAST003 - the same for every share
@router.options("/uploads/{token}", include_in_schema=False)
async def what_is_spoken() -> Response:
    """Say what part of the protocol is spoken here."""
    return Response(
        status_code=204,
        headers=TUS
        | {
            "tus-version": "1.0.0",
            "tus-extension": EXTENSIONS,
            "tus-max-size": str(LARGEST),
            "tus-checksum-algorithm": "blake3,sha256",
        },
    )


@router.post("/disk/{share}/uploads", status_code=201, max_body_size=LARGEST)
async def begin_upload(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, p: str = ""
) -> Response:
    """Begin an upload into the folder ``p`` (tus creation); a body is its first bytes.

    ``Upload-Metadata``: ``filename`` (base64), ``mtime_ns``, ``hash`` («blake3:…»), ``replaces`` («1»).

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing, NotAFolder, NameTaken, ShareFull.
    """
    _check_version(request)
    told = _metadata(request.headers.get("upload-metadata", ""))
    name = told.get("filename", b"")
    size = _number(request.headers.get("upload-length"), "upload-length")
    mtime = told.get("mtime_ns")
    doer = doer_of(visitor)
    held = await held_by(box, visitor, share)

    def begin() -> str:
        return uploads.begin(
            box.database,
            held,
            join(unpack_path(p), name),
            size,
            doer=doer,
            now=utc_now(),
            replaces=told.get("replaces") == b"1",
            mtime_ns=None
            if mtime is None
            else _number(mtime.decode("ascii", "replace"), "mtime_ns"),
            wanted_hash=told["hash"].decode("ascii", "replace") if "hash" in told else None,
        )

    token = await aside(begin)
    headers = TUS | {"location": f"/api/v1/uploads/{token}", "upload-offset": "0"}
    has_body = request.headers.get("content-type") == PART_TYPE
    if has_body or size == 0:
        one = _found(box, visitor, token)
        at = await _receive(request, box, held, one, 0, doer)
        headers["upload-offset"] = str(at)
    return Response(status_code=201, headers=headers)


@router.head("/uploads/{token}")
async def upload_offset(box: TheBox, visitor: TheVisitor, token: str) -> Response:
    """Say how far an upload is.

    Raises:
        UploadGone: it is not known.
    """
    one = _found(box, visitor, token)
    with box.database.read() as connection:
        share = uploads.share_of(connection, one)
    at = uploads.offset(share, one)
    return Response(headers=TUS | {"upload-offset": str(at), "upload-length": str(one.size)})


@router.patch("/uploads/{token}", status_code=204, max_body_size=LARGEST)
async def go_on(request: Request, box: TheBox, visitor: TheVisitor, token: str) -> Response:
    """Take the next bytes of an upload; with the last one the file is in its place.

    Raises:
        UploadGone, UploadBusy, UploadDamaged, NameTaken, NotAllowed, ShareFull.
    """
    _check_version(request)
    if request.headers.get("content-type") != PART_TYPE:
        raise InvalidInput("content-type", mark("application/offset+octet-stream, please."))
    at = _number(request.headers.get("upload-offset"), "upload-offset")
    one = _found(box, visitor, token)
    held = await _held_of(box, visitor, one)
    await aside(lambda: uploads.seen(box.database, one, now=utc_now()))
    try:
        end = await _receive(request, box, held, one, at, doer_of(visitor))
    except FileChanged:
        return Response(status_code=409, headers=TUS)  # tus: ask where it is, and go on there
    return Response(status_code=204, headers=TUS | {"upload-offset": str(end)})


@router.delete("/uploads/{token}", status_code=204)
async def give_up(box: TheBox, visitor: TheVisitor, token: str) -> Response:
    """Give an upload up (tus termination).

    Raises:
        UploadGone: it is not known.
    """
    one = _found(box, visitor, token)
    with box.database.read() as connection:
        share = uploads.share_of(connection, one)
    await aside(lambda: uploads.forget(box.database, share, one))
    return Response(status_code=204, headers=TUS)


@dataclass(frozen=True, slots=True)
class FileBody:
    """One file, as it is now."""

    path: str  # base64url
    name: str
    kind: str
    size: int
    mtime_ns: int
    etag: str

    @classmethod
    def of(cls, path: bytes, entry: Entry) -> "FileBody":
        """Return the body for ``entry`` at ``path``."""
        return cls(
            pack_path(path),
            path.rpartition(b"/")[2].decode("utf-8", "replace"),
            entry.kind,
            entry.size,
            entry.mtime_ns,
            entry.etag,
        )


@dataclass(frozen=True, slots=True)
class NameBody:
    """Another name for an upload whose name was taken."""

    name: str
    replaces: bool = False


@router.post("/uploads/{token}/name")
async def name_upload(
    box: TheBox, visitor: TheVisitor, token: str, body: Annotated[NameBody, Body()]
) -> FileBody:
    """Finish a whole upload under another name: the answer to a clash.

    Raises:
        UploadGone, NameTaken, InvalidInput, NotAllowed.
    """
    one = _found(box, visitor, token)
    held = await _held_of(box, visitor, one)
    if uploads.offset(held.share, one) != one.size:
        raise InvalidInput("upload", mark("The whole file first, please."))
    folder = one.path.rpartition(b"/")[0]
    path = join(folder, body.name.encode())

    def finish() -> Entry:
        uploads.rename(box.database, one, path, replaces=body.replaces)
        with box.database.read() as connection:
            again = uploads.find(connection, token, visitor.person.id)
        return uploads.finish(box.database, held, again, doer=doer_of(visitor), now=utc_now())

    return FileBody.of(path, await aside(finish))


@router.post("/disk/{share}/batch", max_body_size=LARGEST_BATCH)
async def take_batch(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, p: str = ""
) -> Response:
    """Take many small files in one body (docs/formats/upload-batch.md); each has an answer of its own.

    Raises:
        NotFound, NotAllowed, InvalidInput, ShareFull: nothing of the body was kept.
    """
    held = await held_by(box, visitor, share)
    doer = doer_of(visitor)
    with Batch(held, unpack_path(p)) as batch:
        await _in_pieces(request, batch.feed)
        outcomes = await aside(lambda: batch.finish(box.database, doer=doer, now=utc_now()))
    language = language_of(request)
    return JSONResponse({"files": [_outcome(each, language) for each in outcomes]})


def doer_of(visitor: Visitor) -> Doer:
    """Return who acts, for the ledger."""
    return Doer(visitor.person.id, "web", visitor.session.id)


async def held_by(box: Box, visitor: Visitor, share: str) -> Held:
    """Return a share and what the visitor may do on it, right now.

    Raises:
        NotFound: there is none, or nothing of it is theirs.
    """
    with box.database.read() as connection:
        return access.on_share(connection, visitor.person, share, now=utc_now())


async def _held_of(box: Box, visitor: Visitor, one: Upload) -> Held:
    with box.database.read() as connection:
        name = uploads.share_of(connection, one).name
    return await held_by(box, visitor, name)


def _found(box: Box, visitor: Visitor, token: str) -> Upload:
    with box.database.read() as connection:
        return uploads.find(connection, token, visitor.person.id)


async def _receive(request: Request, box: Box, held: Held, one: Upload, at: int, doer: Doer) -> int:
    """Append the body to the part and finish the upload when it is whole; return where it is."""
    hasher = (
        blake3() if at == 0 and one.wanted_hash and one.wanted_hash.startswith("blake3:") else None
    )
    with uploads.writing(held.share, one, at) as part:

        def take(data: bytes) -> None:
            _write(part, data)
            if hasher is not None:
                hasher.update(data)

        try:
            await _in_pieces(request, take)
        except ClientDisconnect:
            return part.offset  # what arrived stays; the browser asks where to go on
        end = part.offset
    if end == one.size:
        known = f"blake3:{hasher.hexdigest()}" if hasher is not None else None
        await aside(
            lambda: uploads.finish(
                box.database, held, one, doer=doer, now=utc_now(), known_hash=known
            )
        )
    return end


def _write(part: Writing, data: bytes) -> None:
    try:
        part.write(data)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ShareFull(0) from error
        raise


async def _in_pieces(request: Request, take: Callable[[bytes], None]) -> None:
    """Hand the body over in pieces of about GATHERED bytes, in a thread."""
    gathered = bytearray()
    try:
        async for data in request.stream():
            gathered += data
            if len(gathered) >= GATHERED:
                full, gathered = bytes(gathered), bytearray()
                await aside(take, full)
    finally:
        if gathered:
            await aside(take, bytes(gathered))


def _outcome(one: Outcome, language: Language) -> dict[str, Any]:
    answer: dict[str, Any] = {"path": pack_path(one.path)}
    if one.entry is not None:
        return answer | {"size": one.entry.size, "etag": one.entry.etag}
    assert one.error is not None  # noqa: S101 - one of the two
    return answer | {"error": {"code": one.error.code, "message": explain(one.error, language)}}


def _check_version(request: Request) -> None:
    if request.headers.get("tus-resumable") != "1.0.0":
        raise InvalidInput("tus-resumable", mark("1.0.0, please."))


def _metadata(header: str) -> dict[str, bytes]:
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


def _number(text: str | None, name: str) -> int:
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 20:
        raise InvalidInput(name, mark("A number, please."))
    return int(text)
