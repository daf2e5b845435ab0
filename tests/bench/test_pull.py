"""The engine against a local `borg create` of the same files, in the same run.

The machine is a real OpenSSH server behind a line with a round trip of 0.7 ms. Every measurement is a
whole process: start of Python, connection, walk, read, commit. ``ARMOIRE_BENCH_SCALE=0.1`` makes a
tenth of the files.
"""

import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.backup_jobs import borg_library as library
from appliance.vault.secret import Secret
from tests.bench.report import record
from tests.support.delay import DelayProxy
from tests.support.sshd import SshServer, make_key

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

SCALE = float(os.environ.get("ARMOIRE_BENCH_SCALE", "1"))
PASSPHRASE = "bench"
BORG = str(Path(sys.executable).with_name("borg"))
LONG_AGO = 1_700_000_000


@dataclass
class Ground:
    """A machine behind a line, and two repositories: ours and the local one."""

    folder: Path
    port: int
    user: str
    host_key: str
    archives: int = 0
    last: dict = field(default_factory=dict)

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    def pull(self, **instead: object) -> float:
        """Pull the tree; seconds."""
        self.archives += 1
        order = {
            **instead,
            "port": self.port,
            "user": self.user,
            "host_key": self.host_key,
            "key": str(self.folder / "key"),
            "root": "/data" if instead else str(self.tree),
            "repository": str(self.folder / "pulled"),
            "passphrase": PASSPHRASE,
            "home": str(self.folder / "home"),
            "archive": f"night-{self.archives}",
        }
        script = str(Path(__file__).with_name("pull_once.py"))
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, script, json.dumps(order)],
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        seconds = time.monotonic() - started
        assert done.returncode == 0, done.stderr.decode()
        self.last = json.loads(done.stdout)
        return seconds

    def local(self) -> float:
        """`borg create` of the same files on this disk; seconds."""
        self.archives += 1
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        subprocess.run(
            [
                BORG,
                "create",
                "--compression",
                "zstd,3",
                f"{self.folder / 'local'}::night-{self.archives}",
                str(self.tree),
            ],
            env={
                "PATH": os.environ["PATH"],
                "BORG_BASE_DIR": str(self.folder / "home"),
                "BORG_PASSPHRASE": PASSPHRASE,
                "LC_ALL": "C.UTF-8",
            },
            check=True,
            capture_output=True,
        )
        seconds = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.last["local_cpu_s"] = round(used, 2)
        return seconds

    def check(self) -> None:
        """Plain Borg must find nothing wrong with what was just written so fast."""
        subprocess.run(
            [BORG, "check", "--repository-only", str(self.folder / "pulled")],
            env={
                "PATH": os.environ["PATH"],
                "BORG_BASE_DIR": str(self.folder / "home"),
                "BORG_PASSPHRASE": PASSPHRASE,
            },
            check=True,
            capture_output=True,
        )


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    for name in ("pulled", "local"):
        library.create_repository(tmp_path / name, Secret(PASSPHRASE.encode()), tmp_path / "home")
    with SshServer() as server:
        server.authorize(make_key(tmp_path / "key"))
        with DelayProxy(server.port, rtt_ms=0.7) as line:
            yield Ground(tmp_path, line.port, server.user, server.host_key)
    shutil.rmtree(tmp_path, ignore_errors=True)


def content(rng: random.Random, size: int) -> bytes:
    """Bytes like a practice's: about half of them compress well."""
    half = size // 2
    return rng.randbytes(half) + (rng.randbytes(64) * (1 + half // 64))[: size - half]


def fill_small(tree: Path, count: int) -> None:
    """``count`` files of 1 to 64 KiB, small ones more often, 100 in a folder."""
    rng = random.Random(1)
    for number in range(count):
        folder = tree / f"{number // 5000:03}" / f"{number // 100:04}"
        if number % 100 == 0:
            folder.mkdir(parents=True)
        path = folder / f"lettre {number:06}.pdf"
        path.write_bytes(content(rng, int(1024 * 64 ** rng.random())))
        os.utime(path, (LONG_AGO, LONG_AGO + number))


def change(tree: Path, share: float, night: int) -> None:
    """Write this share of the files anew, spread over the tree, a while ago."""
    rng = random.Random(night)
    for path in sorted(tree.rglob("*.pdf"))[night :: int(1 / share)]:
        path.write_bytes(content(rng, path.stat().st_size))
        os.utime(path, (LONG_AGO, LONG_AGO + 10_000_000 + night))


def compare(
    ground: Ground,
    name: str,
    bar: float,
    *,
    rounds: int = 1,
    before: Callable[[int], None] = lambda _night: None,
) -> bool:
    """Alternate pull and local Borg; the middle of the ratios counts, all of them are shown."""
    ratios, times = [], []
    for night in range(rounds):
        before(night)
        ours = ground.pull()
        local = ground.local()
        ratios.append(ours / local)
        times.append(f"{ours:.2f}/{local:.2f}")
    ratio = statistics.median(ratios)
    return record(name, ratio, bar, ratio <= bar, {"seconds": " ".join(times), **ground.last}).ok


def test_fifty_thousand_small_files(ground):
    """First ≤ 1.3 × local, nothing changed and 1 % changed ≤ 0.9 ×, ≤ 150 MB."""
    count = int(50_000 * SCALE)
    fill_small(ground.tree, count)
    results = [compare(ground, f"pull {count} small files, first / local", 1.3)]
    first_memory = ground.last["memory_mb"]
    results.append(compare(ground, "pull, nothing changed / local", 0.9, rounds=3))
    assert ground.last["changed"] == 0
    results.append(
        compare(
            ground,
            "pull, 1 % changed / local",
            0.9,
            rounds=3,
            before=lambda night: change(ground.tree, 0.01, night),
        )
    )
    assert ground.last["changed"] == count // 100
    memory = max(first_memory, ground.last["memory_mb"])
    results.append(record("pull, peak memory, MB", memory, 150, memory <= 150, {}).ok)
    ground.check()
    assert all(results)


def test_two_gigabytes_in_twenty_files(ground):
    """First ≤ 1.3 × local."""
    rng = random.Random(3)
    ground.tree.mkdir()
    for number in range(20):
        path = ground.tree / f"scan {number:02}.dcm"
        with path.open("wb") as file:
            for _ in range(max(1, int(100 * SCALE))):
                file.write(content(rng, 1024 * 1024))
        os.utime(path, (LONG_AGO, LONG_AGO))
    results = [compare(ground, "pull 2 GB in 20 files, first / local", 1.3)]
    memory = ground.last["memory_mb"]
    results.append(record("pull 2 GB, peak memory, MB", memory, 150, memory <= 150, {}).ok)
    results.append(compare(ground, "pull 2 GB, nothing changed / local (no bar)", 99))
    ground.check()
    assert all(results)


def test_one_file_of_ten_gigabytes_keeps_memory_flat(ground):
    """Whole and right in the archive, in the memory of any other night; its middle is a hole."""
    ground.tree.mkdir()
    path = ground.tree / "irm.raw"
    block = random.Random(4).randbytes(1024 * 1024)
    with path.open("wb") as file:
        file.write(block)
        file.seek(int(10_000_000_000 * SCALE))
        file.write(block)
    os.utime(path, (LONG_AGO, LONG_AGO))
    seconds = ground.pull()
    memory = ground.last["memory_mb"]
    details = {"seconds": round(seconds, 1), "GB": round(path.stat().st_size / 1e9, 1)}
    row = record("pull one file of 10 GB, peak memory, MB", memory, 150, memory <= 150, details)
    assert ground.last["files"] == 1
    assert row.ok


def test_a_million_files_stay_under_600_mb(ground):
    """The files are made up by a server of our own as they are asked for; memory only."""
    count = int(1_000_000 * SCALE)
    script = str(Path(__file__).with_name("generated_machine.py"))
    command = [sys.executable, script, str(count)]
    results = []
    for night in ("first", "nothing changed"):
        seconds = ground.pull(command=command)
        memory = ground.last["memory_mb"]
        details = {"seconds": round(seconds, 1), **ground.last}
        name = f"pull {count} files, {night}, peak memory, MB"
        results.append(record(name, memory, 600, memory <= 600, details).ok)
    assert ground.last["changed"] == 0
    assert all(results)
