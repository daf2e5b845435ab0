"""The people of the practice: nominative accounts, opened through one-time links, closed but never deleted."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import (
    first_account,
    links,
    locums,
    people,
    sealed_envelope,
    second_factors,
    sessions,
)
from appliance.clock import utc_now
from appliance.db import practice
from appliance.errors import AlreadyExists, InvalidInput
from appliance.language import explain, mark, translate
from appliance.ledger import events
from appliance.model import Person, PersonId, Role
from appliance.policy.roles import ROLE_NAMES, Action
from appliance.web.deps import Box, TheBox, TheVisitor, language_of, needs, proven
from appliance.web.pages.arrivals import origin_of
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]

#: A locum's account has a beginning, an end and whom it stands in for: it has a page of its own.
OFFERED: Final = (Role.ASSOCIATE, Role.SECRETARY, Role.TECHNICAL_ADMIN, Role.OWNER)
ROLE_HINTS: Final[dict[Role, str]] = {
    Role.ASSOCIATE: mark("backs up, opens and restores files"),
    Role.SECRETARY: mark("sees whether the night went well"),
    Role.TECHNICAL_ADMIN: mark("sets machines up; sees no document and no name of one"),
    Role.OWNER: mark("may do everything"),
}


@dataclass(frozen=True, slots=True)
class PersonLine:
    """One account."""

    person: Person
    role_name: str
    sessions: int  # living ones
    is_me: bool
    has_factors: bool  # a second factor that may have been lost
    is_envelope: bool  # of nobody: no link, no factor


@dataclass(frozen=True, slots=True)
class PeoplePage(Page):
    """Every account, and the form for a new one."""

    template: ClassVar[str] = "people.html"
    lines: list[PersonLine]
    roles: list[tuple[str, str, str]]  # value, name, hint
    link: str | None = None  # shown once
    link_for: str = ""
    name: str = ""
    login: str = ""
    role: str = Role.SECRETARY.value
    problems: tuple[tuple[str, str], ...] = ()


@router.get("/people", name="people", dependencies=[needs(Action.PEOPLE_LET_IN)])
async def list_people(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Show every account."""
    return render(request, _page(box, visitor))


@router.post("/people", name="people-add", dependencies=[needs(Action.PEOPLE_LET_IN), proven()])
async def add_person(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    name: Text = "",
    login: Text = "",
    role: Text = "",
) -> Response:
    """Open an account without a password, and show the one-time link with which it is entered."""
    language = language_of(request)
    login = login.strip().lower()
    problems: list[tuple[str, str]] = []
    try:
        first_account.check_names(login, name)
    except InvalidInput as error:
        problems.append((error.name, translate(error.expected, language)))
    if role not in {one.value for one in OFFERED}:
        problems.append(("role", translate(mark("Choose what this person may do."), language)))
    if not problems:
        try:
            made, token = await box.write(
                lambda c: open_account(c, visitor, name=name, login=login, role=Role(role))
            )
        except AlreadyExists as error:
            problems.append(("login", explain(error, language)))
        else:
            return _show_link(request, box, visitor, made, token)
    page = _page(box, visitor, name=name, login=login, role=role, problems=tuple(problems))
    return render(request, page, 422)


@router.post(
    "/people/{person_id}/link",
    name="people-link",
    dependencies=[needs(Action.PEOPLE_LET_IN), proven()],
)
async def make_link(
    request: Request, box: TheBox, visitor: TheVisitor, person_id: PersonId
) -> Response:
    """Make a new one-time link for a person who lost the password or is blocked."""
    person, token = await box.write(lambda c: fresh_link(c, visitor, person_id))
    return _show_link(request, box, visitor, person, token)


@router.post(
    "/people/{person_id}/close",
    name="people-close",
    dependencies=[needs(Action.PEOPLE_CHANGE), proven()],
)
async def close_account(box: TheBox, visitor: TheVisitor, person_id: PersonId) -> Response:
    """Close an account and end its sessions at once.

    Raises:
        InvalidInput: it is one's own: somebody must stay responsible.
    """
    await box.write(lambda c: close(c, visitor, person_id))
    return RedirectResponse("/people", 303)


def open_account(
    connection: Connection, visitor: TheVisitor, *, name: str, login: str, role: Role
) -> tuple[Person, str]:
    """Open an account without a password, inside the caller's write; return it and its one-time link's token.

    Raises:
        AlreadyExists: somebody has this login.
    """
    now = utc_now()
    made = people.add(
        connection,
        login=login,
        name=" ".join(name.split()),
        role=role,
        language=practice.language(connection),
        password_hash=None,
        now=now,
    )
    _record(connection, "person.add", visitor, made.id, role=role.value)
    return made, links.make_link_for(connection, made, now, by=visitor.person.id)


def fresh_link(
    connection: Connection, visitor: TheVisitor, person_id: PersonId
) -> tuple[Person, str]:
    """Make a new one-time link for a person; return both.

    Raises:
        NotFound: there is no such account.
        InvalidInput: it is closed.
        NotAllowed: it is a sealed envelope's.
    """
    person = _open(connection, person_id)
    _record(connection, "link.made", visitor, person.id)
    return person, links.make_link_for(connection, person, utc_now(), by=visitor.person.id)


def close(connection: Connection, visitor: TheVisitor, person_id: PersonId) -> None:
    """Close an account and end what was open of it.

    Raises:
        NotFound: there is no such account.
        InvalidInput: it is closed already, or one's own: somebody must stay responsible.
    """
    if person_id == visitor.person.id:
        raise InvalidInput("person", mark("Nobody closes their own account."))
    now = utc_now()
    person = _open(connection, person_id)
    if person.role is Role.SEALED_ENVELOPE:
        sealed_envelope.withdraw(connection, by=visitor.person.id, now=now, but=visitor.session.id)
    else:
        people.disable(connection, person.id, now=now)
    locums.end_all(connection, person.id, now=now)
    _record(connection, "person.close", visitor, person.id)


def _open(connection: Connection, person_id: PersonId) -> Person:
    person = people.get(connection, person_id)
    if person.disabled_at is not None:
        raise InvalidInput("person", mark("This account is closed."))
    return person


def _record(
    connection: Connection, event: str, visitor: TheVisitor, about: PersonId, role: str = ""
) -> None:
    events.record(
        connection,
        at=utc_now(),
        event=event,
        subject=f"person:{about}",
        person_id=visitor.person.id,
        role=role or None,
    )


def _show_link(
    request: Request, box: Box, visitor: TheVisitor, person: Person, token: str
) -> Response:
    base = origin_of(request)
    page = _page(box, visitor, link=links.address(base, token), link_for=person.name)
    return render(request, page)


def _page(
    box: Box,
    visitor: TheVisitor,
    *,
    link: str | None = None,
    link_for: str = "",
    name: str = "",
    login: str = "",
    role: str = Role.SECRETARY.value,
    problems: tuple[tuple[str, str], ...] = (),
) -> PeoplePage:
    now = utc_now()
    with box.database.read() as connection:
        lines = [
            PersonLine(
                one,
                ROLE_NAMES[one.role],
                len(sessions.living(connection, one.id, now=now)),
                one.id == visitor.person.id,
                bool(second_factors.of_person(connection, one.id)),
                one.role is Role.SEALED_ENVELOPE,
            )
            for one in people.everybody(connection)
        ]
    return PeoplePage(
        lines,
        [(one.value, ROLE_NAMES[one], ROLE_HINTS[one]) for one in OFFERED],
        link,
        link_for,
        name,
        login,
        role,
        problems,
    )
