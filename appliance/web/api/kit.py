"""The recovery kit as JSON: how it stands, who keeps its sheets, printing them, typing their words, a new kit.

For programs that hold a session, whose person showed just now who they are for all that prints or changes; no
token opens it. Words come in and are compared; none is in an answer but on the sheet that is printed, nor in a log.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Request
from pydantic import Field
from sqlalchemy import Connection
from starlette.responses import Response

from appliance.clock import utc_now
from appliance.jobs import kit_words
from appliance.jobs.kit_words import KitPlan, NextKit
from appliance.policy.roles import Action
from appliance.vault import words
from appliance.web.api.copies_add import SecretText
from appliance.web.api.hosts import BYTES, HTML
from appliance.web.deps import TheBox, TheVisitor, aside, language_of, needs, proven
from appliance.web.pages.kit_steps import confirm, document_of, give_up, make_new, standing
from appliance.web.render import Words, words_of

router = APIRouter(prefix="/api/v1/kit", tags=["kit"], dependencies=[needs(Action.KIT_PRINT)])

#: Sheets of the largest kit there is.
MOST_SHEETS: Final = 3
#: The twenty words of a sheet, parted by spaces; in any order of sheets.
SheetText = Annotated[str, Field(max_length=1000)]


@dataclass(frozen=True, slots=True)
class PlaceInFileBody:
    """What the kit file holds of one place."""

    label: str
    held: str  # in the reader's language


@dataclass(frozen=True, slots=True)
class KitBody:
    """How it stands with the kit; no word of it."""

    is_made: bool
    sentence: str  # in the reader's language
    plan: KitPlan | None  # null: nobody chose yet
    number: str | None  # five digits, once sheets were printed
    confirmed_at: datetime | None  # words were typed, for the first time or again
    rehearse_by: datetime | None
    is_rehearsal_due: bool
    next: NextKit | None  # made, and does not count until its words were typed
    printable: list[str]  # holders of the sheets that can be printed, by their numbers from 1
    former_numbers: list[str]  # kits whose sheets still open what was sent in their time
    file_written_at: datetime | None
    is_file_fresh: bool  # the file that was written last still says everything
    places: list[PlaceInFileBody]


@dataclass(frozen=True, slots=True)
class PasswordBody:
    """One's own password, asked for again by the side that holds the keys."""

    password: SecretText = field(repr=False)


@dataclass(frozen=True, slots=True)
class TypedBody:
    """The words of each sheet."""

    sheets: Annotated[list[SheetText], Field(max_length=MOST_SHEETS)] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConfirmedBody:
    """What the words were."""

    what: str  # confirmed · rehearsed · taken-over


@dataclass(frozen=True, slots=True)
class RenewalBody:
    """A new kit; the words of the former, so that it opens what was sent before, or everything is sent again."""

    plan: KitPlan  # one of one sheet, or any two of three
    sheets: Annotated[list[SheetText], Field(max_length=MOST_SHEETS)] = field(
        default_factory=list, repr=False
    )
    resend: bool = False


@router.get("", name="api-kit")
async def show_kit(request: Request, box: TheBox) -> KitBody:
    """Return how it stands with the kit."""
    said = words_of(request)
    return await box.read_aside(lambda c: _kit(c, said))


@router.put("/holders", name="api-kit-holders", dependencies=[proven()])
async def choose_holders(
    request: Request, box: TheBox, visitor: TheVisitor, wanted: KitPlan
) -> KitBody:
    """Say who keeps the sheets; other words are printed from then on.

    Raises:
        InvalidInput: no such kit can be printed.
        NotFound: the words are not on the box any more.
    """
    plan = kit_words.checked_plan(wanted.needed, wanted.holders)
    said, now = words_of(request), utc_now()

    def change(connection: Connection) -> KitBody:
        kit_words.choose(connection, plan, now=now, person_id=visitor.person.id)
        return _kit(connection, said)

    return await box.write(change)


@router.post(
    "/sheets/{number}",
    name="api-kit-sheet",
    dependencies=[proven()],
    response_class=Response,
    responses={200: {"content": HTML, "description": "The sheet, to print; no store keeps it."}},
)
async def print_sheet(
    request: Request, box: TheBox, visitor: TheVisitor, number: int, asked: PasswordBody
) -> Response:
    """Return a sheet to print, its words on it; the worker asks for the password.

    Raises:
        Refused: the password is wrong, or the words were forgotten.
        NotFound: no kit was made, or it has no such sheet.
    """
    return await document_of(box, visitor, f"sheet/{number}", asked.password, language_of(request))


@router.post(
    "/file",
    name="api-kit-file",
    dependencies=[proven()],
    response_class=Response,
    responses={200: {"content": BYTES, "description": "The kit file, as a download."}},
)
async def send_file(
    request: Request, box: TheBox, visitor: TheVisitor, asked: PasswordBody
) -> Response:
    """Return the kit file, sealed to the kit; the worker asks for the password.

    Raises:
        Refused: the password is wrong.
        NotFound: no kit was made.
    """
    return await document_of(box, visitor, "file", asked.password, language_of(request))


@router.post("/words", name="api-kit-words", dependencies=[proven()])
async def check_words(box: TheBox, visitor: TheVisitor, typed: TypedBody) -> ConfirmedBody:
    """Compare words typed from the sheets: the first time, a rehearsal, or of a new kit.

    Raises:
        WordUnknown, WordsWrong, SheetMissing, SheetTwice, SheetOfAnotherKit: which sheet, and where in it.
        NotFound: no kit was made.
    """
    secret = await aside(words.join, typed.sheets)
    return ConfirmedBody(await confirm(box, visitor, secret))


@router.post("/renew", name="api-kit-renew", dependencies=[proven()])
async def renew(request: Request, box: TheBox, visitor: TheVisitor, wanted: RenewalBody) -> KitBody:
    """Make a new kit; it takes the former's place once its own words were typed.

    Raises:
        InvalidInput: no such kit can be printed.
        WordUnknown, WordsWrong, SheetMissing, SheetTwice, SheetOfAnotherKit: of the former's words.
        NotFound: no kit was made.
    """
    plan = kit_words.checked_plan(wanted.plan.needed, wanted.plan.holders)
    former = await aside(words.join, wanted.sheets) if wanted.sheets else None
    await make_new(box, visitor, plan, former=former, resend=wanted.resend)
    said = words_of(request)
    return await box.read_aside(lambda c: _kit(c, said))


@router.post("/renew/abandon", name="api-kit-abandon", dependencies=[proven()])
async def abandon(request: Request, box: TheBox, visitor: TheVisitor) -> KitBody:
    """Give up a new kit whose words were not typed: the former goes on.

    Raises:
        NotFound: there is none.
    """
    await give_up(box, visitor)
    said = words_of(request)
    return await box.read_aside(lambda c: _kit(c, said))


def _kit(connection: Connection, said: Words) -> KitBody:
    stands = standing(connection)
    known = stands.kit
    return KitBody(
        is_made=known.is_made,
        sentence=said.text(stands.sentence),
        plan=known.plan,
        number=known.number,
        confirmed_at=known.confirmed_at,
        rehearse_by=known.rehearse_by,
        is_rehearsal_due=stands.is_rehearsal_due,
        next=known.next,
        printable=[holder for _, holder in stands.sheets],
        former_numbers=list(known.former_numbers),
        file_written_at=known.file_written_at,
        is_file_fresh=stands.is_file_fresh,
        places=[PlaceInFileBody(label, said.text(held)) for label, held in stands.named],
    )
