"""Links for correspondents and the ways of notices, at the console of the box."""

import io
import json

import pytest

from appliance import cli
from appliance.accounts import notice_ways, people
from appliance.clock import utc_now
from appliance.db import secrets, shares
from appliance.db.engine import open_database
from appliance.model import Role
from appliance.policy.share_rights import ALL
from appliance.settings import Settings
from appliance.vault.seal import make_keys
from appliance.vault.unseal import unseal
from tests.support import mail


@pytest.fixture
def box(monkeypatch, tmp_path):
    """A box with an owner and a share with a letter."""
    monkeypatch.setenv("ARMOIRE_LANG", "en")
    monkeypatch.setenv("ARMOIRE_DATA", str(tmp_path / "box"))
    monkeypatch.setattr("os.umask", lambda _mask: 0o022)  # of this whole process otherwise
    settings = Settings(data=tmp_path / "box")
    settings.data.mkdir()
    make_keys(settings.keys)
    database = open_database(settings.database, create=True)
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "letter.pdf").write_bytes(b"%PDF-1.7")
    with database.write() as connection:
        people.add(
            connection, login="anne.martin", name="Anne Martin", role=Role.OWNER,
            language="fr", password_hash=None, now=utc_now(),
        )  # fmt: skip
        made = shares.add(connection, name="documents", label="D", folder=folder, now=utc_now())
        shares.grant(connection, made.id, ALL, role=Role.OWNER, by=None, now=utc_now())
    yield database, settings
    database.close()


@pytest.fixture
def run(capsys, monkeypatch):
    def call(*arguments, said=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(said))
        code = cli.run((*arguments, "--json"))
        out = capsys.readouterr()
        return code, json.loads(out.out) if out.out.strip() else {}, out.out + out.err

    return call


def test_a_link_is_made_listed_and_withdrawn(box, run):
    """In the name of a person, with their rights; its address is printed once."""
    code, made, _ = run(
        "links", "make", "documents", "letter.pdf", "--for", "Dr Petit", "--as", "anne.martin"
    )
    assert code == 0
    assert "/l/" in made["url"]
    assert made["password"]
    code, listed, text = run("links", "list")
    (one,) = listed["links"]
    assert (one["label"], one["state"], one["share"]) == ("Dr Petit", "open", "documents")
    assert made["url"].rpartition("/")[2] not in text
    assert run("links", "revoke", str(one["id"]), "--as", "anne.martin")[0] == 0
    assert run("links", "list", "--open")[1]["links"] == []


def test_a_link_of_nobody_or_of_nothing_is_none(box, run):
    """Refused with words and a code."""
    asked = ("links", "make", "documents", "nothing.pdf", "--for", "x")
    assert run(*asked, "--as", "anne.martin")[0] != 0
    assert run(*asked, "--as", "nobody")[0] != 0
    assert run("links", "revoke", "99", "--as", "anne.martin")[0] != 0
    assert run("links", "list")[1]["links"] == []


def test_the_tables_are_for_people(box, capsys):
    """Without --json too."""
    assert (
        cli.run(("links", "make", "documents", "--ask", "--for", "Labo", "--as", "anne.martin"))
        == 0
    )
    assert cli.run(("links", "list")) == 0
    assert cli.run(("notices", "add", "a@b.fr", "--about", "box")) == 0
    assert cli.run(("notices", "show")) == 0
    said = capsys.readouterr().out
    assert "Labo" in said
    assert "a@b.fr" in said
    assert "No e-mail server is set." in said


def test_a_server_a_way_and_a_test_that_arrives(box, run, tmp_path):
    """The password comes on standard input and is sealed; the test is really sent."""
    database, settings = box
    with mail.MailServer(tmp_path, users={"box": "pass word é"}) as server:
        (tmp_path / "ca.pem").write_text(server.ca)
        code, told, text = run(
            "notices", "mail", "127.0.0.1", "--port", str(server.port), "--security", "starttls",
            "--from", "box@b.fr", "--user", "box", "--ca", str(tmp_path / "ca.pem"),
            said="pass word é\n",
        )  # fmt: skip
        assert (code, told["server"]) == (0, "127.0.0.1")
        assert "pass word" not in text
        with database.read() as c:
            sealed = secrets.get_sealed(c, notice_ways.MAIL_SECRET)
        assert unseal("x", sealed, settings.keys).reveal().decode() == "pass word é"
        way = run("notices", "add", "cabinet@b.fr")[1]
        code, told, _ = run("notices", "test", str(way["id"]))
        assert (code, told["is_sent"]) == (0, True)
        assert [to for to, _message in server.received] == ["cabinet@b.fr"]
    code, told, _ = run("notices", "test", str(way["id"]))
    assert (code, told["problem"]) == (1, "unreachable")
    assert run("notices", "show")[1]["ways"][0]["problem"] == "unreachable"
    assert run("notices", "remove", str(way["id"]))[0] == 0
    assert run("notices", "show")[1]["ways"] == []


def test_a_service_s_address_comes_on_standard_input(box, run):
    """And never goes out again; a kind that is not allowed is refused without being said."""
    _, made, text = run(
        "notices", "add", "-", "--about", "box", said="ntfys://u:k3y@ntfy.sh/topic\n"
    )
    assert (made["kind"], made["label"], made["topics"]) == ("service", "ntfy", ["box"])
    assert "k3y" not in text + run("notices", "show")[2]
    code, _, text = run("notices", "add", "-", said="exec://touch/s3cret\n")
    assert code != 0
    assert "s3cret" not in text
    assert run("notices", "add", "-")[0] != 0
    assert run("notices", "add", "not an address")[0] != 0
