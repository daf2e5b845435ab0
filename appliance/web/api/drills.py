"""Drills as JSON: what they measured, beginning one, the sheet of one.

A token of the state reads them; beginning one takes the words of the sheets, and a session.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from sqlalchemy import Connection

from appliance.db.targets import TargetId
from appliance.jobs import queue
from appliance.jobs.drill_readings import PastDrill
from appliance.language import translate
from appliance.policy.drill_sheet import Section
from appliance.policy.drills import Drill
from appliance.policy.roles import Action
from appliance.vault import words
from appliance.web.api.kit import MOST_SHEETS, SheetText
from appliance.web.api.v1 import JobBody, job_body
from appliance.web.deps import TheBox, TheVisitor, aside, language_of, needs
from appliance.web.pages.drills import begin, list_of, sheet_of

router = APIRouter(prefix="/api/v1/drills", tags=["drills"])


@dataclass(frozen=True, slots=True)
class DrillBody:
    """A drill that came to a verdict."""

    seq: int  # of its proof in the ledger
    at: datetime  # when it ended
    outcome: str  # proven · inconclusive · failed
    target_id: int | None
    figures: Drill


@dataclass(frozen=True, slots=True)
class DrillsBody:
    """Every drill, and when the next is due."""

    sentence: str  # about the newest, in the reader's language; "" without one
    due: datetime | None
    is_due: bool
    may_begin: bool  # there is a copy to begin from
    running: JobBody | None
    last_without: JobBody | None  # ended later than the newest verdict, without one
    drills: list[DrillBody]  # newest first


@dataclass(frozen=True, slots=True)
class DrillSheetBody:
    """The sheet of one drill, in the reader's language."""

    drill: DrillBody
    verdict: str
    sentence: str
    sections: list[Section]
    operator: str  # "" for the console
    practice: str


@dataclass(frozen=True, slots=True)
class NewDrillBody:
    """A drill to begin, with the words of as many sheets as the kit needs."""

    target_id: int
    sheets: Annotated[list[SheetText], Field(max_length=MOST_SHEETS)] = field(repr=False)


@router.get("", name="api-drills", dependencies=[needs(Action.COPIES_SEE)])
async def list_drills(request: Request, box: TheBox) -> DrillsBody:
    """Return what drills measured, when the next is due, and the one that runs."""
    language = language_of(request)

    def gather(connection: Connection) -> DrillsBody:
        found = list_of(connection, language)
        return DrillsBody(
            found.sentence,
            found.due,
            found.is_due,
            found.may_begin,
            None if found.running is None else job_body(found.running.job),
            None if found.last_without is None else job_body(found.last_without.job),
            [_drill(each.past) for each in found.lines],
        )

    return await box.read_aside(gather)


@router.post("", name="api-drill-begin", status_code=202, dependencies=[needs(Action.DRILL_RUN)])
async def begin_drill(box: TheBox, visitor: TheVisitor, wanted: NewDrillBody) -> JobBody:
    """Look at the words, seal what they stand for, and queue the drill; 409 while one waits or runs.

    Raises:
        WordUnknown, WordsWrong, SheetMissing, SheetTwice, SheetOfAnotherKit: which sheet, and where in it.
        NotFound: there is no such target, or no kit was made.
    """
    secret = await aside(words.join, wanted.sheets)
    job = await aside(begin, box, TargetId(wanted.target_id), secret, visitor.person.id)
    return job_body(await box.read_aside(lambda c: queue.get(c, job)))


@router.get("/{seq}", name="api-drill", dependencies=[needs(Action.COPIES_SEE)])
async def show_drill(request: Request, box: TheBox, seq: int) -> DrillSheetBody:
    """Return the sheet of a drill.

    Raises:
        NotFound: no drill left this proof.
    """
    language = language_of(request)
    sheet = await box.read_aside(lambda c: sheet_of(c, box, seq, language))
    return DrillSheetBody(
        _drill(sheet.past),
        translate(sheet.verdict, language),
        sheet.sentence,
        list(sheet.sections),
        sheet.operator,
        sheet.practice,
    )


def _drill(past: PastDrill) -> DrillBody:
    return DrillBody(past.seq, past.at, past.outcome.value, past.target_id, past.drill)
