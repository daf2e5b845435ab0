"""The way back in for who lost the phone, from the box itself."""

from appliance import cli
from appliance.accounts import people, second_factors, sessions
from appliance.clock import utc_now
from appliance.db.engine import open_database
from appliance.model import Role


def test_a_link_can_forget_a_lost_second_factor(monkeypatch, tmp_path, capsys):
    """An owner alone with the box is never locked out; sessions end, the ledger keeps it."""
    monkeypatch.setenv("ARMOIRE_DATA", str(tmp_path / "box"))
    monkeypatch.setattr("os.umask", lambda _mask: 0o022)
    assert cli.run(("init",)) == 0
    database = open_database(f"sqlite:///{tmp_path / 'box' / 'state.sqlite'}")
    now = utc_now()
    with database.write() as connection:
        who = people.add(
            connection, login="claire.martin", name="Claire Martin", role=Role.OWNER,
            language="fr", password_hash=None, now=now,
        )  # fmt: skip
        second_factors.make_codes(connection, who.id, now=now)
        token = sessions.start(connection, who.id, now=now, address="127.0.0.1", user_agent="")

    assert cli.run(("link", "claire.martin")) == 0
    with database.read() as connection:
        assert second_factors.codes_left(connection, who.id) == second_factors.CODES
    assert cli.run(("link", "claire.martin", "--forget-second-factor")) == 0

    assert "/link#" in capsys.readouterr().out
    with database.read() as connection:
        assert second_factors.codes_left(connection, who.id) == 0
        assert sessions.find(connection, token, now=now) is None
    database.close()
