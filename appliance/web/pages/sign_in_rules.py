"""Who signs in how: the practice's rules, everybody's second factors and sessions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import (
    oidc_providers,
    oidc_sign_in,
    people,
    second_factors,
    sessions,
    sign_in_rules,
)
from appliance.accounts.oidc_providers import Provider
from appliance.accounts.sign_in_rules import Rules
from appliance.clock import utc_now
from appliance.errors import InvalidInput
from appliance.language import explain, mark
from appliance.ledger import events
from appliance.model import Person, PersonId
from appliance.policy.roles import ROLE_NAMES, Action
from appliance.policy.second_factor import ALWAYS
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs, proven
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]
Number = Annotated[int, Form()]

IDLE_CHOICES: Final = (5, 10, 15, 20, 30)
LOCAL_CHOICES: Final = (4, 8, 10, 12)
REMOTE_CHOICES: Final = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class PersonLine:
    """How one person signs in."""

    person: Person
    role_name: str
    factors: list[str]  # kinds, newest first
    sessions: int  # living
    seen_at: datetime | None  # last click of a living session
    is_always: bool  # the role shows a second factor anyway
    needs: bool  # set for this person
    prepared: dict[str, str]  # service id → number
    is_me: bool


@dataclass(frozen=True, slots=True)
class RulesPage(Page):
    """The rules, everybody, other services."""

    template: ClassVar[str] = "account/rules.html"
    rules: Rules
    idle_choices: tuple[int, ...]
    local_choices: tuple[int, ...]
    remote_choices: tuple[int, ...]
    lines: list[PersonLine]
    providers: list[Provider]
    done: str | None = None
    problem: str | None = None


_DONE: Final = {
    "rules": mark("The rules are in force."),
    "ended": mark("The sessions have ended."),
    "factors": mark(
        "The second factor was removed: at the next sign-in, at the practice, a new one is made."
    ),
    "needs": mark("It is in force from the next sign-in on."),
    "service": mark("The service is saved."),
    "prepared": mark("The account is prepared for that service."),
}


@router.get("/access", name="access", dependencies=[needs(Action.PEOPLE_CHANGE)])
async def show_rules(
    request: Request, box: TheBox, visitor: TheVisitor, after: str = ""
) -> Response:
    """Show how everybody signs in."""
    return rules_page(request, box, visitor, done=_DONE.get(after))


@router.post("/access", name="access-rules", dependencies=[needs(Action.PEOPLE_CHANGE), proven()])
async def change_rules(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    idle_minutes: Number = 30,
    local_hours: Number = 12,
    remote_hours: Number = 4,
    for_all: Text = "",
) -> Response:
    """Store the rules; the idle limit reaches living sessions at once."""
    rules = Rules(idle_minutes, local_hours, remote_hours, second_factor_for_all=for_all == "yes")
    try:
        await box.write(lambda c: sign_in_rules.put(c, rules, by=visitor.person.id, now=utc_now()))
    except InvalidInput as error:
        said = explain(error, language_of(request))
        return rules_page(request, box, visitor, problem=said, status=422)
    return RedirectResponse("/access?after=rules", 303)


@router.post(
    "/access/end-all", name="access-end-all", dependencies=[needs(Action.PEOPLE_CHANGE), proven()]
)
async def end_all(box: TheBox, visitor: TheVisitor) -> Response:
    """End everybody's sessions at once, but this one."""
    await box.write(lambda c: end_everybodys(c, visitor))
    return RedirectResponse("/access?after=ended", 303)


@router.post(
    "/access/{person_id}/end",
    name="access-end",
    dependencies=[needs(Action.PEOPLE_CHANGE), proven()],
)
async def end_of_person(box: TheBox, visitor: TheVisitor, person_id: PersonId) -> Response:
    """End every session of one person, but this one."""
    await box.write(lambda c: end_persons(c, visitor, person_id))
    return RedirectResponse("/access?after=ended", 303)


@router.post(
    "/access/{person_id}/needs",
    name="access-needs",
    dependencies=[needs(Action.PEOPLE_CHANGE), proven()],
)
async def set_needs(
    box: TheBox,
    visitor: TheVisitor,
    person_id: PersonId,
    wanted: Text = "",
) -> Response:
    """Ask this person for a second factor at the practice too, or no longer."""
    await box.write(lambda c: ask_factor(c, visitor, person_id, is_needed=wanted == "yes"))
    return RedirectResponse("/access?after=needs", 303)


@router.post(
    "/access/{person_id}/forget-factors",
    name="access-forget-factors",
    dependencies=[needs(Action.PEOPLE_LET_IN), proven()],
)
async def forget_factors(
    box: TheBox, visitor: TheVisitor, person_id: PersonId, back: Text = ""
) -> Response:
    """Remove the second factors of a person who lost them, and end their sessions.

    Raises:
        InvalidInput: one's own are changed on one's own page.
    """
    await box.write(lambda c: forget_factors_of(c, visitor, person_id))
    return RedirectResponse("/people" if back == "/people" else "/access?after=factors", 303)


def end_everybodys(connection: Connection, visitor: Visitor) -> int:
    """End everybody's sessions but this one, inside the caller's write; return how many."""
    now = utc_now()
    count = sessions.end_everybodys(connection, but=visitor.session.id, now=now)
    _record_ended(connection, visitor, "box", count, now)
    return count


def end_persons(connection: Connection, visitor: Visitor, person_id: PersonId) -> int:
    """End every session of one person but this one, inside the caller's write; return how many.

    Raises:
        NotFound: there is no such account.
    """
    now = utc_now()
    person = people.get(connection, person_id)
    count = sessions.end_others(connection, person.id, but=visitor.session.id, now=now)
    _record_ended(connection, visitor, f"person:{person.id}", count, now)
    return count


def ask_factor(
    connection: Connection, visitor: Visitor, person_id: PersonId, *, is_needed: bool
) -> None:
    """Ask a person for a second factor at the practice too, or no longer, inside the caller's write.

    Raises:
        NotFound: there is no such account.
    """
    person = people.get(connection, person_id)
    people.set_needs_second_factor(connection, person.id, needs=is_needed)
    events.record(
        connection, at=utc_now(), event="second-factor.needed", subject=f"person:{person.id}",
        person_id=visitor.person.id, is_needed=is_needed,
    )  # fmt: skip


def forget_factors_of(connection: Connection, visitor: Visitor, person_id: PersonId) -> None:
    """Remove the second factors of a person who lost them, inside the caller's write, and end their sessions.

    Raises:
        InvalidInput: one's own are changed on one's own page. NotFound: there is no such account.
    """
    if person_id == visitor.person.id:
        raise InvalidInput("person", mark("Your own are changed in «My account»."))
    now = utc_now()
    person = people.get(connection, person_id)
    second_factors.remove_all(connection, person.id, by=visitor.person.id, now=now)
    sessions.end_others(connection, person.id, but=None, now=now)


def _record_ended(
    connection: Connection, visitor: Visitor, subject: str, count: int, now: datetime
) -> None:
    events.record(
        connection, at=now, event="session.revoke-all", subject=subject,
        person_id=visitor.person.id, sessions=count,
    )  # fmt: skip


def rules_page(
    request: Request,
    box: Box,
    visitor: Visitor,
    *,
    done: str | None = None,
    problem: str | None = None,
    status: int = 200,
) -> Response:
    """Return the page."""
    with box.database.read() as connection:
        page = RulesPage(
            sign_in_rules.read(connection),
            IDLE_CHOICES,
            LOCAL_CHOICES,
            REMOTE_CHOICES,
            person_lines(connection, visitor),
            oidc_providers.read(connection),
            done,
            problem,
        )
    return render(request, page, status)


def person_lines(connection: Connection, visitor: Visitor) -> list[PersonLine]:
    """Return how everybody signs in whose account is open."""
    now = utc_now()
    prepared = {
        one.id: oidc_sign_in.prepared(connection, one) for one in oidc_providers.read(connection)
    }
    lines = []
    for person in people.everybody(connection):
        if person.disabled_at is not None:
            continue
        living = sessions.living(connection, person.id, now=now)
        lines.append(
            PersonLine(
                person,
                ROLE_NAMES[person.role],
                [each.kind for each in second_factors.of_person(connection, person.id)],
                len(living),
                max((each.seen_at for each in living), default=None),
                person.role in ALWAYS,
                people.needs_second_factor(connection, person.id),
                {
                    service: numbers[person.id]
                    for service, numbers in prepared.items()
                    if person.id in numbers
                },
                person.id == visitor.person.id,
            )
        )
    return lines
