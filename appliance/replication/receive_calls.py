"""A client's SFTP calls on a receiving box, answered: each is one call of ``receive_store``, or a refusal."""

import errno
import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Self

import paramiko
from paramiko.sftp import (
    SFTP_FAILURE,
    SFTP_NO_SUCH_FILE,
    SFTP_OK,
    SFTP_OP_UNSUPPORTED,
    SFTP_PERMISSION_DENIED,
)

from appliance.replication.receive_paths import Entry
from appliance.replication.receive_store import OpenFile, SenderStore

log = logging.getLogger(__name__)

#: Names are at most 255 bytes and come twice, so an answer stays under 64 KiB.
ENTRIES_AN_ANSWER: Final = 64
_DENIED: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.ELOOP, errno.EROFS, errno.ENAMETOOLONG}
)
_MISSING: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
#: What a client reads when SFTP 3 has no code of its own. No path in it.
_WORDS: Final = {
    errno.EDQUOT: "quota reached",
    errno.ENOSPC: "no room left",
    errno.EEXIST: "there already",
    errno.EMFILE: "too many open files",
    errno.EMLINK: "too many in one folder",
    errno.ESTALE: "taken over",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client, or all of them together, may ask of the box."""

    sessions: int = 32  # connections, signed in or not
    sessions_of_sender: int = 12
    sessions_of_address: int = 16
    sign_in_s: float = 20.0  # until signed in and speaking SFTP
    sign_in_attempts: int = 6
    open_files: int = 64  # per session, folders included
    packet_bytes: int = 256 * 1024 + 1024  # OpenSSH's own limit is 256 KiB
    read_bytes: int = 128 * 1024  # at most in one answer
    idle_s: float = 3600.0  # without a request; a push may wait through the consultation


class Refusal(int):
    """An SFTP status that says why in words."""

    words: str

    def __new__(cls, code: int, words: str) -> Self:
        """Return ``code`` with words."""
        made = super().__new__(cls, code)
        made.words = words
        return made


class Files(paramiko.SFTPServerInterface):
    """A client's calls on names."""

    def __init__(
        self,
        door: paramiko.ServerInterface,
        store: SenderStore,
        transport: paramiko.Transport,
        limits: Limits,
    ) -> None:
        super().__init__(door)
        self._store = store
        self._transport = transport
        self._limits = limits

    def open(
        self,
        path: str,
        flags: int,
        attr: paramiko.SFTPAttributes,  # noqa: ARG002
    ) -> paramiko.SFTPHandle | int:
        """Open an object to read, or a draft."""
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_EXCL)
        if flags & os.O_APPEND:
            return int(SFTP_OP_UNSUPPORTED)
        try:
            if not writes:
                file = self._store.open_to_read(path)
            else:
                file = self._store.open_draft(
                    path,
                    create=bool(flags & os.O_CREAT),
                    cut=bool(flags & os.O_TRUNC),
                    exclusive=bool(flags & os.O_EXCL),
                )
        except OSError as error:
            return answer_for(error)
        return Handle(file, self._transport, self._limits)

    def stat(self, path: str) -> paramiko.SFTPAttributes | int:
        """Say what lies at a path; there are no links to follow."""
        try:
            found = self._store.look(path)
        except OSError as error:
            return answer_for(error)
        return int(SFTP_NO_SUCH_FILE) if found is None else _attributes(found)

    lstat = stat

    def remove(self, path: str) -> int:
        """Remove a draft."""
        return self._done(lambda: self._store.remove_draft(path))

    def rename(self, oldpath: str, newpath: str) -> int:
        """Make a draft an object."""
        return self._done(lambda: self._store.publish(oldpath, newpath))

    def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> int:  # noqa: ARG002
        """Make a folder."""
        return self._done(lambda: self._store.make_folder(path))

    def posix_rename(self, oldpath: str, newpath: str) -> int:  # noqa: ARG002
        """Refuse: it overwrites."""
        return int(SFTP_PERMISSION_DENIED)

    def rmdir(self, path: str) -> int:  # noqa: ARG002
        """Refuse."""
        return int(SFTP_PERMISSION_DENIED)

    def chattr(self, path: str, attr: paramiko.SFTPAttributes) -> int:  # noqa: ARG002
        """Refuse: a size is an attribute too."""
        return int(SFTP_PERMISSION_DENIED)

    def symlink(self, target_path: str, path: str) -> int:  # noqa: ARG002
        """Refuse."""
        return int(SFTP_PERMISSION_DENIED)

    def readlink(self, path: str) -> str | int:  # noqa: ARG002
        """Refuse."""
        return int(SFTP_PERMISSION_DENIED)

    def canonicalize(self, path: str) -> str:
        """Return the path as seen from the sender's folder, which is the root of all it sees."""
        return "/" + path.removeprefix("./").strip("/") if path not in {".", ""} else "/"

    def _done(self, act: Callable[[], None]) -> int:
        try:
            act()
        except OSError as error:
            return answer_for(error)
        return int(SFTP_OK)


class Listing(paramiko.SFTPHandle):
    """A folder being read: paramiko's own copies the rest of the list at each answer."""

    def __init__(self, entries: list[Entry]) -> None:
        super().__init__()
        self._entries = iter(entries)

    def _get_next_files(self) -> list[paramiko.SFTPAttributes]:
        return [_attributes(each) for each in islice(self._entries, ENTRIES_AN_ANSWER)]


class Handle(paramiko.SFTPHandle):
    """A client's calls on an open file."""

    def __init__(self, file: OpenFile, transport: paramiko.Transport, limits: Limits) -> None:
        super().__init__()
        self._file = file
        self._transport = transport
        self._limits = limits

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def read(self, offset: int, length: int) -> bytes | int:
        """Return a part; never more than fits an answer, whatever was asked for."""
        try:
            return self._file.read(offset, min(length, self._limits.read_bytes))
        except (OSError, OverflowError) as error:
            return answer_for(error)

    def write(self, offset: int, data: Any) -> int:  # noqa: ANN401 - paramiko's «ReadableBuffer»
        """Write all of it."""
        try:
            self._file.write(offset, bytes(data))
        except OSError as error:
            if error.errno == errno.ESTALE:
                # Another session of the sender goes on with this draft: this one is the line that was
                # cut. Its client, should it live, must see a cut line and not a full disk.
                self._transport.close()
            return answer_for(error)
        except OverflowError as error:
            return answer_for(error)
        return int(SFTP_OK)

    def stat(self) -> paramiko.SFTPAttributes | int:
        """Return its size."""
        return _attributes(Entry("", self._file.size(), False, 0))

    def chattr(self, attr: paramiko.SFTPAttributes) -> int:  # noqa: ARG002
        """Refuse."""
        return int(SFTP_PERMISSION_DENIED)

    def sync(self) -> int:
        """Make it durable."""
        try:
            self._file.sync()
        except OSError as error:
            return answer_for(error)
        return int(SFTP_OK)


def answer_for(error: OSError | OverflowError) -> int:
    """Return the status for a failure of the store; with words where SFTP 3 has no code for it."""
    number = getattr(error, "errno", None)
    if number in _MISSING:
        return int(SFTP_NO_SUCH_FILE)
    if number in _DENIED:
        return int(SFTP_PERMISSION_DENIED)
    if number not in _WORDS:
        # Never the text of an unknown failure: it may hold a path of this box.
        log.warning("a request failed: %s", type(error).__name__)
        return int(SFTP_FAILURE)
    return Refusal(SFTP_FAILURE, _WORDS[number])


def _attributes(entry: Entry) -> paramiko.SFTPAttributes:
    made = paramiko.SFTPAttributes()
    made.filename = entry.name
    made.st_size = entry.size
    made.st_mode = (stat.S_IFDIR | 0o700) if entry.is_folder else (stat.S_IFREG | 0o400)
    made.st_mtime = made.st_atime = entry.modified_s
    made.st_uid = made.st_gid = 0
    return made
