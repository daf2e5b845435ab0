"""The application: doors, routes, and the one place where an error becomes a page."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from appliance.db.engine import Database, open_database
from appliance.errors import ArmoireError, InvalidInput, NotFound, ProofNeeded
from appliance.language import explain, mark
from appliance.settings import Settings
from appliance.units import MIB
from appliance.web.attempts import Attempts
from appliance.web.dav import Dav
from appliance.web.deps import Box, language_of
from appliance.web.failures import REFUSED, ErrorPage, status_of, unforeseen
from appliance.web.front import Front
from appliance.web.link_downloads import LinkDownloads
from appliance.web.pages.arrivals import Arrivals, ask_proof
from appliance.web.pages.browse import Folders
from appliance.web.pages.files import Openings
from appliance.web.pages.ledger import ChainWatch
from appliance.web.quick_file import QuickFile
from appliance.web.quick_folder import QuickFolder
from appliance.web.read_only import ReadOnly
from appliance.web.recovery_watch import Watch
from appliance.web.render import Renderer, is_fragment, render
from appliance.web.routes import ROUTERS
from appliance.web.security import SameSiteOnly, SecurityHeaders, SessionGate
from appliance.web.signpost import put_up
from appliance.web.static_files import StaticFiles

log = logging.getLogger(__name__)

#: Bytes; a form with every line of a page picked is far smaller.
LARGEST_FORM: Final = 4 * MIB


def create_app(
    settings: Settings, database: Database | None = None, *, read_only: bool = False
) -> FastAPI:
    """Return the application of the box in ``settings.data``.

    Args:
        settings: of the box.
        database: an open one, kept open; None opens the settings' own and closes it at the end.
        read_only: the box is being made again from a copy: nothing is changed, each page says so.

    Raises:
        NotInitialised: there is no box there.
    """
    opened = database or open_database(settings.database)
    disk_over_dav = Dav(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        disk_over_dav.close()
        if database is None:
            opened.close()

    app = FastAPI(
        title="Armoire",
        version="1",
        docs_url=None,  # its page would ask another host for scripts
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        lifespan=lifespan,
        dependencies=[Depends(_demand_whole_signs)],
        responses=REFUSED,
        max_body_size=LARGEST_FORM,
        # Nobody is told what is asked here, whatever else is installed; and with each request FastAPI looked for whom.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(Front, settings=settings),
            Middleware(SameSiteOnly),
            Middleware(SessionGate),
            *([Middleware(ReadOnly)] if read_only else []),
        ],
    )
    if not read_only:
        doors = app.build_middleware_stack
        # Before all of them: FastAPI's own cost more than what the short ways do.
        quick = lambda: QuickFolder(QuickFile(doors(), settings), settings)  # noqa: E731
        app.build_middleware_stack = quick  # type: ignore[method-assign]
    static = StaticFiles()
    box = Box(settings, opened)
    app.state.box = box
    app.state.renderer = Renderer(static, lambda: box.zone, Watch(settings) if read_only else None)
    app.state.chain_watch = ChainWatch()
    app.state.openings = Openings()
    app.state.link_downloads = LinkDownloads()
    app.state.attempts = Attempts()
    app.state.arrivals = Arrivals()
    app.state.folders = Folders()
    app.state.refusals = Attempts()
    app.state.on_unforeseen = unforeseen
    app.state.on_refused = _refusal
    app.router.routes.append(Route("/static/{name:path}", static.answer, name="static"))
    app.router.routes.append(Route("/healthz", _healthy, name="healthz"))
    app.router.routes.extend(disk_over_dav.routes())
    for router in ROUTERS:
        app.include_router(router)
    put_up(app.router.routes)
    app.add_exception_handler(ArmoireError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(OverflowError, _on_overflow)
    app.add_exception_handler(UnicodeEncodeError, _on_half_sign)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    return app


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ArmoireError)  # noqa: S101 - registered for it
    if isinstance(error, ProofNeeded) and not request.url.path.startswith("/api/"):
        return ask_proof(request)
    return _refusal(request, error)


def _refusal(request: Request, error: ArmoireError) -> Response:
    status = status_of(error)
    if status >= 500:
        log.warning("web.failed %s", error)
    message = explain(error, language_of(request))
    return _answer(request, status, error.code, message)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    if error.status_code == 404:
        found = NotFound("page", request.url.path)
        return _answer(request, 404, found.code, explain(found, language_of(request)))
    return _answer(request, error.status_code, "http.refused", str(error.detail))


async def _on_overflow(request: Request, _: Exception) -> Response:
    """Say 422 to a number that no column holds: an id in an address may have any number of digits."""
    return _answer(request, 422, "input.invalid", "number")


async def _demand_whole_signs(request: Request) -> None:
    """Let pass what can be written down: JSON can spell half of a sign, U+D800, and a JSON column would keep it.

    Raises:
        UnicodeEncodeError: it holds one.
    """
    read = vars(request).get("_json")  # what FastAPI read of it, if the route takes JSON
    if read is not None:
        json.dumps(read, ensure_ascii=False).encode()


async def _on_half_sign(request: Request, error: Exception) -> Response:
    """Say 422 to a text that cannot be written down, wherever that was found out."""
    if request.method in {"GET", "HEAD"}:
        raise error  # nothing was sent that could hold one: a mistake of ours
    said = InvalidInput("text", mark("It holds half of a sign, which cannot be written down."))
    return _refusal(request, said)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    # What was typed stays out of the answer and of the log.
    names = sorted({str(each["loc"][-1]) for each in error.errors()})
    return _answer(request, 422, "input.invalid", ", ".join(names))


def _answer(request: Request, status: int, code: str, message: str) -> Response:
    if request.url.path.startswith("/api/") or request.headers.get("accept") == "application/json":
        return JSONResponse({"error": {"code": code, "message": message}}, status)
    if is_fragment(request):
        return PlainTextResponse(message, status)
    return render(request, ErrorPage(status, code, message), status)
