"""Looking at a file of a share without downloading it: what a sandboxed process made of it, never its own bytes.

Every answer is asked for with the right to see the share, and the opening is in the ledger as any other.
"""

import gzip
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Final

import anyio
import anyio.to_thread
from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response

from appliance.clock import utc_now
from appliance.disk import actions, listing, paths
from appliance.disk.access import Held
from appliance.disk.listing import Entry
from appliance.disk.preview import client
from appliance.disk.preview.cache import Cache
from appliance.disk.preview.protocol import MOST_FILES, Answer, Do, Wanted
from appliance.errors import NotPreviewed
from appliance.language import translate
from appliance.packed import pack_path, unpack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web.api.disk import record_opening
from appliance.web.api.upload import doer_of, held_by
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, language_of, needs
from appliance.web.pages.files import Openings
from appliance.web.pages.paths import Crumb, crumbs, readable
from appliance.web.render import Page, render
from appliance.web.share_file import SANDBOX

router = APIRouter(
    prefix="/preview", include_in_schema=False, dependencies=[needs(Action.DISK_USE)]
)

#: Sides a picture is made in, pixels: few, so that what is kept is found again.
SIDES: Final = (256, 1024, 2048)
#: Requests that wait for the maker at once.
AT_ONCE: Final = 8
#: Files of a folder that are looked at for slices of one series.
MOST_SLICES: Final = 3000
_SLICE_ENDINGS: Final = {"", "dcm", "dicom", "ima"}
_HEADERS: Final = {
    "content-security-policy": SANDBOX,
    "cache-control": "private, no-cache",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class PreviewPage(Page):
    """A file, looked at without JavaScript."""

    template: ClassVar[str] = "disk/preview.html"
    share: str
    label: str
    name: str
    packed: str
    folder: str
    crumbs: list[Crumb]
    kind: str  # of ``making.Kind``; «» when there is no preview
    text: str
    is_cut: bool
    problem: str
    page: int
    pages: int
    before: str | None  # the file before this one in its folder, packed
    after: str | None


class Maker:
    """Asks for previews, some at a time, and keeps them."""

    def __init__(self, box: Box) -> None:
        """Work for the box of ``box``."""
        self._settings = box.settings
        self._cache = Cache(box.settings.previews)
        self._limit = anyio.CapacityLimiter(AT_ONCE)

    async def make(self, held: Held, path: bytes, wanted: Wanted) -> tuple[Answer, Entry]:
        """Return a preview of a file and the entry it is of.

        Raises:
            InvalidInput, FileMissing, NotAFolder, NotAFile: of the path.
            NotPreviewed, WorkerUnreachable: of the making.
        """
        wanted = replace(wanted, ending=_ending(path))

        def work() -> tuple[Answer, Entry]:
            descriptor = paths.open_file(held.share.folder, path)
            try:
                entry = listing.entry_of(paths.parent(path)[1], os.fstat(descriptor))
                found = self._cache.find(held.share.id, entry.etag, wanted)
                if found is None:
                    found = client.ask(self._settings, wanted, [descriptor])
                    if wanted.do in {Do.INFO, Do.PICTURE}:
                        self._cache.keep(held.share.id, entry.etag, wanted, found)
                return found, entry
            finally:
                os.close(descriptor)

        return await anyio.to_thread.run_sync(work, limiter=self._limit)

    async def briefs(self, held: Held, found: Sequence[bytes]) -> list[tuple[Entry, Any]]:
        """Return what slices say of themselves, None for those that are none."""

        def work() -> list[tuple[Entry, Any]]:
            told: list[tuple[Entry, Any]] = []
            for start in range(0, len(found), MOST_FILES):
                told += self._some(held, found[start : start + MOST_FILES])
            return told

        return await anyio.to_thread.run_sync(work, limiter=self._limit)

    def _some(self, held: Held, found: Sequence[bytes]) -> list[tuple[Entry, Any]]:
        opened = []
        try:
            for path in found:  # one by one: what was opened is closed when the next fails
                opened.append(paths.open_file(held.share.folder, path))  # noqa: PERF401
            entries = [
                listing.entry_of(paths.parent(path)[1], os.fstat(descriptor))
                for path, descriptor in zip(found, opened, strict=True)
            ]
            told = client.ask(self._settings, Wanted(Do.BRIEFS), opened).values()
            return list(zip(entries, told, strict=True))
        finally:
            for descriptor in opened:
                os.close(descriptor)


def _maker(request: Request, box: Box) -> Maker:
    found: Maker | None = getattr(request.app.state, "preview_maker", None)
    if found is None:
        found = request.app.state.preview_maker = Maker(box)
    return found


def _ending(path: bytes) -> str:
    name = paths.parent(path)[1]
    _, point, ending = name.rpartition(b".")
    return ending.decode("ascii", "replace").lower()[:8] if point else ""


async def _seen(
    request: Request, box: Box, visitor: Visitor, held: Held, path: bytes, entry: Entry
) -> None:
    openings: Openings = request.app.state.openings
    if openings.is_new(visitor.person.id, f"{held.share.name}:{entry.etag}"):
        await record_opening(box, visitor, held, path, entry)


async def _held(box: Box, visitor: Visitor, share: str) -> Held:
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    return held


@router.get("/{share}/info", name="preview_info")
async def show_info(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, p: str = ""
) -> Response:
    """Say what a file is: kind, pages, size, windows; a text is in it.

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing, NotAFile, NotPreviewed, WorkerUnreachable.
    """
    held, path = await _held(box, visitor, share), unpack_path(p)
    answer, entry = await _maker(request, box).make(held, path, Wanted(Do.INFO))
    await _seen(request, box, visitor, held, path, entry)
    values = answer.values()
    language = language_of(request)
    for window in values.get("windows", ()):
        window["name"] = translate(str(window["name"]), language)
    if "whole" in values:
        values["whole"] = translate(str(values["whole"]), language)
    return JSONResponse(values | {"etag": entry.etag}, headers=_HEADERS)


@router.get("/{share}/picture", name="preview_picture")
async def show_picture(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    share: str,
    p: str = "",
    page: Annotated[int, Query(ge=0, le=100_000)] = 0,
    side: int = 1024,
    c: float | None = None,
    w: float | None = None,
) -> Response:
    """Send a page or a frame as WebP; ``c`` and ``w`` are the centre and width of a DICOM window.

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing, NotAFile, NotPreviewed, WorkerUnreachable.
    """
    held, path = await _held(box, visitor, share), unpack_path(p)
    wanted = Wanted(
        Do.PICTURE,
        page=page,
        side=next((each for each in SIDES if each >= side), SIDES[-1]),
        centre=c if w is not None else None,
        width=w if c is not None else None,
    )
    answer, entry = await _maker(request, box).make(held, path, wanted)
    await _seen(request, box, visitor, held, path, entry)
    etag = f'"{entry.etag}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=_HEADERS | {"etag": etag})
    return Response(answer.body, media_type=answer.type, headers=_HEADERS | {"etag": etag})


@router.get("/{share}/pixels", name="preview_pixels")
async def show_pixels(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    share: str,
    p: str = "",
    page: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> Response:
    """Send the grey values of a DICOM frame, for windowing in the browser; ``dicom.PIXELS_HEAD`` says how.

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing, NotAFile, NotPreviewed, WorkerUnreachable.
    """
    held, path = await _held(box, visitor, share), unpack_path(p)
    answer, entry = await _maker(request, box).make(held, path, Wanted(Do.PIXELS, page=page))
    await _seen(request, box, visitor, held, path, entry)
    if "gzip" in request.headers.get("accept-encoding", ""):
        more = {"content-encoding": "gzip"}
        return Response(answer.body, media_type=answer.type, headers=_HEADERS | more)
    return Response(
        await aside(gzip.decompress, answer.body), media_type=answer.type, headers=_HEADERS
    )


@router.post("/{share}/series", name="preview_series")
async def show_series(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, p: str = ""
) -> Response:
    """Say which files of the folder are slices of the same series, in the order they lie in the body.

    It counts as opening them: one line in the ledger for all.

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing, NotAFile, NotPreviewed, WorkerUnreachable.
    """
    held, path = await _held(box, visitor, share), unpack_path(p)
    folder, name = paths.parent(path)
    listed = await aside(listing.read, held.share.folder, folder)
    near = [
        paths.join(folder, each.name)
        for each in listed.entries
        if each.kind == "file" and (each.name == name or _ending(each.name) in _SLICE_ENDINGS)
    ]
    if len(near) > MOST_SLICES or path not in near:
        near = [path]
    told = await _maker(request, box).briefs(held, near)
    slices = _in_order(near, told, path)
    if len(slices) > 1:
        await _record_series(request, box, visitor, held, folder, [entry for _, entry in slices])
    return JSONResponse(
        {
            "items": [
                {"path": pack_path(each), "name": readable(entry.name)} for each, entry in slices
            ],
            "at": next((at for at, (each, _) in enumerate(slices) if each == path), 0),
        },
        headers=_HEADERS,
    )


def _in_order(
    near: Sequence[bytes], told: Sequence[tuple[Entry, Any]], path: bytes
) -> list[tuple[bytes, Entry]]:
    """Return the slices of the series of ``path``: by place, else by number, else as the folder has them."""
    known = {each: (entry, brief) for each, (entry, brief) in zip(near, told, strict=True)}
    mine = known[path][1]
    if not mine or not mine.get("series") or mine.get("frames", 1) > 1:
        return [(path, known[path][0])]
    same = [
        (each, entry, brief)
        for each, (entry, brief) in known.items()
        if brief and brief.get("series") == mine["series"] and brief.get("frames", 1) == 1
    ]
    for fact in ("place", "number"):
        if len({brief[fact] for _, _, brief in same}) == len(same) and all(
            brief[fact] is not None for _, _, brief in same
        ):
            same.sort(key=lambda each: float(each[2][fact]))
            break
    return [(each, entry) for each, entry, _ in same]


async def _record_series(
    request: Request,
    box: Box,
    visitor: Visitor,
    held: Held,
    folder: bytes,
    entries: Sequence[Entry],
) -> None:
    openings: Openings = request.app.state.openings
    new = [
        openings.is_new(visitor.person.id, f"{held.share.name}:{entry.etag}") for entry in entries
    ]
    if sum(new) < 2:
        return  # all of them were seen a moment ago
    now = utc_now()

    def change(connection: Connection) -> None:
        actions.record(
            connection,
            "file.series-opened",
            held.share,
            folder,
            doer_of(visitor),
            now,
            files=len(entries),
        )

    await box.write(change)


@router.post("/{share}/fields", name="preview_fields")
async def show_fields(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, p: str = ""
) -> Response:
    """Say who and what a DICOM file is about; the ledger tells who asked.

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing, NotAFile, NotPreviewed, WorkerUnreachable.
    """
    held, path = await _held(box, visitor, share), unpack_path(p)
    answer, _ = await _maker(request, box).make(held, path, Wanted(Do.FIELDS))
    now = utc_now()
    await box.write(
        lambda c: actions.record(c, "file.dicom-fields", held.share, path, doer_of(visitor), now)
    )
    language = language_of(request)
    told = [
        {"label": translate(str(each["label"]), language), "value": str(each["value"])}
        for each in answer.values()
    ]
    return JSONResponse({"fields": told}, headers=_HEADERS)


@router.get("/{share}", name="preview")
async def show(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, p: str = "", page: int = 0
) -> Response:
    """Show a file on a page of its own, without any JavaScript.

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing, NotAFile, WorkerUnreachable.
    """
    held, path = await _held(box, visitor, share), unpack_path(p)
    folder, name = paths.parent(path)
    values: dict[str, Any] = {}
    problem = ""
    try:
        answer, entry = await _maker(request, box).make(held, path, Wanted(Do.INFO))
        await _seen(request, box, visitor, held, path, entry)
        values = answer.values()
    except NotPreviewed as error:
        problem = translate(error.reason, language_of(request))
    listed = await aside(listing.read, held.share.folder, folder)
    files = [each.name for each in listed.entries if each.kind == "file"]
    at = files.index(name) if name in files else 0
    pages = int(values.get("pages", 1))
    shown = PreviewPage(
        share=share,
        label=held.share.label,
        name=readable(name),
        packed=pack_path(path),
        folder=pack_path(folder),
        crumbs=crumbs(folder),
        kind=str(values.get("kind", "")),
        text=str(values.get("text", "")),
        is_cut=bool(values.get("is_cut", False)),
        problem=problem,
        page=max(0, min(page, pages - 1)),
        pages=pages,
        before=pack_path(paths.join(folder, files[at - 1])) if at > 0 else None,
        after=pack_path(paths.join(folder, files[at + 1])) if at + 1 < len(files) else None,
    )
    return render(request, shown)
