"""What was on a share, as JSON: versions of a file, a folder of a night, what is gone; and its bytes.

The right to see the share now is the right to see its past. Bringing it back is ``disk_past``. Paths are base64url.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.model import Snapshot, SnapshotId
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web.api.hosts import BYTES
from appliance.web.deps import TheBox, TheVisitor, aside, needs
from appliance.web.pages.past import gone_of, night_of, rows_of, send_folder
from appliance.web.pages.versions import entry_now, send_version, versions_of
from appliance.web.share_past import seen_by

router = APIRouter(prefix="/api/v1/disk", tags=["disk"], dependencies=[needs(Action.DISK_USE)])

LISTED_AT_MOST: Final = 5_000
First = Annotated[int, Query(ge=0, le=1 << 40)]
ZIP: Final = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}


@dataclass(frozen=True, slots=True)
class FileVersionBody:
    """One version of a file, and the nights it is seen in."""

    snapshot_id: int  # the newest that shows it
    first_at: datetime | None
    last_at: datetime | None
    size: int
    modified_at: datetime
    is_present: bool  # the one that is there now


@dataclass(frozen=True, slots=True)
class FileVersionsBody:
    """The past of one file."""

    is_there: bool
    is_backed_up: bool
    may_restore: bool
    may_replace: bool
    versions: list[FileVersionBody]  # newest first


@dataclass(frozen=True, slots=True)
class NightBody:
    """A night of a share."""

    snapshot_id: int
    at: datetime


@dataclass(frozen=True, slots=True)
class PastRowBody:
    """One line of a folder as it was."""

    path: str
    name: str
    kind: str
    size: int
    modified_at: datetime
    is_gone: bool  # not there any more


@dataclass(frozen=True, slots=True)
class PastFolderBody:
    """A folder as it was in one night."""

    nights: list[NightBody]  # newest first
    night: NightBody
    total: int
    rows: list[PastRowBody]


@dataclass(frozen=True, slots=True)
class GoneBody:
    """Something that is not where it was any more."""

    path: str
    name: str
    kind: str
    size: int
    snapshot_id: int  # the newest night that shows it
    seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class GoneFromBody:
    """What any night shows in a folder and is not there now."""

    total: int
    rows: list[GoneBody]


@router.get("/{share}/versions", name="api-disk-versions")
async def list_versions(
    box: TheBox, visitor: TheVisitor, share: str, p: str = ""
) -> FileVersionsBody:
    """Return the versions of a file; of a folder, «past» tells.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    held, path = await seen_by(box, visitor, share, p)
    entry = await aside(entry_now, held, path)
    if not path or (entry is not None and entry.kind == "folder"):
        raise InvalidInput("path", mark("This is not a path of a share."))
    is_there = entry is not None
    found = await aside(lambda: versions_of(box, held, path, is_there=is_there))
    return FileVersionsBody(
        is_there,
        held.share.source_id is not None,
        held.may(Right.ADD),
        held.may(Right.ADD) and held.may(Right.CHANGE),
        [
            FileVersionBody(
                int(each.snapshot_id),
                each.first_at,
                each.last_at,
                each.size,
                each.modified_at,
                each.is_present,
            )
            for each in found
        ],
    )


@router.get(
    "/{share}/version",
    name="api-disk-version",
    response_class=Response,
    responses={200: {"content": BYTES}},
)
async def get_version(
    box: TheBox, visitor: TheVisitor, share: str, s: SnapshotId, p: str = ""
) -> Response:
    """Send a file as it was in the night ``s``.

    Raises:
        NotFound, NotAllowed, InvalidInput, WorkerUnreachable.
    """
    return await send_version(box, visitor, share, s, p, download=1)


@router.get("/{share}/past", name="api-disk-past")
async def show_past(
    box: TheBox, visitor: TheVisitor, share: str, p: str = "", s: int = 0, first: First = 0
) -> PastFolderBody:
    """Return a folder as it was in the night ``s``, 0: the newest; some thousand lines from ``first`` on.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    nights, past = await night_of(box, visitor, share, s, p)
    rows, total = await aside(rows_of, box, past)
    return PastFolderBody(
        [_night(each) for each in nights],
        _night(past.night),
        total,
        [
            PastRowBody(
                each.packed, each.name, each.kind, each.size, each.modified_at, each.is_gone
            )
            for each in rows[first : first + LISTED_AT_MOST]
        ],
    )


@router.get(
    "/{share}/past.zip",
    name="api-disk-past-zip",
    response_class=Response,
    responses={200: {"content": ZIP}},
)
async def get_folder(
    box: TheBox, visitor: TheVisitor, share: str, s: SnapshotId, p: str = ""
) -> Response:
    """Send a folder as it was in the night ``s``, as one zip of known length.

    Raises:
        NotFound, NotAllowed, InvalidInput, WorkerUnreachable.
    """
    return await send_folder(box, visitor, share, s, p)


@router.get("/{share}/deleted", name="api-disk-deleted")
async def list_deleted(
    box: TheBox, visitor: TheVisitor, share: str, p: str = "", first: First = 0
) -> GoneFromBody:
    """Return what any night shows in a folder and is not there now: deleted, renamed or moved.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    held, path = await seen_by(box, visitor, share, p)
    found = await aside(gone_of, box, held, path)
    return GoneFromBody(
        len(found),
        [
            GoneBody(
                each.packed,
                each.name,
                each.kind,
                each.size,
                int(each.snapshot_id),
                each.seen_at,
            )
            for each in found[first : first + LISTED_AT_MOST]
        ],
    )


def _night(one: Snapshot) -> NightBody:
    return NightBody(int(one.id), one.started_at)
