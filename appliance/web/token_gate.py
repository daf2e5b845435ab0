"""Programs at the door: Basic for WebDAV, Bearer for the API and metrics (docs/decisions/0173, 0174).

A request of a program never has a session: its cookies are not read, so that no page of another site can make a
browser use one. A bearer is worth exactly its scope, and of that what its person may do at the moment.
"""

import base64
import binascii
import logging
from typing import Final

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Scope as AsgiScope

from appliance.accounts import app_passwords
from appliance.accounts.app_passwords import AppPassword, Kind, Scope
from appliance.accounts.sessions import Session
from appliance.clock import utc_now
from appliance.db import local_networks
from appliance.ledger import events
from appliance.model import Person
from appliance.policy.roles import Action, may
from appliance.web.attempts import AT_MOST, Attempts
from appliance.web.deps import Box, Visitor

log = logging.getLogger(__name__)

DAV: Final = "/dav"
METRICS: Final = "/metrics"
REALM: Final = 'realm="Armoire", charset="UTF-8"'
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def is_program(scope: AsgiScope) -> bool:
    """Return whether a request is a program's: it carries a bearer, or asks for what only programs get."""
    path: str = scope["path"]
    if path in {DAV, METRICS} or path.startswith(DAV + "/"):
        return True
    return _credentials(Headers(scope=scope), "bearer") is not None


def scope_needed(method: str, path: str) -> Scope | None:
    """Return what an API token must be good for; None: nothing a token opens. A new route is closed by default."""
    is_reading = method in _READING
    disk = Scope.DISK_READ if is_reading else Scope.DISK_WRITE
    parts = path.split("/")
    if path == "/api/v1/disk" or path.startswith(("/api/v1/disk/", "/api/v1/uploads/")):
        return disk
    if len(parts) == 4 and parts[1] == "disk" and parts[3] in {"file", "zip"}:
        return Scope.DISK_READ  # a zip is asked for by POST: what goes into it may be long
    if path == "/api/v1/links" or path.startswith("/api/v1/links/"):
        return Scope.LINKS
    if path in {"/api/v1/search", "/api/v1/restores"} or path.startswith(
        ("/api/v1/snapshots/", "/api/v1/restores/")
    ):
        return Scope.SNAPSHOTS_READ if is_reading else None
    if path == "/api/v1/sources" or path.startswith("/api/v1/sources/"):
        return _of_sources(parts[4:], is_reading=is_reading)
    if path == "/api/v1/openapi.json":
        return Scope.STATUS_READ
    if path == "/api/v1/certificate":
        return Scope.STATUS_READ if is_reading else None
    if path == "/api/v1/copies" or path.startswith("/api/v1/copies/"):
        return _of_copies(parts[4:], is_reading=is_reading)
    if path == "/api/v1/drills" or path.startswith("/api/v1/drills/"):
        return Scope.STATUS_READ if is_reading else None
    for room in ("status", "jobs", "ledger", "network"):
        if path == f"/api/v1/{room}" or path.startswith(f"/api/v1/{room}/"):
            return Scope.STATUS_READ if is_reading else Scope.BOX_WRITE
    return None


#: Of one source, by the last part of its address. What is not here asks for a person: adding, connecting, changing
#: a plan (one that keeps nothing destroys), pruning, recipes with their secrets, restoring, marks.
_SOURCE_READS: Final = {
    "snapshots": Scope.STATUS_READ,
    "anomalies": Scope.STATUS_READ,
    "plan": Scope.STATUS_READ,
    "history": Scope.SNAPSHOTS_READ,  # names of files
    "touches": Scope.SNAPSHOTS_READ,
    "compare": Scope.SNAPSHOTS_READ,
    "retention": Scope.SNAPSHOTS_READ,
}
_SOURCE_TASKS: Final = frozenset({"snapshots", "verify"})


def _of_sources(parts: list[str], *, is_reading: bool) -> Scope | None:
    if is_reading and len(parts) < 2:
        return Scope.STATUS_READ
    if len(parts) != 2:
        return None
    if is_reading:
        return _SOURCE_READS.get(parts[1])
    return Scope.BOX_WRITE if parts[1] in _SOURCE_TASKS else None


#: Of one copy. What is not here asks for a person: addresses, keys, dossiers, timetables, adding and removing.
_COPY_READS: Final = frozenset({"generations", "bandwidth"})
_COPY_TASKS: Final = frozenset({"push", "verify", "tamper", "check"})


def _of_copies(parts: list[str], *, is_reading: bool) -> Scope | None:
    if is_reading:
        is_open = len(parts) < 2 or (len(parts) == 2 and parts[1] in _COPY_READS)
        return Scope.STATUS_READ if is_open else None
    return Scope.BOX_WRITE if len(parts) == 2 and parts[1] in _COPY_TASKS else None


async def find(request: Request) -> Visitor | Response:
    """Return who asks through a program, or the answer that refuses it."""
    path = request.url.path
    address = request.client.host if request.client else ""
    refusals: Attempts = request.app.state.refusals
    wait_s = refusals.wait_s(address)
    if wait_s:
        return PlainTextResponse("Too many attempts.\n", 429, headers={"retry-after": str(wait_s)})
    is_dav = path == DAV or path.startswith(DAV + "/")
    given = _credentials(request.headers, "basic" if is_dav else "bearer")
    if given is None:
        return _sign_in(path, is_dav=is_dav)
    login, secret = _basic(given) if is_dav else ("", given)
    kind = Kind.DAV if is_dav else Kind.METRICS if path == METRICS else Kind.API
    box: Box = request.app.state.box
    now = utc_now()
    with box.database.read() as connection:
        found = app_passwords.find(connection, secret, kinds={kind}, now=now)
        is_near = found is not None and local_networks.is_near(connection, address)
    if found is None or (is_dav and found[0].login.casefold() != login.casefold()):
        await _refused(box, refusals, address)
        return _sign_in(path, is_dav=is_dav)
    person, password = found
    if not is_near:
        # One secret is one factor: from outside, the way in is the tunnel (domain.md SEC-09).
        return PlainTextResponse("Only inside the practice, or through its tunnel.\n", 403)
    problem = _out_of_scope(request.method, path, person, password)
    if problem is not None:
        return problem
    if password.used_at is None or now - password.used_at > app_passwords.TOUCH_EVERY:

        def touch() -> None:
            with box.database.write() as connection:
                app_passwords.touch(connection, password.id, now=now)

        await anyio.to_thread.run_sync(touch)
    session = Session(
        id=0,  # none: nothing of a session is open to a program
        person_id=person.id,
        created_at=password.created_at,
        seen_at=now,
        ends_at=password.ends_at or now,
        address=address,
        user_agent="",
    )
    return Visitor(person, session, password)


def _out_of_scope(method: str, path: str, person: Person, password: AppPassword) -> Response | None:
    if _allowed(method, path, person, password):
        return None
    return JSONResponse(
        {"error": {"code": "access.scope", "message": "This token is not good for that."}}, 403
    )


def _allowed(method: str, path: str, person: Person, password: AppPassword) -> bool:
    match password.kind:
        case Kind.DAV:
            return may(person.role, Action.DISK_USE)
        case Kind.METRICS:
            return method in _READING and may(person.role, Action.STATUS_SEE)
        case Kind.API:
            needed = scope_needed(method, path)
            return needed is not None and password.may(needed)


async def _refused(box: Box, refusals: Attempts, address: str) -> None:
    """Remember a wrong secret; the ledger gets the first of a series and the one that shuts the door."""
    count = refusals.failed(address)
    if count not in {1, AT_MOST}:
        return
    await box.write(
        lambda c: events.record(
            c,
            at=utc_now(),
            event="app-password.refused",
            subject="person:",
            address=address,
            failures=count,
        )
    )


def _sign_in(path: str, *, is_dav: bool) -> Response:
    if is_dav:
        return PlainTextResponse(
            "A password of this program, please.\n",
            401,
            headers={"www-authenticate": f"Basic {REALM}"},
        )
    headers = {"www-authenticate": f"Bearer {REALM}"}
    if path.startswith("/api/"):
        return JSONResponse(
            {"error": {"code": "access.not-signed-in", "message": "Sign in first."}},
            401,
            headers=headers,
        )
    return PlainTextResponse("A token, please.\n", 401, headers=headers)


def _credentials(headers: Headers, kind: str) -> str | None:
    """Return what follows the word ``kind`` in the Authorization header."""
    word, _, rest = headers.get("authorization", "").partition(" ")
    return rest.strip() if word.lower() == kind else None


def _basic(given: str) -> tuple[str, str]:
    """Return login and secret of RFC 7617; two empty texts when they cannot be read."""
    try:
        text = base64.b64decode(given, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return "", ""
    login, _, secret = text.partition(":")
    return login.strip(), secret
