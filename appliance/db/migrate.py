"""Bringing a database to the newest schema: forward only, each step in its own transaction."""

from pathlib import Path
from typing import Final

from sqlalchemy import Engine, inspect, text

from appliance.errors import DatabaseUnusable

#: The newest revision in ``migrations/versions``; a test compares them.
HEAD: Final = "0004"


def upgrade(engine: Engine) -> None:
    """Upgrade to HEAD; does nothing, and imports nothing heavy, when it is there already.

    Raises:
        DatabaseUnusable: the database was written by a newer program.
    """
    with engine.connect() as connection:
        found = None
        if inspect(connection).has_table("alembic_version"):
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        connection.rollback()
    if found == HEAD:
        return
    from alembic import command  # noqa: PLC0415 - 15 MB that a box at rest does not need
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    if found is not None and found not in {
        r.revision for r in ScriptDirectory.from_config(config).walk_revisions()
    }:
        raise DatabaseUnusable(
            engine.url.render_as_string(), f"it was written by a newer version ({found})"
        )
    with engine.connect() as connection:
        config.attributes["connection"] = connection.execution_options(armoire_write=True)
        command.upgrade(config, "head")
