"""The scratch place of a drill: one drill's alone, and gone after it."""

import pytest

from appliance.clock import utc_now
from appliance.db import secrets
from appliance.db.engine import open_database
from appliance.errors import AlreadyRunning
from appliance.jobs import drill_scratch
from appliance.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(data=tmp_path / "data")


@pytest.fixture
def database(settings):
    settings.data.mkdir()
    opened = open_database(settings.database, create=True)
    yield opened
    opened.close()


def test_it_is_empty_private_and_removed_even_after_a_mistake(settings, database):
    old = drill_scratch.place_of(settings)
    old.mkdir()
    (old / "left").write_text("x")

    def fail() -> None:
        with drill_scratch.scratch(settings) as folder:
            assert list(folder.iterdir()) == []
            assert folder.stat().st_mode & 0o777 == 0o700
            (folder / "box").mkdir()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not old.exists()


def test_a_running_drill_is_neither_swept_nor_joined_by_another(settings, database):
    """The lock says that it lives."""
    with drill_scratch.scratch(settings) as folder:
        (folder / "box").mkdir()
        assert drill_scratch.sweep(settings, database) is False
        with pytest.raises(AlreadyRunning), drill_scratch.scratch(settings, wait_s=0.0):
            pass
        assert (folder / "box").is_dir()


def test_a_link_in_its_place_is_removed_and_not_followed(settings, database, tmp_path):
    """Nothing outside the data folder is ever emptied."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    drill_scratch.place_of(settings).symlink_to(precious)

    drill_scratch.sweep(settings, database)

    assert not drill_scratch.place_of(settings).is_symlink()
    assert (precious / "file").exists()


def test_words_without_a_drill_are_erased_for_good(settings, database):
    """Also out of SQLite's log."""
    with database.write() as connection:
        secrets.put_sealed(connection, drill_scratch.WORDS, b"S" * 64, now=utc_now())

    assert drill_scratch.sweep(settings, database) is True

    for path in settings.data.glob("state.sqlite*"):
        assert b"S" * 64 not in path.read_bytes(), path.name
    assert drill_scratch.sweep(settings, database) is False
