"""The shares over WebDAV, at /dav/<share>/…: the short road for reading and listing, wsgidav for the rest.

The door (``web.token_gate``) let in who has a password of the program; cookies are not read here.
"""

import logging
import os
import sys
import traceback
from typing import Any, Final

import anyio
from a2wsgi import WSGIMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Message, Receive, Scope, Send
from wsgidav.error_printer import ErrorPrinter
from wsgidav.request_resolver import RequestResolver
from wsgidav.wsgidav_app import WsgiDAVApp

from appliance.accounts import app_passwords
from appliance.accounts.app_passwords import AppPassword
from appliance.clock import utc_now
from appliance.disk import access, actions, cached_open, dav_asking, listing, paths
from appliance.disk.access import Held
from appliance.disk.dav import Provider
from appliance.disk.dav_asking import Asking, split_url
from appliance.disk.dav_locks import Locks
from appliance.disk.dav_names import is_shown, media_type
from appliance.disk.dav_properties import Properties
from appliance.disk.listing import Entry
from appliance.disk.uploads import LARGEST
from appliance.errors import (
    ArmoireError,
    FileMissing,
    InvalidInput,
    NotAFolder,
    NotAllowed,
    NotFound,
)
from appliance.model import Person
from appliance.policy.share_rights import Right
from appliance.settings import Settings
from appliance.units import MIB
from appliance.web import dav_listing
from appliance.web.dav_listing import NotXml
from appliance.web.deps import Box, Visitor, aside
from appliance.web.pages.files import Openings
from appliance.web.share_file import ShareFile

log = logging.getLogger(__name__)

PREFIX: Final = "/dav"
FILE: Final = "dav.sqlite"  # dead properties, in the data folder
METHODS: Final = (
    "OPTIONS, GET, HEAD, PROPFIND, PROPPATCH, MKCOL, PUT, DELETE, COPY, MOVE, LOCK, UNLOCK"
)
_SPOKEN: Final = {"dav": "1,2", "ms-author-via": "DAV", "allow": METHODS}
_KNOWN: Final = frozenset(METHODS.split(", "))
#: wsgidav's own is 8 KiB: twenty times slower (measured-web.md C).
BLOCK: Final = MIB
#: An XML body; of a PUT the disk is the bound.
LARGEST_BODY: Final = MIB
#: A line that says nothing for so long, in the middle of a file, is given up: it holds a thread.
SILENCE_S: Final = 120.0
THREADS: Final = 24
_ASKING: Final = "armoire.asking"


class Dav:
    """The application behind /dav."""

    def __init__(self, settings: Settings) -> None:
        self._locks = Locks()
        self._properties = Properties(settings.data / FILE)
        provider = Provider(self._properties)
        provider.verbose = 0  # above, it prints what it met
        _quiet()
        inner = WsgiDAVApp(
            {
                "provider_mapping": {"/": provider},
                "mount_path": PREFIX,
                "middleware_stack": [ErrorPrinter, RequestResolver],
                "lock_storage": self._locks,
                "property_manager": None,  # disk.dav keeps them by share and path
                "block_size": BLOCK,
                "logging": {"enable": False},
                "verbose": 0,
                "suppress_version_info": True,
                "hotfixes": {"re_encode_path_info": True},
                "http_authenticator": {"accept_basic": False, "accept_digest": False},
            }
        )

        def application(environ: Any, start_response: Any) -> Any:  # noqa: ANN401 - WSGI's
            scope = environ["asgi.scope"]
            environ[_ASKING] = scope[_ASKING]
            # Locks are a program's, not a person's: two of theirs may be in each other's way.
            environ["wsgidav.auth.user_name"] = scope["armoire.principal"]
            return inner(environ, start_response)

        self._wsgi: Any = WSGIMiddleware(
            application, workers=THREADS
        )  # its types are not Starlette's

    def routes(self) -> list[BaseRoute]:
        """Return what answers at /dav and beneath it."""
        return [
            Route(PREFIX, self, name="dav-shares"),
            Mount(PREFIX, self, name="dav", max_body_size=LARGEST),
        ]

    def close(self) -> None:
        """End its threads and close its file."""
        self._wsgi.executor.shutdown(wait=False, cancel_futures=True)
        self._properties.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope)
        visitor: Visitor | None = getattr(request.state, "visitor", None)
        if visitor is None or visitor.token is None:  # the gate lets nobody else through
            await Response(status_code=401)(scope, receive, send)
            return
        asking = _Request(request.app.state.box, visitor, receive)
        if scope["method"] == "PUT":
            await self._pass_on(scope, asking.receive, send, asking)
            return
        body = await _body(receive)
        if body is None:
            await Response(status_code=413, headers={"connection": "close"})(scope, receive, send)
            return
        try:
            answer = await self._short(request, visitor, asking, body)
        except ArmoireError as error:
            status = 404 if isinstance(error, _NOT_THERE) else dav_asking.status_of(error)
            answer = Response(status_code=status)
        if answer is not None:
            await answer(scope, receive, send)
            return
        await self._pass_on(scope, _replay(body), send, asking)

    async def _short(
        self, request: Request, visitor: Visitor, asking: "_Request", body: bytes
    ) -> Response | None:
        """Return the answer to what needs no wsgidav; None: it is its business.

        Raises:
            NotFound, NotAllowed, InvalidInput, FileMissing, NotAFolder, NotAFile.
        """
        if b"<!" in body:
            return Response(status_code=400)  # no program needs a DTD, and none gets entities
        method = request.method
        if method not in _KNOWN:
            return Response(status_code=405, headers={"allow": METHODS})
        if method == "OPTIONS":
            return Response(status_code=200, headers=_SPOKEN)
        share, path = split_url(request.scope["path"].removeprefix(PREFIX))
        if method in {"GET", "HEAD"}:
            return await self._send(request, visitor, asking, share, path)
        if method == "PROPFIND":
            return await self._list(request, asking, share, path, body)
        return None

    async def _send(
        self, request: Request, visitor: Visitor, asking: "_Request", share: str, path: bytes
    ) -> Response:
        held = asking.asking.on(share) if share else None
        if held is None or not path:
            return Response("A folder: open it with a program for WebDAV.\n", 405)
        held.demand(Right.SEE)
        descriptor = cached_open.open_file(held.share.folder, path)
        if descriptor is None:
            there = await aside(listing.entry, held.share.folder, path)
            if not is_shown(there):
                return Response(status_code=404)
            if there.kind == "folder":
                return Response("A folder: open it with a program for WebDAV.\n", 405)
            descriptor = await aside(paths.open_file, held.share.folder, path)
        entry = listing.entry_of(paths.parent(path)[1], os.fstat(descriptor))
        if not is_shown(entry):
            os.close(descriptor)
            return Response(status_code=404)
        openings: Openings = request.app.state.openings
        if request.method == "GET" and openings.is_new(visitor.person.id, f"{share}:{entry.etag}"):
            await _record_opening(asking, held, path, entry)
        return ShareFile(descriptor, entry, media_type=media_type(path))

    async def _list(
        self, request: Request, asking: "_Request", share: str, path: bytes, body: bytes
    ) -> Response | None:
        depth = request.headers.get("depth", "infinity").lower()
        if depth == "infinity":
            # Everything of a share in one answer: the standard lets us refuse (RFC 4918, 9.1).
            return Response(
                '<?xml version="1.0" encoding="utf-8"?>\n'
                '<D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>',
                403,
                media_type="application/xml",
            )
        if depth not in {"0", "1"}:
            return Response(status_code=400)
        try:
            wanted = dav_listing.read_request(body, request.headers.get("user-agent", ""))
        except NotXml:
            return Response(status_code=400)
        if not share:
            text = await aside(lambda: asking.all_shares(wanted, with_children=depth == "1"))
            return _multistatus(text)

        def work() -> bytes | None:
            held = asking.asking.on(share)
            held.demand(Right.SEE)
            entry = listing.entry(held.share.folder, path)
            if path and not is_shown(entry):
                raise FileMissing
            if wanted.is_names_only or "if" in request.headers:
                return None
            url = dav_asking.ref_url(held, path)
            if self._locks.touches(url) or self._properties.touch(held.share.id, path):
                return None
            return dav_listing.of_resource(
                f"{PREFIX}/{share}", held, path, entry, wanted, with_children=depth == "1"
            )

        found = await aside(work)
        return None if found is None else _multistatus(found)

    async def _pass_on(
        self, scope: Scope, receive: Receive, send: Send, asking: "_Request"
    ) -> None:
        inner = dict(scope)
        inner[_ASKING] = asking.asking
        inner["armoire.principal"] = f"program:{asking.token.id}"
        inner["headers"] = [each for each in scope["headers"] if each[0] != b"authorization"]
        inner["root_path"] = PREFIX
        await self._wsgi(inner, receive, send)


_NOT_THERE: Final = (NotFound, FileMissing, NotAFolder, InvalidInput)


class _Request:
    """Who asks, and whether the line broke."""

    def __init__(self, box: Box, visitor: Visitor, receive: Receive) -> None:
        assert visitor.token is not None  # noqa: S101 - the caller asked
        self.token: AppPassword = visitor.token
        self.box = box
        self._receive = receive
        self._is_cut = False
        self.asking = Asking(box.database, visitor.person, self._still, lambda: self._is_cut)

    async def receive(self) -> Message:
        """Return the next piece of the body; a broken or silent line looks like an end to wsgidav: remember it."""
        with anyio.move_on_after(SILENCE_S):
            message = await self._receive()
            self._is_cut = self._is_cut or message["type"] == "http.disconnect"
            return message
        self._is_cut = True
        return {"type": "http.disconnect"}

    def all_shares(self, wanted: dav_listing.Wanted, *, with_children: bool) -> bytes:
        """Return the list of shares open over WebDAV."""
        with self.box.database.read() as connection:
            held = access.held(connection, self.asking.person, now=utc_now())
        shown = [each for each in held if each.share.over_dav]
        return dav_listing.of_shares(PREFIX, shown, wanted, with_children=with_children)

    def _still(self) -> Person:
        """Return the person as they are now.

        Raises:
            NotAllowed: the password, or the account, ended meanwhile.
        """
        with self.box.database.read() as connection:
            found = app_passwords.holder(connection, self.token.id, now=utc_now())
        if found is None:
            raise NotAllowed("share.add")
        return found


async def _record_opening(asking: _Request, held: Held, path: bytes, entry: Entry) -> None:
    now, doer = utc_now(), asking.asking.doer()
    await asking.box.write(
        lambda c: actions.record(c, "file.opened", held.share, path, doer, now, bytes=entry.size)
    )


def _multistatus(text: bytes) -> Response:
    return Response(text, 207, media_type="application/xml")


async def _body(receive: Receive) -> bytes | None:
    """Return the body, or None when it is longer than any XML a program sends."""
    found = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        found += message.get("body", b"")
        if len(found) > LARGEST_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(found)


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


class _Frames(logging.Handler):
    """Says where wsgidav failed, never what it said: its texts hold names of files (beam 7)."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the frames of what was raised."""
        kind, error, trace = record.exc_info or sys.exc_info()
        if kind is None or trace is None or getattr(error, "value", 500) != 500:
            return
        log.error("dav.unforeseen kind=%s\n%s", kind.__name__, "".join(traceback.format_tb(trace)))


def _quiet() -> None:
    """Keep wsgidav's own words out of the log of the system."""
    logger = logging.getLogger("wsgidav")
    logger.propagate = False
    logger.handlers = [_Frames(logging.ERROR)]
