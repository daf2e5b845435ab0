"""The box's own state: laid out for a copy, put back under a new key."""

import contextlib
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance import folders
from appliance.catalogue import store
from appliance.db import facts, secrets
from appliance.db.engine import open_database
from appliance.errors import AlreadyExists, RepositoryDamaged, SecretUnreadable
from appliance.ledger import chain
from appliance.model import SourceId
from appliance.replication import state
from appliance.settings import Settings
from appliance.vault import words
from appliance.vault.seal import make_keys, seal
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal

pytestmark = pytest.mark.integration
WORDS = Secret(bytes(range(16)))
RECIPIENT = words.recipient(WORDS)
IDENTITY = words.identity(WORDS)
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
LATER = datetime(2026, 11, 24, 3, tzinfo=UTC)


@pytest.fixture
def box(settings, database, box_keys):
    """A box with a secret, a catalogue and settings of its own."""
    (settings.data / "armoire.toml").write_text('time_zone = "Europe/Paris"\n')
    settings.catalogues.mkdir()
    store.of_source(settings, SourceId(1), create=True)
    with database.write() as connection:
        facts.put(connection, "box.id", "box-1", now=NOW)
        secrets.put_sealed(
            connection, "machine:1:ssh-key", seal(Secret(b"a key"), box_keys), now=NOW
        )
    return settings


@pytest.fixture
def new_box(tmp_path):
    return Settings(data=tmp_path / "new")


def times(files: list[Path]) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in files}


def test_a_night_writes_again_only_what_changed(box, database, tmp_path):
    """An unchanged box costs nothing; a new fact costs the database and the description."""
    first = times(state.stage(box, database, tmp_path / "staged", RECIPIENT, now=NOW))

    same = times(state.stage(box, database, tmp_path / "staged", RECIPIENT, now=LATER))
    with database.write() as connection:
        facts.put(connection, "practice.name", "Cabinet", now=NOW)
    changed = times(state.stage(box, database, tmp_path / "staged", RECIPIENT, now=LATER))

    assert same == first
    assert {name for name in changed if changed[name] != first[name]} == {
        "state.sqlite",
        "state.json",
    }
    assert set(first) == {"state.sqlite", "1.sqlite", "armoire.toml", "box.key.age", "state.json"}


def test_a_catalogue_that_changed_is_copied_and_one_that_went_is_forgotten(box, database, tmp_path):
    store.of_source(box, SourceId(2), create=True)
    state.stage(box, database, tmp_path / "staged", RECIPIENT, now=NOW)
    catalogue = store.of_source(box, SourceId(1))
    with contextlib.closing(sqlite3.connect(catalogue.path)) as connection:
        connection.execute("INSERT INTO owner VALUES (1, 7, 7, 'u', 'g')")
        connection.commit()
    store.path_of(box, SourceId(2)).unlink()

    files = state.stage(box, database, tmp_path / "staged", RECIPIENT, now=LATER)

    assert [path.name for path in files if path.parent.name == "catalogues"] == ["1.sqlite"]
    assert not (tmp_path / "staged" / "catalogues" / "2.sqlite").exists()
    with contextlib.closing(
        sqlite3.connect(tmp_path / "staged" / "catalogues" / "1.sqlite")
    ) as copy:
        assert copy.execute("SELECT uid FROM owner").fetchall() == [(7,)]


def test_the_copy_is_one_moment_although_somebody_writes(box, database, tmp_path):
    """What is not committed is not in it, and the writer is not waited for."""
    with database.write() as connection:
        facts.put(connection, "half", "done", now=NOW)
        state.stage(box, database, tmp_path / "staged", RECIPIENT, now=NOW)

    with contextlib.closing(sqlite3.connect(tmp_path / "staged" / "state.sqlite")) as copy:
        assert copy.execute("SELECT count(*) FROM fact WHERE name = 'half'").fetchone() == (0,)


def test_the_key_leaves_only_sealed_and_is_sealed_again_for_new_sheets(box, database, tmp_path):
    staged = tmp_path / "staged"
    state.stage(box, database, staged, RECIPIENT, now=NOW)
    key = (box.keys / "box.key").read_bytes().strip()
    sealed = (staged / "box.key.age").read_bytes()
    other = Secret(b"another kit 1234")

    state.stage(box, database, staged, words.recipient(other), now=NOW)

    assert all(key not in path.read_bytes() for path in staged.rglob("*") if path.is_file())
    assert (staged / "box.key.age").read_bytes() != sealed
    with pytest.raises(SecretUnreadable):
        state.unstage(staged, Settings(data=tmp_path / "n"), IDENTITY, instance="i", now=NOW)


def test_secrets_open_with_the_new_key_and_no_longer_with_the_old(box, database, tmp_path, new_box):
    state.stage(box, database, tmp_path / "staged", RECIPIENT, now=NOW)

    taken = state.unstage(
        tmp_path / "staged", new_box, IDENTITY, instance="i-2", now=LATER, came_from={"number": 7}
    )

    opened = open_database(new_box.database)
    with opened.read() as connection:
        sealed = secrets.get_sealed(connection, "machine:1:ssh-key")
        assert facts.find(connection, "box.instance") == "i-2"
        newest = chain.newest(connection, limit=1)[0]
        chain.verify(connection)
    opened.close()
    assert unseal("x", sealed, new_box.keys) == Secret(b"a key")
    with pytest.raises(SecretUnreadable):
        unseal("x", sealed, box.keys)
    assert (newest.event, newest.body["number"]) == ("box.recovered", 7)
    assert (taken.secrets, taken.unreadable, taken.taken_at) == (1, (), NOW)
    assert (new_box.data / "armoire.toml").exists()
    assert store.of_source(new_box, SourceId(1)).path.exists()
    assert sorted(path.name for path in new_box.data.iterdir()) == sorted(
        ["armoire.toml", "catalogues", "keys", "state.sqlite"]
    )


def test_a_secret_that_was_spoiled_is_named_and_keeps_nobody_in_ashes(
    box, database, tmp_path, new_box
):
    with database.write() as connection:
        secrets.put_sealed(connection, "repository:9:key", b"spoiled", now=NOW)
    state.stage(box, database, tmp_path / "staged", RECIPIENT, now=NOW)

    taken = state.unstage(tmp_path / "staged", new_box, IDENTITY, instance="i", now=NOW)

    assert (taken.secrets, taken.unreadable) == (1, ("repository:9:key",))


def test_a_box_that_lives_there_is_never_written_over(box, database, tmp_path):
    state.stage(box, database, tmp_path / "staged", RECIPIENT, now=NOW)
    before = (box.data / "keys" / "box.key").read_bytes()

    with pytest.raises(AlreadyExists):
        state.unstage(tmp_path / "staged", box, IDENTITY, instance="i", now=NOW)

    assert (box.data / "keys" / "box.key").read_bytes() == before


def test_called_again_it_says_what_was_done(box, database, tmp_path, new_box):
    state.stage(box, database, tmp_path / "staged", RECIPIENT, now=NOW)
    first = state.unstage(tmp_path / "staged", new_box, IDENTITY, instance="i", now=NOW)
    key = (new_box.keys / "box.key").read_bytes()

    again = state.unstage(tmp_path / "staged", new_box, IDENTITY, instance="i", now=LATER)

    assert again == first
    assert (new_box.keys / "box.key").read_bytes() == key


class Killed(Exception):
    """The process is gone at this line."""


@pytest.mark.parametrize("at", range(1, 9))
def test_killed_at_any_rename_it_is_done_again(box, database, tmp_path, new_box, monkeypatch, at):
    """Nobody ever sees half a state: ``state.sqlite`` takes its name last."""
    state.stage(box, database, tmp_path / "staged", RECIPIENT, now=NOW)
    calls = iter(range(1, 100))
    real = folders.sync

    def dying(path):
        real(path)
        if next(calls) == at:
            raise Killed

    monkeypatch.setattr(folders, "sync", dying)
    with contextlib.suppress(Killed):
        state.unstage(tmp_path / "staged", new_box, IDENTITY, instance="i", now=NOW)
    monkeypatch.setattr(folders, "sync", real)

    taken = state.unstage(tmp_path / "staged", new_box, IDENTITY, instance="i", now=NOW)

    opened = open_database(new_box.database)
    with opened.read() as connection:
        sealed = secrets.get_sealed(connection, "machine:1:ssh-key")
        recovered = chain.newest(connection, event="box.recovered")
    opened.close()
    assert unseal("x", sealed, new_box.keys) == Secret(b"a key")
    assert taken.secrets == len(recovered) == 1


def test_a_staged_file_that_was_altered_is_refused(box, database, tmp_path, new_box):
    state.stage(box, database, tmp_path / "staged", RECIPIENT, now=NOW)
    with (tmp_path / "staged" / "armoire.toml").open("a") as file:
        file.write("listen_port = 1\n")

    with pytest.raises(RepositoryDamaged):
        state.unstage(tmp_path / "staged", new_box, IDENTITY, instance="i", now=NOW)


def test_the_passphrase_of_the_states_repository_opens_with_the_sheets_alone(tmp_path):
    """Sealed once per set of sheets, so that it is sent once."""
    repository, moment = tmp_path / "r", tmp_path / "m"
    repository.mkdir()
    moment.mkdir()
    state.seal_passphrase(repository, Secret(b"open sesame"), RECIPIENT)
    first = (repository / state.PASSPHRASE).read_bytes()

    state.seal_passphrase(repository, Secret(b"open sesame"), RECIPIENT)
    (frozen,) = state.freeze_passphrase(repository, moment)

    assert (repository / state.PASSPHRASE).read_bytes() == first
    assert (frozen.repository, frozen.path) == (0, "passphrase.age")
    assert state.open_passphrase(moment, IDENTITY) == Secret(b"open sesame")
    with pytest.raises(SecretUnreadable):
        state.open_passphrase(moment, words.identity(Secret(b"another kit 1234")))


def test_a_box_without_keys_is_not_staged(settings, database, tmp_path):
    from appliance.errors import KeyMissing

    with pytest.raises(KeyMissing):
        state.stage(settings, database, tmp_path / "staged", RECIPIENT, now=NOW)
    make_keys(settings.keys)
    assert state.stage(settings, database, tmp_path / "staged", RECIPIENT, now=NOW)
