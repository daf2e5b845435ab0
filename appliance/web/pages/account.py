"""One's own account: password, sessions, language."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import passwords, people, second_factors, sessions, sign_in_rules
from appliance.accounts.leaked import Leaked
from appliance.accounts.sessions import Session
from appliance.clock import utc_now
from appliance.language import mark, translate
from appliance.ledger import events
from appliance.policy import passwords as password_policy
from appliance.policy.roles import ROLE_NAMES
from appliance.web.deps import TheBox, TheVisitor, aside, language_of
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
    return _page(request, box, visitor, came_by_link=after == "link", done=done.get(after))


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
    language = language_of(request)
    person = visitor.person
    now = utc_now()
    problems: list[tuple[str, str]] = []
    with box.database.read() as connection:
        row = people.find_row(connection, person.login)
        came_by_link = _came_by_link(visitor)
    stored = None if row is None else row.password_hash
    if not came_by_link and not await aside(passwords.matches, stored, current):
        problems.append(("current", translate(mark("This is not your password."), language)))
    known = Leaked(box.settings.data)
    verdict = password_policy.judge(password, login=person.login, name=person.name, leaked=known)
    problems.extend(("password", sentence) for sentence in verdict.words(language))
    if password != password_again:
        problems.append(("password_again", translate(mark("The two passwords differ."), language)))
    if problems:
        return _page(
            request, box, visitor, came_by_link=came_by_link, problems=tuple(problems), status=422
        )
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
    return RedirectResponse("/account?after=password", 303)


@router.post("/account/sessions/{session_id}/end", name="account-end-session")
async def end_session(box: TheBox, visitor: TheVisitor, session_id: int) -> Response:
    """End one of one's own sessions."""
    now = utc_now()

    def change(connection: Connection) -> None:
        sessions.revoke(connection, visitor.person.id, session_id, now=now)
        events.record(
            connection,
            at=now,
            event="session.revoke",
            subject=f"person:{visitor.person.id}",
            person_id=visitor.person.id,
            session=session_id,
        )

    await box.write(change)
    return RedirectResponse("/account?after=session", 303)


@router.post("/account/sessions/end", name="account-end-others")
async def end_others(box: TheBox, visitor: TheVisitor) -> Response:
    """End all of one's own sessions but this one."""
    now = utc_now()

    def change(connection: Connection) -> None:
        who = visitor.person.id
        count = sessions.end_others(connection, who, but=visitor.session.id, now=now)
        events.record(
            connection,
            at=now,
            event="session.revoke-all",
            subject=f"person:{who}",
            person_id=who,
            sessions=count,
        )

    await box.write(change)
    return RedirectResponse("/account?after=session", 303)


def _came_by_link(visitor: TheVisitor) -> bool:
    """Return whether this very session was begun by a link, just now."""
    session = visitor.session
    return session.means.is_link and utc_now() - session.created_at < LINK_TRUST


def _page(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    *,
    came_by_link: bool = False,
    done: str | None = None,
    problems: tuple[tuple[str, str], ...] = (),
    status: int = 200,
) -> Response:
    with box.database.read() as connection:
        living = sessions.living(connection, visitor.person.id, now=utc_now())
        by_link = came_by_link or _came_by_link(visitor)
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
