"""SSH to a machine: the system's OpenSSH client with nothing left to its configuration.

The host key is pinned, the key comes out of the vault and never lies on a disk.
paramiko is used where round trips do not matter: asking a server for its host key.
"""

import base64
import binascii
import hashlib
import os
import re
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, Final, Protocol, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from appliance import process
from appliance.errors import (
    ArmoireError,
    ConnectionLost,
    HostKeyChanged,
    HostKeyUnknown,
    InvalidInput,
    JobCancelled,
    KeyRefused,
    MachineUnreachable,
    SftpUnavailable,
    ToolTimeout,
)
from appliance.language import mark
from appliance.vault.secret import Secret
from appliance.vault.secret_file import secret_file

CONNECT_S: Final = 20  # seconds
ALIVE_S: Final = 15  # seconds between questions whether the other side is there
ALIVE_COUNT: Final = 3
#: AES-GCM runs in hardware on every machine of the last ten years; the rest is for older servers.
CIPHERS: Final = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes256-ctr,chacha20-poly1305@openssh.com"
_STDERR_LINES: Final = 60
_HOST: Final = re.compile(r"[A-Za-z0-9_.:%-]{1,255}")
_USER: Final = re.compile(r"[^\s\x00-\x1f\x7f-]\S{0,103}( \S+)*")
_BLOCK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a machine is and how the box is let in."""

    host: str  # name or address
    port: int
    user: str
    host_key: str | None  # «ssh-ed25519 AAAA…», pinned; None: not confirmed yet
    key: Secret  # OpenSSH private key


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command on a machine ended."""

    exit_code: int
    stderr_tail: tuple[str, ...]  # may hold anything: for the person's screen, never for the log


# --- keys ----------------------------------------------------------------------------------


def make_key(comment: str = "armoire") -> tuple[Secret, str]:
    """Return a new ed25519 key pair: the private half in OpenSSH's format, the public as one line."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
    return Secret(private), f"{public} {comment}"


def fingerprint(key: str) -> str:
    """Return «SHA256:…» of a public key line, as `ssh-keygen -l` shows it.

    Raises:
        InvalidInput: it is no public key.
    """
    parts = key.split()
    try:
        blob = base64.b64decode(parts[1], validate=True)
        size = int.from_bytes(blob[:4], "big")
        if blob[4 : 4 + size].decode("ascii") != parts[0]:
            raise IndexError  # noqa: TRY301 - one road for all that is no key
    except (IndexError, ValueError, binascii.Error, UnicodeDecodeError) as error:
        raise InvalidInput("host_key", mark("a line «ssh-ed25519 AAAA…».")) from error
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")
    return f"SHA256:{digest}"


def probe_host_key(host: str, port: int, *, timeout_s: float = 10.0) -> tuple[str, str]:
    """Return the host key that a machine shows, and its fingerprint; nothing else is sent to it.

    ed25519 is asked for first, then what the server has.

    Raises:
        MachineUnreachable: no answer, or no SSH there.
    """
    import paramiko  # noqa: PLC0415 - a tenth of a second that no night needs

    _check_address(host, port, "user")
    try:
        connection = socket.create_connection((host, port), timeout=timeout_s)
    except OSError as error:
        raise MachineUnreachable(host, port, _network_reason(error)) from error
    transport = None
    try:
        transport = paramiko.Transport(connection)
        options = transport.get_security_options()
        first = [kind for kind in options.key_types if kind == "ssh-ed25519"]
        options.key_types = first + [kind for kind in options.key_types if kind not in first]
        transport.start_client(timeout=timeout_s)
        found = transport.get_remote_server_key()
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise MachineUnreachable(host, port, "no SSH server") from error
    finally:
        if transport is not None:
            transport.close()
        connection.close()
    line = f"{found.get_name()} {found.get_base64()}"
    return line, fingerprint(line)


# --- the client ----------------------------------------------------------------------------


def ssh_argv(endpoint: Endpoint, key_path: str, known_hosts_path: str) -> list[str]:
    """Return the ssh command up to the host, with nothing taken from any configuration file.

    Raises:
        HostKeyUnknown: the host key was never confirmed.
        InvalidInput: an address or a name that could be read as an option.
    """
    _check_address(endpoint.host, endpoint.port, endpoint.user)
    if endpoint.host_key is None:
        raise HostKeyUnknown(endpoint.host, "")
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": known_hosts_path,
        "GlobalKnownHostsFile": "none",
        "HostKeyAlias": _ALIAS,
        "HostKeyAlgorithms": _algorithms(endpoint.host_key.split()[0]),
        "CheckHostIP": "no",
        "UpdateHostKeys": "no",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "ClearAllForwardings": "yes",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "PermitLocalCommand": "no",
        "ControlMaster": "no",
        "ControlPath": "none",
        "Compression": "no",
        "EscapeChar": "none",
        "RequestTTY": "no",
        "ConnectTimeout": str(CONNECT_S),
        "ConnectionAttempts": "1",
        "ServerAliveInterval": str(ALIVE_S),
        "ServerAliveCountMax": str(ALIVE_COUNT),
        "TCPKeepAlive": "yes",
        "IPQoS": "none",
        "LogLevel": "ERROR",
        "Ciphers": CIPHERS,
    }
    argv = ["ssh", "-F", "none", "-i", key_path, "-p", str(endpoint.port), "-l", endpoint.user]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    return argv


_ALIAS: Final = "machine"


def _algorithms(kind: str) -> str:
    # An RSA key is shown under one name and signs under newer ones. Source: RFC 8332.
    return "rsa-sha2-512,rsa-sha2-256" if kind == "ssh-rsa" else kind


def _check_address(host: str, port: int, user: str) -> None:
    if host.startswith("-") or not _HOST.fullmatch(host):
        raise InvalidInput("host", mark("a name or an address."))
    if not 1 <= port <= 65535:
        raise InvalidInput("port", mark("a number from 1 to 65535."))
    if not _USER.fullmatch(user):
        raise InvalidInput("user", mark("the name of an account."))


class _Child(Protocol):
    """What is asked of a running program (``subprocess.Popen``)."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None
    returncode: int | Any

    def poll(self) -> int | None: ...


class Line:
    """A running ssh: two descriptors, what it says on stderr, and why it ended."""

    def __init__(self, endpoint: Endpoint, child: _Child) -> None:
        assert child.stdin is not None  # noqa: S101 - opened as pipes
        assert child.stdout is not None  # noqa: S101
        assert child.stderr is not None  # noqa: S101
        self.endpoint = endpoint
        self.host = endpoint.host
        self.child = child
        self.stdin: IO[bytes] = child.stdin
        self.stdout: IO[bytes] = child.stdout
        self.reading = child.stdout.fileno()
        self.writing = child.stdin.fileno()
        self.stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._drain = threading.Thread(target=self._read_stderr, args=(child.stderr,), daemon=True)
        self._drain.start()

    def _read_stderr(self, stream: IO[bytes]) -> None:
        descriptor = stream.fileno()
        rest = b""
        with suppress(OSError, ValueError):
            while block := os.read(descriptor, 4096):
                *lines, rest = (rest + block).split(b"\n")
                rest = rest[-1000:]
                self.stderr.extend(line[:500].decode("utf-8", "replace").rstrip() for line in lines)
        if rest:
            self.stderr.append(rest[:500].decode("utf-8", "replace"))

    def ended(self, wait_s: float = 3.0) -> int | None:
        """Return the exit code once it ended and all it said was read, or None."""
        end = time.monotonic() + wait_s
        while self.child.poll() is None:
            if time.monotonic() > end:
                return None
            time.sleep(0.01)
        self._drain.join(1.0)
        return self.child.returncode

    def why_lost(self) -> ArmoireError:
        """Return what ended the line."""
        return explain(self.endpoint, self.ended(), tuple(self.stderr))


@contextmanager
def open_line(
    endpoint: Endpoint, *, subsystem: str | None = None, command: str | None = None
) -> Iterator[Line]:
    """Yield ssh running a subsystem or a command on the machine; ended with this block.

    Raises:
        ToolMissing: no ssh on this box.
        HostKeyUnknown, InvalidInput: as ``ssh_argv``.
    """
    with ExitStack() as stack:
        if endpoint.host_key is None:
            raise HostKeyUnknown(endpoint.host, "")
        known = Secret(f"{_ALIAS} {endpoint.host_key.strip()}\n".encode())
        key_path = stack.enter_context(secret_file(endpoint.key))
        known_path = stack.enter_context(secret_file(known))
        argv = ssh_argv(endpoint, key_path, known_path)
        if subsystem is not None:
            argv += ["-s", "--", endpoint.host, subsystem]
        else:
            argv += ["--", endpoint.host, command or ""]
        child = stack.enter_context(process.pipes(argv))
        yield Line(endpoint, child)


def explain(endpoint: Endpoint, exit_code: int | None, stderr: tuple[str, ...]) -> ArmoireError:
    """Return the error that ssh's end means; its own words go no further than this.

    Source: OpenSSH 9.2, the texts of sshconnect.c, sshconnect2.c, packet.c and clientloop.c.
    """
    text = "\n".join(stderr)
    host, port = endpoint.host, endpoint.port
    if (
        "Host key verification failed" in text
        or "HOST IDENTIFICATION HAS CHANGED" in text
        or "no matching host key type" in text
        or "key is known for" in text
    ):
        return HostKeyChanged(
            host, fingerprint(endpoint.host_key or ""), _found_key(endpoint, text)
        )
    if "Permission denied" in text or "Too many authentication failures" in text:
        return KeyRefused(host, endpoint.user)
    if "subsystem request failed" in text:
        return SftpUnavailable(host, "the server has no SFTP")
    if exit_code is None or exit_code < 0 or any(words in text for words in _CUT):
        return ConnectionLost(host)
    for words, reason in _UNREACHABLE:
        if words in text:
            return MachineUnreachable(host, port, reason)
    if exit_code == 255 and _EARLY.search(text):
        return MachineUnreachable(host, port, "the connection was closed at once")
    if exit_code == 255:
        return ConnectionLost(host)
    return SftpUnavailable(host, "the program of the server ended at once")


_CUT: Final = ("Timeout, server", "Read from remote host", "client_loop:", "Connection to ")
_UNREACHABLE: Final = (
    ("Connection refused", "connection refused"),
    ("Connection timed out", "no answer"),
    ("Operation timed out", "no answer"),
    ("No route to host", "no route"),
    ("Network is unreachable", "no network"),
    ("Could not resolve hostname", "unknown name"),
    ("banner exchange", "no SSH server"),
    ("no matching", "no common encryption"),
    ("Connection reset by peer", "connection reset"),
)
_EARLY: Final = re.compile(r"kex_exchange_identification|Connection closed by .* port")


def _found_key(endpoint: Endpoint, text: str) -> str:
    shown = re.search(r"\bSHA256:[A-Za-z0-9+/]{43}", text)
    if shown:
        return shown.group()
    try:
        return probe_host_key(endpoint.host, endpoint.port)[1]
    except ArmoireError:
        return "?"


def _network_reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, socket.gaierror):
        return "unknown name"
    return os.strerror(error.errno).lower() if error.errno else "no answer"


# --- commands ------------------------------------------------------------------------------


def _never() -> bool:
    return False


def run_command(
    endpoint: Endpoint,
    command: str,
    *,
    on_block: Callable[[bytes], None],
    stdin: bytes = b"",
    timeout_s: float = 3600.0,
    should_stop: Callable[[], bool] = _never,
) -> CommandResult:
    """Run ``command`` in the machine's shell, hand its output over in blocks, return how it ended.

    Args:
        endpoint: the machine.
        command: as the machine's shell reads it; never with a secret in it.
        on_block: gets stdout as it comes, 1 byte to 256 KiB at a time.
        stdin: given to the command (a password goes here), then closed.
        timeout_s: wall-clock seconds until the line is cut.
        should_stop: asked every half second.

    Raises:
        as ``stream_command``.
    """
    stream = stream_command(
        endpoint, command, stdin=stdin, timeout_s=timeout_s, should_stop=should_stop
    )
    while True:
        try:
            on_block(next(stream))
        except StopIteration as end:
            return cast("CommandResult", end.value)


def stream_command(
    endpoint: Endpoint,
    command: str,
    *,
    stdin: bytes = b"",
    timeout_s: float = 3600.0,
    should_stop: Callable[[], bool] = _never,
) -> Generator[bytes, None, CommandResult]:
    """Yield the command's output in blocks; the generator's value is the CommandResult.

    Leaving it early ends the command's line.

    Raises:
        MachineUnreachable, KeyRefused, HostKeyChanged, ConnectionLost: the line itself failed.
        ToolTimeout: ``timeout_s`` passed.
        JobCancelled: ``should_stop`` said so.
    """
    deadline = time.monotonic() + timeout_s
    with open_line(endpoint, command=command) as line:
        feeder = threading.Thread(target=_feed, args=(line.stdin, stdin), daemon=True)
        feeder.start()
        poll = select.poll()
        poll.register(line.reading, select.POLLIN)
        while True:
            if should_stop():
                raise JobCancelled
            if time.monotonic() > deadline:
                raise ToolTimeout("ssh", timeout_s)
            if not poll.poll(500):
                continue
            block = os.read(line.reading, _BLOCK)
            if not block:
                break
            yield block
        exit_code = line.ended(10.0)
        if exit_code is None or exit_code == 255 or exit_code < 0:
            # 255 is ssh's own; a command that ends with it looks the same, and is as lost.
            raise line.why_lost()
        return CommandResult(exit_code, tuple(line.stderr))


def _feed(stream: IO[bytes], data: bytes) -> None:
    with suppress(OSError, ValueError):
        view = memoryview(data)
        while view:
            view = view[stream.write(view) :]
    with suppress(OSError, ValueError):
        stream.close()
