"""Looking at a file without downloading it: what a sandboxed process made of it, never its own bytes.

One family of addresses for three kinds of things: a file of a share, of a share's past, of a machine's
snapshot. The right asked for is the right to open that very file, and looking is in the ledger as opening is.
"""

import gzip
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response

from appliance.catalogue.store import of_source
from appliance.db import snapshots, sources
from appliance.disk.preview.protocol import Do, Wanted
from appliance.errors import NotPreviewed
from appliance.language import translate
from appliance.model import SnapshotId
from appliance.packed import pack_path, unpack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web.api.upload import held_by
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, language_of, needs
from appliance.web.pages.files import Openings
from appliance.web.pages.paths import Step, unpacked
from appliance.web.pages.preview_maker import Maker
from appliance.web.pages.preview_things import (
    PastFile,
    PresentFile,
    Thing,
    may_be_slice,
    name_of,
)
from appliance.web.render import Page, render
from appliance.web.share_file import SANDBOX
from appliance.web.share_past import of_night

#: Sides a picture is made in, pixels: few, so that what is kept is found again.
SIDES: Final = (256, 1024, 2048)
#: Files of a folder that are looked at for slices of one series.
MOST_SLICES: Final = 3000
MOST_PAST_SLICES: Final = 400  # each is a question to the reader
_HEADERS: Final = {
    "content-security-policy": SANDBOX,
    "cache-control": "private, no-cache",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class PreviewPage(Page):
    """A file, looked at without JavaScript."""

    template: ClassVar[str] = "disk/preview.html"
    name: str
    base: str  # of its previews
    packed: str
    download: str
    trail: list[Step]
    taken_at: datetime | None  # of a file of a snapshot
    kind: str  # of ``making.Kind``; «» when there is no preview
    text: str
    is_cut: bool
    problem: str
    number: int  # of the page shown, from 0
    pages: int
    before: str | None  # the file before this one in its folder, packed
    after: str | None


def _maker(request: Request, box: Box) -> Maker:
    found: Maker | None = getattr(request.app.state, "preview_maker", None)
    if found is None:
        found = request.app.state.preview_maker = Maker(box)
    return found


# --- what is asked for, by right ------------------------------------------------------------


async def _present(box: TheBox, visitor: TheVisitor, share: str, p: str = "") -> Thing:
    """Return a file of a share one sees.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    return PresentFile(held, unpack_path(p))


async def _past(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    share: str,
    snapshot_id: SnapshotId,
    p: str = "",
) -> Thing:
    """Return a file of the past of a share one sees: another source's night is not there.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    past = await of_night(box, visitor, share, snapshot_id, p)
    fetched = _maker(request, box).fetched
    return PastFile(fetched, box.settings, past.night, past.stored, past.held, past.root)


async def _of_machine(request: Request, box: TheBox, snapshot_id: SnapshotId, p: str = "") -> Thing:
    """Return a file of any snapshot, for who may open those.

    Raises:
        NotFound, InvalidInput.
    """
    path = unpacked(p)
    with box.database.read() as connection:
        snapshot = snapshots.get(connection, snapshot_id)
        sources.get(connection, snapshot.source_id)
    # The box's own state has no catalogue, and its files no door.
    await aside(of_source, box.settings, snapshot.source_id)
    return PastFile(_maker(request, box).fetched, box.settings, snapshot, path)


# --- what is answered -----------------------------------------------------------------------


async def _seen(request: Request, box: Box, visitor: Visitor, thing: Thing, made: Any) -> None:  # noqa: ANN401
    _, etag, size = made
    openings: Openings = request.app.state.openings
    if openings.is_new(visitor.person.id, thing.opening(etag)):
        await box.write(lambda c: thing.record(c, "opened", visitor, size))


async def _info(request: Request, box: Box, visitor: Visitor, thing: Thing) -> Response:
    made = await _maker(request, box).make(thing, Wanted(Do.INFO))
    await _seen(request, box, visitor, thing, made)
    values = made[0].values()
    language = language_of(request)
    for window in values.get("windows", ()):
        window["name"] = translate(str(window["name"]), language)
    if "whole" in values:
        values["whole"] = translate(str(values["whole"]), language)
    return JSONResponse(values | {"etag": made[1]}, headers=_HEADERS)


async def _picture(
    request: Request, box: Box, visitor: Visitor, thing: Thing, wanted: Wanted
) -> Response:
    made = await _maker(request, box).make(thing, wanted)
    await _seen(request, box, visitor, thing, made)
    answer, tag, _ = made
    etag = f'"{tag}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=_HEADERS | {"etag": etag})
    return Response(answer.body, media_type=answer.type, headers=_HEADERS | {"etag": etag})


async def _pixels(
    request: Request, box: Box, visitor: Visitor, thing: Thing, page: int
) -> Response:
    made = await _maker(request, box).make(thing, Wanted(Do.PIXELS, page=page))
    await _seen(request, box, visitor, thing, made)
    answer = made[0]
    if "gzip" in request.headers.get("accept-encoding", ""):
        more = {"content-encoding": "gzip"}
        return Response(answer.body, media_type=answer.type, headers=_HEADERS | more)
    return Response(
        await aside(gzip.decompress, answer.body), media_type=answer.type, headers=_HEADERS
    )


async def _series(request: Request, box: Box, visitor: Visitor, thing: Thing) -> Response:
    around = await aside(thing.near)
    near = [each for each in around if each.path == thing.path or may_be_slice(each.path)]
    most = MOST_PAST_SLICES if isinstance(thing, PastFile) else MOST_SLICES
    if len(near) > most or all(each.path != thing.path for each in near):
        near = [thing]
    told = await _maker(request, box).briefs(near)
    slices = _in_order(near, told, thing.path)
    if len(slices) > 1:
        openings: Openings = request.app.state.openings
        new = sum(openings.is_new(visitor.person.id, each.opening(etag)) for each, etag in slices)
        if new > 1:  # else all of them were seen a moment ago
            await box.write(lambda c: thing.record(c, "series", visitor, len(slices)))
    items = [{"path": pack_path(each.path), "name": name_of(each)} for each, _ in slices]
    at = next((at for at, (each, _) in enumerate(slices) if each.path == thing.path), 0)
    return JSONResponse({"items": items, "at": at}, headers=_HEADERS)


def _in_order(
    near: Sequence[Thing], told: Sequence[tuple[str, Any]], path: bytes
) -> list[tuple[Thing, str]]:
    """Return the slices of the series of ``path``: by place, else by number, else as the folder has them."""
    known = {each.path: (each, etag, brief) for each, (etag, brief) in zip(near, told, strict=True)}
    thing, etag, mine = known[path]
    if not mine or not mine.get("series") or mine.get("frames", 1) > 1:
        return [(thing, etag)]
    same = [
        (each, tag, brief)
        for each, tag, brief in known.values()
        if brief and brief.get("series") == mine["series"] and brief.get("frames", 1) == 1
    ]
    for fact in ("place", "number"):
        if len({brief[fact] for _, _, brief in same}) == len(same) and all(
            brief[fact] is not None for _, _, brief in same
        ):
            same.sort(key=lambda each: float(each[2][fact]))
            break
    return [(each, tag) for each, tag, _ in same]


async def _fields(request: Request, box: Box, visitor: Visitor, thing: Thing) -> Response:
    answer, _, _ = await _maker(request, box).make(thing, Wanted(Do.FIELDS))

    def change(connection: Connection) -> None:
        thing.record(connection, "fields", visitor)

    await box.write(change)
    language = language_of(request)
    told = [
        {"label": translate(str(each["label"]), language), "value": str(each["value"])}
        for each in answer.values()
    ]
    return JSONResponse({"fields": told}, headers=_HEADERS)


async def _page(
    request: Request, box: Box, visitor: Visitor, thing: Thing, number: int
) -> Response:
    values: dict[str, Any] = {}
    problem = ""
    try:
        made = await _maker(request, box).make(thing, Wanted(Do.INFO))
        await _seen(request, box, visitor, thing, made)
        values = made[0].values()
    except NotPreviewed as error:
        problem = translate(error.reason, language_of(request))
    files = [each.path for each in await aside(thing.near)]
    at = files.index(thing.path) if thing.path in files else 0
    pages = int(values.get("pages", 1))
    shown = PreviewPage(
        name=name_of(thing),
        base=thing.base,
        packed=pack_path(thing.path),
        download=thing.download,
        trail=thing.trail(),
        taken_at=thing.snapshot.started_at if isinstance(thing, PastFile) else None,
        kind=str(values.get("kind", "")),
        text=str(values.get("text", "")),
        is_cut=bool(values.get("is_cut", False)),
        problem=problem,
        number=max(0, min(number, pages - 1)),
        pages=pages,
        before=pack_path(files[at - 1]) if at > 0 else None,
        after=pack_path(files[at + 1]) if at + 1 < len(files) else None,
    )
    return render(request, shown)


# --- the addresses --------------------------------------------------------------------------

_PageNumber = Annotated[int, Query(ge=0, le=100_000)]


def _family(
    prefix: str, name: str, action: Action, find: Callable[..., Awaitable[Thing]]
) -> APIRouter:
    """Return the six addresses of one kind of thing, which ``find`` finds and asks the rights of.

    All of them raise what ``find`` raises, then NotPreviewed, WorkerUnreachable, and FileMissing, NotAFolder,
    NotAFile of a share's file.
    """
    made = APIRouter(prefix=prefix, include_in_schema=False, dependencies=[needs(action)])
    found = Depends(find)

    @made.get("/info", name=f"{name}_info")
    async def show_info(
        request: Request, box: TheBox, visitor: TheVisitor, thing: Thing = found
    ) -> Response:
        """Say what a file is: kind, pages, size, windows; a text is in it."""
        return await _info(request, box, visitor, thing)

    @made.get("/picture", name=f"{name}_picture")
    async def show_picture(
        request: Request,
        box: TheBox,
        visitor: TheVisitor,
        page: _PageNumber = 0,
        side: int = 1024,
        c: float | None = None,
        w: float | None = None,
        thing: Thing = found,
    ) -> Response:
        """Send a page or a frame as WebP; ``c`` and ``w`` are the centre and width of a DICOM window."""
        wanted = Wanted(
            Do.PICTURE,
            page=page,
            side=next((each for each in SIDES if each >= side), SIDES[-1]),
            centre=c if w is not None else None,
            width=w if c is not None else None,
        )
        return await _picture(request, box, visitor, thing, wanted)

    @made.get("/pixels", name=f"{name}_pixels")
    async def show_pixels(
        request: Request,
        box: TheBox,
        visitor: TheVisitor,
        page: _PageNumber = 0,
        thing: Thing = found,
    ) -> Response:
        """Send the grey values of a DICOM frame, for windowing in the browser; ``dicom.PIXELS_HEAD`` says how."""
        return await _pixels(request, box, visitor, thing, page)

    @made.post("/series", name=f"{name}_series")
    async def show_series(
        request: Request, box: TheBox, visitor: TheVisitor, thing: Thing = found
    ) -> Response:
        """Say which files of the folder are slices of the same series, in the order they lie in the body.

        It counts as opening them: one line in the ledger for all.
        """
        return await _series(request, box, visitor, thing)

    @made.post("/fields", name=f"{name}_fields")
    async def show_fields(
        request: Request, box: TheBox, visitor: TheVisitor, thing: Thing = found
    ) -> Response:
        """Say who and what a DICOM file is about; the ledger tells who asked."""
        return await _fields(request, box, visitor, thing)

    @made.get("", name=name)
    async def show(
        request: Request,
        box: TheBox,
        visitor: TheVisitor,
        page: int = 0,
        thing: Thing = found,
    ) -> Response:
        """Show a file on a page of its own, without any JavaScript."""
        return await _page(request, box, visitor, thing, page)

    return made


#: What ``web/routes.py`` takes in: of shares, of their past, of machines.
router = _family("/preview/{share}", "preview", Action.DISK_USE, _present)
past_router = _family("/preview/{share}/at/{snapshot_id}", "preview_past", Action.DISK_USE, _past)
machine_router = _family(
    "/snapshots/{snapshot_id}/preview", "preview_snapshot", Action.FILE_OPEN, _of_machine
)
