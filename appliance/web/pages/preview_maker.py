"""Asking the sandboxed process for previews, some at a time, and keeping what it made."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

import anyio
import anyio.to_thread

from appliance.disk.preview import client
from appliance.disk.preview.cache import Cache
from appliance.disk.preview.protocol import MOST_FILES, Answer, Do, Wanted
from appliance.web.deps import Box
from appliance.web.pages.preview_fetched import Fetched
from appliance.web.pages.preview_things import Thing, ending

#: Requests that wait for the maker at once.
AT_ONCE: Final = 8


class Maker:
    """Asks for previews, some at a time, and keeps them."""

    def __init__(self, box: Box) -> None:
        """Work for the box of ``box``."""
        self._settings = box.settings
        self._cache = Cache(box.settings.previews)
        self._limit = anyio.CapacityLimiter(AT_ONCE)
        self.fetched = Fetched(box.settings)

    async def make(self, thing: Thing, wanted: Wanted) -> tuple[Answer, str, int]:
        """Return a preview of a thing, its etag, and its size (0: not known).

        Raises:
            InvalidInput, FileMissing, NotAFolder, NotAFile, NotFound: of the thing.
            NotPreviewed, WorkerUnreachable: of the making.
        """
        wanted = replace(wanted, ending=ending(thing.path))

        def work() -> tuple[Answer, str, int]:
            with thing.opened() as one:
                found = self._cache.find(thing.scope, one.etag, wanted)
                if found is None:
                    found = client.ask(self._settings, wanted, [one.descriptor()])
                    if wanted.do in {Do.INFO, Do.PICTURE}:
                        self._cache.keep(thing.scope, one.etag, wanted, found)
                return found, one.etag, one.size

        return await anyio.to_thread.run_sync(work, limiter=self._limit)

    async def briefs(self, found: Sequence[Thing]) -> list[tuple[str, Any]]:
        """Return etags, and what slices say of themselves: None for those that are none."""

        def work() -> list[tuple[str, Any]]:
            told: list[tuple[str, Any]] = []
            for start in range(0, len(found), MOST_FILES):
                told += self._some(found[start : start + MOST_FILES])
            return told

        return await anyio.to_thread.run_sync(work, limiter=self._limit)

    def _some(self, found: Sequence[Thing]) -> list[tuple[str, Any]]:
        with ExitStack() as stack:
            opened = [stack.enter_context(each.opened(head_only=True)) for each in found]
            numbers = [each.descriptor() for each in opened]
            told = client.ask(self._settings, Wanted(Do.BRIEFS), numbers).values()
            return list(zip((each.etag for each in opened), told, strict=True))
