"""kill -9 at any line of what people do to files: nothing is lost, nothing is half, the bin says what it holds.

Uploads are killed in ``integration/test_upload_survives.py``.
"""

import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

import pytest

from appliance.accounts import people
from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database, open_database
from appliance.db.shares import Share
from appliance.disk import actions, moves, restoring, transfers, uploads
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.disk.actions import Doer
from appliance.disk.restoring import Item
from appliance.disk.transfers import OnClash
from appliance.errors import ArmoireError
from appliance.model import PersonId, Role
from appliance.policy.share_rights import ALL
from appliance.worker.tasks import tidy_disk
from tests.support.kill_lines import run_killed

pytestmark = [pytest.mark.integration, pytest.mark.fault]

ROOMS: Final = ("/appliance/disk/", "/appliance/db/shares.py", "/appliance/ledger/")
KILLS: Final = 4  # of each action, besides one at its first and one at its last line
MANY: Final = 60
FAR: Final = Path("/dev/shm")


@dataclass
class Bytes:
    """What a reader would give."""

    blocks: list[bytes]


@dataclass
class Nobody:
    """Stands beside and lets all go on."""

    of: Share

    def check(self) -> None: ...

    def report(self, size: int, files: int) -> None: ...

    def share(self) -> Share:
        return self.of


def size_of(place: Path) -> int:
    return 0 if place.is_dir() else place.stat().st_size


@dataclass
class World:
    """A practice's disk: «near» and «other» on one file system, «far» on another one."""

    home: Path
    far: Path
    database: Database = field(init=False)

    def make(self) -> None:
        """Write the files and the accounts; keeps nothing open: what is killed is a child."""
        with self.opened() as world:
            with world.database.write() as connection:
                people.add(
                    connection,
                    login="anne.martin",
                    name="Anne Martin",
                    role=Role.OWNER,
                    language="fr",
                    password_hash=None,
                    now=utc_now(),
                )
                for name, place in (
                    ("near", self.home / "near"),
                    ("other", self.home / "other"),
                    ("far", self.far),
                ):
                    place.mkdir(parents=True, exist_ok=True)
                    shares.add(connection, name=name, label=name, folder=place, now=utc_now())
            near = self.home / "near"
            (near / "from" / "deep").mkdir(parents=True)
            (near / "to").mkdir()
            (self.home / "other" / "to").mkdir()
            (self.far / "to").mkdir()
            for number in range(MANY):
                folder = near / "from" / ("deep" if number % 2 else "")
                (folder / f"file {number}.txt").write_text(f"content {number}")
            (near / "one.txt").write_text("the one")
            (near / "taken.txt").write_text("the new taken")
            (near / "to" / "taken.txt").write_text("the old taken")
            (near / "to" / "binned.txt").write_text("binned")
            held = world.held("near")
            actions.delete(world.database, held, b"to/binned.txt", doer=world.doer, now=utc_now())

    def opened(self) -> "World":
        """Return the same world with a database of its own, as after a start."""
        return World(self.home, self.far)

    def __enter__(self) -> Self:
        self.database = open_database(f"sqlite:///{self.home}/state.sqlite", create=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    @property
    def doer(self) -> Doer:
        return Doer(PersonId(1), "web")

    def held(self, name: str) -> Held:
        with self.database.read() as connection:
            found = {each.name: each for each in shares.all_living(connection)}[name]
        return Held(found, ALL)

    def transfer(self, items: list[bytes], to: str = "near", *, copy: bool = False, **more):
        found = transfers.transfer(
            self.database,
            self.held("near"),
            items,
            self.held(to),
            b"to",
            doer=self.doer,
            now=utc_now(),
            is_copy=copy,
            **more,
        )
        for each in found:
            if each.error is not None:
                raise each.error

    def bring_back(self) -> None:
        """Write «from» back into «to», as if it came out of a snapshot."""
        top = self.home / "near" / "from"
        items = [
            Item(os.fsencode(each.relative_to(top)), each.is_dir(), size_of(each), 10**18)
            for each in sorted(top.rglob("*"))
        ]
        restoring.put_folder(
            self.database,
            self.held("near"),
            b"to/from",
            items,
            lambda item: nullcontext(Bytes([(top / os.fsdecode(item.path)).read_bytes()])),
            draft="0" * 32,
            snapshot_id=1,
            doer=self.doer,
            now=utc_now,
            watch=Nobody(self.held("near").share),
        )

    def delete(self, path: bytes) -> None:
        actions.delete(self.database, self.held("near"), path, doer=self.doer, now=utc_now())

    def put_back(self) -> None:
        actions.put_back(
            self.database, self.held("near"), self.find_item(), doer=self.doer, now=utc_now()
        )

    def find_item(self) -> int:
        with self.database.read() as connection:
            found = bins.items(connection, self.held("near").share.id)
        return max((each.id for each in found), default=0)

    def empty_bin(self) -> None:
        bins.settle(self.database, self.held("near").share, now=utc_now() + timedelta(days=31))

    # --- what is there -------------------------------------------------------------------------

    def visible(self) -> Counter[str]:
        """Contents of every file that a person sees, on any share."""
        return Counter(
            place.read_text()
            for root in (self.home / "near", self.home / "other", self.far)
            for place in root.rglob("*")
            if place.is_file() and ".armoire" not in place.relative_to(root).parts
        )

    def in_bin(self) -> Counter[str]:
        """Contents of what the rows of the bins lead to; every row leads to something, and it fits the row."""
        found: Counter[str] = Counter()
        for name in ("near", "other", "far"):
            share = self.held(name).share
            with self.database.read() as connection:
                rows = bins.items(connection, share.id)
            stored = bins.own_folder(share, bins.BIN)
            assert {each.name for each in stored.iterdir()} == {each.stored for each in rows}, name
            for row in rows:
                place = stored / row.stored
                files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
                assert (row.kind == "folder") == place.is_dir()
                assert row.files == len(files)
                assert row.size == sum(each.stat().st_size for each in files)
                found.update(each.read_text() for each in files)
        return found

    def settle(self) -> None:
        """What the next night does, and the night a week after: drafts of what was killed are gone."""
        for name in ("near", "other", "far"):
            share = self.held(name).share
            bins.settle(self.database, share, now=utc_now() + timedelta(hours=2))
            later = utc_now() + uploads.KEPT + timedelta(days=1)
            uploads.settle(self.database, share, now=later)
            tidy_disk.forget_drafts(share, later)
            assert list(bins.own_folder(share, bins.PARTS).iterdir()) == []


ACTIONS: Final[dict[str, Callable[[World], None]]] = {
    "move a file": lambda w: w.transfer([b"one.txt"]),
    "move a folder": lambda w: w.transfer([b"from"]),
    "move to another share": lambda w: w.transfer([b"from"], "other"),
    "move a file far": lambda w: w.transfer([b"one.txt"], "far"),
    "move a folder far": lambda w: w.transfer([b"from"], "far"),
    "move over": lambda w: w.transfer([b"taken.txt"], on_clash=OnClash.REPLACE),
    "copy a file": lambda w: w.transfer([b"one.txt"], copy=True),
    "copy a folder": lambda w: w.transfer([b"from"], "other", copy=True),
    "copy a folder far": lambda w: w.transfer([b"from"], "far", copy=True),
    "copy over": lambda w: w.transfer([b"taken.txt"], copy=True, on_clash=OnClash.REPLACE),
    "copy beside": lambda w: w.transfer([b"taken.txt"], copy=True, on_clash=OnClash.BOTH),
    "copy a folder back": lambda w: w.bring_back(),
    "delete a file": lambda w: w.delete(b"one.txt"),
    "delete a folder": lambda w: w.delete(b"from"),
    "put back": lambda w: w.put_back(),
    "empty the bin": lambda w: w.empty_bin(),
}


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the test's own."""
    if not os.access(FAR, os.W_OK) or FAR.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is but one file system here")
    made = FAR / f"armoire-killed-{os.getpid()}"
    yield made
    shutil.rmtree(made, ignore_errors=True)


def made_anew(world: World, kept: Path) -> World:
    """Bring the world back to what it was when it was made; the first time, make it."""
    if not kept.exists():
        world.home.mkdir()
        world.make()
        for name, place in (("home", world.home), ("far", world.far)):
            shutil.copytree(place, kept / name)
        return world
    for name, place in (("home", world.home), ("far", world.far)):
        shutil.rmtree(place)
        shutil.copytree(kept / name, place)
    return world


@pytest.mark.parametrize("name", ACTIONS)
def test_whatever_is_killed_nothing_is_lost_and_nothing_half(
    name: str, tmp_path: Path, far: Path
) -> None:
    """Every content is in its place or in the bin; a folder is at its new place whole or not at all.

    Only what was being copied may be there twice, and a move to another disk is a copy first.
    """
    act = ACTIONS[name]
    world = made_anew(World(tmp_path / "home", far), tmp_path / "kept")

    def work(one: World) -> Callable[[], None]:
        def run() -> None:
            with one.opened() as opened:
                act(opened)

        return run

    with world.opened() as opened:
        before = opened.visible() + opened.in_bin()
    status, lines = run_killed(work(world), rooms=ROOMS)
    assert status == 0
    assert lines > 10
    with world.opened() as opened:
        opened.settle()
        whole = opened.visible() + opened.in_bin()
    chance = random.Random(name)
    points = sorted({1, lines, *(chance.randrange(1, lines + 1) for _ in range(KILLS))})
    may_double = "copy" in name or "far" in name
    killed = 0
    for point in points:
        made_anew(world, tmp_path / "kept")
        status, _ = run_killed(work(world), rooms=ROOMS, at_line=point)
        assert status in {0, -9}, (name, point)
        killed += status == -9
        with world.opened() as opened:
            opened.settle()
            now = opened.visible() + opened.in_bin()
            assert_kept(name, point, before, whole, now, may_double=may_double)
            assert_folders_are_whole(world, name, point)
            with suppress(ArmoireError):  # it was done already, or its name is taken by what was
                act(opened)  # once more, as a person would
            opened.settle()
            after = opened.visible() + opened.in_bin()
            assert_kept(name, point, before, whole, after, may_double=may_double)
    assert killed


def test_a_folder_that_comes_back_is_gone_on_with_and_comes_once(tmp_path: Path, far: Path) -> None:
    """Killed anywhere and called again with its draft: one folder, whole, one entry in the journal."""
    world = made_anew(World(tmp_path / "home", far), tmp_path / "kept")

    def work() -> None:
        with world.opened() as opened:
            opened.bring_back()

    status, lines = run_killed(work, rooms=ROOMS)
    assert status == 0
    chance = random.Random(241)
    # Most of them at the end, where the folder gets its name and the journal its entry.
    points = {chance.randrange(1, lines), chance.randrange(1, lines)} | {
        chance.randrange(lines - lines // 20, lines) for _ in range(KILLS)
    }
    killed = 0
    for point in sorted(points | {lines}):
        made_anew(world, tmp_path / "kept")
        status, _ = run_killed(work, rooms=ROOMS, at_line=point)
        killed += status == -9
        work()
        work()
        back = world.home / "near" / "to" / "from"
        assert len([each for each in back.rglob("*") if each.is_file()]) == MANY, point
        assert {each.name for each in back.parent.iterdir()} == {
            "from", "taken.txt",
        }, point  # fmt: skip
        with world.opened() as opened:
            with opened.database.read() as connection:
                count = connection.exec_driver_sql(
                    "SELECT count(*) FROM ledger WHERE event = 'folder.restored'"
                ).scalar()
            assert count == 1, point
            opened.settle()
    assert killed


def dies_at_a_rename(number: int, *, after: bool) -> None:
    """Let this process end at its ``number``-th rename, just before it or just after."""
    left = [number]

    def wrapped(rename: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: object) -> None:
            left[0] -= 1
            if after:
                rename(*arguments)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            if not after:
                rename(*arguments)

        return run

    moves.rename, moves.exchange = wrapped(moves.rename), wrapped(moves.exchange)


@pytest.mark.parametrize("name", [each for each in ACTIONS if each != "empty the bin"])
def test_a_kill_beside_a_rename_loses_nothing(name: str, tmp_path: Path, far: Path) -> None:
    """Between what the disk did and what the database knows of it: the rows follow at the next night."""
    world = made_anew(World(tmp_path / "home", far), tmp_path / "kept")
    with world.opened() as opened:
        before = opened.visible() + opened.in_bin()
    killed = 0
    for number, after in ((1, False), (1, True), (2, False), (2, True)):
        made_anew(world, tmp_path / "kept")

        def run(number: int = number, after: bool = after) -> None:
            dies_at_a_rename(number, after=after)
            with world.opened() as opened:
                ACTIONS[name](opened)

        status, _ = run_killed(run, rooms=())
        killed += status == -9
        with world.opened() as opened:
            opened.settle()
            now = opened.visible() + opened.in_bin()
        for content in before:
            assert 1 <= now[content] <= before[content] + ("copy" in name or "far" in name), (
                name,
                number,
                after,
            )
        assert_folders_are_whole(world, name, number)
    assert killed


def assert_kept(
    name: str,
    point: int,
    before: Counter[str],
    whole: Counter[str],
    now: Counter[str],
    *,
    may_double: bool,
) -> None:
    for content in before:
        if name == "empty the bin" and content == "binned":
            continue
        assert now[content] >= 1, (name, point, content)
        most = 3 if may_double else before[content]
        assert now[content] <= most, (name, point, content)
    assert set(now) <= set(before) | set(whole), (name, point)


def assert_folders_are_whole(world: World, name: str, point: int) -> None:
    for root in (world.home / "near" / "to", world.home / "other" / "to", world.far / "to"):
        if (root / "from").exists():
            files = [each for each in (root / "from").rglob("*") if each.is_file()]
            assert len(files) == MANY, (name, point)
