"""A folder of 10,000 over WebDAV, beside rclone's own server (and copyparty, where it is installed) in one run.

``ARMOIRE_BENCH_SCALE=0.1`` makes a tenth of the files.
"""

import http.client
import importlib.util
import os
import statistics
import subprocess
import sys
import time

import pytest

from tests.bench.report import record
from tests.support.dav_box import DavBox
from tests.support.sshd import free_port

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]
COUNT = int(10_000 * float(os.environ.get("ARMOIRE_BENCH_SCALE", "1")))
ROUNDS = 7
BAR_MS = 150
ALL = b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><allprop/></propfind>'


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    with DavBox(tmp_path_factory.mktemp("dav")) as made:
        large = made.folder / "large"
        large.mkdir()
        for number in range(COUNT):
            (large / f"compte rendu {number:05}.pdf").write_bytes(b"x")
        yield made


def serving(argv: list[str], port: int):
    """Start another server and wait until it answers."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while True:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            line.request("OPTIONS", "/")
            line.getresponse().read()
            return process, line
        except OSError:
            line.close()
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)


def listed(line: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> float:
    """Milliseconds until the whole answer is here."""
    began = time.perf_counter()
    line.request("PROPFIND", path, body=ALL, headers={"Depth": "1", **headers})
    answer = line.getresponse()
    body = answer.read()
    taken = (time.perf_counter() - began) * 1000
    assert answer.status == 207, (answer.status, body[:200])
    assert body.lower().count(b"response>") >= 2 * (COUNT + 1)
    return taken


def test_a_folder_of_10000_is_listed(box):
    """Through TLS, with the password looked up and the rights asked for, at each request."""
    others: dict[str, tuple[subprocess.Popen, http.client.HTTPConnection, str]] = {}
    port = free_port()
    argv = ["rclone", "serve", "webdav", str(box.folder), "--addr", f"127.0.0.1:{port}"]
    others["rclone"] = (*serving([*argv, "--config", "/dev/null"], port), "/large/")
    if importlib.util.find_spec("copyparty"):
        port = free_port()
        argv = [
            sys.executable,
            "-m",
            "copyparty",
            "-q",
            "-i",
            "127.0.0.1",
            "-p",
            str(port),
            "--daw",
        ]
        started = serving([*argv, "-v", f"{box.folder}::rw"], port)
        others["copyparty"] = (*started, "/large/")
    line = box.line()
    try:
        taken: dict[str, list[float]] = {"armoire": [], **{name: [] for name in others}}
        for _ in range(ROUNDS):
            taken["armoire"].append(listed(line, "/dav/documents/large/", box.credentials))
            for name, (_, other, path) in others.items():
                taken[name].append(listed(other, path, {}))
    finally:
        line.close()
        for process, other, _ in others.values():
            other.close()
            process.terminate()
            process.wait(20)
    p50 = {name: statistics.median(each) for name, each in taken.items()}
    ours = p50.pop("armoire")
    record(
        f"WebDAV, PROPFIND of {COUNT:,}, p50 (ms)",
        ours,
        BAR_MS,
        ours <= BAR_MS,
        {
            "min": round(min(taken["armoire"])),
            "max": round(max(taken["armoire"])),
            **{name: round(each) for name, each in p50.items()},
        },
    )
    assert ours <= BAR_MS
