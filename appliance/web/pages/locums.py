"""Replacements: prepared by a doctor, from date to date, with a chosen part of the rights (domain.md SEC-02)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import links, locums, people
from appliance.accounts.locums import Rules, Term
from appliance.clock import utc_now
from appliance.db import shares
from appliance.errors import InvalidInput, NotFound
from appliance.language import mark, translate
from appliance.ledger import events
from appliance.policy.locum import looks_mistyped
from appliance.policy.roles import Action
from appliance.policy.share_rights import RIGHT_TEXTS, Right
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs, proven
from appliance.web.pages.arrivals import origin_of
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.LOCUMS_CHANGE)])

#: A link lives until so long after the term has begun, and is not made longer ahead than LINK_AHEAD.
LINK_AFTER: Final = timedelta(days=1)
LINK_AHEAD: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class TermLine:
    """One term in the list."""

    term: Term
    name: str
    replaced: str
    sponsor: str
    state: str  # to come · running · over
    tone: str


@dataclass(frozen=True, slots=True)
class LocumsPage(Page):
    """Every term one answers for."""

    template: ClassVar[str] = "locums/list.html"
    lines: list[TermLine]
    rules: Rules
    may_set_rules: bool
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LocumPage(Page):
    """One term: dates, rights, extension, end, link."""

    template: ClassVar[str] = "locums/show.html"
    line: TermLine
    rights: list[tuple[str, list[str]]]  # share, what
    mistyped: bool
    ends: str
    link: str | None = None
    link_until: datetime | None = None
    problems: tuple[tuple[str, str], ...] = ()


@router.get("/locums", name="locums")
async def list_terms(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Show the terms one answers for."""
    return render(request, _list(box, visitor))


@router.post("/locums/rules", name="locums-rules", dependencies=[needs(Action.PEOPLE_CHANGE)])
async def set_rules(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    most_days: Annotated[str, Form()] = "",
    case_copies: Annotated[str, Form()] = "",
) -> Response:
    """Choose how long a term may last, and whether case copies are allowed."""
    days = int(most_days) if most_days.isdecimal() else 0
    chosen = Rules(days, bool(case_copies))
    try:
        await box.write(lambda c: locums.set_rules(c, chosen, by=visitor.person.id, now=utc_now()))
    except InvalidInput as error:
        problems = ((error.name, translate(error.expected, language_of(request))),)
        return render(request, _list(box, visitor, problems), 422)
    return RedirectResponse("/locums", 303)


@router.get("/locums/{term_id}", name="locum")
async def show_term(request: Request, box: TheBox, visitor: TheVisitor, term_id: int) -> Response:
    """Show one term.

    Raises:
        NotFound: there is none, or one does not answer for it.
    """
    return show(request, box, visitor, term_id)


@router.post("/locums/{term_id}/extend", name="locum-extend", dependencies=[proven()])
async def extend(request: Request, box: TheBox, visitor: TheVisitor, term_id: int) -> Response:
    """Move the end: the sponsor, the replaced doctor or an owner; never the locum."""
    form = await request.form()

    def change(connection: Connection) -> Term:
        _of(connection, visitor, term_id)
        ends_at = to_moment(str(form.get("ends", "")), box.zone, "ends")
        return locums.extend(connection, term_id, ends_at, by=visitor.person, now=utc_now())

    try:
        await box.write(change)
    except InvalidInput as error:
        problems = ((error.name, translate(error.expected, language_of(request))),)
        return show(request, box, visitor, term_id, problems=problems, status=422)
    return RedirectResponse(f"/locums/{term_id}", 303)


@router.post("/locums/{term_id}/end", name="locum-end")
async def end(box: TheBox, visitor: TheVisitor, term_id: int) -> Response:
    """End a term now."""

    def change(connection: Connection) -> Term:
        _of(connection, visitor, term_id)
        return locums.end(connection, term_id, by=visitor.person, now=utc_now())

    await box.write(change)
    return RedirectResponse(f"/locums/{term_id}", 303)


@router.post("/locums/{term_id}/link", name="locum-link", dependencies=[proven()])
async def make_link(request: Request, box: TheBox, visitor: TheVisitor, term_id: int) -> Response:
    """Make a new one-time link for a term that is to come or runs."""
    now = utc_now()

    def change(connection: Connection) -> tuple[str, datetime]:
        term = _of(connection, visitor, term_id)
        if term.closed_at is not None or term.ends_at <= now:
            raise InvalidInput("ends", mark("This replacement is over. Prepare a new one."))
        return new_link(connection, visitor, term, now)

    token, until = await box.write(change)
    return show(request, box, visitor, term_id, token=token, until=until)


def answering(connection: Connection, visitor: Visitor, term_id: int) -> Term:
    """Return a term the visitor answers for.

    Raises:
        NotFound: there is none, or they do not: the two look alike.
    """
    return _of(connection, visitor, term_id)


def line_of(connection: Connection, term: Term, now: datetime) -> TermLine:
    """Return a term with its names."""
    names = people.names(connection)
    if term.is_running(now):
        state, tone = mark("running"), "is-good"
    elif term.closed_at is None and now < term.starts_at:
        state, tone = mark("to come"), "is-busy"
    else:
        state, tone = mark("over"), "is-calm"
    return TermLine(
        term,
        names.get(term.person_id, ""),
        names.get(term.replaces_id, ""),
        names.get(term.sponsor_id, ""),
        state,
        tone,
    )


def _of(connection: Connection, visitor: Visitor, term_id: int) -> Term:
    term = locums.get(connection, term_id)
    if not term.answers(visitor.person):
        raise NotFound("replacement", str(term_id))
    return term


def new_link(
    connection: Connection, visitor: Visitor, term: Term, now: datetime
) -> tuple[str, datetime]:
    """Make a one-time link for a term, inside the caller's write; return its token and until when it is good."""
    until = max(now, min(term.starts_at, now + LINK_AHEAD)) + LINK_AFTER
    who = people.get(connection, term.person_id)
    token = links.make_link_for(connection, who, now, ends_at=until, by=visitor.person.id)
    events.record(
        connection,
        at=now,
        event="link.made",
        subject=f"person:{who.id}",
        person_id=visitor.person.id,
    )
    return token, until


def to_moment(text: str, zone: ZoneInfo, field: str) -> datetime:
    """Return the moment a field says, in UTC; without a zone it is the practice's.

    Raises:
        InvalidInput: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(field, mark("A day and a time, please.")) from error
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone)
    return found.astimezone(ZoneInfo("UTC"))


def _local(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%dT%H:%M")


def _list(box: Box, visitor: Visitor, problems: tuple[tuple[str, str], ...] = ()) -> LocumsPage:
    now = utc_now()
    with box.database.read() as connection:
        lines = [
            line_of(connection, each, now)
            for each in locums.every(connection)
            if each.answers(visitor.person)
        ]
        rules = locums.rules(connection)
    return LocumsPage(lines, rules, visitor.may(Action.PEOPLE_CHANGE), problems)


def show(
    request: Request,
    box: Box,
    visitor: Visitor,
    term_id: int,
    *,
    token: str | None = None,
    until: datetime | None = None,
    problems: tuple[tuple[str, str], ...] = (),
    status: int = 200,
) -> Response:
    """Return the page of one term.

    Raises:
        NotFound: there is none, or the visitor does not answer for it.
    """
    with box.database.read() as connection:
        term = _of(connection, visitor, term_id)
        line = line_of(connection, term, utc_now())
        labels = {int(each.id): each.label for each in shares.all_living(connection)}
    rights = [
        (labels[share], [RIGHT_TEXTS[right] for right in Right if right in given])
        for share, given in term.rights.items()
        if share in labels
    ]
    link = None if token is None else links.address(origin_of(request), token)
    page = LocumPage(
        line,
        rights,
        bool(term.rpps) and looks_mistyped(term.rpps),
        _local(term.ends_at, box.zone),
        link,
        until,
        problems,
    )
    return render(request, page, status)
