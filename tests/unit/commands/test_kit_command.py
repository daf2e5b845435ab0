"""``armoire kit``: words come from a descriptor or a terminal, and go nowhere but into the pages."""

import io
import json
import os
import re
import stat

import pytest

from appliance import cli
from appliance.clock import utc_now
from appliance.db import facts, secrets, targets
from appliance.db.engine import open_database
from appliance.jobs import kit_access, kit_words
from appliance.ledger import chain
from appliance.replication import kit
from appliance.vault import words


@pytest.fixture(autouse=True)
def english(monkeypatch, tmp_path):
    monkeypatch.setenv("ARMOIRE_LANG", "en")
    monkeypatch.setenv("ARMOIRE_DATA", str(tmp_path / "box"))
    monkeypatch.setattr("os.umask", lambda _mask: 0o022)  # of this whole process otherwise


@pytest.fixture
def armoire(capsys):
    """Runs a command in this process; returns exit code and the one object."""

    def run(*argv: str) -> tuple[int, dict]:
        capsys.readouterr()
        code = cli.run([*argv, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def box(armoire, tmp_path):
    assert armoire("init")[0] == 0
    assert armoire("kit", "make")[0] == 0
    database = open_database(f"sqlite:///{tmp_path / 'box' / 'state.sqlite'}")
    yield database
    database.close()


def words_fd(*sheets):
    """A pipe that holds the words, as a caller would hand them over."""
    reading, writing = os.pipe()
    os.write(writing, "\n".join(sheets).encode())  # less than a pipe holds
    os.close(writing)
    return str(reading)


def printed(folder):
    return [
        " ".join(re.findall(r"<li><span>\d+</span>([a-z]+)</li>", path.read_text()))
        for path in sorted(folder.glob("*.html"))
    ]


HOLDERS = ("--holder", "Dr Martin", "--holder", "Dr Petit", "--holder", "Me Roux")


def test_the_whole_road_of_a_kit_by_commands(armoire, box, tmp_path):
    """Split, print, confirm, write the file: and nothing can be printed after."""
    code, made = armoire("kit", "split", *HOLDERS)
    assert code == 0
    assert made["needed"] == 2
    assert [each["holder"] for each in made["sheets"]] == ["Dr Martin", "Dr Petit", "Me Roux"]
    assert armoire("kit", "print", "--to", str(tmp_path / "pages"))[0] == 0
    pages = sorted((tmp_path / "pages").iterdir())
    assert [stat.S_IMODE(each.stat().st_mode) for each in pages] == [0o600] * 3
    sheets = printed(tmp_path / "pages")
    assert not any(word in json.dumps(made) for word in sheets[0].split() if len(word) > 7)

    code, said = armoire("kit", "confirm", "--words-fd", words_fd(sheets[2], sheets[0]))

    assert (code, said["what"]) == (0, "confirmed")
    assert armoire("kit", "print", "--to", str(tmp_path / "again"))[1]["error"]["code"] == (
        "kit.confirmed"
    )
    assert armoire("kit", "file", "--to", str(tmp_path))[1]["targets"] == []
    stick = tmp_path / "armoire.kit"
    assert stat.S_IMODE(stick.stat().st_mode) == 0o600
    assert kit.read_file(stick.read_bytes(), words.join(sheets[:2])).targets == ()
    with box.read() as connection:
        assert secrets.find_sealed(connection, kit.SECRET) is None
        kept = json.dumps([each.body for each in chain.entries(connection)])
    assert not any(word in kept for word in sheets[0].split() if len(word) > 7)


def test_words_that_are_wrong_change_nothing(armoire, box, tmp_path):
    armoire("kit", "split", "--holder", "Dr Martin")
    armoire("kit", "print", "--to", str(tmp_path / "pages"))
    (sheet,) = printed(tmp_path / "pages")
    typed = sheet.split()
    typed[4] = "zzzz"

    code, said = armoire("kit", "confirm", "--words-fd", words_fd(" ".join(typed)))

    assert (code, said["error"]["code"]) == (1, "kit.word-unknown")
    assert said["error"]["facts"]["position"] == 5
    with box.read() as connection:
        assert kit_words.state(connection).confirmed_at is None


def test_there_is_no_way_to_give_words_as_an_argument(armoire, box):
    """They would stand in the list of processes and in the shell's history."""
    armoire("kit", "split", "--holder", "Dr Martin")

    assert armoire("kit", "confirm", "academic")[0] == 2
    assert armoire("kit", "confirm")[1]["error"]["code"] == "input.invalid"


def test_a_new_kit_by_commands_and_one_given_up(armoire, box, tmp_path):
    armoire("kit", "split", "--holder", "Dr Martin")
    armoire("kit", "print", "--to", str(tmp_path / "old"))
    (old,) = printed(tmp_path / "old")
    armoire("kit", "confirm", "--words-fd", words_fd(old))
    assert armoire("kit", "rekey", "--holder", "Dr Petit", "--words-lost")[0] == 2
    assert armoire("kit", "rekey", "--holder", "Dr Petit", "--words-lost", "--resend")[0] == 0
    assert armoire("kit", "rekey", "--abandon")[1]["kit"]["next"] is None
    code, begun = armoire("kit", "rekey", "--holder", "Dr Petit", "--words-fd", words_fd(old))
    assert code == 0
    assert begun["kit"]["next"]["plan"] == {"needed": 1, "holders": ["Dr Petit"]}
    armoire("kit", "print", "--to", str(tmp_path / "new"))
    (new,) = printed(tmp_path / "new")

    assert armoire("kit", "confirm", "--words-fd", words_fd(new))[1]["what"] == "taken-over"

    with box.read() as connection:
        assert facts.find(connection, "kit.recipient") == words.recipient(words.join([new]))
        assert facts.find(connection, kit_words.RESEND_BEFORE) is None
    assert armoire("kit", "show")[1]["kit"]["former_numbers"] == [words.kit_number(old)]


def test_credentials_for_reading_come_on_standard_input(armoire, box, monkeypatch):
    """Never in argv; the file is then to be written again."""
    with box.write() as connection:
        one = targets.add(
            connection, name="hote", label="Hôte", kind="sftp", place={}, now=utc_now()
        )
    monkeypatch.setattr("sys.stdin", io.StringIO("hush\n"))

    code, said = armoire("kit", "access", "hote", "--user", "lecture")

    assert (code, said) == (0, {"target": "hote", "reads_only": True})
    with box.read() as connection:
        assert kit_access.reads_only(connection, one)
        assert b"hush" not in secrets.get_sealed(connection, f"target:{one.id}:read-password")
    assert armoire("kit", "access", "hote", "--forget")[1]["reads_only"] is False
