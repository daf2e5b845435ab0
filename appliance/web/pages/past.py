"""The folders of a share as they were: of one night, and what any night shows that is not there now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from fastapi import APIRouter, Request
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import Response, StreamingResponse

from appliance.catalogue import query
from appliance.catalogue.archive_zip import zip_of_snapshot
from appliance.catalogue.deleted import Deleted
from appliance.catalogue.moved import gone as gone_from
from appliance.catalogue.store import of_source
from appliance.clock import from_epoch, utc_now
from appliance.db import snapshots
from appliance.disk import actions, listing, paths
from appliance.disk.access import Held
from appliance.errors import CatalogueMissing, DiskError, NotFound, SnapshotMissing
from appliance.model import Snapshot, SnapshotId, SourceId
from appliance.packed import pack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.units import NS_PER_S
from appliance.web.api.upload import doer_of
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, needs
from appliance.web.pages.files import disposition
from appliance.web.pages.past_lines import DeletedLine, Doors, deleted_lines
from appliance.web.pages.paths import Crumb, crumbs, readable
from appliance.web.render import Page, render
from appliance.web.share_file import SANDBOX
from appliance.web.share_past import PastThing, in_night, of_night, places, seen_by

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.DISK_USE)])

ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class PastRow:
    """One line of a folder as it was."""

    name: str
    packed: str
    kind: str
    size: int
    modified_at: datetime
    is_gone: bool  # not there any more
    look: str
    opened: str
    download: str


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
    can_add: bool


@dataclass(frozen=True, slots=True)
class DeletedPage(Page):
    """What any night shows in a folder and is not there now."""

    template: ClassVar[str] = "disk/deleted.html"
    share: str
    label: str
    packed: str
    crumbs: list[Crumb]
    lines: list[DeletedLine]
    total: int
    can_add: bool


def doors_of(share: str) -> Doors:
    """Return where files of a share's past are looked at and opened."""
    return Doors(f"/preview/{share}/at/{{s}}", f"/disk/{share}/version?s={{s}}&p={{p}}")


@router.get("/disk/{share}/deleted", name="disk_deleted")
async def show_deleted(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, p: str = ""
) -> Response:
    """Show what any night has in a folder and is not there now: deleted, renamed or moved.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    held, path = await seen_by(box, visitor, share, p)
    found = await aside(_deleted, box, held, path)
    page = DeletedPage(
        share=share,
        label=held.share.label,
        packed=p,
        crumbs=crumbs(path),
        lines=_lines(box, held, found[:ROWS]),
        total=len(found),
        can_add=held.may(Right.ADD),
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
    nights, past = await night_of(box, visitor, share, s, p)
    held, path, night = past.held, past.path, past.night
    rows, total = await aside(rows_of, box, past)
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
        can_add=held.may(Right.ADD),
    )
    return render(request, page)


@router.get("/disk/{share}/past.zip", name="disk_past_zip")
async def send_folder(
    box: TheBox, visitor: TheVisitor, share: str, s: SnapshotId, p: str = ""
) -> Response:
    """Send a folder as it was in a night, as one zip of known length.

    Raises:
        NotFound, NotAllowed, InvalidInput, WorkerUnreachable.
    """
    past = await of_night(box, visitor, share, s, p)
    night, path = past.night, past.path
    plan, blocks = await aside(zip_of_snapshot, box.settings, night.source_id, s, [past.stored])
    now = utc_now()
    await box.write(
        lambda c: actions.record(
            c, "file.zipped", past.held.share, path, doer_of(visitor), now,
            files=plan.files, snapshot=int(s),
        )
    )  # fmt: skip
    day = f"{night.started_at.astimezone(box.zone):%Y-%m-%d}"
    name = f"{readable(paths.parent(path)[1])} {day}.zip"
    return StreamingResponse(
        iterate_in_threadpool(blocks),
        media_type="application/zip",
        headers={
            "content-length": str(plan.length),
            "content-disposition": disposition(name),
            "content-security-policy": SANDBOX,
            "cache-control": "private, no-store",
        },
    )


async def night_of(
    box: Box, visitor: Visitor, share: str, number: int, p: str
) -> tuple[list[Snapshot], PastThing]:
    """Return the nights of a share one sees, newest first, and a path in one of them; 0 is the newest.

    Raises:
        NotFound: also when it is not backed up. NotAllowed, InvalidInput.
    """
    held, path = await seen_by(box, visitor, share, p)
    if held.share.source_id is None:
        raise NotFound("snapshot", "–")
    with box.database.read() as connection:
        nights = snapshots.of_source(connection, held.share.source_id)
        night = next((each for each in nights if number in {0, each.id}), None)
        if night is None:
            raise NotFound("snapshot", str(number))
        return nights, in_night(connection, held, night, path)


def gone_of(box: Box, held: Held, path: bytes) -> list[DeletedLine]:
    """Return what any night shows in a folder of a share and is not there now, folders first, then by name."""
    return _lines(box, held, _deleted(box, held, path))


def _lines(box: Box, held: Held, found: Sequence[tuple[Deleted, bytes]]) -> list[DeletedLine]:
    share = held.share.name
    return deleted_lines(
        found,
        box_times(box, held.share.source_id),
        doors_of(share),
        folders=f"/disk/{share}/past?s={{s}}&p={{p}}",
        versions=f"/disk/{share}/versions?p={{p}}",
    )


def box_times(box: Box, source_id: SourceId | None) -> dict[SnapshotId, datetime]:
    """Return when each snapshot of a source was taken."""
    if source_id is None:
        return {}
    with box.database.read() as connection:
        return {each.id: each.started_at for each in snapshots.of_source(connection, source_id)}


def rows_of(box: Box, past: PastThing) -> tuple[list[PastRow], int]:
    """Return what a folder held in a night, and of how much.

    Raises:
        NotFound: the night is not known any more.
    """
    held, night, path = past.held, past.night, past.path
    catalogue = of_source(box.settings, night.source_id)
    try:
        found = query.folder(catalogue, night.id, past.stored, limit=None)
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
            *doors_of(held.share.name).of(night.id, pack_path(paths.join(path, each.name))),
        )
        for each in found.rows
        if path or each.name.lower() != paths.RESERVED
    ]
    return rows, found.total


def _deleted(box: Box, held: Held, path: bytes) -> list[tuple[Deleted, bytes]]:
    if held.share.source_id is None:
        return []
    try:
        now = {each.name for each in listing.read(held.share.folder, path).entries}
    except DiskError:
        now = set()  # the folder itself is gone
    with box.database.read() as connection:
        known = places(connection, held, path)
    try:
        catalogue = of_source(box.settings, held.share.source_id)
    except (NotFound, CatalogueMissing):
        return []
    return [
        (each, paths.join(path, each.name))
        for each in gone_from(catalogue, known, present=now)
        if path or each.name.lower() != paths.RESERVED
    ]
