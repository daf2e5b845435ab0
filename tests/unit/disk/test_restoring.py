"""A folder that comes back is made in a draft: of this restore alone, never through a link, never by two at once."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import CalledProcessError, run

import pytest

from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk import actions, restoring, restoring_draft
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.disk.actions import Doer
from appliance.disk.restoring import Item
from appliance.errors import (
    InvalidInput,
    JobCancelled,
    NotAFile,
    NotAFolder,
    RestoreBusy,
    ShareFull,
    ShareNotWritable,
)
from tests.support import small_disk
from tests.unit.disk.conftest import NOW

DRAFT = "0123456789abcdef" * 2
SIZE = 1_000
ITEMS = [
    Item(b"Dupont", is_folder=True, size=0, mtime_ns=10**18),
    Item(b"Dupont/a.txt", is_folder=False, size=SIZE, mtime_ns=10**18),
    Item(b"b.txt", is_folder=False, size=SIZE, mtime_ns=10**18),
]


@dataclass
class Bytes:
    """What a reader would give."""

    blocks: Iterator[bytes]


def nothing() -> None: ...


@dataclass
class Restore:
    """A restore of «Patients»; things may happen to the share while it runs."""

    database: Database
    held: Held
    doer: Doer
    now: Share = field(init=False)
    checked: Callable[[], object] = nothing  # before each file, each block and the end
    fetched: Callable[[Item], object] = lambda _item: None

    def __post_init__(self) -> None:
        self.now = self.held.share

    def check(self) -> None:
        self.checked()

    def report(self, size: int, files: int) -> None: ...

    def share(self) -> Share:
        return self.now

    def open(self, item: Item) -> AbstractContextManager[Bytes]:
        self.fetched(item)
        return nullcontext(Bytes(iter([bytes(item.size)])))

    def put(self, draft: str = DRAFT) -> None:
        restoring.put_folder(
            self.database, self.held, b"Patients", ITEMS, self.open,
            draft=draft, snapshot_id=1, doer=self.doer, now=lambda: NOW, watch=self,
        )  # fmt: skip

    @property
    def parts(self) -> Path:
        return bins.own_folder(self.held.share, bins.PARTS)

    @property
    def folder(self) -> Path:
        return self.held.share.folder / "Patients"

    def assert_back(self) -> None:
        files = {str(each.relative_to(self.folder)) for each in self.folder.rglob("*.txt")}
        assert files == {"Dupont/a.txt", "b.txt"}
        assert all((self.folder / each).stat().st_size == SIZE for each in files)


@pytest.fixture
def restore(database: Database, holding: Callable[..., Held], doer: Doer) -> Restore:
    return Restore(database, holding(), doer)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Another's folder, with a file in it."""
    made = tmp_path / "repositories"
    made.mkdir()
    (made / "segment").write_text("a backup")
    return made


@contextmanager
def untouched(outside: Path) -> Iterator[None]:
    """Nothing is made, changed or removed in a folder."""
    before = outside.stat().st_mtime_ns
    yield
    assert [each.name for each in outside.iterdir()] == ["segment"]
    assert outside.stat().st_mtime_ns == before


def stop() -> None:
    raise JobCancelled


@pytest.mark.parametrize(
    "draft",
    ["", ".", "..", "a" * 31, "a" * 33, "A" * 32, "g" * 32, "a" * 32 + "\n", "../../../repositories"],
)  # fmt: skip
def test_a_draft_is_32_digits_and_nothing_else(restore: Restore, outside: Path, draft: str) -> None:
    """Whatever a task says: no other folder is written into, none is removed."""
    for named in (draft, str(outside)):
        with untouched(outside):
            with pytest.raises(InvalidInput):
                restore.put(named)
            with pytest.raises(InvalidInput):
                restoring_draft.forget(restore.held.share, named)
    assert list(restore.parts.iterdir()) == []


@pytest.mark.parametrize("place", ["draft", "tree", "folder", "file", "parts"])
def test_a_link_in_the_draft_leads_nowhere(restore: Restore, outside: Path, place: str) -> None:
    """Whoever puts a link where the draft is made gets nothing written, and nothing removed, behind it."""
    draft = restore.parts / DRAFT
    at = {
        "draft": draft,
        "tree": draft / "tree",
        "folder": draft / "tree" / "Dupont",
        "file": draft / "tree" / "b.txt",
        "parts": restore.parts,
    }[place]
    if place == "parts":
        restore.parts.rmdir()
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(outside / "segment" if place == "file" else outside)

    with untouched(outside):
        with pytest.raises(NotAFile if place == "file" else NotAFolder):
            restore.put()
        if place == "parts":
            with pytest.raises(NotAFolder):
                restoring_draft.forget(restore.held.share, DRAFT)
        else:
            assert restoring_draft.forget(restore.held.share, DRAFT)
            assert list(restore.parts.iterdir()) == []
    assert (outside / "segment").read_text() == "a backup"
    assert not restore.folder.exists()


def test_of_two_attempts_at_once_one_waits(restore: Restore) -> None:
    """A process that stood still wakes up beside its successor: the second is refused, and nothing is cut short."""
    other = Restore(restore.database, restore.held, restore.doer)
    refused = []

    def come(_item: Item) -> None:
        with pytest.raises(RestoreBusy) as found:
            other.put()
        refused.append(found.value)
        assert not restoring_draft.forget(
            restore.held.share, DRAFT
        )  # nor is it taken away below it

    restore.fetched = come
    restore.put()
    assert len(refused) == 2
    assert refused[0].retryable
    restore.assert_back()
    other.put()  # and afterwards it finds that all is done
    assert [each.name for each in restore.held.share.folder.iterdir() if each.name[0] != "."] == [
        "Patients"
    ]


@pytest.mark.parametrize("what", ["file", "tree"])
def test_what_another_put_there_is_not_given_away(restore: Restore, what: str) -> None:
    """Only what this attempt wrote gets a name: another thing in its place is no letter of a patient."""

    place = restore.parts / DRAFT / what

    def exchange() -> None:
        if what == "file" and place.exists():
            place.unlink()
            place.write_text("half")
        if what == "tree" and (place / "b.txt").exists():
            shutil.copytree(place, away := place.with_name("away"))
            shutil.rmtree(place)
            away.rename(place)

    restore.checked = exchange
    with pytest.raises(RestoreBusy):
        restore.put()
    assert not restore.folder.exists()
    assert not (restore.parts / DRAFT / "given").exists()


def test_a_file_cut_short_is_fetched_again(restore: Restore) -> None:
    """The power went: what has another size than it ought to makes place."""
    tree = restore.parts / DRAFT / "tree"
    tree.mkdir(parents=True)
    (tree / "b.txt").write_text("half")
    restore.put()
    restore.assert_back()


def test_stopped_in_the_last_moment_nothing_is_seen(restore: Restore) -> None:
    """All is fetched, the name not given yet: who stops it, stops it."""

    def late() -> None:
        tree = restore.parts / DRAFT / "tree"
        if all((tree / os.fsdecode(each.path)).exists() for each in ITEMS):
            stop()

    restore.checked = late
    with pytest.raises(JobCancelled):
        restore.put()
    assert not restore.folder.exists()
    assert restoring_draft.forget(restore.held.share, DRAFT)
    assert list(restore.parts.iterdir()) == []


def test_the_quota_is_the_one_of_now(restore: Restore) -> None:
    """One that was made smaller meanwhile holds; one that was made larger lets it in."""
    restore.now = replace(restore.now, quota_bytes=10 * SIZE)

    def smaller(_item: Item) -> None:
        restore.now = replace(restore.now, quota_bytes=SIZE // 2)

    restore.fetched = smaller
    with pytest.raises(ShareFull):
        restore.put()
    assert not restore.folder.exists()
    restore.held = replace(restore.held, share=restore.now)  # as it was when this attempt began
    restore.now = replace(restore.now, quota_bytes=10 * SIZE)
    restore.fetched = lambda _item: None
    restore.put()
    restore.assert_back()


def test_what_was_fetched_counts_when_others_write(restore: Restore) -> None:
    """The quota holds for the folder as a whole, not for what of it is still to come."""
    restore.now = replace(restore.now, quota_bytes=10 * SIZE)

    def others_write(_item: Item) -> None:
        restore.now = replace(restore.now, used_bytes=8 * SIZE + SIZE // 2)

    restore.fetched = others_write
    with pytest.raises(ShareFull):
        restore.put()
    restore.now = replace(restore.now, used_bytes=8 * SIZE)
    restore.fetched = lambda _item: None
    restore.put()
    restore.assert_back()


def test_a_disk_that_is_read_only_is_said(
    restore: Restore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under systemd, when the worker was not let in: what to do is said, and it is not tried again by itself."""
    monkeypatch.setattr(actions, "FREE_FLOOR", 0)
    folder = restore.held.share.folder
    try:
        with small_disk.mounted(folder, 8_000_000):
            restore.checked = lambda: run(
                ["mount", "-o", "remount,ro", str(folder)], check=True, capture_output=True
            )
            with pytest.raises(ShareNotWritable) as found:
                restore.put()
    except (CalledProcessError, FileNotFoundError):
        pytest.skip("a disk can be mounted by root only")
    assert "ReadWritePaths" in found.value.public
    assert not found.value.retryable
