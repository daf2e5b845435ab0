"""The listening sockets themselves: what cannot be bound, and a system without a file left."""

import asyncio
import errno
import resource
import socket
import time

import pytest

from appliance.policy.listening import Card, Rule
from appliance.web.doors import Doors
from tests.support.sshd import free_port


def test_a_port_in_use_ends_the_start_and_binds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It says which address; no half-open box stays."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = int(other.getsockname()[1])
        cards = [Card("lo", "127.0.0.2"), Card("lo", "127.0.0.1")]
        doors = Doors(port, 5, lambda: (Rule(()), cards))
        with pytest.raises(OSError, match="in use"):
            doors.open()
    assert doors.addresses == []
    assert "127.0.0.1" in caplog.text


def test_an_address_that_is_not_there_yet_is_tried_again() -> None:
    """IPv6 looks for duplicates first, and a cable may be out: the rest is served."""
    port = free_port()
    cards = [Card("lo", "127.0.0.1"), Card("eth0", "192.168.250.250")]
    rule = Rule((), is_open=True)
    doors = Doors(port, 5, lambda: (rule, cards))
    try:
        doors.open()
        assert doors.addresses == ["127.0.0.1"]
        cards.append(Card("lo", "127.0.0.3"))
        assert asyncio.run(doors.settle()) is True
        assert doors.addresses == ["127.0.0.1", "127.0.0.3"]
        assert asyncio.run(doors.settle()) is False
    finally:
        doors.close()


def test_without_a_file_left_it_waits_and_goes_on() -> None:
    """No turning round on the spot, and nobody who waits is lost."""
    doors = Doors(free_port(), 5, lambda: (Rule(()), [Card("lo", "127.0.0.1")]))
    greeted: list[socket.socket] = []

    async def scene(port: int) -> float:
        came = asyncio.Event()

        def greet(line: socket.socket) -> None:
            greeted.append(line)
            came.set()

        doors.begin(asyncio.get_running_loop(), greet)
        with socket.socket() as visitor:
            visitor.setblocking(False)
            before = resource.getrlimit(resource.RLIMIT_NOFILE)
            with pytest.raises(OSError) as full:  # every number below the limit is taken
                resource.setrlimit(resource.RLIMIT_NOFILE, (visitor.fileno() + 1, before[1]))
                while True:
                    taken.append(socket.socket())
            assert full.value.errno == errno.EMFILE
            try:
                await asyncio.get_running_loop().sock_connect(visitor, ("127.0.0.1", port))
                used = time.process_time()
                await asyncio.sleep(0.3)
                used = time.process_time() - used
                assert greeted == []
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            await asyncio.wait_for(came.wait(), 30)
        return used

    taken: list[socket.socket] = []
    try:
        doors.open()
        used = asyncio.run(scene(doors._port))
    finally:
        doors.close()
        for each in [*taken, *greeted]:
            each.close()
    assert len(greeted) == 1
    assert used < 0.25
