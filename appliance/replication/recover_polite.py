"""Who waits for whom on the line after a fire: a person who opens a document goes before the restore.

Bytes that were asked for come, whoever asked: so while documents are being read the restore asks for one
object at a time, and while one is on its way it asks for nothing.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from appliance.replication.target import ObjectInfo, SealedFile, Target, ignore_bytes

#: So long after a document the restore keeps to one object at a time: the next one follows soon.
QUIET_S: Final = 20.0
#: However much is read, the restore gets a turn after so long.
PATIENCE_S: Final = 5.0


class Gate:
    """Shared by those who read documents and those who restore; safe for several threads."""

    def __init__(self, *, quiet_s: float = QUIET_S, patience_s: float = PATIENCE_S) -> None:
        """Let everybody through.

        Args:
            quiet_s: seconds after a document during which one object is restored at a time.
            patience_s: seconds the restore waits at most for a document.
        """
        self._quiet_s = quiet_s
        self._patience_s = patience_s
        self._door = threading.Condition()
        self._urgent = 0
        self._restoring = 0
        self._last = float("-inf")

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Go first."""
        with self._door:
            self._urgent += 1
        try:
            yield
        finally:
            with self._door:
                self._urgent -= 1
                self._last = time.monotonic()
                self._door.notify_all()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until an object may be asked for by the restore; hold the place while it comes."""
        limit = time.monotonic() + self._patience_s
        with self._door:
            while self._has_to_wait(limit):
                self._door.wait(0.5)
            self._restoring += 1
        try:
            yield
        finally:
            with self._door:
                self._restoring -= 1
                self._door.notify_all()

    def pause(self) -> None:
        """Wait while a document is on its way, between two blocks of an object."""
        limit = time.monotonic() + self._patience_s
        with self._door:
            while self._urgent and (left := limit - time.monotonic()) > 0:
                self._door.wait(left)

    def _has_to_wait(self, limit: float) -> bool:
        now = time.monotonic()
        if self._urgent:
            return now < limit
        return self._restoring > 0 and now - self._last < self._quiet_s


class _Passed:
    """A target that passes everything on."""

    def __init__(self, target: Target, gate: Gate) -> None:
        self._target = target
        self._gate = gate

    @property
    def label(self) -> str:
        """As ``Target.label``."""
        return self._target.label

    def create(
        self, name: str, sealed: SealedFile, *, on_bytes: Callable[[int], None] = ignore_bytes
    ) -> None:
        """As ``Target.create``."""
        self._target.create(name, sealed, on_bytes=on_bytes)

    def stat(self, name: str) -> ObjectInfo | None:
        """As ``Target.stat``."""
        return self._target.stat(name)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """As ``Target.list``."""
        return self._target.list(prefix)

    def remove(self, name: str) -> None:
        """As ``Target.remove``."""
        self._target.remove(name)

    def free_bytes(self) -> int | None:
        """As ``Target.free_bytes``."""
        return self._target.free_bytes()

    def close(self) -> None:
        """As ``Target.close``."""
        self._target.close()


class Polite(_Passed):
    """The restore's connection: stands aside for documents."""

    def read(self, name: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """As ``Target.read``."""
        with self._gate.turn():
            for block in self._target.read(name, offset=offset, length=length):
                yield block
                self._gate.pause()


class Urgent(_Passed):
    """A connection for documents."""

    def read(self, name: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """As ``Target.read``."""
        with self._gate.urgent():
            yield from self._target.read(name, offset=offset, length=length)
