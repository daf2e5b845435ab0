"""The short way for small files that are asked for again and again: previews, pages of a scan, a viewer's pictures.

It stands before all other doors and answers only where nothing is left to decide or to wait for: a whole session from
its own address, the role and the right to see, asked for anew like everywhere; an opening the journal has already; a
way and a content that the system holds in memory; no front, no range, no condition. Whatever is otherwise, and
everything that is refused, goes through the doors and the usual way (``api.disk.send_file``), so that there is one
place that says no. Most of the time a small file takes is spent on that way (docs/decisions/0191).
"""

import os
import re
from datetime import datetime
from functools import lru_cache
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from appliance.clock import utc_now
from appliance.db.engine import Moment
from appliance.disk import access, cached_open, listing, paths
from appliance.errors import ArmoireError
from appliance.packed import unpack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.settings import Settings
from appliance.web.deps import Box, Visitor
from appliance.web.front import is_inside, looks_sent_on
from appliance.web.opened_blocks import read_now
from appliance.web.pages.files import Openings
from appliance.web.security import RAW_HEADERS, at_hand
from appliance.web.share_file import SMALL, headers_of

_PATH: Final = re.compile(r"/disk/([^/]+)/file")
_QUERY: Final = re.compile(rb"p=([A-Za-z0-9_-]+)")
#: Whoever sends one of these wants a part, or perhaps nothing.
_CONDITIONS: Final = frozenset(
    {
        b"range",
        b"if-range",
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
    }
)
#: What the doors passed by would have added.
_ALWAYS: Final = tuple(
    each for each in RAW_HEADERS if each[0] not in {b"content-security-policy", b"cache-control"}
)
_Answer = tuple[tuple[tuple[bytes, bytes], ...], bytearray]


class QuickFile:
    """Answers for a small file that is at hand; passes on all the rest."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._is_open = not settings.front_address  # behind a front, ``Front`` says who really asks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or pass on."""
        found = None
        if self._is_open and scope["type"] == "http" and scope["method"] == "GET":
            match = _PATH.fullmatch(scope["path"])
            if match is not None:
                found = _find(scope, match[1])
        if found is None:
            await self.app(scope, receive, send)
            return
        headers, body = found
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def _find(scope: Scope, share: str) -> _Answer | None:
    found = open_at_hand(scope, share)
    if found is None:
        return None
    descriptor, entry = found
    try:
        body = read_now(descriptor, entry.size, 0) if entry.size <= SMALL else None
    except OSError:
        body = None
    finally:
        os.close(descriptor)
    return (
        None if body is None else (headers_at_hand(entry), body)
    )  # not in memory: a thread fetches it


def open_at_hand(scope: Scope, share: str) -> tuple[int, listing.Entry] | None:
    """Return a descriptor of the file that is asked for, where nothing is left to decide; it is the caller's to close.

    None is no refusal: the doors have to say.
    """
    query = _QUERY.fullmatch(scope["query_string"])
    if query is None or not _CONDITIONS.isdisjoint([name for name, _ in scope["headers"]]):
        return None
    app_state = scope["app"].state
    box: Box = app_state.box
    now, moment = utc_now(), box.database.moment()
    visitor = reader_at_hand(scope, now, moment)
    if visitor is None:
        return None
    try:
        path = unpack_path(query[1].decode())
        held = access.recall(moment, visitor.person, now=now).on_share(share, now)
        if not held.may(Right.SEE):
            return None
        descriptor = cached_open.open_file(held.share.folder, path)
    except ArmoireError:
        return None  # the usual way says what is wrong
    if descriptor is None:
        return None
    entry = listing.entry_of(paths.parent(path)[1], os.fstat(descriptor))
    openings: Openings = app_state.openings
    if not openings.is_known(visitor.person.id, f"{share}:{entry.etag}"):
        os.close(descriptor)
        return None
    return descriptor, entry


def reader_at_hand(scope: Scope, now: datetime, moment: Moment) -> Visitor | None:
    """Return who asks for something of the network disk, where nothing is left to decide about who they are.

    None is no refusal: the doors have to say.
    """
    peer = scope["client"][0] if scope.get("client") else ""
    if looks_sent_on(scope, peer) or not is_inside(peer):
        return None  # perhaps the box is open for correspondents' links only
    visitor = at_hand(scope, now, moment)
    return visitor if visitor is not None and visitor.may(Action.DISK_USE) else None


@lru_cache(maxsize=2_000)
def headers_at_hand(entry: listing.Entry) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of ``ShareFile``, with those of every answer."""
    return (
        *((name.encode(), value.encode()) for name, value in headers_of(entry).items()),
        (b"content-type", b"application/octet-stream"),
        (b"accept-ranges", b"bytes"),
        (b"content-length", b"%d" % entry.size),
        *_ALWAYS,
    )
