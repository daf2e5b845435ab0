"""Two ways to an SFTP host: the system's ssh for keys (its crypto runs on another core), paramiko for passwords.

A line carries bytes both ways and says why it was lost. ssh is left nothing of any configuration file.
Source: OpenSSH 9.2, ssh_config(5) and the texts of sshconnect.c, sshconnect2.c and packet.c.
"""

import base64
import fcntl
import hashlib
import os
import re
import select
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import StringIO
from typing import Final, Protocol

import paramiko

from appliance import process
from appliance.errors import (
    InvalidInput,
    TargetError,
    TargetIdentityChanged,
    TargetRefuses,
    TargetUnreachable,
)
from appliance.vault.secret import Secret
from appliance.vault.secret_file import secret_file

CONNECT_S: Final = 20.0  # seconds
_READ_BYTES: Final = 1 << 20
_PIPE_BYTES: Final = 1 << 20
_ALIAS: Final = "place"
_HOST: Final = re.compile(r"[A-Za-z0-9_.:%-]{1,255}")
_USER: Final = re.compile(r"[^\s\x00-\x1f\x7f-]\S{0,103}( \S+)*")
#: AES-GCM runs in hardware on every machine of the last ten years; the rest is for older servers.
_CIPHERS: Final = (
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes256-ctr,"
    "chacha20-poly1305@openssh.com"
)


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


class LineLost(Exception):
    """The other side is gone, or silent for too long; ``Line.why`` tells."""


class Line(Protocol):
    """Bytes to an SFTP server and back. One thread at a time."""

    def send(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send all of it; raise LineLost."""
        ...

    def receive(self) -> bytes:
        """Return some bytes, waiting for them; raise LineLost."""
        ...

    def why(self, label: str) -> TargetError:
        """Return what ended the line."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


def open_line(account: SftpAccount, label: str, stall_s: Callable[[], float]) -> Line:
    """Return a line to the SFTP subsystem of a host; what is wrong with a key may show at its first use only.

    Raises:
        TargetIdentityChanged, TargetRefuses, TargetUnreachable.
    """
    if account.private_key is not None and shutil.which("ssh", path=process.PATH):
        return SshLine(account, account.private_key, stall_s)
    transport, channel = sign_in(account, label, stall_s())
    return ChannelLine(transport, channel)


class SshLine:
    """The system's ssh running the subsystem."""

    def __init__(self, account: SftpAccount, key: Secret, stall_s: Callable[[], float]) -> None:
        self._account = account
        self._stall_s = stall_s
        self._stack = ExitStack()
        self._silent = False
        try:
            known = Secret(f"{_ALIAS} {account.host_key.strip()}\n".encode())
            key_path = self._stack.enter_context(secret_file(key))
            known_path = self._stack.enter_context(secret_file(known))
            argv = _argv(account, key_path, known_path)
            self._child = self._stack.enter_context(process.pipes(argv))
        except BaseException:
            self._stack.close()
            raise
        child = self._child
        assert child.stdin is not None  # noqa: S101 - opened as pipes
        assert child.stdout is not None  # noqa: S101
        assert child.stderr is not None  # noqa: S101
        self._in, self._out, self._said = (
            each.fileno() for each in (child.stdin, child.stdout, child.stderr)
        )
        for each in (self._in, self._out):
            os.set_blocking(each, False)
            with suppress(OSError):  # a limit of this user's
                fcntl.fcntl(each, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(self._said, False)
        self._pending = bytearray()
        self._reading = select.poll()
        self._reading.register(self._out, select.POLLIN)
        self._both = select.poll()
        self._both.register(self._out, select.POLLIN)
        self._both.register(self._in, select.POLLOUT)

    def send(self, parts: Sequence[bytes | memoryview]) -> None:
        """As ``Line.send``; what comes meanwhile is kept, or both sides would wait for ever."""
        waiting = [memoryview(each).cast("B") for each in parts]
        while waiting:
            try:
                count = os.writev(self._in, waiting)
            except BlockingIOError:
                self._wait_to_send()
                continue
            except OSError as error:
                raise LineLost from error
            while waiting and count >= len(waiting[0]):
                count -= len(waiting[0])
                del waiting[0]
            if waiting and count:
                waiting[0] = waiting[0][count:]

    def _wait_to_send(self) -> None:
        ready = self._both.poll(self._stall_s() * 1000)
        if not ready:
            self._silent = True
            raise LineLost
        for descriptor, events in ready:
            if descriptor == self._out:
                self._pending += self._read()
            elif events & select.POLLERR:
                raise LineLost

    def receive(self) -> bytes:
        """As ``Line.receive``."""
        if self._pending:
            data = bytes(self._pending)
            self._pending.clear()
            return data
        if not self._reading.poll(self._stall_s() * 1000):
            self._silent = True
            raise LineLost
        return self._read()

    def _read(self) -> bytes:
        try:
            data = os.read(self._out, _READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise LineLost from error
        if not data:
            raise LineLost
        return data

    def why(self, label: str) -> TargetError:
        """As ``Line.why``: ssh's own words go no further than this."""
        if self._silent:
            return TargetUnreachable(label, "no answer")
        end = time.monotonic() + 2.0
        while self._child.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        text = ""
        with suppress(OSError):
            text = os.read(self._said, 1 << 16).decode("utf-8", "replace")
        return _explain(self._account, label, text)

    def close(self) -> None:
        """As ``Line.close``."""
        with suppress(OSError):
            self._stack.close()


class ChannelLine:
    """A channel of paramiko's."""

    def __init__(self, transport: paramiko.Transport, channel: paramiko.Channel) -> None:
        self._transport = transport
        self._channel = channel

    def send(self, parts: Sequence[bytes | memoryview]) -> None:
        """As ``Line.send``."""
        try:
            self._channel.sendall(b"".join(parts))
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise LineLost from error

    def receive(self) -> bytes:
        """As ``Line.receive``."""
        try:
            data = self._channel.recv(_READ_BYTES)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise LineLost from error
        if not data:
            raise LineLost
        return data

    def why(self, label: str) -> TargetError:
        """As ``Line.why``."""
        return TargetUnreachable(label, "the line was cut")

    def close(self) -> None:
        """As ``Line.close``."""
        for each in (self._channel, self._transport):
            with suppress(Exception):
                each.close()


def sign_in(
    account: SftpAccount, label: str, stall_s: float
) -> tuple[paramiko.Transport, paramiko.Channel]:
    """Return a transport and a channel of the SFTP subsystem, by paramiko; the host key is compared first.

    Raises:
        TargetIdentityChanged, TargetRefuses, TargetUnreachable.
    """
    try:
        line = socket.create_connection((account.host, account.port), timeout=CONNECT_S)
    except OSError as error:
        raise TargetUnreachable(label, error.strerror or type(error).__name__) from error
    transport = paramiko.Transport(line)
    try:
        kind, _, _ = account.host_key.partition(" ")
        options = transport.get_security_options()
        options.key_types = [each for each in options.key_types if _same_kind(each, kind)]
        transport.banner_timeout = transport.auth_timeout = CONNECT_S
        transport.start_client(timeout=CONNECT_S)
        _check_host_key(transport.get_remote_server_key(), account, label)
        _prove(transport, account, label)
        # Large windows: a far host answers late.
        channel = transport.open_session(window_size=1 << 24, max_packet_size=1 << 15)
        channel.settimeout(stall_s)
        channel.invoke_subsystem("sftp")
    except paramiko.BadAuthenticationType as error:
        transport.close()
        raise TargetRefuses(label, "sign in", "the host wants another way to sign in") from error
    except paramiko.AuthenticationException as error:
        transport.close()
        raise TargetRefuses(label, "sign in", "wrong password or key") from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        transport.close()
        raise TargetUnreachable(label, type(error).__name__) from error
    except BaseException:
        transport.close()
        raise
    transport.set_keepalive(15)
    return transport, channel


def _check_host_key(key: paramiko.PKey, account: SftpAccount, label: str) -> None:
    found = f"{key.get_name()} {key.get_base64()}"
    expected = " ".join(account.host_key.split()[:2])
    if found != expected:
        raise TargetIdentityChanged(label, fingerprint(expected), fingerprint(found))


def _prove(transport: paramiko.Transport, account: SftpAccount, label: str) -> None:
    if account.private_key is not None:
        text = StringIO(account.private_key.reveal().decode("ascii"))
        transport.auth_publickey(account.user, paramiko.Ed25519Key.from_private_key(text))
    elif account.password is not None:
        transport.auth_password(account.user, account.password.reveal().decode(), fallback=False)
    else:
        raise TargetRefuses(label, "sign in", "no password or key is known")


def fingerprint(key: str) -> str:
    """Return «ssh-ed25519 SHA256:…» of a public key line."""
    kind, _, blob = key.partition(" ")
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(blob)).digest()).decode().rstrip("=")
    return f"{kind} SHA256:{digest}"


def _same_kind(offered: str, pinned: str) -> bool:
    """RSA keys are used under newer signature names."""
    return offered == pinned or (pinned == "ssh-rsa" and offered.startswith("rsa-sha2"))


def _argv(account: SftpAccount, key_path: str, known_path: str) -> list[str]:
    if account.host.startswith("-") or not _HOST.fullmatch(account.host):
        raise InvalidInput("host", "a name or an address")
    if not _USER.fullmatch(account.user):
        raise InvalidInput("user", "the name of an account")
    kind = account.host_key.split()[0]
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": known_path,
        "GlobalKnownHostsFile": "none",
        "HostKeyAlias": _ALIAS,
        "HostKeyAlgorithms": "rsa-sha2-512,rsa-sha2-256" if kind == "ssh-rsa" else kind,
        "CheckHostIP": "no",
        "UpdateHostKeys": "no",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "ClearAllForwardings": "yes",
        "ForwardAgent": "no",
        "PermitLocalCommand": "no",
        "ControlMaster": "no",
        "ControlPath": "none",
        "Compression": "no",
        "RequestTTY": "no",
        "ConnectTimeout": str(int(CONNECT_S)),
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "4",
        "IPQoS": "none",
        "LogLevel": "ERROR",
        "Ciphers": _CIPHERS,
    }
    argv = ["ssh", "-F", "none", "-i", key_path, "-p", str(account.port), "-l", account.user]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    return [*argv, "-s", "--", account.host, "sftp"]


_UNREACHABLE: Final = (
    ("Connection refused", "connection refused"),
    ("timed out", "no answer"),
    ("No route to host", "no route"),
    ("Network is unreachable", "no network"),
    ("Could not resolve hostname", "unknown name"),
    ("banner exchange", "no SSH server"),
    ("no matching", "no common encryption"),
    ("subsystem request failed", "the host has no SFTP"),
    ("reset by peer", "the line was cut"),
)


def _explain(account: SftpAccount, label: str, text: str) -> TargetError:
    if (
        "Host key verification failed" in text
        or "HOST IDENTIFICATION HAS CHANGED" in text
        or "no matching host key type" in text
    ):
        shown = re.search(r"\bSHA256:[A-Za-z0-9+/]{43}", text)
        expected = fingerprint(" ".join(account.host_key.split()[:2]))
        return TargetIdentityChanged(label, expected, shown[0] if shown else "another kind of key")
    if "Permission denied" in text or "Too many authentication failures" in text:
        return TargetRefuses(label, "sign in", "wrong password or key")
    for words, reason in _UNREACHABLE:
        if words in text:
            return TargetUnreachable(label, reason)
    return TargetUnreachable(label, "the line was cut")
