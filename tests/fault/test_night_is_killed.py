"""kill -9 at many points of a night, then a night: nothing lost, nothing listed that is not whole."""

import os
import random
import signal

import pytest

from appliance.jobs.kinds import Prune, TakeSnapshot, VerifySnapshot
from appliance.model import JobState, Keep
from tests.support.box import Box
from tests.support.trees import make_small_tree

pytestmark = [pytest.mark.fault, pytest.mark.integration]

#: Parts of a night's own lines at which it is killed: its beginning and its end, and three by chance.
POINTS = (0.001, 0.97, *(random.Random(20261123).random() for _ in range(3)))


@pytest.fixture
def box(tmp_path):
    made = Box(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "source"
    made.mkdir()
    make_small_tree(made, files=30)
    return made


def run_apart(box, spec, point):
    """Run a job in its own process until ``point`` of it; return how the process ended."""
    _, process = box.start(spec, module=("tests.support.kill_at", str(point)))
    return process.wait(120)


def change_something(folder, number):
    (folder / f"nuit {number}.txt").write_bytes(os.urandom(50_000))
    (folder / "changed.txt").write_text(f"version {number}")
    (folder / f"nuit {number - 2}.txt").unlink(missing_ok=True)


def assert_listed_is_whole(box, source):
    """Every listed snapshot is an archive of the repository that can be read to its last byte."""
    with box.open(source, lock_wait_s=5) as repository:
        present = {archive.id for archive in repository.archives()}
        for row in box.snapshots(source):
            assert row.archive_id in present
            items = sum(1 for _ in repository.entries(row.archive_id))
            assert items == row.items


@pytest.mark.parametrize("kind", ["share", "machine"])
def test_nights_killed_at_any_point_leave_only_whole_snapshots(box, sshd, folder, kind):
    """After each kill what is listed is whole; the night after all of them makes everything agree."""
    source = box.add_share(folder) if kind == "share" else box.add_machine(sshd, folder)
    box.take(source)
    change_something(folder, 50)
    assert run_apart(box, TakeSnapshot(source.id), 2) == 0
    box.interrupt_all()

    killed = 0
    for number, point in enumerate(POINTS):
        change_something(folder, number)
        ended = run_apart(box, TakeSnapshot(source.id), point)
        assert ended in {-signal.SIGKILL, 0}  # a shorter night may be over before its point
        killed += ended == -signal.SIGKILL
        box.interrupt_all()
        assert_listed_is_whole(box, source)

    assert killed >= len(POINTS) - 2
    change_something(folder, 99)
    assert box.take(source) in {JobState.SUCCEEDED, JobState.WARNED}
    newest = box.newest(source)
    box.run(VerifySnapshot(source.id, newest.id))
    assert {path.name for path in folder.rglob("*.txt")} == {
        os.path.basename(path).decode()
        for path in box.paths(source, newest)
        if path.endswith(b".txt")
    }
    box.assert_agreement(source)
    assert box.borg(source, "check", str(box.repository_path(source))).returncode == 0


def test_a_pruning_killed_at_any_point_is_completed_without_an_alarm(box, folder):
    """What was about to go is written down first."""
    share = box.add_share(folder)
    keep = Keep(within_days=0, daily=1, weekly=0, monthly=0, yearly=0)
    box.change_plan(share, keep=keep)
    for number in range(2):
        change_something(folder, number)
        box.take(share)
    box.run(VerifySnapshot(share.id, box.newest(share).id))
    assert run_apart(box, Prune(share.id), 2) == 0
    assert len(box.snapshots(share)) == 1

    for number, point in enumerate((0.4, 0.8)):
        change_something(folder, 10 + number)
        box.take(share)
        box.run(VerifySnapshot(share.id, box.newest(share).id))
        assert run_apart(box, Prune(share.id), point) in {-signal.SIGKILL, 0}
        with box.database.write() as connection:
            connection.exec_driver_sql(
                "UPDATE job SET state = 'interrupted' WHERE state = 'running'"
            )
        assert box.run(Prune(share.id)) is JobState.SUCCEEDED
        assert len(box.snapshots(share)) == 1
        assert box.source(share).frozen_reason is None
        box.assert_agreement(share)
