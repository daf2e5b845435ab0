"""A folder of a night comes back: the worker does it, this page says how far it is. It works without JavaScript.

Who sees the share sees that a folder of it comes back; who asked for it may stop it, and so may whoever stops tasks.
"""

import secrets
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.catalogue import query
from appliance.catalogue.store import of_source
from appliance.clock import utc_now
from appliance.db import snapshots
from appliance.disk import paths, restoring
from appliance.disk.access import Held
from appliance.errors import AlreadyQueued, NotAllowed, NotFound
from appliance.jobs import queue
from appliance.jobs.kinds import RestoreFolder
from appliance.model import EntryKind, Job, JobId, JobState, Snapshot, SnapshotId
from appliance.packed import pack_path, unpack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web.api.upload import held_by
from appliance.web.asking import ask
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, needs
from appliance.web.pages.job_view import JobView, view
from appliance.web.pages.jobs import FAST_S, SLOW_S, cancel
from appliance.web.pages.paths import readable
from appliance.web.render import Page, refreshed, render
from appliance.web.share_past import PastThing, of_night

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.DISK_USE)])

#: Attempts of one restore that are looked through; a kind has three.
_ATTEMPTS: Final = 50


@dataclass(frozen=True, slots=True)
class BackPage(Page):
    """A folder that comes back, or has."""

    template: ClassVar[str] = "disk/restoring.html"
    share: str
    label: str
    name: str
    night: Snapshot
    job: JobView
    made: str | None  # packed path of the folder that is back
    beside: str  # its name, when it is another one than it had
    above: str  # packed path of the folder it comes into
    may_stop: bool
    poll_s: int | None  # None: it has ended


@dataclass(frozen=True, slots=True)
class BackFragment(Page):
    """The part that changes by itself."""

    template: ClassVar[str] = "disk/_restoring.html"
    share: str
    job: JobView
    made: str | None
    beside: str
    above: str
    may_stop: bool


@router.post("/disk/{share}/past", name="disk_restore_folder")
async def restore_folder(
    box: TheBox,
    visitor: TheVisitor,
    share: str,
    s: Annotated[SnapshotId, Form()],
    p: Annotated[str, Form()],
) -> Response:
    """Have a folder written back as it was in a night, where it was or beside what is there now; show how far it is.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    job = await ask_folder(box, visitor, await of_night(box, visitor, share, s, p))
    return RedirectResponse(f"/disk/{share}/past/{job}", 303)


async def ask_folder(box: Box, visitor: Visitor, past: PastThing) -> JobId:
    """Queue the restore of a folder and return its job; of one that waits already, that one.

    Raises:
        NotAllowed: nothing may be added to the share.
        NotFound: it is no folder of that night.
    """
    past.held.demand(Right.ADD)
    share, night = past.held.share, past.night
    found = await aside(
        lambda: query.entry(of_source(box.settings, night.source_id), night.id, past.stored)
    )
    if found.kind is not EntryKind.FOLDER:
        raise NotFound("folder", readable(past.path))
    spec = RestoreFolder(
        source_id=night.source_id,
        snapshot_id=night.id,
        share_id=share.id,
        path=pack_path(past.path),
        stored=pack_path(past.stored),
        draft=secrets.token_hex(16),
    )

    def change(connection: Connection) -> JobId:
        return ask(
            connection, spec, "restore.ask", f"share:{share.id}", visitor,
            path=spec.path, snapshot=int(night.id),
        )  # fmt: skip

    try:
        return await box.write(change)
    except AlreadyQueued as waiting:
        return JobId(waiting.job_id)


@router.get("/disk/{share}/past/{job_id}", name="disk_restoring")
async def show_restore(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, job_id: JobId
) -> Response:
    """Show how far a folder is that comes back; of one that was tried again, the newest attempt.

    Raises:
        NotFound, NotAllowed.
    """
    return render(request, await tell_folder(box, visitor, share, job_id))


@router.get("/live/disk/{share}/past/{job_id}", name="live-disk-restoring")
async def poll_restore(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, job_id: JobId, pace: int = 0
) -> Response:
    """Return how far it is now; once it has ended, the page is loaded anew and polls no more.

    Raises:
        NotFound, NotAllowed.
    """
    page = await tell_folder(box, visitor, share, job_id)
    if pace and pace != page.poll_s:
        return refreshed()
    return render(
        request,
        BackFragment(page.share, page.job, page.made, page.beside, page.above, page.may_stop),
    )


@router.post("/disk/{share}/past/{job_id}/stop", name="disk_restore_stop")
async def stop_restore(box: TheBox, visitor: TheVisitor, share: str, job_id: JobId) -> Response:
    """Stop it: nothing of the folder is seen then.

    Raises:
        NotFound.
        NotAllowed: somebody else asked for it, or it has ended.
    """
    await stop_folder(box, visitor, share, job_id)
    return RedirectResponse(f"/disk/{share}/past/{job_id}", 303)


async def stop_folder(box: Box, visitor: Visitor, share: str, job_id: JobId) -> None:
    """Ask a folder's restore to stop.

    Raises:
        NotFound.
        NotAllowed: somebody else asked for it, or it has ended.
    """
    page = await tell_folder(box, visitor, share, job_id)
    if not page.may_stop:
        raise NotAllowed(Action.JOBS_CANCEL.value)
    await cancel(box, visitor, page.job.job.id)


async def tell_folder(box: Box, visitor: Visitor, share: str, job_id: JobId) -> BackPage:
    """Return how far a folder is that comes back; of several attempts, the newest.

    Raises:
        NotFound: there is no such task, or it is of another share.
        NotAllowed: this person does not see the share.
    """
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    return await box.read_aside(lambda connection: _read(connection, held, visitor, job_id))


def _read(connection: Connection, held: Held, visitor: Visitor, job_id: JobId) -> BackPage:
    job = _newest(connection, queue.get(connection, job_id))
    if job.kind != RestoreFolder.kind or job.spec.get("share_id") != held.share.id:
        raise NotFound("job", str(job_id))
    path = unpack_path(str(job.spec["path"]))
    made = restoring.made_of(connection, held.share, str(job.spec["draft"]))
    above, name = paths.parent(path if made is None else made)
    had = paths.parent(path)[1]
    is_over = job.state in queue.ENDED
    is_theirs = job.person_id == visitor.person.id or visitor.may(Action.JOBS_CANCEL)
    return BackPage(
        share=held.share.name,
        label=held.share.label,
        name=readable(had),
        night=snapshots.get(connection, SnapshotId(int(str(job.spec["snapshot_id"])))),
        job=view(job, {}, utc_now()),
        made=None if made is None else pack_path(made),
        beside=readable(name) if name != had else "",
        above=pack_path(above),
        may_stop=is_theirs and not is_over and job.cancel_asked_at is None,
        poll_s=None if is_over else FAST_S if job.state is JobState.RUNNING else SLOW_S // 3,
    )


def _newest(connection: Connection, job: Job) -> Job:
    """Return the newest attempt at the same restore: one whose process died goes on under another number."""
    draft = job.spec.get("draft")
    for each in queue.newest(
        connection, limit=_ATTEMPTS, source_id=job.source_id, kind=RestoreFolder.kind
    ):
        if each.spec.get("draft") == draft:
            return each
    return job
