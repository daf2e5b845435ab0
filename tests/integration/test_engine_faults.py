"""Cuts, kills and full disks: no half snapshot, nothing sent twice, the next night is whole."""

import json
import os
import random
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.backup_jobs import borg_library as library
from appliance.backup_jobs import sftp, ssh
from appliance.backup_jobs.sources.pulled import PullOptions
from appliance.errors import ConnectionLost, NoSpace, RepositoryMissing, RepositoryReplaced
from appliance.model import EntryKind
from tests.support import trees
from tests.support.delay import DelayProxy
from tests.support.engine import PASSPHRASE, Box, endpoint_of, new_box

pytestmark = [pytest.mark.integration, pytest.mark.fault]

LONG_AGO = 1_700_000_000
EXACT = PullOptions(default_excludes=False)
MB = 1_000_000


@pytest.fixture
def box(tmp_path) -> Box:
    return new_box(tmp_path)


def aged(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def fill(tree: Path, *, large: int, large_bytes: int, small: int) -> int:
    """Random files, so that nothing is the same twice; return their bytes."""
    for number in range(large):
        aged(tree / f"large {number}", os.urandom(large_bytes))
    for number in range(small):
        aged(tree / f"{number % 5}" / f"small {number}", os.urandom(20_000))
    return large * large_bytes + small * 20_000


def same_tree(tree: Path, restored: Path) -> bool:
    there, here = trees.snapshot_of_tree(tree), trees.snapshot_of_tree(restored)
    for seen in (there, here):
        seen.pop(b"")  # the top's own time
    return {path: (s.kind, s.mode, s.size, s.content) for path, s in there.items()} == {
        path: (s.kind, s.mode, s.size, s.content) for path, s in here.items()
    }


def test_a_line_cut_in_the_middle_of_a_file_goes_on_where_it_was(box, sshd, tmp_path):
    """What was read is kept, the second run does not read it again, and the file is whole."""
    tree = tmp_path / "tree"
    total = fill(tree, large=1, large_bytes=40 * MB, small=20)
    with DelayProxy(sshd.port, rtt_ms=0.2, cut_after_bytes=28 * MB) as line:
        machine = endpoint_of(sshd, port=line.port)
        with pytest.raises(ConnectionLost) as raised:
            box.take(machine, (str(tree),), options=EXACT)
        assert raised.value.retryable
        assert box.archives(checkpoints=False) == []
        assert len(box.archives()) == 1
        box.borg("check", "--verify-data", str(box.repository))
        first = line.counts()["from_server"]
        taken, _night = box.take(machine, (str(tree),), options=EXACT)
        second = line.counts()["from_server"] - first
    # On the way when it was cut: the window of 4 MiB, and the chunk that was not whole, 8 MiB at most.
    assert second < total - 28 * MB + 14 * MB
    assert box.archives() == [taken.archive]
    box.check()
    assert same_tree(tree, box.extract(taken.archive) / str(tree)[1:])


def test_a_file_that_changed_since_the_cut_is_read_from_its_beginning(box, sshd, tmp_path):
    """A kept beginning is only good for the same file."""
    path = aged(tmp_path / "tree" / "large", os.urandom(30 * MB))
    with DelayProxy(sshd.port, rtt_ms=0.2, cut_after_bytes=20 * MB) as line:
        machine = endpoint_of(sshd, port=line.port)
        with pytest.raises(ConnectionLost):
            box.take(machine, (str(tmp_path / "tree"),), options=EXACT)
        data = os.urandom(30 * MB)
        path.write_bytes(data)
        os.utime(path, (LONG_AGO, LONG_AGO + 60))
        box.take(machine, (str(tmp_path / "tree"),), options=EXACT)
    assert box.content(os.fsencode(path)[1:]) == data
    box.check()


def test_a_line_that_falls_silent_is_lost(box, sshd, tmp_path):
    """Open, but nothing comes: given up after the time that was set, and kept as after a cut."""
    tree = tmp_path / "tree"
    fill(tree, large=2, large_bytes=10 * MB, small=5)

    with DelayProxy(sshd.port, rtt_ms=0.2, rate_bytes_s=20 * MB) as line:
        machine = endpoint_of(sshd, port=line.port)

        @contextmanager
        def impatient():
            with ssh.open_line(machine, subsystem="sftp") as opened:
                yield sftp.Pipeline(opened, stall_s=1.0)

        class Stalling:
            def report(self, done, *_args, **_named) -> None:
                if done > 3 * MB:
                    line.stall()

            def should_stop(self) -> bool:
                return False

        started = time.monotonic()
        with pytest.raises(ConnectionLost):
            box.take(impatient, (str(tree),), options=EXACT, context=Stalling())
        assert time.monotonic() - started < 30
    box.borg("check", str(box.repository))


PROCESS = """
import json, sys
from pathlib import Path
from appliance.backup_jobs.sources.pulled import PullOptions
from appliance.backup_jobs.ssh import Endpoint
from appliance.vault.secret import Secret
from tests.support.engine import Box
order = json.loads(sys.argv[1])
box = Box(Path(order["folder"]), Path(order["repository"]), Path(order["home"]), order["newest"])
box.count = order["count"]
point = Endpoint("127.0.0.1", order["port"], order["user"], order["host_key"],
                 Secret(Path(order["key"]).read_bytes()))
options = PullOptions(default_excludes=False, checkpoint_s=order["checkpoint_s"])
taken, night = box.take(point, (order["root"],), options=options)
print(taken.archive_id)
"""


def start_night(box: Box, machine: ssh.Endpoint, root: Path, number: int, checkpoint_s: float):
    """The engine in a process of its own, as the worker runs it."""
    key = box.folder / "key"
    key.write_bytes(machine.key.reveal())
    order = {
        "folder": str(box.folder),
        "repository": str(box.repository),
        "home": str(box.home),
        "newest": box.newest,
        "count": number,
        "port": machine.port,
        "user": machine.user,
        "host_key": machine.host_key,
        "key": str(key),
        "root": str(root),
        "checkpoint_s": checkpoint_s,
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, json.dumps(order)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        start_new_session=True,
    )


def test_killed_at_any_moment_the_next_night_is_whole_and_sends_nothing_twice(box, sshd, tmp_path):
    """kill -9 at random points: what is listed can be restored, what was checkpointed is not resent."""
    tree = tmp_path / "tree"
    total = fill(tree, large=3, large_bytes=15 * MB, small=100)
    rate, checkpoint_s = 25 * MB, 0.2
    rng = random.Random(int(os.environ.get("ARMOIRE_KILL_SEED", "5")))
    with DelayProxy(sshd.port, rtt_ms=0.2, rate_bytes_s=rate) as line:
        machine = endpoint_of(sshd, port=line.port)
        kills = 0
        finished = None
        for attempt in range(1, 40):
            night = start_night(box, machine, tree, attempt, checkpoint_s)
            pause = 0.5 + rng.random() * 1.5 if kills < 5 else 60.0
            try:
                out, err = night.communicate(timeout=pause)
            except subprocess.TimeoutExpired:
                night.kill()
                night.communicate()
                kills += 1
                if names := box.archives(checkpoints=False):
                    finished = names[0]  # killed between its last commit and its last word
                    break
                continue
            assert night.returncode == 0, err.decode()
            finished = out.decode().strip()
            break
        sent = line.counts()["from_server"]
    assert finished is not None
    assert kills >= 2
    box.newest = finished
    (name,) = box.archives()
    box.borg("check", "--verify-data", str(box.repository))
    assert same_tree(tree, box.extract(name) / str(tree)[1:])
    # Per kill: what came since the last checkpoint, what was in flight, and what the chunker held.
    assert sent < total + kills * (rate * (checkpoint_s + 0.6) + 20 * MB)


@contextmanager
def file_limit(size: int):
    """Every file this process writes ends at ``size`` bytes: a full disk without being root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_while_reading_is_said_and_harms_nothing(box, sshd, tmp_path):
    """A clear error, the snapshots before it untouched, and the next night works."""
    tree = tmp_path / "tree"
    aged(tree / "a", b"a")
    machine = endpoint_of(sshd)
    first, _night = box.take(machine, (str(tree),), options=EXACT)
    fill(tree, large=1, large_bytes=12 * MB, small=3)
    with file_limit(4 * MB):
        with pytest.raises(NoSpace):
            box.take(machine, (str(tree),), options=EXACT)
    assert box.archives() == [first.archive]
    box.borg("check", "--verify-data", str(box.repository))
    second, _night = box.take(machine, (str(tree),), options=EXACT)
    assert second.files_seen == 5
    box.check()


def test_a_full_disk_before_reading_and_at_the_commit_is_said_and_harms_nothing(sshd, tmp_path):
    """On a real small file system: too little for a commit, then none at all, then space again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount")
    try:
        box = new_box(disk)
        tree = tmp_path / "tree"
        aged(tree / "a", os.urandom(2 * MB))
        machine = endpoint_of(sshd)
        first, _night = box.take(machine, (str(tree),), options=EXACT)
        aged(tree / "b", os.urandom(3 * MB))
        filler = disk / "filler"
        for left in (3_100_000, 200_000, 0):  # at the commit, while reading, before
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            filler.write_bytes(bytes(max(free - left, 0)))
            with pytest.raises(NoSpace):
                box.take(machine, (str(tree),), options=EXACT)
            filler.unlink()
            assert box.archives(checkpoints=False) == [first.archive]
            box.borg("check", "--verify-data", str(box.repository))
        taken, _night = box.take(machine, (str(tree),), options=EXACT)
        assert taken.changed == 1
        box.check()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_repository_whose_disk_was_unplugged_is_missing_not_empty(box, sshd, tmp_path):
    """Nothing is written into the empty mount point."""
    aged(tmp_path / "tree" / "a", b"a")
    box.repository.rename(tmp_path / "elsewhere")
    box.repository.mkdir()
    with pytest.raises(RepositoryMissing):
        box.take(endpoint_of(sshd), (str(tmp_path / "tree"),))
    assert list(box.repository.iterdir()) == []


def test_another_repository_at_its_place_is_not_written(box, sshd, tmp_path):
    """The id is what counts."""
    with box.open() as opened:
        identity = opened.id
    box.repository.rename(tmp_path / "elsewhere")
    library.create_repository(box.repository, PASSPHRASE, box.home)
    with pytest.raises(RepositoryReplaced):
        with library.open_repository(
            box.repository, PASSPHRASE, box.home, expected_id=identity, mode=library.Mode.WRITE
        ):
            pass


def test_files_written_while_they_are_read_are_kept_and_named(box, sshd, tmp_path):
    """A file that is appended to all the time: a beginning that was true, and an event."""
    tree = tmp_path / "tree"
    log = aged(tree / "log", b"x" * 400_000)
    code = (
        "import sys, time\n"
        "with open(sys.argv[1], 'ab', buffering=0) as f:\n"
        "    end = time.time() + 30\n"
        "    while time.time() < end: f.write(b'y' * 5000), time.sleep(0.001)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(log)])
    try:
        time.sleep(0.2)
        taken, _night = box.take(endpoint_of(sshd), (str(tree),), options=EXACT)
    finally:
        writer.kill()
        writer.wait()
    assert sum(taken.event_counts.values()) == 1
    found = {path: e for path, e in box.entries().items() if e.kind is EntryKind.FILE}
    assert log.read_bytes().startswith(box.content(os.fsencode(log)[1:]))
    assert len(found) == 1
    box.check()
