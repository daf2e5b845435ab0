"""The shares at the console of the box: made, opened, looked at, closed."""

import json

import pytest

from appliance import cli
from appliance.accounts import people
from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import open_database
from appliance.disk import bin as bins
from appliance.model import Role
from appliance.settings import Settings


@pytest.fixture
def box(monkeypatch, tmp_path):
    """A box with a secretary and a share of which nothing is backed up yet."""
    monkeypatch.setenv("ARMOIRE_LANG", "en")
    monkeypatch.setenv("ARMOIRE_DATA", str(tmp_path / "box"))
    monkeypatch.setattr("os.umask", lambda _mask: 0o022)  # of this whole process otherwise
    settings = Settings(data=tmp_path / "box")
    settings.data.mkdir()
    database = open_database(settings.database, create=True)
    (tmp_path / "documents").mkdir()
    with database.write() as connection:
        people.add(
            connection, login="marie.petit", name="Marie Petit", role=Role.SECRETARY,
            language="fr", password_hash=None, now=utc_now(),
        )  # fmt: skip
        shares.add(
            connection, name="documents", label="Documents", folder=tmp_path / "documents",
            now=utc_now(),
        )  # fmt: skip
    yield database
    database.close()


def run(capsys, *arguments):
    capsys.readouterr()
    code = cli.run([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_rights_are_given_and_said(box, capsys):
    """To a login, to a role; «none» takes away; what makes no sense is refused."""
    code, body = run(capsys, "share", "rights", "documents", "marie.petit", "see", "add")
    assert (code, body["people"][0]["rights"]) == (0, ["add", "see"])
    assert (
        run(capsys, "share", "rights", "documents", "marie.petit", "none")[1]["people"][0]["rights"]
        == []
    )
    run(capsys, "share", "rights", "documents", "secretary", "all")
    assert len(run(capsys, "share", "rights", "documents")[1]["people"][0]["rights"]) == 5
    for wrong in (("secretary", "delete"), ("nobody.here", "see"), ("technical-admin", "see")):
        assert cli.run(["share", "rights", "documents", *wrong]) != 0
    cli.run(["share", "rights", "documents"])
    assert "Marie Petit (medical secretary) may see, add" in capsys.readouterr().out


def test_the_bin_is_looked_into_and_emptied_by_hand(box, capsys):
    """What was deleted is listed with its number, and goes back."""
    with box.read() as connection:
        share = shares.get_by_name(connection, "documents")
    (share.folder / "letter.txt").write_bytes(b"x")
    bins.delete(box, share, b"letter.txt", person_id=None, door="web", now=utc_now())
    (item,) = run(capsys, "share", "bin", "documents")[1]["items"]
    assert item["path"] == "letter.txt"
    assert run(capsys, "share", "bin", "documents", "--put-back", str(item["id"]))[0] == 0
    assert (share.folder / "letter.txt").exists()


def test_a_share_is_shown_and_closed(box, capsys):
    """Not without a word; its folder stays."""
    body = run(capsys, "share", "show", "documents")[1]
    assert (body["bin_days"], body["used_bytes"]) == (30, 0)
    assert run(capsys, "share", "close", "documents", "--yes") == (
        0,
        {"name": "documents", "closed": True},
    )
    assert cli.run(["share", "show", "documents"]) != 0
