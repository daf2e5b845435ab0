"""What pruning removes, and everything at which it stops."""

import os
from datetime import timedelta

import pytest

from appliance.backup_jobs import prune as prune_job
from appliance.backup_jobs.prune import plan_prune
from appliance.catalogue import query
from appliance.clock import from_epoch, utc_now
from appliance.db import anomalies, snapshots, sources
from appliance.errors import ArchiveListUnreadable, ArchiveVanished, SnapshotGoing, ToolTimeout
from appliance.jobs import frozen, queue, snapshot_marks
from appliance.jobs.kinds import Prune
from appliance.ledger import chain
from appliance.model import JobState, Keep
from appliance.policy.retention import FreezeReason, KeepReason
from tests.support.box import Box
from tests.support.trees import make_small_tree

pytestmark = pytest.mark.integration

#: One snapshot a day for three days, nothing else.
THREE_DAYS = Keep(within_days=0, daily=3, weekly=0, monthly=0, yearly=0)


@pytest.fixture(scope="module")
def five_nights(tmp_path_factory):
    """A box with a share and five nights, one a day; copied for each test."""
    root = tmp_path_factory.mktemp("nights")
    folder = root / "partage"
    folder.mkdir()
    make_small_tree(folder, files=25)
    box = Box(root / "data")
    share = box.add_share(folder)
    box.change_plan(share, keep=THREE_DAYS)
    taken = []
    for number in range(5):
        for old in folder.glob("only-*"):
            old.unlink()
        (folder / f"only-{number}.bin").write_bytes(os.urandom(200_000))
        box.take(share)
        taken.append(box.newest(share))
    for age, one in enumerate(reversed(taken)):
        at = utc_now() - timedelta(days=age, minutes=1)
        box.backdate(one, at)
        with box.catalogue(share).writing() as connection:
            moment = (at - from_epoch(0)) // timedelta(microseconds=1)
            connection.execute("UPDATE snapshot SET taken_at = ? WHERE id = ?", (moment, one.id))
            connection.execute("COMMIT")
    from appliance.jobs.kinds import VerifySnapshot

    box.run(VerifySnapshot(share.id, taken[-1].id))
    box.close()
    return root


@pytest.fixture
def box(five_nights, tmp_path):
    import shutil

    shutil.copytree(five_nights / "data", tmp_path / "data", symlinks=True)
    made = Box(tmp_path / "data")
    with made.database.write() as connection:
        old, new = str(five_nights / "data"), str(tmp_path / "data")
        connection.exec_driver_sql("UPDATE repository SET path = replace(path, ?, ?)", (old, new))
    yield made
    made.close()


@pytest.fixture
def share(box):
    with box.database.read() as connection:
        return sources.get_by_name(connection, "documents")


def events_of(box, event):
    with box.database.read() as connection:
        return [one for one in chain.entries(connection) if one.event == event]


def notes(box):
    with box.database.read() as connection:
        return [row for job in queue.newest(connection) for row in queue.notes(connection, job.id)]


def test_what_no_rule_keeps_goes_and_everything_agrees_afterwards(box, share):
    """Two of five nights; their space comes back, their ids are in the ledger."""
    before = box.snapshots(share)
    size = sum(f.stat().st_size for f in box.repository_path(share).rglob("*") if f.is_file())

    assert box.run(Prune(share.id)) is JobState.SUCCEEDED

    assert box.snapshots(share) == before[:3]
    (entry,) = events_of(box, "snapshot.removed")
    assert entry.body["snapshots"] == [before[3].id, before[4].id]
    after = sum(f.stat().st_size for f in box.repository_path(share).rglob("*") if f.is_file())
    assert after < size - 300_000
    assert box.source(share).frozen_reason is None
    assert len(box.snapshots(share, with_removed=True)) == 5
    box.assert_agreement(share)


def test_a_preview_says_what_would_go_and_what_would_be_lost(box, share):
    """The files that only those nights show are named; nothing is touched."""
    found = plan_prune(box.settings, box.database, box.source(share), now=utc_now())

    assert found.frozen == ()
    assert [each.why for each in found.preview.decisions].count(KeepReason.EXPIRED) == 2
    assert found.preview.lost.files == 2
    names = {os.path.basename(each.entry.path) for each in found.preview.lost.first}
    assert names == {b"only-0.bin", b"only-1.bin"}
    assert found.preview.bytes >= 400_000
    box.run(Prune(share.id))
    paths = {os.path.basename(path) for s in box.snapshots(share) for path in box.paths(share, s)}
    assert not names & paths


def test_protected_snapshots_and_legal_hold_never_go(box, share):
    """A person said so."""
    oldest = box.snapshots(share)[-1]
    second = box.snapshots(share)[-2]
    with box.database.write() as connection:
        snapshots.mark(connection, oldest.id, protected=True)
        snapshots.mark(connection, second.id, legal_hold=True)

    box.run(Prune(share.id))

    assert {oldest.id, second.id} <= {one.id for one in box.snapshots(share)}


def test_a_snapshot_that_is_going_cannot_be_protected_any_more(box, share, monkeypatch):
    """A promise that would be broken a second later is refused; the protection may still be ended."""
    oldest = box.snapshots(share)[-1]
    told = []

    def protect(*_args, **_options):
        with pytest.raises(SnapshotGoing), box.database.write() as connection:
            snapshot_marks.mark(connection, oldest.id, protected=True)
        with box.database.write() as connection:
            snapshot_marks.mark(connection, oldest.id, legal_hold=False)
            snapshot_marks.mark(connection, box.newest(share).id, protected=True)
        told.append(True)

    real = prune_job.borg.delete
    monkeypatch.setattr(prune_job.borg, "delete", lambda *a: protect() or real(*a))
    box.run(Prune(share.id))

    assert told == [True]
    assert oldest.id not in {one.id for one in box.snapshots(share)}
    with box.database.write() as connection:  # nothing is going any more
        snapshot_marks.mark(connection, box.newest(share).id, legal_hold=True)


def test_a_snapshot_protected_after_the_decision_stays(box, share, monkeypatch):
    """Between what the plan decided and the first removal somebody may say no."""
    oldest = box.snapshots(share)[-1]
    decide = prune_job._decide

    def then_protect(place):
        going = decide(place)
        with box.database.write() as connection:
            snapshot_marks.mark(connection, oldest.id, protected=True)
        return going

    monkeypatch.setattr(prune_job, "_decide", then_protect)
    assert box.run(Prune(share.id)) is JobState.SUCCEEDED

    assert [one.id for one in box.snapshots(share)][-1] == oldest.id
    assert len(box.snapshots(share)) == 4


@pytest.mark.parametrize("doubt", ["run-failed", "proof-failed", "proof-missing", "anomaly-open"])
def test_nothing_goes_while_something_is_in_doubt(box, share, doubt):
    """The job ends warned and says why; the archives are all there."""
    with box.database.write() as connection:
        match doubt:
            case "run-failed":
                connection.exec_driver_sql(
                    "UPDATE job SET state = 'failed' WHERE id ="
                    " (SELECT max(id) FROM job WHERE kind = 'snapshot.take')"
                )
            case "proof-failed":
                connection.exec_driver_sql("UPDATE proof SET outcome = 'failed'")
            case "proof-missing":
                connection.exec_driver_sql("DELETE FROM proof")
            case "anomaly-open":
                anomalies.add(
                    connection,
                    source_id=share.id,
                    snapshot_id=None,
                    kind="encrypted",
                    reading={"value": 0.3, "usual": 0.0, "threshold": 0.1},
                    now=utc_now(),
                )

    assert box.run(Prune(share.id)) is JobState.WARNED

    assert len(box.snapshots(share)) == 5
    with box.open(share) as repository:
        assert len(repository.archives()) == 5
    assert box.source(share).frozen_reason == doubt
    assert any(note.text.startswith("Nothing is removed") for note in notes(box))
    assert events_of(box, "prune.refused")[-1].body["reasons"] == [doubt]


def test_a_doubt_that_is_settled_lets_pruning_go_on(box, share):
    """Closing the anomaly is enough: nothing else has to be remembered."""
    with box.database.write() as connection:
        number = anomalies.add(
            connection, source_id=share.id, snapshot_id=None, kind="vanished", now=utc_now(),
            reading={"value": 0.3, "usual": 0.0, "threshold": 0.1},
        )  # fmt: skip
    box.run(Prune(share.id))
    with box.database.write() as connection:
        anomalies.close(connection, number, person_id=None, reason="tidied up", now=utc_now())
        found = frozen.settle(connection, sources.get(connection, share.id), now=utc_now())

    assert found == []
    assert box.source(share).frozen_reason is None
    assert box.run(Prune(share.id)) is JobState.SUCCEEDED
    assert len(box.snapshots(share)) == 3


def test_an_unreadable_list_is_never_an_empty_one(box, share):
    """The manifest is damaged: an error, frozen, nothing removed."""
    data = box.repository_path(share) / "data"
    newest = sorted((f for f in data.rglob("*") if f.is_file()), key=lambda f: int(f.name))
    manifest = bytes(32)
    for segment in reversed(newest):
        content = bytearray(segment.read_bytes())
        at = content.rfind(manifest)
        if at >= 0:
            content[at + 40] ^= 1
            segment.write_bytes(content)
            break

    with pytest.raises(ArchiveListUnreadable):
        box.run(Prune(share.id))

    assert box.source(share).frozen_reason == "list-unreadable"
    assert len(box.snapshots(share)) == 5


def test_an_archive_that_somebody_removed_stops_the_pruning_of_others(box, share):
    """Expected against present, before anything is compacted."""
    kept = box.snapshots(share)[1]
    box.borg(share, "delete", f"{box.repository_path(share)}::{kept.archive}")

    with pytest.raises(ArchiveVanished):
        box.run(Prune(share.id))

    assert len(box.snapshots(share)) == 5
    with box.open(share) as repository:
        assert len(repository.archives()) == 4
    with box.database.read() as connection:
        reasons = frozen.reasons(connection, box.source(share), now=utc_now())
    assert reasons[0] is FreezeReason.ARCHIVE_VANISHED


def test_what_a_cut_run_left_goes_once_a_snapshot_began_after_it(box, share, tmp_path):
    """A checkpoint is no snapshot: it is kept as long as a run may go on from it, and no longer."""
    path = box.repository_path(share)
    for name, at in (
        ("1-90-x.checkpoint", "2020-01-01T00:00:00"),
        ("1-99-y.checkpoint", "2100-01-01T00:00:00"),
    ):
        made = box.borg(share, "create", "--timestamp", at, f"{path}::{name}", str(tmp_path))
        assert made.returncode == 0

    box.run(Prune(share.id))

    with box.open(share) as repository:
        names = {each.name for each in repository.archives(checkpoints=True)}
    assert "1-90-x.checkpoint" not in names
    assert "1-99-y.checkpoint" in names
    assert len(box.snapshots(share)) == 3
    assert events_of(box, "snapshot.vanished") == []


@pytest.mark.parametrize("place", ["delete", "record", "forget", "compact"])
def test_a_cut_pruning_is_completed_by_the_next(box, share, monkeypatch, place):
    """Killed between any two steps: explained afterwards, never an alarm."""

    class Killed(BaseException):
        pass

    def die(*_args, **_options):
        raise Killed

    with monkeypatch.context() as patch:
        match place:
            case "delete":
                real = prune_job.borg.delete
                patch.setattr(prune_job, "_AT_ONCE", 1)
                calls = []
                patch.setattr(
                    prune_job.borg,
                    "delete",
                    lambda *a: real(*a) if not calls.append(1) and len(calls) == 1 else die(),
                )
            case "record":
                patch.setattr(prune_job, "_record", die)
            case "forget":
                patch.setattr("appliance.catalogue.store.Catalogue.forget", die)
            case "compact":
                patch.setattr(prune_job.borg, "compact", die)
        with pytest.raises(Killed):
            box.run(Prune(share.id))

    assert box.run(Prune(share.id)) is JobState.SUCCEEDED

    assert len(box.snapshots(share)) == 3
    assert events_of(box, "snapshot.vanished") == []
    box.assert_agreement(share)


def test_a_stuck_borg_leaves_everything_listed(box, share, monkeypatch):
    """A timeout in the deletion is no removal."""

    def slow(*_args, **_options):
        raise ToolTimeout("borg", 1.0)

    monkeypatch.setattr("appliance.backup_jobs.borg.Borg.call", slow)

    with pytest.raises(ToolTimeout):
        box.run(Prune(share.id))

    monkeypatch.undo()
    assert len(box.snapshots(share)) == 5
    assert query.totals(box.catalogue(share), box.newest(share).id).files == 26
