"""First byte of a 100 KB file out of a snapshot of 300,000 files, at the reader's socket.

The web's part is measured with the web. ``ARMOIRE_BENCH_SCALE=0.1`` makes a tenth of the files.
"""

import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.catalogue.reader_client import open_file
from appliance.model import SnapshotId
from tests.bench.report import record
from tests.bench.scene import DISTINCT, FILES, path_of

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

BAR_MS = 30.0


def _first_bytes(box, share, count: int) -> list[float]:
    dice = random.Random(count)
    step = FILES // DISTINCT
    taken = []
    for _ in range(count):
        path = path_of(dice.randrange(DISTINCT) * step)
        began = time.perf_counter()
        with open_file(box.settings, share.id, SnapshotId(1), path) as file:
            blocks = file.blocks
            first = next(blocks)
            taken.append((time.perf_counter() - began) * 1000)
            assert len(first) + sum(map(len, blocks)) == 100_000
    return sorted(taken)


def _extract_ms(box, share) -> float:
    repository = str(box.repository_path(share))
    began = time.perf_counter()
    done = box.borg(share, "extract", "--stdout", f"{repository}::bench-1", path_of(0).decode())
    assert len(done.stdout) == 100_000, done.stderr
    return (time.perf_counter() - began) * 1000


def test_the_first_byte_at_rest(scene):
    """Every file a first time, against what `borg extract` needs."""
    box, share, _ = scene
    began = time.perf_counter()
    _first_bytes(box, share, 1)
    opening = (time.perf_counter() - began) * 1000
    taken = _first_bytes(box, share, 400)
    peer = _extract_ms(box, share)
    p50, p95 = statistics.median(taken), taken[int(len(taken) * 0.95)]
    record(
        f"first byte of 100 KB out of {FILES:,} files, at the socket, p50 (ms)",
        p50,
        BAR_MS,
        p50 <= BAR_MS,
        {"p95": round(p95, 1), "very first": round(opening), "borg extract": round(peer)},
    )
    assert p50 <= BAR_MS


def test_the_first_byte_while_a_backup_of_that_source_runs(scene, tmp_path):
    """The same while `borg create` writes into that repository, holding its lock."""
    box, share, _ = scene
    dice = random.Random(5)
    busy = tmp_path / "busy"
    busy.mkdir()
    for number in range(60):
        (busy / str(number)).write_bytes(dice.randbytes(10_000_000))
    repository = str(box.repository_path(share))
    process = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("borg")),
            "create",
            f"{repository}::bench-2",
            str(busy),
        ],
        env={
            "PATH": os.environ["PATH"],
            "BORG_BASE_DIR": str(box.settings.borg_home),
            "BORG_PASSPHRASE": box.passphrase(share).reveal().decode(),
        },
    )
    try:
        deadline = time.monotonic() + 20
        while not (box.repository_path(share) / "lock.exclusive").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        taken: list[float] = []
        while process.poll() is None:
            taken += _first_bytes(box, share, 20)
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()
    taken.sort()
    p50, p95 = statistics.median(taken), taken[int(len(taken) * 0.95)]
    record(
        "first byte while a backup of that source runs, p50 (ms)",
        p50,
        BAR_MS,
        p50 <= BAR_MS,
        {"p95": round(p95, 1), "files read": len(taken)},
    )
    assert len(taken) >= 40
    assert p50 <= BAR_MS


def test_the_memory_of_the_reader(scene):
    """With one repository of 300,000 files open."""
    _, _, reader = scene
    status = Path(f"/proc/{reader.process.pid}/status").read_text()
    resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
    record("reader's memory with one repository open (MB)", resident, 200, resident <= 200, {})
    assert resident <= 200
