"""A night of a share: read, listed, catalogued, and repaired when it was cut."""

import os
import stat
from datetime import timedelta

import pytest

from appliance.backup_jobs import reconcile, take_snapshot
from appliance.catalogue import query
from appliance.clock import utc_now
from appliance.db import anomalies, facts, snapshots
from appliance.db import secrets as vault_rows
from appliance.errors import (
    ArchiveVanished,
    ClockWrong,
    InvalidInput,
    NoSpace,
    RepositoryLocked,
    RepositoryMissing,
    RepositoryReplaced,
    RootUnreadable,
    SecretMissing,
    WrongPassphrase,
)
from appliance.jobs import queue
from appliance.jobs.kinds import TakeSnapshot
from appliance.ledger import chain
from appliance.model import JobState, ReadEventKind, SnapshotState, SourceKind
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from tests.support.box import Box
from tests.support.trees import make_small_tree

pytestmark = pytest.mark.integration


@pytest.fixture
def box(tmp_path):
    made = Box(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "partage"
    made.mkdir()
    make_small_tree(made)
    return made


def events_of(box, event):
    with box.database.read() as connection:
        return [one for one in chain.entries(connection) if one.event == event]


def stored(path):
    return os.fsencode(path).lstrip(b"/")


def test_two_nights_list_what_is_there_and_write_only_what_changed(box, folder):
    """The second night's catalogue has rows for the new, the changed and the vanished file only."""
    share = box.add_share(folder)
    (folder / "a.txt").write_text("one")
    assert box.take(share) is JobState.SUCCEEDED
    first = box.newest(share)
    (folder / "a.txt").write_text("two, longer")
    (folder / "new é.txt").write_text("new")
    gone = next(folder.glob("dossier*/sous*/*.dat"))
    gone.unlink()

    assert box.take(share) is JobState.SUCCEEDED

    second = box.newest(share)
    changes = {
        c.path: c.kind.value for c in query.compare(box.catalogue(share), first.id, second.id)
    }
    assert changes[stored(folder / "a.txt")] == "changed"
    assert changes[stored(folder / "new é.txt")] == "added"
    assert changes[stored(gone)] == "removed"
    assert second.files_seen == 41
    assert second.vanished == 1
    assert second.original_bytes == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    assert second.state is SnapshotState.COMPLETE
    box.assert_agreement(share)


def test_what_is_listed_says_who_made_it_and_what_follows(box, folder):
    """Ledger, journal record (domain.md SAV-08), last seen, size and the proof that comes next."""
    share = box.add_share(folder)

    box.take(share)

    one = box.newest(share)
    with box.database.read() as connection:
        journal = snapshots.stats(connection, one.id)["journal"]
        waiting = queue.waiting(connection)
    assert {"device", "scope", "type", "files", "started_at", "state"} <= set(journal)
    assert journal["scope"]["roots"] == [str(folder)]
    assert [entry.subject for entry in events_of(box, "snapshot.taken")] == [f"snapshot:{one.id}"]
    assert [(job.kind, job.spec["snapshot_id"]) for job in waiting] == [("snapshot.verify", one.id)]
    assert box.source(share).last_seen_at is not None


def test_attributes_acls_and_hard_links_come_back_with_plain_borg(box, folder, tmp_path):
    """A person with the passphrase needs nothing of ours to restore."""
    (folder / "one").write_text("twice")
    os.link(folder / "one", folder / "two")
    os.setxattr(folder / "one", "user.note", b"secret")
    share = box.add_share(folder)
    box.take(share)
    out = tmp_path / "out"
    out.mkdir()

    done = box.borg(
        share, "extract", f"{box.repository_path(share)}::{box.newest(share).archive}", cwd=out
    )

    assert done.returncode == 0
    back = out / str(folder).lstrip("/")
    assert os.stat(back / "one").st_ino == os.stat(back / "two").st_ino
    assert os.getxattr(back / "two", "user.note") == b"secret"
    assert query.entry(box.catalogue(share), box.newest(share).id, stored(folder / "two")).size == 5


def test_odd_names_are_found_again_under_their_own_bytes(box, folder):
    """Borg's listing shows them as «?»; the catalogue must not."""
    name = b"ordonnance \xe9t\xe9\n.txt"
    with open(os.path.join(os.fsencode(folder), name), "wb") as file:
        file.write(b"x")
    share = box.add_share(folder)

    box.take(share)

    assert stored(folder) + b"/" + name in box.paths(share, box.newest(share))


def test_a_folder_that_is_not_there_fails_and_leaves_no_archive(box, folder):
    """An unreadable root is a failed night, and the ledger says so."""
    share = box.add_share(folder / "nowhere")

    with pytest.raises(RootUnreadable):
        box.take(share)

    assert box.snapshots(share) == []
    assert [entry.body["error"] for entry in events_of(box, "snapshot.failed")] == [
        "machine.root-unreadable"
    ]
    with box.open(share) as repository:
        assert repository.archives() == []


def test_devices_and_pipes_do_no_harm(box, folder):
    """A named pipe in a share is listed and read by nobody."""
    os.mkfifo(folder / "pipe")
    share = box.add_share(folder)

    assert box.take(share) is JobState.SUCCEEDED

    assert (
        query.entry(box.catalogue(share), box.newest(share).id, stored(folder / "pipe")).kind.value
        == "o"
    )


def test_a_machine_that_pushes_is_not_pulled(box, folder):
    """The question is wrong, nothing is tried."""
    share = box.add_share(folder)
    with box.database.write() as connection:
        connection.exec_driver_sql("UPDATE source SET kind = ?", (SourceKind.PUSHED.value,))

    with pytest.raises(InvalidInput):
        box.take(share)


# --- what the box is not fit for ---------------------------------------------------------------


def test_an_empty_mount_point_is_not_an_empty_repository(box, folder):
    """An unplugged disk stops the night; when it is back, nothing was lost."""
    share = box.add_share(folder)
    box.take(share)
    place = box.repository_path(share)
    away = place.with_name("away")
    place.rename(away)
    place.mkdir()

    with pytest.raises(RepositoryMissing):
        box.take(share)

    assert list(place.iterdir()) == []
    assert len(box.snapshots(share)) == 1
    place.rmdir()
    away.rename(place)
    assert box.take(share) is JobState.SUCCEEDED
    box.assert_agreement(share)


def test_another_repository_at_its_place_is_refused(box, folder):
    """The id is pinned: a swapped disk is never written to."""
    share, other = box.add_share(folder), box.add_share(folder, "autre")
    place, swapped = box.repository_path(share), box.repository_path(other)
    place.rename(place.with_name("away"))
    swapped.rename(place)

    with pytest.raises(RepositoryReplaced):
        box.take(share)


def test_a_wrong_passphrase_is_named_as_such(box, folder):
    """The vault holds another one than the repository was made with."""
    share = box.add_share(folder)
    sealed = seal(Secret(b"another"), box.settings.keys)
    with box.database.write() as connection:
        vault_rows.put_sealed(
            connection, f"repository:{share.id}:passphrase", sealed, now=utc_now()
        )

    with pytest.raises(WrongPassphrase):
        box.take(share)


def test_a_missing_secret_is_named_as_such(box, folder):
    """Nothing is made anew: that would lock the old snapshots away."""
    share = box.add_share(folder)
    with box.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM secret")

    with pytest.raises(SecretMissing):
        box.take(share)


def test_a_repository_in_use_is_tried_again_later(box, folder):
    """Two nights at once: one waits its turn, nothing is broken."""
    share = box.add_share(folder)
    lock = box.repository_path(share) / "lock.exclusive"
    lock.mkdir()
    # A lock of another host: nobody here can know whether its holder lives.
    (lock / "elsewhere@1234.999999-0").touch()

    with pytest.raises(RepositoryLocked) as raised:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("appliance.backup_jobs.workplace.LOCK_WAIT_S", 0.2)
            box.take(share)

    assert raised.value.retryable
    assert lock.exists()


def test_a_clock_that_went_back_a_day_stops_the_night(box, folder):
    """A snapshot dated before the last would be pruned in its place."""
    share = box.add_share(folder)
    box.take(share)
    box.backdate(box.newest(share), utc_now() + timedelta(days=1))

    with pytest.raises(ClockWrong):
        box.take(share)

    assert len(box.snapshots(share)) == 1


def test_a_nearly_full_disk_stops_the_night_before_it_begins(tmp_path, folder):
    """What is kept stays whole; the person is told."""
    box = Box(tmp_path / "data")
    share = box.add_share(folder)
    box.settings = type(box.settings)(**{**_fields(box.settings), "free_bytes_floor": 2**60})
    try:
        with pytest.raises(NoSpace) as raised:
            box.take(share)
    finally:
        box.close()
    assert raised.value.needed_bytes == 2**60


def _fields(settings):
    from dataclasses import fields

    return {each.name: getattr(settings, each.name) for each in fields(settings)}


# --- cut nights --------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the moment a process ends."""


@pytest.mark.parametrize("place", ["night.commit", "_list"])
def test_a_night_cut_after_its_archive_is_listed_by_the_next(box, folder, monkeypatch, place):
    """Archive committed, then killed before the catalogue or before the list: nothing is lost."""
    share = box.add_share(folder)
    box.take(share)
    (folder / "a.txt").write_text("of the cut night")

    def die(*_args, **_options):
        raise Killed

    with monkeypatch.context() as patch:
        if place == "_list":
            patch.setattr(take_snapshot, "_list", die)
        else:
            patch.setattr("appliance.catalogue.night.Night.commit", die)
        with pytest.raises(Killed):
            box.take(share)
    box.interrupt_all()
    assert len(box.snapshots(share)) == 1

    assert box.take(share) is JobState.SUCCEEDED

    assert len(box.snapshots(share)) == 3
    assert box.snapshots(share)[1].state is SnapshotState.WARNED  # what was met is not known
    assert len(events_of(box, "snapshot.listed-afterwards")) == 1
    box.assert_agreement(share)


def test_a_catalogue_that_is_gone_is_made_again(box, folder):
    """It is never the authority."""
    share = box.add_share(folder)
    box.take(share)
    box.catalogue(share).close()
    for each in box.settings.catalogues.iterdir():
        each.unlink()

    box.take(share)

    box.assert_agreement(share)
    assert len(box.snapshots(share)) == 2


def test_an_archive_that_nobody_here_removed_freezes_everything(box, folder):
    """An alarm, an anomaly, the ledger; nothing is deleted, and the list still shows it."""
    share = box.add_share(folder)
    box.take(share)
    box.take(share)
    lost = box.newest(share)
    box.borg(share, "delete", f"{box.repository_path(share)}::{lost.archive}")

    with pytest.raises(ArchiveVanished):
        box.take(share)

    assert box.source(share).frozen_reason == "archive-vanished"
    assert [entry.body["snapshots"] for entry in events_of(box, "snapshot.vanished")] == [[lost.id]]
    assert len(box.snapshots(share)) == 2
    with box.database.read() as connection:
        (opened,) = anomalies.open_ones(connection, share.id)
    assert (opened.kind, opened.snapshot_id) == (reconcile.VANISHED, lost.id)


def test_a_person_who_looked_may_let_the_nights_go_on(box, folder):
    """Closing the anomaly records the loss; the next night runs."""
    share = box.add_share(folder)
    box.take(share)
    box.take(share)
    box.borg(share, "delete", f"{box.repository_path(share)}::{box.newest(share).archive}")
    with pytest.raises(ArchiveVanished):
        box.take(share)
    with box.database.write() as connection:
        (opened,) = anomalies.open_ones(connection, share.id)
        anomalies.close(connection, opened.id, person_id=None, reason="our mistake", now=utc_now())

    box.take(share)

    assert len(box.snapshots(share)) == 2
    box.assert_agreement(share)


def test_an_archive_of_somebody_else_is_left_alone(box, folder):
    """It is not ours to list, and not ours to remove."""
    share = box.add_share(folder)
    box.take(share)
    box.borg(share, "create", f"{box.repository_path(share)}::mine", str(folder))

    box.take(share)

    assert len(box.snapshots(share)) == 2
    with box.open(share) as repository:
        assert {one.name for one in repository.archives()} >= {"mine"}


def test_ids_are_never_given_twice(box, folder):
    """Two sources at the same moment, or a night that failed: each id is used once."""
    share = box.add_share(folder)
    from appliance.backup_jobs.workplace import reserve_snapshot_id

    with box.database.write() as connection:
        reserved = reserve_snapshot_id(connection, utc_now())
    box.take(share)

    assert box.newest(share).id == reserved + 1
    with box.database.read() as connection:
        assert facts.find(connection, "snapshot.newest-id") == reserved + 1


def test_a_changed_mode_alone_is_seen(box, folder):
    """No byte changed, and yet it is another version."""
    share = box.add_share(folder)
    (folder / "a.txt").write_text("same")
    box.take(share)
    first = box.newest(share)
    (folder / "a.txt").chmod(0o600)

    box.take(share)

    (change,) = [
        each
        for each in query.compare(box.catalogue(share), first.id, box.newest(share).id)
        if each.path == stored(folder / "a.txt")
    ]
    assert stat.S_IMODE(change.after.mode) == 0o600
    assert change.after.chunks == change.before.chunks


def test_the_night_is_stopped_when_a_person_asks(box, folder, monkeypatch):
    """No snapshot is listed; the next night is whole."""
    from appliance.errors import JobCancelled

    share = box.add_share(folder)
    monkeypatch.setattr("appliance.jobs.context.JobContext.should_stop", lambda _self: True)

    with pytest.raises(JobCancelled):
        box.run(TakeSnapshot(share.id))

    assert box.snapshots(share) == []
    monkeypatch.undo()
    box.take(share)
    box.assert_agreement(share)


def test_a_file_that_cannot_be_read_makes_a_warned_night(box, folder):
    """It is recorded with the snapshot, counted and shown."""
    (folder / "closed.txt").write_text("x")
    (folder / "closed.txt").chmod(0)
    (folder / "closed").mkdir(mode=0)
    share = box.add_share(folder)

    box.run_without_privileges(TakeSnapshot(share.id))

    newest = box.newest(share)
    with box.database.read() as connection:
        found = {each.path: each.kind for each in snapshots.events(connection, newest.id)}
    assert found == {
        stored(folder / "closed.txt"): ReadEventKind.UNREADABLE,
        stored(folder / "closed"): ReadEventKind.UNREADABLE,
    }
    assert (newest.state, newest.warnings) == (SnapshotState.WARNED, 2)
    assert newest.files_seen == 41
    with box.database.read() as connection:
        (job,) = queue.newest(connection, kind="snapshot.take")
    assert job.state is JobState.WARNED
