"""The sealed envelope at the console of the box."""

import json
import re
import stat

import pytest

from appliance import cli
from appliance.accounts import people, sealed_envelope
from appliance.db.engine import open_database
from appliance.model import Role
from appliance.settings import Settings


@pytest.fixture
def box(monkeypatch, tmp_path):
    """An empty box."""
    monkeypatch.setenv("ARMOIRE_LANG", "fr")
    monkeypatch.setenv("ARMOIRE_DATA", str(tmp_path / "box"))
    settings = Settings(data=tmp_path / "box")
    settings.data.mkdir()
    database = open_database(settings.database, create=True)
    yield database
    database.close()


def run(capsys, *arguments):
    capsys.readouterr()
    code = cli.run([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_paper_is_a_file_for_oneself_and_the_code_is_nowhere_else(box, capsys, tmp_path):
    """In French here; neither the screen nor «show» says the code."""
    code, body = run(
        capsys, "envelope", "seal", "--place", "Coffre", "--to", str(tmp_path / "out"),
        "--address", "https://armoire.cabinet.lan:8443",
    )  # fmt: skip
    path = tmp_path / "out" / "enveloppe-1.html"
    page = path.read_text()
    secret = re.search(r"([A-Z2-7]{4}-){5}[A-Z2-7]{4}", page).group(0)

    assert (code, body["file"]) == (0, str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "https://armoire.cabinet.lan:8443" in page
    assert "Conservée dans" in page
    shown = run(capsys, "envelope", "show")
    assert (shown[0], shown[1]["place"], shown[1]["opened_at"]) == (0, "Coffre", None)
    assert secret not in str(body) + str(shown)


def test_a_paper_that_cannot_be_written_ends_no_envelope(box, capsys, tmp_path):
    """The former one stays good."""
    there = str(tmp_path / "out")
    _, first = run(capsys, "envelope", "seal", "--place", "Coffre", "--to", there)
    (tmp_path / "out" / "enveloppe-2.html").mkdir()

    code, _ = run(capsys, "envelope", "seal", "--place", "Coffre", "--to", there)

    assert code == 2
    with box.read() as connection:
        assert sealed_envelope.get(connection).login == first["login"]


def test_it_is_withdrawn_and_no_link_is_made_for_it(box, capsys, tmp_path):
    """«armoire link» would be a second way in."""
    _, made = run(capsys, "envelope", "seal", "--place", "Coffre", "--to", str(tmp_path))

    assert run(capsys, "link", made["login"])[0] == 4
    assert run(capsys, "envelope", "withdraw")[0] == 0
    assert run(capsys, "envelope", "show") == (3, {"number": None})
    with box.read() as connection:
        (account,) = people.everybody(connection)
    assert account.role is Role.SEALED_ENVELOPE
    assert account.disabled_at is not None
