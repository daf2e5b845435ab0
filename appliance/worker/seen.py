"""Whether a machine answers: one cheap TCP connection, remembered for a while."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from appliance.model import Source, SourceId

CONNECT_S: Final = 2.0  # seconds
#: The same machine is not asked more often.
AGAIN: Final = timedelta(minutes=2)


def answers(host: str, port: int) -> bool:
    """Return whether something accepts a connection at this address; nothing is sent."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S):
            return True
    except (OSError, UnicodeError):  # UnicodeError: a name that is no host name
        return False


@dataclass
class Seen:
    """Answers for every machine, each asked at most once in AGAIN."""

    ask: Callable[[str, int], bool] = answers
    _last: dict[SourceId, tuple[datetime, bool]] = field(default_factory=dict)

    def is_seen(self, source: Source, now: datetime) -> bool:
        """Return whether the machine of ``source`` answers; a share always does."""
        if source.host is None:
            return True
        known = self._last.get(source.id)
        if known is not None and timedelta(0) <= now - known[0] < AGAIN:
            return known[1]
        found = self.ask(source.host, source.port)
        self._last[source.id] = (now, found)
        return found
