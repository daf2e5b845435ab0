"""Wrong secrets by address: the lock of an account does not stop one password tried on everybody.

In memory of the one web process: whoever restarts it has more than a password already. Secrets of programs
cannot be guessed, but the ledger could be filled with the tries.
"""

import time
from collections import OrderedDict, deque
from ipaddress import IPv6Address, IPv6Network, ip_address
from threading import Lock
from typing import Final

#: So many within WINDOW_S, whatever the logins, and the address waits.
AT_MOST: Final = 30
WINDOW_S: Final = 600.0
ADDRESSES_KNOWN: Final = 10_000
#: One line has 2^64 addresses of IPv6: they count as one.
_LINE_BITS: Final = 64


class Attempts:
    """Failed attempts of the last ten minutes; any thread may ask."""

    def __init__(self) -> None:
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()
        self._door = Lock()

    def wait_s(self, address: str) -> int:
        """Return how many seconds this address waits before it may try again; 0: none."""
        with self._door:
            failed = self._failed.get(_line(address))
            now = time.monotonic()
            while failed and now - failed[0] > WINDOW_S:
                failed.popleft()
            if not failed or len(failed) < AT_MOST:
                return 0
            return int(failed[0] + WINDOW_S - now) + 1

    def failed(self, address: str) -> int:
        """Remember a failed attempt and return how many there were within the window, AT_MOST at most."""
        line = _line(address)
        with self._door:
            failed = self._failed.setdefault(line, deque(maxlen=AT_MOST))
            self._failed.move_to_end(line)
            now = time.monotonic()
            while failed and now - failed[0] > WINDOW_S:
                failed.popleft()
            failed.append(now)
            if len(self._failed) > ADDRESSES_KNOWN:
                self._failed.popitem(last=False)  # who failed longest ago
            return len(failed)


def _line(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((int(found), _LINE_BITS), strict=False).network_address)
