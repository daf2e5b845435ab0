"""What the proof of a night finds, and what the checks find later: bytes, not promises."""

import os
from datetime import timedelta

import pytest

from appliance.backup_jobs import damage
from appliance.catalogue import query
from appliance.clock import utc_now
from appliance.db import anomalies, repositories, snapshots
from appliance.errors import ArchiveVanished, NotFound, ProofFailed, RepositoryDamaged
from appliance.jobs import queue
from appliance.jobs.kinds import CheckRepository, VerifySnapshot
from appliance.ledger import chain, proofs
from appliance.model import JobState, Outcome, ReadEventKind
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
    (made / "large.bin").write_bytes(os.urandom(3_000_000))
    return made


@pytest.fixture
def share(box, folder):
    made = box.add_share(folder)
    box.take(made)
    return made


def stored(path):
    return os.fsencode(path).lstrip(b"/")


def proof(box, share, kind):
    with box.database.read() as connection:
        return proofs.latest(connection, share.id, kind)


def waiting(box):
    with box.database.read() as connection:
        return [job.kind for job in queue.waiting(connection)]


def verify(box, share):
    return box.run(VerifySnapshot(share.id, box.newest(share).id))


def test_a_sample_is_compared_with_the_source_and_the_count_agrees(box, share, folder):
    """At least 20 files, the largest among them, byte for byte with what lies in the share."""
    assert verify(box, share) is JobState.SUCCEEDED

    sample, count = proof(box, share, "snapshot.sample"), proof(box, share, "snapshot.count")
    assert sample.outcome is count.outcome is Outcome.PROVEN
    assert sample.figures["files"] == sample.figures["compared_with_source"] >= 20
    assert sample.figures["picked_largest"] >= 1
    assert sample.figures["bytes"] >= 3_000_000
    assert count.figures["files_seen"] == count.figures["files_in_archive"] == 41
    assert sample.snapshot_id == box.newest(share).id
    assert waiting(box) == ["repository.check", "repository.prune"]
    with box.database.read() as connection:
        chain.verify(connection)


def test_a_changed_file_is_proven_by_its_recorded_hash(box, share, folder):
    """What is no longer the same there is compared with what was recorded that night."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"another")

    assert verify(box, share) is JobState.SUCCEEDED

    figures = proof(box, share, "snapshot.sample").figures
    assert figures["compared_with_source"] == 0
    assert figures["compared_with_hash"] == figures["files"] >= 20


def test_bytes_that_differ_from_an_unchanged_source_fail_the_proof(box, share, folder, monkeypatch):
    """The repository gives other bytes than the file that nobody touched: red, and frozen."""
    real = __import__(
        "appliance.backup_jobs.borg_library", fromlist=["Repository"]
    ).Repository.fetch

    def altered(self, ids):
        for block in real(self, ids):
            yield bytes(len(block)) if len(block) > 100_000 else block

    monkeypatch.setattr("appliance.backup_jobs.borg_library.Repository.fetch", altered)
    # Items of the archive come through the same door: only large chunks are altered.

    with pytest.raises(ProofFailed) as raised:
        verify(box, share)

    assert raised.value.mismatches == 1
    assert proof(box, share, "snapshot.sample").outcome is Outcome.FAILED
    assert box.source(share).frozen_reason == "proof-failed"
    assert "repository.prune" not in waiting(box)
    with box.database.read() as connection:
        (event,) = snapshots.events(connection, box.newest(share).id)
    assert (event.kind, event.path) == (ReadEventKind.DAMAGED, stored(folder / "large.bin"))


def test_a_catalogue_that_says_something_else_fails_the_proof(box, share, folder):
    """Recorded hashes are compared with the archive's own, not with themselves."""
    for path in folder.rglob("*.dat"):
        os.utime(path)
    catalogue = box.catalogue(share)
    with catalogue.writing() as connection:
        connection.execute("UPDATE version SET chunks = zeroblob(length(chunks)) WHERE kind = 'f'")
        connection.execute("COMMIT")

    with pytest.raises(ProofFailed) as raised:
        verify(box, share)

    assert raised.value.mismatches >= 10


def test_a_count_that_does_not_agree_fails_the_proof(box, share):
    """The source showed a file more than the archive holds, and no event explains it."""
    with box.database.write() as connection:
        connection.exec_driver_sql("UPDATE snapshot SET files_seen = files_seen + 1")

    with pytest.raises(ProofFailed):
        verify(box, share)

    assert proof(box, share, "snapshot.sample").outcome is Outcome.PROVEN
    assert proof(box, share, "snapshot.count").outcome is Outcome.FAILED


def test_a_snapshot_of_another_source_is_not_proven_in_its_place(box, share, tmp_path):
    """Ids are checked together."""
    other = box.add_share(tmp_path / "partage", "autre")

    with pytest.raises(NotFound):
        box.run(VerifySnapshot(other.id, box.newest(share).id))


def test_a_vanished_archive_is_an_alarm_not_a_failed_proof(box, share):
    """Nobody here removed it."""
    box.borg(share, "delete", f"{box.repository_path(share)}::{box.newest(share).archive}")

    with pytest.raises(ArchiveVanished):
        verify(box, share)

    assert box.source(share).frozen_reason == "archive-vanished"


# --- re-reading --------------------------------------------------------------------------------


def test_a_slice_is_re_read_and_a_full_reading_gives_a_date(box, share):
    """Every byte was read again since then: a figure, from a proof."""
    before = utc_now()
    assert box.run(CheckRepository(share.id)) is JobState.SUCCEEDED
    assert proof(box, share, "repository.check").figures["to_the_end"] is True
    assert proof(box, share, "repository.data") is None

    assert box.run(CheckRepository(share.id, full=True)) is JobState.SUCCEEDED

    data = proof(box, share, "repository.data")
    assert data.outcome is Outcome.PROVEN
    assert data.figures["chunks"] > 10
    with box.database.read() as connection:
        row = repositories.get(connection, share.id)
    assert row.all_read_since >= before
    assert row.checked_at is not None


def test_a_month_without_a_full_reading_makes_the_slice_a_full_one(box, share):
    """Nobody has to think of it."""
    with box.database.write() as connection:
        repositories.change(connection, share.id, created_at=utc_now() - timedelta(days=32))

    box.run(CheckRepository(share.id))

    assert proof(box, share, "repository.data") is not None


def flip_a_bit_of(box, share, path):
    """Damage the first chunk of a file where it lies in its segment."""
    entry = query.entry(box.catalogue(share), box.newest(share).id, stored(path))
    identity = entry.chunks[:32]
    for segment in sorted((box.repository_path(share) / "data").rglob("*"), reverse=True):
        if segment.is_file():
            data = bytearray(segment.read_bytes())
            at = data.find(identity)
            if at >= 0:
                data[at + 32 + 200] ^= 0x10
                segment.write_bytes(data)
                return
    raise AssertionError("the chunk is nowhere")


@pytest.mark.parametrize("full", [False, True])
def test_a_flipped_bit_is_found_and_named_by_snapshot_and_file(box, share, folder, full):
    """The rolling check finds it; the page names what is affected, the log does not."""
    (folder / "later.txt").write_text("of the second night")
    box.take(share)
    flip_a_bit_of(box, share, folder / "large.bin")

    with pytest.raises(RepositoryDamaged) as raised:
        box.run(CheckRepository(share.id, full=full))

    assert "large" not in str(raised.value)
    newest, first = box.snapshots(share)
    with box.database.read() as connection:
        for snapshot in (newest, first):
            (event,) = snapshots.events(connection, snapshot.id)
            assert (event.kind, event.path) == (ReadEventKind.DAMAGED, stored(folder / "large.bin"))
        (opened,) = anomalies.open_ones(connection, share.id)
        notes = [
            row.text + str(row.facts)
            for job in queue.newest(connection)
            for row in queue.notes(connection, job.id)
        ]
    assert opened.kind == damage.DAMAGED
    assert (opened.reading["value"], opened.reading["snapshots"]) == (1, 2)
    assert box.source(share).frozen_reason == "proof-failed"
    assert not [note for note in notes if "large" in note]
    assert proof(box, share, "repository.check").figures["damaged_files"] == 1


def test_the_same_damage_is_told_once(box, share, folder):
    """Every night would find it again: one anomaly, one event a file."""
    flip_a_bit_of(box, share, folder / "large.bin")

    for _ in range(2):
        with pytest.raises(RepositoryDamaged):
            box.run(CheckRepository(share.id))

    with box.database.read() as connection:
        assert len(anomalies.open_ones(connection, share.id)) == 1
        assert len(snapshots.events(connection, box.newest(share).id)) == 1


def test_a_flipped_bit_in_the_sample_fails_the_proof(box, share, folder):
    """The largest file is always in the sample."""
    flip_a_bit_of(box, share, folder / "large.bin")

    with pytest.raises(ProofFailed):
        verify(box, share)

    assert proof(box, share, "snapshot.sample").figures["mismatches"] == 1
