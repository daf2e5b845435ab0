"""A copy of a real Borg repository: pushed, cut, pushed again, read back, made into a repository again."""

import hashlib
import itertools
import os
import random
import shutil
import subprocess
import sys
from contextlib import nullcontext
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.db import copies, targets
from appliance.errors import ObjectAltered, ObjectMissing, TargetIdentityChanged, TargetUnreachable
from appliance.replication import fetch, manifest, moment, plan, push
from appliance.replication.targets.directory import DirectoryTarget, DiskLabel, write_label
from appliance.vault import words
from appliance.vault.secret import Secret

pytestmark = pytest.mark.integration
BORG = str(Path(sys.executable).parent / "borg")
SECRET = Secret(bytes(range(16)))
KEY = Ed25519PrivateKey.generate()
BOX = push.Box("box-1", words.recipient(SECRET), KEY)
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
TODAY = date(2026, 11, 23)


class Practice:
    """A repository that grows, and a disk it is copied to."""

    def __init__(self, folder: Path, database, template: Path) -> None:
        self.folder = folder
        self.database = database
        self.repository = folder / "repositories" / "1"
        self.tree = folder / "tree"
        self.disk = folder / "disk"
        self.env = {
            "PATH": os.environ["PATH"],
            "BORG_PASSPHRASE": "x",
            "BORG_BASE_DIR": str(folder / "home"),
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
            "LC_ALL": "C.UTF-8",
        }
        self.random = random.Random(7)
        self.disk.mkdir()
        self.tree.mkdir()
        write_label(self.disk, DiskLabel("disk-1", "box-1", "Lundi", TODAY))
        shutil.copytree(template, folder / "template")
        (folder / "template" / "repositories").rename(folder / "repositories")
        with database.write() as connection:
            self.target_id = targets.add(
                connection, name="disque", label="Disque", kind="directory", place={}, now=NOW
            ).id
        self.nights = itertools.count(1)

    def borg(self, *arguments: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [BORG, *arguments],
            env=self.env,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def night(self, files: int = 6) -> str:
        for number in range(files):
            (self.tree / f"letter-{self.random.randrange(40)}-{number}").write_bytes(
                self.random.randbytes(60_000)
            )
        name = f"1-{next(self.nights):02d}"
        self.borg("create", "-C", "none", f"{self.repository}::{name}", ".", cwd=self.tree)
        return name

    def freeze(self) -> push.Moment:
        into = self.folder / "moment"
        files = moment.freeze(self.repository, 1, into / "1", locked=nullcontext)
        one = manifest.CopiedRepository(1, "a" * 64, "accueil", "Accueil", "pulled")
        return push.Moment(NOW, into, tuple(files), (one,))

    def open(self) -> DirectoryTarget:
        return DirectoryTarget(self.disk, disk_id="disk-1", box_id="box-1", today=TODAY)

    def push(self, frozen: push.Moment | None = None, **line) -> push.Pushed:
        return push.push(
            self.database,
            self.target_id,
            box=BOX,
            moment=frozen or self.freeze(),
            line=push.Line(line.pop("open_target", self.open), **line),
            spool=self.folder / "spool",
            now=lambda: NOW,
        )

    def newest(self) -> manifest.Manifest:
        target = self.open()
        found = fetch.survey(target, signer=KEY.public_key(), box_id="box-1")
        assert found.faults == ()
        return fetch.open_generation(
            target, found.generations[0], identity=words.identity(SECRET), signer=KEY.public_key()
        )

    def bring_back(self, one: manifest.Manifest, name: str = "back") -> Path:
        place = self.folder / name
        fetch.fetch_repository(self.open(), one, 1, place, identity=words.identity(SECRET))
        return place


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """An empty repository: making one takes Borg longer than copying it."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "repositories").mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "BORG_PASSPHRASE": "x",
        "BORG_BASE_DIR": str(folder / "home"),
    }
    place = str(folder / "repositories" / "1")
    for command in (
        ("init", "-e", "repokey-blake2", place),
        ("config", place, "max_segment_size", str(256 * 1024)),
    ):
        subprocess.run([BORG, *command], env=env, check=True, capture_output=True)
    return folder


@pytest.fixture
def practice(tmp_path, database, template):
    return Practice(tmp_path, database, template)


def tree_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_from_the_copy_alone_a_repository_is_made_again_and_borg_accepts_it(practice):
    archive = practice.night()
    first = practice.push()

    back = practice.bring_back(practice.newest())

    practice.borg("check", "--verify-data", str(back))
    out = practice.folder / "out"
    out.mkdir()
    practice.borg("extract", f"{back}::{archive}", cwd=out)
    assert tree_of(out) == tree_of(practice.tree)
    assert first.number == 1


def test_nothing_at_the_place_tells_what_it_holds(practice):
    practice.night()
    practice.push()

    for path in practice.disk.rglob("*"):
        if path.is_file() and path.name != "armoire-disk.toml":
            data = path.read_bytes()
            assert b"letter" not in data
            assert b"BORG" not in data
            assert b"accueil" not in data.lower()


def test_the_next_night_sends_only_what_is_new_and_the_same_moment_nothing(practice):
    practice.night(files=30)
    practice.push()
    practice.night(files=2)

    second = practice.push()
    third = practice.push()

    assert second.reused_objects > second.sent_objects
    assert second.sent_bytes < 600_000
    assert third.sent_objects == 0


def test_backups_prunes_and_compacts_go_on_while_a_moment_is_sent(practice):
    """The frozen moment stays whole although the repository changes under it."""
    archives = [practice.night() for _ in range(3)]
    frozen = practice.freeze()
    practice.night()
    practice.borg("delete", f"{practice.repository}::{archives[0]}")
    practice.borg("compact", str(practice.repository))

    practice.push(frozen)

    back = practice.bring_back(practice.newest())
    # A new box has no memory of a newer state; this one would rightly call it an attack.
    practice.env["BORG_BASE_DIR"] = str(practice.folder / "new-home")
    practice.borg("check", "--verify-data", str(back))
    assert practice.borg("list", "--short", str(back)).split() == archives


class Cut(Exception):
    """The process is gone at this line."""


@pytest.mark.parametrize("seed", range(8))
def test_cut_anywhere_and_pushed_again_everything_is_there_once(practice, seed):
    """Whole objects are not sent again, and no half generation is ever proposed."""
    practice.night(files=20)
    calls = itertools.count()
    die_at = random.Random(seed).randrange(0, 45)

    class Dying(DirectoryTarget):
        def create(self, name, sealed, **more):
            if next(calls) == die_at and seed % 2:
                raise Cut
            super().create(name, sealed, **more)
            if next(calls) == die_at:
                raise Cut

    def open_dying():
        return Dying(practice.disk, disk_id="disk-1", box_id="box-1", today=TODAY)

    frozen = practice.freeze()
    try:
        practice.push(frozen, open_target=open_dying)
    except Cut:
        seen = fetch.survey(practice.open(), signer=KEY.public_key(), box_id="box-1")
        for each in seen.generations:
            one = fetch.open_generation(
                practice.open(), each, identity=words.identity(SECRET), signer=KEY.public_key()
            )
            assert fetch.missing_objects(practice.open(), one) == []
    practice.push(frozen)

    one = practice.newest()
    assert fetch.missing_objects(practice.open(), one) == []
    practice.borg("check", str(practice.bring_back(one)))
    there = [info.name for info in practice.open().list("objects/")]
    assert len(there) == len({file.object for file in one.files})
    assert list((practice.folder / "spool").iterdir()) == []


def test_a_row_of_generations_follows_its_own_past(practice):
    for _ in range(3):
        practice.night()
        practice.push()

    found = fetch.survey(practice.open(), signer=KEY.public_key(), box_id="box-1", kept=(1, 2, 3))

    assert [each.header.number for each in found.generations] == [3, 2, 1]
    assert found.faults == ()
    with practice.database.read() as connection:
        assert [row.number for row in copies.generations(connection, practice.target_id)] == [
            3,
            2,
            1,
        ]


def test_what_a_host_does_to_generations_is_named(practice):
    for _ in range(3):
        practice.night()
        practice.push()
    second = practice.disk / manifest.object_name(2)
    third = practice.disk / manifest.object_name(3)
    old = second.read_bytes()
    second.write_bytes(old[:-1])
    third.unlink()

    found = fetch.survey(practice.open(), signer=KEY.public_key(), box_id="box-1", kept=(1, 2, 3))

    assert {(fault.number, fault.reason) for fault in found.faults} == {
        (2, "altered"),
        (3, "missing"),
    }
    third.write_bytes(old)  # an old manifest replayed under a new name
    replayed = fetch.survey(
        practice.open(), signer=KEY.public_key(), box_id="box-1", kept=(1, 2, 3)
    )
    assert (3, "altered") in {(fault.number, fault.reason) for fault in replayed.faults}


@pytest.mark.parametrize("harm", ["flip", "cut", "grow", "swap", "lose"])
def test_what_a_host_does_to_objects_is_named_and_nothing_wrong_is_written(practice, harm):
    practice.night()
    practice.push()
    one = practice.newest()
    victims = [file for file in one.files if file.path.startswith("data/")][:2]
    paths = [practice.disk / file.object for file in victims]
    data = bytearray(paths[0].read_bytes())
    match harm:
        case "flip":
            data[len(data) // 2] ^= 1
            paths[0].write_bytes(data)
        case "cut":
            paths[0].write_bytes(data[:-40_000] if len(data) > 50_000 else data[:-1])
        case "grow":
            paths[0].write_bytes(bytes(data) + b"more")
        case "swap":
            other = paths[1].read_bytes()
            paths[1].write_bytes(bytes(data))
            paths[0].write_bytes(other)
        case "lose":
            paths[0].unlink()
    place = practice.folder / "one"

    with pytest.raises((ObjectAltered, ObjectMissing)):
        fetch.fetch_file(practice.open(), victims[0], place, identity=words.identity(SECRET))
    with pytest.raises((ObjectAltered, ObjectMissing)):
        fetch.verify_sealed(
            practice.open(),
            victims[0].object,
            sha256=victims[0].sealed_sha256,
            size=victims[0].sealed_size,
        )

    assert list(practice.folder.glob("*one*")) == []


def test_words_of_another_kit_open_nothing(practice):
    practice.night()
    practice.push()
    target = practice.open()
    found = fetch.survey(target, signer=KEY.public_key(), box_id="box-1").generations[0]

    with pytest.raises(ObjectAltered):
        fetch.open_generation(
            target,
            found,
            identity=words.identity(Secret(b"another kit 1234")),
            signer=KEY.public_key(),
        )


def test_a_box_whose_place_another_one_took_over_refuses_to_write(practice, settings, tmp_path):
    """The old box wakes up after a recovery: generation 2 is not its own."""
    from appliance.db.engine import open_database

    practice.night()
    practice.push()
    state = (settings.data / "state.sqlite").read_bytes()  # what the new box was made from
    (tmp_path / "twin").mkdir()
    (tmp_path / "twin" / "state.sqlite").write_bytes(state)
    for extra in ("-wal", "-shm"):
        path = settings.data / f"state.sqlite{extra}"
        if path.exists():
            (tmp_path / "twin" / f"state.sqlite{extra}").write_bytes(path.read_bytes())
    twin = open_database(f"sqlite:///{tmp_path / 'twin' / 'state.sqlite'}")
    practice.night()
    practice.push()  # the living box goes on
    living, practice.database = practice.database, twin

    with pytest.raises(TargetIdentityChanged):
        practice.push()

    practice.database = living
    twin.close()


def test_a_target_that_goes_away_in_the_middle_keeps_what_it_has(practice):
    practice.night(files=20)
    created = itertools.count()

    class Leaving(DirectoryTarget):
        def create(self, name, sealed, **more):
            if next(created) == 5:
                raise TargetUnreachable("disk", "the line was cut")
            super().create(name, sealed, **more)

    def open_leaving():
        return Leaving(practice.disk, disk_id="disk-1", box_id="box-1", today=TODAY)

    with pytest.raises(TargetUnreachable):
        practice.push(open_target=open_leaving, connections=3)
    with practice.database.read() as connection:
        put = [each for each in copies.living(connection, practice.target_id) if each.put_at]
    again = practice.push(connections=3)

    assert len(put) >= 4
    assert again.reused_objects >= len([each for each in put if each.path.startswith("data/")])


def test_the_plan_believes_the_record_unless_it_asked(practice):
    practice.night()
    practice.push()
    frozen = practice.freeze()
    with practice.database.read() as connection:
        sent = [
            plan.SentObject(
                e.name,
                plan.LocalFile(e.repository, e.path, e.plain_size, e.plain_mtime_ns),
                e.sealed_size,
            )
            for e in copies.living(connection, practice.target_id)
        ]

    assert plan.plan_send(frozen.files, sent, listed=None).send == ()
    assert len(plan.plan_send(frozen.files, sent, listed={}).send) == len(frozen.files)
