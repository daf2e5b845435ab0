"""The process that keeps the search: killed at any moment, the next one finds everything."""

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database, open_database
from appliance.db.shares import Share
from appliance.disk.index_file import path_of
from appliance.disk.index_search import find
from appliance.disk.index_verify import compare
from appliance.process import Process, end_group, start
from appliance.settings import Settings
from appliance.worker.service import INDEX_MAIN, child_environment

pytestmark = [pytest.mark.integration, pytest.mark.fault]


def begin(settings: Settings) -> Process:
    return start([*INDEX_MAIN, "--data", str(settings.data)], env=child_environment())


def wait(is_so: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it did not follow"
        time.sleep(0.05)


@pytest.fixture
def share(settings: Settings, tmp_path: Path) -> Share:
    """A share of 3,000 entries."""
    folder = tmp_path / "documents"
    for number in range(300):
        inner = folder / f"patient {number:03}"
        inner.mkdir(parents=True)
        for each in range(9):
            os.close(os.open(inner / f"radio {number:03}-{each}.dcm", os.O_CREAT | os.O_WRONLY))
    database: Database = open_database(settings.database, create=True)
    with database.write() as connection:
        made = shares.add(connection, name="documents", label="D", folder=folder, now=utc_now())
    database.close()
    return made


def is_right(settings: Settings, share: Share) -> bool:
    found = compare(settings, share, grace_s=0)
    return found is not None and found.is_right


def test_killed_again_and_again_it_is_right_in_the_end(settings: Settings, share: Share) -> None:
    """SIGKILL at random moments of the first look, and of changes by the hundred."""
    rng = random.Random(5)
    settings.run.mkdir()
    for turn in range(5):
        process = begin(settings)
        wait(path_of(settings, share.id).exists)
        for number in range(turn * 40, turn * 40 + 40):
            folder = share.folder / f"patient {number:03}"
            if number % 3 == 0:
                folder.rename(share.folder / f"moved {number:03}")
            elif number % 3 == 1:
                (folder / "radio 000-new.dcm").write_bytes(b"1")
            else:
                folder.rename(share.folder / f"patient {number - 1:03}" / "within")
        time.sleep(rng.uniform(0, 0.4))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with closing(sqlite3.connect(path_of(settings, share.id))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    process = begin(settings)
    try:
        wait(lambda: is_right(settings, share))
        hits = find(settings, [share], "moved 003 radio", limit=100).hits
        assert len(hits) == 9
        (share.folder / "moved 003").rename(share.folder / "again 003")
        wait(lambda: len(find(settings, [share], "again 003 radio", limit=100).hits) == 9, 5)
        assert find(settings, [share], "moved 003 radio").hits == []
        with closing(sqlite3.connect(path_of(settings, share.id))) as connection:
            # With rank 1 it is compared with the names themselves; that of folders has a part of them only.
            connection.execute("INSERT INTO names (names, rank) VALUES ('integrity-check', 1)")
            connection.execute("INSERT INTO folder_names (folder_names) VALUES ('integrity-check')")
            connection.rollback()
    finally:
        process.terminate()
        assert process.wait(10) == 0
        end_group(process, grace_s=1)
    assert path_of(settings, share.id).stat().st_mode & 0o007 == 0


def test_a_second_process_leaves_the_first_alone(settings: Settings, share: Share) -> None:
    """One writer for each file."""
    settings.run.mkdir()
    first = begin(settings)
    try:
        wait(lambda: is_right(settings, share))
        second = begin(settings)
        assert second.wait(20) == 1
    finally:
        first.terminate()
        first.wait(10)
        end_group(first, grace_s=1)
