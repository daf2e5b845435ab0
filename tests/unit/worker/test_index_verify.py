"""Every night what can be found is compared with what is there."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.clock import utc_now
from appliance.db import shares, sources
from appliance.db.engine import Database
from appliance.disk import index_verify as comparing
from appliance.disk.index_file import ROOT, Index, path_of
from appliance.disk.index_keep import Keeper
from appliance.disk.index_verify import compare
from appliance.disk.index_work import wish_path
from appliance.jobs import queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import VerifyIndex
from appliance.ledger import proofs
from appliance.model import JobState, Outcome, SourceKind
from appliance.settings import Settings
from appliance.worker.tasks import index_verify


@pytest.fixture
def share(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> shares.Share:
    """A share of two days ago with a few folders."""
    monkeypatch.setattr(comparing, "GRACE_S", 0.0)
    folder = tmp_path / "documents"
    for each in ("a/b/c/radio.txt", "a/letter.txt", "d/e.txt"):
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).write_text(each)
    (folder / ".armoire").mkdir()
    then = utc_now() - timedelta(days=2)
    with database.write() as c:
        source = sources.add(
            c, name="documents", label="D", kind=SourceKind.SHARE, roots=(str(folder),), now=then
        )
        return shares.add(
            c, name="documents", label="D", folder=folder, now=then, source_id=source.id
        )


def listed(settings: Settings, share: shares.Share) -> Keeper:
    keeper = Keeper(share, Index(path_of(settings, share.id)))
    keeper.look_at_all()
    keeper.settle()
    return keeper


def verify(settings: Settings, database: Database) -> JobState:
    with database.write() as c:
        number = queue.enqueue(c, VerifyIndex(), now=utc_now())
        job = queue.claim(c, runner="tests", now=utc_now(), only=number)
    assert job is not None
    with JobContext(settings, database, job) as context:
        state = index_verify.run(context, VerifyIndex())
    with database.write() as c:
        queue.finish(c, number, state, now=utc_now())
    return state


def test_an_index_that_is_right_is_proven(settings, database, share):
    """With how many it compared."""
    listed(settings, share).index.close()
    assert verify(settings, database) is JobState.SUCCEEDED
    with database.read() as c:
        proof = proofs.latest(c, share.source_id, "disk.index")
    assert proof.outcome is Outcome.PROVEN
    assert (proof.figures["on_disk"], proof.figures["missing"]) == (7, 0)
    assert proof.figures["waiting"] == 3
    assert not wish_path(settings, share.id).exists()


def test_every_kind_of_difference_is_counted(settings, database, share):
    """Missing with all below it, left over, and told otherwise."""
    keeper = listed(settings, share)
    index = keeper.index
    index.shelve(index.find(ROOT, b"d").id)
    index.add(ROOT, b"ghost", "f", size=1, mtime_ns=1, inode=1, text=0)
    index.close()
    letter = share.folder / "a" / "letter.txt"
    letter.write_text("another text")
    os.utime(letter, ns=(1, 1))
    found = compare(settings, share, grace_s=0)
    assert (found.missing, found.stale, found.altered, found.on_disk) == (2, 1, 1, 7)
    assert not found.is_right


def test_a_difference_is_mended_and_said(settings, database, share):
    """The job is a warning, the proof a failure, and the whole share is to be looked at."""
    keeper = listed(settings, share)
    keeper.index.shelve(keeper.index.find(ROOT, b"a").id)
    keeper.index.close()
    assert verify(settings, database) is JobState.WARNED
    with database.read() as c:
        proof = proofs.latest(c, share.source_id, "disk.index")
    assert proof.outcome is Outcome.FAILED
    assert proof.figures["missing"] == 5
    assert "letter" not in str(proof.figures)
    assert wish_path(settings, share.id).exists()


def test_without_an_index_nothing_is_claimed(settings, database, share):
    """Neither right nor wrong; and while a share is new, not even that."""
    assert verify(settings, database) is JobState.WARNED
    with database.write() as c:
        assert proofs.latest(c, share.source_id, "disk.index").outcome is Outcome.INCONCLUSIVE
        shares.change(c, share.id, created_at=utc_now())
    assert verify(settings, database) is JobState.SUCCEEDED


def test_an_unplugged_disk_is_not_an_empty_one(settings, database, share):
    """Nothing is said to be left over where nothing can be read."""
    listed(settings, share).index.close()
    share.folder.rename(share.folder.with_name("gone"))
    assert compare(settings, share, grace_s=0) is None
