"""The box's own state, backed up like the practice's machines: taken, proven, checked, pruned, brought back."""

import shutil
import sqlite3
from datetime import timedelta

import pytest

from appliance.clock import utc_now
from appliance.db import anomalies, facts, repositories, secrets, snapshots, sources
from appliance.errors import InvalidInput, RepositoryDamaged
from appliance.jobs import queue
from appliance.jobs.kinds import (
    CheckRepository,
    PushCopy,
    RebuildCatalogue,
    SetUpSource,
    TakeSnapshot,
)
from appliance.ledger import proofs
from appliance.model import (
    BOX_SOURCE,
    Consistency,
    JobState,
    Keep,
    Outcome,
    Plan,
    SnapshotState,
    SourceKind,
)
from appliance.replication import kit, state
from appliance.replication.recover_borg import extract_newest
from appliance.settings import Settings
from appliance.vault import words
from appliance.vault.unseal import unseal
from appliance.worker import box_source
from appliance.worker.planner import Planner
from tests.support.box import Box
from tests.support.copies_box import CopiesBox

pytestmark = pytest.mark.integration


@pytest.fixture
def box(tmp_path):
    made = Box(tmp_path / "box")
    box_source.ensure(made.settings, made.database, utc_now())
    assert made.run(SetUpSource(BOX_SOURCE)) is JobState.SUCCEEDED
    yield made
    made.close()


def own(box):
    with box.database.read() as connection:
        return sources.get(connection, BOX_SOURCE)


def touch(box, value):
    with box.database.write() as connection:
        facts.put(connection, "test", value, now=utc_now())


def test_it_is_there_once_whenever_it_is_asked_for(box):
    """A box made before this version gets it at its next start, and only once."""
    with box.database.read() as connection:
        before = (facts.find(connection, "kit.recipient"), sources.all_living(connection))

    box_source.ensure(box.settings, box.database, utc_now())

    with box.database.read() as connection:
        assert (facts.find(connection, "kit.recipient"), sources.all_living(connection)) == before
    assert own(box).kind is SourceKind.BOX
    assert own(box).label == "Boîtier"


def test_a_machine_of_that_name_keeps_it(tmp_path):
    """The practice's own names come first."""
    box = Box(tmp_path / "box")
    with box.database.write() as connection:
        sources.add(
            connection,
            name="boitier",
            label="x",
            kind=SourceKind.SHARE,
            roots=("/x",),
            now=utc_now(),
        )
    box_source.ensure(box.settings, box.database, utc_now())
    assert own(box).name == "boitier-armoire"
    box.close()


def test_its_night_is_taken_proven_and_costs_only_what_changed(box):
    """A snapshot, both proofs, the rolling check; the second night adds little."""
    assert box.take(own(box)) is JobState.SUCCEEDED
    first = box.night(own(box))
    touch(box, "x")
    second = box.night(own(box))

    assert first.state is SnapshotState.COMPLETE
    assert first.consistency is Consistency.DUMP
    assert second.original_bytes >= 100_000
    with box.database.read() as connection:
        for kind in ("snapshot.sample", "snapshot.count"):
            assert proofs.latest(connection, BOX_SOURCE, kind).outcome is Outcome.PROVEN
        assert anomalies.open_ones(connection, BOX_SOURCE) == []
        waiting = {each.kind for each in queue.waiting(connection)}
    # Pruning after the state was taken would make the copy list snapshots that are gone.
    assert "repository.check" in waiting
    assert "repository.prune" not in waiting
    assert box.run(CheckRepository(BOX_SOURCE, full=True)) is JobState.SUCCEEDED
    assert box.run(RebuildCatalogue(BOX_SOURCE)) is JobState.SUCCEEDED
    assert (box.settings.state.stat().st_mode & 0o777) == 0o700


def test_the_state_comes_back_with_the_sheets_alone(box, tmp_path):
    """The passphrase lies beside the repository, sealed to the kit: what a fire leaves is enough."""
    touch(box, "precious")
    box.take(own(box))
    with box.database.read() as connection:
        sealed = secrets.get_sealed(connection, kit.SECRET)
        place = box.settings.repositories / repositories.get(connection, BOX_SOURCE).path
    identity = words.identity(unseal(kit.SECRET, sealed, box.settings.keys))
    copy = tmp_path / "copy"
    shutil.copytree(place, copy)
    shutil.rmtree(box.settings.keys)
    into = tmp_path / "into"
    into.mkdir()

    extract_newest(
        copy,
        state.open_passphrase(copy, identity),
        tmp_path / "home",
        into,
        should_stop=lambda: False,
    )
    top = next(into.rglob("state.json")).parent
    new = Settings(data=tmp_path / "new")
    taken = state.unstage(top, new, identity, instance="i", now=utc_now())

    assert taken.unreadable == ()
    with sqlite3.connect(new.data / "state.sqlite") as database:
        (found,) = database.execute("SELECT value FROM fact WHERE name = 'test'").fetchone()
    assert "precious" in found
    assert not list(into.rglob(".staged.json"))


def test_old_states_go_before_the_night_so_that_the_copy_lists_none_that_is_gone(box, tmp_path):
    """A box made again from the newest state finds every snapshot it lists."""
    box.change_plan(own(box), keep=Keep(within_days=0, daily=1, weekly=0, monthly=0))
    for days in (3, 2):
        touch(box, days)
        taken = box.night(own(box))
        box.backdate(taken, utc_now() - timedelta(days=days))
    touch(box, "now")

    box.night(own(box))

    assert len(box.snapshots(own(box))) == 2  # one a day: the oldest went
    with sqlite3.connect(box.settings.state / "copy" / "state.sqlite") as database:
        listed = {row[0] for row in database.execute(
            "SELECT archive_id FROM snapshot WHERE source_id = 0 AND removed_at IS NULL"
        )}  # fmt: skip
    with box.open(own(box)) as repository:
        assert listed <= {one.id for one in repository.archives()}


def test_damage_in_it_is_found_and_names_no_file(box):
    """The check says how much; which of the box's own files it was is nobody's to read."""
    box.night(own(box))
    largest = max(
        (box.settings.repositories / "0" / "data").rglob("*"),
        key=lambda path: path.stat().st_size if path.is_file() else 0,
    )
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)

    with pytest.raises(RepositoryDamaged):
        box.run(CheckRepository(BOX_SOURCE, full=True))

    with box.database.read() as connection:
        found = snapshots.events(connection, box.newest(own(box)).id)
        assert proofs.latest(connection, BOX_SOURCE, "repository.check").outcome is Outcome.FAILED
    assert {each.path for each in found} <= {b""}


def test_nobody_but_the_worker_lays_it_out(box):
    """Without what the worker lends there is no night, and it is said."""
    from appliance.backup_jobs import take_snapshot
    from appliance.jobs.context import JobContext

    job_id = box.queue(TakeSnapshot(BOX_SOURCE))
    with box.database.read() as connection:
        job = queue.get(connection, job_id)
    with JobContext(box.settings, box.database, job) as context, pytest.raises(InvalidInput):
        take_snapshot.run(context, TakeSnapshot(BOX_SOURCE))


def test_it_cannot_be_removed(box):
    """A box that does not back itself up cannot be made again."""
    with pytest.raises(InvalidInput), box.database.write() as connection:
        sources.remove(connection, BOX_SOURCE, now=utc_now())
    assert own(box)


def test_the_planner_sends_the_copies_of_a_night(tmp_path):
    """At five at the latest, whatever is still to be read; a disk that is away is not waited for."""
    copied = CopiesBox(tmp_path)
    row = copied.add_disk(tmp_path / "disk")
    with copied.database.write() as connection:
        connection.exec_driver_sql("UPDATE job SET state = 'cancelled' WHERE state = 'queued'")
        # Its night is due at half past five in the morning, at whatever hour this test runs.
        late = Plan(window_start="04:00", window_end="06:00")
        sources.change(connection, copied.share.id, plan=late)
    planner = Planner(copied.settings, copied.database)
    tomorrow = (utc_now() + timedelta(days=1)).replace(hour=4, minute=30)  # after 05:00 in Paris

    queued = planner.turn(tomorrow)

    assert queued[-1] == PushCopy(row.id)
    assert TakeSnapshot(copied.share.id) in queued
    assert planner.turn(tomorrow + timedelta(minutes=1)) == []
    copied.close()
