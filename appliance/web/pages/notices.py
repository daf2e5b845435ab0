"""What the box told this person, and what it notes down about everybody (domain.md SEC-14)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import notices
from appliance.clock import utc_now
from appliance.db import facts
from appliance.ledger import events, purge
from appliance.policy.notices import PREFIXES
from appliance.web.deps import TheBox, TheVisitor
from appliance.web.render import Page, Words, render, words_of
from appliance.web.standing import informed_fact

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class NoticeLine:
    """One notice in words."""

    id: int
    at: datetime
    text: str
    href: str | None
    is_new: bool


@dataclass(frozen=True, slots=True)
class NoticesPage(Page):
    """What one was told, the newest first."""

    template: ClassVar[str] = "notices.html"
    lines: list[NoticeLine]
    unseen: int


@dataclass(frozen=True, slots=True)
class InformationPage(Page):
    """What the journal holds about people, how long, who reads it."""

    template: ClassVar[str] = "information.html"
    months: int
    reason: str
    read_at: datetime | None


def said(one: notices.Notice, words: Words) -> NoticeLine:
    """Return a notice in the reader's language."""
    told = {
        name: words.moment(value) if isinstance(value, datetime) else value
        for name, value in one.facts.items()
    }
    href = one.facts.get("href")
    is_ours = isinstance(href, str) and href.startswith("/") and not href.startswith("//")
    text = words.explain(one.text, told)
    if one.code in PREFIXES:  # a finding's story
        text = words.text(PREFIXES[one.code], said=text)
    return NoticeLine(
        one.id,
        one.at,
        words.spaced(text),
        str(href) if is_ours else None,
        one.seen_at is None,
    )


@router.get("/notices", name="notices")
async def show_notices(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Show what one was told."""
    with box.database.read() as connection:
        found = notices.of_person(connection, visitor.person)
    lines = [said(one, words_of(request)) for one in found]
    return render(request, NoticesPage(lines, sum(one.is_new for one in lines)))


@router.post("/notices/seen", name="notices-seen")
async def see_notices(
    box: TheBox, visitor: TheVisitor, notice: Annotated[int | None, Form()] = None
) -> Response:
    """Mark one, or all, as seen."""
    now = utc_now()
    await box.write(lambda c: notices.see(c, visitor.person, notice, now=now))
    return RedirectResponse("/notices", 303)


@router.get("/information", name="information")
async def show_information(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Say what is noted down about people who work here."""
    with box.database.read() as connection:
        kept = purge.keeping(connection)
        read = facts.find(connection, informed_fact(visitor.person.id))
    read_at = datetime.fromisoformat(read) if isinstance(read, str) else None
    return render(request, InformationPage(kept.months, kept.reason, read_at))


@router.post("/information", name="information-read")
async def read_information(box: TheBox, visitor: TheVisitor) -> Response:
    """Record that this person read it."""
    now = utc_now()
    who = visitor.person.id

    def change(connection: Connection) -> None:
        if facts.find(connection, informed_fact(who)) is None:
            facts.put(connection, informed_fact(who), now.isoformat(), now=now)
            events.record(
                connection, at=now, event="person.informed", subject=f"person:{who}", person_id=who
            )

    await box.write(change)
    return RedirectResponse("/", 303)
