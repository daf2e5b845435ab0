"""The sources: their list, and everything about one."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.clock import utc_now
from appliance.db import anomalies, repositories, snapshots, sources
from appliance.errors import AlreadyQueued, InvalidInput
from appliance.jobs import frozen, kinds, queue
from appliance.language import Language, mark
from appliance.ledger import events
from appliance.model import (
    Anomaly,
    Consistency,
    ReadEventKind,
    Repository,
    Snapshot,
    SnapshotId,
    Source,
    SourceId,
    SourceKind,
    System,
)
from appliance.policy.anomaly import ANOMALY_ACTION, anomaly_words
from appliance.policy.retention import FREEZE_TEXTS, sentence
from appliance.policy.roles import Action
from appliance.policy.status import Badge, source_sentence
from appliance.policy.timetable import next_window
from appliance.web.asking import ask
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs
from appliance.web.pages import tones
from appliance.web.pages.home import (
    BACK_UP_MENDS,
    RunningFragment,
    SourceLine,
    ToDo,
    line,
    pace_of,
    running_now,
)
from appliance.web.pages.job_view import JobView, view
from appliance.web.render import Page, refreshed, render

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]

SHOWN: Final = 14  # snapshots on the page; the rest is one click away
CHARTED: Final = 400

KIND_NAMES: Final[dict[SourceKind, str]] = {
    SourceKind.PULLED: mark("machine, read by the box"),
    SourceKind.PUSHED: mark("machine that sends by itself"),
    SourceKind.SHARE: mark("share of the box"),
    SourceKind.BOX: mark("what the box knows: accounts, settings, keys, journal"),
}
SYSTEM_NAMES: Final[dict[System, str]] = {
    System.LINUX: "Linux",
    System.MACOS: "macOS",
    System.WINDOWS: "Windows",
}
CONSISTENCY_NAMES: Final[dict[Consistency, str]] = {
    Consistency.DUMP: mark("database exported by its own program"),
    Consistency.VSS_WRITER: mark("shadow copy the application took part in"),
    Consistency.STOPPED: mark("application stopped meanwhile"),
    Consistency.VSS_SIMPLE: mark("shadow copy without the application"),
    Consistency.FILES: mark("plain files"),
    Consistency.UNKNOWN: mark("not known"),
}


@dataclass(frozen=True, slots=True)
class SourcesPage(Page):
    """Every source, with its calendar."""

    template: ClassVar[str] = "sources/list.html"
    lines: list[SourceLine]
    sizes: dict[int, int]  # source id → bytes of its repository


@dataclass(frozen=True, slots=True)
class Alarm:
    """An open anomaly in words."""

    anomaly: Anomaly
    text: str


@dataclass(frozen=True, slots=True)
class Point:
    """One snapshot on the charts."""

    at: datetime
    original_bytes: int
    new_bytes: int


@dataclass(frozen=True, slots=True)
class SnapshotLine:
    """One snapshot on the time line."""

    snapshot: Snapshot
    tone: str


@dataclass(frozen=True, slots=True)
class SourcePage(Page):
    """Everything sources/show.html may use."""

    template: ClassVar[str] = "sources/show.html"
    source: Source
    sentence: str
    line: SourceLine
    todo: list[ToDo]
    kind_name: str
    system_name: str
    consistency_name: str | None
    repository: Repository | None
    original_total: int  # bytes of every kept snapshot, as if each stood alone
    freeze_texts: list[str]  # why nothing may be removed just now
    alarms: list[Alarm]
    alarm_action: str
    badges: list[tuple[Badge, str]]  # with its tone
    lines: list[SnapshotLine]  # newest first, SHOWN at most
    snapshot_count: int
    points: list[Point]  # oldest first
    event_counts: list[tuple[str, int, str]]  # kind, how many, text; of the newest snapshot
    running: list[JobView]
    waiting: int
    poll_s: int
    recent: list[JobView]
    plan_sentence: str
    next_at: datetime | None
    done: str | None


@router.get("/sources", name="sources", dependencies=[needs(Action.SOURCES_SEE)])
async def list_sources(request: Request, box: TheBox) -> Response:
    """Show every source."""

    def gather(connection: Connection) -> SourcesPage:
        found = sources.all_living(connection)
        sizes = {one.id: repositories.find(connection, one.id) for one in found}
        return SourcesPage(
            [line(connection, box, one) for one in found],
            {number: each.size_bytes if each else 0 for number, each in sizes.items()},
        )

    return render(request, await box.read_aside(gather))


DONE: Final = {
    "queued": mark("It is on the list of tasks and begins as soon as the repository is free."),
    "waiting": mark("It is on the list of tasks already."),
    "plan": mark("The plan was changed."),
    "closed": mark("The alarm was closed; your reason is in the journal."),
    "confirmed": mark("The identity of the machine is confirmed."),
}


@router.get("/sources/{source_id}", name="source", dependencies=[needs(Action.SOURCES_SEE)])
async def show_source(
    request: Request,
    box: TheBox,
    source_id: SourceId,
    done: str = "",
    all: int = 0,  # noqa: A002
) -> Response:
    """Show everything about a source."""
    page = await box.read_aside(
        lambda connection: source_page(
            connection,
            box,
            language_of(request),
            source_id,
            DONE.get(done),
            None if all else SHOWN,
        )
    )
    return render(request, page)


def source_page(
    connection: Connection,
    box: Box,
    language: Language,
    source_id: SourceId,
    done: str | None = None,
    shown: int | None = SHOWN,
) -> SourcePage:
    """Return everything about a source, with its newest ``shown`` snapshots (None: every one).

    Raises:
        NotFound: there is no such source.
    """
    now = utc_now()
    source = sources.get(connection, source_id)
    found = snapshots.of_source(connection, source_id)
    known = {source.id: source}
    jobs = queue.newest(connection, limit=8, source_id=source_id)
    line_ = line(connection, box, source)
    running, waiting = running_now(connection, source_id)
    window = next_window(source.plan, now, box.zone)
    return SourcePage(
        source=source,
        sentence=source_sentence(line_.status, language),
        line=line_,
        todo=[
            ToDo(one, tones.SEVERITY[one.severity], one.code in BACK_UP_MENDS)
            for one in line_.status.reasons
        ],
        kind_name=KIND_NAMES[source.kind],
        system_name=SYSTEM_NAMES[source.system],
        consistency_name=CONSISTENCY_NAMES[found[0].consistency] if found else None,
        repository=repositories.find(connection, source_id),
        original_total=sum(one.original_bytes for one in found),
        freeze_texts=[FREEZE_TEXTS[one] for one in frozen.reasons(connection, source, now=now)]
        if found
        else [],
        alarms=[
            Alarm(one, anomaly_words(one.kind, one.reading, language))
            for one in anomalies.open_ones(connection, source_id)
        ],
        alarm_action=ANOMALY_ACTION,
        badges=[(one, tones.OUTCOME[one.outcome]) for one in line_.status.badges],
        lines=[
            SnapshotLine(one, tones.WARN if one.warnings else tones.GOOD) for one in found[:shown]
        ],
        snapshot_count=len(found),
        points=[
            Point(one.started_at, one.original_bytes, one.new_bytes)
            for one in reversed(found[:CHARTED])
        ],
        event_counts=event_counts(connection, found[0].id) if found else [],
        running=running,
        waiting=waiting,
        poll_s=pace_of(running, waiting),
        recent=[view(job, known, now) for job in jobs],
        plan_sentence=sentence(source.plan.keep, language),
        next_at=window.start if window else None,
        done=done,
    )


@router.get(
    "/live/sources/{source_id}", name="live-source", dependencies=[needs(Action.SOURCES_SEE)]
)
async def poll_source(
    request: Request, box: TheBox, source_id: SourceId, pace: int = 0
) -> Response:
    """Return what runs for a source; when work begins or ends, the page is loaded anew."""
    with box.database.read() as connection:
        running, waiting = running_now(connection, source_id)
    if pace and pace != pace_of(running, waiting):
        return refreshed()
    return render(request, RunningFragment(running, waiting))


def event_counts(connection: Connection, snapshot_id: SnapshotId) -> list[tuple[str, int, str]]:
    """Return how often each kind of thing was met while a snapshot was taken."""
    counted = Counter(one.kind for one in snapshots.events(connection, snapshot_id, limit=10_000))
    return [
        (kind.value, counted[kind], tones.EVENT_NAMES.get(kind, kind.value))
        for kind in ReadEventKind
        if counted[kind]
    ]


# --- things to do ----------------------------------------------------------------------------


async def _enqueue(
    box: Box, spec: kinds.Spec, visitor: Visitor, event: str, source_id: SourceId
) -> str:
    """Queue ``spec`` and write who asked; return the word for the page that follows."""

    def change(connection: Connection) -> str:
        sources.get(connection, source_id)
        try:
            ask(connection, spec, event, f"source:{source_id}", visitor)
        except AlreadyQueued:
            return "waiting"
        return "queued"

    return await box.write(change)


def _back(source_id: SourceId, done: str) -> Response:
    return RedirectResponse(f"/sources/{source_id}?done={done}", 303)


@router.post(
    "/sources/{source_id}/back-up", name="back-up", dependencies=[needs(Action.BACKUP_START)]
)
async def back_up(box: TheBox, visitor: TheVisitor, source_id: SourceId) -> Response:
    """Queue a backup now and go back to the source."""
    with box.database.read() as connection:
        source = sources.get(connection, source_id)
    spec = backup_spec(source)
    done = await _enqueue(box, spec, visitor, "backup.ask", source_id)
    return _back(source_id, done)


def backup_spec(source: Source) -> kinds.Spec:
    """Return the job that backs a source up, or reads what it sent."""
    if source.kind is SourceKind.PUSHED:
        return kinds.ImportPushed(source.id)
    return kinds.TakeSnapshot(source.id)


@router.post(
    "/sources/{source_id}/verify", name="verify", dependencies=[needs(Action.BACKUP_START)]
)
async def verify(
    box: TheBox, visitor: TheVisitor, source_id: SourceId, full: Text = ""
) -> Response:
    """Queue the proof of the newest snapshot, or the re-reading of every byte."""
    with box.database.read() as connection:
        spec = proof_spec(connection, source_id, full=bool(full))
    done = await _enqueue(box, spec, visitor, "verification.ask", source_id)
    return _back(source_id, done)


def proof_spec(connection: Connection, source_id: SourceId, *, full: bool) -> kinds.Spec:
    """Return the job that proves the newest snapshot, or with ``full`` re-reads every byte."""
    newest = snapshots.newest(connection, source_id)
    if full or newest is None:
        return kinds.CheckRepository(source_id, full=full)
    return kinds.VerifySnapshot(source_id, newest.id)


@router.post(
    "/sources/{source_id}/anomalies/{anomaly_id}/close",
    name="close-anomaly",
    dependencies=[needs(Action.ANOMALY_CLOSE)],
)
async def close_anomaly(
    box: TheBox, visitor: TheVisitor, source_id: SourceId, anomaly_id: int, reason: Text = ""
) -> Response:
    """Close an alarm with a reason; the last one closed lets pruning run again.

    Raises:
        InvalidInput: no reason was given.
        NotFound: it is not open, or not of this source.
    """
    await box.write(lambda c: close_alarm(c, source_id, anomaly_id, reason, visitor))
    return _back(source_id, "closed")


def close_alarm(
    connection: Connection, source_id: SourceId, anomaly_id: int, reason: str, visitor: Visitor
) -> None:
    """Close an alarm inside the caller's write; the last one closed lets pruning run again.

    Raises:
        InvalidInput: no reason was given, or it is of another source.
        NotFound: it is not open.
    """
    now = utc_now()
    said = " ".join(reason.split())
    if not 10 <= len(said) <= 500:
        raise InvalidInput("reason", mark("Write in a sentence why (10 characters at least)."))
    source = sources.get(connection, source_id)
    closed = anomalies.close(
        connection, anomaly_id, person_id=visitor.person.id, reason=said, now=now
    )
    if closed.source_id != source_id:
        raise InvalidInput("anomaly", mark("This alarm is of another source."))
    events.record(
        connection,
        at=now,
        event="anomaly.close",
        subject=f"source:{source_id}",
        person_id=visitor.person.id,
        anomaly=anomaly_id,
        kind=closed.kind,
        reason=said,
    )
    frozen.settle(connection, source, now=now)
