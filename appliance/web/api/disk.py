"""The network disk as JSON: shares, folders in columns, what is done to files, the bin.

Paths are base64url of their bytes, relative to the share; names beside them are for people.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Body, Query, Request
from starlette.responses import Response, StreamingResponse

from appliance.clock import utc_now
from appliance.disk import access, actions, listing, paths, transfers
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.disk.transfers import OnClash
from appliance.errors import ArmoireError, InvalidInput
from appliance.language import explain, mark
from appliance.packed import pack_path, unpack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web.api.upload import FileBody, doer_of, held_by
from appliance.web.deps import (
    Box,
    TheBox,
    TheVisitor,
    Visitor,
    aside,
    box_of,
    language_of,
    needs,
    visitor_of,
)

router = APIRouter(prefix="/api/v1/disk", tags=["disk"], dependencies=[needs(Action.DISK_USE)])

#: More entries than this come in pages.
LISTED_AT_MOST: Final = 200_000
MOST_AT_ONCE: Final = 10_000
TOLD_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class ShareBody:
    """A share, and what may be done there."""

    name: str
    label: str
    rights: list[str]
    free_bytes: int
    over_smb: bool
    over_dav: bool


@router.get("")
async def my_shares(box: TheBox, visitor: TheVisitor) -> list[ShareBody]:
    """Return the shares on which one has any right."""
    with box.database.read() as connection:
        held = access.held(connection, visitor.person, now=utc_now())
    return [
        ShareBody(
            each.share.name,
            each.share.label,
            sorted(each.rights),
            actions.room(each.share),
            each.share.over_smb,
            each.share.over_dav,
        )
        for each in held
    ]


@router.get("/{share}/list", response_model=None)
async def list_folder(
    request: Request,
    share: str,
    p: str = "",
    first: Annotated[int, Query(ge=0, le=1 << 40)] = 0,
) -> Response:
    """Return a folder in columns: ``n`` names, ``k`` kinds (d, f, l, o), ``s`` bytes, ``m`` milliseconds.

    ``raw`` holds base64url of those names that are not UTF-8, by place. Folders first, then by name.

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing, NotAFolder.
    """
    held = await held_by(box_of(request), visitor_of(request), share)
    held.demand(Right.SEE)
    path = unpack_path(p)
    known = listing.read_known(held.share.folder, path)
    columns = (
        await aside(lambda: _columns(held, path, first, listing.read(held.share.folder, path)))
        if known is None
        else _columns(held, path, first, known)
    )
    return Response(columns, media_type="application/json")


def _columns(held: Held, path: bytes, first: int, found: listing.Listing) -> bytes:
    entries = found.entries[first : first + LISTED_AT_MOST]
    raw = {}
    names = []
    for place, each in enumerate(entries):
        try:
            names.append(each.name.decode("utf-8"))
        except UnicodeDecodeError:
            names.append(each.name.decode("utf-8", "replace"))
            raw[str(place)] = pack_path(each.name)
    return orjson.dumps(
        {
            "share": held.share.name,
            "path": pack_path(path),
            "rights": sorted(held.rights),
            "total": len(found.entries),
            "first": first,
            "n": names,
            "k": "".join(each.kind[0] if each.kind != "folder" else "d" for each in entries),
            "s": [each.size for each in entries],
            "m": [each.mtime_ns // 1_000_000 for each in entries],
            "raw": raw,
        }
    )


@dataclass(frozen=True, slots=True)
class FolderBody:
    """A folder to be made."""

    path: str


@router.post("/{share}/folders", status_code=201)
async def make_folder(
    box: TheBox, visitor: TheVisitor, share: str, body: Annotated[FolderBody, Body()]
) -> FileBody:
    """Make a folder.

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing, NotAFolder, NameTaken.
    """
    held = await held_by(box, visitor, share)
    path = unpack_path(body.path)

    def work() -> listing.Entry:
        actions.make_folder(box.database, held, path, doer=doer_of(visitor), now=utc_now())
        return listing.entry(held.share.folder, path)

    return FileBody.of(path, await aside(work))


@dataclass(frozen=True, slots=True)
class TransferBody:
    """Files to be moved or copied: into a folder, or one of them to another name."""

    items: list[str]
    to_share: str = ""  # "": the same
    folder: str = ""  # where to
    new_name: str = ""  # for one item
    on_clash: OnClash = OnClash.REFUSE  # both · replace (the old one goes to the bin) · skip


@dataclass(frozen=True, slots=True)
class DoneBody:
    """What became of one of several."""

    path: str
    code: str = ""
    message: str = ""
    bin_id: int | None = None
    new_path: str = ""  # empty without a code: it was left out, as wished


@dataclass(frozen=True, slots=True)
class ManyBody:
    """What became of each; the others went on."""

    done: list[DoneBody] = field(default_factory=list)


#: What ``stream`` answers instead of one JSON, for the description.
LINES: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"application/x-ndjson": {}}}}


@router.post("/{share}/move", response_model=ManyBody, responses=LINES)
async def move_files(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    share: str,
    body: Annotated[TransferBody, Body()],
    *,
    stream: bool = False,
) -> ManyBody | Response:
    """Rename or move, to another share too; nothing is written over.

    With ``stream``, the answer is lines of JSON: ``{"bytes", "total", "items"}`` twice a second, at the end
    ``{"done": […]}``. Going away stops it.

    Raises:
        NotFound, InvalidInput.
    """
    return await _transfer(request, box, visitor, share, body, is_copy=False, stream=stream)


@router.post("/{share}/copy", response_model=ManyBody, responses=LINES)
async def copy_files(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    share: str,
    body: Annotated[TransferBody, Body()],
    *,
    stream: bool = False,
) -> ManyBody | Response:
    """Copy files and folders; nothing is written over. ``stream`` as for a move.

    Raises:
        NotFound, InvalidInput.
    """
    return await _transfer(request, box, visitor, share, body, is_copy=True, stream=stream)


async def _transfer(
    request: Request,
    box: Box,
    visitor: Visitor,
    share: str,
    body: TransferBody,
    *,
    is_copy: bool,
    stream: bool,
) -> ManyBody | Response:
    held = await held_by(box, visitor, share)
    to = await held_by(box, visitor, body.to_share) if body.to_share else held
    if not body.items or (body.new_name and len(body.items) > 1):
        raise InvalidInput("items", mark("One file for a new name, please."))
    items, folder, language = _items(body.items), unpack_path(body.folder), language_of(request)
    progress = transfers.Progress()

    def work() -> list[DoneBody]:
        found = transfers.transfer(
            box.database,
            held,
            items,
            to,
            folder,
            doer=doer_of(visitor),
            now=utc_now(),
            is_copy=is_copy,
            new_name=body.new_name.encode() or None,
            on_clash=body.on_clash,
            progress=progress,
        )
        return [
            DoneBody(
                pack_path(each.path),
                "" if each.error is None else each.error.code,
                "" if each.error is None else explain(each.error, language),
                new_path="" if each.new_path is None else pack_path(each.new_path),
            )
            for each in found
        ]

    if not stream:
        return ManyBody(await aside(work))
    return StreamingResponse(_lines(work, progress), media_type="application/x-ndjson")


async def _lines(
    work: Callable[[], list[DoneBody]], progress: transfers.Progress
) -> AsyncIterator[bytes]:
    """Yield how far the work is, then what became of it; when nobody listens any more the work stops."""
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        while not running.done():
            await asyncio.wait({running}, timeout=TOLD_EVERY_S)
            told = {"bytes": progress.done, "total": progress.total, "items": progress.items}
            yield orjson.dumps(told) + b"\n"
        yield orjson.dumps({"done": [asdict(each) for each in running.result()]}) + b"\n"
    finally:
        progress.stop()


@dataclass(frozen=True, slots=True)
class ItemsBody:
    """Files and folders, by path."""

    items: list[str]


@router.post("/{share}/delete")
async def delete_files(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    share: str,
    body: Annotated[ItemsBody, Body()],
) -> ManyBody:
    """Put files and folders into the bin; ``bin_id`` takes each out again.

    Raises:
        NotFound, InvalidInput.
    """
    held = await held_by(box, visitor, share)

    def one(path: bytes) -> DoneBody:
        item = actions.delete(box.database, held, path, doer=doer_of(visitor), now=utc_now())
        return DoneBody(pack_path(path), bin_id=item.id)

    return await _each(request, body.items, one)


@dataclass(frozen=True, slots=True)
class BinBody:
    """Something in the bin."""

    id: int
    path: str
    name: str
    kind: str
    size: int
    files: int
    deleted_at: datetime
    gone_on: datetime
    by: int | None
    door: str


@router.get("/{share}/bin")
async def list_bin(box: TheBox, visitor: TheVisitor, share: str) -> list[BinBody]:
    """Return what is in the bin, the last deleted first.

    Raises:
        NotFound, NotAllowed.
    """
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    found = await box.read_aside(lambda c: bins.items(c, held.share.id))
    return [
        BinBody(
            each.id,
            pack_path(each.path),
            paths.parent(each.path)[1].decode("utf-8", "replace"),
            each.kind,
            each.size,
            each.files,
            each.deleted_at,
            bins.goes_on(held.share, each),
            each.person_id,
            each.door,
        )
        for each in found
    ]


@router.post("/{share}/bin/{item_id}/put-back")
async def put_back(box: TheBox, visitor: TheVisitor, share: str, item_id: int) -> DoneBody:
    """Take something out of the bin, to where it was.

    Raises:
        NotFound, NotAllowed, NotAFolder.
    """
    held = await held_by(box, visitor, share)
    path = await aside(
        lambda: actions.put_back(box.database, held, item_id, doer=doer_of(visitor), now=utc_now())
    )
    return DoneBody("", new_path=pack_path(path))


def _items(items: list[str]) -> list[bytes]:
    if not 0 < len(items) <= MOST_AT_ONCE:
        raise InvalidInput("items", mark("From one to ten thousand files, please."))
    return [unpack_path(each) for each in items]


async def _each(request: Request, items: list[str], act: Callable[[bytes], DoneBody]) -> ManyBody:
    found = _items(items)
    language = language_of(request)

    def work() -> list[DoneBody]:
        done = []
        for path in found:
            try:
                done.append(act(path))
            except ArmoireError as error:
                done.append(DoneBody(pack_path(path), error.code, explain(error, language)))
        return done

    return ManyBody(await aside(work))
