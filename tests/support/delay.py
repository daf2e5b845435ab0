"""A line with a round trip: a TCP proxy in a process of its own, so it takes no turn of our GIL.

Every block is stamped when it arrives and sent on half a round trip later. Blocks travel together,
so a delay does not cap the throughput (unless ``rate_bytes_s`` does).
"""

import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Self

BLOCK = 256 * 1024
IN_FLIGHT = 16 * 1024 * 1024  # bytes held per direction: 1.6 GB/s at 20 ms


class DelayProxy:
    """Stands before ``target_port`` of 127.0.0.1. Use as a context manager; connect to ``port``.

    Args:
        target_port: where connections go on to.
        rtt_ms: round trip added, in milliseconds; a practice's network has about 0.7.
        cut_after_bytes: the connection that carries the byte of this number *from* the server,
            counted over all connections, is reset right after it; the next ones work again.
        rate_bytes_s: bytes per second and direction of one connection; None is unlimited.
    """

    def __init__(
        self,
        target_port: int,
        rtt_ms: float = 0.7,
        cut_after_bytes: int | None = None,
        rate_bytes_s: float | None = None,
        target_host: str = "127.0.0.1",
    ) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self._order = {
            "target": target_port,
            "host": target_host,
            "rtt_ms": rtt_ms,
            "cut_after": cut_after_bytes,
            "rate": rate_bytes_s,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, json.dumps(self._order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.port = self._answer()["port"]
        return self

    def cut(self) -> None:
        """Reset every connection now."""
        self._ask("cut")

    def cut_after(self, count: int) -> None:
        """Reset the connection that carries the ``count``-th byte from the server from now on."""
        self._ask(f"cut-after {count}")

    def stall(self) -> None:
        """Carry nothing more, but keep every connection open, until ``resume``."""
        self._ask("stall")

    def resume(self) -> None:
        self._ask("resume")

    def refuse(self) -> None:
        """Close new connections at once (a machine that was switched off), until ``accept``."""
        self._ask("refuse")

    def accept(self) -> None:
        self._ask("accept")

    def counts(self) -> dict[str, int]:
        """«connections» ever made, bytes «from_server» and «to_server», «cuts» done."""
        return self._ask("counts")

    def stop(self) -> None:
        if self._process is None:
            return
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                stream.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _ask(self, order: str) -> dict[str, int]:
        self._process.stdin.write(order.encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, int]:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the proxy ended")
        return json.loads(line)


# --- below runs in the proxy's own process ---------------------------------------------------


class _Way:
    """One direction of one connection."""

    def __init__(self, reading: socket.socket, writing: socket.socket, from_server: bool) -> None:
        self.reading, self.writing, self.from_server = reading, writing, from_server
        self.waiting: deque[tuple[float, memoryview]] = deque()
        self.held = 0
        self.free_at = 0.0
        self.ended = False  # nothing more will be read
        self.closed = False  # and the other side was told


class _Line:
    def __init__(self, order: dict) -> None:
        self.target = order["target"]
        self.target_host = order["host"]
        self.delay = order["rtt_ms"] / 2000
        self.cut_after = order["cut_after"]
        self.rate = order["rate"]
        self.ways: list[_Way] = []
        self.stalled = self.refusing = False
        self.counts = {"connections": 0, "from_server": 0, "to_server": 0, "cuts": 0}
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.say({"port": self.listener.getsockname()[1]})

    def say(self, value: object) -> None:
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()

    def run(self) -> None:
        while True:
            now = time.monotonic()
            reading = [self.listener, sys.stdin]
            writing: list[socket.socket] = []
            due = now + 60.0
            for way in self.ways if not self.stalled else ():
                if not way.ended and way.held < IN_FLIGHT:
                    reading.append(way.reading)
                if way.waiting:
                    if way.waiting[0][0] <= now:
                        writing.append(way.writing)
                    else:
                        due = min(due, way.waiting[0][0])
            # select and not epoll: its timeout has microseconds, epoll's milliseconds.
            can_read, can_write, _ = select.select(reading, writing, [], max(0.0, due - now))
            if sys.stdin in can_read and not self.obey(sys.stdin.readline().split()):
                return
            if self.listener in can_read:
                self.connect()
            for way in list(self.ways):
                if way.reading in can_read and not way.ended:
                    self.read(way)
                if way.writing in can_write and way in self.ways:
                    self.write(way)
                self.finish(way)

    def obey(self, order: list[str]) -> bool:
        match order:
            case []:
                return False
            case ["cut"]:
                self.cut(list(self.ways))
            case ["cut-after", count]:
                self.cut_after = self.counts["from_server"] + int(count)
            case ["stall"] | ["resume"]:
                self.stalled = order == ["stall"]
            case ["refuse"] | ["accept"]:
                self.refusing = order == ["refuse"]
        self.say(self.counts)
        return True

    def connect(self) -> None:
        client, _ = self.listener.accept()
        self.counts["connections"] += 1
        if self.refusing:
            _reset(client)
            return
        try:
            server = socket.create_connection((self.target_host, self.target), timeout=30)
        except OSError:
            _reset(client)
            return
        for each in (client, server):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ways += [_Way(client, server, False), _Way(server, client, True)]

    def read(self, way: _Way) -> None:
        try:
            data = way.reading.recv(BLOCK)
        except BlockingIOError:
            return
        except OSError:
            self.cut([way])
            return
        if not data:
            way.ended = True
            return
        way.held += len(data)
        now = time.monotonic()
        if self.rate:
            way.free_at = max(now, way.free_at) + len(data) / self.rate
        way.waiting.append((max(now, way.free_at) + self.delay, memoryview(data)))

    def write(self, way: _Way) -> None:
        now = time.monotonic()
        while way.waiting and way.waiting[0][0] <= now:
            due, block = way.waiting[0]
            cutting = False
            if way.from_server and self.cut_after is not None:
                left = self.cut_after - self.counts["from_server"]
                cutting = len(block) >= left
                block = block[:left] if cutting else block
            try:
                sent = way.writing.send(block)
            except BlockingIOError:
                return
            except OSError:
                self.cut([way])
                return
            self.counts["from_server" if way.from_server else "to_server"] += sent
            way.held -= sent
            if cutting and sent == len(block):
                self.cut_after = None
                # What was sent must arrive: close in order here, reset towards the server.
                with suppress(OSError):
                    way.writing.shutdown(socket.SHUT_WR)
                self.cut([way], gently=way.writing)
                return
            if sent == len(way.waiting[0][1]):
                way.waiting.popleft()
            else:
                way.waiting[0] = (due, way.waiting[0][1][sent:])
                return

    def finish(self, way: _Way) -> None:
        if way.ended and not way.waiting and not way.closed:
            way.closed = True
            with suppress(OSError):
                way.writing.shutdown(socket.SHUT_WR)
            other = [each for each in self.ways if each.reading is way.writing]
            if all(each.closed for each in other):
                for each in [way, *other]:
                    if each in self.ways:
                        self.ways.remove(each)
                way.reading.close()
                way.writing.close()

    def cut(self, ways: list[_Way], gently: socket.socket | None = None) -> None:
        sockets = {each for way in ways for each in (way.reading, way.writing)}
        self.counts["cuts"] += len(sockets) // 2
        self.ways = [way for way in self.ways if way.reading not in sockets]
        for each in sockets:
            if each is gently:
                each.close()
            else:
                _reset(each)


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


if __name__ == "__main__":
    _Line(json.loads(sys.argv[1])).run()
