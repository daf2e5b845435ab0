"""docs/formats/kit.md is enough: its own commands open a kit, without a line of ours."""

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.db import facts, secrets, targets
from appliance.jobs import kit_words
from appliance.jobs.kit_words import KitPlan
from appliance.replication import kit
from appliance.replication.kit_file import build_kit_file
from appliance.vault import words
from appliance.vault.seal import seal
from appliance.vault.secret import Secret

pytestmark = pytest.mark.integration
FORMATS = Path(__file__).parent.parent.parent / "docs" / "formats"
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
HOLDERS = ("Dr Martin", "Dr Petit", "Me Roux")


def commands() -> list[str]:
    page = (FORMATS / "kit.md").read_text("utf-8")
    return re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def run(folder: Path, sheets: list[str], kit_file: bytes) -> subprocess.CompletedProcess[str]:
    (folder / "words.txt").write_text("".join(f"{each}\n" for each in sheets))
    (folder / "slip39-words.txt").write_bytes((FORMATS / "slip39-words.txt").read_bytes())
    (folder / "armoire.kit").write_bytes(kit_file)
    return subprocess.run(
        ["bash", "-c", "set -euo pipefail\n" + "\n".join(commands())],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def made(database, settings, box_keys):
    """A box with a kit and one place."""
    with database.write() as connection:
        kit.make(connection, settings.keys, now=NOW)
        facts.put(connection, "practice.name", "Cabinet «des Lilas»", now=NOW)
        one = targets.add(
            connection,
            name="hebergeur",
            label="Hébergeur",
            kind="sftp",
            place={"host": "sauvegarde.example", "user": "cabinet"},
            now=NOW,
        )
        sealed = seal(Secret(b"-----BEGIN OPENSSH PRIVATE KEY-----\n"), settings.keys)
        secrets.put_sealed(connection, f"target:{one.id}:key", sealed, now=NOW)
    return database


def split(database, settings, plan):
    with database.write() as connection:
        sheets = kit.split(
            connection, settings.keys, needed=plan.needed, holders=plan.holders, now=NOW
        )
    return [" ".join(each.words) for each in sheets]


@pytest.mark.parametrize("which", [(0, 1), (2, 1), (0, 2)])
def test_any_two_sheets_and_the_file_open_by_hand(made, settings, tmp_path, which):
    """The page's own SLIP-39 gives what the library gives."""
    sheets = split(made, settings, KitPlan(2, HOLDERS))
    with made.read() as connection:
        data = build_kit_file(connection, settings, now=NOW)

    done = run(tmp_path, [sheets[at] for at in which], data)

    assert done.returncode == 0, done.stderr
    expected = words.identity(words.join(sheets[:2])).reveal().decode()
    assert (tmp_path / "identity.txt").read_text().strip() == expected
    assert "hebergeur sftp" in done.stdout
    assert (tmp_path / "target-key").read_bytes() == b"-----BEGIN OPENSSH PRIVATE KEY-----\n"


def test_one_sheet_and_two_former_kits_open_by_hand(made, settings, tmp_path):
    """What was sealed to any of the three opens with the identities the page gives."""
    first = split(made, settings, KitPlan(2, HOLDERS))
    kits = [words.join(first[:2])]
    with made.write() as connection:
        kit_words.confirm(connection, first[:2], now=NOW)
    for _ in range(2):
        with made.write() as connection:
            kit_words.rekey(
                connection, settings, KitPlan(1, ("Dr Petit",)), former=kits[-1], now=NOW
            )
        sheets = split(made, settings, KitPlan(1, ("Dr Petit",)))
        with made.write() as connection:
            kit_words.confirm(connection, sheets, now=NOW)
        kits.append(words.join(sheets))
    with made.read() as connection:
        data = build_kit_file(connection, settings, now=NOW)
        assert kit_words.state(connection).former_numbers[1] == words.kit_number(first[0])

    done = run(tmp_path, sheets, data)

    assert done.returncode == 0, done.stderr
    found = (tmp_path / "identities.txt").read_text().split()
    assert found == [words.identity(each).reveal().decode() for each in reversed(kits)]
    opened = kit.read_file(data, kits[-1])
    assert kit.identities(opened, kits[-1]).reveal().decode().split() == found


def test_a_wrong_word_is_noticed_by_hand_too(made, settings, tmp_path):
    sheets = split(made, settings, KitPlan(2, HOLDERS))
    typed = sheets[0].split()
    typed[5] = next(each for each in words.LIST if each != typed[5])
    with made.read() as connection:
        data = build_kit_file(connection, settings, now=NOW)

    done = run(tmp_path, [" ".join(typed), sheets[1]], data)

    assert done.returncode != 0
    assert "a word is wrong" in done.stderr


def test_the_list_beside_the_page_is_the_list():
    assert tuple((FORMATS / "slip39-words.txt").read_text().split()) == words.LIST
    assert len({word[:4] for word in words.LIST}) == 1024
