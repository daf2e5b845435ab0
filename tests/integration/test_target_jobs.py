"""Preparing, trying, harming and adopting a target, on real places."""

import shutil
from datetime import date

import pytest

from appliance.clock import utc_now
from appliance.db import copies, targets
from appliance.errors import (
    InvalidInput,
    NotFound,
    ObjectMissing,
    TargetIdentityChanged,
    TargetUnreachable,
)
from appliance.jobs import queue, target_setup
from appliance.jobs.kinds import AdoptCopy, SetUpTarget, TamperCopy
from appliance.model import JobState, Outcome
from appliance.policy.hosting import Nature
from appliance.policy.place import BoxPlace, DirectoryPlace, S3Place, SftpPlace
from appliance.policy.target_check import CheckOutcome
from appliance.replication.targets.directory import DiskLabel, write_label
from appliance.replication.targets.s3 import S3Account, S3Target
from appliance.vault.secret import Secret
from tests.support.receiver import Receiver
from tests.support.s3 import ACCESS_KEY, SECRET_KEY
from tests.support.sender import DISK_ID, FILES, Sender
from tests.support.sshd import SshServer, free_port, make_key

pytestmark = pytest.mark.integration


@pytest.fixture
def box(tmp_path):
    one = Sender(tmp_path / "box")
    yield one
    one.close()


@pytest.fixture
def host():
    with SshServer(config="ForceCommand internal-sftp") as server:
        yield server


@pytest.fixture
def disk(tmp_path):
    root = tmp_path / "disk"
    root.mkdir()
    write_label(root, DiskLabel(DISK_ID, "box-1", "Lundi", date(2026, 11, 23)))
    return root


def hosted(box, host, folder, **more):
    folder.mkdir(exist_ok=True)
    return box.add("sftp", SftpPlace(host.host, host.user, host.port, str(folder)), **more)


def ready(box, host, folder, **more):
    row = hosted(box, host, folder, **more)
    box.run(SetUpTarget(row.id))
    box.confirm(row)
    host.authorize(box.row(row).facts["public_key"])
    return box.row(row)


# --- preparing -----------------------------------------------------------------------------------


def test_a_host_is_prepared_once_and_nothing_is_pinned_by_looking(box, host, tmp_path):
    """The key stays the same however often it runs; the identity waits for a person."""
    row = hosted(box, host, tmp_path / "host")

    assert box.run(SetUpTarget(row.id)) is JobState.SUCCEEDED
    first = box.row(row)
    box.run(SetUpTarget(row.id))

    assert first.facts["public_key"].startswith("ssh-ed25519 AAAA")
    assert first.facts["public_key"].endswith(f" armoire-{row.id}")
    assert box.row(row).facts["public_key"] == first.facts["public_key"]
    assert first.facts["offered_host_key"]["host_key"] == host.host_key
    assert first.place["host_key"] == ""


def test_another_identity_than_the_confirmed_one_is_told(box, host, tmp_path):
    """A reinstalled or a false host: warned, and the pinned key stays."""
    row = ready(box, host, tmp_path / "host")
    host.replace_host_key()

    assert box.run(SetUpTarget(row.id)) is JobState.WARNED
    assert box.row(row).place["host_key"] != host.host_key
    assert box.checks(row)["host-key"].outcome is CheckOutcome.FAILED


def test_a_key_that_was_given_is_used_and_a_useless_one_refused(box, host, tmp_path):
    """A host that hands out keys: its public half is shown, the private one never."""
    public = make_key(tmp_path / "id")
    row = hosted(box, host, tmp_path / "host", key=Secret((tmp_path / "id").read_bytes()), name="a")
    box.run(SetUpTarget(row.id))
    assert box.row(row).facts["public_key"].split()[1] == public.split()[1]

    bad = hosted(box, host, tmp_path / "host2", key=Secret(b"-----BEGIN nonsense"), name="b")
    with pytest.raises(InvalidInput) as raised:
        box.run(SetUpTarget(bad.id))
    assert "nonsense" not in str(raised.value)


def test_a_host_that_asks_for_a_password_gets_no_key(box, host, tmp_path):
    """One way in at a time: a key made beside a password would be tried in its place."""
    row = hosted(box, host, tmp_path / "host", password=Secret(b"x"))
    box.run(SetUpTarget(row.id))

    assert "public_key" not in box.row(row).facts
    assert "offered_host_key" in box.row(row).facts


def test_nobody_at_the_address_is_said_and_the_key_is_made_all_the_same(box):
    """The key can be sent to the host before its server is up."""
    row = box.add("sftp", SftpPlace("127.0.0.1", "cabinet", free_port()))
    with pytest.raises(TargetUnreachable):
        box.run(SetUpTarget(row.id))

    assert "public_key" in box.row(row).facts
    checks = box.checks(row)
    assert checks["address"].outcome is CheckOutcome.FAILED
    assert "127.0.0.1" in checks["address"].words("fr")


def test_a_removed_target_is_not_prepared(box):
    """A job that waited too long says that its target is gone."""
    row = box.add("sftp", SftpPlace("127.0.0.1", "cabinet", free_port()))
    with box.database.write() as connection:
        target_setup.remove_target(connection, row.id, person=None, now=utc_now())
    with pytest.raises(NotFound):
        box.run(SetUpTarget(row.id))


# --- trying --------------------------------------------------------------------------------------


def test_a_host_is_tried_step_by_step(box, host, tmp_path):
    """First its identity waits, then the key is refused, then everything works; each in words."""
    folder = tmp_path / "host"
    row = hosted(box, host, folder)
    box.run(SetUpTarget(row.id))
    assert box.checks(row)["host-key"].outcome is CheckOutcome.WARNING
    assert "sign-in" not in box.checks(row)

    box.confirm(row)
    assert box.checks(row)["sign-in"].outcome is CheckOutcome.FAILED

    host.authorize(box.row(row).facts["public_key"])
    checks = box.checks(row)
    names = ["address", "host-key", "sign-in", "list", "identity", "write", "read", "remove"]
    assert [checks[name].outcome for name in names] == [CheckOutcome.OK] * len(names)
    assert "avec notre clé" in checks["remove"].words("fr")
    assert checks["hosting"].outcome is CheckOutcome.OK
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_what_the_rules_of_hosting_refuse_is_said_when_it_is_tried(box, host, tmp_path):
    """An «other» place may work perfectly, and still gets nothing."""
    row = ready(box, host, tmp_path / "host", nature=Nature.OTHER)
    checks = box.checks(row)

    assert checks["write"].outcome is CheckOutcome.OK
    assert checks["hosting"].outcome is CheckOutcome.FAILED


def test_an_uncertified_host_shows_what_its_dossier_lacks(box, host, tmp_path):
    """A certified host without a dossier: the first missing field is named."""
    row = ready(box, host, tmp_path / "host", nature=Nature.CERTIFIED_HOST)

    assert "company" in box.checks(row)["hosting"].words("en")


def test_a_receiving_box_keeps_what_was_written(box, tmp_path):
    """Our key cannot remove anything there, and the check says so."""
    with Receiver(tmp_path) as receiver:
        row = box.add(
            "box", BoxPlace("127.0.0.1", "cabinet", receiver.port), key=receiver.keys["cabinet"]
        )
        box.run(SetUpTarget(row.id))
        box.confirm(row)
        checks = box.checks(row)
        assert checks["write"].outcome is CheckOutcome.OK
        assert "stays there" in checks["remove"].words("en")

        assert box.run(TamperCopy(row.id)) is JobState.SUCCEEDED
        proof = box.proof(row, "copy.tamper")
        assert proof.outcome is Outcome.PROVEN
        assert proof.figures["immutable"] is True


def test_a_disk_is_tried_whether_it_is_plugged_in_or_not(box, disk):
    """Absent is a warning with what to do; present, everything works."""
    row = box.add("directory", DirectoryPlace(DISK_ID, str(disk)))
    assert box.checks(row)["write"].outcome is CheckOutcome.OK

    disk.rename(disk.with_name("drawer"))
    gone = box.checks(row)
    assert gone["disk"].outcome is CheckOutcome.WARNING
    assert "write" not in gone


# --- harming -------------------------------------------------------------------------------------


def test_a_plain_host_is_shown_as_it_is_by_a_proof(box, host, tmp_path):
    """The truth about a plain SFTP account is stored, with its date, and is no failure of the job."""
    row = ready(box, host, tmp_path / "host")

    assert box.run(TamperCopy(row.id)) is JobState.SUCCEEDED

    proof = box.proof(row, "copy.tamper")
    assert proof.outcome is Outcome.FAILED
    assert proof.figures["immutable"] is False
    assert box.row(row).facts["tamper"]["text"].startswith("Not immutable")


def test_a_place_that_lost_its_immutability_is_warned_of(box, host, tmp_path):
    """Yesterday every attempt was refused; today our key can empty it: a person is told."""
    row = ready(box, host, tmp_path / "host")
    with box.database.write() as connection:
        targets.set_facts(connection, row.id, {"tamper": {"immutable": True}})

    assert box.run(TamperCopy(row.id)) is JobState.WARNED


def test_a_bucket_is_asked_about_itself_and_cannot_be_harmed(box, s3_server):
    """Object Lock: every attempt refused, every question answered, each with its age."""
    owner = S3Target(
        S3Account(s3_server.endpoint, "cibles", ACCESS_KEY, Secret(SECRET_KEY.encode()))
    ).client
    owner.create_bucket(Bucket="cibles", ObjectLockEnabledForBucket=True)
    place = S3Place(
        s3_server.endpoint, "est", "cibles", lock_mode="COMPLIANCE", lock_days=2, country="FR"
    )
    row = box.add("s3", place, s3=target_setup.s3_secret(ACCESS_KEY, SECRET_KEY))

    assert box.run(SetUpTarget(row.id)) is JobState.SUCCEEDED
    assert box.checks(row)["write"].outcome is CheckOutcome.OK
    box.run(TamperCopy(row.id))

    fact = box.row(row).facts["bucket"]
    states = {each["name"]: each["state"] for each in fact["answers"]}
    assert states["lock"] == "ok"
    assert states["versioning"] == "ok"
    assert states["public-access"] == "ok"
    assert all(each["answered_at"] for each in fact["answers"] if each["state"] != "unknown")
    assert box.proof(row, "copy.conformance") is not None
    assert box.proof(row, "copy.tamper") is not None


# --- a first copy carried by disk ------------------------------------------------------------------


def carry(disk, folder):
    """What a person does at the host: copy everything from the disk, the label aside."""
    for path in disk.iterdir():
        if path.is_dir():
            shutil.copytree(path, folder / path.name)


def test_a_first_copy_is_carried_by_disk_and_nothing_is_sent_again(box, host, disk, tmp_path):
    """Pushed to a disk, carried to the host, adopted: the next push sends only what is new."""
    at_home = box.add("directory", DirectoryPlace(DISK_ID, str(disk)), name="disque")
    there = ready(box, host, tmp_path / "host")
    box.send(at_home, tmp_path / "moment", FILES)
    carry(disk, tmp_path / "host")

    assert box.run(AdoptCopy(there.id)) is JobState.SUCCEEDED

    proof = box.proof(there, "copy.adopted")
    assert proof.outcome is Outcome.PROVEN
    assert (proof.figures["generations"], proof.figures["objects"]) == (1, 12)
    assert proof.figures["read_back"] == 12
    with box.database.read() as connection:
        assert "copy.verify" in [job.kind for job in queue.waiting(connection)]
    again = box.send(there, tmp_path / "moment")
    assert (again.number, again.sent_objects, again.reused_objects) == (2, 0, 12)
    more = box.send(there, tmp_path / "moment", {"data/1/99": b"new"})
    assert more.sent_objects == 1


def test_what_was_lost_or_altered_on_the_way_is_counted_and_sent_again(box, host, disk, tmp_path):
    """A bad copy by hand is no copy: two objects missing, one altered, three sent again."""
    at_home = box.add("directory", DirectoryPlace(DISK_ID, str(disk)), name="disque")
    there = ready(box, host, tmp_path / "host")
    box.send(at_home, tmp_path / "moment", FILES)
    carry(disk, tmp_path / "host")
    objects = sorted(each for each in (tmp_path / "host" / "objects").rglob("*") if each.is_file())
    objects[0].unlink()
    objects[1].write_bytes(objects[1].read_bytes()[:-7])
    data = bytearray(objects[2].read_bytes())
    data[50] ^= 1
    objects[2].write_bytes(data)

    assert box.run(AdoptCopy(there.id)) is JobState.WARNED

    figures = box.proof(there, "copy.adopted").figures
    assert (figures["missing"], figures["wrong_size"], figures["altered"]) == (1, 1, 1)
    assert box.proof(there, "copy.adopted").outcome is Outcome.FAILED
    assert box.send(there, tmp_path / "moment").sent_objects == 3


def test_adopting_twice_changes_nothing(box, host, disk, tmp_path):
    """Run again after a cut: the same rows, the same count."""
    at_home = box.add("directory", DirectoryPlace(DISK_ID, str(disk)), name="disque")
    there = ready(box, host, tmp_path / "host")
    box.send(at_home, tmp_path / "moment", FILES)
    carry(disk, tmp_path / "host")
    box.run(AdoptCopy(there.id))
    with box.database.read() as connection:
        first = list(copies.living(connection, there.id))

    box.run(AdoptCopy(there.id))

    with box.database.read() as connection:
        assert [each.id for each in copies.living(connection, there.id)] == [
            each.id for each in first
        ]
        assert len(copies.generations(connection, there.id)) == 1


def test_the_disk_may_have_been_removed_from_the_list_meanwhile(box, host, disk, tmp_path):
    """What was sent to it is still on record: adoption does not need the disk's own entry."""
    at_home = box.add("directory", DirectoryPlace(DISK_ID, str(disk)), name="disque")
    there = ready(box, host, tmp_path / "host")
    box.send(at_home, tmp_path / "moment", FILES)
    carry(disk, tmp_path / "host")
    with box.database.write() as connection:
        target_setup.remove_target(connection, at_home.id, person=None, now=utc_now())

    assert box.run(AdoptCopy(there.id)) is JobState.SUCCEEDED


def test_an_empty_place_has_nothing_to_adopt(box, host, tmp_path):
    """Nothing is claimed of a folder without a generation of ours."""
    there = ready(box, host, tmp_path / "host")
    with pytest.raises(ObjectMissing):
        box.run(AdoptCopy(there.id))
    assert box.proof(there, "copy.adopted") is None


def test_generations_this_box_never_sent_are_another_boxes(box, host, disk, tmp_path):
    """Signed with our key but not on record: another box has our identity; nothing is adopted."""
    at_home = box.add("directory", DirectoryPlace(DISK_ID, str(disk)), name="disque")
    there = ready(box, host, tmp_path / "host")
    box.send(at_home, tmp_path / "moment", FILES)
    carry(disk, tmp_path / "host")
    with box.database.write() as connection:
        connection.exec_driver_sql("UPDATE generation SET sha256 = 'ff'")

    with pytest.raises(TargetIdentityChanged):
        box.run(AdoptCopy(there.id))
