"""Reading an opened file block by block: at once what the system holds in memory, in a thread what it does not.

A thread costs 60 microseconds a block. What is in memory needs none: over HTTP that takes a fifth less of the processor,
over HTTPS about the same (docs/decisions/0231). A disk that sleeps still stops nobody.

Source: preadv2(2), RWF_NOWAIT.
"""

import asyncio
import errno
import os
from typing import Final

import anyio.to_thread

from appliance.units import KIB, MIB

#: Bytes of a block; on a quiet machine 256 KiB took a third more of the processor over HTTP (0231).
BLOCK: Final = 512 * KIB
#: Bytes a thread reads at once, when one is needed at all.
AHEAD: Final = MIB

_NOT_NOW: Final = frozenset({errno.EAGAIN, errno.EOPNOTSUPP})


def read_now(descriptor: int, count: int, offset: int) -> bytearray | None:
    """Return ``count`` bytes at ``offset`` when they are in memory; None: ask ``read_all`` in a thread.

    Raises:
        OSError: the disk has an error.
    """
    block = bytearray(count)
    try:
        found = os.preadv(descriptor, [block], offset, os.RWF_NOWAIT) if count else 0
    except OSError as error:
        if error.errno not in _NOT_NOW:
            raise
        return None
    return block if found == count else None


def read_all(descriptor: int, count: int, offset: int) -> memoryview:
    """Return ``count`` bytes at ``offset``, fewer only where the file ends; waits for the disk.

    Raises:
        OSError: the disk has an error.
    """
    block = memoryview(bytearray(count))
    found = 0
    while found < count:
        more = os.preadv(descriptor, [block[found:]], offset + found)
        if not more:
            break
        found += more
    return block[:found]


class OpenedBlocks:
    """What ``FileResponse`` needs of a file: ``seek`` and ``read``; it never reads beyond ``size``.

    A file that grew while it was sent ends where it was said to end; of one that was cut, less comes than was said,
    and the server cuts the line.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        """Read ``descriptor``, whose file had ``size`` bytes when its length was told; it is not closed here."""
        self._descriptor = descriptor
        self._size = size
        self._at = 0
        self._ahead = memoryview(b"")

    async def seek(self, offset: int) -> None:
        """Go on at ``offset``."""
        self._at = offset
        self._ahead = memoryview(b"")

    async def read(self, count: int) -> bytearray | memoryview:
        """Return the next ``count`` bytes; fewer only at the end.

        Raises:
            OSError: the disk has an error.
        """
        count = min(count, max(0, self._size - self._at))
        block: bytearray | memoryview | None = None
        if not self._ahead:
            # Whoever takes as fast as we give would keep all others waiting.
            await asyncio.sleep(0)
            block = read_now(self._descriptor, count, self._at)
        if block is None:
            if len(self._ahead) < count:
                # A viewer's short range is all that it wants; after a full block comes another.
                wanted = min(AHEAD, self._size - self._at) if count == BLOCK else count
                self._ahead = await anyio.to_thread.run_sync(
                    read_all, self._descriptor, wanted, self._at
                )
            block, self._ahead = self._ahead[:count], self._ahead[count:]
        self._at += len(block)
        return block
