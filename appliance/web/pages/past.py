"""The folders of a share as they were: of one night, and what any night shows that is not there now."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from appliance.catalogue import query
from appliance.catalogue.deleted import Deleted, deleted
from appliance.catalogue.store import of_source
from appliance.clock import from_epoch
from appliance.db import snapshots
from appliance.disk import listing, paths
from appliance.disk.access import Held
from appliance.errors import CatalogueMissing, DiskError, NotFound, SnapshotMissing
from appliance.model import Snapshot, SnapshotId, SourceId
from appliance.packed import pack_path, unpack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.units import NS_PER_S
from appliance.web.api.upload import held_by
from appliance.web.deps import Box, TheBox, TheVisitor, aside, needs
from appliance.web.pages.past_lines import DeletedLine, Doors, deleted_lines
from appliance.web.pages.paths import Crumb, crumbs, readable
from appliance.web.render import Page, render

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


def stored_path(held: Held, path: bytes) -> bytes:
    """Return where the catalogue of a share's source has ``path``: below its folder, without the first «/»."""
    root = bytes(held.share.folder).lstrip(b"/")
    return paths.join(root, path) if path else root


@router.get("/disk/{share}/deleted", name="disk_deleted")
async def show_deleted(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, p: str = ""
) -> Response:
    """Show what any night has in a folder and is not there now: deleted, renamed or moved.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    path = unpack_path(p)
    paths.split(path)
    found = await aside(_deleted, box, held, path)
    page = DeletedPage(
        share=share,
        label=held.share.label,
        packed=p,
        crumbs=crumbs(path),
        lines=deleted_lines(
            found[:ROWS],
            box_times(box, held.share.source_id),
            doors_of(share),
            folders=f"/disk/{share}/past?s={{s}}&p={{p}}",
            versions=f"/disk/{share}/versions?p={{p}}",
        ),
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


def box_times(box: Box, source_id: SourceId | None) -> dict[SnapshotId, datetime]:
    """Return when each snapshot of a source was taken."""
    if source_id is None:
        return {}
    with box.database.read() as connection:
        return {each.id: each.started_at for each in snapshots.of_source(connection, source_id)}


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
    try:
        catalogue = of_source(box.settings, held.share.source_id)
    except (NotFound, CatalogueMissing):
        return []
    return [
        (each, paths.join(path, each.name))
        for each in deleted(catalogue, stored_path(held, path), present=now)
        if path or each.name.lower() != paths.RESERVED
    ]
