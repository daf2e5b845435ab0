"""What is done about the kit, by the page and the API alike; the web opens no sealed secret."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection
from starlette.responses import StreamingResponse

from appliance.catalogue.reader_client import open_kit_document_async
from appliance.catalogue.reader_protocol import KitRequest
from appliance.clock import utc_now
from appliance.db import targets
from appliance.db.targets import TargetRow
from appliance.jobs import kit_access, kit_readings, kit_words
from appliance.jobs.kit_words import KitPlan, KitState, What
from appliance.language import Language, mark
from appliance.vault.secret import Secret
from appliance.web.deps import Box, Visitor, aside
from appliance.web.pages import tones
from appliance.web.pages.files import disposition

#: A sheet is a whole page of its own: its style, and nothing else.
SHEET_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
FILE_NAME: Final = "armoire.kit"


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with the kit; no word of it."""

    tone: str
    sentence: str  # English, translatable
    kit: KitState
    sheets: list[tuple[int, str]]  # that can be printed: number, holder
    is_file_fresh: bool
    named: list[tuple[str, str]]  # label of each destination, and what the file holds of it
    is_rehearsal_due: bool


def standing(connection: Connection) -> Standing:
    """Return how it stands with the kit, for the page and the API."""
    known = kit_words.state(connection)
    is_due = known.rehearse_by is not None and utc_now() >= known.rehearse_by
    tone, sentence = _sentence(known, is_due=is_due)
    printable = known.printable
    return Standing(
        tone,
        sentence,
        known,
        list(enumerate(printable.holders, start=1)) if printable else [],
        kit_readings.is_file_fresh(connection),
        [
            (each.label, _held(each, is_reading=kit_access.reads_only(connection, each)))
            for each in targets.all_living(connection)
        ],
        is_due,
    )


async def confirm(box: Box, visitor: Visitor, secret: Secret) -> What:
    """Check what typed words gave, say what that was, and let nothing of the words stay in a file.

    Raises:
        SheetOfAnotherKit: they are not of this box's kit.
        NotFound: no kit was made.
    """
    now = utc_now()
    what = await box.write(
        lambda c: kit_words.confirm_secret(c, secret, now=now, person_id=visitor.person.id)
    )
    await aside(box.database.forget_for_good)
    return what


async def make_new(
    box: Box, visitor: Visitor, plan: KitPlan, *, former: Secret | None, resend: bool
) -> None:
    """Make a kit that takes the former's place once its own words were typed.

    Raises:
        NotFound: no kit was made.
        SheetMissing: neither words of the former nor ``resend``.
        SheetOfAnotherKit: the words are not of the former kit.
    """
    now, person_id = utc_now(), visitor.person.id
    await box.write(
        lambda c: kit_words.rekey(
            c, box.settings, plan, former=former, resend=resend, now=now, person_id=person_id
        )
    )


async def give_up(box: Box, visitor: Visitor) -> None:
    """Forget a new kit whose words were not typed, and let nothing of its words stay in a file.

    Raises:
        NotFound: there is none.
    """
    now = utc_now()
    await box.write(lambda c: kit_words.abandon_next(c, now=now, person_id=visitor.person.id))
    await aside(box.database.forget_for_good)


async def document_of(
    box: Box, visitor: Visitor, document: str, password: str, language: Language
) -> StreamingResponse:
    """Return a document of the kit, out of the worker, which asks for the password itself.

    Args:
        box: the box.
        visitor: who asks.
        document: «sheet/1» … «sheet/3», or «file».
        password: theirs.
        language: of the sheet.

    Raises:
        Refused: the password is wrong, or the words were forgotten.
        NotFound: no kit was made, or there is no such document.
        WorkerUnreachable: no worker answers.
    """
    asked = KitRequest(document, visitor.person.id, password, language)
    opened = await open_kit_document_async(box.settings, asked)
    headers = {"content-length": str(opened.length), "cache-control": "no-store"}
    if document == "file":
        headers["content-type"] = "application/octet-stream"
        headers["content-disposition"] = disposition(FILE_NAME)
    else:
        headers["content-type"] = "text/html; charset=utf-8"
        headers["content-security-policy"] = SHEET_POLICY
    return StreamingResponse(opened.blocks, 200, headers)


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
