"""A file of a share as an answer: large ones block by block, small ones in one read and one message.

A third of the processor a gigabyte and many times more small files a second than Starlette's own
(docs/decisions/0231). It sends what was opened, never what a name leads to by now.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Final
from urllib.parse import quote

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from appliance.disk.listing import Entry
from appliance.units import KIB
from appliance.web.opened_blocks import BLOCK, OpenedBlocks, read_all, read_now

SMALL: Final = 256 * KIB
#: Nothing in a patient's file may run in our pages' name.
SANDBOX: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"


#: Below this the nginx in front finds the folder of shares (docs/front.md); nobody can ask for it from outside.
ACCEL: Final = "/-/shares/"


def headers_of(entry: Entry, *, is_download: bool = True, policy: str = SANDBOX) -> dict[str, str]:
    """Return what an answer says of a file, whichever way it is sent; length and type are the sender's."""
    name = quote(entry.name.decode("utf-8", "replace"), safe="")
    kind = "attachment" if is_download else "inline"
    return {
        "etag": f'"{entry.etag}"',
        "last-modified": formatdate(entry.mtime_ns / 1e9, usegmt=True),
        "content-disposition": f"{kind}; filename*=utf-8''{name}",
        "content-security-policy": policy,
        "cache-control": "private, no-cache",
    }


class ShareFile(FileResponse):
    """Sends an opened file, whole or by ranges, and closes it."""

    chunk_size = BLOCK

    def __init__(
        self,
        descriptor: int,
        entry: Entry,
        *,
        media_type: str = "application/octet-stream",
        is_download: bool = True,
        policy: str = SANDBOX,
    ) -> None:
        """Take over ``descriptor``, of the regular file that ``entry`` describes."""
        self._descriptor = descriptor
        super().__init__(
            f"/proc/self/fd/{descriptor}",
            media_type=media_type,
            stat_result=os.fstat(descriptor),
            headers=headers_of(entry, is_download=is_download, policy=policy),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            headers = Headers(scope=scope)
            if headers.get("if-none-match") == self.headers["etag"]:
                await Response(status_code=304, headers={"etag": self.headers["etag"]})(
                    scope, receive, send
                )
                return
            # nginx knows another ETag than ours: what goes on from a half is ours to judge, and to send.
            if scope.get("state", {}).get("accel") and "if-range" not in headers:
                shares: Path = scope["app"].state.box.settings.shares
                place = await anyio.to_thread.run_sync(self._below, bytes(shares))
                if place is not None:
                    await self._hand_over(place, scope, receive, send)
                    return
            size = self.stat_result.st_size if self.stat_result is not None else 0
            if size <= SMALL and "range" not in headers and scope["method"] == "GET":
                body = await self._whole(size)
                if len(body) == size:
                    await send(
                        {
                            "type": "http.response.start",
                            "status": self.status_code,
                            "headers": self.raw_headers,
                        }
                    )
                    await send({"type": "http.response.body", "body": body, "more_body": False})
                    return
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._descriptor)

    def _below(self, shares: bytes) -> bytes | None:
        """Return where the opened file lies below the folder of shares, or None when its name is another's by now."""
        path = os.fsencode(Path(f"/proc/self/fd/{self._descriptor}").readlink())
        root = os.path.realpath(shares) + b"/"
        if not path.startswith(root):
            return None
        try:
            named = os.lstat(path)
        except OSError:
            return None  # deleted while it was open: what was opened is what is sent
        mine = os.fstat(self._descriptor)
        if (named.st_dev, named.st_ino) != (mine.st_dev, mine.st_ino):
            return None
        return path.removeprefix(root)

    async def _hand_over(self, place: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the nginx in front send it; ``disable_symlinks`` there keeps it from following any link."""
        kept = {
            name: value
            for name, value in self.headers.items()
            if name not in {"content-length", "accept-ranges"}
        }
        kept["x-accel-redirect"] = ACCEL + quote(place, safe="/")
        await Response(headers=kept)(scope, receive, send)

    async def _whole(self, size: int) -> bytearray | memoryview:
        """Return the content: inline when the system holds it in memory, so that a cold disk stops nobody."""
        found = read_now(self._descriptor, size, 0)
        if found is not None:
            return found
        return await anyio.to_thread.run_sync(read_all, self._descriptor, size, 0)

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[OpenedBlocks]:  # type: ignore[override]
        """Give Starlette's senders, for the whole, one range and several, what is open already."""
        size = self.stat_result.st_size if self.stat_result is not None else 0
        yield OpenedBlocks(self._descriptor, size)
