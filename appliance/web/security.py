"""The three doors every request passes, as pure ASGI: headers, cross-site refusal, session.

Pure ASGI because a wrapping response class costs a copy of every downloaded block (measured-web.md A).
"""

import logging
import re
import sys
import traceback
from dataclasses import replace
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance.accounts import sessions
from appliance.clock import utc_now
from appliance.db import local_networks
from appliance.db.engine import Moment
from appliance.errors import NotSignedIn, SecondFactorDue
from appliance.language import explain
from appliance.policy import second_factor
from appliance.web import token_gate
from appliance.web.deps import Box, Visitor, box_of, find_half, language_of

log = logging.getLogger(__name__)

COOKIE: Final = "__Host-sid"
_SESSION: Final = re.compile(rb"(?:^|; ?)__Host-sid=([A-Za-z0-9_-]+)(?:;|$)")
#: The whole allow-list: everything else, routes to come included, asks for a session.
PUBLIC: Final = frozenset(
    {
        "/sign-in",
        "/sign-in/passkey",
        "/sign-in/passkey/options",
        "/sign-in/outside",  # towards another service (OIDC)
        "/sign-in/outside/back",
        "/link",
        "/first-account",
        "/language",
        "/healthz",
        "/trust",
        "/trust/armoire.crt",
        "/trust/armoire.mobileconfig",
    }
)
PUBLIC_PREFIX: Final = "/static/"
#: Correspondents' links: the address is what lets them in (``pages.links_open``).
LINKS_PREFIX: Final = "/l/"
#: What is open to who has shown one factor and owes the second: to show it, to make one, to go away.
HALF: Final = frozenset({"/sign-in/second", "/account/second-factor", "/sign-out"})
HALF_PREFIXES: Final = ("/sign-in/second/", "/account/second-factor/")
#: Fragments a page polls by itself: nobody clicked, so they do not keep a session alive.
POLLED_PREFIX: Final = "/live/"

CSP: Final = (
    "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
HEADERS: Final = {
    "strict-transport-security": "max-age=31536000",
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    # «no-referrer» would turn the Origin of our own forms into «null».
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


#: As they go out.
RAW_HEADERS: Final = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


def with_headers(message: Message) -> Message:
    """Return ``message`` with the headers of every answer where it begins one; its own values stay."""
    if message["type"] == "http.response.start":
        headers = message.setdefault("headers", [])
        there = {name.lower() for name, _ in headers}
        message["headers"] = [*headers, *(each for each in RAW_HEADERS if each[0] not in there)]
    return message


class SecurityHeaders:
    """Adds the headers of every answer; a handler's own value stays."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, adding headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
            await send(with_headers(message))

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception:  # noqa: BLE001 - the outermost door
            # Where it happened, never what it said: an exception's text may name a patient's file.
            kind, _, trace = sys.exc_info()
            frames = "".join(traceback.format_tb(trace)) if trace else ""
            log.error("web.unforeseen kind=%s\n%s", kind.__name__ if kind else "?", frames)  # noqa: TRY400
            if begun:
                return  # the server cuts the connection: nobody takes a part for the whole
            answer: Response = PlainTextResponse("Erreur interne. Internal error.", 500)
            on_error = (
                getattr(scope["app"].state, "on_unforeseen", None) if "app" in scope else None
            )
            if on_error is not None:
                answer = on_error(Request(scope))
            await answer(scope, receive, send_with_headers)


class SameSiteOnly:
    """Refuses a change asked by another site's page: no token in any form is needed.

    Browsers say where a request comes from (``Sec-Fetch-Site``), older ones at least ``Origin``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what comes from our own pages or changes nothing."""
        if scope["type"] == "http" and scope["method"] not in {"GET", "HEAD", "OPTIONS"}:
            headers = Headers(scope=scope)
            if not (_is_ours(headers) or _is_no_browser(scope, headers)):
                refused = PlainTextResponse("Cross-site request refused.", 403)
                await refused(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _is_ours(headers: Headers) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == headers.get("host")


def _is_no_browser(scope: Scope, headers: Headers) -> bool:
    """Return whether a program asks with a password of its own; of a browser's cookie nothing is read then.

    A browser that remembers a WebDAV password would send it for another site too, and say so.
    """
    return (
        token_gate.is_program(scope) and "sec-fetch-site" not in headers and "origin" not in headers
    )


class SessionGate:
    """Lets nobody past without a living session, except to the few public pages."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find who is asking; answer «sign in» or pass on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no websocket here
        request = Request(scope)
        box_of(request).look()
        if token_gate.is_program(scope):
            found = await token_gate.find(request)
            if isinstance(found, Response):
                await found(scope, receive, send)
                return
            scope.setdefault("state", {})["visitor"] = found
            await self.app(scope, receive, send)
            return
        visitor, half = await _find_visitor(request)
        scope.setdefault("state", {}).update(visitor=visitor, half=half)
        path: str = scope["path"]
        if half is not None and (path in HALF or path.startswith(HALF_PREFIXES)):
            await self.app(scope, receive, send)
            return
        if (
            visitor is None
            and path not in PUBLIC
            and not path.startswith((PUBLIC_PREFIX, LINKS_PREFIX))
        ):
            await _ask_to_sign_in(request)(scope, receive, send)
            return
        await self.app(scope, receive, send)


async def _find_visitor(request: Request) -> tuple[Visitor | None, Visitor | None]:
    """Return (who is in, who owes a second factor): one of them at most."""
    token = request.cookies.get(COOKIE)
    path: str = request.scope["path"]
    if not token or path.startswith(PUBLIC_PREFIX):
        return None, None
    box: Box = request.app.state.box
    now = utc_now()
    client = request.scope.get("client")
    address = client[0] if client else ""
    found = sessions.find_now(box.database, token, now=now)
    if found is None:
        return None, None
    person, session = found
    goes_on = session.address == address
    if not goes_on:
        with box.database.read() as connection:
            goes_on = second_factor.may_go_on(
                session.means,
                began_local=local_networks.is_local(connection, session.address),
                is_local=local_networks.is_local(connection, address),
            )
    if session.is_half or not goes_on:
        if not session.is_half:

            def halve() -> None:
                with box.database.write() as connection:
                    sessions.make_half(connection, session.id, address=address, now=now)

            await anyio.to_thread.run_sync(halve)
            session = replace(session, is_half=True, address=address)
        return None, Visitor(person, session)
    if now - session.seen_at > sessions.TOUCH_EVERY and not path.startswith(POLLED_PREFIX):

        def touch() -> None:
            with box.database.write() as connection:
                sessions.touch(connection, session.id, now=now)

        await anyio.to_thread.run_sync(touch)
    return Visitor(person, session), None


def at_hand(scope: Scope, now: datetime, moment: Moment) -> Visitor | None:
    """Return who asks, where nothing is left to decide: a living session, whole, from its own address, clicked lately.

    None is no refusal: ``SessionGate`` has to say.
    """
    token = None
    for name, value in scope["headers"]:
        if name == b"cookie":
            match = _SESSION.search(value)
            token = match[1].decode("ascii") if match is not None else None
        elif name == b"authorization":
            return None
    client = scope.get("client")
    if not token or not client:
        return None
    found = sessions.find_now(moment, token, now=now)
    if (
        found is None
        or found[1].is_half
        or found[1].address != client[0]
        or now - found[1].seen_at > sessions.TOUCH_EVERY
    ):
        return None
    return Visitor(*found)


def _ask_to_sign_in(request: Request) -> Response:
    path = request.url.path
    half = find_half(request)
    if path.startswith("/api/"):
        refused = NotSignedIn() if half is None else SecondFactorDue()
        message = explain(refused, language_of(request))
        return JSONResponse({"error": {"code": refused.code, "message": message}}, 401)
    target = "/sign-in" if half is None else "/sign-in/second"
    if request.headers.get("hx-request"):
        # A fragment cannot show a sign-in page: the whole page goes there.
        return Response(status_code=401, headers={"HX-Redirect": target})
    if request.method == "GET" and path != "/":
        wanted = path + (f"?{request.url.query}" if request.url.query else "")
        target += f"?next={quote(wanted, safe='')}"
    return RedirectResponse(target, 303, headers={"content-language": language_of(request)})


def set_session(response: Response, token: str) -> Response:
    """Give the browser its session: this host only, TLS only, no script may read it."""
    response.set_cookie(COOKIE, token, path="/", secure=True, httponly=True, samesite="lax")
    return response


def clear_session(response: Response) -> Response:
    """Take the session cookie away."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response
