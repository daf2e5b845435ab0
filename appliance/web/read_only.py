"""The door that stands while the box is made again from a copy: nothing passes that changes something."""

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from appliance.errors import ReadingOnly
from appliance.language import explain
from appliance.web.deps import language_of
from appliance.web.failures import ErrorPage
from appliance.web.render import is_fragment, render

#: Signing in and out, and the language of the page: what reading needs.
ALLOWED: Final = frozenset({"/sign-in", "/sign-out", "/link", "/language"})
#: The second factor too, and making one: the applications of the box that burnt are not known here.
ALLOWED_PREFIXES: Final = ("/sign-in/", "/account/second-factor/", "/account/prove")
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
STATUS: Final = 409


class ReadOnly:
    """Refuses every change with a page that says why; pure ASGI, as the other doors."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what only reads."""
        if (
            scope["type"] == "http"
            and scope["method"] not in _READING
            and scope["path"] not in ALLOWED
            and not scope["path"].startswith(ALLOWED_PREFIXES)
        ):
            await _refused(Request(scope))(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _refused(request: Request) -> Response:
    error = ReadingOnly()
    message = explain(error, language_of(request))
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": {"code": error.code, "message": message}}, STATUS)
    if is_fragment(request):
        return PlainTextResponse(message, STATUS)
    return render(request, ErrorPage(STATUS, error.code, message), STATUS)
