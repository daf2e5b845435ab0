"""A target: a place that keeps sealed objects, and the promises every kind of it keeps.

``tests/contract/target_contract.py`` is the same suite for all of them, with faults injected.
Names are ``[a-z0-9-./]``, parts parted by ``/``, no part empty or beginning with a dot.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from appliance.errors import InvalidInput

BLOCK_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"[a-z0-9-][a-z0-9.-]*(/[a-z0-9-][a-z0-9.-]*)*")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a target says about an object."""

    name: str
    size: int
    sha256: str | None = None  # 64 hex digits, where the target can tell without sending the bytes


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A sealed object as it lies in the spool: read from any offset, as often as a cut line asks."""

    path: Path
    size: int
    sha256: str  # 64 hex digits

    def blocks(self, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes from ``offset`` on, BLOCK_BYTES at a time."""
        with self.path.open("rb") as file:
            file.seek(offset)
            while block := file.read(BLOCK_BYTES):
                yield block

    @classmethod
    def of(cls, path: Path) -> "SealedFile":
        """Return the file at ``path``, measured."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path, path.stat().st_size, digest)


def ignore_bytes(_count: int) -> None:
    """Take no notice of progress."""


class Target(Protocol):
    """A place that keeps sealed objects. Blocking; one thread at a time per instance.

    Every operation may raise TargetUnreachable (try again later), TargetRefuses (a person must act)
    and, before anything else happens, TargetIdentityChanged.
    """

    @property
    def label(self) -> str:
        """What logs and errors call it; no secret in it."""
        ...

    def create(
        self, name: str, sealed: SealedFile, *, on_bytes: Callable[[int], None] = ignore_bytes
    ) -> None:
        """Write a new object: under its name it is whole and durable, or it is not there.

        A cut upload may go on where it was at the next call with the same bytes.

        Raises:
            ObjectAlreadyThere: the name is taken, by the same bytes or by others: never overwritten.
            TargetFull: no room; what was sent of it is removed, or can be gone on with.
        """
        ...

    def read(self, name: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the object's bytes from ``offset``, at most ``length`` of them.

        Raises:
            ObjectMissing: there is none of this name.
        """
        ...

    def stat(self, name: str) -> ObjectInfo | None:
        """Return what the target says about an object, or None where there is none."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every whole object whose name begins with ``prefix``, in any order, each once.

        Raises:
            TargetListUnreadable: it cannot be read to its end; what was yielded is not all.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove an object; one that is not there is fine.

        Raises:
            TargetRefuses: the place keeps it (object lock, create-only account).
        """
        ...

    def free_bytes(self) -> int | None:
        """Return how much room is left, or None where the place does not say."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def check_name(name: str) -> str:
    """Return ``name`` when it may name an object.

    Raises:
        InvalidInput: it may not.
    """
    if not _NAME.fullmatch(name) or len(name) > 200:
        raise InvalidInput("object name", "lower-case letters, digits, «-», «.» and «/»")
    return name
