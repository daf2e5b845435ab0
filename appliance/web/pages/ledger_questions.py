"""Questions to the journal: what did this account do, who opened this document; and how long it is kept."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import RedirectResponse, Response, StreamingResponse

from appliance.accounts import people
from appliance.clock import utc_now
from appliance.errors import InvalidInput
from appliance.language import Language, translate
from appliance.ledger import events, purge, questions
from appliance.ledger.purge import Keeping
from appliance.model import LedgerEntry, Person, PersonId
from appliance.packed import unpack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web.api.upload import held_by
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, language_of, needs
from appliance.web.pages.ledger import FILTERS, EntryLine, Readers
from appliance.web.pages.paths import readable
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.LEDGER_SEE)])

SHOWN: Final = 500
USUAL_DAYS: Final = 30
#: A cell that begins so would be a formula to a spreadsheet.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class QuestionsPage(Page):
    """What an account did in a period."""

    template: ClassVar[str] = "ledger_questions.html"
    everybody: list[Person]
    person: int
    since: str
    until: str
    only: str
    filters: tuple[tuple[str, str], ...]
    lines: list[tuple[EntryLine, str | None]]  # with the document, for who may see it
    is_more: bool
    keeping: Keeping
    may_set: bool
    csv: str | None
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DocumentPage(Page):
    """Who opened a document, who changed it."""

    template: ClassVar[str] = "ledger_document.html"
    share: str
    label: str
    name: str
    folder: str
    lines: list[EntryLine]


@dataclass(frozen=True, slots=True)
class Question:
    """What an account did, when."""

    person: PersonId
    since: datetime
    until: datetime
    only: str


@router.get("/ledger/account", name="ledger-account")
async def show_account(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    person: int = 0,
    since: str = "",
    until: str = "",
    only: str = "",
) -> Response:
    """Show what an account did; that it was asked is itself in the journal."""
    page = await _account(request, box, visitor, person, since, until, only)
    return render(request, page)


@router.get("/ledger/account.csv", name="ledger-account-csv")
async def send_account(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    person: int,
    since: str = "",
    until: str = "",
    only: str = "",
) -> Response:
    """Send the same as a table for a spreadsheet, whole."""
    asked = _question(box, person, since, until, only)
    await box.write(lambda c: _note(c, visitor, asked, exported=True))
    blocks = _table(box, visitor, asked, language_of(request))
    return StreamingResponse(
        iterate_in_threadpool(blocks),
        media_type="text/csv; charset=utf-8",
        headers={
            "content-disposition": f'attachment; filename="journal-{person}-{asked.since:%Y%m%d}.csv"'
        },
    )


@router.get("/ledger/document/{share}", name="ledger-document")
async def show_document(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, p: str
) -> Response:
    """Show who opened a document of a share one sees.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    path = unpack_path(p)
    language = language_of(request)

    def gather() -> list[EntryLine]:
        with box.database.read() as connection:
            readers = Readers.of(connection, visitor, language)
            found = questions.about_file(connection, int(held.share.id), path)
            return [readers.line(each) for each in found]

    folder, _, name = readable(path).rpartition("/")
    lines = await aside(gather)
    return render(request, DocumentPage(share, held.share.label, name, folder, lines))


@router.post("/ledger/keeping", name="ledger-keeping", dependencies=[needs(Action.PEOPLE_CHANGE)])
async def set_keeping(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    months: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
) -> Response:
    """Choose how long the journal is kept: an owner doctor, who is responsible for the data."""
    chosen = int(months) if months.isdecimal() else 0
    try:
        await box.write(
            lambda c: purge.set_keeping(
                c, chosen, reason[:500], by=visitor.person.id, now=utc_now()
            )
        )
    except InvalidInput as error:
        problems = ((error.name, translate(error.expected, language_of(request))),)
        page = await _account(request, box, visitor, 0, "", "", "", problems)
        return render(request, page, 422)
    return RedirectResponse("/ledger/account", 303)


async def _account(
    request: Request,
    box: Box,
    visitor: Visitor,
    person: int,
    since: str,
    until: str,
    only: str,
    problems: tuple[tuple[str, str], ...] = (),
) -> QuestionsPage:
    asked = _question(box, person, since, until, only)
    language = language_of(request)

    def gather() -> QuestionsPage:
        with box.database.read() as connection:
            everybody = people.everybody(connection)
            lines: list[tuple[EntryLine, str | None]] = []
            if any(each.id == asked.person for each in everybody):
                readers = Readers.of(connection, visitor, language)
                lines = [
                    (readers.line(each), readers.document(each))
                    for each in _entries(connection, asked, SHOWN + 1)
                ]
            kept = purge.keeping(connection)
        first, last = _days(box, asked)
        address = f"person={person}&since={first}&until={last}&only={asked.only}"
        return QuestionsPage(
            everybody,
            person,
            first,
            last,
            asked.only,
            FILTERS,
            lines[:SHOWN],
            len(lines) > SHOWN,
            kept,
            visitor.may(Action.PEOPLE_CHANGE),
            f"/ledger/account.csv?{address}" if lines else None,
            problems,
        )

    if person:
        await box.write(lambda c: _note(c, visitor, asked))
    return await aside(gather)


def _entries(connection: Connection, asked: Question, limit: int | None) -> Iterator[LedgerEntry]:
    return questions.of_person(
        connection,
        asked.person,
        since=asked.since,
        until=asked.until,
        events=asked.only,
        limit=limit,
    )


def _table(box: Box, visitor: Visitor, asked: Question, language: Language) -> Iterator[bytes]:
    yield "\ufeff".encode()  # a spreadsheet then reads UTF-8
    with box.database.read() as connection:
        readers = Readers.of(connection, visitor, language)
        yield _row(["no", "utc", "local", "who", "event", "what", "about", "document", "digest"])
        for entry in _entries(connection, asked, None):
            yield _row(
                [
                    str(entry.seq),
                    entry.at.isoformat(),
                    entry.at.astimezone(box.zone).strftime("%Y-%m-%d %H:%M:%S"),
                    readers.actor(entry),
                    entry.event,
                    readers.text(entry)[0],
                    readers.subject(entry),
                    readers.document(entry) or "",
                    entry.digest,
                ]
            )


def _row(cells: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=";").writerow(
        f"'{each}" if each.startswith(_FORMULA) else each for each in cells
    )
    return out.getvalue().encode()


def _note(
    connection: Connection, visitor: Visitor, asked: Question, *, exported: bool = False
) -> None:
    events.record(
        connection,
        at=utc_now(),
        event="ledger.asked",
        subject=f"person:{asked.person}",
        person_id=visitor.person.id,
        since=asked.since.isoformat(),
        until=asked.until.isoformat(),
        exported=exported,
    )


def _question(box: Box, person: int, since: str, until: str, only: str) -> Question:
    today = utc_now().astimezone(box.zone).date()
    last = _day(until, today)
    first = _day(since, last - timedelta(days=USUAL_DAYS))
    return Question(
        PersonId(person),
        datetime.combine(first, time(), box.zone),
        datetime.combine(last + timedelta(days=1), time(), box.zone),
        only if only in {name for name, _ in FILTERS} else "",
    )


def _days(box: Box, asked: Question) -> tuple[str, str]:
    last = (asked.until - timedelta(days=1)).astimezone(box.zone).date()
    return asked.since.astimezone(box.zone).date().isoformat(), last.isoformat()


def _day(text: str, usual: date) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return usual
    return found if 2000 <= found.year <= 2200 else usual
