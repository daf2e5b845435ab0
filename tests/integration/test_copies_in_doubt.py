"""What goes wrong with a copy, and what the box then says, sends again, and does not remove."""

import itertools
import threading
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.backup_jobs.borg_library_lock import hold_lock
from appliance.clock import utc_now
from appliance.db import copies, facts, forged, sources, targets
from appliance.errors import (
    RepositoryLocked,
    SendingNotAllowed,
    StateNotSaved,
    TargetIdentityChanged,
    TargetUnreachable,
)
from appliance.jobs import copy_planning, queue
from appliance.jobs.kinds import PushCopy, TakeSnapshot, VerifyCopy
from appliance.model import JobState, Outcome
from appliance.policy.hosting import Nature
from appliance.policy.status import Level
from appliance.replication import manifest as manifests
from appliance.replication import takeover
from appliance.replication.jobs import push_copy
from appliance.replication.manifest import Manifest
from tests.support.armoire import Armoire
from tests.support.copies_box import CopiesBox

pytestmark = pytest.mark.integration
_disks = itertools.count(1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    made = CopiesBox(tmp_path_factory.mktemp("copies"))
    made.confirm_kit()
    yield made
    made.close()


@pytest.fixture
def box(shared):
    return shared


@pytest.fixture
def disk(tmp_path):
    return tmp_path / "disk"


@pytest.fixture
def row(box, disk):
    number = next(_disks)
    calm(box)
    yield box.add_disk(disk, f"disque-{number}", f"{number:032x}")
    with box.database.write() as connection:
        connection.exec_driver_sql("UPDATE target SET removed_at = created_at")


def calm(box):
    """Close what random letters raise every night, rightly: they look like ransomware."""
    with box.database.write() as connection:
        connection.exec_driver_sql("UPDATE anomaly SET closed_at = opened_at")
        for each in sources.all_living(connection):
            sources.thaw(connection, each.id)


def sent(box, row):
    assert box.push(row) in {JobState.SUCCEEDED, JobState.WARNED}
    return box.objects(row)


def place_of(disk, one):
    return disk / "objects" / one.name[:2] / one.name


# --- lost and altered --------------------------------------------------------------------------


def test_what_the_host_lost_is_named_and_sent_again(box, row, disk):
    """Red until a later copy is proven; nothing is taken for granted meanwhile."""
    rows = sent(box, row)
    place_of(disk, rows[0]).unlink()

    assert box.verify(row) is JobState.WARNED
    status = box.status(row)
    assert status.level is Level.FAILED
    assert "copy.proof-failed" in box.findings()
    assert box.proof(row, "copy.listing").figures["lost"] == 1
    assert box.proof(row, "copy.complete").outcome is Outcome.FAILED

    assert box.push(row) is JobState.SUCCEEDED
    assert box.status(row).last_push.result["sent_objects"] >= 1
    assert box.verify(row) is JobState.SUCCEEDED
    assert box.status(row).level is Level.PROVEN


def test_an_altered_object_is_found_when_it_is_read_back_and_sent_again(box, row, disk):
    rows = sent(box, row)
    place = place_of(disk, rows[-1])
    place.chmod(0o600)
    data = bytearray(place.read_bytes())
    data[-1] ^= 1
    place.write_bytes(data)

    assert box.verify(row, full=True) is JobState.WARNED
    assert box.proof(row, "copy.read-back").outcome is Outcome.FAILED
    assert box.proof(row, "copy.complete").outcome is Outcome.FAILED
    assert box.status(row).level is Level.FAILED

    sent(box, row)
    assert box.verify(row, full=True) is JobState.SUCCEEDED
    assert box.status(row).level is Level.PROVEN


def test_a_generation_that_is_withheld_or_altered_is_a_lost_one(box, row, disk):
    sent(box, row)
    box.work()
    sent(box, row)
    (disk / "generations" / "0000000001").unlink()
    box.verify(row)
    assert box.proof(row, "copy.listing").figures["lost_generations"] == [1]

    newest = disk / "generations" / "0000000002"
    newest.chmod(0o600)
    newest.write_bytes(newest.read_bytes()[:-1])
    box.verify(row)
    assert box.proof(row, "copy.complete").outcome is Outcome.FAILED
    assert box.status(row).level is Level.FAILED


def test_reading_back_goes_round_and_says_since_when_everything_was(box, row, monkeypatch):
    """Nights with a small budget: «every object was read back since» is a figure once it is one."""
    from appliance.replication.jobs import verify_copy

    monkeypatch.setattr(verify_copy, "LEAST_BYTES", 1_500_000)
    rows = sent(box, row)
    begun = utc_now()
    for _night in range(len(rows)):
        box.verify(row)
        if box.status(row).read_back_since is not None:
            break
        assert box.status(row).unread_objects > 0
    since = box.status(row).read_back_since
    assert since is not None
    assert since >= begun - timedelta(seconds=1)


# --- one moment while the box works ------------------------------------------------------------


def test_a_repository_at_work_for_long_is_sent_as_the_last_copy_had_it(box, row, monkeypatch):
    """A machine that pushes all night does not keep the others from leaving; it is said."""
    monkeypatch.setattr(push_copy, "WAIT_S", 0.3)
    sent(box, row)
    before = {f.path for f in box.newest_manifest(row).files if f.repository == box.share.id}
    box.night()
    ready, done = threading.Event(), threading.Event()

    def work():
        with hold_lock(box.repository_path(box.share)):
            ready.set()
            done.wait(240)

    # In another process Borg's lock is another's; in this one it is refused at once: the same answer.
    worker = threading.Thread(target=work)
    worker.start()
    assert ready.wait(60)
    try:
        assert box.push(row) is JobState.WARNED
    finally:
        done.set()
        worker.join()
    manifest = box.newest_manifest(row)
    assert {f.path for f in manifest.files if f.repository == box.share.id} == before
    assert manifest.number == 2
    assert box.verify(row) is JobState.SUCCEEDED
    assert box.status(row).level is Level.WARNED
    assert "copy.carried" in box.findings()


def test_a_repository_never_sent_and_at_work_makes_the_copy_wait(box, row, monkeypatch):
    monkeypatch.setattr(push_copy, "WAIT_S", 0.3)
    with hold_lock(box.repository_path(box.share)), pytest.raises(RepositoryLocked):
        box.push(row)
    assert box.kept(row) == []
    assert not (box.settings.data / "copies" / str(row.id) / "moment").exists()


def test_prune_and_compact_between_two_copies_and_during_one(box, row, monkeypatch, tmp_path):
    """Every generation stays whole: the moment's links keep the bytes that compaction takes away."""
    sent(box, row)
    first = box.newest_manifest(row)
    box.night()
    shrink(box)
    sent(box, row)
    between = box.newest_manifest(row)
    assert {f.path for f in first.files} - {f.path for f in between.files}

    box.night()
    real = push_copy.push
    gone = []

    def while_sending(database, target_id, **options):
        """The moment is frozen: now the repository is pruned and compacted under it."""
        frozen = {f.path for f in options["moment"].files if f.repository == box.share.id}
        shrink(box)
        gone.extend(p for p in frozen if not (box.repository_path(box.share) / p).exists())
        return real(database, target_id, **options)

    monkeypatch.setattr(push_copy, "push", while_sending)
    archives = box.archives(box.share)
    sent(box, row)
    assert gone
    assert box.verify(row, full=True) is JobState.SUCCEEDED
    assert box.bring_back(row, box.share, tmp_path / "back") == archives


def shrink(box):
    """Delete all but the newest archive and compact, as pruning does."""
    path = str(box.repository_path(box.share))
    archives = [each.archive for each in box.snapshots(box.share)]
    if archives[1:]:
        assert box.borg(box.share, "delete", path, *archives[1:]).returncode == 0
    assert box.borg(box.share, "compact", "--threshold", "0", path).returncode == 0
    with box.database.write() as connection:
        for each in box.snapshots(box.share)[1:]:
            connection.exec_driver_sql(
                "UPDATE snapshot SET removed_at = finished_at WHERE id = ?", (each.id,)
            )


# --- somebody else wrote there ------------------------------------------------------------------


def test_a_thief_who_takes_the_next_numbers_stops_no_copy_and_is_told(box, row, disk):
    """Only a signature makes a generation ours: forged numbers are passed over, and nothing is removed."""
    sent(box, row)
    (disk / "generations" / "0000000002").write_bytes(b"junk")
    old = (disk / "generations" / "0000000001").read_bytes()
    (disk / "generations" / "0000000003").write_bytes(old)  # an old one replayed under a new name
    (disk / "takeover").mkdir()
    (disk / "takeover" / "x").write_bytes(b"{}")

    box.work()
    sent(box, row)

    assert box.kept(row) == [4, 1]
    assert box.verify(row) is JobState.SUCCEEDED
    assert box.newest_manifest(row).number == 4
    status = box.status(row)
    assert status.level is Level.FROZEN
    assert status.forged == 3
    finding = box.findings()["copy.forged"]
    assert finding.facts["count"] == 3
    assert "runbook" in finding.action

    command = Armoire(box.settings.data)
    assert len(command.json("target", "forged", row.name)["forged"]) == 3
    assert command.json("target", "forged", row.name, "--accept")["accepted"] == 3
    assert box.status(row).level is Level.PROVEN
    box.verify(row)
    sent(box, row)
    assert box.kept(row) == [5, 4]  # old ones go again
    assert box.status(row).forged == 0  # what a person looked at stays looked at


def test_a_later_generation_signed_with_our_key_stops_everything(box, row, disk):
    """Two boxes with one identity: whichever finds out second writes nothing more."""
    sent(box, row)
    other = Manifest("box-1", 2, utc_now(), "0" * 64, "armoire 0", (), ())
    with box.database.read() as connection:
        from appliance.replication import kit

        key = kit.signing_key(connection, box.settings.keys)
        recipient = facts.find(connection, "kit.recipient")
    (disk / "generations" / "0000000002").write_bytes(
        manifests.build(other, recipient=recipient, signing_key=key)
    )

    for job in (VerifyCopy(row.id), PushCopy(row.id)):
        with pytest.raises(TargetIdentityChanged):
            box.run(job)
        assert box.status(row).level is Level.FROZEN
    assert "copy.identity-changed" in box.findings()
    assert box.kept(row) == [1]


def test_a_box_that_was_taken_over_sends_nothing_more(box, row, disk, tmp_path):
    sent(box, row)
    with box.database.read() as connection:
        from appliance.replication import kit

        key = kit.signing_key(connection, box.settings.keys)
    takeover.publish(
        box.target(row), box_id="box-1", instance="aa", signing_key=key, spool=tmp_path / "s",
        now=utc_now(),
    )  # fmt: skip
    before = sorted(disk.rglob("*"))

    with pytest.raises(TargetIdentityChanged):
        box.push(row)

    assert sorted(disk.rglob("*")) == before
    assert box.status(row).level is Level.FROZEN


def test_a_forged_takeover_of_a_stranger_is_no_takeover(box, row, tmp_path):
    stranger = Ed25519PrivateKey.generate()
    takeover.publish(
        box.target(row), box_id="box-1", instance="bb", signing_key=stranger,
        spool=tmp_path / "s", now=utc_now(),
    )  # fmt: skip

    assert box.push(row) is JobState.SUCCEEDED
    with box.database.read() as connection:
        assert [each.name for each in forged.of_target(connection, row.id)] == ["takeover/bb"]


# --- may we send there? -------------------------------------------------------------------------


@pytest.mark.parametrize("nature", [None, Nature.OTHER, Nature.CERTIFIED_HOST])
def test_a_place_the_rules_refuse_gets_nothing_and_loses_nothing(box, row, disk, nature):
    """Undeclared, neither host nor practice, or a host without a file: HDS-01 to HDS-05."""
    sent(box, row)
    before = sorted(disk.rglob("*"))
    with box.database.write() as connection:
        targets.change(connection, row.id, nature=None if nature is None else nature.value)

    with pytest.raises(SendingNotAllowed):
        box.push(row)

    assert sorted(disk.rglob("*")) == before
    assert box.status(row).level is (Level.UNKNOWN if nature is None else Level.FAILED)
    code = "copy.nature-missing" if nature is None else "copy.not-allowed"
    assert code in box.findings()
    assert box.verify(row) is JobState.SUCCEEDED  # what lies there is watched all the same


def test_after_a_re_key_everything_is_sent_again_to_the_new_sheets(box, row):
    """The fact that `kit rekey` leaves: what was sealed before it is not counted on any more."""
    first = {each.name for each in sent(box, row)}
    with box.database.write() as connection:
        facts.put(connection, "kit.resend-before", utc_now().isoformat(), now=utc_now())
    try:
        sent(box, row)
        with box.database.read() as connection:
            named = set(copies.newest_published(connection, row.id).objects)
        assert not named & {each.id for each in box.objects(row) if each.name in first}
        assert len(named) == len(first)
    finally:
        with box.database.write() as connection:
            facts.put(connection, "kit.resend-before", None, now=utc_now())


# --- what goes, and what stays ------------------------------------------------------------------


def age(box, row, days):
    """Say that everything of this target happened so long ago."""
    shift = f"-{days} days"
    with box.database.write() as connection:
        for table, columns in (
            ("generation", ("taken_at", "published_at")),
            ("copy_object", ("put_at", "sealed_at", "orphaned_at")),
        ):
            for column in columns:
                connection.exec_driver_sql(
                    f"UPDATE {table} SET {column} = strftime('%Y-%m-%dT%H:%M:%f000Z', {column}, ?)"
                    " WHERE target_id = ?",
                    (shift, row.id),
                )


def test_old_generations_go_by_policy_and_objects_after_a_grace(box, row, disk):
    """Two copies of one day: the earlier goes at once, its objects a week later; the rest comes back."""
    sent(box, row)
    box.night()
    shrink(box)
    sent(box, row)
    orphans = set(box.objects(row))
    calm(box)

    assert box.verify(row) is JobState.SUCCEEDED
    assert box.kept(row) == [2]
    assert not (disk / "generations" / "0000000001").exists()
    assert len(box.objects(row)) == len(orphans)  # the grace

    age(box, row, 8)
    assert box.verify(row) is JobState.SUCCEEDED
    left = box.objects(row)
    assert len(left) < len(orphans)
    assert {p.name for p in (disk / "objects").rglob("*") if p.is_file()} == {r.name for r in left}
    named = {f.object for f in box.newest_manifest(row).files}
    assert {
        p.relative_to(disk).as_posix() for p in (disk / "objects").rglob("*") if p.is_file()
    } == named


@pytest.mark.parametrize("doubt", ["lost-object", "frozen-source", "wrong-clock", "forged"])
def test_nothing_goes_while_anything_is_in_doubt(box, row, disk, doubt):
    """Beam 6, at the copy: the generation that a rule no longer keeps stays."""
    sent(box, row)
    box.night()
    sent(box, row)
    match doubt:
        case "lost-object":
            place_of(disk, box.objects(row)[0]).unlink()
        case "frozen-source":
            with box.database.write() as connection:
                sources.freeze(connection, box.share.id, "anomaly-open", now=utc_now())
        case "wrong-clock":
            with box.database.write() as connection:
                later = (utc_now() + timedelta(days=2)).isoformat()
                facts.put(connection, "clock.last", later, now=utc_now())
        case "forged":
            (disk / "generations" / "0000000003").write_bytes(b"junk")

    box.verify(row)

    assert box.kept(row) == [2, 1]
    assert (disk / "generations" / "0000000001").exists()
    with box.database.write() as connection:
        sources.thaw(connection, box.share.id)
        facts.put(connection, "clock.last", utc_now().isoformat(), now=utc_now())


def test_a_kill_between_the_record_and_the_removal_is_made_good(box, row, disk):
    """The record goes first: what is left over is removed the next night, and nothing seems lost."""
    sent(box, row)
    box.night()
    sent(box, row)
    calm(box)
    kept = (disk / "generations" / "0000000001").read_bytes()
    box.verify(row)
    (disk / "generations").mkdir(exist_ok=True)
    (disk / "generations" / "0000000001").write_bytes(kept)  # as if the removal had not happened

    assert box.verify(row) is JobState.SUCCEEDED

    assert not (disk / "generations" / "0000000001").exists()
    assert box.status(row).level is Level.PROVEN


# --- by itself ----------------------------------------------------------------------------------


def wishes(box, now):
    with box.database.read() as connection:
        return copy_planning.copy_wishes(connection, box.settings, now)


def test_the_planner_sends_once_a_night_and_only_to_a_disk_that_is_there(box, row, disk):
    with box.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM job_note")
        connection.exec_driver_sql("UPDATE job SET state = 'cancelled' WHERE state = 'queued'")
    tomorrow = (utc_now() + timedelta(days=1)).replace(hour=4, minute=30)  # 05:30 in Paris
    assert wishes(box, tomorrow) == [PushCopy(row.id)]

    disk.rename(disk.with_name("drawer"))
    assert wishes(box, tomorrow) == []
    disk.with_name("drawer").rename(disk)

    box.push(row)
    with box.database.write() as connection:
        connection.exec_driver_sql("UPDATE job SET state = 'cancelled' WHERE state = 'queued'")
    assert PushCopy(row.id) not in wishes(box, utc_now() + timedelta(minutes=5))


def test_without_the_state_of_the_box_nothing_is_sent_but_the_state_is_saved(tmp_path):
    """A copy that could not be made into a box again is no copy."""
    from appliance.jobs.kinds import SetUpSource
    from appliance.model import BOX_SOURCE
    from appliance.worker import box_source
    from tests.support.box import Box

    box = Box(tmp_path / "data")
    with box.database.write() as connection:
        facts.put(connection, "box.id", "box-1", now=utc_now())
    box_source.ensure(box.settings, box.database, utc_now())
    box.run(SetUpSource(BOX_SOURCE))
    with box.database.write() as connection:
        row = targets.add(
            connection, name="d", label="D", kind="directory",
            place={"disk_id": "ab" * 16, "folder": str(tmp_path / "disk")}, now=utc_now(),
            nature="same-practice-here",
        )  # fmt: skip

    with pytest.raises(StateNotSaved):
        box.run(PushCopy(row.id))

    with box.database.read() as connection:
        assert TakeSnapshot.kind in {each.kind for each in queue.waiting(connection)}
    box.close()


def test_a_disk_that_is_not_plugged_in_is_away_and_not_a_failure(box, row, disk):
    sent(box, row)
    box.verify(row)
    disk.rename(disk.with_name("drawer"))

    with pytest.raises(TargetUnreachable):
        box.push(row)

    assert box.status(row).level is Level.PROVEN
    assert box.status(row, utc_now() + timedelta(hours=27)).level is Level.LATE
    assert box.status(row, utc_now() + timedelta(hours=49)).level is Level.OVERDUE


def test_until_the_kit_is_confirmed_copies_leave_and_are_never_green(box, row):
    sent(box, row)
    box.verify(row)
    with box.database.write() as connection:
        confirmed = facts.find(connection, "kit.confirmed_at")
        facts.put(connection, "kit.confirmed_at", None, now=utc_now())

    status = box.status(row)
    found = box.findings()

    assert status.level is Level.UNKNOWN
    assert "kit.not-confirmed" in found
    assert "copies.missing-offsite" in found  # it does not count as a copy
    with box.database.write() as connection:
        facts.put(connection, "kit.confirmed_at", confirmed, now=utc_now())
    assert box.status(row).level is Level.PROVEN
    assert "copies.missing-offsite" not in box.findings()


def test_the_timetable_is_obeyed_while_bytes_leave_and_a_change_is_too(box, row, monkeypatch):
    """Paused, then freed by a person in the middle of a push."""
    monkeypatch.setattr(push_copy, "RATE_S", 0.05)
    paused = [{"bytes_s": 0, "days": list(range(7)), "start": "00:00", "end": "00:00"}]
    with box.database.write() as connection:
        # Some minute of the week must be free, or the rules are refused; now it is not that one.
        hour = f"{(utc_now() + timedelta(hours=12)).hour:02d}"
        free = {"bytes_s": None, "days": [0], "start": f"{hour}:00", "end": f"{hour}:01"}
        targets.change(connection, row.id, bandwidth=[free, *paused])
    timer = threading.Timer(1.5, free_the_line, (box, row))
    timer.start()
    begun = utc_now()

    assert box.push(row) is JobState.SUCCEEDED

    assert utc_now() - begun >= timedelta(seconds=1.5)
    timer.join()


def free_the_line(box, row):
    with box.database.write() as connection:
        targets.change(connection, row.id, bandwidth=[])
