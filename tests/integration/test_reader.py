"""Files out of snapshots: real Borg, the real process, the real socket."""

import asyncio
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.backup_jobs.reader import SnapshotReader
from appliance.catalogue import query
from appliance.catalogue.reader_client import open_file, open_file_async
from appliance.catalogue.store import of_source
from appliance.errors import (
    CatalogueDamaged,
    CatalogueMissing,
    ChunkMissing,
    InvalidInput,
    NotFound,
    RepositoryDamaged,
    RepositoryMissing,
    SnapshotMissing,
    WorkerUnreachable,
)
from appliance.jobs.kinds import Prune
from appliance.model import Snapshot, Source
from tests.support.box import Box
from tests.support.reading import ReaderProcess

pytestmark = pytest.mark.integration

DICE = random.Random(7)
RADIO = "Dupont Élodie/radio.dcm"
BIG = DICE.randbytes(9_000_000)  # several chunks


def _fill(made: Path) -> Path:
    (made / "Dupont Élodie").mkdir(parents=True)
    (made / "Dupont Élodie" / "radio.dcm").write_bytes(BIG)
    (made / "Dupont Élodie" / "lettre.txt").write_text("Chère consœur,\n")
    (made / "empty").write_bytes(b"")
    (made / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"latin")
    for number in range(60):
        (made / f"{number:03}.txt").write_text(f"file {number}\n" * 50)
    return made


@dataclass
class Scene:
    """A share with one night, and what reads it."""

    box: Box
    folder: Path
    share: Source
    snapshot: Snapshot
    reader: ReaderProcess

    def path(self, name: str = RADIO) -> bytes:
        return stored(self.folder / name)

    def read(self, name: str = RADIO, *part: int, of: Snapshot | None = None):
        snapshot = of or self.snapshot
        return self.reader.read(self.share.id, snapshot.id, self.path(name), *part)

    def repository(self) -> Path:
        return self.box.repository_path(self.share)


@contextmanager
def _scene(place: Path) -> Iterator[Scene]:
    box = Box(place / "data")
    folder = _fill(place / "partage")
    share = box.add_share(folder)
    box.take(share)
    try:
        with ReaderProcess(box.settings) as reader:
            yield Scene(box, folder, share, box.newest(share), reader)
    finally:
        box.close()


@pytest.fixture
def scene(tmp_path):
    """Of one test's own: it may damage it."""
    with _scene(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """Shared by the tests that only look."""
    with _scene(tmp_path_factory.mktemp("reader")) as made:
        yield made


def stored(path: Path) -> bytes:
    return os.fsencode(path).lstrip(b"/")


def test_every_file_comes_back_as_it_was(still):
    """What was backed up is what is opened: empty, small, of several chunks, with any name."""
    snapshot = still.snapshot
    files = [
        entry
        for entry in query.walk(still.box.catalogue(still.share), snapshot.id)
        if entry.kind == "f"
    ]
    assert len(files) == 64
    for entry in files:
        content = Path(os.fsdecode(b"/" + entry.path)).read_bytes()
        assert still.reader.read(still.share.id, snapshot.id, entry.path) == content


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 1), (1, 2), (8_999_999, 1), (9_000_000, 5), (100, None), (4_000_000, 3_000_000), (5, 0)],
)
def test_a_part_of_a_file_is_that_part(still, offset, length):
    """A browser jumps in a film: only what it asked for is read."""
    path = still.path()
    snapshot = still.snapshot
    with open_file(still.box.settings, still.share.id, snapshot.id, path, offset, length) as file:
        end = None if length is None else offset + length
        assert (file.size, file.offset, file.length) == (len(BIG), offset, len(BIG[offset:end]))
        assert file.mtime_ns == (still.folder / RADIO).stat().st_mtime_ns
        assert b"".join(file.blocks) == BIG[offset:end]


def test_the_web_reads_without_blocking(still):
    """The same over an event loop, several at once."""
    snapshot = still.snapshot
    path = still.path()

    async def read(offset: int) -> bytes:
        file = await open_file_async(still.box.settings, still.share.id, snapshot.id, path, offset)
        return b"".join([block async for block in file.blocks])

    async def read_all() -> list[bytes]:
        return await asyncio.gather(*(read(n * 1_000_000) for n in range(5)))

    assert asyncio.run(read_all()) == [BIG[n * 1_000_000 :] for n in range(5)]
    with pytest.raises(NotFound):
        asyncio.run(open_file_async(still.box.settings, still.share.id, snapshot.id, b"nowhere"))


def test_what_cannot_be_had_is_said_as_its_own_error(scene):
    """Each reason has its sentence on the screen."""
    snapshot = scene.snapshot
    for wanted, error in (
        ((scene.share.id, snapshot.id, b"nowhere/at/all"), NotFound),
        ((scene.share.id, snapshot.id, scene.path("Dupont Élodie")), NotFound),
        ((scene.share.id, snapshot.id + 1, scene.path("empty")), SnapshotMissing),
        ((scene.share.id + 1, snapshot.id, scene.path("empty")), CatalogueMissing),
        ((scene.share.id, snapshot.id, scene.path("empty"), 1), InvalidInput),
    ):
        with pytest.raises(error):
            open_file(scene.box.settings, *wanted)
    with pytest.raises(NotFound) as raised:
        open_file(scene.box.settings, scene.share.id, snapshot.id, b"patients/DUPONT")
    assert raised.value.identity == "patients/DUPONT"
    log = scene.reader.stop()
    assert b"DUPONT" not in log
    assert b"nowhere" not in log


def test_no_worker_is_said_at_once(scene):
    """The page says to try again in a minute, and does not wait."""
    scene.reader.stop()
    began = time.monotonic()
    with pytest.raises(WorkerUnreachable):
        open_file(scene.box.settings, scene.share.id, scene.snapshot.id, b"x")
    with pytest.raises(WorkerUnreachable):
        asyncio.run(open_file_async(scene.box.settings, scene.share.id, scene.snapshot.id, b"x"))
    assert time.monotonic() - began < 25


def test_files_are_read_while_borg_writes_prunes_and_compacts(scene):
    """A backup of two hours is no reason that nothing can be opened for two hours."""
    first = scene.snapshot
    wanted = [
        entry
        for entry in query.walk(scene.box.catalogue(scene.share), first.id)
        if entry.kind == "f"
    ]
    contents = {entry.path: Path(os.fsdecode(b"/" + entry.path)).read_bytes() for entry in wanted}
    repository = str(scene.repository())
    over = threading.Event()
    failures: list[str] = []

    def write() -> None:
        for turn in range(4):
            (scene.folder / "changing").write_bytes(DICE.randbytes(3_000_000))
            for verb in (
                ("create", f"{repository}::loud-{turn}", str(scene.folder)),
                ("delete", f"{repository}::loud-{turn}"),
                ("compact", "--threshold", "0", repository),
            ):
                done = scene.box.borg(scene.share, *verb)
                if done.returncode:
                    failures.append(done.stderr.decode())
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    count = 0
    while not over.is_set():
        for entry in DICE.sample(wanted, 20):
            assert scene.reader.read(scene.share.id, first.id, entry.path) == contents[entry.path]
            count += 1
    thread.join()
    assert not failures
    assert count > 100
    assert scene.box.borg(scene.share, "check", repository).returncode == 0


def test_files_are_read_while_our_own_jobs_run(scene):
    """Nights and prunings of the box itself, catalogue and all."""
    first = scene.snapshot
    scene.box.change_plan(scene.share, keep=scene.share.plan.keep)
    path = scene.path()
    for turn in range(2):
        (scene.folder / "001.txt").write_text(f"night {turn}")
        night = threading.Thread(target=scene.box.take, args=(scene.share,))
        night.start()
        while night.is_alive():
            assert scene.read(RADIO, 4_000_000, 1_000) == BIG[4_000_000:4_001_000]
        night.join()
    newest = scene.box.newest(scene.share)
    assert scene.read("001.txt", of=newest) == b"night 1"
    assert newest.id != first.id
    assert scene.box.run(Prune(scene.share.id)).value in {"succeeded", "warned"}
    assert scene.read(of=newest) == BIG


def test_a_snapshot_that_was_removed_meanwhile_is_not_a_damage(scene):
    """Removed by another hand, not yet in the list: «open it again», not «your disk is dying»."""
    (scene.folder / "other").write_text("keeps the repository alive")
    first = scene.snapshot
    opened = SnapshotReader(scene.box.settings, lambda: scene.box.database, cache_bytes=0)
    path = scene.path()
    reading = opened.read(scene.share.id, first.id, path)
    assert BIG.startswith(next(reading))
    opened.drop_idle(0)  # what is open keeps even removed segments readable
    repository = str(scene.repository())
    assert scene.box.borg(scene.share, "delete", f"{repository}::{first.archive}").returncode == 0
    assert scene.box.borg(scene.share, "compact", "--threshold", "0", repository).returncode == 0
    with pytest.raises(ChunkMissing):
        list(reading)
    scene.box.catalogue(scene.share).forget([first.id])
    with pytest.raises(SnapshotMissing):
        opened.open(scene.share.id, first.id, path)
    opened.close()


@pytest.mark.fault
def test_a_flipped_bit_is_damage_and_never_a_wrong_byte(scene):
    """The file stops with an error; what was sent before is right; the log names ids only."""
    snapshot = scene.snapshot
    for segment in sorted((scene.repository() / "data").rglob("[0-9]*")):
        if segment.is_file() and segment.stat().st_size > 1_000_000:
            with segment.open("r+b") as file:
                for place in range(500_000, segment.stat().st_size - 100_000, 500_000):
                    file.seek(place)
                    old = file.read(1)
                    file.seek(place)
                    file.write(bytes([old[0] ^ 1]))
    path = scene.path()
    got = b""
    with pytest.raises(RepositoryDamaged):
        with open_file(scene.box.settings, scene.share.id, snapshot.id, path) as file:
            for block in file.blocks:
                got += block
    assert BIG.startswith(got)
    log = scene.reader.stop()
    assert re.search(
        rb"source %d snapshot %d chunk [0-9a-f]{64}" % (scene.share.id, snapshot.id), log
    )
    assert b"Dupont" not in log


@pytest.mark.fault
def test_an_unplugged_disk_is_said_and_reading_goes_on_when_it_is_back(scene):
    """No restart is needed."""
    snapshot = scene.snapshot
    place = scene.repository()
    away = place.with_name("away")
    place.rename(away)
    with pytest.raises(RepositoryMissing):
        scene.read("001.txt")
    away.rename(place)
    assert scene.read("001.txt").startswith(b"file 1")


def test_a_catalogue_that_is_damaged_is_said(scene):
    """It names the way out: making the list again."""
    snapshot = scene.snapshot
    path = scene.box.settings.catalogues / f"{scene.share.id}.sqlite"
    of_source(scene.box.settings, scene.share.id).close()
    for each in path.parent.glob(f"{path.name}-*"):
        each.unlink()
    path.write_bytes(b"\xff" * 100_000)
    with pytest.raises(CatalogueDamaged):
        scene.read("001.txt")


def _raw(reader: ReaderProcess) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX)
    channel.settimeout(60)
    folder = os.open(reader.settings.run, os.O_PATH)
    try:
        channel.connect(f"/proc/self/fd/{folder}/reader.sock")
    finally:
        os.close(folder)
    return channel


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 5) + b"hello",
        struct.pack(">I", 0xFFFFFFFF),
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 20_000) + b"[" * 20_000,
        struct.pack(">I", 13) + b'{"version":1}',
        struct.pack(">I", 13) + b'{"version":2}',
        struct.pack(">I", 100) + b"cut",
        b"",
    ],
)
def test_what_is_no_request_is_dropped_and_nobody_else_notices(still, sent):
    """One confused or hostile client does not end the process."""
    with _raw(still.reader) as channel:
        channel.sendall(sent)
        channel.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):  # it was closed before all of it was read
            assert channel.recv(100) == b""
    assert still.read("empty") == b""


def test_one_connection_may_ask_again(still):
    """After a whole answer, the next request may follow."""
    wanted = {
        "version": 1,
        "source": still.share.id,
        "snapshot": still.snapshot.id,
        "path": "bm93aGVyZQ==",
        "offset": 0,
        "length": None,
    }
    body = json.dumps(wanted).encode()
    with _raw(still.reader) as channel:
        for _ in range(2):
            channel.sendall(struct.pack(">I", len(body)) + body)
            (size,) = struct.unpack(">I", channel.recv(4))
            assert json.loads(channel.recv(size))["code"] == "input.not-found"


def test_closing_is_cancelling(still):
    """Who closes the tab costs nothing more; a client that never reads holds up nobody."""
    snapshot = still.snapshot
    path = still.path()
    stalled = [open_file(still.box.settings, still.share.id, snapshot.id, path) for _ in range(20)]
    began = time.monotonic()
    assert still.read() == BIG
    assert time.monotonic() - began < 20
    for each in stalled:
        each.close()
    deadline = time.monotonic() + 60
    threads = Path(f"/proc/{still.reader.process.pid}/task")
    while len(list(threads.iterdir())) > 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed to be refused")
def test_another_user_of_the_box_is_refused(scene):
    """The socket's mode keeps strangers out, and who got past it is asked who he is."""
    place = scene.box.settings.reader_socket
    assert place.stat().st_mode & 0o777 == 0o660
    place.chmod(0o666)
    place.parent.chmod(0o755)
    asked = """
import os, socket, sys
channel = socket.socket(socket.AF_UNIX)
os.chdir(sys.argv[1])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
channel.connect("reader.sock")
assert channel.recv(1) == b""
"""
    done = subprocess.run(
        [sys.executable, "-c", asked, str(scene.box.settings.run)], check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"another user was refused" in scene.reader.stop()


def test_a_second_reader_takes_over_and_the_first_one_ends(scene):
    """After a worker was killed, its old reader does not stay for ever."""
    with ReaderProcess(scene.box.settings):
        deadline = time.monotonic() + 60
        while scene.reader.process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert scene.reader.process.returncode == 0
        path = scene.path("001.txt")
        assert scene.reader.read(scene.share.id, scene.box.newest(scene.share).id, path).startswith(
            b"file 1"
        )
    assert not scene.box.settings.reader_socket.exists()


def test_at_rest_the_reader_is_small(scene):
    """Borg is not in memory before the first file is asked for."""
    status = Path(f"/proc/{scene.reader.process.pid}/status").read_text()
    (resident,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    assert int(resident) < 45_000
    maps = Path(f"/proc/{scene.reader.process.pid}/maps").read_text()
    assert "borg" not in maps


def test_repositories_are_closed_when_nobody_reads(still):
    """And one that is being read is not."""
    opened = SnapshotReader(still.box.settings, lambda: still.box.database, cache_bytes=0)
    path = still.path()
    snapshot = still.snapshot
    reading = opened.read(still.share.id, snapshot.id, path)
    first = next(reading)
    assert opened.drop_idle(0) == 0
    assert first + b"".join(reading) == BIG
    assert opened.drop_idle(60) == 1
    assert opened.drop_idle(0) == 0
    assert opened.open(still.share.id, snapshot.id, path).size == len(BIG)
    opened.close()


def test_no_more_repositories_are_held_open_than_allowed(scene, tmp_path):
    """A practice with thirty sources does not fill the memory of a small box."""
    box, other = scene.box, tmp_path / "autre"
    other.mkdir()
    (other / "a.txt").write_text("other")
    second = box.add_share(other, name="autre")
    box.take(second)
    opened = SnapshotReader(box.settings, lambda: box.database, most_open=1)
    for _ in range(2):
        found = opened.read(second.id, box.newest(second).id, stored(other / "a.txt"))
        assert b"".join(found) == b"other"
        assert b"".join(opened.read(scene.share.id, scene.snapshot.id, scene.path())) == BIG
        assert opened.drop_idle(3600) == 1
    opened.close()


def test_the_process_ends_on_sigterm(scene):
    """systemd does not have to kill it."""
    began = time.monotonic()
    scene.reader.stop()
    assert scene.reader.process.returncode == 0
    assert time.monotonic() - began < 20
    assert not scene.box.settings.reader_socket.exists()
