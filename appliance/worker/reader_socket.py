"""The Unix socket over which the web and the command line ask for files of snapshots.

Beam 1: who asks holds no key; who answers listens on nothing else. Who may ask: this process's own
user, root, users that were named, and members of the socket's group. The protocol is in
docs/formats/reader-socket.md.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Final, Protocol

from appliance.catalogue.reader_protocol import (
    FAILED,
    LARGEST_BLOCK,
    LARGEST_JSON,
    LENGTH,
    Header,
    KitRequest,
    Malformed,
    Request,
    address,
    pack_error,
    parse_request,
)
from appliance.errors import ArmoireError, NotFound, WorkerUnreachable
from appliance.worker.log import where

MOST_CLIENTS: Final = 64
#: Seconds a client may take to say what it wants, and to take a block of what it asked for:
#: a paused film is closed and asked for again from where it was.
REQUEST_S: Final = 10.0
SEND_S: Final = 300.0

_CREDENTIALS: Final = Struct("3i")  # pid, uid, gid: struct ucred in unix(7)
_SO_PEERGROUPS: Final = 59  # asm-generic/socket.h, Linux 4.13; Python has no name for it
_GROUP: Final = Struct("I")
_log = logging.getLogger("armoire.reader")


class FileToSend(Protocol):
    """What ``backup_jobs.reader`` opens."""

    @property
    def size(self) -> int:
        """Bytes of the whole file."""

    @property
    def mtime_ns(self) -> int:
        """Since the epoch."""

    @property
    def offset(self) -> int:
        """Of the first byte that follows."""

    @property
    def length(self) -> int:
        """Bytes that follow."""

    @property
    def blocks(self) -> Iterator[bytes]:
        """Those bytes."""


class ReaderSocket:
    """Listens, answers each client in a thread of its own."""

    def __init__(
        self,
        path: Path,
        open_file: Callable[[Request], FileToSend],
        *,
        open_kit: Callable[[KitRequest], FileToSend] | None = None,
        allowed_uids: Collection[int] = (),
        request_s: float = REQUEST_S,
        send_s: float = SEND_S,
    ) -> None:
        """Begin to listen: the socket is at its place, 0660, when this returns.

        Args:
            path: of the socket; an old one is replaced, its owner then ends (``is_replaced``).
            open_file: opens what a request asks for.
            open_kit: makes a document of the recovery kit; None: there is none to be had here.
            allowed_uids: users that may ask, besides our own and root.
            request_s: seconds a client may take to send a request.
            send_s: seconds a client may take for one block.
        """
        self._path = path
        self._open_file = open_file
        self._open_kit = open_kit
        self._allowed = {0, os.geteuid(), *allowed_uids}
        self._request_s = request_s
        self._send_s = send_s
        self._clients: set[socket.socket] = set()
        self._door = threading.Lock()
        self._is_over = False
        self._channel = _listen(path)
        found = os.stat(path)  # noqa: PTH116 - inode and group at once
        self._inode, self._gid = found.st_ino, found.st_gid
        self.answered_at = time.monotonic()

    def serve(self) -> None:
        """Answer until ``close``."""
        while True:
            try:
                client, _ = self._channel.accept()
            except OSError:
                if self._is_over:
                    return
                time.sleep(0.1)  # out of descriptors: clients that end give some back
                continue
            with self._door:
                is_refused = self._is_over or len(self._clients) >= MOST_CLIENTS
                if not is_refused:
                    self._clients.add(client)
            if is_refused:
                with suppress(OSError), client:
                    client.sendall(pack_error(WorkerUnreachable()))
                continue
            threading.Thread(
                target=self._attend, args=(client,), name="reader-client", daemon=True
            ).start()

    def is_replaced(self) -> bool:
        """Say whether another process took the place of this socket, or it was removed."""
        try:
            return os.stat(self._path).st_ino != self._inode  # noqa: PTH116
        except OSError:
            return True

    def close(self) -> None:
        """Stop listening, cut every client off, remove the socket if it is ours."""
        self._is_over = True
        if not self.is_replaced():
            self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        self._channel.close()
        with self._door:
            for client in self._clients:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)

    # --- one client ------------------------------------------------------------------------------

    def _attend(self, client: socket.socket) -> None:
        try:
            with client:
                if not self._may_ask(client):
                    _log.warning("a process of another user was refused")
                    return
                while self._answer_next(client):
                    self.answered_at = time.monotonic()
        except OSError:
            pass  # it went away: that is how reading is cancelled
        except Exception as error:  # noqa: BLE001 - one client's trouble is not the others'
            _log.error("a client's thread ended: %s", where(error))
        finally:
            with self._door:
                self._clients.discard(client)

    def _may_ask(self, client: socket.socket) -> bool:
        packed = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, gid = _CREDENTIALS.unpack(packed)
        return uid in self._allowed or self._gid in {gid, *_other_groups(client)}

    def _answer_next(self, client: socket.socket) -> bool:
        """Answer one request; say whether another one may follow."""
        client.settimeout(self._request_s)
        body = _receive(client)
        if body is None:
            return False
        try:
            request = parse_request(body)
        except Malformed as error:
            _log.warning("a request that is none was dropped (%s)", error)
            return False
        client.settimeout(self._send_s)
        try:
            opened = self._open(request)
        except ArmoireError as error:
            client.sendall(pack_error(error))
            return True
        except Exception as error:  # noqa: BLE001 - told to the client as what it is to a person
            _log.error("a file could not be opened: %s", where(error))
            client.sendall(pack_error(ArmoireError()))
            return True
        return _send(client, opened)

    def _open(self, request: Request | KitRequest) -> FileToSend:
        if isinstance(request, Request):
            return self._open_file(request)
        if self._open_kit is None:
            raise NotFound("kit", request.document)
        return self._open_kit(request)


def _other_groups(client: socket.socket) -> list[int]:
    try:
        packed = client.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * 1024)
    except OSError:
        return []
    return [each for (each,) in _GROUP.iter_unpack(packed)]


def _send(client: socket.socket, opened: FileToSend) -> bool:
    header = Header(opened.size, opened.mtime_ns, opened.offset, opened.length).pack()
    pending: list[bytes | memoryview] = [header]
    blocks = opened.blocks
    failure: ArmoireError
    try:
        while True:
            try:
                block = next(blocks, None)
            except ArmoireError as error:
                failure = error
                break
            except Exception as error:  # noqa: BLE001 - the client must not take a part for the whole
                _log.error("a file could not be read to its end: %s", where(error))
                failure = ArmoireError()
                break
            if block is None:
                _send_all(client, [*pending, LENGTH.pack(0)])
                return True
            for start in range(0, len(block), LARGEST_BLOCK):
                part = memoryview(block)[start : start + LARGEST_BLOCK]
                _send_all(client, [*pending, LENGTH.pack(len(part)), part])
                pending.clear()
    finally:
        close = getattr(blocks, "close", None)
        if close is not None:
            close()
    _send_all(client, [*pending, LENGTH.pack(FAILED), pack_error(failure)])
    return False


def _send_all(client: socket.socket, parts: list[bytes | memoryview]) -> None:
    """Send the parts, in one system call where the kernel takes them."""
    whole = sum(map(len, parts))
    sent = client.sendmsg(parts)
    if sent < whole:
        for part in parts:
            if sent >= len(part):
                sent -= len(part)
                continue
            client.sendall(memoryview(part)[sent:])
            sent = 0


def _receive(client: socket.socket) -> bytes | None:
    """Return the body of the next frame, or None when there is none."""
    head = _exactly(client, LENGTH.size)
    if head is None:
        return None
    (size,) = LENGTH.unpack(head)
    if size > LARGEST_JSON:
        _log.warning("a request that is none was dropped (length)")
        return None
    return _exactly(client, size)


def _exactly(client: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = client.recv(size - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _listen(path: Path) -> socket.socket:
    """Bind beside the place, set the mode, then rename: never open to more than 0660."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            with address(draft) as place:
                channel.bind(place)
        finally:
            os.umask(before)
        draft.chmod(0o660)
        channel.listen(128)
        draft.replace(path)
    except BaseException:
        channel.close()
        draft.unlink(missing_ok=True)
        raise
    return channel
