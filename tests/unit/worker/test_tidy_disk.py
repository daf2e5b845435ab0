"""Every night the bins are emptied of what is past its days, and the shares are measured."""

import fcntl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.clock import utc_now
from appliance.db import shares, sources
from appliance.db.engine import Database
from appliance.disk import actions
from appliance.disk import bin as bins
from appliance.errors import NotAFolder, ShareFull
from appliance.jobs import queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import RestoreFolder, TidyDisk
from appliance.model import JobState, SnapshotId, SourceId, SourceKind
from appliance.settings import Settings
from appliance.worker.planner import Planner
from appliance.worker.tasks import tidy_disk


@pytest.fixture
def share(database: Database, tmp_path: Path) -> shares.Share:
    """A share with a file of 1,000 bytes."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "letter.txt").write_bytes(bytes(1000))
    with database.write() as c:
        return shares.add(c, name="documents", label="D", folder=folder, now=utc_now())


def tidy(settings: Settings, database: Database) -> tuple[JobState, dict[str, object]]:
    with database.write() as c:
        number = queue.enqueue(c, TidyDisk(), now=utc_now())
        job = queue.claim(c, runner="tests", now=utc_now(), only=number)
    assert job is not None
    with JobContext(settings, database, job) as context:
        state = tidy_disk.run(context, TidyDisk())
    with database.write() as c:
        queue.finish(c, job.id, state, now=utc_now(), result=context.result)
    return state, context.result


def reread(database: Database, share: shares.Share) -> shares.Share:
    with database.read() as c:
        return shares.get(c, share.id)


def test_what_is_past_its_days_goes_and_the_rest_is_measured(
    settings: Settings, database: Database, share: shares.Share
) -> None:
    """A file deleted 31 days ago is gone for good, one of yesterday stays; both sizes are known."""
    now = utc_now()
    for name, days in (("old.txt", 31), ("new.txt", 1)):
        (share.folder / name).write_bytes(bytes(10))
        bins.delete(
            database, share, name.encode(), person_id=None, door="web",
            now=now - timedelta(days=days),
        )  # fmt: skip
    state, result = tidy(settings, database)
    assert (state, result) == (JobState.SUCCEEDED, {"shares": 1, "removed": 1})
    with database.read() as c:
        assert [each.path for each in bins.items(c, share.id)] == [b"new.txt"]
    assert reread(database, share).used_bytes == 1010


def test_a_share_that_is_not_there_is_left_alone(
    settings: Settings, database: Database, share: shares.Share
) -> None:
    """Its bin is not forgotten: the disk may only be unplugged."""
    bins.delete(
        database, share, b"letter.txt", person_id=None, door="web",
        now=utc_now() - timedelta(days=90),
    )  # fmt: skip
    away = share.folder.rename(share.folder.parent / "away")
    assert tidy(settings, database)[0] is JobState.WARNED
    with database.read() as c:
        assert len(bins.items(c, share.id)) == 1
    away.rename(share.folder)
    assert tidy(settings, database)[1]["removed"] == 1


def test_a_quota_is_what_was_measured_and_what_came_since(
    settings: Settings, database: Database, share: shares.Share
) -> None:
    """1,000 bytes measured, 500 added: of 2,000 there are 500 left."""
    with database.write() as c:
        shares.change(c, share.id, quota_bytes=2000)
    tidy(settings, database)
    with database.write() as c:
        shares.add_use(c, share.id, 500)
    now_known = reread(database, share)
    assert actions.room(now_known) == 500
    actions.demand_room(now_known, 500)
    with pytest.raises(ShareFull):
        actions.demand_room(now_known, 501)


def restore_of(source: SourceId, share: shares.Share, draft: str) -> RestoreFolder:
    """A task that left a draft."""
    place = bins.own_folder(share, bins.PARTS) / draft
    (place / "tree").mkdir(parents=True)
    (place / "tree" / "film.bin").write_bytes(bytes(100))
    return RestoreFolder(source, SnapshotId(1), share.id, draft, "", draft)


def test_what_a_restore_left_goes_when_nobody_goes_on_with_it(
    settings: Settings, database: Database, share: shares.Share
) -> None:
    """The night after its last attempt, not a week later; what waits, runs or is a copy's stays."""
    names = {
        name: f"{number:032x}" for number, name in enumerate(("over", "held", "runs", "waits"))
    }
    with database.write() as c:
        source = sources.add(
            c, name="documents", label="D", kind=SourceKind.SHARE, roots=(str(share.folder),),
            now=utc_now(),
        ).id  # fmt: skip
        for name, draft in names.items():
            number = queue.enqueue(c, restore_of(source, share, draft), now=utc_now())
            if name != "waits":
                assert queue.claim(c, runner="tests", now=utc_now(), only=number)
            if name in {"over", "held"}:
                queue.finish(c, number, JobState.FAILED, now=utc_now())
    parts = bins.own_folder(share, bins.PARTS)
    (parts / ("c" * 32)).mkdir()  # a copy on its way
    with bins.opened(parts / names["held"]) as still_at_work:
        fcntl.flock(still_at_work, fcntl.LOCK_EX)
        assert tidy_disk.forget_restores(database, share) == 1
    left = {each.name for each in parts.iterdir()}
    assert left == {names["waits"], names["runs"], names["held"], "c" * 32}
    assert tidy_disk.forget_restores(database, share) == 1
    assert tidy_disk.forget_drafts(share, utc_now()) == 0
    tidy(settings, database)  # nor does what is on its way count before it is there
    assert reread(database, share).used_bytes == 1000


def test_nothing_is_tidied_through_a_link(
    settings: Settings, database: Database, share: shares.Share, tmp_path: Path
) -> None:
    """Where drafts are made somebody put a link: what it leads to stays, however old, and it is said."""
    old = tmp_path / "repositories" / "old"
    old.mkdir(parents=True)
    parts = bins.own_folder(share, bins.PARTS)
    parts.rmdir()
    parts.symlink_to(old.parent)
    with pytest.raises(NotAFolder):
        tidy_disk.forget_drafts(share, utc_now() + timedelta(days=90))
    assert tidy(settings, database)[0] is JobState.WARNED
    assert old.is_dir()


def test_it_is_planned_once_a_night(
    settings: Settings, database: Database, share: shares.Share
) -> None:
    """At four in the morning, or at once when the box was off then; never twice a night."""
    planner = Planner(settings, database)
    noon = datetime(2026, 11, 23, 11, tzinfo=UTC)

    def planned(at: datetime) -> bool:
        found = TidyDisk() in planner.turn(at)
        if found:
            with database.write() as c:
                number = queue.newest(c, kind=TidyDisk.kind)[0].id
                queue.claim(c, runner="tests", now=at, only=number)
                queue.finish(c, number, JobState.SUCCEEDED, now=at)
        return found

    assert planned(noon)  # never done before
    assert not planned(noon + timedelta(hours=3))
    assert planned(noon + timedelta(hours=16))  # 04:00 in Paris
    assert not planned(noon + timedelta(hours=16, minutes=30))
    assert planned(noon + timedelta(hours=48))  # the box was off at four
