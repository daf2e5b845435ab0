"""One night's writing: whole or not at all, a row for what changed."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from appliance.catalogue import query
from appliance.catalogue.rebuild import canonical_dump
from appliance.catalogue.store import Catalogue
from appliance.db.sqlite_file import Access, open_sqlite
from appliance.errors import (
    CatalogueBusy,
    CatalogueDamaged,
    CatalogueMissing,
    NightOutOfOrder,
    NotFound,
)
from appliance.model import SnapshotId
from tests.support.catalogues import (
    a_file,
    a_folder,
    new_catalogue,
    night_of,
    write_night,
)

ONE, TWO, THREE = SnapshotId(1), SnapshotId(2), SnapshotId(3)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return new_catalogue(tmp_path)


def test_a_night_is_invisible_until_its_commit(catalogue):
    """A person who browses during a backup sees the night before, whole."""
    write_night(catalogue, 1, a_file("a.txt", "one"))
    with catalogue.night(TWO, night_of(2)) as night:
        night.put(a_file("a.txt", "two"))
        for number in range(3_000):  # more than a batch: rows are in the file by now
            night.put(a_file(f"d/{number}", "x"))
        assert catalogue.known_snapshots() == [ONE]
        assert query.entry(catalogue, ONE, b"a.txt") == a_file("a.txt", "one")
        night.commit()
    assert catalogue.known_snapshots() == [TWO, ONE]
    assert query.entry(catalogue, TWO, b"a.txt") == a_file("a.txt", "two")
    assert query.entry(catalogue, ONE, b"a.txt") == a_file("a.txt", "one")


@pytest.mark.parametrize("ending", ["leaves", "raises"])
def test_a_night_that_is_not_committed_never_was(catalogue, ending):
    """An archive that was not saved leaves no trace in the list."""
    write_night(catalogue, 1, a_file("a.txt", "one"))
    before = canonical_dump(catalogue.path)
    try:
        with catalogue.night(TWO, night_of(2)) as night:
            for number in range(3_000):
                night.put(a_file(f"d/{number}", "x"))
            if ending == "raises":
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert canonical_dump(catalogue.path) == before
    with pytest.raises(RuntimeError):
        night.put(a_file("late.txt", "late"))
        night.commit()


@pytest.mark.parametrize("snapshot", [1, 2])
def test_a_night_that_is_not_newer_is_refused(catalogue, snapshot):
    """A clock or a job that went back must not rewrite what is listed."""
    write_night(catalogue, 2, a_file("a.txt", "one"))
    with pytest.raises(NightOutOfOrder), catalogue.night(SnapshotId(snapshot), night_of(1)):
        pass


def test_a_second_writer_is_told_at_once(catalogue):
    """Two nights of one source at the same time: the second one may try again later."""
    with catalogue.night(ONE, night_of(1)):
        with pytest.raises(CatalogueBusy) as raised, catalogue.night(TWO, night_of(2)):
            pass
        with pytest.raises(CatalogueBusy):
            catalogue.forget([ONE])
    assert raised.value.retryable
    assert raised.value.source_id == 7


def test_a_night_costs_one_row_for_each_change(catalogue):
    """The list grows with what changed, not with what exists."""
    folder = [a_folder("d"), *(a_file(f"d/{number}", "one") for number in range(1_000))]
    write_night(catalogue, 1, *folder)
    counts = write_night(
        catalogue, 2, *(a_file(f"d/{n}", "two") for n in range(80)), gone=("d/99", "d/98")
    )
    assert (counts.added, counts.changed, counts.gone, counts.unchanged) == (0, 80, 2, 0)
    assert counts.rows_written == 83
    again = write_night(catalogue, 3, *(a_file(f"d/{n}", "two") for n in range(80)))
    assert (again.changed, again.unchanged, again.rows_written) == (0, 80, 1)
    with open_sqlite(catalogue.path, Access.READ) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM version").fetchone()
    connection.close()
    assert rows == 1_001 + 82


def test_of_two_words_about_a_path_the_last_holds(catalogue):
    """A file that was read twice in a night, or vanished after it was read."""
    write_night(catalogue, 1, a_file("a", "one"), a_file("b", "one"))
    with catalogue.night(TWO, night_of(2)) as night:
        for path in ("a", "new"):
            night.put(a_file(path, "two"))
        night.gone(b"b")
        for number in range(2_500):  # the batch with the first words is written
            night.put(a_file(f"d/{number}", "x"))
        night.put(a_file("a", "one"))
        night.gone(b"new")
        night.put(a_file("b", "three"))
        counts = night.commit()
    assert query.entry(catalogue, TWO, b"a") == a_file("a", "one")
    assert query.entry(catalogue, TWO, b"b") == a_file("b", "three")
    assert [version.first for version in query.history(catalogue, b"a")] == [ONE]
    with pytest.raises(NotFound):
        query.entry(catalogue, TWO, b"new")
    assert (counts.changed, counts.gone, counts.added) == (1, 0, 2_500)
    assert query.totals(catalogue, TWO).files == 2_502


def test_the_first_night_may_name_a_path_twice(catalogue):
    """An archive can hold a path twice; the last one is what a restore leaves."""
    with catalogue.night(ONE, night_of(1)) as night:
        for content in ("one", "three"):
            night.put(a_file("a", content))
            for number in range(2_500):
                night.put(a_file(f"d/{number}", content))
        counts = night.commit()
    assert query.entry(catalogue, ONE, b"a") == a_file("a", "three")
    assert (counts.added, query.totals(catalogue, ONE).files) == (2_501, 2_501)
    assert query.totals(catalogue, ONE).bytes == 2_501 * 5


def test_hostile_values_are_kept_within_what_the_file_can_hold(catalogue):
    """A server that lies about times, sizes and owners cannot stop the night."""
    strange = [
        replace(a_file("time", "x"), mtime_ns=2**70, size=2**64),
        replace(a_file("past", "x"), mtime_ns=-(2**70), size=-1),
        replace(a_file("owner", "x"), owner="caf\udce9", group=None, uid=2**32 - 1),
        a_file(b"\xff\xfe\x01 name", "x"),
        a_file(b"d/" * 2_500 + b"deep", "x"),
        a_file(b"n" * 5_000, "x"),
    ]
    write_night(catalogue, 1, *strange)
    assert query.entry(catalogue, ONE, b"time").mtime_ns == 2**63 - 1
    assert query.entry(catalogue, ONE, b"past").size == 0
    assert query.entry(catalogue, ONE, b"owner").owner == "caf?"
    assert query.entry(catalogue, ONE, b"d/" * 2_500 + b"deep").size == 1
    counts = write_night(catalogue, 2, *strange)
    assert counts.unchanged == len(strange)


def test_pruning_the_newest_snapshot_brings_back_the_one_before(catalogue):
    """A night after such a pruning is compared with what is kept."""
    write_night(catalogue, 1, a_file("a", "one"), a_file("b", "one"))
    before = canonical_dump(catalogue.path)
    write_night(catalogue, 2, a_file("a", "two"), a_file("c", "new"), gone=("b",))
    catalogue.forget([TWO])
    assert canonical_dump(catalogue.path) == before
    assert catalogue.forget([TWO]) == 0
    counts = write_night(catalogue, 3, a_file("a", "one"), a_file("b", "three"))
    assert (counts.unchanged, counts.changed) == (1, 1)


def test_what_only_a_pruned_snapshot_showed_is_forgotten(catalogue):
    """A file that no kept snapshot has is found by no search and in no folder."""
    write_night(catalogue, 1, a_file("a", "one"))
    write_night(catalogue, 2, a_file("x/y/brief", "two"), a_file("a", "two"))
    write_night(catalogue, 3, a_file("a", "one"), gone=("x/y/brief",))
    assert catalogue.forget([TWO, SnapshotId(99)]) == 4  # brief, its end, two, and one again
    (version,) = query.history(catalogue, b"a")
    assert (version.first, version.last) == (ONE, THREE)
    with pytest.raises(NotFound):
        query.history(catalogue, b"x/y/brief")
    with open_sqlite(catalogue.path, Access.READ) as connection:
        folders = connection.execute("SELECT path FROM folder").fetchall()
        index = connection.execute("SELECT count(*) FROM names WHERE names MATCH 'bri'").fetchone()
    connection.close()
    assert folders == [(b"",)]
    assert index == (0,)


_KILLED = """
import os, signal, sys
from pathlib import Path
from appliance.catalogue.store import Catalogue
from appliance.model import SnapshotId
from tests.support.catalogues import a_file, night_of
catalogue = Catalogue.open(Path(sys.argv[1]))
after = int(sys.argv[2])
with catalogue.night(SnapshotId(2), night_of(2)) as night:
    for number in range(6_000):
        if number == after:
            os.kill(os.getpid(), signal.SIGKILL)
        night.put(a_file(f"d/{number}", f"new {number}"))
    if after == 6_000:
        night._flush()
        night._connection.set_progress_handler(lambda: os.kill(os.getpid(), signal.SIGKILL), 5_000)
    night.commit()
"""


@pytest.mark.fault
@pytest.mark.parametrize("after", [0, 2_001, 5_999, 6_000])
def test_kill_9_at_any_line_leaves_the_night_before(catalogue, after):
    """Power cut or kill: the list is that of the last whole night, and the next one works."""
    write_night(catalogue, 1, *(a_file(f"d/{number}", "old") for number in range(5_000)))
    before = canonical_dump(catalogue.path)
    ended = subprocess.run(
        [sys.executable, "-c", _KILLED, str(catalogue.path), str(after)],
        check=False,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL
    assert canonical_dump(catalogue.path) == before
    assert write_night(catalogue, 2, a_file("d/1", "new")).changed == 1


def test_a_missing_catalogue_is_not_an_empty_one(tmp_path, catalogue):
    """Nobody is told that nothing is there because the list is not there."""
    with pytest.raises(CatalogueMissing) as raised:
        Catalogue.open(tmp_path / "8.sqlite")
    assert raised.value.source_id == 8
    catalogue.path.unlink()
    with pytest.raises(CatalogueMissing):
        catalogue.known_snapshots()
    with pytest.raises(CatalogueMissing), catalogue.night(ONE, night_of(1)):
        pass
    assert not catalogue.path.exists()


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _another_database(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE snapshot (id)")
    connection.close()


def _newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        size = path.stat().st_size
        for place in range(4096, size, 4096):
            file.seek(place)
            file.write(b"\xff" * 64)


@pytest.mark.parametrize(
    "damage", [_garbage, _empty, _another_database, _newer, _cut, _overwritten]
)
def test_a_damaged_catalogue_says_so(catalogue, damage):
    """Damage is an error that names the way out, never a snapshot without files."""
    write_night(catalogue, 1, *(a_file(f"d/{number}", "x") for number in range(2_000)))
    catalogue.close()
    damage(catalogue.path)
    with pytest.raises(CatalogueDamaged) as raised:
        list(query.walk(Catalogue.open(catalogue.path), ONE))
    assert raised.value.source_id == 7


def test_what_a_killed_process_left_of_a_new_catalogue_is_removed(tmp_path):
    """And what a living one is making is not."""
    dead, living = tmp_path / ".7.sqlite.99999999.new", tmp_path / ".7.sqlite.1.new"
    dead.touch()
    living.touch()
    assert new_catalogue(tmp_path).known_snapshots() == []
    assert not dead.exists()
    assert living.exists()


def test_a_reader_cannot_write(catalogue):
    """The web process opens catalogues for reading only."""
    with catalogue.reading() as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM version")


def test_a_catalogue_put_back_from_a_copy_is_seen_at_once(catalogue, tmp_path):
    """Connections are kept open, but never to a file that is no longer there."""
    write_night(catalogue, 1, a_file("a", "one"))
    copy = tmp_path / "copy"
    shutil.copy(catalogue.path, copy)
    write_night(catalogue, 2, a_file("a", "two"))
    assert catalogue.known_snapshots() == [TWO, ONE]
    copy.replace(catalogue.path)
    assert catalogue.known_snapshots() == [ONE]


_OTHER = """
import os, sys
from pathlib import Path
from appliance.catalogue.names import find_names
from appliance.catalogue.store import Catalogue
from appliance.errors import DatabaseUnusable
path, gid = Path(sys.argv[1]), int(sys.argv[2])
os.setgroups([])
os.setgid(gid)
os.setuid(65534)
try:
    print(Catalogue(path).known_snapshots())
except DatabaseUnusable as error:
    print(error.code, find_names(path.parent, "abc", sources=[7]).unreadable)
    try:
        find_names(path.parent, "abc")
    except DatabaseUnusable:
        print("nor search")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
@pytest.mark.parametrize(
    ("gid", "said"),
    [(60, "[1]"), (65534, "box.database-unusable (7,)\nnor search")],
    ids=["group", "stranger"],
)
def test_the_web_reads_as_another_user_of_the_group_and_nobody_else_does(gid, said):
    """Rights that are missing are said as such: making the list again would not help."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        catalogue = new_catalogue(Path(folder) / "catalogues")
        write_night(catalogue, 1, a_file("abc", "x"))
        catalogue.close()
        for each in catalogue.path.parent.iterdir():
            if each != catalogue.path:
                each.unlink()
        os.chown(catalogue.path.parent, -1, 60)
        os.chown(catalogue.path, -1, 60)
        done = subprocess.run(
            [sys.executable, "-c", _OTHER, str(catalogue.path), str(gid)],
            check=False,
            capture_output=True,
            cwd=Path(__file__).parents[3],
            text=True,
        )
    assert done.stdout.strip() == said, done.stderr
