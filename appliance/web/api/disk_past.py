"""What was, brought back: a file of a night at once, a folder as a task that anybody who sees the share may follow.

The nights themselves are those of the share's source; what is gone from a folder is told beside it (``disk_details``).
"""

from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter

from appliance.model import JobId, SnapshotId
from appliance.packed import pack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web.api.v1 import JobBody, job_body
from appliance.web.deps import TheBox, TheVisitor, aside, needs
from appliance.web.pages.past_restore import BackPage, ask_folder, stop_folder, tell_folder
from appliance.web.pages.versions import restore_file
from appliance.web.share_past import of_night

router = APIRouter(prefix="/api/v1/disk", tags=["disk"], dependencies=[needs(Action.DISK_USE)])


@dataclass(frozen=True, slots=True)
class PastFileBody:
    """A file of a night."""

    snapshot_id: int
    path: str  # base64, below the share
    how: Literal["beside", "place"] = "beside"  # place: what is there now goes to the bin


@dataclass(frozen=True, slots=True)
class MadeBody:
    """Where it is now."""

    path: str  # base64, below the share


@dataclass(frozen=True, slots=True)
class PastFolderBody:
    """A folder of a night."""

    snapshot_id: int
    path: str  # base64, below the share


@dataclass(frozen=True, slots=True)
class BackBody:
    """A folder that comes back, or has."""

    job: JobBody  # of several attempts the newest
    path: str | None  # base64; null: it is not there yet
    may_stop: bool


@router.post("/{share}/version", name="api-disk-restore-file", status_code=201)
async def restore_version(
    box: TheBox, visitor: TheVisitor, share: str, wanted: PastFileBody
) -> MadeBody:
    """Write a file back as it was in a night.

    Raises:
        NotFound, NotAllowed, InvalidInput, ShareFull, WorkerUnreachable, FileMissing.
    """
    past = await of_night(box, visitor, share, SnapshotId(wanted.snapshot_id), wanted.path)
    past.held.demand(Right.ADD)
    return MadeBody(pack_path(await aside(restore_file, box, visitor, past, wanted.how)))


@router.post("/{share}/past", name="api-disk-restore-folder", status_code=202)
async def restore_folder(
    box: TheBox, visitor: TheVisitor, share: str, wanted: PastFolderBody
) -> BackBody:
    """Queue the writing back of a folder; of one that waits already, that task is told.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    past = await of_night(box, visitor, share, SnapshotId(wanted.snapshot_id), wanted.path)
    job_id = await ask_folder(box, visitor, past)
    return _body(await tell_folder(box, visitor, share, job_id))


@router.get("/{share}/past/{job_id}", name="api-disk-restoring")
async def tell_restore(box: TheBox, visitor: TheVisitor, share: str, job_id: JobId) -> BackBody:
    """Return how far a folder is that comes back, and where it is.

    Raises:
        NotFound, NotAllowed.
    """
    return _body(await tell_folder(box, visitor, share, job_id))


@router.post("/{share}/past/{job_id}/stop", name="api-disk-restore-stop")
async def stop_restore(box: TheBox, visitor: TheVisitor, share: str, job_id: JobId) -> BackBody:
    """Stop it; nothing of the folder is seen then.

    Raises:
        NotFound.
        NotAllowed: somebody else asked for it, or it has ended.
    """
    await stop_folder(box, visitor, share, job_id)
    return _body(await tell_folder(box, visitor, share, job_id))


def _body(page: BackPage) -> BackBody:
    return BackBody(job_body(page.job.job), page.made, page.may_stop)
