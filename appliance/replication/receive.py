"""`armoire receive`: keep the copies of another Armoire, in the practice's second building.

A create-only SFTP server. Each sender sees its own folder and nothing else, may add objects, and may change
or remove none: neither may whoever took the sender over tonight. Nothing goes by itself but drafts nobody
went on with. What was last received is remembered for the dead-man alarm (``policy.deadman``).

    <root>/host_key            ed25519, OpenSSH format, 0600, made once
    <root>/host_key.pub        what the sender pins
    <root>/senders.toml        who may send
    <root>/senders/<id>/       what each sent: the very names and bytes of docs/formats/offsite.md
    <root>/received/<id>       its time is when the last whole object came
    <root>/received/<id>.generation    … and the last generation
"""

import base64
import fcntl
import hashlib
import ipaddress
import logging
import os
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from appliance.clock import from_epoch, utc_now
from appliance.errors import AlreadyRunning, SettingsInvalid
from appliance.replication.receive_accounts import Sender, Senders
from appliance.replication.receive_calls import Limits
from appliance.replication.receive_server import Desk, Door
from appliance.replication.receive_store import SenderStore
from appliance.units import DAY_S, GIB

log = logging.getLogger(__name__)

HOST_KEY: Final = "host_key"
#: A draft nobody wrote to for so long goes: a push that was cut is tried again every night.
STALE_S: Final = 14 * DAY_S
SWEEP_EVERY_S: Final = DAY_S
GENERATIONS: Final = "generations/"
#: The second building's own box keeps so much of its disk.
FLOOR_BYTES: Final = GIB
_CIPHERS: Final = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
)
_MACS: Final = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256")
_KEX: Final = ("mlkem768x25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")


@dataclass(frozen=True, slots=True)
class Received:
    """What came from a sender, for the dead-man alarm."""

    sender: Sender
    object_at: datetime | None  # aware UTC; None: nothing ever came
    generation_at: datetime | None


class ReceiveServer:
    """Listens until ``stop``; a context manager."""

    def __init__(
        self,
        root: Path,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        limits: Limits | None = None,
        floor_bytes: int = FLOOR_BYTES,
    ) -> None:
        """Prepare; ``start`` listens.

        Args:
            root: the receiving folder, this server's own.
            address: to listen on, an address of this box.
            port: 0: any free one, see ``port``.
            limits: what clients may ask for.
            floor_bytes: of the disk, kept for this box itself.
        """
        self.root = root
        self.address = address
        self.port = port
        self.senders = Senders(root)
        self._limits = limits or Limits()
        self._floor_bytes = floor_bytes
        self._door = threading.Lock()
        self._stores: dict[str, SenderStore] = {}
        self._sessions: dict[paramiko.Transport, tuple[str, threading.Thread]] = {}
        self._of_sender: Counter[str] = Counter()
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._ending = threading.Event()
        self._lock: int | None = None
        self._host_key: paramiko.PKey | None = None

    def start(self) -> Self:
        """Listen.

        Raises:
            AlreadyRunning: another server has this folder.
            SettingsInvalid: the host key or the senders' file cannot be read.
            OSError: the address or the port cannot be had.
        """
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.root / "received").mkdir(exist_ok=True, mode=0o700)
        self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise AlreadyRunning(str(self.root)) from error
            self._host_key = _load_host_key(self.root)
            self.senders.all()
            family = socket.AF_INET6 if _is_ipv6(self.address) else socket.AF_INET
            self._listener = socket.create_server((self.address, self.port), family=family)
        except BaseException:
            self._let_go()
            raise
        self.port = self._listener.getsockname()[1]
        self._ending.clear()
        for name, work in (("receive", self._accept), ("receive-sweep", self._sweep)):
            thread = threading.Thread(target=work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        log.info("receiving on port %d, host key %s", self.port, fingerprint(self.root))
        return self

    def stop(self) -> None:
        """End every session and listen no more; what is whole stays, drafts can be gone on with."""
        self._ending.set()
        if self._listener is not None:
            with suppress(OSError):  # wakes accept()
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._door:
            sessions = list(self._sessions.items())
        for transport, _ in sessions:
            transport.close()
        for each in [*self._threads, *(thread for _, (_, thread) in sessions)]:
            each.join(10)
        self._threads.clear()
        with self._door:
            for store in self._stores.values():
                store.close()
            self._stores.clear()
        self._let_go()

    def wait(self) -> None:
        """Return once ``stop`` was called."""
        self._ending.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --- threads ------------------------------------------------------------------------------

    def _accept(self) -> None:
        listener = self._listener
        while listener is not None and not self._ending.is_set():
            try:
                line, (address, *_) = listener.accept()
            except OSError:
                if self._ending.wait(0.2):  # ended, or out of descriptors for a moment
                    return
                continue
            if self._is_too_much(address):
                line.close()
                continue
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A sender whose line was cut without a word must not keep its place for hours.
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000)
            try:
                transport = paramiko.Transport(line)
            except (paramiko.SSHException, OSError):
                line.close()
                continue
            transport.daemon = True
            thread = threading.Thread(
                target=self._serve, args=(transport,), name="receive-session", daemon=True
            )
            with self._door:
                self._sessions[transport] = (address, thread)
            thread.start()

    def _is_too_much(self, address: str) -> bool:
        with self._door:
            same = sum(1 for known, _ in self._sessions.values() if known == address)
            return (
                len(self._sessions) >= self._limits.sessions
                or same >= self._limits.sessions_of_address
            )

    def _serve(self, transport: paramiko.Transport) -> None:
        """One connection, from its first byte to its last."""
        door = Door(Desk(self._find, self._store, self._admit, self._limits), transport)
        try:
            self._negotiate(transport, door)
            if self._has_come_in(transport, door):
                while transport.is_active() and self._may_stay(door.sender):
                    transport.join(1.0)
        except (paramiko.SSHException, OSError, EOFError, SettingsInvalid) as error:
            log.info("a connection ended: %s", type(error).__name__)
        finally:
            transport.close()
            transport.join(5)
            with self._door:
                self._sessions.pop(transport, None)
                if door.sender is not None:
                    self._of_sender[door.sender.id] -= 1

    def _has_come_in(self, transport: paramiko.Transport, door: Door) -> bool:
        end = time.monotonic() + self._limits.sign_in_s
        while transport.is_active() and time.monotonic() < end:
            if door.speaks.wait(0.2):
                return True
        return False

    def _may_stay(self, sender: Sender | None) -> bool:
        """A changed quota ends no session; a lost account or another key does."""
        found = None if sender is None or self._ending.is_set() else self._find(sender.id)
        return found is not None and sender is not None and found.public_key == sender.public_key

    def _negotiate(self, transport: paramiko.Transport, door: Door) -> None:
        options = transport.get_security_options()
        options.ciphers = [each for each in _CIPHERS if each in options.ciphers]
        options.digests = [each for each in _MACS if each in options.digests]
        options.kex = [each for each in _KEX if each in options.kex]
        transport.local_version = "SSH-2.0-Armoire"
        transport.banner_timeout = transport.auth_timeout = self._limits.sign_in_s
        if self._host_key is None:
            raise paramiko.SSHException("not started")
        transport.add_server_key(self._host_key)
        transport.start_server(server=door)

    def _sweep(self) -> None:
        while not self._ending.is_set():
            try:
                for sender in self.senders.all():
                    removed = self._store(sender).sweep(
                        older_than_s=STALE_S, now_s=utc_now().timestamp()
                    )
                    if removed:
                        log.info("sender %s: %d stale drafts removed", sender.id, removed)
            except (SettingsInvalid, OSError) as error:
                log.warning("drafts were not looked at: %s", type(error).__name__)
            self._ending.wait(SWEEP_EVERY_S)

    # --- what sessions ask --------------------------------------------------------------------

    def _find(self, sender_id: str) -> Sender | None:
        try:
            return self.senders.find(sender_id)
        except SettingsInvalid:
            # A file that is being edited, badly: nobody new comes in.
            log.warning("the senders' file cannot be read")
            return None

    def _admit(self, sender_id: str) -> bool:
        with self._door:
            if self._of_sender[sender_id] >= self._limits.sessions_of_sender:
                return False
            self._of_sender[sender_id] += 1
            return True

    def _store(self, sender: Sender) -> SenderStore:
        with self._door:
            found = self._stores.get(sender.id)
            if found is None:
                found = self._stores[sender.id] = SenderStore(
                    self.root / "senders" / sender.id,
                    quota_bytes=lambda: self._quota(sender.id),
                    floor_bytes=self._floor_bytes,
                    on_object=lambda name: _remember(self.root, sender.id, name),
                )
            return found

    def _quota(self, sender_id: str) -> int:
        sender = self._find(sender_id)
        return 0 if sender is None else sender.quota_bytes

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def received(root: Path) -> list[Received]:
    """Return what last came from each sender, for ``policy.deadman``; works beside a running server.

    Raises:
        SettingsInvalid: the senders' file cannot be read.
    """
    folder = root / "received"
    return [
        Received(
            each,
            _time_of(folder / each.id),
            _time_of(folder / f"{each.id}.generation"),
        )
        for each in Senders(root).all()
    ]


def make_host_key(root: Path) -> str:
    """Make the host key once and return its public half, «ssh-ed25519 AAAA…», for the sender to pin."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = root / HOST_KEY
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        # Written whole beside, then linked: two that start together agree on the first.
        draft = root / f".{HOST_KEY}.{os.getpid()}.{threading.get_ident()}.new"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
    public = _public_half(root)
    (root / f"{HOST_KEY}.pub").write_text(public + "\n", "ascii")
    return public


def fingerprint(root: Path) -> str:
    """Return the host key's fingerprint as `ssh-keygen -l` shows it, «SHA256:…», to be compared by people.

    Raises:
        SettingsInvalid: the host key cannot be read.
    """
    blob = base64.b64decode(_public_half(root).split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _load_host_key(root: Path) -> paramiko.PKey:
    make_host_key(root)
    try:
        return paramiko.Ed25519Key.from_private_key_file(str(root / HOST_KEY))
    except (paramiko.SSHException, OSError, ValueError) as error:
        raise SettingsInvalid(str(root / HOST_KEY), type(error).__name__) from error


def _public_half(root: Path) -> str:
    try:
        key = paramiko.Ed25519Key.from_private_key_file(str(root / HOST_KEY))
    except (paramiko.SSHException, OSError, ValueError) as error:
        raise SettingsInvalid(str(root / HOST_KEY), type(error).__name__) from error
    return f"{key.get_name()} {key.get_base64()}"


def _remember(root: Path, sender_id: str, name: str) -> None:
    """Note that a whole object came; the time is enough."""
    paths = [root / "received" / sender_id]
    if name.startswith(GENERATIONS):
        paths.append(root / "received" / f"{sender_id}.generation")
    for path in paths:
        with suppress(OSError):  # the object is safe; at worst the alarm rings too early
            path.touch(mode=0o600)


def _time_of(path: Path) -> datetime | None:
    try:
        return from_epoch(path.stat().st_mtime)
    except FileNotFoundError:
        return None


def _is_ipv6(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 6
    except ValueError:
        return False
