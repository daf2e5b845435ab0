"""The recovery kit: who keeps its sheets, printing them, typing their words, a new kit, the kit file.

The web opens no sealed secret: sheets and file come from the worker, which asks for the password itself.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from appliance.catalogue.reader_client import open_kit_document_async
from appliance.catalogue.reader_protocol import KitRequest
from appliance.clock import utc_now
from appliance.db import targets
from appliance.db.targets import TargetRow
from appliance.errors import InvalidInput, NotFound, Refused, SheetOfAnotherKit
from appliance.jobs import kit_access, kit_readings, kit_words
from appliance.jobs.kit_words import KitPlan, KitState
from appliance.language import explain, mark, translate
from appliance.policy.roles import Action
from appliance.vault import words
from appliance.web.deps import Box, TheBox, TheVisitor, aside, language_of, needs
from appliance.web.pages import tones
from appliance.web.pages.files import disposition
from appliance.web.pages.kit_fields import SheetFields, blamed, empty_fields, judge, read_form
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.KIT_PRINT)])

Text = Annotated[str, Form()]
#: A sheet is a whole page of its own: its style, and nothing else.
SHEET_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
FILE_NAME: Final = "armoire.kit"
#: More sheets than any kit has are not asked for, whatever a form says.
MOST_SHEETS: Final = 3
DONE: Final = {
    "holders": mark("Noted. The sheets can be printed now."),
    "confirmed": mark("Right: these words open the copies. The box has forgotten them."),
    "rehearsed": mark("Right: these words open the copies. The next rehearsal is in a year."),
    "taken-over": mark(
        "Right: the new kit holds from now on. See that the kit file is up to date, then burn the former sheets."
    ),
    "renewed": mark("A new kit was made. It holds once its words have been typed."),
    "abandoned": mark("The new kit was given up: the former sheets still hold."),
}


@dataclass(frozen=True, slots=True)
class KitPage(Page):
    """How it stands with the kit, and what comes next."""

    template: ClassVar[str] = "kit/show.html"
    tone: str
    sentence: str
    kit: KitState
    sheets: list[tuple[int, str]]  # that can be printed: number, holder
    is_file_fresh: bool
    named: list[tuple[str, str]]  # label of each destination, and what the file holds of it
    is_rehearsal_due: bool
    needed: int
    holders: list[str]  # as in the form
    done: str | None
    problems: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class WordsPage(Page):
    """Where words are typed from the sheets."""

    template: ClassVar[str] = "kit/words.html"
    kit: KitState
    typed: list[SheetFields]
    known_words: list[str]


@dataclass(frozen=True, slots=True)
class RenewPage(Page):
    """Where a new kit is asked for."""

    template: ClassVar[str] = "kit/renew.html"
    kit: KitState
    typed: list[SheetFields]
    known_words: list[str]
    needed: int
    holders: list[str]
    resend: bool
    problems: tuple[tuple[str, str], ...] = ()


@router.get("/kit", name="kit")
async def show_kit(request: Request, box: TheBox, after: str = "") -> Response:
    """Show how it stands with the kit."""
    return _show(request, box, done=DONE.get(after))


@router.post("/kit/holders", name="kit-holders")
async def choose_holders(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    needed: Annotated[int, Form()] = 1,
    holder: Annotated[list[str] | None, Form()] = None,
) -> Response:
    """Say who keeps the sheets: one, or three of which two are needed.

    Raises:
        NotFound: the words are not on the box any more.
    """
    names = _names(needed, holder)
    try:
        plan = kit_words.checked_plan(needed, names)
    except InvalidInput as error:
        problem = (error.name, translate(error.expected, language_of(request)))
        return _show(request, box, needed=needed, holders=names, problems=(problem,), status=422)
    now = utc_now()
    await box.write(
        lambda connection: kit_words.choose(connection, plan, now=now, person_id=visitor.person.id)
    )
    return RedirectResponse("/kit?after=holders", 303)


@router.post("/kit/sheets/{number}", name="kit-sheet")
async def print_sheet(
    request: Request, box: TheBox, visitor: TheVisitor, number: int, password: Text = ""
) -> Response:
    """Send a sheet as a page to print; the worker asks for the password."""
    return await _document(request, box, visitor, f"sheet/{number}", password)


@router.post("/kit/file", name="kit-file")
async def send_file(
    request: Request, box: TheBox, visitor: TheVisitor, password: Text = ""
) -> Response:
    """Send the kit file; the worker asks for the password."""
    return await _document(request, box, visitor, "file", password)


@router.get("/kit/words", name="kit-words")
async def ask_words(request: Request, box: TheBox) -> Response:
    """Show the places for the words."""
    with box.database.read() as connection:
        known = kit_words.state(connection)
    page = WordsPage(known, empty_fields(_needed(known)), list(words.LIST))
    return render(request, page)


@router.post("/kit/words", name="kit-words-check")
async def check_words(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Check words typed from the sheets: the first time, a rehearsal, or of a new kit.

    Raises:
        NotFound: no kit was made.
    """
    with box.database.read() as connection:
        known = kit_words.state(connection)
    language = language_of(request)
    typed = await read_form(request, _needed(known))
    secret, sheets = await aside(judge, typed, language)
    what = None
    if secret is not None:
        now = utc_now()
        try:
            what = await box.write(
                lambda connection: kit_words.confirm_secret(
                    connection, secret, now=now, person_id=visitor.person.id
                )
            )
        except SheetOfAnotherKit as error:
            sheets = blamed(sheets, error.sheet, explain(error, language))
    if what is None:
        return render(request, WordsPage(known, sheets, list(words.LIST)), 422)
    await aside(box.database.forget_for_good)
    return RedirectResponse(f"/kit?after={what}", 303)


@router.get("/kit/renew", name="kit-renew")
async def ask_renew(request: Request, box: TheBox) -> Response:
    """Show what a new kit means, and the form for it."""
    with box.database.read() as connection:
        known = kit_words.state(connection)
    plan = known.plan or KitPlan(1, ("",))
    page = RenewPage(
        known,
        empty_fields(plan.needed),
        list(words.LIST),
        plan.needed,
        _three(plan.holders),
        resend=False,
    )
    return render(request, page)


@router.post("/kit/renew", name="kit-renew-make")
async def renew(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    needed: Annotated[int, Form()] = 1,
    holder: Annotated[list[str] | None, Form()] = None,
    resend: Text = "",
) -> Response:
    """Make a new kit; it takes the former's place once its own words were typed.

    Raises:
        NotFound: no kit was made.
    """
    with box.database.read() as connection:
        known = kit_words.state(connection)
    language = language_of(request)
    names = _names(needed, holder)
    problems: list[tuple[str, str]] = []
    try:
        plan = kit_words.checked_plan(needed, names)
    except InvalidInput as error:
        problems.append((error.name, translate(error.expected, language)))
    typed = await read_form(request, known.plan.needed if known.plan else 1)
    secret, sheets = None, empty_fields(len(typed))
    is_typed = any(typed)
    if is_typed or not resend:
        secret, sheets = await aside(judge, typed, language)
    if not problems and (secret is not None or (not is_typed and resend)):
        now = utc_now()
        try:
            await box.write(
                lambda connection: kit_words.rekey(
                    connection,
                    box.settings,
                    plan,
                    former=secret,
                    resend=bool(resend),
                    now=now,
                    person_id=visitor.person.id,
                )
            )
        except SheetOfAnotherKit as error:
            sheets = blamed(sheets, error.sheet, explain(error, language))
        else:
            return RedirectResponse("/kit?after=renewed", 303)
    page = RenewPage(
        known,
        sheets,
        list(words.LIST),
        needed,
        _three(names),
        resend=bool(resend),
        problems=tuple(problems),
    )
    return render(request, page, 422)


@router.post("/kit/renew/abandon", name="kit-renew-abandon")
async def abandon(box: TheBox, visitor: TheVisitor) -> Response:
    """Give up a new kit whose words were not typed: the former goes on."""
    now = utc_now()
    await box.write(
        lambda connection: kit_words.abandon_next(connection, now=now, person_id=visitor.person.id)
    )
    await aside(box.database.forget_for_good)
    return RedirectResponse("/kit?after=abandoned", 303)


async def _document(
    request: Request, box: Box, visitor: TheVisitor, document: str, password: str
) -> Response:
    language = language_of(request)
    asked = KitRequest(document, visitor.person.id, password, language)
    try:
        opened = await open_kit_document_async(box.settings, asked)
    except (Refused, NotFound) as error:
        problem = ("password", explain(error, language))
        return _show(request, box, problems=(problem,), status=403)
    headers = {"content-length": str(opened.length), "cache-control": "no-store"}
    if document == "file":
        headers["content-type"] = "application/octet-stream"
        headers["content-disposition"] = disposition(FILE_NAME)
    else:
        headers["content-type"] = "text/html; charset=utf-8"
        headers["content-security-policy"] = SHEET_POLICY
    return StreamingResponse(opened.blocks, 200, headers)


def _show(
    request: Request,
    box: Box,
    *,
    done: str | None = None,
    needed: int | None = None,
    holders: list[str] | None = None,
    problems: tuple[tuple[str, str], ...] = (),
    status: int = 200,
) -> Response:
    now = utc_now()
    with box.database.read() as connection:
        known = kit_words.state(connection)
        is_fresh = kit_readings.is_file_fresh(connection)
        named = [
            (each.label, _held(each, is_reading=kit_access.reads_only(connection, each)))
            for each in targets.all_living(connection)
        ]
    plan = (known.next.plan if known.next else known.plan) or KitPlan(1, ("",))
    is_due = known.rehearse_by is not None and now >= known.rehearse_by
    tone, sentence = _sentence(known, is_due=is_due)
    printable = known.printable
    page = KitPage(
        tone=tone,
        sentence=sentence,
        kit=known,
        sheets=list(enumerate(printable.holders, start=1)) if printable else [],
        is_file_fresh=is_fresh,
        named=named,
        is_rehearsal_due=is_due,
        needed=needed if needed is not None else plan.needed,
        holders=_three(holders if holders is not None else plan.holders),
        done=done,
        problems=problems,
    )
    return render(request, page, status)


def _held(target: TargetRow, *, is_reading: bool) -> str:
    if target.kind == "directory":
        return mark("a disk, known by its label: keep it as well")
    if is_reading:
        return mark("credentials that only read")
    if target.kind not in kit_access.READING:
        return mark("the credentials the box sends with; with them nothing can be removed there")
    return mark(
        "the credentials the box sends with; «armoire kit access» enters some that only read"
    )


def _sentence(known: KitState, *, is_due: bool) -> tuple[str, str]:
    if not known.is_made:
        return tones.CALM, mark(
            "This box has no recovery kit yet: it is made when the worker starts."
        )
    if known.next is not None:
        return tones.WARN, mark("A new kit waits for its words; until then the former sheets hold.")
    if known.confirmed_at is not None:
        if is_due:
            return tones.WARN, mark("It is time to read the words of the kit again.")
        return tones.GOOD, mark("The copies can be opened: the words of the kit were typed.")
    if known.number is None:
        return tones.BAD, mark(
            "No recovery kit was printed: after a fire nobody could open the copies."
        )
    return tones.BAD, mark("The kit was printed; nobody has typed its words yet.")


def _needed(known: KitState) -> int:
    plan = known.next.plan if known.next is not None else known.plan
    return plan.needed if plan is not None else 1


def _names(needed: int, holder: list[str] | None) -> list[str]:
    """Return as many names as the choice has sheets: fields that do not count are left out."""
    return list(holder or [])[: 1 if needed == 1 else MOST_SHEETS]


def _three(holders: tuple[str, ...] | list[str]) -> list[str]:
    return [*holders, "", "", ""][:MOST_SHEETS]
