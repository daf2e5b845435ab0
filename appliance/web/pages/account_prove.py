"""Showing again who one is, before what matters most: people, second factors, the rules of sign-in."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import passkeys, people, second_factors, sessions
from appliance.accounts import sign_in as signing_in
from appliance.clock import utc_now
from appliance.errors import (
    AccountBlocked,
    CodeWrong,
    PasskeyRefused,
    PasswordWrong,
    Refused,
    TooManyAttempts,
)
from appliance.language import explain
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, language_of
from appliance.web.pages import arrivals
from appliance.web.pages.arrivals import LONGEST_PASSWORD, Arrivals, inside
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]


@dataclass(frozen=True, slots=True)
class ProvePage(Page):
    """The password, a code or a passkey: whichever the person has."""

    template: ClassVar[str] = "account/prove.html"
    next: str
    has_password: bool
    has_codes: bool
    has_passkeys: bool
    problem: str | None = None


@router.get("/account/prove", name="account-prove")
async def show_prove(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    next: str = "/",  # noqa: A002
) -> Response:
    """Ask again who it is."""
    return _page(request, box, visitor, next)


@router.post("/account/prove", name="account-prove-try")
async def prove(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    password: Text = "",
    code: Text = "",
    next: Text = "/",  # noqa: A002
) -> Response:
    """Take the password or a code; a wrong one counts as a failed sign-in."""
    return await _try(request, box, visitor, next, shown(request, box, visitor, password, code))


async def shown(request: Request, box: Box, visitor: Visitor, password: str, code: str) -> None:
    """Take the password, or a code when there is none; a wrong one counts as a failed sign-in.

    Raises:
        PasswordWrong, CodeWrong, TooManyAttempts, AccountBlocked.
    """
    now = utc_now()
    who = visitor.person.id

    def by_password() -> None:
        if len(password) > LONGEST_PASSWORD:
            raise PasswordWrong
        signing_in.again(box.database, who, password, now=now)
        with box.database.write() as connection:
            sessions.prove(connection, visitor.session.id, now=now)

    def by_code(connection: Connection) -> None:
        second_factors.use_code(connection, who, code[:64], box.settings.tls, now=now)

    await aside(by_password if password else _counted(request, box, visitor, by_code))


@router.post("/account/prove/passkey/options", name="account-prove-options")
async def prove_options(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Return what a passkey of this person is asked to sign."""
    return Response(asked_of_passkey(request, box, visitor), media_type="application/json")


def asked_of_passkey(request: Request, box: Box, visitor: Visitor) -> str:
    """Return what a passkey of this person is asked to sign, as JSON."""
    store: Arrivals = request.app.state.arrivals
    challenge = store.challenges.make(f"prove:{visitor.session.id}")
    with box.database.read() as connection:
        return passkeys.request_options(
            connection, visitor.person.id, host=arrivals.host_of(request), challenge=challenge
        )


@router.post("/account/prove/passkey", name="account-prove-passkey")
async def prove_by_passkey(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    answer: Text = "",
    next: Text = "/",  # noqa: A002
) -> Response:
    """Take a passkey."""
    return await _try(request, box, visitor, next, shown_by_passkey(request, box, visitor, answer))


async def shown_by_passkey(request: Request, box: Box, visitor: Visitor, answer: str) -> None:
    """Take a passkey; a wrong one counts as a failed sign-in.

    Raises:
        PasskeyRefused, TooManyAttempts, AccountBlocked.
    """
    store: Arrivals = request.app.state.arrivals

    def by_passkey(connection: Connection) -> None:
        passkeys.use(
            connection,
            answer,
            purpose=f"prove:{visitor.session.id}",
            person_id=visitor.person.id,
            host=arrivals.host_of(request),
            origin=arrivals.origin_of(request),
            challenges=store.challenges,
            now=utc_now(),
        )

    await aside(_counted(request, box, visitor, by_passkey))


def _counted(
    request: Request, box: Box, visitor: Visitor, check: Callable[[Connection], None]
) -> Callable[[], None]:
    now = utc_now()

    def change(connection: Connection) -> None:
        check(connection)
        sessions.prove(connection, visitor.session.id, now=now)

    def work() -> None:
        signing_in.counted(
            box.database,
            visitor.person.id,
            change,
            address=arrivals.address_of(request),
            now=now,
        )

    return work


async def _try(
    request: Request, box: Box, visitor: TheVisitor, next_page: str, work: Awaitable[None]
) -> Response:
    try:
        await work
    except (PasswordWrong, CodeWrong, PasskeyRefused) as error:
        return _page(request, box, visitor, next_page, error, 401)
    except (TooManyAttempts, AccountBlocked) as error:
        return _page(request, box, visitor, next_page, error, 429)
    return RedirectResponse(inside(next_page), 303)


def _page(
    request: Request,
    box: Box,
    visitor: TheVisitor,
    next_page: str,
    error: Refused | None = None,
    status: int = 200,
) -> Response:
    with box.database.read() as connection:
        factors = second_factors.of_person(connection, visitor.person.id)
        row = people.find_row(connection, visitor.person.login)
    page = ProvePage(
        inside(next_page),
        has_password=row is not None and row.password_hash is not None,
        has_codes=any(each.kind == "totp" for each in factors),
        has_passkeys=any(each.kind == "passkey" for each in factors),
        problem=None if error is None else explain(error, language_of(request)),
    )
    return render(request, page, status)
