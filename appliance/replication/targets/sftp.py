"""An SFTP host as a target: a plain OpenSSH ``internal-sftp`` chroot without a shell is enough.

The host key is pinned. An object is uploaded under a draft name, synced where the host offers it, then renamed
with the SFTP v3 rename, which refuses a taken name (OpenSSH links and unlinks); posix-rename would overwrite.
Many requests are in flight (``sftp_wire``), over the system's ssh or paramiko (``sftp_lines``).
Source: draft-ietf-secsh-filexfer-02; OpenSSH PROTOCOL; sftp-server.c process_rename.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import paramiko

from appliance.errors import (
    InvalidInput,
    ObjectAlreadyThere,
    ObjectMissing,
    TargetFull,
    TargetListUnreadable,
    TargetRefuses,
    TargetUnreachable,
)
from appliance.replication.target import (
    ObjectInfo,
    SealedFile,
    check_name,
    ignore_bytes,
)
from appliance.replication.targets import sftp_wire
from appliance.replication.targets.sftp_lines import (
    Line,
    LineLost,
    SftpAccount,
    open_line,
    sign_in,
)
from appliance.replication.targets.sftp_wire import Refused, Wire

__all__ = ["SftpAccount", "SftpTarget"]

STALL_S: Final = 60.0  # seconds without a byte until the line counts as cut
#: What is compared at the end of a half upload before it is gone on with.
OVERLAP_BYTES: Final = 64 * 1024


class SftpTarget:
    """Objects as files on an SFTP host; keeps the promises of ``Target``."""

    def __init__(
        self, account: SftpAccount, *, on_connect: Callable[[], None] | None = None
    ) -> None:
        """Prepare; the connection is made at the first use and again after a cut.

        Args:
            account: where and as whom.
            on_connect: told at every connection, for tests and figures.
        """
        self._account = account
        self._on_connect = on_connect
        self._line: Line | None = None
        self._wire: Wire | None = None
        self._bare: tuple[paramiko.Transport, paramiko.SFTPClient] | None = None
        self._folders: set[str] = set()

    @property
    def label(self) -> str:
        """«sftp host»."""
        return f"sftp {self._account.host}"

    def create(
        self, name: str, sealed: SealedFile, *, on_bytes: Callable[[int], None] = ignore_bytes
    ) -> None:
        """As ``Target.create``; a cut upload of the same bytes goes on where it was."""
        path = self._path(name)
        folder, _, last = path.rpartition("/")
        draft = f"{folder}/.{last}.{sealed.sha256[:16]}.part"
        with self._mapped("create"):
            wire = self._connected()
            asked = [wire.ask_lstat(each) for each in (path, draft, folder)]  # one round trip
            taken, half, above = [wire.facts(each) for each in asked]
            if taken is not None:
                raise ObjectAlreadyThere(self.label, name)
            if above is None:
                self._make_folder(wire, folder)
            offset = self._resume_at(wire, draft, half.size if half else 0, sealed)
            if self._upload(wire, draft, sealed, offset, on_bytes) != sealed.size:
                raise TargetUnreachable(self.label, "the host kept other bytes than were sent")
            try:
                wire.rename(draft, path)
            except OSError as error:
                if wire.lstat(path) is None:
                    raise
                with suppress(OSError):
                    wire.remove(draft)
                raise ObjectAlreadyThere(self.label, name) from error

    def read(self, name: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """As ``Target.read``."""
        with self._mapped("read"):
            wire = self._connected()
            try:
                handle = wire.open(self._path(name), sftp_wire.READ)
            except FileNotFoundError as error:
                raise ObjectMissing(self.label, name) from error
            try:
                left = max(0, wire.size_of(handle) - offset)
                yield from wire.read(handle, offset, left if length is None else min(length, left))
            except EOFError as error:
                raise TargetUnreachable(self.label, "the object ended early") from error
            finally:
                with suppress(LineLost):
                    wire.close_later(handle)

    def stat(self, name: str) -> ObjectInfo | None:
        """As ``Target.stat``."""
        with self._mapped("stat"):
            found = self._connected().lstat(self._path(name))
            return None if found is None else ObjectInfo(name, found.size)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """As ``Target.list``."""
        try:
            with self._mapped("list"):
                yield from self._walk(self._connected(), prefix)
        except (TargetUnreachable, TargetRefuses) as error:
            raise TargetListUnreadable(self.label, error.reason) from error

    def remove(self, name: str) -> None:
        """As ``Target.remove``."""
        with self._mapped("remove"), suppress(FileNotFoundError):
            self._connected().remove(self._path(name))

    def free_bytes(self) -> int | None:
        """As ``Target.free_bytes``: asked with statvfs@openssh.com, None where it is not offered."""
        with self._mapped("statvfs"):
            return self._connected().free_bytes(self._account.folder)

    def bare(self, name: str) -> tuple[paramiko.SFTPClient, str]:
        """Return a client and an object's path, for the tamper test: it does what ``Target`` never does."""
        if self._bare is not None and self._bare[0].is_active():
            return self._bare[1], self._path(name)
        transport, channel = sign_in(self._account, self.label, STALL_S)
        self._bare = transport, paramiko.SFTPClient(channel)
        return self._bare[1], self._path(name)

    def close(self) -> None:
        """As ``Target.close``."""
        line, self._line, self._wire = self._line, None, None
        if line is not None:
            line.close()
        bare, self._bare = self._bare, None
        for each in reversed(bare or ()):
            with suppress(Exception):
                each.close()
        self._folders.clear()

    # --- the connection -----------------------------------------------------------------------

    def _connected(self) -> Wire:
        if self._wire is None:
            self._line = open_line(self._account, self.label, lambda: STALL_S)
            self._wire = Wire(self._line)
            if self._on_connect is not None:
                self._on_connect()
        return self._wire

    @contextmanager
    def _mapped(self, action: str) -> Iterator[None]:
        try:
            yield
        except LineLost as error:
            why = self._line.why(self.label) if self._line is not None else None
            self.close()
            raise why or TargetUnreachable(self.label, "the line was cut") from error
        except PermissionError as error:
            raise TargetRefuses(self.label, action, "permission denied") from error
        except Refused as error:
            raise TargetRefuses(self.label, action, _server_text(error)) from error
        except (FileNotFoundError, EOFError) as error:
            raise TargetRefuses(self.label, action, "no such file") from error

    # --- objects ------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return f"{self._account.folder.rstrip('/')}/{check_name(name)}"

    def _make_folder(self, wire: Wire, folder: str) -> None:
        if folder in self._folders or folder in {"", ".", self._account.folder.rstrip("/")}:
            return
        if wire.lstat(folder) is None:
            self._make_folder(wire, folder.rpartition("/")[0])
            try:
                wire.make_folder(folder)
            except OSError:
                if wire.lstat(folder) is None:  # not somebody who was quicker
                    raise
        self._folders.add(folder)

    def _resume_at(self, wire: Wire, draft: str, size: int, sealed: SealedFile) -> int:
        """Return from where to go on with a half upload: its end is compared with ours first."""
        if not size or size > sealed.size:
            return 0
        start = max(0, size - OVERLAP_BYTES)
        handle = wire.open(draft, sftp_wire.READ)
        try:
            there = b"".join(wire.read(handle, start, size - start))
        except EOFError:  # a second process writes there anew
            return 0
        finally:
            wire.close_later(handle)
        with sealed.path.open("rb") as ours:
            ours.seek(start)
            return size if ours.read(size - start) == there else 0

    def _upload(
        self,
        wire: Wire,
        draft: str,
        sealed: SealedFile,
        offset: int,
        on_bytes: Callable[[int], None],
    ) -> int:
        """Write the draft from ``offset`` on and return how large the host says it is, synced and closed."""
        try:
            anew = 0 if offset else sftp_wire.CREATE | sftp_wire.TRUNCATE
            handle = wire.open(draft, sftp_wire.WRITE | anew)
            try:
                wire.write(handle, offset, sealed.blocks(offset), on_bytes)
            except OSError:
                wire.close_later(handle)
                raise
            return wire.sync_and_close(handle)
        except Refused as error:
            # SFTP v3 has no code for a full disk or a quota: the host only says «Failure». An account
            # that may open a folder and not write to it is out of room.
            with suppress(OSError):
                wire.remove(draft)
            raise TargetFull(self.label) from error

    def _walk(self, wire: Wire, prefix: str) -> Iterator[ObjectInfo]:
        below = prefix.rpartition("/")[0]  # nothing above it can be meant
        top = f"{self._account.folder.rstrip('/')}/{below}".rstrip("/") or "/"
        at = f"{below}/" if below else ""

        def wanted(folder: str) -> bool:
            name = at + folder
            parts = name.split("/")
            return not any(part.startswith(".") for part in parts) and (
                name.startswith(prefix) or prefix.startswith(name)
            )

        try:
            for path, facts in wire.walk(top, wanted):
                name = at + path
                if facts.is_file and name.startswith(prefix):
                    with suppress(InvalidInput):  # not one of ours, or a draft
                        yield ObjectInfo(check_name(name), facts.size)
        except FileNotFoundError:
            if not below or wire.lstat(self._account.folder) is None:
                raise TargetUnreachable(
                    self.label, "the folder of the account is missing"
                ) from None


def _server_text(error: OSError) -> str:
    """What the host said, without a path: SFTP status texts are a word or two."""
    text = str(error)
    return text if 0 < len(text) < 60 and "/" not in text else "failure"
