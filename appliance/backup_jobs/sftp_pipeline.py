"""Many SFTP requests in flight over one line, in one thread.

A request is sent with a function that takes its reply; ``pump`` moves bytes both ways and calls
those functions. How much may be under way is counted in bytes, of requests not answered and of
data not taken yet, and grows with the round trip (bandwidth × delay), so a fast line is kept full and
memory stays bounded however large the files are.
"""

import fcntl
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Protocol

from appliance.backup_jobs import sftp_packets as packets
from appliance.errors import ArmoireError, ConnectionLost, ProtocolViolation, SftpUnavailable
from appliance.units import KIB, MIB

#: What a line is assumed to carry at most; with the round trip it gives the window.
LINE_BYTES_S: Final = 400 * MIB
LEAST_WINDOW: Final = 4 * MIB
LARGEST_WINDOW: Final = 24 * MIB
#: A request and its short answer, with what they cost on both sides.
SMALL_COST: Final = 512  # bytes
STALL_S: Final = 60.0
HANDSHAKE_S: Final = 30.0
_READ_AT_ONCE: Final = MIB
_F_SETPIPE_SZ: Final = 1031  # Linux

Answer = Callable[[int, bytes], None]  # type of the reply, its body


def _unasked(_kind: int, _body: bytes) -> None:
    raise packets.Malformed("answer to a question nobody asked")


class Transport(Protocol):
    """A line to an SFTP server: two descriptors and the reason when it ends."""

    host: str
    reading: int  # descriptor
    writing: int  # descriptor, may be the same one

    def why_lost(self) -> ArmoireError:
        """Return what ended the line, once it ended."""
        ...


class PlainTransport:
    """A line over descriptors that somebody else opened and closes."""

    def __init__(self, reading: int, writing: int, host: str = "machine") -> None:
        self.host = host
        self.reading = reading
        self.writing = writing

    def why_lost(self) -> ArmoireError:
        """Return that it was lost: nothing more is known."""
        return ConnectionLost(self.host)


class Pipeline:
    """One SFTP session. Not for several threads."""

    def __init__(self, transport: Transport, *, stall_s: float = STALL_S) -> None:
        self.host = transport.host
        self._transport = transport
        self._stall_s = stall_s
        self._splitter = packets.Splitter()
        self._waiting: dict[int, Answer] = {}
        self._next_request = 0
        self._out: list[bytes] = []
        self._unsent = b""
        self._heard_at = time.monotonic()
        self._poll_in = select.poll()
        self._poll_in.register(transport.reading, select.POLLIN)
        self._poll_both = select.poll()
        if transport.reading == transport.writing:
            self._poll_both.register(transport.reading, select.POLLIN | select.POLLOUT)
        else:
            self._poll_both.register(transport.reading, select.POLLIN)
            self._poll_both.register(transport.writing, select.POLLOUT)
        #: Bytes under way: expected answers and data nobody took yet.
        self.used_bytes = 0
        self.window_bytes = LEAST_WINDOW
        self.round_trip_s = 0.0
        self.received_bytes = 0
        self.read_length = packets.READ_BYTES
        self.most_handles = 64
        self.extensions: dict[bytes, bytes] = {}
        for descriptor in {transport.reading, transport.writing}:
            os.set_blocking(descriptor, False)
            with suppress(OSError):  # a socket, or a system that allows less
                fcntl.fcntl(descriptor, _F_SETPIPE_SZ, MIB)

    # --- sending ---

    def send(self, kind: int, text: bytes, answer: Answer) -> None:
        """Send a request that carries one path or handle."""
        request = self._number(answer)
        self._out.append(packets.with_string(kind, request, text))

    def send_read(self, handle: bytes, offset: int, length: int, answer: Answer) -> None:
        """Send READ."""
        request = self._number(answer)
        self._out.append(packets.read(request, handle, offset, length))

    def send_made(self, make: Callable[[int], bytes], answer: Answer) -> None:
        """Send the packet ``make`` returns for a request number."""
        request = self._number(answer)
        self._out.append(make(request))

    def _number(self, answer: Answer) -> int:
        request = self._next_request
        self._next_request = (request + 1) & 0xFFFFFFFF
        self._waiting[request] = answer
        return request

    @property
    def requests_under_way(self) -> int:
        """Requests without an answer yet."""
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether more may be asked for."""
        return self.used_bytes < self.window_bytes

    # --- moving bytes ---

    def pump(self, wait_s: float = 0.0) -> bool:
        """Send what waits, take what came, call the answers; return whether anything came.

        Args:
            wait_s: how long to wait for something to come, in seconds; 0 does not wait.

        Raises:
            ConnectionLost, or what the transport knows better: the line ended or is silent.
            ProtocolViolation: what came is not SFTP.
        """
        self._flush()
        events = (self._poll_both if self._unsent else self._poll_in).poll(wait_s * 1000)
        if self._unsent:
            self._flush()
        if not any(
            flags & (select.POLLIN | select.POLLHUP | select.POLLERR) for _, flags in events
        ):
            if self._waiting and time.monotonic() - self._heard_at > self._stall_s:
                raise ConnectionLost(self.host)
            return False
        return self._receive()

    def wait(self, ready: Callable[[], bool], on_idle: Callable[[], None] | None = None) -> None:
        """Pump until ``ready`` says so; ``on_idle`` is called at least every half second.

        Raises:
            as ``pump``; also ConnectionLost when nothing is under way that could ever make it ready.
        """
        while not ready():
            if not self._waiting:
                raise ConnectionLost(self.host)
            self.pump(0.5)
            if on_idle is not None:
                on_idle()

    def _flush(self) -> None:
        if self._out:
            if not self._waiting_for_answer_before():
                self._heard_at = time.monotonic()
            self._unsent = (
                b"".join([self._unsent, *self._out]) if self._unsent else b"".join(self._out)
            )
            self._out.clear()
        while self._unsent:
            try:
                sent = os.write(self._transport.writing, self._unsent)
            except BlockingIOError:
                return
            except OSError as error:
                raise self._lost() from error
            self._unsent = self._unsent[sent:]

    def _waiting_for_answer_before(self) -> bool:
        return len(self._waiting) > len(self._out)

    def _receive(self) -> bool:
        try:
            data = os.read(self._transport.reading, _READ_AT_ONCE)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._lost() from error
        if not data:
            raise self._lost()
        self._heard_at = time.monotonic()
        self.received_bytes += len(data)
        waiting = self._waiting
        try:
            for kind, request, body in self._splitter.feed(data):
                waiting.pop(request, _unasked)(kind, body)
        except packets.Malformed as error:
            raise ProtocolViolation(self.host, str(error)) from None
        return True

    def _lost(self) -> ArmoireError:
        why = self._transport.why_lost()
        if self.round_trip_s and isinstance(why, SftpUnavailable):
            return ConnectionLost(self.host)  # it was there, so it is a cut: to be tried again
        return why

    # --- the beginning of a session ---

    def handshake(self) -> None:
        """Agree on the version, learn the limits, measure the round trip.

        Raises:
            SftpUnavailable: another version, or the line ended before a first answer.
            ProtocolViolation: something else than SFTP came (a shell's greeting, usually).
        """
        self._out.append(packets.init())
        self._flush()
        deadline = time.monotonic() + HANDSHAKE_S
        kind, version, body = self._first_packet(deadline)
        if kind != packets.VERSION_REPLY:
            raise ProtocolViolation(self.host, "another packet where the version must come")
        try:
            self.extensions = packets.read_extensions(body)
        except packets.Malformed as error:
            raise ProtocolViolation(self.host, str(error)) from None
        if version != packets.VERSION:
            raise SftpUnavailable(self.host, f"version {version}")
        trips = []
        for _ in range(3):
            started = time.monotonic()
            self.call(lambda request: packets.with_string(packets.REALPATH, request, b"."))
            trips.append(time.monotonic() - started)
        self.round_trip_s = min(trips)
        wanted = int(self.round_trip_s * LINE_BYTES_S)
        self.window_bytes = min(max(wanted, LEAST_WINDOW), LARGEST_WINDOW)
        self._learn_limits()

    def _first_packet(self, deadline: float) -> packets.Packet:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ConnectionLost(self.host)
            if not self._poll_in.poll(left * 1000):
                continue
            try:
                data = os.read(self._transport.reading, 4 * KIB)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._transport.why_lost() from error
            if not data:
                raise self._transport.why_lost()
            try:
                found = self._splitter.feed(data)
            except packets.Malformed:
                raise ProtocolViolation(self.host, "text before the protocol begins") from None
            if len(found) > 1:
                raise ProtocolViolation(self.host, "answers before a question")
            if found:
                return found[0]

    def _learn_limits(self) -> None:
        # Source: OpenSSH PROTOCOL 4.8: max packet, max read, max write, max open handles.
        if b"limits@openssh.com" not in self.extensions:
            return
        kind, body = self.call(lambda request: packets.extended(request, b"limits@openssh.com"))
        if kind != packets.EXTENDED_REPLY:
            return
        try:
            _packet, most_read, _write, handles = packets.read_numbers(body, 4)
        except packets.Malformed as error:
            raise ProtocolViolation(self.host, str(error)) from None
        if most_read:
            self.read_length = int(min(max(most_read, packets.READ_BYTES), 255 * KIB))
        if handles:
            self.most_handles = int(min(max(handles // 2, 8), 512))

    def call(self, make: Callable[[int], bytes]) -> tuple[int, bytes]:
        """Send one request and wait for its answer: type and body."""
        came: list[tuple[int, bytes]] = []
        self.send_made(make, lambda kind, body: came.append((kind, body)))
        self.wait(lambda: bool(came))
        return came[0]

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Turn a malformed answer that is read in this block into ProtocolViolation."""
        try:
            yield
        except packets.Malformed as error:
            raise ProtocolViolation(self.host, str(error)) from None
