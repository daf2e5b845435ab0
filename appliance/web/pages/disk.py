"""The network disk in the browser: shares, a folder, the bin. Everything here works without JavaScript.

The first rows come with the page; ``static/disk.js`` then fetches the folder in columns and shows it in a
virtual list (measured-web.md D: 20,000 entries usable in 0.4 s).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request, UploadFile
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import people
from appliance.clock import from_epoch, utc_now
from appliance.db import snapshots, sources
from appliance.disk import access, actions, listing, paths, uploads
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.errors import ArmoireError, NameTaken
from appliance.language import explain
from appliance.model import PersonId, SourceKind
from appliance.packed import pack_path, unpack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import RIGHT_TEXTS, Right
from appliance.units import MIB, NS_PER_S
from appliance.web.api.upload import doer_of, held_by
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
from appliance.web.pages.paths import Crumb, crumbs, readable
from appliance.web.remembered import Rows
from appliance.web.render import Page, PurePage, Words, render, render_filled

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.DISK_USE)])

ROWS: Final = 200
#: Without JavaScript one file is sent by a form; larger ones need the page's own way.
LARGEST_BY_FORM: Final = 512 * MIB
_PIECE: Final = MIB
#: The page says the room in steps, or it would be another one with each line of the journal; scarce room exactly.
ROOM_STEP: Final = 16 * MIB
ROOM_EXACT: Final = 1024 * MIB
#: As templates say what a listing says.
KINDS: Final = {"folder": "d", "file": "f", "link": "l", "other": "o"}
NO_ROWS: Final = Rows("disk/_rows.html", (), [], lambda facts, _: facts)


@dataclass(frozen=True, slots=True)
class ShareLine:
    """A share and what one may do there."""

    name: str
    label: str
    rights: list[str]
    room: int


@dataclass(frozen=True, slots=True)
class MachineLine:
    """A machine whose files can be gone through as they were in its newest night."""

    label: str
    snapshot_id: int
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class SharesPage(Page):
    """The shares on which one has any right, and the machines' nights for who may open those."""

    template: ClassVar[str] = "disk/shares.html"
    shares: list[ShareLine]
    machines: list[MachineLine]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a folder."""

    name: str
    packed: str
    kind: str  # d · f · l · o
    size: str  # in words; empty of what is no file
    changed: str


@dataclass(frozen=True, slots=True)
class FolderPage(PurePage):
    """One folder of a share, its rows apart."""

    template: ClassVar[str] = "disk/folder.html"
    share: str
    label: str
    packed: str
    crumbs: tuple[Crumb, ...]
    shown: int  # rows
    total: int
    first: int  # of the rows shown, counted from 1; 0 when there is none
    previous: str | None
    following: str | None
    can: tuple[str, ...]  # the rights one has
    room: int  # bytes, see ROOM_STEP
    problem: str
    over_smb: bool
    is_backed_up: bool


@dataclass(frozen=True, slots=True)
class BinLine:
    """One thing in the bin."""

    id: int
    name: str
    folder: str
    kind: str
    size: int
    files: int
    deleted_at: datetime
    days_left: int
    by: str
    door: str


@dataclass(frozen=True, slots=True)
class BinPage(Page):
    """What was deleted from a share and can be put back."""

    template: ClassVar[str] = "disk/bin.html"
    share: str
    label: str
    days: int
    items: list[BinLine]
    can_put_back: bool


@router.get("/disk", name="disk")
async def show_shares(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Show the shares; who has but one is led into it."""
    with box.database.read() as connection:
        held = access.held(connection, visitor.person, now=utc_now())
        machines = _machines(connection) if visitor.may(Action.SNAPSHOT_BROWSE) else []
    seen = [each for each in held if each.may(Right.SEE)]
    if len(held) == 1 and seen and not visitor.may(Action.SHARES_CHANGE):
        return RedirectResponse(f"/disk/{seen[0].share.name}", 303)
    lines = [
        ShareLine(
            each.share.name,
            each.share.label,
            [RIGHT_TEXTS[right] for right in Right if right in each.rights],
            actions.room(each.share),
        )
        for each in held
    ]
    return render(request, SharesPage(lines, machines))


def _machines(connection: Connection) -> list[MachineLine]:
    found = []
    for each in sources.with_files(connection):
        nights = snapshots.of_source(connection, each.id)
        if each.kind is not SourceKind.SHARE and nights:
            found.append(MachineLine(each.label, nights[0].id, nights[0].started_at))
    return found


@router.get("/disk/{share}", name="disk_folder")
async def show_folder(request: Request, share: str, p: str = "", first: int = 0) -> Response:
    """Show a folder.

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing, NotAFolder.
    """
    held = await held_by(box_of(request), visitor_of(request), share)
    return await _folder(request, held, unpack_path(p), first)


async def _folder(
    request: Request, held: Held, path: bytes, first: int = 0, problem: str = "", status: int = 200
) -> Response:
    if not held.may(Right.SEE) and held.may(Right.ADD) and not path:
        return render_filled(request, _empty(held, problem), NO_ROWS, status)
    held.demand(Right.SEE)
    found = listing.read_known(held.share.folder, path)
    if found is None:
        found = await aside(listing.read, held.share.folder, path)
    return folder_page(request, held, path, found, first, problem, status)


def folder_page(
    request: Request,
    held: Held,
    path: bytes,
    found: listing.Listing,
    first: int = 0,
    problem: str = "",
    status: int = 200,
) -> Response:
    """Return the page of a folder that ``held`` was found to let see; ``first`` is a place among its entries."""
    total = len(found.entries)
    first = max(0, min(first, total - 1)) // ROWS * ROWS if total else 0
    entries = found.entries[first : first + ROWS]
    share, packed = held.share.name, pack_path(path)

    def page_at(place: int) -> str:
        return f"/disk/{share}?p={packed}&first={place}"

    def row(facts: tuple[bytes, str, int, int], words: Words) -> Row:
        name, kind, size, seconds = facts
        return Row(
            readable(name),
            pack_path(paths.join(path, name)),
            KINDS[kind],
            words.size(size) if kind == "file" else "",
            words.short(from_epoch(seconds)),
        )

    page = replace(
        _empty(held, problem),
        packed=packed,
        crumbs=tuple(crumbs(path)),
        shown=len(entries),
        total=total,
        first=first + 1 if entries else 0,
        previous=page_at(first - ROWS) if first else None,
        following=page_at(first + ROWS) if first + ROWS < total else None,
    )
    rows = Rows(
        "disk/_rows.html",
        (("share", share), ("folder", path)),
        [(each.name, each.kind, each.size, each.mtime_ns // NS_PER_S) for each in entries],
        row,
    )
    return render_filled(request, page, rows, status)


def _empty(held: Held, problem: str) -> FolderPage:
    """Return the page without a row; so it is for who may add and not see: what goes in is not shown again."""
    room = actions.room(held.share)
    return FolderPage(
        share=held.share.name,
        label=held.share.label,
        packed="",
        crumbs=(),
        shown=0,
        total=0,
        first=0,
        previous=None,
        following=None,
        can=tuple(right.value for right in Right if held.may(right)),
        room=room - room % ROOM_STEP if room > ROOM_EXACT else room,
        problem=problem,
        over_smb=held.share.over_smb,
        is_backed_up=held.share.source_id is not None,
    )


# --- without JavaScript ---------------------------------------------------------------------


@router.post("/disk/{share}/do", name="disk_do")
async def act(request: Request, box: TheBox, visitor: TheVisitor, share: str) -> Response:
    """Do what a form of the page asks: ``folder``, ``rename`` or ``delete``; then show the folder.

    Raises:
        NotFound, NotAllowed.
    """
    form = await request.form()
    held = await held_by(box, visitor, share)
    here = unpack_path(str(form.get("here", "")))
    picked = [unpack_path(str(each)) for each in form.getlist("p")]
    name = str(form.get("name", "")).strip()

    def work() -> None:
        doer, now = doer_of(visitor), utc_now()
        match form.get("do"):
            case "folder":
                path = paths.join(here, name.encode())
                actions.make_folder(box.database, held, path, doer=doer, now=now)
            case "rename" if len(picked) == 1:
                new_path = paths.join(picked[0].rpartition(b"/")[0], name.encode())
                actions.move(box.database, held, picked[0], held, new_path, doer=doer, now=now)
            case "delete":
                for path in picked:
                    actions.delete(box.database, held, path, doer=doer, now=now)
            case _:
                pass

    return await _then_folder(request, held, here, work)


@router.post("/disk/{share}/send", name="disk_send", max_body_size=LARGEST_BY_FORM)
async def send_one(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    share: str,
    file: UploadFile,
    here: Annotated[str, Form()] = "",
) -> Response:
    """Take one file from a form: for browsers without JavaScript.

    Raises:
        NotFound, NotAllowed.
    """
    held = await held_by(box, visitor, share)
    folder = unpack_path(here)
    name = PurePosixPath((file.filename or "").replace("\\", "/")).name
    path = paths.join(folder, name.encode())

    def work() -> None:
        doer, now = doer_of(visitor), utc_now()
        uploads.put(
            box.database,
            held,
            path,
            file.size or 0,
            iter(lambda: file.file.read(_PIECE), b""),
            doer=doer,
            now=now,
        )

    return await _then_folder(request, held, folder, work)


async def _then_folder(
    request: Request, held: Held, here: bytes, work: Callable[[], None]
) -> Response:
    try:
        await aside(work)
    except ArmoireError as error:
        status = 409 if isinstance(error, NameTaken) else 422
        return await _folder(
            request, held, here, problem=explain(error, language_of(request)), status=status
        )
    return RedirectResponse(f"/disk/{held.share.name}?p={pack_path(here)}", 303)


# --- the bin --------------------------------------------------------------------------------


@router.get("/disk/{share}/bin", name="disk_bin")
async def show_bin(request: Request, box: TheBox, visitor: TheVisitor, share: str) -> Response:
    """Show what was deleted from a share.

    Raises:
        NotFound, NotAllowed.
    """
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    found = await box.read_aside(lambda c: (bins.items(c, held.share.id), people.names(c)))
    items, names = found
    now = utc_now()
    lines = [
        BinLine(
            each.id,
            readable(paths.parent(each.path)[1]),
            readable(paths.parent(each.path)[0]),
            "d" if each.kind == "folder" else "f",
            each.size,
            each.files,
            each.deleted_at,
            max(0, (bins.goes_on(held.share, each) - now).days),
            names.get(each.person_id or PersonId(0), ""),
            each.door,
        )
        for each in items
    ]
    return render(
        request,
        BinPage(share, held.share.label, held.share.bin_days, lines, held.may(Right.ADD)),
    )


@router.post("/disk/{share}/bin/{item_id}", name="disk_put_back")
async def put_back(box: TheBox, visitor: TheVisitor, share: str, item_id: int) -> Response:
    """Take something out of the bin, and show where it is now.

    Raises:
        NotFound, NotAllowed, NotAFolder.
    """
    path = await _back(box, visitor, share, item_id)
    return RedirectResponse(f"/disk/{share}?p={pack_path(path.rpartition(b'/')[0])}", 303)


async def _back(box: Box, visitor: Visitor, share: str, item_id: int) -> bytes:
    held = await held_by(box, visitor, share)
    return await aside(
        lambda: actions.put_back(box.database, held, item_id, doer=doer_of(visitor), now=utc_now())
    )
