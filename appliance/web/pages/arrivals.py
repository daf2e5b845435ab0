"""What the pages of signing in share: where somebody comes from, what comes next, their browser's mark."""

import time
from typing import Final
from urllib.parse import quote, urlsplit

from fastapi import Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import devices, oidc
from appliance.accounts.oidc import Waitings
from appliance.accounts.oidc_providers import Provider
from appliance.accounts.passkeys import Challenges
from appliance.accounts.sign_in import SignedIn
from appliance.clock import utc_now
from appliance.model import Person
from appliance.policy.second_factor import Step
from appliance.vault import tokens
from appliance.vault.secret import Secret
from appliance.web.deps import Box, Visitor, find_half, find_visitor
from appliance.web.security import set_session

DEVICE: Final = "__Host-device"
#: The longest a browser keeps a cookie.
DEVICE_LIFE_S: Final = 400 * 86_400
OUTSIDE_AT_MOST: Final = 1_000
#: Anybody may press the button of a service: its document is not asked for each time.
LOCATED_FOR_S: Final = 300.0
#: An answer of a passkey is some kilobytes; nobody's password is longer than this.
LONGEST_PASSWORD: Final = 1_024


class Arrivals:
    """What waits for an answer of a device or of another service, in memory of the process."""

    def __init__(self) -> None:
        self.challenges = Challenges()
        self.waitings = Waitings()
        self._outside: dict[str, tuple[Provider, str]] = {}
        self._located: dict[Provider, tuple[float, Provider]] = {}

    def located(self, provider: Provider, key: Secret | None) -> Provider:
        """Return a service with its addresses; its document is read once in some minutes. Call in a thread.

        Args:
            provider: it.
            key: of its client certificate, if it has one.

        Raises:
            OutsideRefused: as ``oidc.located``.
        """
        known = self._located.get(provider)
        if known is None or time.monotonic() - known[0] > LOCATED_FOR_S:
            found = oidc.located(provider, key)
            self._located = {provider: (time.monotonic(), found)} | {
                each: kept for each, kept in self._located.items() if each.id != provider.id
            }
            return found
        return known[1]

    def keep(self, token: str, provider: Provider, id_token: str) -> None:
        """Remember through which service a session began, to end it there too; lost by a restart."""
        if len(self._outside) >= OUTSIDE_AT_MOST:
            self._outside.clear()
        self._outside[tokens.digest(token)] = provider, id_token

    def take(self, token: str) -> tuple[Provider, str] | None:
        """Return the service of a session and its id_token, once; None: it began otherwise."""
        return self._outside.pop(tokens.digest(token), None)


def address_of(request: Request) -> str:
    """Return the address of who asks."""
    return request.client.host if request.client else ""


def agent_of(request: Request) -> str:
    """Return the browser's word for itself."""
    return request.headers.get("user-agent", "")


def host_of(request: Request) -> str:
    """Return the name under which the box was opened."""
    return request.url.hostname or ""


def origin_of(request: Request) -> str:
    """Return what a browser calls this box: ``https://name[:port]``; it speaks nothing but TLS."""
    return f"https://{request.url.netloc}"


def inside(path: str) -> str:
    """Return ``path`` when it is one of ours, else the home page: no open redirect."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and "\n" not in path
    return path if is_ours and not path.startswith(("/sign-", "/live/")) else "/"


def comer_of(request: Request) -> Visitor | None:
    """Return who is in or owes a second factor; None on a page anybody may see."""
    return find_visitor(request) or find_half(request)


async def let_in(request: Request, box: Box, started: SignedIn, next_page: str) -> Response:
    """Give the browser its session and lead it on: to the page, to the second factor, to making one."""
    where = {
        Step.IN: next_page,
        Step.LED: _to("/account/second-factor", next_page),
        Step.MAKE: _to("/account/second-factor", next_page),
        Step.ASKED: _to("/sign-in/second", next_page),
    }[started.step]
    answer = set_session(RedirectResponse(where, 303), started.token)
    if started.step in {Step.IN, Step.LED}:
        await remember(request, box, started.person, answer)
    return answer


async def welcome(
    request: Request, box: Box, person: Person, token: str, next_page: str
) -> Response:
    """Give the browser the whole session that its half one has become."""
    answer = set_session(RedirectResponse(next_page, 303), token)
    await remember(request, box, person, answer)
    return answer


async def remember(request: Request, box: Box, person: Person, answer: Response) -> None:
    """Remember this browser; a new one is told to the person."""

    def change(connection: Connection) -> str:
        return devices.recognise(
            connection,
            person.id,
            request.cookies.get(DEVICE),
            address=address_of(request),
            user_agent=agent_of(request),
            now=utc_now(),
        )

    carried = await box.write(change)
    answer.set_cookie(
        DEVICE,
        carried,
        path="/",
        max_age=DEVICE_LIFE_S,
        secure=True,
        httponly=True,
        samesite="lax",
    )


def ask_proof(request: Request) -> Response:
    """Lead to the page that asks again who it is, and from there back to the page they were on."""
    if request.method == "GET":
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    else:
        back = urlsplit(request.headers.get("referer", "")).path or "/"
    return RedirectResponse(_to("/account/prove", inside(back)), 303)


def _to(page: str, next_page: str) -> str:
    return page if next_page == "/" else f"{page}?next={quote(next_page, safe='')}"
