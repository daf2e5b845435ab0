"""One's own account: password, sessions, language."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import passwords, people, second_factors, sessions, sign_in_rules
from appliance.accounts import sign_in as signing_in
from appliance.accounts.leaked import Leaked
from appliance.accounts.sessions import Session
from appliance.clock import utc_now
from appliance.errors import PasswordWrong
from appliance.language import Language, mark, translate
from appliance.ledger import events
from appliance.policy import passwords as password_policy
from appliance.policy.roles import ROLE_NAMES
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, language_of
from appliance.web.pages.arrivals import LONGEST_PASSWORD
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]
#: So long after a one-time link was used, the old password is not asked for.
LINK_TRUST: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class AccountPage(Page):
    """Everything about the account of who asks."""

    template: ClassVar[str] = "account.html"
    role_name: str
    sessions: list[Session]  # newest first
    current_id: int
    factors: int  # living second factors
    idle_minutes: int
    came_by_link: bool = False
    done: str | None = None
    problems: tuple[tuple[str, str], ...] = ()


@router.get("/account", name="account")
async def show_account(
    request: Request, box: TheBox, visitor: TheVisitor, after: str = ""
) -> Response:
    """Show one's own account."""
    done = {
        "password": mark("The new password is in use."),
        "session": mark("The session was ended."),
    }
    return _page(request, box, visitor, is_by_link=after == "link", done=done.get(after))


@router.post("/account/password", name="account-password")
async def change_password(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    current: Text = "",
    password: Text = "",
    password_again: Text = "",
) -> Response:
    """Change the password and end every other session.

    Whoever came by a one-time link in the last minutes need not know the old one.
    """
    problems = await put_password(
        box, visitor, current, password, password_again, language_of(request)
    )
    if problems:
        return _page(
            request,
            box,
            visitor,
            problems=tuple(problems),
            status=422,
        )
    return RedirectResponse("/account?after=password", 303)


async def put_password(
    box: Box, visitor: Visitor, current: str, password: str, again: str, language: Language
) -> list[tuple[str, str]]:
    """Change one's own password and end one's other sessions.

    Returns:
        What is wrong, field by field and in words; nothing was changed then.

    Raises:
        TooManyAttempts, AccountBlocked: a wrong old password counts as a failed sign-in.
    """
    person = visitor.person
    now = utc_now()
    problems: list[tuple[str, str]] = []
    if not came_by_link(visitor):
        typed = current if len(current) <= LONGEST_PASSWORD else ""
        try:
            await aside(lambda: signing_in.again(box.database, person.id, typed, now=now))
        except PasswordWrong:
            problems.append(("current", translate(mark("This is not your password."), language)))
    known = Leaked(box.settings.data)
    verdict = password_policy.judge(password, login=person.login, name=person.name, leaked=known)
    problems.extend(("password", sentence) for sentence in verdict.words(language))
    if password != again:
        problems.append(("password_again", translate(mark("The two passwords differ."), language)))
    if problems:
        return problems
    made = await aside(passwords.make_hash, password)

    def change(connection: Connection) -> None:
        people.set_password(connection, person.id, made)
        sessions.end_others(connection, person.id, but=visitor.session.id, now=now)
        events.record(
            connection,
            at=now,
            event="password.change",
            subject=f"person:{person.id}",
            person_id=person.id,
        )

    await box.write(change)
    return []


@router.post("/account/sessions/{session_id}/end", name="account-end-session")
async def end_session(box: TheBox, visitor: TheVisitor, session_id: int) -> Response:
    """End one of one's own sessions."""
    await box.write(lambda c: end_own(c, visitor, session_id))
    return RedirectResponse("/account?after=session", 303)


@router.post("/account/sessions/end", name="account-end-others")
async def end_others(box: TheBox, visitor: TheVisitor) -> Response:
    """End all of one's own sessions but this one."""
    await box.write(lambda c: end_own_others(c, visitor))
    return RedirectResponse("/account?after=session", 303)


def end_own(connection: Connection, visitor: Visitor, session_id: int) -> None:
    """End one of one's own sessions, inside the caller's write.

    Raises:
        NotFound: it is not one's own, or was ended already.
    """
    now, who = utc_now(), visitor.person.id
    sessions.revoke(connection, who, session_id, now=now)
    events.record(
        connection,
        at=now,
        event="session.revoke",
        subject=f"person:{who}",
        person_id=who,
        session=session_id,
    )


def end_own_others(connection: Connection, visitor: Visitor) -> int:
    """End all of one's own sessions but this one, inside the caller's write; return how many."""
    now, who = utc_now(), visitor.person.id
    count = sessions.end_others(connection, who, but=visitor.session.id, now=now)
    events.record(
        connection,
        at=now,
        event="session.revoke-all",
        subject=f"person:{who}",
        person_id=who,
        sessions=count,
    )
    return count


def came_by_link(visitor: Visitor) -> bool:
    """Return whether this very session was begun by a link, just now."""
    session = visitor.session
    return session.means.is_link and utc_now() - session.created_at < LINK_TRUST


def _page(
    request: Request,
    box: Box,
    visitor: Visitor,
    *,
    is_by_link: bool = False,
    done: str | None = None,
    problems: tuple[tuple[str, str], ...] = (),
    status: int = 200,
) -> Response:
    with box.database.read() as connection:
        living = sessions.living(connection, visitor.person.id, now=utc_now())
        by_link = is_by_link or came_by_link(visitor)
        factors = len(second_factors.of_person(connection, visitor.person.id))
        idle_minutes = int(sign_in_rules.read(connection).idle.total_seconds() // 60)
    page = AccountPage(
        role_name=ROLE_NAMES[visitor.person.role],
        sessions=living,
        current_id=visitor.session.id,
        factors=factors,
        idle_minutes=idle_minutes,
        came_by_link=by_link,
        done=done,
        problems=problems,
    )
    return render(request, page, status)
