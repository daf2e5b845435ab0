"""A night of copies through the real jobs: sent to each kind of place, proven there, and made into a box again."""

import itertools
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.clock import utc_now
from appliance.db import targets
from appliance.jobs import queue
from appliance.jobs.kinds import PushCopy
from appliance.model import JobState
from appliance.policy.status import Level
from appliance.replication.push import object_name
from tests.support.copies_box import CopiesBox
from tests.support.receiver import Receiver, wait_until
from tests.support.sshd import SshServer

pytestmark = pytest.mark.integration
_names = itertools.count(1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One box for the whole file: every test adds places of its own."""
    made = CopiesBox(tmp_path_factory.mktemp("copies"))
    made.confirm_kit()
    yield made
    made.close()


@pytest.fixture
def box(shared):
    return shared


@pytest.fixture(params=["directory", "sftp", "box", "s3"])
def place(request, box, tmp_path):
    """A target of each kind, ready to be sent to."""
    name = f"lieu-{next(_names)}"
    match request.param:
        case "directory":
            yield box.add_disk(tmp_path / "disk", name, f"{next(_names):032x}")
        case "sftp":
            with SshServer(config="ForceCommand internal-sftp") as host:
                yield box.add_sftp(host, tmp_path / "host", name)
        case "box":
            folder = tmp_path / "second"
            folder.mkdir()
            with Receiver(folder) as receiver:
                yield box.add_box(receiver, name)
        case "s3":
            server = request.getfixturevalue("s3_server")
            yield box.add_bucket(server, f"nuits-{next(_names)}", lock_days=2, name=name)


def test_a_box_is_sent_proven_and_comes_back_from_every_kind_of_place(box, place, tmp_path):
    """Two nights: the second sends what changed; Borg accepts what comes back."""
    assert box.push(place) is JobState.SUCCEEDED
    assert box.status(place).level is Level.UNKNOWN  # sent is not proven
    assert box.verify(place, full=True) is JobState.SUCCEEDED
    first = box.status(place)
    box.night()
    assert box.push(place) is JobState.SUCCEEDED
    assert box.verify(place) is JobState.SUCCEEDED

    status = box.status(place)
    assert first.level is status.level is Level.PROVEN, status.reasons
    assert status.newest_number == 2
    assert status.last_push.result["reused_objects"] > 0
    assert status.last_push.result["sent_bytes"] < first.published_bytes
    assert first.read_back_since is not None
    assert box.proof(place, "copy.complete").figures["missing"] == 0
    assert box.bring_back(place, box.share, tmp_path / "share") == box.archives(box.share)
    if place.kind == "directory":
        assert box.bring_back(place, box.state, tmp_path / "state") == box.archives(box.state)
        assert (tmp_path / "state" / "passphrase.age").exists()
    assert not (box.settings.data / "copies").exists() or not any(
        (box.settings.data / "copies").iterdir()
    )


def test_a_push_of_the_worker_killed_on_its_way_is_gone_on_with(box, tmp_path):
    """The process of the real worker, kill -9 while bytes leave; nothing half is ever published."""
    row = box.add_disk(tmp_path / "disk", "tue", f"{next(_names):032x}")
    slow = [{"bytes_s": 400_000, "days": list(range(7)), "start": "00:00", "end": "00:00"}]
    with box.database.write() as connection:
        targets.change(connection, row.id, bandwidth=slow)
    objects = tmp_path / "disk" / "objects"
    _job, process = box.start(PushCopy(row.id))
    wait_until(lambda: arrived(objects), 30)
    process.kill()
    process.wait(10)
    box.interrupt_all()
    assert box.kept(row) == []
    assert not (tmp_path / "disk" / "generations").exists()
    before = arrived(objects)

    with box.database.write() as connection:
        targets.change(connection, row.id, bandwidth=[])
    job, process = box.start(PushCopy(row.id))
    process.wait(60)

    with box.database.read() as connection:
        assert queue.get(connection, job).state is JobState.SUCCEEDED
    assert box.verify(row, full=True) is JobState.SUCCEEDED
    assert box.status(row).level is Level.PROVEN
    assert before.items() <= arrived(objects).items()  # what had arrived was not sent again
    assert not list((box.settings.data / "copies").iterdir())


def arrived(objects):
    """Whole objects, and when they came."""
    return {
        p.name: p.stat().st_mtime_ns
        for p in objects.rglob("*")
        if p.is_file() and not p.name.startswith(".")
    }


def test_the_lock_of_what_is_still_named_is_made_longer(box, s3_server):
    """Object Lock runs out; a copy that counts must not: extended when less than half is left."""
    row = box.add_bucket(s3_server, f"verrou-{next(_names)}", lock_days=4, name="verrou")
    box.push(row)
    with box.database.write() as connection:
        for table, column in (("copy_object", "put_at"), ("generation", "published_at")):
            connection.exec_driver_sql(
                f"UPDATE {table} SET {column} = strftime('%Y-%m-%dT%H:%M:%f000Z', {column}, '-3 days')"
                " WHERE target_id = ?",
                (row.id,),
            )
    target = box.target(row)
    one = box.objects(row)[0]

    def locked_until(name):
        found = target.client.get_object_retention(Bucket=target.bucket, Key=target.key(name))
        return found["Retention"]["RetainUntilDate"]

    names = [object_name(one.name), "generations/0000000001"]
    before = [locked_until(name) for name in names]
    begun = utc_now()

    assert box.verify(row) is JobState.SUCCEEDED

    for name, until in zip(names, before, strict=True):
        assert locked_until(name) > until
        assert locked_until(name) >= begun + timedelta(days=4) - timedelta(seconds=2)
    assert all(each.locked_until is not None for each in box.objects(row))
    target.close()


def test_repositories_on_a_disk_of_their_own_are_frozen_there(tmp_path):
    """A practice's large disk is mounted at `repositories`: hard links do not leave it."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("one file system only")
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "repositories").symlink_to(other)
        box = CopiesBox(tmp_path)
        row = box.add_disk(tmp_path / "disk")

        assert box.push(row) is JobState.SUCCEEDED

        assert box.verify(row) is JobState.SUCCEEDED
        assert not any((Path(other) / ".moments").iterdir())
        box.close()
