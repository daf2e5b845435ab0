"""Who comes, and how far: a front is believed when it was named (docs/decisions/0190), strangers get links only.

A front that says nothing would make everybody a visitor from the box itself, at the practice, with one factor: what
comes from it without the visitor's address is refused. So is what a front nobody named seems to have sent.
"""

import logging
from functools import lru_cache
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from appliance.errors import ArmoireError, ClosedOutside, FrontSilent, FrontUnknown
from appliance.jobs import network
from appliance.policy import listening
from appliance.policy.local_networks import plain
from appliance.settings import Settings

log = logging.getLogger(__name__)

#: What a front adds, whatever it is called.
_MARKS: Final = frozenset(
    {b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via", b"x-forwarded-host"}
)
#: What a front says that sends files itself, as Rack's servers do; without it their bodies would be empty.
ACCEL_TYPE: Final = "X-Accel-Redirect"
#: What correspondents need, when the box is open for their links only: no page where somebody could sign in.
_FOR_LINKS: Final = ("/l/", "/static/")
_LANGUAGE: Final = "/language"
#: Asked by fronts themselves, whether the box is up; it tells nothing else.
_HEALTH: Final = "/healthz"


class Front:
    """Puts the visitor's address in the place of the front's, or refuses."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._settings = settings
        self._address = settings.front_address
        self._sends_files = settings.front_accel == 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on who really comes."""
        if scope["type"] != "http" or scope["path"] == _HEALTH:
            await self.app(scope, receive, send)
            return
        peer = scope["client"][0] if scope.get("client") else ""
        try:
            if self._address and is_same(peer, self._address):
                headers = Headers(scope=scope)
                visitor = visitor_of(headers.getlist("x-forwarded-for"), peer)
                rule = network.recall(scope["app"].state.box.database, self._settings)
                if not listening.may_come(visitor, rule):
                    raise ClosedOutside
                scope["client"] = (visitor, 0)
                scope.setdefault("state", {})["accel"] = (
                    self._sends_files and headers.get("x-sendfile-type") == ACCEL_TYPE
                )
                peer = visitor
            elif looks_sent_on(scope, peer):
                raise FrontUnknown
            if not is_inside(peer) and not _is_for_links(scope["path"]):
                opened = network.recall_stored(scope["app"].state.box.database).opened
                if opened is not None and opened.links_only:
                    raise ClosedOutside
        except ArmoireError as error:
            log.warning("front.refused %s", error.code)
            await scope["app"].state.on_refused(Request(scope), error)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def visitor_of(values: list[str], front: str) -> str:
    """Return the visitor's address out of ``X-Forwarded-For``: the last one, which the front itself wrote.

    Those before it are what the visitor claims. The box itself, or the front, is nobody who visits: a second front
    behind the first would make everybody look like it.

    Raises:
        FrontSilent: there is none, or it is no address of a visitor.
    """
    if not values:
        raise FrontSilent
    last = values[-1].rpartition(",")[2].strip()
    try:
        address = plain(last)
    except ValueError as error:
        raise FrontSilent from error
    if "%" in last or address.is_loopback or address.is_unspecified or is_same(str(address), front):
        raise FrontSilent
    return str(address)


def is_same(one: str, other: str) -> bool:
    """Return whether both are the same address; what is none is never."""
    try:
        return plain(one) == plain(other)
    except ValueError:
        return False


@lru_cache(maxsize=1_000)
def _is_loopback(peer: str) -> bool:
    """Return whether ``peer`` is the box itself; asked with each request."""
    try:
        return plain(peer).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=1_000)
def is_inside(peer: str) -> bool:
    """Return whether ``peer`` is no address of the Internet; what is no address (a test's) is let pass."""
    try:
        return listening.is_inside(plain(peer))
    except ValueError:
        return True


def _is_for_links(path: str) -> bool:
    return path.startswith(_FOR_LINKS) or path == _LANGUAGE


def looks_sent_on(scope: Scope, peer: str) -> bool:
    """Return whether a request from the box itself was sent on by a web server there.

    nginx, told nothing, speaks HTTP/1.0 to what is behind it; no browser has for twenty years.
    """
    if not _is_loopback(peer):
        return False
    return scope["http_version"] == "1.0" or any(name in _MARKS for name, _ in scope["headers"])
