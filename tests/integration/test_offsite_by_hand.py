"""docs/formats/offsite.md is enough: its own commands make a repository again, without a line of ours."""

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.db import targets
from appliance.db.engine import open_database
from appliance.replication import kit, manifest, moment, push
from appliance.replication.targets.directory import DirectoryTarget, DiskLabel, write_label
from appliance.vault import words

pytestmark = pytest.mark.integration
PAGE = Path(__file__).parent.parent.parent / "docs" / "formats" / "offsite.md"
PROGRAMS = Path(sys.executable).parent
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
SECRET = words.make_secret()
KEY = Ed25519PrivateKey.generate()
BOX = push.Box("box-1", words.recipient(SECRET), KEY)
IMAGE = "Imagerie été"


def commands() -> list[str]:
    """Every shell block of the page, in order."""
    return re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", "set -euo pipefail\n" + script],
        cwd=folder,
        env={
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "BORG_PASSPHRASE": "x",
            "BORG_BASE_DIR": str(folder / "borg"),
            "HOME": str(folder),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class Copy:
    """Two nights of a real repository, copied to a disk; and a desk with what a person would have."""

    def __init__(self, folder: Path, database) -> None:
        self.desk = folder / "desk"
        self.disk = self.desk / "copy"
        self.disk.mkdir(parents=True)
        self.tree = folder / "tree"
        (self.tree / IMAGE).mkdir(parents=True)
        repository = folder / "repositories" / "1"
        repository.parent.mkdir()
        chance = random.Random(3)
        write_label(self.disk, DiskLabel("disk-1", "box-1", "Lundi", NOW.date()))
        with database.write() as connection:
            target_id = targets.add(
                connection, name="disque", label="Disque", kind="directory", place={}, now=NOW
            ).id
        made = run(
            f"borg init -e repokey-blake2 {repository}\n"
            f"borg config {repository} max_segment_size 262144\n",
            folder,
        )
        assert made.returncode == 0, made.stderr
        borg_id = re.search(r"^id = (\w+)$", (repository / "config").read_text(), re.MULTILINE)[1]
        for night in range(2):
            for number in range(6):
                (self.tree / IMAGE / f"{night}-{number}.jpg").write_bytes(chance.randbytes(70_000))
            done = run(f"cd {self.tree}; borg create -C none {repository}::1-{night} .", folder)
            assert done.returncode == 0, done.stderr
            files = moment.freeze(repository, 1, folder / "moment" / "1", locked=nullcontext)
            one = manifest.CopiedRepository(
                1, borg_id, "accueil", 'Accueil {"borg_id":"0"} été', "pulled"
            )
            push.push(
                database,
                target_id,
                box=BOX,
                moment=push.Moment(NOW, folder / "moment", tuple(files), (one,)),
                line=push.Line(
                    lambda: DirectoryTarget(
                        self.disk, disk_id="disk-1", box_id="box-1", today=NOW.date()
                    )
                ),
                spool=folder / "spool",
                now=lambda: NOW,
            )
        sheets = words.split(SECRET, needed=2, sheets=3)
        (self.desk / "words.txt").write_text(f"{sheets[2]}\n{sheets[0]}\n")
        (self.desk / "armoire.kit").write_bytes(
            kit.write_file(
                kit.KitFile("box-1", "Cabinet", "2026", kit.signer_text(KEY.public_key()), ()),
                recipient=BOX.recipient,
            )
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    database = open_database(f"sqlite:///{folder / 'state.sqlite'}", create=True)
    try:
        return Copy(folder, database)
    finally:
        database.close()


@pytest.fixture
def desk(made, tmp_path):
    """What a person has, this test's own."""
    return Path(shutil.copytree(made.desk, tmp_path / "desk"))


def tree_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_commands_of_the_page_bring_everything_back(made, desk):
    """In thirty years somebody has the page, the sheets and four programs."""
    done = run("\n".join(commands()), desk)

    assert done.returncode == 0, done.stderr
    assert tree_of(desk / "restored" / "accueil") == tree_of(made.tree)
    assert (desk / "identity.txt").read_text().strip().encode() == words.identity(SECRET).reveal()
    assert len(commands()) == 5


@pytest.mark.parametrize(
    ("harm", "block"),
    [("forged", 1), ("body", 1), ("chain", 2), ("object", 3), ("swapped", 3)],
)
def test_the_commands_of_the_page_stop_at_what_was_altered(desk, harm, block):
    """A block that ends well on a wrong copy would be worse than none."""
    blocks = commands()
    second = desk / "copy" / "generations" / "0000000002"
    first = desk / "copy" / "generations" / "0000000001"
    objects = sorted(path for path in (desk / "copy" / "objects").rglob("*") if path.is_file())
    match harm:
        case "forged":
            second.write_bytes(second.read_bytes().replace(b'"number":2', b'"number":9'))
        case "body":
            data = second.read_bytes()
            second.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "chain":
            data = first.read_bytes()
            first.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "object":
            for path in objects:
                path.write_bytes(path.read_bytes() + b"\x00")
        case "swapped":
            one, two = objects[0].read_bytes(), objects[1].read_bytes()
            objects[0].write_bytes(two)
            objects[1].write_bytes(one)

    done = run("\n".join([*blocks[:block], "touch reached", blocks[block]]), desk)

    assert (desk / "reached").exists(), done.stderr
    assert done.returncode != 0


def test_sizes_are_as_the_page_says(desk):
    """16 bytes for each 64 KiB begun, and a header."""
    done = run("\n".join(commands()[:2]), desk)
    assert done.returncode == 0, done.stderr
    opened = run("age -d -i identity.txt body.age | zstd -dc", desk).stdout
    sizes = re.findall(r'"plain_size":(\d+),.*?"sealed_size":(\d+)', opened)

    assert len(sizes) > 5
    for plain, sealed in ((int(one), int(two)) for one, two in sizes):
        assert 200 <= sealed - plain - 16 * max(1, -(-plain // 65536)) <= 700
