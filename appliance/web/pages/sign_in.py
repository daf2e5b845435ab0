"""Signing in and out, the one-time link, the first account."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import (
    first_account,
    links,
    oidc_providers,
    passkeys,
    passwords,
    people,
    sessions,
)
from appliance.accounts import sign_in as signing_in
from appliance.accounts.leaked import Leaked
from appliance.clock import utc_now
from appliance.errors import (
    AccountBlocked,
    AccountNotOpen,
    AlreadyExists,
    EnvelopeOpened,
    InvalidInput,
    LinkExpired,
    NotSignedIn,
    SecondFactorMissing,
    TooManyAttempts,
)
from appliance.language import Language, explain, mark, translate
from appliance.ledger import events
from appliance.policy import passwords as password_policy
from appliance.web.attempts import Attempts
from appliance.web.deps import Box, TheBox, aside, find_visitor, language_of
from appliance.web.pages.arrivals import (
    LONGEST_PASSWORD,
    address_of,
    agent_of,
    comer_of,
    host_of,
    inside,
    let_in,
)
from appliance.web.render import Page, render, words_of
from appliance.web.security import COOKIE, clear_session, set_session

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]


@dataclass(frozen=True, slots=True)
class SignInPage(Page):
    """A login and a password."""

    template: ClassVar[str] = "sign_in.html"
    login: str = ""
    next: str = "/"
    problem: str | None = None
    is_new_box: bool = False
    passkeys_fit: bool = False
    outside: tuple[tuple[str, str], ...] = ()  # address, name of another service


@dataclass(frozen=True, slots=True)
class LinkPage(Page):
    """The code of a one-time link, taken from the address by a script or pasted."""

    template: ClassVar[str] = "link.html"
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class FirstAccountPage(Page):
    """Who owns this box."""

    template: ClassVar[str] = "first_account.html"
    token: str
    name: str = ""
    login: str = ""
    problems: tuple[tuple[str, str], ...] = ()  # field, sentence


@router.api_route("/sign-in", methods=["GET", "HEAD"], name="sign-in")  # HEAD: monitors
async def show_sign_in(request: Request, box: TheBox, next: str = "/") -> Response:  # noqa: A002
    """Show the form; who is signed in already goes on."""
    if find_visitor(request) is not None:
        return RedirectResponse(inside(next), 303)
    return form_page(request, box, next=next)


@router.post("/sign-in", name="sign-in-try")
async def try_sign_in(
    request: Request,
    box: TheBox,
    login: Text = "",
    password: Text = "",
    next: Text = "/",  # noqa: A002
) -> Response:
    """Begin a session, or say why not; the answer is the same for a wrong login and a wrong password."""
    language = language_of(request)

    attempts: Attempts = request.app.state.attempts

    def work() -> signing_in.SignedIn:
        wait_s = attempts.wait_s(address_of(request))
        if wait_s:
            raise TooManyAttempts(wait_s)
        if len(password) > LONGEST_PASSWORD:
            raise NotSignedIn
        return signing_in.by_password(
            box.database,
            login.strip(),
            password,
            address=address_of(request),
            user_agent=agent_of(request),
            now=utc_now(),
            web_keys=box.settings.tls,
        )

    try:
        started = await aside(work)
    except NotSignedIn:
        attempts.failed(address_of(request))
        problem = translate(mark("The login or the password is wrong."), language)
        return form_page(request, box, login.strip(), next, problem, 401)
    except AccountNotOpen as error:
        page = SignInPage(login.strip(), inside(next), _why_shut(request, error))
        return render(request, page, 403)
    except (TooManyAttempts, AccountBlocked, SecondFactorMissing, EnvelopeOpened) as error:
        status = 429 if isinstance(error, TooManyAttempts | AccountBlocked) else 403
        return form_page(request, box, login.strip(), next, explain(error, language), status)
    return await let_in(request, box, started, inside(next))


@router.post("/sign-out", name="sign-out")
async def sign_out(request: Request, box: TheBox) -> Response:
    """End this session and go back to the sign-in page."""
    visitor = comer_of(request)
    if visitor is None:
        return RedirectResponse("/sign-in", 303)
    now = utc_now()

    def change(connection: Connection) -> None:
        sessions.end(connection, visitor.session.id, now=now)
        events.record(
            connection,
            at=now,
            event="session.end",
            subject=f"person:{visitor.person.id}",
            person_id=visitor.person.id,
        )

    await box.write(change)
    from appliance.web.pages import oidc  # noqa: PLC0415 - that page shows this one's form

    outside = oidc.signed_out(request, request.cookies.get(COOKIE, ""))
    answer = outside or clear_session(RedirectResponse("/sign-in", 303))
    answer.headers["clear-site-data"] = '"cache"'
    return answer


@router.get("/link", name="link")
async def show_link(request: Request) -> Response:
    """Ask for the code; a small script takes it from behind the «#» of the address."""
    return render(request, LinkPage())


@router.post("/link", name="link-use")
async def use_link(request: Request, box: TheBox, token: Text = "") -> Response:
    """Sign in with a person's link, or go on to the first account."""
    now = utc_now()

    def check(connection: Connection) -> links.Link:
        return links.check(connection, token, now=now)

    def begin(connection: Connection) -> signing_in.SignedIn:
        return signing_in.by_link(
            connection,
            token,
            address=address_of(request),
            user_agent=agent_of(request),
            now=now,
            web_keys=box.settings.tls,
        )

    try:
        link = await box.read_aside(check)
        if link.person_id is None:
            return render(request, FirstAccountPage(token.strip()))
        started = await box.write(begin)
    except LinkExpired as error:
        return render(request, LinkPage(explain(error, language_of(request))), 410)
    except AccountNotOpen as error:  # the link stays good: it is for the first day
        return render(request, LinkPage(_why_shut(request, error)), 403)
    return await let_in(request, box, started, "/account?after=link")


def _why_shut(request: Request, error: AccountNotOpen) -> str:
    """Return from when a locum's account is open, or that it is not any more."""
    words = words_of(request)
    if error.starts_at is None:
        return explain(error, words.language)
    return words.text(
        mark("Your replacement begins on %(moment)s: you can sign in from then on."),
        moment=words.moment(error.starts_at),
    )


@router.post("/first-account", name="first-account")
async def make_first_account(
    request: Request,
    box: TheBox,
    token: Text = "",
    name: Text = "",
    login: Text = "",
    password: Text = "",
    password_again: Text = "",
) -> Response:
    """Make the owner's account and begin their session."""
    language = language_of(request)
    login = login.strip().lower()
    problems: list[tuple[str, str]] = []
    try:
        first_account.check_names(login, name)
    except InvalidInput as error:
        problems.append((error.name, translate(error.expected, language)))
    problems.extend(
        _password_problems(password, password_again, login, name, language, box.settings.data)
    )
    if problems:
        page = FirstAccountPage(token, name, login, tuple(problems))
        return render(request, page, 422)
    try:
        session = await _make_owner(request, box, token, name, login, password, language)
    except LinkExpired as error:
        return render(request, LinkPage(explain(error, language)), 410)
    except (InvalidInput, AlreadyExists) as error:
        page = FirstAccountPage(token, name, login, (("login", explain(error, language)),))
        return render(request, page, 422)
    return set_session(RedirectResponse("/welcome", 303), session)


async def _make_owner(
    request: Request, box: Box, token: str, name: str, login: str, password: str, language: Language
) -> str:
    now = utc_now()
    password_hash = await aside(passwords.make_hash, password)

    def change(connection: Connection) -> str:
        owner = first_account.make(
            connection,
            token,
            login=login,
            name=name,
            password_hash=password_hash,
            language=language,
            now=now,
        )
        return sessions.start(
            connection,
            owner.id,
            now=now,
            address=address_of(request),
            user_agent=agent_of(request),
        )

    return await box.write(change)


def _password_problems(
    password: str, again: str, login: str, name: str, language: Language, data: Path
) -> list[tuple[str, str]]:
    verdict = password_policy.judge(password, login=login, name=name, leaked=Leaked(data))
    problems = [("password", sentence) for sentence in verdict.words(language)]
    if password != again:
        problems.append(("password_again", translate(mark("The two passwords differ."), language)))
    return problems


@router.post("/language", name="language")
async def choose_language(
    request: Request,
    box: TheBox,
    language: Text = "fr",
    next: Text = "/",  # noqa: A002
) -> Response:
    """Keep the choice: with the account, or in a cookie before signing in."""
    chosen: Language = "en" if language == "en" else "fr"
    answer = RedirectResponse(inside(next), 303)
    visitor = find_visitor(request)
    if visitor is None:
        answer.set_cookie(
            "__Host-lang", chosen, max_age=31_536_000, secure=True, httponly=True, samesite="lax"
        )
        return answer
    await box.write(lambda c: people.set_language(c, visitor.person.id, chosen))
    return answer


def form_page(
    request: Request,
    box: Box,
    login: str = "",
    next: str = "/",  # noqa: A002
    problem: str | None = None,
    status: int = 200,
) -> Response:
    """Return the form, and what can be used instead of a password."""
    onward = inside(next)
    with box.database.read() as connection:
        page = SignInPage(
            login,
            onward,
            problem,
            is_new_box=people.count(connection) == 0,
            passkeys_fit=passkeys.fits(host_of(request)),
            outside=tuple(
                (f"/sign-in/outside?{urlencode({'with': each.id, 'next': onward})}", each.name)
                for each in oidc_providers.read(connection)
                if each.is_on
            ),
        )
    return render(request, page, status)
