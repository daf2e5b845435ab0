"""The sealed envelope: whether there is one, where it is kept, a new one to print, and its end."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import HTMLResponse, RedirectResponse, Response

from appliance.accounts import people, sealed_envelope
from appliance.accounts.sealed_envelope import Draft, Envelope
from appliance.clock import utc_now
from appliance.db import practice
from appliance.errors import InvalidInput
from appliance.language import mark, translate
from appliance.model import PersonId
from appliance.policy.envelope_sheet import EnvelopeSheet, sheet_html
from appliance.policy.roles import Action
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, language_of, needs, proven
from appliance.web.pages.arrivals import origin_of
from appliance.web.pages.kit_steps import SHEET_POLICY
from appliance.web.pages.ledger_names import EVENT_NAMES
from appliance.web.render import Page, render, words_of

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.ENVELOPE_SEAL)])

Text = Annotated[str, Form()]
#: On the page; the journal has them all.
SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Deed:
    """Something done with an envelope that lasts."""

    at: datetime
    text: str
    name: str  # of whom it lets in


@dataclass(frozen=True, slots=True)
class EnvelopePage(Page):
    """How it stands with the envelope, and those before it."""

    template: ClassVar[str] = "envelope.html"
    current: Envelope | None
    former: list[Envelope]  # newest first
    names: dict[PersonId, str]
    place: str  # as in the form
    opened: Envelope | None  # the newest that was
    deeds: list[Deed]  # with that one, the newest first
    done: str | None = None
    problems: tuple[tuple[str, str], ...] = ()


@router.get("/envelope", name="envelope")
async def show_envelope(request: Request, box: TheBox, after: str = "") -> Response:
    """Show how it stands with the envelope."""
    done = mark(
        "The envelope was withdrawn: its code opens nothing any more, nor do the links made with it."
    )
    return _page(request, box, done=done if after == "withdrawn" else None)


@router.post("/envelope", name="envelope-seal", dependencies=[proven()])
async def seal_envelope(
    request: Request, box: TheBox, visitor: TheVisitor, place: Text = ""
) -> Response:
    """Make a new envelope and answer with its paper, once; the former one ends."""
    language = language_of(request)
    try:
        envelope, made = await seal(box, visitor, place)
    except InvalidInput as error:
        problem = (error.name, translate(error.expected, language))
        return _page(request, box, place=place, problems=(problem,), status=422)
    with box.database.read() as connection:
        named = practice.name(connection)
    sheet = EnvelopeSheet(
        envelope.id,
        named,
        envelope.place,
        words_of(request).moment(envelope.sealed_at),
        origin_of(request),
        made.login,
        made.code,
    )
    return HTMLResponse(
        sheet_html(sheet, language=language, back="/envelope"),
        headers={"content-security-policy": SHEET_POLICY, "content-language": language},
    )


@router.post("/envelope/withdraw", name="envelope-withdraw", dependencies=[proven()])
async def withdraw_envelope(box: TheBox, visitor: TheVisitor) -> Response:
    """End the envelope in force, its session, its links and the sessions that began by them; one's own goes on.

    Raises:
        NotFound: there is none.
    """
    await withdraw(box, visitor)
    return RedirectResponse("/envelope?after=withdrawn", 303)


async def seal(box: Box, visitor: Visitor, place: str) -> tuple[Envelope, Draft]:
    """Put a new envelope in force; return it and what goes on its paper.

    Raises:
        InvalidInput: nobody said where it will be kept.
    """
    made = await aside(sealed_envelope.draft)
    envelope = await box.write(
        lambda c: sealed_envelope.seal(
            c, made, place=place, by=visitor.person.id, now=utc_now(), but=visitor.session.id
        )
    )
    return envelope, made


async def withdraw(box: Box, visitor: Visitor) -> None:
    """End the envelope in force.

    Raises:
        NotFound: there is none.
    """
    await box.write(
        lambda c: sealed_envelope.withdraw(
            c, by=visitor.person.id, now=utc_now(), but=visitor.session.id
        )
    )


def _deeds(connection: Connection, opened: Envelope, names: dict[PersonId, str]) -> list[Deed]:
    return [
        Deed(
            each.at,
            EVENT_NAMES[each.event],
            names.get(PersonId(int(each.subject.partition(":")[2])), each.subject),
        )
        for each in sealed_envelope.deeds(connection, opened)
    ]


def _page(
    request: Request,
    box: Box,
    *,
    place: str | None = None,
    done: str | None = None,
    problems: tuple[tuple[str, str], ...] = (),
    status: int = 200,
) -> Response:
    with box.database.read() as connection:
        found = sealed_envelope.every(connection)
        names = people.names(connection)
        opened = next((each for each in found if each.opened_at is not None), None)
        deeds = [] if opened is None else _deeds(connection, opened, names)
    current = next((each for each in found if each.ended_at is None), None)
    page = EnvelopePage(
        current,
        [each for each in found if each.ended_at is not None][:SHOWN],
        names,
        place if place is not None else found[0].place if found else "",
        opened,
        deeds,
        done,
        problems,
    )
    return render(request, page, status)
