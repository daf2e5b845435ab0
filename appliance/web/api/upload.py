"""Uploads over HTTP: tus 1.0 for large files (https://tus.io/protocols/resumable-upload), our batch for many small ones."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from starlette.responses import JSONResponse, Response

from appliance.clock import utc_now
from appliance.disk import access, actions, clashes, uploads
from appliance.disk.access import Held
from appliance.disk.actions import Doer
from appliance.disk.batch import Batch, Outcome
from appliance.disk.listing import Entry
from appliance.disk.paths import join
from appliance.disk.uploads import LARGEST, Upload
from appliance.errors import FileChanged, InvalidInput, UploadGone
from appliance.language import Language, explain, mark
from appliance.packed import pack_path, unpack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web import receiving
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, language_of, needs
from appliance.web.receiving import LARGEST_BATCH, PART_TYPE, SPOKEN, TUS

router = APIRouter(prefix="/api/v1", tags=["disk"], dependencies=[needs(Action.DISK_USE)])


@router.options("/disk/{share}/uploads", include_in_schema=False)  # noqa: FAST003 - the same for every share
@router.options("/uploads/{token}", include_in_schema=False)
async def what_is_spoken() -> Response:
    """Say what part of the protocol is spoken here."""
    return Response(status_code=204, headers=SPOKEN)


@router.post("/disk/{share}/uploads", status_code=201, max_body_size=LARGEST)
async def begin_upload(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, p: str = ""
) -> Response:
    """Begin an upload into the folder ``p`` (tus creation); a body is its first bytes.

    ``Upload-Metadata``: ``filename`` (base64), ``mtime_ns``, ``hash`` («blake3:…»), ``replaces`` («1»); or
    ``path`` for ``filename``: below the folder, whose own folders are made.

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing, NotAFolder, NameTaken, ShareFull.
    """
    receiving.check_version(request)
    told = receiving.metadata(request.headers.get("upload-metadata", ""))
    name = told.get("path", told.get("filename", b""))
    size = receiving.number(request.headers.get("upload-length"), "upload-length")
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
            else receiving.number(mtime.decode("ascii", "replace"), "mtime_ns"),
            wanted_hash=told["hash"].decode("ascii", "replace") if "hash" in told else None,
            makes_folders="path" in told,
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
    receiving.check_version(request)
    receiving.check_type(request)
    at = receiving.number(request.headers.get("upload-offset"), "upload-offset")
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


@dataclass(frozen=True, slots=True)
class UnfinishedBody:
    """An upload of one's own that did not end."""

    id: str
    path: str  # base64url, in the share
    name: str
    size: int
    offset: int


@router.get("/disk/{share}/uploads")
async def unfinished_uploads(box: TheBox, visitor: TheVisitor, share: str) -> list[UnfinishedBody]:
    """Return one's own uploads into a share that did not end: choosing the file again goes on.

    Raises:
        NotFound.
    """
    held = await held_by(box, visitor, share)
    found = await box.read_aside(lambda c: uploads.unfinished(c, visitor.person.id, held.share))

    def look() -> list[UnfinishedBody]:
        bodies = []
        for each in found:
            try:
                at = uploads.offset(held.share, each)
            except UploadGone:
                continue
            name = each.path.rpartition(b"/")[2].decode("utf-8", "replace")
            bodies.append(
                UnfinishedBody(each.token_hash, pack_path(each.path), name, each.size, at)
            )
        return bodies

    return await aside(look)


@router.delete("/disk/{share}/uploads/{upload_id}", status_code=204)
async def forget_unfinished(
    box: TheBox, visitor: TheVisitor, share: str, upload_id: str
) -> Response:
    """Give up one of one's own uploads, by the ``id`` of the list.

    Raises:
        NotFound, UploadGone.
    """
    held = await held_by(box, visitor, share)
    found = await box.read_aside(lambda c: uploads.unfinished(c, visitor.person.id, held.share))
    one = next((each for each in found if each.token_hash == upload_id), None)
    if one is None:
        raise UploadGone
    await aside(lambda: uploads.forget(box.database, held.share, one))
    return Response(status_code=204)


@dataclass(frozen=True, slots=True)
class WantedBody:
    """What is about to be sent into a folder."""

    paths: list[str]  # below the folder, as text
    folder: str = ""  # base64url


@dataclass(frozen=True, slots=True)
class ClashBody:
    """A name that is taken."""

    path: str
    kind: str  # file · folder · link · other
    free: str  # the nearest path that is not taken
    size: int
    mtime_ms: int


@dataclass(frozen=True, slots=True)
class ClashesBody:
    """Which names are taken, and how many bytes there is room for."""

    taken: list[ClashBody]
    room: int


@router.post("/disk/{share}/clashes")
async def find_clashes(
    box: TheBox, visitor: TheVisitor, share: str, body: Annotated[WantedBody, Body()]
) -> ClashesBody:
    """Say which of the names to come are taken: what a person is asked once, for all of them.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    held = await held_by(box, visitor, share)
    held.demand(Right.ADD)
    found = await aside(clashes.find, held.share, unpack_path(body.folder), body.paths)
    return ClashesBody(
        [
            ClashBody(each.path, each.kind, each.free, each.size, each.mtime_ns // 1_000_000)
            for each in found
        ],
        actions.room(held.share),
    )


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
        await receiving.take_batch_body(request, held.share, batch)
        outcomes = await aside(lambda: batch.finish(box.database, doer=doer, now=utc_now()))
    language = language_of(request)
    return JSONResponse({"files": [outcome_body(each, language) for each in outcomes]})


def doer_of(visitor: Visitor) -> Doer:
    """Return who acts, for the ledger."""
    if visitor.token is not None:
        return Doer(visitor.person.id, "api")
    return Doer(visitor.person.id, "web", visitor.session.id)


async def held_by(box: Box, visitor: Visitor, share: str) -> Held:
    """Return a share and what the visitor may do on it, right now.

    Raises:
        NotFound: there is none, or nothing of it is theirs.
    """
    now = utc_now()
    return access.recall(box.database, visitor.person, now=now).on_share(share, now)


async def _held_of(box: Box, visitor: Visitor, one: Upload) -> Held:
    with box.database.read() as connection:
        name = uploads.share_of(connection, one).name
    return await held_by(box, visitor, name)


def _found(box: Box, visitor: Visitor, token: str) -> Upload:
    with box.database.read() as connection:
        return uploads.find(connection, token, visitor.person.id)


async def _receive(request: Request, box: Box, held: Held, one: Upload, at: int, doer: Doer) -> int:
    """Append the body to the part and finish the upload when it is whole; return where it is."""
    appended = await receiving.append(request, held.share, one, at)
    if appended.is_whole:
        known = appended.known_hash
        await aside(
            lambda: uploads.finish(
                box.database, held, one, doer=doer, now=utc_now(), known_hash=known
            )
        )
    return appended.end


def outcome_body(one: Outcome, language: Language) -> dict[str, Any]:
    """Return what is said about one file of a batch."""
    answer: dict[str, Any] = {"path": pack_path(one.path)}
    if one.entry is not None:
        return answer | {"size": one.entry.size, "etag": one.entry.etag}
    assert one.error is not None  # noqa: S101 - one of the two
    return answer | {"error": {"code": one.error.code, "message": explain(one.error, language)}}
