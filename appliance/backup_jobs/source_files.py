"""A source's files as they are now, to be compared with what was kept of them."""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from appliance.backup_jobs.sftp import SftpClient, SftpRefused
from appliance.backup_jobs.sources.roots import remote_path
from appliance.model import Entry, System
from appliance.units import NS_PER_S

_BLOCK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class State:
    """What tells that a file is still the one that was read."""

    size: int
    mtime_ns: int


class SourceFiles(Protocol):
    """The files of a source. Anything that cannot be read is «not there»: that is no damage."""

    def state(self, path: bytes) -> State | None:
        """Return what the regular file at ``path`` is now, None when there is none."""
        ...

    def read(self, path: bytes) -> Iterator[bytes]:
        """Yield its bytes.

        Raises:
            OSError: it cannot be read.
            MachineError: the line failed.
        """
        ...


class LocalFiles:
    """Files of a share, where the box sees them itself."""

    def __init__(self, taken_at: datetime) -> None:
        """Compare with a snapshot begun at ``taken_at``."""
        self._taken_ns = int(taken_at.timestamp() * NS_PER_S)

    def state(self, path: bytes) -> State | None:
        """Return the state, None also when anything about the file changed since the snapshot."""
        try:
            found = os.lstat(b"/" + path)
        except OSError:
            return None
        # The change time cannot be set back by a program that keeps the modification time.
        if not stat.S_ISREG(found.st_mode) or found.st_ctime_ns >= self._taken_ns:
            return None
        return State(found.st_size, found.st_mtime_ns)

    def read(self, path: bytes) -> Iterator[bytes]:
        """Yield the bytes; links are not followed."""
        descriptor = os.open(b"/" + path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                yield block


class MachineFiles:
    """Files of a machine, over SFTP."""

    def __init__(self, client: SftpClient, system: System) -> None:
        self._client = client
        self._system = system

    def state(self, path: bytes) -> State | None:
        """Return the state; SFTP knows whole seconds."""
        try:
            found = self._client.lstat(remote_path(path, self._system))
        except SftpRefused:
            return None
        if found.mode is None or not stat.S_ISREG(found.mode):
            return None
        if found.size is None or found.mtime is None:
            return None
        return State(found.size, found.mtime * NS_PER_S)

    def read(self, path: bytes) -> Iterator[bytes]:
        """Yield the bytes."""
        return self._client.read_file(remote_path(path, self._system))


class NoFiles:
    """A source that cannot be asked just now."""

    def state(self, path: bytes) -> State | None:  # noqa: ARG002 - the protocol
        """Return None: nothing is known."""
        return None

    def read(self, path: bytes) -> Iterator[bytes]:  # noqa: ARG002 - the protocol
        """Never yield."""
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def is_still(entry: Entry, state: State | None, *, whole_seconds: bool) -> bool:
    """Return whether ``state`` is that of the file as it was kept."""
    if state is None or state.size != entry.size:
        return False
    if whole_seconds:
        return state.mtime_ns // NS_PER_S == entry.mtime_ns // NS_PER_S
    return state.mtime_ns == entry.mtime_ns


def same_bytes(one: Iterator[bytes], other: Iterator[bytes]) -> bool:
    """Return whether two streams are equal byte for byte; reads no further than the first difference."""
    left = right = b""
    while True:
        if not left:
            left = next((block for block in one if block), b"")
        if not right:
            right = next((block for block in other if block), b"")
        if not left or not right:
            return left == right
        length = min(len(left), len(right))
        if left[:length] != right[:length]:
            return False
        left, right = left[length:], right[length:]
