"""docs/formats/offsite.md is enough: its own commands make a repository again, without a line of ours."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.replication import kit
from appliance.vault import words
from tests.support.copied_box import CopiedBox, tree_of

pytestmark = pytest.mark.integration
PAGE = Path(__file__).parent.parent.parent / "docs" / "formats" / "offsite.md"
PROGRAMS = Path(sys.executable).parent
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
            "BORG_BASE_DIR": str(folder / "borg"),
            "HOME": str(folder),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class Copy:
    """Two nights of a box with two sources, on a disk; and a desk with what a person would have."""

    def __init__(self, folder: Path) -> None:
        self.box = CopiedBox(folder)
        try:
            (self.box.trees[1] / IMAGE).mkdir()
            (self.box.trees[1] / IMAGE / "panoramique.dcm").write_bytes(bytes(range(256)) * 300)
            self.box.night()
            self.box.night()
        finally:
            self.box.database.close()
        self.desk = folder / "desk"
        shutil.copytree(self.box.disk, self.desk / "copy")
        sheets = words.split(self.box.words, needed=2, sheets=3)
        (self.desk / "words.txt").write_text(f"{sheets[2]}\n{sheets[0]}\n")
        (self.desk / "armoire.kit").write_bytes(
            kit.write_file(
                kit.KitFile("box-1", "Cabinet", "2026", kit.signer_text(self.box.signer), ()),
                recipient=self.box.recipient,
            )
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Copy(tmp_path_factory.mktemp("made"))


@pytest.fixture
def desk(made, tmp_path):
    """What a person has, this test's own."""
    return Path(shutil.copytree(made.desk, tmp_path / "desk"))


def test_the_commands_of_the_page_bring_everything_back(made, desk):
    """In thirty years somebody has the page, the sheets and four programs."""
    done = run("\n".join(commands()), desk)

    assert done.returncode == 0, done.stderr
    for number in (1, 2):
        assert tree_of(desk / "restored" / f"r{number}") == tree_of(made.box.trees[number])
    identity = (desk / "identity.txt").read_text().strip().encode()
    assert identity == made.box.identity.reveal()
    assert (desk / "box.key").read_bytes() == (made.box.settings.keys / "box.key").read_bytes()
    assert len(commands()) == 6


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
        assert 184 <= sealed - plain - 16 * max(1, -(-plain // 65536)) <= 700
