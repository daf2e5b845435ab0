"""Preparing a replacement: whom, by whom, from when to when, with which part of the rights (domain.md SEC-02)."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import ClassVar

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.datastructures import FormData
from starlette.responses import Response

from appliance.accounts import first_account, locums, people
from appliance.accounts.locums import Rules, Term
from appliance.clock import utc_now
from appliance.db import practice, shares
from appliance.disk import set_up
from appliance.errors import AlreadyExists, AlreadyQueued, InvalidInput, NotAllowed, NotFound
from appliance.jobs import queue
from appliance.jobs.kinds import SetUpSource
from appliance.language import explain, mark, translate
from appliance.ledger import events
from appliance.model import Person, PersonId, Role
from appliance.policy.locum import REPLACED
from appliance.policy.roles import Action
from appliance.policy.share_rights import RIGHT_TEXTS, Right
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs, proven
from appliance.web.pages.locums import new_link, show, to_moment
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.LOCUMS_CHANGE)])


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
            lambda c: prepare_term(c, box, visitor, values, _ticked(c, form), replaces, now)
        )
    except InvalidInput as error:
        problems = [(error.name, translate(error.expected, language))]
    except AlreadyExists as error:
        problems = [("login", explain(error, language))]
    else:
        return show(request, box, visitor, term.id, token=token, until=until)
    page = _form(box, visitor, replaces, values, form, tuple(problems))
    return render(request, page, 422)


def prepare_term(
    connection: Connection,
    box: Box,
    visitor: Visitor,
    values: dict[str, str],
    wanted: dict[int, frozenset[Right]],
    replaces: int,
    now: datetime,
) -> tuple[Term, str, datetime]:
    """Agree on a term inside the caller's write; return it, its one-time link's token and until when that is good.

    Args:
        connection: of the write.
        box: of the request.
        visitor: who prepares it.
        values: name, login or known, rpps, starts, ends, case_copies.
        wanted: rights by share.
        replaces: whom; 0: of an associate themselves.
        now: aware.

    Raises:
        InvalidInput, NotFound, NotAllowed, AlreadyExists.
    """
    replaced = _doctor(connection, visitor, replaces)
    starts_at = to_moment(values.get("starts", ""), box.zone, "starts")
    ends_at = to_moment(values.get("ends", ""), box.zone, "ends")
    who = _account(connection, visitor, values, now)
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
    return term, *new_link(connection, visitor, term, now)


def _ticked(connection: Connection, form: FormData) -> dict[int, frozenset[Right]]:
    wanted: dict[int, frozenset[Right]] = {}
    for share in shares.all_living(connection):
        ticked = [str(each) for each in form.getlist(f"share-{share.id}")]
        wanted[share.id] = frozenset(right for right in Right if right.value in ticked)
    return wanted


def _account(
    connection: Connection,
    visitor: Visitor,
    values: dict[str, str],
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
        language=practice.language(connection),
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
