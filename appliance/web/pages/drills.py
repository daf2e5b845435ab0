"""Drills: what earlier ones measured, beginning one with the words of the sheets, and its sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.clock import utc_now
from appliance.db import facts, targets
from appliance.db.schema import person
from appliance.db.targets import TargetId, TargetRow
from appliance.errors import AlreadyQueued, NotFound, SheetOfAnotherKit
from appliance.jobs import drill_asking, drill_readings, kit_words, queue
from appliance.jobs.drill_readings import PastDrill
from appliance.jobs.kinds import RunDrill
from appliance.language import Language, explain, mark
from appliance.model import Job, JobId, JobState, Outcome, PersonId
from appliance.policy import drill_sheet, drills
from appliance.policy.drill_sheet import Section
from appliance.policy.roles import Action
from appliance.vault import words
from appliance.vault.secret import Secret
from appliance.web.deps import Box, TheBox, TheVisitor, aside, language_of, needs
from appliance.web.pages import tones
from appliance.web.pages.job_view import JobView, view
from appliance.web.pages.kit_fields import SheetFields, blamed, empty_fields, judge, read_form
from appliance.web.render import Page, refreshed, render

router = APIRouter(include_in_schema=False)

#: Drills in the chart.
CHARTED: Final = 12
#: Seconds between two looks of an open page while a drill runs.
POLL_S: Final = 1
#: Thousandths of the chart's width: a bar that cannot be seen says nothing.
THINNEST: Final = 6
WIDTH: Final = 1000

TONES: Final[dict[Outcome, str]] = {
    Outcome.PROVEN: tones.GOOD,
    Outcome.INCONCLUSIVE: tones.WARN,
    Outcome.FAILED: tones.BAD,
}
#: Jobs that ended without a verdict are shown as well: a cut line is an answer, too.
_WITHOUT: Final = (JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Line:
    """One drill in the list and in the chart."""

    past: PastDrill
    tone: str
    verdict: str  # English, translatable
    first: str  # «8,4 s»
    all: str
    first_width: int  # thousandths of the chart
    all_width: int


@dataclass(frozen=True, slots=True)
class DrillsPage(Page):
    """Every drill, the newest first."""

    template: ClassVar[str] = "drills/list.html"
    tone: str
    sentence: str  # in the reader's language
    due: datetime | None
    is_due: bool
    lines: list[Line]
    chart: list[Line]  # those with times, newest first
    longest: str
    running: JobView | None
    last_without: JobView | None  # ended later than the newest verdict, without one
    may_begin: bool


@dataclass(frozen=True, slots=True)
class RunningFragment(Page):
    """How far the drill is."""

    template: ClassVar[str] = "drills/_running.html"
    running: JobView


@dataclass(frozen=True, slots=True)
class NewDrillPage(Page):
    """Where a drill is asked for."""

    template: ClassVar[str] = "drills/new.html"
    places: list[TargetRow]
    chosen: int
    typed: list[SheetFields]
    known_words: list[str]
    has_kit: bool
    last_took: str  # of the last one; ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DrillSheetPage(Page):
    """The sheet of one drill, to be printed (domain.md SAV-15)."""

    template: ClassVar[str] = "drills/sheet.html"
    past: PastDrill
    tone: str
    verdict: str
    sentence: str
    sections: Sequence[Section]
    repositories: list[tuple[str, int, str, str]]  # label, bytes, time, check
    operator: str
    practice: str


@router.get("/drills", name="drills", dependencies=[needs(Action.COPIES_SEE)])
async def list_drills(request: Request, box: TheBox) -> Response:
    """Show what drills measured, when the next is due, and the one that runs."""
    language = language_of(request)
    return render(request, await box.read_aside(lambda c: list_of(c, language)))


@router.get("/live/drills", name="live-drills", dependencies=[needs(Action.COPIES_SEE)])
async def poll_drill(request: Request, box: TheBox, job: int = 0) -> Response:
    """Return how far the drill is; once it has ended the page is loaded anew."""

    def look(connection: Connection) -> JobView | None:
        found = drill_readings.active(connection)
        return None if found is None or found.id != job else view(found, {}, utc_now())

    found = await box.read_aside(look)
    return refreshed() if found is None else render(request, RunningFragment(found))


@router.get("/drills/new", name="drill-new", dependencies=[needs(Action.DRILL_RUN)])
async def ask_drill(request: Request, box: TheBox, target: int = 0) -> Response:
    """Show where the words are typed."""
    language = language_of(request)
    return render(request, await box.read_aside(lambda c: _new(c, language, target)))


@router.post("/drills", name="drill-begin", dependencies=[needs(Action.DRILL_RUN)])
async def begin_drill(
    request: Request, box: TheBox, visitor: TheVisitor, target: Annotated[int, Form()] = 0
) -> Response:
    """Look at the words, seal what they stand for, and queue the drill.

    Raises:
        NotFound: there is no such target, or no kit was made.
    """
    language = language_of(request)
    with box.database.read() as connection:
        sheets = _needed(connection)
    secret, typed = await aside(judge, await read_form(request, sheets), language)
    problem = ""
    if secret is not None:
        try:
            await aside(begin, box, TargetId(target), secret, visitor.person.id)
        except SheetOfAnotherKit as error:
            typed = blamed(typed, error.sheet, explain(error, language))
        except AlreadyQueued as error:
            problem = explain(error, language)
        else:
            return RedirectResponse("/drills", 303)
    page = await box.read_aside(lambda c: _new(c, language, target, typed=typed, problem=problem))
    return render(request, page, 409 if problem else 422)


@router.get("/drills/{seq}", name="drill-sheet", dependencies=[needs(Action.COPIES_SEE)])
async def show_sheet(request: Request, box: TheBox, seq: int) -> Response:
    """Show the sheet of a drill, ready to be printed.

    Raises:
        NotFound: no drill left this proof.
    """
    language = language_of(request)
    return render(request, await box.read_aside(lambda c: sheet_of(c, box, seq, language)))


def begin(box: Box, target_id: TargetId, secret: Secret, person_id: PersonId) -> JobId:
    """Seal what the words gave and queue a drill; as ``drill_asking.ask``. Blocks."""
    return drill_asking.ask(
        box.database, box.settings, target_id, secret, now=utc_now(), person_id=person_id
    )


def _needed(connection: Connection) -> int:
    plan = kit_words.state(connection).plan
    return plan.needed if plan is not None else 1


def list_of(connection: Connection, language: Language) -> DrillsPage:
    """Return every drill, the newest first, and what there is to say about the next."""
    now = utc_now()
    past = drill_readings.of_all(connection)
    first_copy = drill_readings.first_copy(connection)
    due = drills.next_due(drill_readings.last_right(connection), first_copy)
    timed = [each for each in past[:CHARTED] if each.drill.restored_s >= 0]
    longest = max((each.drill.restored_s for each in timed), default=0.0)
    lines = [_line(each, longest, language) for each in past]
    running = drill_readings.active(connection)
    return DrillsPage(
        tone=TONES[past[0].outcome] if past else tones.CALM,
        sentence=drill_sheet.sentence(past[0].drill, past[0].outcome, language) if past else "",
        due=due,
        is_due=due is not None and now >= due,
        lines=lines,
        chart=[each for each in lines[:CHARTED] if each.past.drill.restored_s >= 0],
        longest=drill_sheet.stopwatch(longest, language),
        running=None if running is None else view(running, {}, now),
        last_without=_last_without(connection, now),
        may_begin=first_copy is not None,
    )


def _line(past: PastDrill, longest: float, language: Language) -> Line:
    def width(seconds: float) -> int:
        if seconds < 0 or longest <= 0:
            return 0
        return max(THINNEST, min(WIDTH, round(WIDTH * seconds / longest)))

    return Line(
        past,
        TONES[past.outcome],
        drill_sheet.VERDICTS[past.outcome],
        drill_sheet.stopwatch(past.drill.first_document_s, language),
        drill_sheet.stopwatch(past.drill.restored_s, language),
        width(past.drill.first_document_s),
        width(past.drill.restored_s),
    )


def _last_without(connection: Connection, now: datetime) -> JobView | None:
    """Return the newest drill when it ended without a verdict."""
    found: list[Job] = queue.newest(connection, limit=1, kind=RunDrill.kind)
    if not found or found[0].state not in _WITHOUT or "proof" in found[0].result:
        return None
    return view(found[0], {}, now)


def _new(
    connection: Connection,
    language: Language,
    chosen: int,
    *,
    typed: list[SheetFields] | None = None,
    problem: str = "",
) -> NewDrillPage:
    past = [each for each in drill_readings.of_all(connection, limit=5) if each.drill.total_s > 0]
    newest = drill_readings.newest_copy(connection)
    return NewDrillPage(
        places=targets.all_living(connection),
        chosen=chosen or newest or 0,
        typed=typed or empty_fields(_needed(connection)),
        known_words=list(words.LIST),
        has_kit=kit_words.state(connection).is_made,
        last_took=drill_sheet.stopwatch(past[0].drill.total_s, language) if past else "",
        problem=problem,
    )


def sheet_of(connection: Connection, box: Box, seq: int, language: Language) -> DrillSheetPage:
    """Return the sheet of a drill, in the reader's language.

    Raises:
        NotFound: no drill left this proof.
    """
    past = drill_readings.find(connection, seq)
    if past is None:
        raise NotFound(mark("exercise"), str(seq))
    practice = facts.find(connection, "practice.name")
    return DrillSheetPage(
        past=past,
        tone=TONES[past.outcome],
        verdict=drill_sheet.VERDICTS[past.outcome],
        sentence=drill_sheet.sentence(past.drill, past.outcome, language),
        sections=drill_sheet.sections(past.drill, language, box.zone),
        repositories=[
            (
                each.label,
                each.bytes,
                drill_sheet.stopwatch(each.seconds, language),
                drill_sheet.CHECKS.get(each.check, each.check),
            )
            for each in past.drill.repositories
        ],
        operator=_operator(connection, past.drill.job),
        practice=str(practice) if practice else "",
    )


def _operator(connection: Connection, job_id: int) -> str:
    """Return the name of who asked, "" for the console."""
    try:
        asked_by = queue.get(connection, JobId(job_id)).person_id
    except NotFound:
        return ""
    if asked_by is None:
        return ""
    row = connection.execute(person.select().where(person.c.id == asked_by)).first()
    return str(row.name) if row is not None else ""
