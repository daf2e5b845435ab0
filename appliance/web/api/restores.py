"""Restores as JSON: asking for one, downloading, the sheets of those that were done.

A restore is a task: how far it is and what came of it is at ``/jobs/{id}``, where it is stopped too;
``/jobs?kind=files.restore`` lists them. Every one that ended leaves a sheet.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.responses import Response

from appliance.db import restore_sheets
from appliance.jobs import queue
from appliance.model import Job, RestoreSheet, SnapshotId
from appliance.policy.roles import Action
from appliance.web.api.v1 import JobBody, job_body
from appliance.web.deps import TheBox, TheVisitor, needs
from appliance.web.pages.files import send_zip
from appliance.web.pages.home import sources_by_id
from appliance.web.pages.paths import shown, unpacked
from appliance.web.pages.restores import ask_restore, checked, restore_spec, whose_files

router = APIRouter(prefix="/api/v1", tags=["restores"])


@dataclass(frozen=True, slots=True)
class PickedBody:
    """Files and folders of a snapshot."""

    paths: tuple[str, ...]  # base64, as everywhere


@dataclass(frozen=True, slots=True)
class RestoreBody:
    """A restore to be done."""

    paths: tuple[str, ...]  # base64, as everywhere
    to: str  # folder: of the box · share · machine-beside · machine-original
    share_id: int | None = None  # the share's number as a source, with «share»
    beside: str = ""  # the folder on the machine, with «machine-beside»
    replace: bool = False  # files that are there may be replaced, with «machine-original»
    requested_by: str = ""  # who wants them back; empty: who asks


@dataclass(frozen=True, slots=True)
class PathBody:
    """One file or folder that was asked for."""

    path: str  # base64
    name: str  # the whole path, for people


@dataclass(frozen=True, slots=True)
class SheetBody:
    """The record of a restore that ended."""

    id: int
    job_id: int | None  # null: downloaded in a browser
    source_id: int
    snapshot_id: int
    snapshot_at: datetime
    restored_at: datetime
    operator: str
    requested_by: str
    files: int
    bytes: int
    destination: str  # browser · share · machine · folder
    check: str  # proven · failed · inconclusive
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class WholeSheetBody:
    """A record, and what was asked for."""

    sheet: SheetBody
    paths: list[PathBody]


@router.post(
    "/snapshots/{snapshot_id}/restore",
    name="api-restore",
    status_code=202,
    dependencies=[needs(Action.FILE_RESTORE)],
)
async def restore(
    box: TheBox, visitor: TheVisitor, snapshot_id: SnapshotId, wanted: RestoreBody
) -> JobBody:
    """Queue a restore; nothing that is there is replaced unless that is asked for. 409 when it waits already.

    Raises:
        NotFound, InvalidInput, AlreadyQueued, NotAllowed: it writes on a machine.
    """
    packed = checked(list(wanted.paths))
    source, snapshot = whose_files(box, snapshot_id)
    spec = restore_spec(
        box,
        source,
        snapshot,
        packed,
        f"share:{wanted.share_id}" if wanted.to == "share" else wanted.to,
        wanted.beside,
        wanted.requested_by.strip() or visitor.person.name,
        replace=wanted.replace,
    )

    def change(connection: Connection) -> Job:
        return queue.get(connection, ask_restore(connection, spec, visitor))

    return job_body(await box.write(change))


@router.post(
    "/snapshots/{snapshot_id}/zip",
    name="api-snapshot-zip",
    dependencies=[needs(Action.FILE_OPEN)],
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}},
)
async def download(
    box: TheBox, visitor: TheVisitor, snapshot_id: SnapshotId, wanted: PickedBody
) -> Response:
    """Send files and folders of a snapshot as one zip; it leaves a sheet like any restore.

    Raises:
        NotFound, InvalidInput, WorkerUnreachable.
    """
    packed = checked(list(wanted.paths))
    source, snapshot = whose_files(box, snapshot_id)
    return await send_zip(box, visitor, source, snapshot, [unpacked(one) for one in packed])


@router.get("/restores", name="api-restores", dependencies=[needs(Action.FILE_RESTORE)])
async def list_restores(box: TheBox) -> list[SheetBody]:
    """Return the sheets of the last hundred restores, newest first."""
    return await box.read_aside(lambda c: [_sheet(one) for one in restore_sheets.newest(c)])


@router.get("/restores/{sheet_id}", name="api-sheet", dependencies=[needs(Action.FILE_RESTORE)])
async def show_sheet(box: TheBox, sheet_id: int) -> WholeSheetBody:
    """Return one sheet with what was asked for.

    Raises:
        NotFound.
    """

    def gather(connection: Connection) -> WholeSheetBody:
        sheet, packed = restore_sheets.get(connection, sheet_id)
        source = sources_by_id(connection).get(sheet.source_id)
        return WholeSheetBody(
            _sheet(sheet), [PathBody(one, shown(unpacked(one), source)) for one in packed]
        )

    return await box.read_aside(gather)


def _sheet(sheet: RestoreSheet) -> SheetBody:
    return SheetBody(
        sheet.id,
        sheet.job_id,
        sheet.source_id,
        sheet.snapshot_id,
        sheet.snapshot_at,
        sheet.restored_at,
        sheet.operator,
        sheet.requested_by,
        sheet.files,
        sheet.bytes,
        sheet.destination,
        sheet.check.value,
        dict(sheet.figures),
    )
