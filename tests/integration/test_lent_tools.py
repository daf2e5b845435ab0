"""What the worker lends to the jobs on targets: Borg's lock, chunks, a share brought back whole."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from appliance.backup_jobs.borg_library_items import unpack_chunks
from appliance.backup_jobs.borg_library_lock import hold_lock
from appliance.clock import utc_now
from appliance.errors import (
    InvalidInput,
    JobCancelled,
    NotFound,
    RepositoryLocked,
    RepositoryMissing,
)
from appliance.jobs.kinds import SetUpSource
from appliance.model import BOX_SOURCE
from appliance.worker import box_source, wiring
from tests.support.box import ROOT, Box

pytestmark = pytest.mark.integration


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lent")
    share = folder / "partage"
    (share / "Dupont").mkdir(parents=True)
    (share / "Dupont" / "lettre.txt").write_bytes(b"Chere consoeur")
    (share / "Dupont" / "lettre.txt").chmod(0o640)
    os.utime(share / "Dupont" / "lettre.txt", ns=(0, 1_700_000_000_123_456_789))
    (share / "lien").symlink_to("Dupont/lettre.txt")
    (share / "agenda").write_bytes(b"x" * 100_000)
    try:
        os.setxattr(share / "agenda", "user.origine", b"secretariat")
        has_xattrs = True
    except OSError:
        has_xattrs = False
    (share / "Dupont").chmod(0o2750 & 0o1777)
    made = Box(folder / "data")
    made.has_xattrs = has_xattrs
    made.folder = share
    made.share = made.add_share(share)
    made.night(made.share)
    yield made
    made.close()


# --- the lock --------------------------------------------------------------------------------


def test_while_it_is_held_no_borg_comes_in_and_afterwards_it_does(box):
    """Neither another process nor this one; nothing is left behind."""
    place = box.repository_path(box.share)
    with hold_lock(place):
        done = box.borg(box.share, "list", "--lock-wait", "1", str(place))
        assert done.returncode == 73, done.stderr  # Borg 1.4: lock timeout
        with pytest.raises(RepositoryLocked), box.open(box.share):
            pass
    assert box.borg(box.share, "list", str(place)).returncode == 0
    assert not list(place.glob("lock*"))


def test_a_repository_at_work_is_waited_for_and_then_named(box):
    """As long as was said; one that is let go meanwhile is taken."""
    place = box.repository_path(box.share)
    holder = subprocess.Popen(
        [sys.executable, "-c",
         "import sys, time\n"
         "from pathlib import Path\n"
         "from appliance.backup_jobs.borg_library_lock import hold_lock\n"
         f"with hold_lock(Path({str(place)!r})):\n"
         "    print('held', flush=True)\n"
         "    sys.stdin.readline()\n"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    letting_go = threading.Timer(0.5, holder.stdin.close)
    try:
        assert holder.stdout.readline() == b"held\n"
        began = time.monotonic()
        with pytest.raises(RepositoryLocked), hold_lock(place, wait_s=0.5):
            pass
        assert time.monotonic() - began >= 0.4
        letting_go.start()
        with hold_lock(place, wait_s=30):
            pass
        letting_go.join()
    finally:
        letting_go.cancel()
        holder.kill()
        holder.wait(10)
        holder.stdout.close()
        holder.stdin.close()


def test_the_lock_of_a_process_that_was_killed_is_taken_over(box):
    """A push that died must not stop the nights."""
    place = box.repository_path(box.share)
    killed = subprocess.run(
        [sys.executable, "-c",
         "import os\n"
         "from pathlib import Path\n"
         "from appliance.backup_jobs.borg_library_lock import hold_lock\n"
         f"with hold_lock(Path({str(place)!r})):\n"
         "    os.kill(os.getpid(), 9)\n"],
        cwd=ROOT, check=False,
    )  # fmt: skip
    assert killed.returncode == -9
    assert list(place.glob("lock.exclusive"))
    with hold_lock(place, wait_s=10):
        pass
    assert box.borg(box.share, "list", str(place)).returncode == 0


def test_an_empty_mount_point_is_no_repository(tmp_path):
    """Nothing is made there."""
    with pytest.raises(RepositoryMissing), hold_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


# --- chunks ----------------------------------------------------------------------------------


def test_chunks_are_read_with_the_vault_of_the_box_they_belong_to(box):
    """Where the repository lies does not matter; every segment is asked for before it is read."""
    with box.open(box.share) as repository:
        entry = next(
            one for one in repository.entries(box.newest(box.share).archive_id)
            if one.path.endswith(b"agenda")
        )  # fmt: skip
    asked: list[int] = []
    place = box.repository_path(box.share)
    with wiring.open_chunks(box.settings, box.share.id, place, asked.append) as reader:
        data = b"".join(reader.fetch(one for one, _ in unpack_chunks(entry.chunks)))
    assert data == b"x" * 100_000
    assert asked
    with (
        pytest.raises(NotFound),
        wiring.open_chunks(box.settings, 99, place, asked.append),
    ):
        pass


# --- a share ---------------------------------------------------------------------------------


def state_of(folder: Path) -> dict[str, tuple]:
    return {
        one.relative_to(folder).as_posix(): (
            one.lstat().st_mode,
            one.lstat().st_mtime_ns if not one.is_symlink() else 0,
            os.readlink(one) if one.is_symlink() else one.read_bytes() if one.is_file() else b"",
        )
        for one in sorted(folder.rglob("*"))
    }


def test_a_share_comes_back_with_rights_times_links_and_attributes(box, tmp_path):
    """As it was on the night of its newest snapshot."""
    back = wiring.tools().restore_share(box.settings, box.share.id, tmp_path, should_stop=never)

    assert state_of(tmp_path) == state_of(box.folder)
    assert (back.files, back.left_alone, back.failed) == (2, 0, 0)
    if box.has_xattrs:
        assert os.getxattr(tmp_path / "agenda", "user.origine") == b"secretariat"


def test_what_is_there_already_stays_and_a_cut_one_goes_on(box, tmp_path):
    """Nothing is overwritten; called again it says the same."""
    restore = wiring.tools().restore_share
    (tmp_path / "agenda").write_bytes(b"newer work")
    asked: list[int] = []
    with pytest.raises(JobCancelled):
        restore(
            box.settings, box.share.id, tmp_path,
            should_stop=lambda: bool(asked.append(1)) or len(asked) > 3,
        )  # fmt: skip

    for _ in range(2):
        back = restore(box.settings, box.share.id, tmp_path, should_stop=never)
        assert (back.files, back.left_alone, back.failed) == (1, 1, 0)
    assert (tmp_path / "agenda").read_bytes() == b"newer work"
    assert (tmp_path / "Dupont" / "lettre.txt").read_bytes() == b"Chere consoeur"


def test_only_a_share_is_brought_back_so(box):
    """What the box knows of itself has a way of its own."""
    box_source.ensure(box.settings, box.database, utc_now())
    box.run(SetUpSource(BOX_SOURCE))
    with pytest.raises(InvalidInput):
        wiring.tools().restore_share(box.settings, BOX_SOURCE, None, should_stop=never)
