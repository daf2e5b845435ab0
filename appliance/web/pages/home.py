"""The home page: one sentence of truth, what needs doing, the last nights."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.clock import utc_now
from appliance.db import sources, targets
from appliance.disk import access
from appliance.jobs import queue, readings
from appliance.jobs.box_readings import box_findings
from appliance.jobs.copy_readings import CopyStatus, copies_indicator, copy_statuses
from appliance.model import JobState, Source, SourceId
from appliance.policy.copy_status import COPY_LEVEL_NAMES
from appliance.policy.findings import Finding, Severity
from appliance.policy.nights import NIGHT_TEXTS, NightCell, NightState, calendar, night_of
from appliance.policy.roles import Action
from appliance.policy.status import (
    LEVEL_NAMES,
    SourceStatus,
    has_practice,
    home_level,
    home_sentence,
    needs_doing,
    source_status,
)
from appliance.web.deps import Box, TheBox, TheVisitor
from appliance.web.pages import tones
from appliance.web.pages.copies_view import (
    RuleLine,
    copy_name,
    level_tone,
    overall_sentence,
    overall_tone,
    rule_lines,
    where_words,
)
from appliance.web.pages.job_view import JobView, view
from appliance.web.render import Page, Words, refreshed, render, words_of

router = APIRouter(include_in_schema=False)

NIGHTS: Final = 30
#: Findings that a backup now would mend.
BACK_UP_MENDS: Final = frozenset(
    {"status.late", "status.overdue", "status.never", "status.run-failed"}
)
#: The states of the calendar's legend, in the order it is read.
LEGEND: Final = (
    NightState.PROVEN,
    NightState.WARNED,
    NightState.UNPROVEN,
    NightState.FAILED,
    NightState.MISSED,
    NightState.NONE,
)


#: How grave a tone is; one that is not there says nothing about the data.
_GRAVITY: Final = {tones.GOOD: 0, tones.WARN: 1, tones.BAD: 2}


@dataclass(frozen=True, slots=True)
class Cell:
    """One square of the calendar, and where it leads."""

    cell: NightCell
    tone: str
    text: str
    snapshot_id: int | None


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One source on the home page."""

    source: Source
    status: SourceStatus
    tone: str
    level_name: str
    cells: list[Cell]  # oldest first

    @property
    def proven_nights(self) -> int:
        """How many of the nights shown are green."""
        return sum(one.cell.state is NightState.PROVEN for one in self.cells)


@dataclass(frozen=True, slots=True)
class ToDo:
    """One thing that needs doing."""

    finding: Finding
    tone: str
    back_up_mends: bool
    copy_name: str | None = None  # of the copy it is about


@dataclass(frozen=True, slots=True)
class CopyBadge:
    """One copy on the home page."""

    label: str
    name: str
    tone: str
    level_name: str
    lag: timedelta | None  # age of the newest state there
    where: str


@dataclass(frozen=True, slots=True)
class CopiesBlock:
    """The copies besides this box: one sentence, 3-2-1, each copy with its tone."""

    sentence: str
    tone: str
    rule: list[RuleLine]
    badges: list[CopyBadge]


@dataclass(frozen=True, slots=True)
class HomePage(Page):
    """Everything home.html may use."""

    template: ClassVar[str] = "home.html"
    is_empty_role: bool
    sentence: str
    tone: str
    todo: list[ToDo]
    lines: list[SourceLine]
    legend: list[tuple[str, str]]  # tone, text
    running: list[JobView]
    waiting: int
    poll_s: int
    copies: CopiesBlock | None = None  # None: this person's role is not told, or no copy exists


@dataclass(frozen=True, slots=True)
class RunningFragment(Page):
    """What runs just now: a part of the home page, polled."""

    template: ClassVar[str] = "_partials/running.html"
    running: list[JobView]
    waiting: int


@router.get("/", name="home")
async def begin(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Show what this person works on: the disk when a share is open to them, else whether the data are safe."""
    if visitor.may(Action.DISK_USE):
        with box.database.read() as connection:
            has_share = bool(access.held(connection, visitor.person, now=utc_now()))
        if has_share or not visitor.may(Action.STATUS_SEE):
            return RedirectResponse("/disk", 303)
    return await show_home(request, box, visitor)


@router.get("/status", name="status")
async def show_home(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Show whether the practice's data are safe."""
    if not visitor.may(Action.STATUS_SEE):
        page = HomePage(True, "", tones.CALM, [], [], [], [], 0, 60)
        return render(request, page)
    words = words_of(request)
    page = await box.read_aside(lambda connection: gather(connection, box, words))
    return render(request, page)


@router.get("/live/home", name="live-home")
async def show_running(
    request: Request, box: TheBox, visitor: TheVisitor, pace: int = 0
) -> Response:
    """Return what runs just now; when work begins or ends, the whole page is asked for anew."""
    if not visitor.may(Action.STATUS_SEE):
        return Response(status_code=204)
    with box.database.read() as connection:
        running, waiting = running_now(connection)
    poll_s = pace_of(running, waiting)
    if pace and pace != poll_s:
        return refreshed()
    return render(request, RunningFragment(running, waiting))


def gather(connection: Connection, box: Box, words: Words) -> HomePage:
    """Return the home page's values."""
    language = words.language
    lines = [line(connection, box, source) for source in sources.all_living(connection)]
    statuses = [one.status for one in lines]
    now = utc_now()
    statuses_elsewhere = copy_statuses(connection, box.settings, now)
    findings = needs_doing(
        statuses, box_findings(connection, box.settings, now, known=statuses_elsewhere)
    )
    running, waiting = running_now(connection)
    sentence = home_sentence(statuses, language)
    is_begun = has_practice(statuses)
    tone = tones.LEVEL[home_level(statuses)] if is_begun else tones.CALM
    if tone == tones.GOOD and any(one.severity is not Severity.NOTICE for one in findings):
        tone = tones.WARN  # the past is proven, but the next night is not sure
    block = copies_block(connection, box, statuses_elsewhere, words)
    if block is not None and _GRAVITY[block.tone] > _GRAVITY.get(tone, len(_GRAVITY)):
        tone = block.tone  # one truth: the backups are good, but their copies are not
    names = {int(one.target.id): one.target.name for one in statuses_elsewhere}
    return HomePage(
        is_empty_role=False,
        sentence=sentence,
        tone=tone,
        todo=[
            ToDo(
                one,
                tones.SEVERITY[one.severity],
                one.code in BACK_UP_MENDS,
                copy_name(one.facts.get("target"), names),
            )
            for one in findings
        ],
        lines=lines if is_begun else [],
        legend=[(tones.NIGHT[state], NIGHT_TEXTS[state]) for state in LEGEND],
        running=running,
        waiting=waiting,
        poll_s=pace_of(running, waiting),
        copies=block,
    )


def copies_block(
    connection: Connection, box: Box, statuses: list[CopyStatus], words: Words
) -> CopiesBlock | None:
    """Return what the home page says about the copies; None while there is none."""
    if not statuses:
        return None
    rule = copies_indicator(connection, box.settings, words.now, statuses)
    return CopiesBlock(
        overall_sentence(statuses, words),
        overall_tone(statuses),
        rule_lines(rule, words),
        [
            CopyBadge(
                one.target.label,
                one.target.name,
                level_tone(one),
                COPY_LEVEL_NAMES[one.level],
                one.lag,
                where_words(one.target, words),
            )
            for one in statuses
        ],
    )


def line(connection: Connection, box: Box, source: Source, *, nights: int = NIGHTS) -> SourceLine:
    """Return one source with its calendar."""
    now = utc_now()
    status = source_status(readings.of_source(connection, source), now, box.zone)
    runs, proofs = readings.nights(connection, source, since=now - timedelta(days=nights + 2))
    cells = calendar(
        runs,
        proofs,
        source.plan,
        now=now,
        tz=box.zone,
        known_since=source.created_at,
        nights=nights,
    )
    shown = {
        night_of(source.plan, run.started_at, box.zone): run.snapshot_id
        for run in sorted(runs, key=lambda run: run.started_at)
        if run.snapshot_id is not None
    }
    return SourceLine(
        source,
        status,
        tones.LEVEL[status.level],
        LEVEL_NAMES[status.level],
        [
            Cell(cell, tones.NIGHT[cell.state], NIGHT_TEXTS[cell.state], shown.get(cell.night))
            for cell in cells
        ],
    )


def sources_by_id(connection: Connection) -> dict[SourceId, Source]:
    """Return the living sources by id."""
    return {source.id: source for source in sources.all_living(connection)}


def copies_by_id(connection: Connection) -> dict[int, tuple[str, str]]:
    """Return name and label of the living targets by id."""
    return {int(each.id): (each.name, each.label) for each in targets.all_living(connection)}


def running_now(
    connection: Connection, source_id: SourceId | None = None
) -> tuple[list[JobView], int]:
    """Return what runs, and how many tasks wait for their turn; of one source when given."""
    now = utc_now()
    jobs = [
        job for job in queue.waiting(connection) if source_id is None or job.source_id == source_id
    ]
    known = sources_by_id(connection) if jobs else {}
    names = copies_by_id(connection) if jobs else {}
    running = [view(job, known, now, names) for job in jobs if job.state is JobState.RUNNING]
    due = [job for job in jobs if job.state is JobState.QUEUED and job.not_before <= now]
    return running, len(due)


def pace_of(running: Sequence[JobView], waiting: int) -> int:
    """Return seconds between two looks of an open page."""
    return 1 if running or waiting else 15
