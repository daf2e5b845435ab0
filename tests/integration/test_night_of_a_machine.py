"""A night of a machine behind a real OpenSSH server: pulled, listed, proven, restored."""

import os
import sqlite3

import pytest

from appliance.backup_jobs import take_snapshot
from appliance.backup_jobs.archive_comment import read_comment
from appliance.catalogue import query
from appliance.db import snapshots, sources
from appliance.errors import HostKeyChanged, MachineUnreachable, RecipeFailed, RootUnreadable
from appliance.jobs.kinds import Prune, RestoreFiles, VerifySnapshot
from appliance.ledger import chain, proofs
from appliance.model import (
    Consistency,
    JobState,
    Outcome,
    ReadEventKind,
    RecipeUse,
    SnapshotState,
)
from appliance.packed import pack_path
from tests.support.box import Box
from tests.support.trees import make_odd_tree, make_small_tree

pytestmark = pytest.mark.integration


@pytest.fixture
def box(tmp_path):
    made = Box(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "machine"
    made.mkdir()
    make_small_tree(made)
    return made


def stored(path):
    return os.fsencode(path).lstrip(b"/")


def test_two_nights_are_pulled_listed_and_proven(box, sshd, folder):
    """The second reads only what changed; both proofs compare with the machine itself."""
    machine = box.add_machine(sshd, folder)
    assert box.take(machine) is JobState.SUCCEEDED
    first = box.newest(machine)
    (folder / "new é.txt").write_text("new")
    next(folder.glob("dossier*/sous*/*.dat")).unlink()

    second = box.night(machine)

    kinds = sorted(
        c.kind.value
        for c in query.compare(box.catalogue(machine), first.id, second.id)
        if c.path.endswith((b".txt", b".dat"))
    )
    assert kinds == ["added", "removed"]
    with box.database.read() as connection:
        sample = proofs.latest(connection, machine.id, "snapshot.sample")
        count = proofs.latest(connection, machine.id, "snapshot.count")
    assert sample.outcome is count.outcome is Outcome.PROVEN
    assert sample.figures["compared_with_source"] >= 20
    assert count.figures["files_seen"] == 40
    box.assert_agreement(machine)


def test_an_odd_tree_is_listed_as_the_machine_names_it(box, sshd, tmp_path):
    """Names that are not UTF-8, links, deep folders: the catalogue agrees with the archive."""
    odd = tmp_path / "odd"
    make_odd_tree(odd)
    machine = box.add_machine(sshd, odd)

    box.night(machine)

    box.assert_agreement(machine)


def test_a_machine_that_is_off_is_proven_by_recorded_hashes(box, sshd, folder):
    """Said as such, and no less a proof that the repository gives back what was put in."""
    machine = box.add_machine(sshd, folder)
    box.take(machine)
    sshd.stop()

    assert box.run(VerifySnapshot(machine.id, box.newest(machine).id)) is JobState.WARNED

    with box.database.read() as connection:
        figures = proofs.latest(connection, machine.id, "snapshot.sample").figures
    assert figures["source_unreachable"] is True
    assert figures["compared_with_hash"] == figures["files"] >= 20


def test_a_machine_that_is_off_fails_the_night_and_may_be_tried_again(box, sshd, folder):
    """The ledger says why; nothing is listed."""
    machine = box.add_machine(sshd, folder)
    sshd.stop()

    with pytest.raises(MachineUnreachable) as raised:
        box.take(machine)

    assert raised.value.retryable
    assert box.snapshots(machine) == []
    with box.database.read() as connection:
        failed = [
            e.body["error"] for e in chain.entries(connection) if e.event == "snapshot.failed"
        ]
    assert failed == ["machine.unreachable"]


def test_a_changed_host_key_stops_the_night(box, sshd, folder, tmp_path):
    """Somebody else may be answering: nothing is read."""
    machine = box.add_machine(sshd, folder)
    from tests.support.sshd import SshServer

    with SshServer() as other, box.database.write() as connection:
        sources.change(connection, machine.id, host_key=other.host_key)

    with pytest.raises(HostKeyChanged):
        box.take(machine)

    assert box.snapshots(machine) == []


def test_a_folder_that_is_not_there_fails_the_night(box, sshd, folder):
    """And leaves no archive behind."""
    machine = box.add_machine(sshd, folder / "nowhere")

    with pytest.raises(RootUnreadable):
        box.take(machine)

    with box.open(machine) as repository:
        assert repository.archives() == []


class Killed(BaseException):
    """Stands for the moment a process ends."""


@pytest.mark.parametrize("place", ["night.commit", "_list"])
def test_a_night_cut_after_its_archive_is_listed_by_the_next(box, sshd, folder, monkeypatch, place):
    """The next night counts its changes from the one that was cut."""
    machine = box.add_machine(sshd, folder)
    box.take(machine)
    (folder / "a.txt").write_text("of the cut night")

    def die(*_args, **_options):
        raise Killed

    with monkeypatch.context() as patch:
        if place == "_list":
            patch.setattr(take_snapshot, "_list", die)
        else:
            patch.setattr("appliance.catalogue.night.Night.commit", die)
        with pytest.raises(Killed):
            box.take(machine)
    box.interrupt_all()

    assert box.take(machine) is JobState.SUCCEEDED

    newest, cut, _first = box.snapshots(machine)
    assert cut.state is SnapshotState.WARNED
    assert newest.changed == 0
    box.assert_agreement(machine)


def test_the_archive_says_which_run_made_it(box, sshd, folder):
    """What lets a cut night be listed afterwards."""
    machine = box.add_machine(sshd, folder)
    box.take(machine)

    with box.open(machine) as repository:
        (archive,) = repository.archives()

    comment = read_comment(archive.comment)
    assert comment.snapshot == box.newest(machine).id
    assert comment.run == box.newest(machine).job_id
    assert comment.consistency.value == "files"


# --- with a recipe -----------------------------------------------------------------------------


@pytest.fixture
def application(folder):
    """An SQLite database that is open and being written to while the night runs."""
    path = folder / "cabinet.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE visit (id INTEGER PRIMARY KEY, note TEXT)")
    connection.executemany("INSERT INTO visit (note) VALUES (?)", [("suivi",)] * 500)
    connection.commit()
    yield path
    connection.close()


def with_sqlite(path):
    return (RecipeUse("sqlite", {"file": str(path)}),)


def test_a_dump_is_in_the_snapshot_proven_and_can_be_restored(
    box, sshd, folder, application, tmp_path
):
    """The level reached is «dump»; the file opens."""
    machine = box.add_machine(sshd, folder, recipes=with_sqlite(application))

    one = box.night(machine)

    assert one.consistency is Consistency.DUMP
    (dump,) = [path for path in box.paths(machine, one) if path.startswith(b"_armoire/")]
    with box.database.read() as connection:
        sample = proofs.latest(connection, machine.id, "snapshot.sample").figures
        count = proofs.latest(connection, machine.id, "snapshot.count")
    assert (sample["picked_dump"], sample["dumps_left_out"]) == (1, 0)
    assert count.outcome is Outcome.PROVEN
    spec = RestoreFiles(
        machine.id,
        one.id,
        (pack_path(dump),),
        "folder",
        place=pack_path(os.fsencode(tmp_path / "out")),
    )
    assert box.run(spec) is JobState.SUCCEEDED
    back = sqlite3.connect(tmp_path / "out" / os.path.basename(dump).decode())
    assert back.execute("SELECT count(*) FROM visit").fetchone() == (500,)
    back.close()
    box.assert_agreement(machine)


def test_a_failing_dump_fails_the_night_and_freezes_pruning(box, sshd, folder, application):
    """No snapshot without it is listed, no archive is left, nothing is removed."""
    machine = box.add_machine(sshd, folder, recipes=with_sqlite(application))
    box.night(machine)
    with box.database.write() as connection:
        sources.change(connection, machine.id, recipes=with_sqlite(folder / "nowhere.sqlite"))

    with pytest.raises(RecipeFailed):
        box.take(machine)

    assert len(box.snapshots(machine)) == 1
    with box.open(machine) as repository:
        assert len(repository.archives()) == 1
    assert box.run(Prune(machine.id)) is JobState.WARNED
    assert box.source(machine).frozen_reason == "run-failed"


def test_a_raw_copy_of_a_live_database_is_said_as_unknown(box, sshd, folder):
    """PostgreSQL's own folder without a recipe: warned, and never green."""
    (folder / "data").mkdir()
    (folder / "data" / "PG_VERSION").write_text("15\n")
    for name in ("global", "base", "pg_wal"):
        (folder / "data" / name).mkdir()
    for source in (box.add_machine(sshd, folder), box.add_share(folder)):
        box.take(source)
        one = box.newest(source)
        assert one.consistency is Consistency.UNKNOWN
        assert one.state is SnapshotState.WARNED
        with box.database.read() as connection:
            kinds = {event.kind for event in snapshots.events(connection, one.id)}
        assert kinds == {ReadEventKind.LIVE_DATABASE}
