"""The recovery kit: who keeps its sheets, printing them, typing their words, a new kit, the kit file.

The web opens no sealed secret: sheets and file come from the worker, which asks for the password itself.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from appliance.clock import utc_now
from appliance.errors import InvalidInput, NotFound, Refused, SheetOfAnotherKit
from appliance.jobs import kit_words
from appliance.jobs.kit_words import KitPlan, KitState
from appliance.language import explain, mark, translate
from appliance.policy.roles import Action
from appliance.vault import words
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, language_of, needs
from appliance.web.pages.kit_fields import SheetFields, blamed, empty_fields, judge, read_form
from appliance.web.pages.kit_steps import confirm, document_of, give_up, make_new, standing
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.KIT_PRINT)])

Text = Annotated[str, Form()]
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
        try:
            what = await confirm(box, visitor, secret)
        except SheetOfAnotherKit as error:
            sheets = blamed(sheets, error.sheet, explain(error, language))
    if what is None:
        return render(request, WordsPage(known, sheets, list(words.LIST)), 422)
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
    plan = None
    try:
        plan = kit_words.checked_plan(needed, names)
    except InvalidInput as error:
        problems.append((error.name, translate(error.expected, language)))
    typed = await read_form(request, known.plan.needed if known.plan else 1)
    secret, sheets = None, empty_fields(len(typed))
    is_typed = any(typed)
    if is_typed or not resend:
        secret, sheets = await aside(judge, typed, language)
    if plan is not None and (secret is not None or (not is_typed and resend)):
        try:
            await make_new(box, visitor, plan, former=secret, resend=bool(resend))
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
    await give_up(box, visitor)
    return RedirectResponse("/kit?after=abandoned", 303)


async def _document(
    request: Request, box: Box, visitor: Visitor, document: str, password: str
) -> Response:
    language = language_of(request)
    try:
        return await document_of(box, visitor, document, password, language)
    except (Refused, NotFound) as error:
        problem = ("password", explain(error, language))
        return _show(request, box, problems=(problem,), status=403)


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
    with box.database.read() as connection:
        stands = standing(connection)
    known = stands.kit
    plan = (known.next.plan if known.next else known.plan) or KitPlan(1, ("",))
    page = KitPage(
        tone=stands.tone,
        sentence=stands.sentence,
        kit=known,
        sheets=stands.sheets,
        is_file_fresh=stands.is_file_fresh,
        named=stands.named,
        is_rehearsal_due=stands.is_rehearsal_due,
        needed=needed if needed is not None else plan.needed,
        holders=_three(holders if holders is not None else plan.holders),
        done=done,
        problems=problems,
    )
    return render(request, page, status)


def _needed(known: KitState) -> int:
    plan = known.next.plan if known.next is not None else known.plan
    return plan.needed if plan is not None else 1


def _names(needed: int, holder: list[str] | None) -> list[str]:
    """Return as many names as the choice has sheets: fields that do not count are left out."""
    return list(holder or [])[: 1 if needed == 1 else MOST_SHEETS]


def _three(holders: tuple[str, ...] | list[str]) -> list[str]:
    return [*holders, "", "", ""][:MOST_SHEETS]
