"""To another service and back: OpenID Connect, Pro Santé Connect."""

import secrets
import time
from dataclasses import dataclass
from typing import ClassVar, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import oidc, oidc_providers, oidc_sign_in
from appliance.accounts.oidc_providers import Provider
from appliance.accounts.sign_in import SignedIn
from appliance.clock import utc_now
from appliance.errors import NotFound, OutsideRefused, SecondFactorMissing, TooManyAttempts
from appliance.language import explain
from appliance.policy.second_factor import Step
from appliance.web.deps import TheBox, aside, language_of
from appliance.web.pages import arrivals
from appliance.web.pages.arrivals import Arrivals, inside
from appliance.web.pages.sign_in import form_page
from appliance.web.render import Page, render
from appliance.web.security import clear_session

router = APIRouter(include_in_schema=False)

BACK: Final = "/sign-in/outside/back"
#: Carried to the service and back by the browser that began, and by no other.
COOKIE: Final = "__Host-outside"


@dataclass(frozen=True, slots=True)
class SignedOutPage(Page):
    """The session here has ended; the one at the service ends with one more step."""

    template: ClassVar[str] = "sign_in/out.html"
    service: str
    onward: str  # at the service


@router.get("/sign-in/outside", name="sign-in-outside")
async def go(request: Request, box: TheBox, next: str = "/") -> Response:  # noqa: A002
    """Send the browser to the service named by «with»."""
    wanted = request.query_params.get("with", "")
    with box.database.read() as connection:
        provider = oidc_providers.get(connection, wanted)
    if not provider.is_on:
        raise NotFound("service", provider.id)
    store: Arrivals = request.app.state.arrivals
    try:
        key = await aside(oidc_providers.key_of, provider, box.settings.tls)
        located = await aside(store.located, provider, key)
    except OutsideRefused as error:
        return form_page(
            request, box, next=next, problem=explain(error, language_of(request)), status=502
        )
    browser = secrets.token_urlsafe(32)
    address = oidc.begin(
        located,
        store.waitings,
        redirect=arrivals.origin_of(request) + BACK,
        browser=browser,
        next_page=inside(next),
    )
    answer = RedirectResponse(address, 303)
    answer.set_cookie(
        COOKIE, browser, path="/", max_age=int(oidc.WAITS_S), secure=True, httponly=True,
        samesite="lax",
    )  # fmt: skip
    return answer


@router.get(BACK, name="sign-in-outside-back")
async def come_back(request: Request, box: TheBox) -> Response:
    """Take the service's word, and begin the session of the account prepared for it."""
    store: Arrivals = request.app.state.arrivals
    attempts = request.app.state.attempts
    address = arrivals.address_of(request)
    answer = dict(request.query_params)
    now = utc_now()

    def work() -> tuple[Provider, oidc.Said, SignedIn, str]:
        wait_s = attempts.wait_s(address)
        if wait_s:
            raise TooManyAttempts(wait_s)
        waiting = store.waitings.take(answer.get("state", ""), request.cookies.get(COOKIE, ""))
        with box.database.read() as connection:
            provider = oidc_providers.get(connection, waiting.provider_id)
        key = oidc_providers.key_of(provider, box.settings.tls)
        located = store.located(provider, key)
        said = oidc.finish(
            located,
            oidc_providers.secret_of(provider, box.settings.tls),
            waiting,
            answer,
            redirect=arrivals.origin_of(request) + BACK,
            now=time.time(),
            key=key,
        )

        def begin(connection: Connection) -> SignedIn | None:
            return oidc_sign_in.come_in(
                connection,
                provider,
                said,
                address=address,
                user_agent=arrivals.agent_of(request),
                now=now,
                web_keys=box.settings.tls,
            )

        with box.database.write() as connection:
            started = begin(connection)
        if started is None:
            raise oidc_sign_in.nobody()
        if started.step is Step.REFUSED:
            raise SecondFactorMissing
        return located, said, started, waiting.next

    try:
        provider, said, started, onward = await aside(work)
    except (OutsideRefused, SecondFactorMissing, TooManyAttempts, NotFound) as error:
        if isinstance(error, OutsideRefused):
            attempts.failed(address)
        status = 429 if isinstance(error, TooManyAttempts) else 403
        refused = form_page(
            request, box, problem=explain(error, language_of(request)), status=status
        )
        refused.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
        return refused
    store.keep(started.token, provider, said.id_token)
    arrived = await arrivals.let_in(request, box, started, onward)
    arrived.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return arrived


def signed_out(request: Request, token: str) -> Response | None:
    """Return the page that leads to the end of the session at the service; None: it was not there."""
    store: Arrivals = request.app.state.arrivals
    kept = store.take(token)
    if kept is None:
        return None
    provider, id_token = kept
    onward = oidc.logout_address(provider, id_token, back=arrivals.origin_of(request) + "/sign-in")
    if onward is None:
        return None
    # Not a redirect: this answers a form, and no form of ours goes to another site.
    page = render(request, SignedOutPage(provider.name, onward))
    page.headers["refresh"] = f"1;url={onward}"
    return clear_session(page)
