"""Replacements: prepared by a doctor, from date to date, with a chosen part of the rights (domain.md SEC-02)."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Annotated, ClassVar, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from appliance.accounts import first_account, links, locums, people
from appliance.accounts.locums import Rules, Term
from appliance.clock import utc_now
from appliance.db import shares
from appliance.disk import set_up
from appliance.errors import AlreadyExists, AlreadyQueued, InvalidInput, NotAllowed, NotFound
from appliance.jobs import queue
from appliance.jobs.kinds import SetUpSource
from appliance.language import Language, explain, mark, translate
from appliance.ledger import events
from appliance.model import Person, PersonId, Role
from appliance.policy.locum import REPLACED, looks_mistyped
from appliance.policy.roles import Action
from appliance.policy.share_rights import RIGHT_TEXTS, Right
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs, proven
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
class ShareTicks:
    """A share, what its doctor may do there, what was ticked."""

    id: int
    label: str
    offered: list[tuple[str, str, bool]]  # right, words, ticked


@dataclass(frozen=True, slots=True)
class PreparePage(Page):
    """The form for a new term."""

    template: ClassVar[str] = "locums/new.html"
    doctors: list[Person]
    replaced: Person
    known: list[Person]  # locums who were here before
    ticks: list[ShareTicks]
    rules: Rules
    values: dict[str, str]
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


@router.post("/locums/rules", name="locums-rules", dependencies=[needs(Action.SETTINGS_CHANGE)])
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


@router.get("/locums/new", name="locums-new")
async def show_form(
    request: Request, box: TheBox, visitor: TheVisitor, replaces: int = 0
) -> Response:
    """Show the form; which rights can be ticked depends on who is replaced."""
    return render(request, _form(box, visitor, replaces, {}))


@router.post("/locums/new", name="locums-prepare", dependencies=[proven()])
async def prepare(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Make the account, or take a known one; agree on the term; show the one-time link."""
    form = await request.form()
    values = {name: str(value).strip() for name, value in form.items() if isinstance(value, str)}
    language = language_of(request)
    replaces = int(values["replaces"]) if values.get("replaces", "").isdecimal() else 0
    now = utc_now()
    try:
        term, token, until = await box.write(
            lambda c: _prepare(c, box, visitor, form, values, replaces, language, now)
        )
    except InvalidInput as error:
        problems = [(error.name, translate(error.expected, language))]
    except AlreadyExists as error:
        problems = [("login", explain(error, language))]
    else:
        return _show(request, box, visitor, term.id, token=token, until=until)
    page = _form(box, visitor, replaces, values, form, tuple(problems))
    return render(request, page, 422)


@router.get("/locums/{term_id}", name="locum")
async def show_term(request: Request, box: TheBox, visitor: TheVisitor, term_id: int) -> Response:
    """Show one term.

    Raises:
        NotFound: there is none, or one does not answer for it.
    """
    return _show(request, box, visitor, term_id)


@router.post("/locums/{term_id}/extend", name="locum-extend", dependencies=[proven()])
async def extend(request: Request, box: TheBox, visitor: TheVisitor, term_id: int) -> Response:
    """Move the end: the sponsor, the replaced doctor or an owner; never the locum."""
    form = await request.form()

    def change(connection: Connection) -> Term:
        _of(connection, visitor, term_id)
        ends_at = _moment(str(form.get("ends", "")), box.zone, "ends")
        return locums.extend(connection, term_id, ends_at, by=visitor.person, now=utc_now())

    try:
        await box.write(change)
    except InvalidInput as error:
        problems = ((error.name, translate(error.expected, language_of(request))),)
        return _show(request, box, visitor, term_id, problems=problems, status=422)
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
        return _link(connection, visitor, term, now)

    token, until = await box.write(change)
    return _show(request, box, visitor, term_id, token=token, until=until)


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


def _prepare(
    connection: Connection,
    box: Box,
    visitor: Visitor,
    form: FormData,
    values: dict[str, str],
    replaces: int,
    language: Language,
    now: datetime,
) -> tuple[Term, str, datetime]:
    replaced = _doctor(connection, visitor, replaces)
    starts_at = _moment(values.get("starts", ""), box.zone, "starts")
    ends_at = _moment(values.get("ends", ""), box.zone, "ends")
    who = _account(connection, visitor, values, language, now)
    wanted: dict[int, frozenset[Right]] = {}
    for share in shares.all_living(connection):
        ticked = [str(each) for each in form.getlist(f"share-{share.id}")]
        wanted[share.id] = frozenset(right for right in Right if right.value in ticked)
    term = locums.prepare(
        connection,
        person_id=who.id,
        replaces_id=replaced.id,
        by=visitor.person,
        rpps=values.get("rpps", "").replace(" ", ""),
        starts_at=starts_at,
        ends_at=ends_at,
        wanted=wanted,
        may_copy_cases=bool(values.get("case_copies")),
        now=now,
    )
    if term.may_copy_cases:
        own = _own_share(connection, box, who, replaced, now)
        locums.add_own_share(connection, term.id, own.id)
    return term, *_link(connection, visitor, term, now)


def _account(
    connection: Connection,
    visitor: Visitor,
    values: dict[str, str],
    language: Language,
    now: datetime,
) -> Person:
    known = values.get("known", "")
    if known.isdecimal():
        return people.get(connection, PersonId(int(known)))
    login = values.get("login", "").lower()
    first_account.check_names(login, values.get("name", ""))
    made = people.add(
        connection,
        login=login,
        name=" ".join(values["name"].split()),
        role=Role.LOCUM,
        language=language,
        password_hash=None,
        now=now,
    )
    events.record(
        connection,
        at=now,
        event="person.add",
        subject=f"person:{made.id}",
        person_id=visitor.person.id,
        role=Role.LOCUM.value,
    )
    return made


def _own_share(
    connection: Connection, box: Box, who: Person, replaced: Person, now: datetime
) -> shares.Share:
    """Return the folder case copies go to: the replaced doctor's, seen by the locum during the term."""
    name = locums.own_share_name(who)
    try:
        return shares.get_by_name(connection, name)
    except NotFound:
        made = set_up.make_share(
            connection,
            box.settings,
            name=name,
            label=f"{who.name} – remplacement",
            person_id=replaced.id,
            now=now,
        )
    if made.source_id is not None:
        with suppress(AlreadyQueued):
            queue.enqueue(connection, SetUpSource(made.source_id), now=now)
    return made


def _link(
    connection: Connection, visitor: Visitor, term: Term, now: datetime
) -> tuple[str, datetime]:
    until = max(now, min(term.starts_at, now + LINK_AHEAD)) + LINK_AFTER
    who = people.get(connection, term.person_id)
    token = links.make_link_for(connection, who, now, ends_at=until)
    events.record(
        connection,
        at=now,
        event="link.made",
        subject=f"person:{who.id}",
        person_id=visitor.person.id,
    )
    return token, until


def _doctor(connection: Connection, visitor: Visitor, replaces: int) -> Person:
    """Return whom is replaced: of an associate always themselves."""
    if visitor.person.role is not Role.OWNER:
        if replaces not in {0, visitor.person.id}:
            raise NotAllowed("locums.change")
        return visitor.person
    found = [each for each in _doctors(connection, visitor) if each.id == replaces]
    if not found:
        raise InvalidInput("replaces", mark("Choose a doctor of the practice."))
    return found[0]


def _doctors(connection: Connection, visitor: Visitor) -> list[Person]:
    everybody = [
        each
        for each in people.everybody(connection)
        if each.role in REPLACED and each.disabled_at is None
    ]
    if visitor.person.role is Role.OWNER:
        return sorted(everybody, key=lambda each: each.id != visitor.person.id)
    return [each for each in everybody if each.id == visitor.person.id]


def _moment(text: str, zone: ZoneInfo, field: str) -> datetime:
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
    return LocumsPage(lines, rules, visitor.may(Action.SETTINGS_CHANGE), problems)


def _form(
    box: Box,
    visitor: Visitor,
    replaces: int,
    values: dict[str, str],
    form: FormData | None = None,
    problems: tuple[tuple[str, str], ...] = (),
) -> PreparePage:
    now = utc_now()
    with box.database.read() as connection:
        doctors = _doctors(connection, visitor)
        replaced = next((each for each in doctors if each.id == replaces), doctors[0])
        held = locums.held_by(connection, replaced, now=now)
        ticks = []
        for share in shares.all_living(connection):
            rights = held.get(share.id)
            if not rights:
                continue
            if form is None:  # a proposal: read and add, where the doctor may
                ticked = {Right.SEE.value, Right.ADD.value}
            else:
                ticked = {str(each) for each in form.getlist(f"share-{share.id}")}
            offered = [
                (right.value, RIGHT_TEXTS[right], right.value in ticked)
                for right in Right
                if right in rights
            ]
            ticks.append(ShareTicks(share.id, share.label, offered))
        known = [
            each
            for each in people.everybody(connection)
            if each.role is Role.LOCUM and each.disabled_at is None
        ]
        rules = locums.rules(connection)
    tomorrow = (now.astimezone(box.zone) + timedelta(days=1)).date()
    usual = {
        "name": "",
        "login": "",
        "rpps": "",
        "known": "",
        "starts": datetime.combine(tomorrow, time(8)).strftime("%Y-%m-%dT%H:%M"),
        "ends": datetime.combine(tomorrow + timedelta(days=7), time(20)).strftime("%Y-%m-%dT%H:%M"),
        "case_copies": "",
    }
    return PreparePage(doctors, replaced, known, ticks, rules, usual | values, problems)


def _show(
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
    with box.database.read() as connection:
        term = _of(connection, visitor, term_id)
        line = line_of(connection, term, utc_now())
        labels = {int(each.id): each.label for each in shares.all_living(connection)}
    rights = [
        (labels[share], [RIGHT_TEXTS[right] for right in Right if right in given])
        for share, given in term.rights.items()
        if share in labels
    ]
    link = None if token is None else links.address(f"https://{request.url.netloc}", token)
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
