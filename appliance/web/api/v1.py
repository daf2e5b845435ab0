"""JSON under /api/v1: the same things as the pages, for programs that hold a session.

Times are ISO 8601 in UTC, sizes are bytes, paths are base64 as everywhere outside the catalogue
(a name need not be UTF-8); ``name`` beside it is for people.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response

from appliance.catalogue import query
from appliance.catalogue.names import find_names
from appliance.catalogue.query import Order
from appliance.catalogue.store import of_source
from appliance.clock import from_epoch, utc_now
from appliance.db import snapshots, sources, workers
from appliance.disk import access
from appliance.jobs import queue, readings
from appliance.ledger import chain
from appliance.ledger.questions import without_names
from appliance.model import Job, JobId, JobState, Snapshot, SnapshotId, Source, SourceId
from appliance.packed import pack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.policy.status import SourceStatus, home_level, home_sentence, source_status
from appliance.units import NS_PER_S
from appliance.web.deps import TheBox, TheVisitor, aside, language_of, needs
from appliance.web.pages.jobs import cancel
from appliance.web.pages.paths import readable, unpacked

router = APIRouter(prefix="/api/v1", tags=["v1"])

LISTED: Final = 200
LISTED_AT_MOST: Final = 50_000
#: What every reader of JSON tells apart from the number beside it.
LARGEST_OFFSET: Final = (1 << 53) - 1


@dataclass(frozen=True, slots=True)
class BadgeBody:
    """The newest proof of one kind."""

    kind: str
    outcome: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SourceBody:
    """A source and the truth about it."""

    id: int
    name: str
    label: str
    kind: str
    system: str
    level: str  # proven · warned · unknown · late · overdue · failed · frozen
    is_green: bool
    backed_up_at: datetime | None
    proven_at: datetime | None
    unread: int
    proofs: list[BadgeBody]


@dataclass(frozen=True, slots=True)
class StatusBody:
    """The sentence of the home page and where it comes from."""

    sentence: str
    level: str
    worker_alive: bool
    sources: list[SourceBody]


@dataclass(frozen=True, slots=True)
class SnapshotBody:
    """One snapshot."""

    id: int
    source_id: int
    started_at: datetime
    finished_at: datetime
    state: str
    consistency: str
    files: int
    original_bytes: int
    new_bytes: int
    changed: int
    warnings: int
    protected: bool
    legal_hold: bool


@dataclass(frozen=True, slots=True)
class VersionBody:
    """One version of a file, and the snapshots that show it."""

    size: int
    modified_at: datetime
    first_snapshot_id: int
    last_snapshot_id: int
    is_present: bool


@dataclass(frozen=True, slots=True)
class HitBody:
    """A file that was found."""

    source_id: int
    snapshot_id: int  # the newest that shows it
    path: str
    name: str
    kind: str
    size: int
    modified_at: datetime
    versions: int
    is_present: bool


@dataclass(frozen=True, slots=True)
class SearchBody:
    """What was found, newest first."""

    hits: list[HitBody]
    is_more: bool


@dataclass(frozen=True, slots=True)
class JobBody:
    """One task."""

    id: int
    kind: str
    state: str
    source_id: int | None
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    step: str
    done: int
    total: int | None
    unit: str
    files: int
    bytes_per_s: float
    error_code: str | None
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EntryBody:
    """One entry of the journal."""

    seq: int
    at: datetime
    event: str
    actor: str
    subject: str
    body: dict[str, Any]
    previous: str
    digest: str


@dataclass(frozen=True, slots=True)
class StateBody:
    """The state of a task after it was asked to stop."""

    id: int
    state: str


@router.get("/status", name="api-status", dependencies=[needs(Action.STATUS_SEE)])
async def status(request: Request, box: TheBox) -> StatusBody:
    """Return whether the practice's data are safe, and why."""
    language = language_of(request)

    def gather(connection: Connection) -> StatusBody:
        now = utc_now()
        known = sources.all_living(connection)
        found = [source_status(readings.of_source(connection, one), now, box.zone) for one in known]
        return StatusBody(
            home_sentence(found, language),
            home_level(found).value,
            bool(workers.alive(connection, now=now)),
            [source_body(one, said) for one, said in zip(known, found, strict=True)],
        )

    return await box.read_aside(gather)


@router.get("/sources", name="api-sources", dependencies=[needs(Action.SOURCES_SEE)])
async def list_sources(box: TheBox) -> list[SourceBody]:
    """Return every source, by label."""

    def gather(connection: Connection) -> list[SourceBody]:
        now = utc_now()
        return [
            source_body(one, source_status(readings.of_source(connection, one), now, box.zone))
            for one in sources.all_living(connection)
        ]

    return await box.read_aside(gather)


@router.get(
    "/sources/{source_id}/snapshots",
    name="api-snapshots",
    dependencies=[needs(Action.SOURCES_SEE)],
)
async def list_snapshots(box: TheBox, source_id: SourceId) -> list[SnapshotBody]:
    """Return the snapshots of a source, newest first."""
    with box.database.read() as connection:
        sources.get(connection, source_id)
        return [snapshot_body(one) for one in snapshots.of_source(connection, source_id)]


@router.get(
    "/snapshots/{snapshot_id}/folder",
    name="api-folder",
    dependencies=[needs(Action.SNAPSHOT_BROWSE)],
    responses={200: {"content": {"application/json": {}}}},
)
async def list_folder(
    box: TheBox,
    snapshot_id: SnapshotId,
    p: str = "",
    order: str = Order.NAME.value,
    offset: Annotated[int, Query(le=LARGEST_OFFSET)] = 0,
    limit: int = LISTED,
) -> Response:
    """Return a folder in columns: ``total``, and lists ``name``, ``path``, ``kind``, ``size``, ``mtime``.

    Columns, because the names of the fields of 20,000 rows would be most of the answer.
    """
    path = unpacked(p)
    with box.database.read() as connection:
        snapshot = snapshots.get(connection, snapshot_id)
        sources.get(connection, snapshot.source_id)
    chosen = Order(order) if order in set(Order) else Order.NAME

    def look() -> bytes:
        found = query.folder(
            of_source(box.settings, snapshot.source_id),
            snapshot_id,
            path,
            offset=max(0, offset),
            limit=min(max(1, limit), LISTED_AT_MOST),
            order=chosen,
        )
        rows = found.rows
        return orjson.dumps(
            {
                "total": found.total,
                "offset": found.offset,
                "name": [readable(one.name) for one in rows],
                "path": [pack_path(one.path) for one in rows],
                "kind": [one.kind.value for one in rows],
                "size": [one.size for one in rows],
                "mtime": [one.mtime_ns // NS_PER_S for one in rows],
            }
        )

    return Response(await aside(look), media_type="application/json")


@router.get(
    "/sources/{source_id}/history",
    name="api-history",
    dependencies=[needs(Action.SNAPSHOT_BROWSE)],
)
async def history(box: TheBox, source_id: SourceId, p: str = "") -> list[VersionBody]:
    """Return every version of a file, newest first."""
    path = unpacked(p)
    with box.database.read() as connection:
        sources.get(connection, source_id)
    found = await aside(lambda: query.history(of_source(box.settings, source_id), path))
    return [
        VersionBody(
            one.entry.size,
            from_epoch(one.entry.mtime_ns / NS_PER_S),
            one.first,
            one.last,
            one.is_present,
        )
        for one in found
    ]


@router.get("/search", name="api-search", dependencies=[needs(Action.SNAPSHOT_BROWSE)])
async def search(
    box: TheBox, q: str = "", source: int | None = None, limit: int = 50
) -> SearchBody:
    """Return the files whose names have all the words, over every source or one."""
    with box.database.read() as connection:
        known = [one.id for one in sources.with_files(connection)]
    wanted = [one for one in known if source is None or one == source]
    found = await aside(
        lambda: find_names(
            box.settings.catalogues, q, sources=wanted, limit=min(max(1, limit), 500)
        )
    )
    return SearchBody(
        [
            HitBody(
                hit.source_id,
                hit.last,
                pack_path(hit.path),
                readable(hit.path.rpartition(b"/")[2]),
                hit.kind.value,
                hit.size,
                from_epoch(hit.mtime_ns / NS_PER_S),
                hit.versions,
                hit.is_present,
            )
            for hit in found.hits
        ],
        found.is_more,
    )


@router.get("/jobs", name="api-jobs", dependencies=[needs(Action.JOBS_SEE)])
async def list_jobs(
    box: TheBox,
    limit: int = 50,
    before: int | None = None,
    state: str = "",
    kind: str = "",
    source: int | None = None,
) -> list[JobBody]:
    """Return tasks, newest first; ``state``, ``kind`` and ``source`` keep only those of it."""
    states = [JobState(state)] if state in set(JobState) else []
    with box.database.read() as connection:
        found = queue.newest(
            connection,
            limit=min(max(1, limit), 500),
            before_id=before,
            states=states,
            kind=kind or None,
            source_id=None if source is None else SourceId(source),
        )
    return [job_body(one) for one in found]


@router.get("/jobs/{job_id}", name="api-job", dependencies=[needs(Action.JOBS_SEE)])
async def show_job(box: TheBox, job_id: JobId) -> JobBody:
    """Return one task."""
    with box.database.read() as connection:
        return job_body(queue.get(connection, job_id))


@router.post(
    "/jobs/{job_id}/cancel", name="api-job-cancel", dependencies=[needs(Action.JOBS_CANCEL)]
)
async def cancel_job(box: TheBox, visitor: TheVisitor, job_id: JobId) -> StateBody:
    """Ask a task to stop."""
    state = await cancel(box, visitor, job_id)
    return StateBody(job_id, state.value)


@router.get("/ledger", name="api-ledger", dependencies=[needs(Action.LEDGER_SEE)])
async def list_ledger(
    box: TheBox,
    visitor: TheVisitor,
    limit: int = 100,
    before: int | None = None,
    event: str = "",
    subject: str = "",
) -> list[EntryBody]:
    """Return entries of the journal, newest first; names of documents only to who sees their share."""

    def gather(connection: Connection) -> list[EntryBody]:
        held = access.held(connection, visitor.person, now=utc_now())
        seen = {int(each.share.id) for each in held if each.may(Right.SEE)}
        found = chain.newest(
            connection,
            limit=min(max(1, limit), 1000),
            before_seq=before,
            event=event or None,
            subject=subject or None,
        )
        return [
            EntryBody(
                one.seq,
                one.at,
                one.event,
                one.actor,
                one.subject,
                without_names(one, seen),
                one.previous,
                one.digest,
            )
            for one in found
        ]

    return await box.read_aside(gather)


def source_body(source: Source, said: SourceStatus) -> SourceBody:
    """Return a source as the API shows it."""
    return SourceBody(
        source.id,
        source.name,
        source.label,
        source.kind.value,
        source.system.value,
        said.level.value,
        said.is_green,
        said.backed_up_at,
        said.proven_at,
        said.unread,
        [BadgeBody(one.kind.value, one.outcome.value, one.at) for one in said.badges],
    )


def snapshot_body(one: Snapshot) -> SnapshotBody:
    """Return a snapshot as the API shows it."""
    return SnapshotBody(
        one.id,
        one.source_id,
        one.started_at,
        one.finished_at,
        one.state.value,
        one.consistency.value,
        one.files_seen,
        one.original_bytes,
        one.new_bytes,
        one.changed,
        one.warnings,
        one.protected,
        one.legal_hold,
    )


def job_body(job: Job) -> JobBody:
    """Return a task as the API shows it."""
    return JobBody(
        job.id,
        job.kind,
        job.state.value,
        job.source_id,
        job.queued_at,
        job.started_at,
        job.finished_at,
        job.progress.step,
        job.progress.done,
        job.progress.total,
        job.progress.unit,
        job.progress.files,
        job.progress.bytes_per_s,
        job.error_code,
        dict(job.result),
    )
