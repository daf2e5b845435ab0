"""The bytes of files out of snapshots: one with ranges, many as a zip of known length.

What a patient's file contains is foreign: nothing of it may run in our pages' name. A few kinds are
shown, in a sandbox; everything else is a download.
"""

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import anyio
from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import Response, StreamingResponse

from appliance.catalogue.archive_zip import zip_of_snapshot
from appliance.catalogue.reader_client import AsyncOpenFile, open_file_async
from appliance.clock import utc_now
from appliance.db import restore_sheets, snapshots, sources
from appliance.errors import InvalidInput
from appliance.ledger import events
from appliance.model import Outcome, PersonId, RestoreSheet, Snapshot, SnapshotId, Source
from appliance.packed import pack_path
from appliance.policy.roles import Action
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, needs
from appliance.web.pages.browse import token_of
from appliance.web.pages.paths import readable, unpacked
from appliance.web.share_file import SANDBOX

router = APIRouter(include_in_schema=False)

#: Kinds that a browser shows without running anything of them.
SHOWN: Final = {
    "pdf": "application/pdf",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "txt": "text/plain; charset=utf-8",
    "csv": "text/plain; charset=utf-8",
    "log": "text/plain; charset=utf-8",
    "md": "text/plain; charset=utf-8",
    "hl7": "text/plain; charset=utf-8",
    "ini": "text/plain; charset=utf-8",
    "json": "text/plain; charset=utf-8",
    "xml": "text/plain; charset=utf-8",
}
#: Browsers refuse to open their own PDF viewer in a sandboxed document; a PDF runs nothing in ours.
FOR_PDF: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
#: The same person opening the same file again within this is one opening.
AGAIN_S: Final = 600.0
OPENINGS_KNOWN: Final = 10_000
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


class Openings:
    """Who opened what in the last minutes: a viewer that asks for twenty ranges opened one file.

    Any range counts, wherever it begins; a process that starts anew writes once more.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[PersonId, str], float] = {}

    def is_known(self, person_id: PersonId, etag: str) -> bool:
        """Return whether this opening was written down a short while ago."""
        at = self._known.get((person_id, etag))
        return at is not None and time.monotonic() - at < AGAIN_S

    def is_new(self, person_id: PersonId, etag: str) -> bool:
        """Return whether this opening is to be written down, and remember it."""
        if self.is_known(person_id, etag):
            return False
        if len(self._known) >= OPENINGS_KNOWN:
            self._known.clear()
        self._known[person_id, etag] = time.monotonic()
        return True


@router.api_route(
    "/snapshots/{snapshot_id}/file",
    methods=["GET", "HEAD"],
    name="file",
    dependencies=[needs(Action.FILE_OPEN)],
)
async def send_file(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    snapshot_id: SnapshotId,
    p: str = "",
    download: int = 0,
) -> Response:
    """Send a file of a snapshot, or the part a Range header asks for.

    Raises:
        NotFound: the snapshot has no such file.
        WorkerUnreachable: nobody is there to open snapshots.
    """
    path = unpacked(p)
    with box.database.read() as connection:
        snapshot = snapshots.get(connection, snapshot_id)
        sources.get(connection, snapshot.source_id)
    etag = f'"{token_of(path, snapshot_id)}"'
    wanted = _wanted_range(request, etag)
    opened: AsyncOpenFile | None = None
    if wanted is not None:
        first, last = wanted
        if first is None:  # «the last n bytes»: the size must be known first
            size = (await _open(box, snapshot, path, 0, 0)).size
            first, last = max(0, size - (last or 0)), None
        length = None if last is None else last - first + 1
        try:
            opened = await _open(box, snapshot, path, first, length)
        except InvalidInput:
            return await _unsatisfiable(box, snapshot, path)
        if opened.length == 0:
            opened.close()
            return await _unsatisfiable(box, snapshot, path)
    if opened is None:
        opened = await _open(box, snapshot, path, 0, None)
    if request.method == "GET":
        openings: Openings = request.app.state.openings
        if openings.is_new(visitor.person.id, etag):
            await _record_opening(box, visitor.person.id, snapshot, path)
    if download and opened.length == opened.size and request.method == "GET":
        # A file taken home is a restore like any other: it leaves a sheet.
        sheet = _Sheet(box, visitor.person.name, snapshot, [p], 1, opened.size)
        headers = _headers(path, etag, download=True) | {"content-length": str(opened.length)}
        return StreamingResponse(_with_sheet(_stream(opened), sheet), 200, headers)
    headers = _headers(path, etag, download=bool(download))
    headers["content-length"] = str(opened.length)
    status = 200
    if wanted is not None:
        status = 206
        last_byte = opened.offset + opened.length - 1
        headers["content-range"] = f"bytes {opened.offset}-{last_byte}/{opened.size}"
    if request.method == "HEAD":
        opened.close()
        return Response(status_code=status, headers=headers)
    return StreamingResponse(_stream(opened), status, headers)


async def _open(
    box: Box, snapshot: Snapshot, path: bytes, offset: int, length: int | None
) -> AsyncOpenFile:
    opened = await open_file_async(
        box.settings, snapshot.source_id, snapshot.id, path, offset, length
    )
    if length == 0:
        opened.close()
    return opened


async def _unsatisfiable(box: Box, snapshot: Snapshot, path: bytes) -> Response:
    size = (await _open(box, snapshot, path, 0, 0)).size
    return Response(status_code=416, headers={"content-range": f"bytes */{size}"})


async def _stream(opened: AsyncOpenFile) -> AsyncIterator[bytes]:
    try:
        async for block in opened.blocks:
            yield block
    finally:
        opened.close()  # the browser went away: the worker stops reading too


def _wanted_range(request: Request, etag: str) -> tuple[int | None, int | None] | None:
    """Return (first, last) of a single range; (None, n) for the last n bytes; None for the whole.

    Several ranges, nonsense and a changed file get the whole, as RFC 9110 14.2 allows.
    """
    condition = request.headers.get("if-range")
    if condition is not None and condition != etag:
        return None
    found = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if found is None or not any(found.groups()):
        return None
    first, last = (int(text) if text else None for text in found.groups())
    if first is not None and last is not None and last < first:
        return None
    return first, last


def _headers(path: bytes, etag: str, *, download: bool) -> dict[str, str]:
    name = readable(path.rpartition(b"/")[2])
    kind = SHOWN.get(name.rpartition(".")[2].lower()) if "." in name else None
    shows = kind is not None and not download
    return {
        "accept-ranges": "bytes",
        "etag": etag,
        "content-type": (kind if shows and kind else "application/octet-stream"),
        "content-disposition": disposition(name, inline=shows),
        "content-security-policy": FOR_PDF if shows and kind == "application/pdf" else SANDBOX,
        "cache-control": "private, no-store",
    }


def disposition(name: str, *, inline: bool = False) -> str:
    """Return a Content-Disposition for any name. Source: RFC 6266, RFC 8187."""
    plain = "".join(
        each if each.isascii() and each.isprintable() and each not in '"\\/' else "_"
        for each in name
    )
    how = "inline" if inline else "attachment"
    return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def _record_opening(box: Box, person_id: PersonId, snapshot: Snapshot, path: bytes) -> None:
    now = utc_now()

    def change(connection: Connection) -> None:
        events.record(
            connection,
            at=now,
            event="file.open",
            subject=f"snapshot:{snapshot.id}",
            person_id=person_id,
            file=token_of(path, snapshot.id),
        )

    await box.write(change)


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What the restore sheet of a download will say."""

    box: Box
    person: str
    snapshot: Snapshot
    packed: list[str]
    files: int
    bytes: int

    async def leave(self, outcome: Outcome) -> None:
        """Write the sheet.

        Every block was checked against its id when it was read, so «proven» is said once the last
        one went out; of a download that was cut, nothing is known.
        """
        now = utc_now()

        def change(connection: Connection) -> None:
            number = restore_sheets.add(
                connection,
                RestoreSheet(
                    id=0,
                    job_id=None,
                    source_id=self.snapshot.source_id,
                    snapshot_id=self.snapshot.id,
                    operator=self.person,
                    requested_by=self.person,
                    files=self.files,
                    bytes=self.bytes,
                    snapshot_at=self.snapshot.started_at,
                    restored_at=now,
                    destination="browser",
                    check=outcome,
                    figures={},
                ),
                paths=self.packed,
            )
            events.record(
                connection,
                at=now,
                event="files.restored",
                subject=f"snapshot:{self.snapshot.id}",
                actor="web",
                sheet=number,
                files=self.files,
                bytes=self.bytes,
                outcome=outcome.value,
            )

        await self.box.write(change)


async def _with_sheet(blocks: AsyncIterator[bytes], sheet: _Sheet) -> AsyncIterator[bytes]:
    outcome = Outcome.INCONCLUSIVE
    try:
        async for block in blocks:
            yield block
        outcome = Outcome.PROVEN
    finally:
        with anyio.CancelScope(shield=True):  # a browser that goes away leaves a sheet too
            await sheet.leave(outcome)


async def send_zip(
    box: Box, visitor: Visitor, source: Source, snapshot: Snapshot, paths: list[bytes]
) -> Response:
    """Send files and folders of a snapshot as one zip whose length the browser knows.

    Raises:
        NotFound: one of them is not in the snapshot.
        InvalidInput: they are too many for one zip.
    """
    plan, blocks = await aside(zip_of_snapshot, box.settings, source.id, snapshot.id, paths)
    name = f"{source.name}-{snapshot.started_at.astimezone(box.zone):%Y-%m-%d}.zip"
    sheet = _Sheet(
        box,
        visitor.person.name,
        snapshot,
        [pack_path(path) for path in paths],
        plan.files,
        plan.file_bytes,
    )
    headers = {
        "content-type": "application/zip",
        "content-length": str(plan.length),
        "content-disposition": disposition(name),
        "content-security-policy": SANDBOX,
        "cache-control": "private, no-store",
    }
    stream = _with_sheet(iterate_in_threadpool(blocks), sheet)
    return StreamingResponse(stream, 200, headers)
