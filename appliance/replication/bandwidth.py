"""A brake on what leaves: a token bucket that several threads share, at a rate that may change while it waits."""

import threading
import time
from collections.abc import Callable
from typing import Final

from appliance.errors import JobCancelled

#: So much of a second may leave at once after a silence: blocks stay whole, the line is not flooded.
BURST_S: Final = 1.0
#: The rate is asked again at least so often: a change on the page, or a new hour, is obeyed by then.
STEP_S: Final = 0.5
SHORTEST_S: Final = 0.001


class Throttle:
    """Give ``take`` to ``push.Line.on_bytes``: it returns when the bytes have had their time.

    Threads are served in the order they came. What was taken is paid for afterwards, so a block larger than
    the burst passes and the next one waits for both.
    """

    def __init__(
        self,
        rate: Callable[[], int | None],
        *,
        should_stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare.

        Args:
            rate: bytes per second now; 0: nothing leaves; None: no limit. Asked often: it must be cheap.
            should_stop: asked while waiting.
            clock: seconds that only grow.
            sleep: waits so many seconds.
        """
        self._rate = rate
        self._should_stop = should_stop
        self._clock = clock
        self._sleep = sleep
        self._door = threading.Lock()
        self._taken = 0.0  # bytes asked for since the beginning
        self._paid = 0.0  # bytes that have had their time, and at most a burst ahead of ``_taken``
        self._at = clock()

    def take(self, count: int) -> None:
        """Return once ``count`` bytes more have had their time.

        Raises:
            JobCancelled: while waiting.
        """
        with self._door:
            self._refill()
            self._taken += count
            ticket = self._taken
        while True:
            with self._door:
                rate = self._refill()
                missing = ticket - self._paid
            if missing < 1:  # a fraction of a byte is rounding
                return
            if self._should_stop():
                raise JobCancelled
            self._sleep(max(SHORTEST_S, min(STEP_S, missing / rate)) if rate else STEP_S)

    def _refill(self) -> int:
        """Pay for the time since the last call; return the rate now, 0 for a pause."""
        now = self._clock()
        since, self._at = max(0.0, now - self._at), now
        rate = self._rate()
        if rate is None:
            self._paid = self._taken
            return 0
        self._paid = min(self._paid + rate * since, self._taken + rate * BURST_S)
        return rate
