"""What the practice chooses, at the console of the box."""

import json
import time
from datetime import UTC, datetime

import pytest

from appliance import cli
from appliance.db import facts, practice
from appliance.db.engine import open_database
from appliance.ledger import chain, events
from appliance.policy.practice_settings import SETTINGS
from appliance.settings import Settings


@pytest.fixture
def box(monkeypatch, tmp_path):
    """An empty box."""
    monkeypatch.setenv("ARMOIRE_LANG", "en")
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


def test_every_setting_is_shown(box, capsys):
    """With its value, in the order of the page; one alone when it is named."""
    code, body = run(capsys, "settings", "show")
    assert code == 0
    assert list(body) == [each.key for each in SETTINGS]
    assert run(capsys, "settings", "show", "links.days")[1] == {"links.days": 7}
    cli.run(["settings", "show"])
    assert "Days the bin keeps what was deleted" in capsys.readouterr().out


def test_a_setting_is_changed_and_the_journal_says_where(box, capsys):
    """A person at the console writes yes and no, and numbers as text."""
    for key, value, held in (
        ("links.password", "yes", True),
        ("links.longest-days", "30", 30),
        ("practice.name", "Cabinet des Lilas", "Cabinet des Lilas"),
    ):
        code, body = run(capsys, "settings", "set", key, value)
        assert (code, body["changed"], body[key]) == (0, [key], held)
    assert run(capsys, "settings", "set", "links.password", "oui")[1]["changed"] == []
    with box.read() as connection:
        assert practice.link_rules(connection) == practice.LinkRules(30, 7, needs_password=True)
        assert {each.actor for each in chain.entries(connection)} == {"console"}
        assert len(list(chain.entries(connection))) == 3


@pytest.mark.parametrize(
    ("key", "value"), [("links.days", "91"), ("no.such", "1"), ("ledger.months", "24")]
)
def test_what_cannot_be_is_refused_with_words(box, capsys, key, value):
    """And nothing is stored."""
    code, body = run(capsys, "settings", "set", key, value)
    assert code == 2
    assert body["error"]["code"] == "input.invalid"
    with box.read() as connection:
        assert list(chain.entries(connection)) == []


@pytest.mark.parametrize(("zone", "read"), [(None, "13:30"), ("Indian/Reunion", "16:30")])
def test_hours_are_those_of_the_practice_whatever_the_machine_s_are(
    box, capsys, monkeypatch, zone, read
):
    """A server that lives in UTC shows the night of a practice in France on its own day."""
    with box.write() as connection:
        at = datetime(2026, 1, 15, 12, 30, tzinfo=UTC)
        events.record(connection, at=at, event="certificate.renewed", subject="box")
        if zone is not None:
            facts.put(connection, practice.TIME_ZONE, zone, now=at)
    monkeypatch.setenv("TZ", "America/Lima")
    time.tzset()
    try:
        assert cli.run(["ledger", "list"]) == 0
    finally:
        monkeypatch.undo()
        time.tzset()

    assert f"2026-01-15 {read}" in capsys.readouterr().out
