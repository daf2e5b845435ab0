"""The bytes of files of a share: one with ranges, several as a zip of known length."""

import os
from urllib.parse import quote

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import Response, StreamingResponse

from appliance.clock import utc_now
from appliance.disk import actions, cached_open, listing, paths
from appliance.disk.access import Held
from appliance.packed import unpack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web import share_zip
from appliance.web.api.disk import MOST_AT_ONCE
from appliance.web.api.upload import doer_of, held_by
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, box_of, needs, visitor_of
from appliance.web.pages.files import Openings
from appliance.web.pages.paths import readable
from appliance.web.share_file import ShareFile

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.DISK_USE)])


@router.api_route("/disk/{share}/file", methods=["GET", "HEAD"], name="disk_file")
async def send_file(request: Request, share: str, p: str = "") -> Response:
    """Send a file of a share, or the part a Range header asks for.

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing, NotAFolder, NotAFile.
    """
    box, visitor = box_of(request), visitor_of(request)
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    path = unpack_path(p)
    descriptor = cached_open.open_file(held.share.folder, path)
    if descriptor is None:
        descriptor = await aside(paths.open_file, held.share.folder, path)
    entry = listing.entry_of(paths.parent(path)[1], os.fstat(descriptor))
    openings: Openings = request.app.state.openings
    if request.method == "GET" and openings.is_new(visitor.person.id, f"{share}:{entry.etag}"):
        await _record_opening(box, visitor, held, path, entry)
    return ShareFile(descriptor, entry)


async def _record_opening(
    box: Box, visitor: Visitor, held: Held, path: bytes, entry: listing.Entry
) -> None:
    """Write into the ledger that somebody opened a file."""
    now = utc_now()
    await box.write(
        lambda c: actions.record(
            c, "file.opened", held.share, path, doer_of(visitor), now, bytes=entry.size
        )
    )


@router.post("/disk/{share}/zip", name="disk_zip")
async def send_zip(request: Request, box: TheBox, visitor: TheVisitor, share: str) -> Response:
    """Send files and folders as one zip of known length; ``p`` is given once for each.

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing.
    """
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    form = await request.form()
    wanted = [unpack_path(str(each)) for each in form.getlist("p")][:MOST_AT_ONCE]
    made, blocks = await aside(share_zip.plan, held.share.folder, wanted, box.zone)
    now = utc_now()

    def told(connection: Connection) -> None:
        for path in wanted:
            actions.record(
                connection,
                "file.zipped",
                held.share,
                path,
                doer_of(visitor),
                now,
                files=made.files,
            )

    await box.write(told)
    is_one = len(wanted) == 1 and wanted[0]
    name = readable(paths.parent(wanted[0])[1]) if is_one else held.share.label
    return StreamingResponse(
        iterate_in_threadpool(blocks),
        media_type="application/zip",
        headers={
            "content-length": str(made.length),
            "content-disposition": f"attachment; filename*=utf-8''{quote(name, safe='')}.zip",
        },
    )
