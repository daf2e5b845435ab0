"""An SFTP host as a target: a plain OpenSSH ``internal-sftp`` chroot without a shell is enough.

paramiko is the right tool here: objects are few and large, so round trips do not matter. The host key is
pinned. An object is uploaded under a draft name, synced where the host offers it, then renamed with the
SFTP v3 rename, which refuses a taken name (OpenSSH links and unlinks); posix-rename would overwrite.
Source: draft-ietf-secsh-filexfer-02; OpenSSH PROTOCOL (fsync@openssh.com, statvfs@openssh.com);
sftp-server.c process_rename.
"""

import base64
import errno
import socket
import stat as stat_module
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import paramiko

from appliance.errors import (
    InvalidInput,
    ObjectAlreadyThere,
    ObjectMissing,
    TargetFull,
    TargetIdentityChanged,
    TargetListUnreadable,
    TargetRefuses,
    TargetUnreachable,
)
from appliance.replication.target import (
    BLOCK_BYTES,
    ObjectInfo,
    SealedFile,
    check_name,
    ignore_bytes,
)
from appliance.vault.secret import Secret

CONNECT_S: Final = 20.0  # seconds
STALL_S: Final = 60.0  # seconds without a byte until the line counts as cut
#: What is compared at the end of a half upload before it is gone on with.
OVERLAP_BYTES: Final = 64 * 1024
_EXTENDED: Final = 200  # SSH_FXP_EXTENDED
_EXTENDED_REPLY: Final = 201


class _Keyed(Protocol):
    def get_base64(self) -> str: ...

    def get_name(self) -> str: ...


@dataclass(frozen=True, slots=True)
class SftpAccount:
    """How an SFTP host is reached."""

    host: str
    port: int
    user: str
    host_key: str  # «ssh-ed25519 AAAA…», pinned
    folder: str = "."  # below the account's root
    password: Secret | None = None
    private_key: Secret | None = None  # OpenSSH format, ed25519


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
        self._transport: paramiko.Transport | None = None
        self._client: paramiko.SFTPClient | None = None
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
        draft = f"{path.rpartition('/')[0]}/.{path.rpartition('/')[2]}.{sealed.sha256[:16]}.part"
        with self._mapped("create"):
            client = self._connected()
            if self._size(client, path) is not None:
                raise ObjectAlreadyThere(self.label, name)
            self._make_folder(client, path.rpartition("/")[0])
            offset = self._resume_at(client, draft, sealed)
            self._upload(client, draft, sealed, offset, on_bytes)
            if self._size(client, draft) != sealed.size:
                raise TargetUnreachable(self.label, "the host kept fewer bytes than were sent")
            try:
                client.rename(draft, path)
            except OSError as error:
                if self._size(client, path) is None:
                    raise
                with suppress(OSError):
                    client.remove(draft)
                raise ObjectAlreadyThere(self.label, name) from error

    def read(self, name: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """As ``Target.read``."""
        with self._mapped("read"):
            client = self._connected()
            size = self._size(client, self._path(name))
            if size is None:
                raise ObjectMissing(self.label, name)
            left = max(0, size - offset) if length is None else max(0, min(length, size - offset))
            with client.open(self._path(name), "rb", bufsize=0) as file:
                file.prefetch(offset + left) if offset == 0 else file.seek(offset)
                while left > 0:
                    block = file.read(min(BLOCK_BYTES, left))
                    if not block:
                        raise TargetUnreachable(self.label, "the object ended early")
                    left -= len(block)
                    yield block

    def stat(self, name: str) -> ObjectInfo | None:
        """As ``Target.stat``."""
        with self._mapped("stat"):
            size = self._size(self._connected(), self._path(name))
            return None if size is None else ObjectInfo(name, size)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """As ``Target.list``."""
        try:
            with self._mapped("list"):
                yield from self._walk(self._connected(), "", prefix)
        except (TargetUnreachable, TargetRefuses) as error:
            raise TargetListUnreadable(self.label, error.reason) from error

    def remove(self, name: str) -> None:
        """As ``Target.remove``."""
        with self._mapped("remove"), suppress(FileNotFoundError):
            self._connected().remove(self._path(name))

    def free_bytes(self) -> int | None:
        """As ``Target.free_bytes``: asked with statvfs@openssh.com, None where it is not offered."""
        with self._mapped("statvfs"):
            return self._free(self._connected())

    def bare(self, name: str) -> tuple[paramiko.SFTPClient, str]:
        """Return the client and an object's path, for the tamper test: it does what ``Target`` never does."""
        return self._connected(), self._path(name)

    def close(self) -> None:
        """As ``Target.close``."""
        for each in (self._client, self._transport):
            if each is not None:
                with suppress(Exception):
                    each.close()
        self._client = self._transport = None
        self._folders.clear()

    # --- the connection -----------------------------------------------------------------------

    def _connected(self) -> paramiko.SFTPClient:
        if self._client is not None and self._transport is not None and self._transport.is_active():
            return self._client
        self.close()
        account = self._account
        try:
            line = socket.create_connection((account.host, account.port), timeout=CONNECT_S)
        except OSError as error:
            raise TargetUnreachable(self.label, error.strerror or type(error).__name__) from error
        transport = paramiko.Transport(line)
        try:
            kind, _, _ = account.host_key.partition(" ")
            options = transport.get_security_options()
            options.key_types = [each for each in options.key_types if _same_kind(each, kind)]
            transport.banner_timeout = transport.auth_timeout = CONNECT_S
            transport.start_client(timeout=CONNECT_S)
            self._check_host_key(transport.get_remote_server_key())
            self._sign_in(transport)
            # Large windows: a far host answers late.
            channel = transport.open_session(window_size=1 << 24, max_packet_size=1 << 15)
            channel.settimeout(STALL_S)
            channel.invoke_subsystem("sftp")
            client = paramiko.SFTPClient(channel)
        except paramiko.BadAuthenticationType as error:
            transport.close()
            raise TargetRefuses(
                self.label, "sign in", "the host wants another way to sign in"
            ) from error
        except paramiko.AuthenticationException as error:
            transport.close()
            raise TargetRefuses(self.label, "sign in", "wrong password or key") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            transport.close()
            raise TargetUnreachable(self.label, type(error).__name__) from error
        except BaseException:
            transport.close()
            raise
        transport.set_keepalive(15)
        self._transport, self._client = transport, client
        if self._on_connect is not None:
            self._on_connect()
        return client

    def _check_host_key(self, key: _Keyed) -> None:
        found = f"{key.get_name()} {key.get_base64()}"
        expected = " ".join(self._account.host_key.split()[:2])
        if found != expected:
            raise TargetIdentityChanged(self.label, _fingerprint(expected), _fingerprint(found))

    def _sign_in(self, transport: paramiko.Transport) -> None:
        account = self._account
        if account.private_key is not None:
            from io import StringIO  # noqa: PLC0415 - only here

            text = StringIO(account.private_key.reveal().decode("ascii"))
            transport.auth_publickey(account.user, paramiko.Ed25519Key.from_private_key(text))
        elif account.password is not None:
            transport.auth_password(
                account.user, account.password.reveal().decode(), fallback=False
            )
        else:
            raise TargetRefuses(self.label, "sign in", "no password or key is known")

    @contextmanager
    def _mapped(self, action: str) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise TargetRefuses(self.label, action, "permission denied") from error
        except (EOFError, paramiko.SSHException, TimeoutError, ConnectionError) as error:
            self.close()
            raise TargetUnreachable(self.label, type(error).__name__) from error
        except OSError as error:
            if (
                error.errno in {errno.EPIPE, errno.ECONNRESET, errno.EBADF}
                or "closed" in str(error).lower()
            ):
                self.close()
                raise TargetUnreachable(self.label, "the line was cut") from error
            raise TargetRefuses(self.label, action, _server_text(error)) from error

    # --- objects ------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return f"{self._account.folder.rstrip('/')}/{check_name(name)}"

    def _size(self, client: paramiko.SFTPClient, path: str) -> int | None:
        try:
            return client.lstat(path).st_size
        except FileNotFoundError:
            return None

    def _make_folder(self, client: paramiko.SFTPClient, folder: str) -> None:
        if folder in self._folders or folder in {"", ".", self._account.folder.rstrip("/")}:
            return
        if self._size(client, folder) is None:
            self._make_folder(client, folder.rpartition("/")[0])
            try:
                client.mkdir(folder, 0o700)
            except OSError:
                if self._size(client, folder) is None:  # not somebody who was quicker
                    raise
        self._folders.add(folder)

    def _resume_at(self, client: paramiko.SFTPClient, draft: str, sealed: SealedFile) -> int:
        """Return from where to go on with a half upload: its end is compared with ours first."""
        size = self._size(client, draft)
        if not size or size > sealed.size:
            return 0
        start = max(0, size - OVERLAP_BYTES)
        with client.open(draft, "rb") as file:
            file.seek(start)
            there = file.read(size - start)
        with sealed.path.open("rb") as ours:
            ours.seek(start)
            return size if ours.read(size - start) == there else 0

    def _upload(
        self,
        client: paramiko.SFTPClient,
        draft: str,
        sealed: SealedFile,
        offset: int,
        on_bytes: Callable[[int], None],
    ) -> None:
        try:
            with client.open(draft, "r+b" if offset else "wb", bufsize=0) as file:
                file.set_pipelined(True)
                file.seek(offset)
                for block in sealed.blocks(offset):
                    file.write(block)
                    on_bytes(len(block))
                self._sync(client, file)
        except PermissionError:
            raise
        except OSError as error:
            if isinstance(error, TimeoutError | ConnectionError) or error.errno is not None:
                raise
            if "closed" in str(error).lower():
                raise
            # SFTP v3 has no code for a full disk or a quota: the host only says «Failure». An account
            # that may open a file and not write to it is out of room.
            with suppress(OSError):
                client.remove(draft)
            raise TargetFull(self.label) from error

    def _sync(self, client: paramiko.SFTPClient, file: paramiko.SFTPFile) -> None:
        """Ask for fsync@openssh.com; a host that does not know it keeps its own promises."""
        with suppress(OSError):  # «Operation unsupported»
            # paramiko has no public call for it; the request's form is fixed by OpenSSH's PROTOCOL.
            cast("Any", client)._request(  # noqa: SLF001
                _EXTENDED, "fsync@openssh.com", file.handle
            )

    def _free(self, client: paramiko.SFTPClient) -> int | None:
        try:
            kind, message = cast("Any", client)._request(  # noqa: SLF001 - as in _sync
                _EXTENDED, "statvfs@openssh.com", self._account.folder
            )
        except OSError:
            return None
        if kind != _EXTENDED_REPLY:
            return None
        _block, fragment, _blocks, _free, available = (message.get_int64() for _ in range(5))
        return int(fragment * available)

    def _walk(self, client: paramiko.SFTPClient, at: str, prefix: str) -> Iterator[ObjectInfo]:
        folder = f"{self._account.folder.rstrip('/')}/{at}".rstrip("/") or "/"
        try:
            found = client.listdir_attr(folder)
        except FileNotFoundError:
            if at:  # removed meanwhile
                return
            raise TargetUnreachable(self.label, "the folder of the account is missing") from None
        for entry in sorted(found, key=lambda each: each.filename):
            name = at + entry.filename
            mode = entry.st_mode or 0
            if entry.filename.startswith("."):
                continue
            if stat_module.S_ISDIR(mode):
                below = name + "/"
                if below.startswith(prefix) or prefix.startswith(below):
                    yield from self._walk(client, below, prefix)
            elif stat_module.S_ISREG(mode) and name.startswith(prefix):
                with suppress(InvalidInput):  # not one of ours
                    yield ObjectInfo(check_name(name), entry.st_size or 0)


def _same_kind(offered: str, pinned: str) -> bool:
    """RSA keys are used under newer signature names."""
    return offered == pinned or (pinned == "ssh-rsa" and offered.startswith("rsa-sha2"))


def _fingerprint(key: str) -> str:
    import hashlib  # noqa: PLC0415 - for this text only

    kind, _, blob = key.partition(" ")
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(blob)).digest()).decode().rstrip("=")
    return f"{kind} SHA256:{digest}"


def _server_text(error: OSError) -> str:
    """What the host said, without a path: SFTP status texts are a word or two."""
    text = str(error)
    return text if len(text) < 60 and "/" not in text else type(error).__name__
