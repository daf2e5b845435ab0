"""The line of the tests has the round trip, the throughput and the faults it was asked for."""

import socket
import threading
import time

import pytest

from tests.support.delay import DelayProxy

pytestmark = pytest.mark.integration


@pytest.fixture
def echo():
    """A server that sends back what it gets; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection):
        with connection:
            try:
                while data := connection.recv(1 << 18):
                    connection.sendall(data)
            except OSError:
                pass

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(30)


def talk(proxy):
    return socket.create_connection((proxy.host, proxy.port), timeout=10)


def receive(connection, count):
    got = bytearray()
    while len(got) < count and (data := connection.recv(1 << 18)):
        got += data
    return bytes(got)


def test_adds_the_round_trip_it_was_asked_for(echo):
    """Twenty questions one by one take twenty round trips, and not many times more."""
    with DelayProxy(echo, rtt_ms=10) as proxy, talk(proxy) as line:
        started = time.monotonic()
        for _ in range(20):
            line.sendall(b"?")
            assert line.recv(1) == b"?"
        took = time.monotonic() - started
    assert 0.2 <= took < 10


def test_does_not_cap_the_throughput(echo):
    """8 MiB in flight cross a 400 ms line in far less than a round trip per block."""
    size = 8 << 20
    with DelayProxy(echo, rtt_ms=400) as proxy, talk(proxy) as line:
        sender = threading.Thread(target=line.sendall, args=(bytes(size),), daemon=True)
        started = time.monotonic()
        sender.start()
        assert len(receive(line, size)) == size
        took = time.monotonic() - started
        sender.join()
    assert took < 12.8  # 32 blocks of 256 KiB at one round trip each


def test_a_rate_is_kept(echo):
    """1 MiB at 4 MiB/s takes a quarter of a second."""
    with DelayProxy(echo, rtt_ms=0, rate_bytes_s=4 << 20) as proxy, talk(proxy) as line:
        started = time.monotonic()
        line.sendall(bytes(1 << 20))
        receive(line, 1 << 20)
        assert time.monotonic() - started >= 0.24


def test_cuts_after_exactly_so_many_bytes_and_then_works_again(echo):
    """The byte asked for arrives, the next does not, and the next connection is a good one."""
    with DelayProxy(echo, rtt_ms=1, cut_after_bytes=100_000) as proxy:
        with talk(proxy) as line:
            line.sendall(bytes(90_000))
            assert len(receive(line, 90_000)) == 90_000
            line.sendall(bytes(90_000))
            assert len(receive(line, 90_000)) == 10_000
        with talk(proxy) as line:
            line.sendall(bytes(90_000))
            assert len(receive(line, 90_000)) == 90_000
        assert proxy.counts()["cuts"] == 1


def test_stalls_without_closing_and_resumes(echo):
    """While stalled nothing arrives and nothing ends; then everything does."""
    with DelayProxy(echo) as proxy, talk(proxy) as line:
        proxy.stall()
        line.sendall(b"late")
        line.settimeout(0.3)
        with pytest.raises(TimeoutError):
            line.recv(4)
        proxy.resume()
        line.settimeout(60)
        assert receive(line, 4) == b"late"


def test_a_cut_on_command_resets_every_connection(echo):
    """Both ends see an error or an end at once; a refused machine answers nobody."""
    with DelayProxy(echo) as proxy:
        with talk(proxy) as line:
            line.sendall(b"x")
            assert line.recv(1) == b"x"
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                line.recv(1)
        proxy.refuse()
        # The reset may already be there when the connection is made.
        with pytest.raises(ConnectionResetError), talk(proxy) as line:
            line.recv(1)
