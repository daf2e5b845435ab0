"""Which downloads by a correspondent's link were counted: only those may be gone on with uncounted.

In memory: after a new start, what is gone on with counts as another download, and is refused when none is left.
"""

import time
from typing import Final

#: As long as a large file takes on a thin line, begun again by hand.
GOES_ON_S: Final = 24 * 3600.0
MOST_KNOWN: Final = 10_000


class LinkDownloads:
    """The counted downloads of the last day: of which link, which path, which content."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bytes, str], float] = {}

    def note(self, link_id: int, path: bytes, etag: str) -> None:
        """Remember a download that was counted; ``etag`` is of the file that was opened, in its quotes."""
        key = (link_id, path, etag)
        self._known.pop(key, None)
        if len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]  # the oldest
        self._known[key] = time.monotonic()

    def is_known(self, link_id: int, path: bytes, etag: str) -> bool:
        """Return whether this content was counted within GOES_ON_S."""
        at = self._known.get((link_id, path, etag))
        return at is not None and time.monotonic() - at < GOES_ON_S
