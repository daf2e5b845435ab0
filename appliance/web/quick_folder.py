"""The short way for the page of a folder: what a person looks at all day.

Like the one for small files (``quick_file``) it stands before all other doors, asks session, role and rights anew with
each request, answers only where nothing is left to decide or to wait for, and never says no: whatever is otherwise
goes through the doors and the usual way (``pages.disk.show_folder``), which makes the same page by the same function.
"""

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance.clock import utc_now
from appliance.disk import access, listing
from appliance.errors import ArmoireError
from appliance.packed import unpack_path
from appliance.policy.share_rights import Right
from appliance.settings import Settings
from appliance.web.deps import Box
from appliance.web.pages.disk import folder_page
from appliance.web.quick_file import reader_at_hand
from appliance.web.security import with_headers

_PATH: Final = re.compile(r"/disk/([a-z0-9-]+)")
_QUERY: Final = re.compile(rb"(?:p=([A-Za-z0-9_-]*))?")


class QuickFolder:
    """Answers with a folder that is at hand; passes on all the rest."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._is_open = not settings.front_address  # behind a front, ``Front`` says who really asks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or pass on."""
        answer = None
        if self._is_open and scope["type"] == "http" and scope["method"] == "GET":
            match = _PATH.fullmatch(scope["path"])
            if match is not None:
                answer = _find(scope, match[1])
        if answer is None:
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            await send(with_headers(message))

        await answer(scope, receive, send_with_headers)


def _find(scope: Scope, share: str) -> Response | None:
    query = _QUERY.fullmatch(scope["query_string"])
    if query is None:
        return None
    box: Box = scope["app"].state.box
    now, moment = utc_now(), box.database.moment()
    visitor = reader_at_hand(scope, now, moment)
    if visitor is None:
        return None
    box.look()
    try:
        path = unpack_path((query[1] or b"").decode())
        held = access.recall(moment, visitor.person, now=now).on_share(share, now)
        found = listing.read_known(held.share.folder, path) if held.may(Right.SEE) else None
        if found is None:
            return None  # a thread reads it
        request = Request({**scope, "state": {**scope.get("state", {}), "visitor": visitor}})
        return folder_page(request, held, path, found)
    except (ArmoireError, OSError):
        return None  # the usual way says what is wrong
    except Exception:  # noqa: BLE001 - no door is around us
        return None  # and meets it again, where it is noted down
