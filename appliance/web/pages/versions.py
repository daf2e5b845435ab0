"""The past of a file or folder of a share: its versions in the snapshots, and who touched it.

The right to see the file now is the right to see its past; a share that is not backed up has none. A version is
opened through the worker's socket like any file of a snapshot, and restored into a part that takes its name in
one step: beside the present file, or in its place, which then goes to the bin.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response, StreamingResponse

from appliance.accounts import people
from appliance.catalogue import query
from appliance.catalogue.reader_client import open_file, open_file_async
from appliance.catalogue.store import of_source
from appliance.clock import from_epoch, utc_now
from appliance.db import snapshots
from appliance.disk import actions, listing, paths, uploads
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.errors import CatalogueMissing, DiskError, InvalidInput, NotFound, SnapshotMissing
from appliance.language import mark
from appliance.ledger import questions
from appliance.model import EntryKind, LedgerEntry, PersonId, Snapshot, SnapshotId, SourceId
from appliance.packed import pack_path, unpack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.units import NS_PER_S
from appliance.web.api.upload import doer_of, held_by
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, needs
from appliance.web.pages.files import SANDBOX, SHOWN, disposition
from appliance.web.pages.paths import Crumb, crumbs, readable
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.DISK_USE)])

ROWS: Final = 500
TOUCHES: Final = 50

#: What happened to a file, for people.
TOUCHED: Final[dict[str, str]] = {
    "file.added": mark("added or changed it"),
    "file.opened": mark("opened it"),
    "file.previewed": mark("looked at it"),
    "file.moved": mark("renamed or moved it"),
    "file.copied": mark("copied it"),
    "file.deleted": mark("deleted it"),
    "file.put-back": mark("took it out of the bin"),
    "file.zipped": mark("downloaded it in a zip"),
    "file.series-opened": mark("looked at its series"),
    "file.dicom-fields": mark("asked who it is of"),
    "file.restored": mark("restored a version of it"),
    "file.version-opened": mark("opened an earlier version"),
    "file.case-copied": mark("copied it as a case"),
    "folder.made": mark("made it"),
}


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version, and the nights it is seen in."""

    snapshot_id: SnapshotId
    first_at: datetime | None
    last_at: datetime | None
    size: int
    modified_at: datetime
    is_newest: bool


@dataclass(frozen=True, slots=True)
class Touch:
    """Something that somebody did to it."""

    at: datetime
    who: str
    what: str  # of TOUCHED, or the event's own name


@dataclass(frozen=True, slots=True)
class VersionsPage(Page):
    """The past of one file."""

    template: ClassVar[str] = "disk/versions.html"
    share: str
    label: str
    name: str
    packed: str
    folder_packed: str
    is_there: bool
    versions: list[VersionLine]
    touches: list[Touch]
    can_add: bool
    can_replace: bool
    is_backed_up: bool


@dataclass(frozen=True, slots=True)
class PastRow:
    """One line of a folder as it was."""

    name: str
    packed: str
    kind: str
    size: int
    modified_at: datetime
    is_gone: bool  # not there any more


@dataclass(frozen=True, slots=True)
class PastPage(Page):
    """A folder as it was in one night."""

    template: ClassVar[str] = "disk/past.html"
    share: str
    label: str
    packed: str
    crumbs: list[Crumb]
    nights: list[Snapshot]  # newest first
    night: Snapshot
    rows: list[PastRow]
    total: int
    gone: int
    only_gone: bool


def stored_path(held: Held, path: bytes) -> bytes:
    """Return where the catalogue of a share's source has ``path``: below its folder, without the first «/»."""
    root = bytes(held.share.folder).lstrip(b"/")
    return paths.join(root, path) if path else root


@router.get("/disk/{share}/versions", name="disk_versions")
async def show_versions(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, p: str = ""
) -> Response:
    """Show every version of a file, and who touched it; a folder is shown as it was.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    path = unpack_path(p)
    paths.split(path)
    entry = await aside(_entry_now, held, path)
    if not path or (entry is not None and entry.kind == "folder"):
        return RedirectResponse(f"/disk/{share}/past?p={p}", 303)
    source_id = held.share.source_id
    found = await aside(_history, box, source_id, stored_path(held, path)) if source_id else []
    times = box_times(box, source_id)
    touches = await box.read_aside(lambda c: _touches(c, held, path))
    if entry is None and not found and not touches:
        raise NotFound("file", readable(path))
    page = VersionsPage(
        share=share,
        label=held.share.label,
        name=readable(paths.parent(path)[1]),
        packed=p,
        folder_packed=pack_path(paths.parent(path)[0]),
        is_there=entry is not None,
        versions=[
            VersionLine(
                each.last,
                times.get(each.first),
                times.get(each.last),
                each.entry.size,
                from_epoch(each.entry.mtime_ns // NS_PER_S),
                place == 0,
            )
            for place, each in enumerate(found)
            if each.entry.kind is EntryKind.FILE
        ],
        touches=touches,
        can_add=held.may(Right.ADD),
        can_replace=held.may(Right.ADD) and held.may(Right.CHANGE),
        is_backed_up=source_id is not None,
    )
    return render(request, page)


@router.get("/disk/{share}/past", name="disk_past")
async def show_past(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    share: str,
    p: str = "",
    s: int = 0,
    gone: int = 0,
) -> Response:
    """Show a folder as it was in a night, with what is not there any more; ``gone=1``: only that.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    path = unpack_path(p)
    paths.split(path)
    source_id = held.share.source_id
    if source_id is None:
        raise NotFound("snapshot", "–")
    with box.database.read() as connection:
        nights = snapshots.of_source(connection, source_id)
    night = next((each for each in nights if s in {0, each.id}), None)
    if night is None:
        raise NotFound("snapshot", str(s))
    rows, total = await aside(_past, box, held, night, path)
    shown = [each for each in rows if each.is_gone] if gone else rows
    page = PastPage(
        share=share,
        label=held.share.label,
        packed=p,
        crumbs=crumbs(path),
        nights=nights,
        night=night,
        rows=shown[:ROWS],
        total=total,
        gone=sum(each.is_gone for each in rows),
        only_gone=bool(gone),
    )
    return render(request, page)


@router.get("/disk/{share}/version", name="disk_version")
async def send_version(
    box: TheBox,
    visitor: TheVisitor,
    share: str,
    s: SnapshotId,
    p: str = "",
    download: int = 0,
) -> Response:
    """Send a file as it was in a night.

    Raises:
        NotFound, NotAllowed, WorkerUnreachable.
    """
    held, path = await _asked(box, visitor, share, s, p)
    assert held.share.source_id is not None  # noqa: S101 - asked for above
    opened = await open_file_async(box.settings, held.share.source_id, s, stored_path(held, path))
    now = utc_now()
    await box.write(
        lambda c: actions.record(
            c, "file.version-opened", held.share, path, doer_of(visitor), now, snapshot=int(s)
        )
    )
    name = readable(paths.parent(path)[1])
    kind = SHOWN.get(name.rpartition(".")[2].lower()) if "." in name and not download else None

    async def blocks() -> AsyncIterator[bytes]:
        try:
            async for block in opened.blocks:
                yield block
        finally:
            opened.close()

    return StreamingResponse(
        blocks(),
        media_type=kind or "application/octet-stream",
        headers={
            "content-length": str(opened.length),
            "content-disposition": disposition(name, inline=kind is not None),
            "content-security-policy": SANDBOX,
            "cache-control": "private, no-store",
        },
    )


@router.post("/disk/{share}/version", name="disk_restore_version")
async def restore_version(
    box: TheBox,
    visitor: TheVisitor,
    share: str,
    s: Annotated[SnapshotId, Form()],
    p: Annotated[str, Form()],
    how: Annotated[str, Form()] = "beside",
) -> Response:
    """Restore a file as it was in a night: beside the present one, or in its place, which goes to the bin.

    Raises:
        NotFound, NotAllowed, InvalidInput, ShareFull, WorkerUnreachable, FileMissing: its folder is gone
            and may not be made.
    """
    held, path = await _asked(box, visitor, share, s, p)
    held.demand(Right.ADD)
    made = await aside(_restore, box, visitor, held, s, path, how)
    return RedirectResponse(f"/disk/{share}?p={pack_path(paths.parent(made)[0])}", 303)


async def _asked(
    box: Box, visitor: Visitor, share: str, snapshot_id: SnapshotId, p: str
) -> tuple[Held, bytes]:
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    path = unpack_path(p)
    if not paths.split(path):
        raise InvalidInput("path", mark("This is not a path of a share."))
    with box.database.read() as connection:
        snapshot = snapshots.get(connection, snapshot_id)
    if snapshot.source_id != held.share.source_id:
        raise NotFound("snapshot", str(snapshot_id))  # another source's: not this person's business
    return held, path


def box_times(box: Box, source_id: SourceId | None) -> dict[SnapshotId, datetime]:
    """Return when each snapshot of a source was taken."""
    if source_id is None:
        return {}
    with box.database.read() as connection:
        return {each.id: each.started_at for each in snapshots.of_source(connection, source_id)}


def _entry_now(held: Held, path: bytes) -> listing.Entry | None:
    try:
        return listing.entry(held.share.folder, path)
    except DiskError:
        return None


def _history(box: Box, source_id: SourceId, path: bytes) -> list[query.Version]:
    try:
        return query.history(of_source(box.settings, source_id), path)
    except (NotFound, CatalogueMissing):
        return []


def _past(box: Box, held: Held, night: Snapshot, path: bytes) -> tuple[list[PastRow], int]:
    assert held.share.source_id is not None  # noqa: S101 - asked for before
    catalogue = of_source(box.settings, held.share.source_id)
    try:
        found = query.folder(catalogue, night.id, stored_path(held, path), limit=None)
    except SnapshotMissing as error:
        raise NotFound("snapshot", str(night.id)) from error
    try:
        now = {each.name for each in listing.read(held.share.folder, path).entries}
    except DiskError:
        now = set()  # the folder itself is gone
    rows = [
        PastRow(
            readable(each.name),
            pack_path(paths.join(path, each.name)),
            each.kind.value,
            each.size,
            from_epoch(each.mtime_ns // NS_PER_S),
            each.name not in now,
        )
        for each in found.rows
        if path or each.name.lower() != paths.RESERVED
    ]
    return rows, found.total


def _restore(
    box: Box, visitor: Visitor, held: Held, snapshot_id: SnapshotId, path: bytes, how: str
) -> bytes:
    assert held.share.source_id is not None  # noqa: S101 - asked for before
    doer, now = doer_of(visitor), utc_now()
    folder, name = paths.parent(path)
    in_place = how == "place"
    if in_place and _entry_now(held, path) is not None:
        held.demand(Right.CHANGE)
    bins.make_folders(held.share.folder, folder)
    target = path if in_place else paths.join(folder, _free_name(held, folder, name))
    with open_file(
        box.settings, held.share.source_id, snapshot_id, stored_path(held, path)
    ) as opened:
        uploads.put(
            box.database,
            held,
            target,
            opened.length,
            opened.blocks,
            doer=doer,
            now=now,
            replaces=in_place and _entry_now(held, path) is not None,
            mtime_ns=opened.mtime_ns,
        )
    with box.database.write() as connection:
        actions.record(
            connection, "file.restored", held.share, target, doer, now, snapshot=int(snapshot_id)
        )
    return target


def _free_name(held: Held, folder: bytes, name: bytes) -> bytes:
    """Return ``name``, or the next one that nothing has in the folder now."""
    taken = {each.name for each in listing.read(held.share.folder, folder).entries}
    return next(each for each in bins.free_names(name) if each not in taken)


def _touches(connection: Connection, held: Held, path: bytes) -> list[Touch]:
    names = people.names(connection)

    def who(entry: LedgerEntry) -> str:
        kind, _, number = entry.actor.partition(":")
        if kind == "person" and number.isdecimal():
            return names.get(PersonId(int(number)), entry.actor)
        return entry.actor

    found = questions.about_file(connection, held.share.id, path, limit=TOUCHES)
    return [Touch(each.at, who(each), TOUCHED.get(each.event, each.event)) for each in found]
