"""The second factor at the door, and the passkey that is the whole sign-in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import passkeys, second_factors
from appliance.accounts import sign_in as signing_in
from appliance.clock import utc_now
from appliance.errors import (
    AccountBlocked,
    ArmoireError,
    CodeWrong,
    NotFound,
    PasskeyRefused,
    TooManyAttempts,
)
from appliance.language import explain
from appliance.model import PersonId
from appliance.web.deps import Box, TheBox, Visitor, aside, find_half, find_visitor, language_of
from appliance.web.pages import arrivals
from appliance.web.pages.arrivals import Arrivals, inside
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]


@dataclass(frozen=True, slots=True)
class SecondPage(Page):
    """A code, or a passkey."""

    template: ClassVar[str] = "sign_in/second.html"
    next: str
    name: str
    has_codes: bool
    has_passkeys: bool
    codes_left: int
    problem: str | None = None


@router.get("/sign-in/second", name="sign-in-second")
async def show_second(request: Request, box: TheBox, next: str = "/") -> Response:  # noqa: A002
    """Ask for the second factor; who has none is led to make one."""
    half = find_half(request)
    if half is None:
        return RedirectResponse(inside(next) if find_visitor(request) else "/sign-in", 303)
    with box.database.read() as connection:
        if not second_factors.has_any(connection, half.person.id, box.settings.tls):
            return RedirectResponse("/account/second-factor", 303)
    return _page(request, box, half, next)


@router.post("/sign-in/second", name="sign-in-second-try")
async def try_second(
    request: Request,
    box: TheBox,
    code: Text = "",
    next: Text = "/",  # noqa: A002
) -> Response:
    """Complete the sign-in by a code of the application or a recovery code."""
    now = utc_now()

    def check(connection: Connection, half: Visitor) -> str:
        return second_factors.use_code(
            connection, half.person.id, code[:64], box.settings.tls, now=now
        )

    return await _complete(request, box, check, next)


@router.post("/sign-in/second/passkey/options", name="sign-in-second-options")
async def second_options(request: Request, box: TheBox) -> Response:
    """Return what a passkey of this person is asked to sign."""
    half = find_half(request)
    if half is None:
        return Response(status_code=401)
    store: Arrivals = request.app.state.arrivals
    challenge = store.challenges.make(f"second:{half.session.id}")
    with box.database.read() as connection:
        options = passkeys.request_options(
            connection, half.person.id, host=arrivals.host_of(request), challenge=challenge
        )
    return Response(options, media_type="application/json")


@router.post("/sign-in/second/passkey", name="sign-in-second-passkey")
async def try_second_passkey(
    request: Request,
    box: TheBox,
    answer: Text = "",
    next: Text = "/",  # noqa: A002
) -> Response:
    """Complete the sign-in by a passkey."""
    store: Arrivals = request.app.state.arrivals
    now = utc_now()

    def check(connection: Connection, half: Visitor) -> str:
        passkeys.use(
            connection,
            answer,
            purpose=f"second:{half.session.id}",
            person_id=half.person.id,
            host=arrivals.host_of(request),
            origin=arrivals.origin_of(request),
            challenges=store.challenges,
            now=now,
        )
        return "passkey"

    return await _complete(request, box, check, next)


@router.post("/sign-in/passkey/options", name="sign-in-passkey-options")
async def sign_in_options(request: Request, box: TheBox) -> Response:
    """Return what anybody's passkey is asked to sign: who it is shows in the answer."""
    store: Arrivals = request.app.state.arrivals
    challenge = store.challenges.make(passkeys.ANYBODY)
    with box.database.read() as connection:
        options = passkeys.request_options(
            connection, None, host=arrivals.host_of(request), challenge=challenge
        )
    return Response(options, media_type="application/json")


@router.post("/sign-in/passkey", name="sign-in-passkey")
async def sign_in_by_passkey(
    request: Request,
    box: TheBox,
    answer: Text = "",
    next: Text = "/",  # noqa: A002
) -> Response:
    """Begin a session by a passkey whose device asked its holder: two factors at once."""
    store: Arrivals = request.app.state.arrivals
    attempts = request.app.state.attempts
    address = arrivals.address_of(request)
    now = utc_now()

    def check(connection: Connection) -> PersonId:
        return passkeys.use(
            connection,
            answer,
            purpose=passkeys.ANYBODY,
            person_id=None,
            host=arrivals.host_of(request),
            origin=arrivals.origin_of(request),
            challenges=store.challenges,
            now=now,
        )

    def work() -> signing_in.SignedIn:
        wait_s = attempts.wait_s(address)
        if wait_s:
            raise TooManyAttempts(wait_s)
        return signing_in.by_passkey(
            box.database,
            check,
            address=address,
            user_agent=arrivals.agent_of(request),
            now=now,
            web_keys=box.settings.tls,
        )

    try:
        started = await aside(work)
    except PasskeyRefused:
        attempts.failed(address)
        raise
    return await arrivals.let_in(request, box, started, inside(next))


async def _complete(
    request: Request, box: Box, check: Callable[[Connection, Visitor], str], next_page: str
) -> Response:
    half = find_half(request)
    if half is None:
        return RedirectResponse("/sign-in", 303)
    now = utc_now()

    def work() -> str:
        return signing_in.second(
            box.database, half.person, half.session, lambda c: check(c, half), now=now
        )

    try:
        token = await aside(work)
    except (CodeWrong, PasskeyRefused) as error:
        return _page(request, box, half, next_page, error, 401)
    except (TooManyAttempts, AccountBlocked) as error:
        return _page(request, box, half, next_page, error, 429)
    except NotFound:
        return RedirectResponse("/sign-in", 303)
    return await arrivals.welcome(request, box, half.person, token, inside(next_page))


def _page(
    request: Request,
    box: Box,
    half: Visitor,
    next_page: str,
    error: ArmoireError | None = None,
    status: int = 200,
) -> Response:
    with box.database.read() as connection:
        factors = second_factors.of_person(connection, half.person.id)
        left = second_factors.codes_left(connection, half.person.id)
    page = SecondPage(
        inside(next_page),
        half.person.name,
        has_codes=any(each.kind == "totp" for each in factors),
        has_passkeys=any(each.kind == "passkey" for each in factors),
        codes_left=left,
        problem=None if error is None else explain(error, language_of(request)),
    )
    return render(request, page, status)
