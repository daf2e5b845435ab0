"""The box's own disk: full before, during and at the end of a night; unplugged; two nights at once."""

import os
import random
import subprocess
import sys

import pytest

from appliance.db import restore_sheets
from appliance.errors import (
    ClockWrong,
    KeyMissing,
    NoSpace,
    RepositoryLocked,
    RepositoryMissing,
)
from appliance.jobs.kinds import RestoreFiles
from appliance.model import JobState
from appliance.packed import pack_path
from tests.support import small_disk
from tests.support.box import ROOT, Box
from tests.support.trees import make_small_tree

pytestmark = [pytest.mark.fault, pytest.mark.integration]

MIB = 1024 * 1024
#: What the second night brings: more than a segment, so that the disk fills while it is read.
NEW_BYTES = 12 * MIB
as_root = os.geteuid() == 0


@pytest.fixture
def box(tmp_path):
    made = Box(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "source"
    made.mkdir()
    make_small_tree(made, files=15)
    return made


def bring_new_bytes(folder, number=0):
    rng = random.Random(number)
    for part in range(6):
        (folder / f"scan {number} {part}.bin").write_bytes(rng.randbytes(NEW_BYTES // 6))


def assert_fine_afterwards(box, source):
    """Space is back: the repository is whole, the next night is complete, everything agrees."""
    assert box.borg(source, "check", str(box.repository_path(source))).returncode == 0
    assert box.take(source) is JobState.SUCCEEDED
    box.assert_agreement(source)


@pytest.mark.parametrize("kind", ["share", "machine"])
@pytest.mark.parametrize("left", [0.02, 0.6, 0.985])
def test_a_disk_that_fills_up_is_a_clear_error_and_no_harm(box, sshd, folder, tmp_path, kind, left):
    """At once, in the middle, and at the commit: nothing is listed, nothing is broken."""
    source = box.add_share(folder) if kind == "share" else box.add_machine(sshd, folder)
    box.take(source)
    bring_new_bytes(folder)
    repository = box.repository_path(source)

    if as_root:
        home = repository.with_name("home")
        repository.rename(home)
        with small_disk.mounted(repository, 64 * MIB):
            subprocess.run(["cp", "-a", f"{home}/.", str(repository)], check=True)
            with small_disk.nearly_full(repository, int(left * NEW_BYTES)):
                with pytest.raises(NoSpace) as raised:
                    box.take(source)
            assert raised.value.retryable
            assert len(box.snapshots(source)) == 1
            assert_fine_afterwards(box, source)
        return
    with small_disk.no_file_larger_than(int(MIB * (1 + 6 * left))):
        with pytest.raises(NoSpace):
            box.take(source)
    assert len(box.snapshots(source)) == 1
    assert_fine_afterwards(box, source)


@pytest.mark.skipif(
    not as_root, reason="mounts a small disk; the file-size limit above runs for all"
)
def test_a_data_folder_that_is_full_loses_nothing(tmp_path, folder):
    """Database, catalogue and repository on one full disk: an error, then all is as it was."""
    data = tmp_path / "data"
    with small_disk.mounted(data, 64 * MIB):
        box = Box(data)
        share = box.add_share(folder)
        box.take(share)
        bring_new_bytes(folder)
        with small_disk.nearly_full(data, 300_000):
            with pytest.raises(Exception):
                box.take(share)
        box.interrupt_all()
        assert len(box.snapshots(share)) == 1
        assert_fine_afterwards(box, share)
        box.close()


@pytest.mark.skipif(not as_root, reason="mounts a small disk")
def test_a_restore_onto_a_full_disk_is_a_clear_error_with_a_sheet(box, folder, tmp_path):
    """No half file is left, and the sheet says what is there."""
    share = box.add_share(folder)
    bring_new_bytes(folder)
    box.take(share)
    out = tmp_path / "out"
    with small_disk.mounted(out, 5 * MIB):
        spec = RestoreFiles(
            share.id, box.newest(share).id, ("",), "folder", place=pack_path(os.fsencode(out))
        )
        with pytest.raises(NoSpace):
            box.run(spec)
        whole = [path for path in out.rglob("*") if path.is_file()]
        assert not [path for path in whole if path.name.endswith(".part")]
        assert all(
            path.stat().st_size == (folder / path.relative_to(_top(out, folder))).stat().st_size
            for path in whole
        )
        with box.database.read() as connection:
            assert restore_sheets.newest(connection)[0].files == len(whole)


def _top(out, folder):
    (top,) = out.iterdir()
    return top / str(folder).lstrip("/")


def test_an_unplugged_repository_disk_is_said_as_such(box, folder):
    """Its mount point is empty, or not even there: nothing is made anew."""
    share = box.add_share(folder)
    box.take(share)
    place = box.repository_path(share)
    away = place.with_name("away")
    place.rename(away)

    for prepare in (lambda: None, place.mkdir):
        prepare()
        with pytest.raises(RepositoryMissing):
            box.take(share)
    assert not list(place.iterdir())

    place.rmdir()
    away.rename(place)
    assert_fine_afterwards(box, share)


HOLD = """
import sys, time
from pathlib import Path
from appliance.backup_jobs.borg_library import Mode, open_repository
from appliance.vault.secret import Secret
with open_repository(Path(sys.argv[1]), Secret(sys.stdin.buffer.read()), Path(sys.argv[2]), mode=Mode.WRITE):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["share", "machine"])
def test_two_nights_at_once_do_each_other_no_harm(box, sshd, folder, kind, monkeypatch):
    """A living holder keeps its lock; the other is told to try again later."""
    monkeypatch.setattr("appliance.backup_jobs.workplace.LOCK_WAIT_S", 0.3)
    source = box.add_share(folder) if kind == "share" else box.add_machine(sshd, folder)
    box.take(source)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(box.repository_path(source)), str(box.settings.borg_home)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        holder.stdin.write(box.passphrase(source).reveal())
        holder.stdin.close()
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RepositoryLocked) as raised:
            box.take(source)
        assert raised.value.retryable
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()

    # Its holder is provably gone now: the lock is stale, and the next night breaks it.
    assert_fine_afterwards(box, source)


def test_a_box_without_its_key_says_so(box, folder):
    """No night, no new key: a new one would lock every repository out."""
    share = box.add_share(folder)
    box.take(share)
    key = box.settings.keys / "box.key"
    content = key.read_bytes()
    key.unlink()

    with pytest.raises(KeyMissing):
        box.take(share)

    assert not key.exists()
    key.write_bytes(content)
    assert_fine_afterwards(box, share)


def test_a_clock_that_went_back_by_a_day_takes_no_night(box, folder, monkeypatch):
    """And the night after it was set right is as any other."""
    from datetime import timedelta

    from appliance.backup_jobs import take_snapshot
    from appliance.clock import utc_now

    share = box.add_share(folder)
    box.take(share)
    with monkeypatch.context() as patch:
        patch.setattr(take_snapshot, "utc_now", lambda: utc_now() - timedelta(days=1))
        with pytest.raises(ClockWrong):
            box.take(share)

    assert len(box.snapshots(share)) == 1
    assert_fine_afterwards(box, share)
