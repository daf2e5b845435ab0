"""Both roads, the migrations and the schema in code, give the same database."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from appliance.db import migrate
from appliance.db.engine import open_database
from appliance.db.tables import metadata
from appliance.errors import DatabaseUnusable, NotInitialised


def test_the_migrations_make_the_schema_of_the_code(database):
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_head_in_the_code_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))

    assert ScriptDirectory.from_config(config).get_current_head() == migrate.HEAD


def test_a_missing_database_is_not_made_by_accident(settings):
    """An unmounted data folder is never an empty box."""
    with pytest.raises(NotInitialised):
        open_database(settings.database)
    assert list(settings.data.iterdir()) == []


def test_a_database_of_a_newer_program_is_left_alone(settings, database):
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(DatabaseUnusable) as raised:
        open_database(settings.database)

    assert "9999" in raised.value.reason


def test_a_file_that_is_no_database_is_said_so(settings):
    (settings.data / "state.sqlite").write_bytes(b"not a database at all" * 100)

    with pytest.raises(DatabaseUnusable):
        open_database(settings.database)


def test_a_write_is_whole_or_not_at_all(database):
    from tests.unit.jobs.test_queue import a_source

    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(
            text("INSERT INTO fact VALUES ('a', '1', '2026-01-01T00:00:00.000000Z')")
        )
        1 / 0  # noqa: B018
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM fact")).scalar() == 0
    assert a_source(database).id == 1
