"""How much of a line a push uses: 20 and 200 Mbit/s, shaped with `tc tbf` between two network namespaces.

What a plain TCP stream carries over the same line in the same run is the whole of it: frames, IP and TCP headers
take their 4 to 5 % from both. Where no namespace can be made, a line of DelayProxy stands in and is named so.
"""

import os
import random
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from tests.bench.report import record
from tests.bench.test_copy_push import push_once
from tests.support.copy_places import Place, Practice, sftp_place
from tests.support.delay import DelayProxy
from tests.support.shaped_line import ShapedLine, why_not
from tests.support.sshd import make_key

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

SCALE = float(os.environ.get("ARMOIRE_BENCH_SCALE", "1"))
SEGMENT = 8 << 20
SINK = """
import socket, sys
server = socket.create_server((sys.argv[1], 0))
print(server.getsockname()[1], flush=True)
line, _ = server.accept()
while line.recv(1 << 20): pass
line.sendall(b"x")
"""


def plain_stream(host: str, argv: list[str], data: bytes) -> float:
    """Seconds that a plain TCP connection needs for as many bytes."""
    sink = subprocess.Popen([*argv, sys.executable, "-c", SINK, host], stdout=subprocess.PIPE)
    try:
        port = int(sink.stdout.readline())
        with socket.create_connection((host, port), timeout=20) as line:
            line.settimeout(300)
            began = time.monotonic()
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
            assert line.recv(1) == b"x"
            return time.monotonic() - began
    finally:
        sink.kill()
        sink.wait()
        sink.stdout.close()


@contextmanager
def far_place(folder, bits_s: float):
    """A real SFTP host behind a line of this rate; what the line is; seconds of a plain stream of bytes."""
    reason = why_not()
    if reason:
        with sftp_place(folder) as place, DelayProxy(place.port, 0, None, bits_s / 8) as line:
            yield place, line.port, "127.0.0.1", f"DelayProxy ({reason})", None
        return
    folder.mkdir()
    with ShapedLine(bits_s) as line:
        root = folder / "host"
        root.mkdir()
        server = line.sshd(folder)
        server.authorize(make_key(folder / "id"))
        with server:
            place = Place("sftp", lambda: None, port=server.port, server=server, root=root)
            inside = ["ip", "netns", "exec", line.namespace]
            yield place, server.port, line.host, "tc tbf", inside


@pytest.mark.parametrize(("mbit", "bar", "seconds"), [(20, 0.95, 45), (200, 0.85, 12)])
def test_use_of_a_line(tmp_path, mbit, bar, seconds):
    practice = Practice(tmp_path / "box")
    count = max(2, int(mbit * 1e6 / 8 * seconds * max(SCALE, 0.3) / SEGMENT))
    for number in range(count):
        (practice.data / str(number)).write_bytes(random.randbytes(SEGMENT))
    with far_place(tmp_path / "place", mbit * 1e6) as (place, port, host, shape, inside):
        done = push_once(practice, place, port=port, host=host, connections=4)
        rate = mbit * 1e6 / 8
        plain = None
        if inside is not None:
            plain = plain_stream(host, inside, bytes(int(rate * 3)))
    goodput = done["sent_bytes"] / done["seconds"]
    whole = rate if plain is None else int(rate * 3) / plain
    record(
        f"use of a line of {mbit} Mbit/s",
        goodput / whole,
        bar,
        goodput / whole >= bar,
        {
            "shaped by": shape,
            "sealed Mbit/s": round(goodput * 8 / 1e6, 2),
            "plain TCP Mbit/s": round(whole * 8 / 1e6, 2),
            "of the nominal rate": round(goodput / rate, 3),
            "s": round(done["seconds"], 1),
        },
    )
    assert goodput / whole >= bar
