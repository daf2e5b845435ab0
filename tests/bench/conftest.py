"""The scene of the reading benches, made once: a repository of 300,000 files and its catalogue."""

import random

import pytest

from appliance.backup_jobs.borg_library import Mode
from appliance.backup_jobs.borg_library_archive import Meta
from appliance.catalogue.rebuild import import_archive
from appliance.catalogue.store import of_source
from appliance.clock import utc_now
from appliance.db import snapshots
from appliance.model import Consistency, Snapshot, SnapshotId, SnapshotState
from tests.bench.scene import DISTINCT, FILES, path_of
from tests.support.box import Box
from tests.support.reading import ReaderProcess


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """Box, share, and the reader's process."""
    place = tmp_path_factory.mktemp("reader")
    box = Box(place / "data")
    (place / "share").mkdir()
    share = box.add_share(place / "share")
    dice = random.Random(3)
    meta = Meta(0o100640, 1_700_000_000_000_000_000, 1000, 1000)
    with box.open(share, mode=Mode.WRITE) as repository:
        with repository.new_archive("bench-1") as archive:
            small = [archive.store_whole(b"small %d" % number).chunks for number in range(50)]
            for number in range(FILES):
                if number % (FILES // DISTINCT) == 0:
                    stored = archive.store_whole(dice.randbytes(100_000))
                else:
                    stored = archive.keep(small[number % 50])
                archive.add_file(path_of(number), meta, stored)
            saved = archive.save()
        import_archive(
            of_source(box.settings, share.id, create=True),
            SnapshotId(1),
            utc_now(),
            repository.entries(saved.archive_id),
        )
    now = utc_now()
    with box.database.write() as connection:
        snapshots.add(
            connection,
            Snapshot(
                id=SnapshotId(1),
                source_id=share.id,
                archive="bench-1",
                archive_id=saved.archive_id,
                job_id=None,
                started_at=now,
                finished_at=now,
                state=SnapshotState.COMPLETE,
                consistency=Consistency.FILES,
                files_seen=FILES,
                items=FILES,
                original_bytes=0,
                new_bytes=0,
            ),
        )
    with ReaderProcess(box.settings) as reader:
        yield box, share, reader
    box.close()
