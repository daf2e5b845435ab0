"""One's own second factors: an application's codes, passkeys, recovery codes."""

import io
from dataclasses import dataclass
from typing import Annotated, ClassVar

import segno
from fastapi import APIRouter, Depends, Form, Request
from markupsafe import Markup
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import passkeys, second_factors
from appliance.accounts import sign_in as signing_in
from appliance.accounts.second_factors import Draft, Factor
from appliance.clock import utc_now
from appliance.db import local_networks
from appliance.errors import (
    AccountBlocked,
    CodeWrong,
    NotSignedIn,
    PasskeyRefused,
    ProofNeeded,
    SecondFactorMissing,
    TooManyAttempts,
)
from appliance.language import explain, mark
from appliance.policy.second_factor import Means, is_proven
from appliance.web.deps import Box, TheBox, Visitor, aside, find_half, language_of
from appliance.web.pages import arrivals
from appliance.web.pages.arrivals import Arrivals, inside
from appliance.web.render import Page, render
from appliance.web.security import set_session

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]


@dataclass(frozen=True, slots=True)
class FactorsPage(Page):
    """What a person signs in with besides the password."""

    template: ClassVar[str] = "account/factors.html"
    factors: list[Factor]  # newest first
    codes_left: int
    is_half: bool  # nothing else is open before one is made
    is_required: bool
    passkeys_fit: bool
    next: str = "/"
    done: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class DraftPage(Page):
    """The code to scan, and the first code of the application."""

    template: ClassVar[str] = "account/application.html"
    draft: Draft
    picture: Markup
    next: str = "/"
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class CodesPage(Page):
    """Ten recovery codes, shown once."""

    template: ClassVar[str] = "account/codes.html"
    codes: list[str]
    name: str
    next: str = "/"


@dataclass(frozen=True, slots=True)
class Maker:
    """Who may change their factors now: proven a moment ago, or at the door without any factor yet."""

    who: Visitor
    is_half: bool


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a new factor."""

    codes: list[str] | None  # the first recovery codes, shown once
    token: str | None  # the new cookie of a session that became whole


async def _maker(request: Request) -> Maker:
    comer = arrivals.comer_of(request)
    if comer is None or comer.token is not None:
        raise NotSignedIn
    half = find_half(request)
    if half is None:
        if not is_proven(comer.session.proven_at, utc_now()):
            raise ProofNeeded
        return Maker(comer, is_half=False)
    box: Box = request.app.state.box
    with box.database.read() as connection:
        if second_factors.has_any(connection, half.person.id, box.settings.tls):
            raise NotSignedIn  # it is to be shown, not made
        if not (
            Means(half.session.factors).is_link
            or local_networks.is_local(connection, arrivals.address_of(request))
        ):
            raise SecondFactorMissing
    return Maker(half, is_half=True)


TheMaker = Annotated[Maker, Depends(_maker)]


@router.get("/account/second-factor", name="account-factors")
async def show_factors(
    request: Request,
    box: TheBox,
    next: str = "/",  # noqa: A002
    after: str = "",
) -> Response:
    """Show one's second factors."""
    done = {
        "removed": mark("It was removed."),
        "passkey": mark("The passkey is in use."),
    }
    comer = arrivals.comer_of(request)
    if comer is None:
        raise NotSignedIn
    if find_half(request) is not None:
        await _maker(request)
    return _page(request, box, comer, next, done=done.get(after))


@router.post("/account/second-factor/application", name="account-factors-application")
async def begin_application(
    request: Request,
    box: TheBox,
    maker: TheMaker,
    next: Text = "/",  # noqa: A002
) -> Response:
    """Make a secret for an application and show it."""
    return render(request, _draft_page(await begun(box, maker), next))


@router.post("/account/second-factor/application/confirm", name="account-factors-confirm")
async def confirm_application(
    request: Request,
    box: TheBox,
    maker: TheMaker,
    code: Text = "",
    label: Text = "",
    next: Text = "/",  # noqa: A002
) -> Response:
    """Take the application into use: its first code proves that the secret arrived."""
    try:
        done = await confirmed(request, box, maker, code, label)
    except (CodeWrong, TooManyAttempts, AccountBlocked) as error:
        with box.database.read() as connection:
            draft = second_factors.find_draft(connection, maker.who.person, box.settings.tls)
        if draft is None:
            return RedirectResponse("/account/second-factor", 303)
        said = explain(error, language_of(request))
        page = _draft_page(draft, next, said)
        return render(request, page, 422 if isinstance(error, CodeWrong) else 429)
    return await _made(request, box, maker, done, inside(next))


@router.post("/account/second-factor/passkey/options", name="account-factors-options")
async def passkey_options(request: Request, box: TheBox, maker: TheMaker) -> Response:
    """Return what the browser needs to make a passkey."""
    return Response(asked_of_device(request, box, maker), media_type="application/json")


@router.post("/account/second-factor/passkey", name="account-factors-passkey")
async def add_passkey(
    request: Request,
    box: TheBox,
    maker: TheMaker,
    answer: Text = "",
    label: Text = "",
    next: Text = "/",  # noqa: A002
) -> Response:
    """Keep a passkey the browser has made."""
    try:
        done = await kept(request, box, maker, answer, label)
    except PasskeyRefused as error:
        said = explain(error, language_of(request))
        return _page(request, box, maker.who, next, problem=said, status=422)
    return await _made(request, box, maker, done, inside(next))


@router.post("/account/second-factor/codes", name="account-factors-codes")
async def new_codes(request: Request, box: TheBox, maker: TheMaker) -> Response:
    """Make ten new recovery codes and show them once; the older ones end."""
    codes = await renewed_codes(box, maker)
    return render(request, CodesPage(codes, maker.who.person.name, "/account/second-factor"))


@router.post("/account/second-factor/{factor_id}/remove", name="account-factors-remove")
async def remove_factor(box: TheBox, maker: TheMaker, factor_id: int) -> Response:
    """Remove an application or a passkey."""
    await removed(box, maker, factor_id)
    return RedirectResponse("/account/second-factor?after=removed", 303)


async def begun(box: Box, maker: Maker) -> Draft:
    """Make a secret for an application; it counts once its first code was typed."""
    now = utc_now()
    return await box.write(
        lambda c: second_factors.begin_totp(c, maker.who.person, box.settings.tls, now=now)
    )


async def confirmed(request: Request, box: Box, maker: Maker, code: str, label: str) -> Done:
    """Take the application into use.

    Raises:
        CodeWrong: it counts as a failed sign-in. TooManyAttempts, AccountBlocked.
    """
    now, person = utc_now(), maker.who.person

    def change(connection: Connection) -> Done:
        second_factors.confirm_totp(
            connection, person, code[:64], box.settings.tls, label=label, now=now
        )
        return _finish(connection, maker, "totp")

    def work() -> Done:
        return signing_in.counted(
            box.database, person.id, change, address=arrivals.address_of(request), now=now
        )

    return await aside(work)


def asked_of_device(request: Request, box: Box, maker: Maker) -> str:
    """Return what a device needs to make a passkey, as JSON."""
    store: Arrivals = request.app.state.arrivals
    challenge = store.challenges.make(f"add:{maker.who.person.id}")
    with box.database.read() as connection:
        return passkeys.creation_options(
            connection, maker.who.person, host=arrivals.host_of(request), challenge=challenge
        )


async def kept(request: Request, box: Box, maker: Maker, answer: str, label: str) -> Done:
    """Keep a passkey that a device has made.

    Raises:
        PasskeyRefused.
    """
    store: Arrivals = request.app.state.arrivals

    def change(connection: Connection) -> Done:
        passkeys.add(
            connection,
            maker.who.person,
            answer,
            label=label,
            host=arrivals.host_of(request),
            origin=arrivals.origin_of(request),
            challenges=store.challenges,
            now=utc_now(),
        )
        return _finish(connection, maker, "passkey")

    return await box.write(change)


async def renewed_codes(box: Box, maker: Maker) -> list[str]:
    """Make ten new recovery codes; the older ones end.

    Raises:
        SecondFactorMissing: codes are no factor of their own.
    """
    if maker.is_half:
        raise SecondFactorMissing
    who = maker.who.person.id
    return await box.write(lambda c: second_factors.make_codes(c, who, now=utc_now()))


async def removed(box: Box, maker: Maker, factor_id: int) -> None:
    """Remove one's application or passkey.

    Raises:
        NotFound.
    """
    who = maker.who.person.id
    await box.write(lambda c: second_factors.remove(c, who, factor_id, now=utc_now()))


def _finish(connection: Connection, maker: Maker, kind: str) -> Done:
    now, person = utc_now(), maker.who.person
    codes = None
    if not second_factors.codes_left(connection, person.id):
        codes = second_factors.make_codes(connection, person.id, now=now)
    token = None
    if maker.is_half:
        token = signing_in.made_first_factor(connection, person, maker.who.session, kind, now=now)
    return Done(codes, token)


async def _made(
    request: Request,
    box: Box,
    maker: Maker,
    done: Done,
    next_page: str,
) -> Response:
    answer: Response
    if done.codes is None:
        answer = RedirectResponse("/account/second-factor?after=passkey", 303)
    else:
        answer = render(request, CodesPage(done.codes, maker.who.person.name, next_page))
    if done.token is not None:
        set_session(answer, done.token)
        await arrivals.remember(request, box, maker.who.person, answer)
    return answer


def _draft_page(draft: Draft, next_page: str, problem: str | None = None) -> DraftPage:
    return DraftPage(draft, Markup(picture(draft)), inside(next_page), problem)  # noqa: S704 - squares drawn by segno


def picture(draft: Draft) -> str:
    """Return the code to scan, SVG."""
    out = io.BytesIO()
    segno.make(draft.address, error="m", micro=False).save(
        out, kind="svg", xmldecl=False, svgns=True, nl=False, omitsize=True, border=2, svgclass=None
    )
    return out.getvalue().decode("ascii")


def _page(
    request: Request,
    box: Box,
    comer: Visitor,
    next_page: str,
    *,
    done: str | None = None,
    problem: str | None = None,
    status: int = 200,
) -> Response:
    person = comer.person
    with box.database.read() as connection:
        is_local = local_networks.is_local(connection, arrivals.address_of(request))
        page = FactorsPage(
            factors=second_factors.of_person(connection, person.id),
            codes_left=second_factors.codes_left(connection, person.id),
            is_half=find_half(request) is not None,
            is_required=signing_in.is_required(connection, person, is_local=is_local),
            passkeys_fit=passkeys.fits(arrivals.host_of(request)),
            next=inside(next_page),
            done=done,
            problem=problem,
        )
    return render(request, page, status)
