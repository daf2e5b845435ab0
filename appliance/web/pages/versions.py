"""The past of a file or folder of a share: its versions in the snapshots, and who touched it.

The right to see the file now is the right to see its past; a share that is not backed up has none. A version is
opened through the worker's socket like any file of a snapshot, and restored into a part that takes its name in
one step: beside the present file, or in its place, which then goes to the bin.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response, StreamingResponse

from appliance.accounts import people
from appliance.catalogue import moved
from appliance.catalogue.reader_client import open_file, open_file_async
from appliance.catalogue.rows import Version
from appliance.catalogue.store import of_source
from appliance.clock import utc_now
from appliance.disk import actions, listing, paths, uploads
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.errors import CatalogueMissing, DiskError, NotFound
from appliance.language import mark
from appliance.ledger import questions
from appliance.model import SnapshotId
from appliance.packed import pack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web.api.upload import doer_of
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, needs
from appliance.web.pages.files import SHOWN, disposition
from appliance.web.pages.past import box_times, doors_of
from appliance.web.pages.past_lines import (
    Touch,
    VersionLine,
    VersionsPage,
    version_lines,
    who_did,
)
from appliance.web.pages.paths import readable
from appliance.web.pages.preview_things import PresentFile
from appliance.web.render import render
from appliance.web.share_file import SANDBOX
from appliance.web.share_past import PastThing, of_night, places, seen_by

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.DISK_USE)])

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
    "folder.restored": mark("brought it back as it was"),
}


@router.get("/disk/{share}/versions", name="disk_versions")
async def show_versions(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, p: str = ""
) -> Response:
    """Show every version of a file, and who touched it; a folder is shown as it was.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    held, path = await seen_by(box, visitor, share, p)
    entry = await aside(entry_now, held, path)
    if not path or (entry is not None and entry.kind == "folder"):
        return RedirectResponse(f"/disk/{share}/past?p={p}", 303)
    versions = await aside(lambda: versions_of(box, held, path, is_there=entry is not None))
    touches = await box.read_aside(lambda c: _touches(c, held, path))
    if entry is None and not versions and not touches:
        raise NotFound("file", readable(path))
    page = VersionsPage(
        name=readable(paths.parent(path)[1]),
        where="",
        packed=p,
        trail=PresentFile(held, path).trail(),
        is_there=entry is not None,
        present=f"/disk/{share}/file?p={p}" if entry is not None else None,
        versions=versions,
        touches=touches,
        may_open=True,
        restore=f"/disk/{share}/version" if held.may(Right.ADD) else "",
        is_share=True,
        can_replace=held.may(Right.ADD) and held.may(Right.CHANGE),
        is_backed_up=held.share.source_id is not None,
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
    past = await of_night(box, visitor, share, s, p)
    opened = await open_file_async(box.settings, past.night.source_id, s, past.stored)
    now = utc_now()
    await box.write(
        lambda c: actions.record(
            c,
            "file.version-opened",
            past.held.share,
            past.path,
            doer_of(visitor),
            now,
            snapshot=int(s),
        )
    )
    name = readable(paths.parent(past.path)[1])
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
    past = await of_night(box, visitor, share, s, p)
    past.held.demand(Right.ADD)
    made = await aside(restore_file, box, visitor, past, how)
    return RedirectResponse(f"/disk/{share}?p={pack_path(paths.parent(made)[0])}", 303)


def entry_now(held: Held, path: bytes) -> listing.Entry | None:
    """Return what is there now, or None."""
    try:
        return listing.entry(held.share.folder, path)
    except DiskError:
        return None


def versions_of(box: Box, held: Held, path: bytes, *, is_there: bool) -> list[VersionLine]:
    """Return the versions of a file of a share in its nights, newest first; the first is the present one's if it is there."""
    lines = version_lines(
        _history(box, held, path),
        box_times(box, held.share.source_id),
        doors_of(held.share.name),
        pack_path(path),
        newest_is_there=is_there,
    )
    return [each for each in lines if each.is_file]


def _history(box: Box, held: Held, path: bytes) -> list[Version]:
    if held.share.source_id is None:
        return []
    with box.database.read() as connection:
        known = places(connection, held, path)
    try:
        return moved.history(of_source(box.settings, held.share.source_id), known)
    except (NotFound, CatalogueMissing):
        return []


def restore_file(box: Box, visitor: Visitor, past: PastThing, how: str) -> bytes:
    """Write a file back as it was in a night and return where: ``how`` is «place», or beside. Blocks.

    Raises:
        NotAllowed, NotFound, ShareFull, WorkerUnreachable, FileMissing.
    """
    held, path = past.held, past.path
    doer, now = doer_of(visitor), utc_now()
    folder, name = paths.parent(path)
    in_place = how == "place"
    if in_place and entry_now(held, path) is not None:
        held.demand(Right.CHANGE)
    bins.make_folders(held.share.folder, folder)
    target = path if in_place else paths.join(folder, _free_name(held, folder, name))
    with open_file(box.settings, past.night.source_id, past.night.id, past.stored) as opened:
        uploads.put(
            box.database,
            held,
            target,
            opened.length,
            opened.blocks,
            doer=doer,
            now=now,
            replaces=in_place and entry_now(held, path) is not None,
            mtime_ns=opened.mtime_ns,
        )
    with box.database.write() as connection:
        actions.record(
            connection, "file.restored", held.share, target, doer, now, snapshot=int(past.night.id)
        )
    return target


def _free_name(held: Held, folder: bytes, name: bytes) -> bytes:
    """Return ``name``, or the next one that nothing has in the folder now."""
    taken = {each.name for each in listing.read(held.share.folder, folder).entries}
    return next(each for each in bins.free_names(name) if each not in taken)


def _touches(connection: Connection, held: Held, path: bytes) -> list[Touch]:
    names = people.names(connection)
    found = questions.about_file(connection, held.share.id, path, limit=TOUCHES)
    return [
        Touch(each.at, who_did(each, names), TOUCHED.get(each.event, each.event)) for each in found
    ]
