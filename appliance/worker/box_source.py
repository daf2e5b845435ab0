"""The box as a source of its own: what it knows of itself is backed up like the practice's machines.

Made when a box is made, and when one that was made before begins to run.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from appliance.db import facts, sources
from appliance.db.engine import Database
from appliance.errors import AlreadyExists, NotFound
from appliance.ledger import events
from appliance.model import BOX_SOURCE
from appliance.settings import Settings

NAME: Final = "boitier"
LABEL: Final = "Boîtier"


def ensure(settings: Settings, database: Database, now: datetime) -> None:
    """Make the kit's secret and the source of the box where they are not there yet; safe to run again.

    Its repository is made by the job every source has (``SetUpSource``), which the planner queues.

    Raises:
        KeyMissing: the box has no key pair.
    """
    # A state in PostgreSQL is copied by other means: ``replication.state`` takes SQLite only.
    is_wanted = database.engine.dialect.name == "sqlite"
    with database.read() as connection:
        has_kit = facts.find(connection, "kit.recipient") is not None
        if has_kit and (not is_wanted or _is_there(connection)):
            return
    from appliance.replication import kit  # noqa: PLC0415 - cryptography, once in a box's life

    with database.write() as connection:
        kit.make(connection, settings.keys, now=now)
        if is_wanted and not _is_there(connection):
            _add(connection, now)


def _is_there(connection: Connection) -> bool:
    try:
        sources.get(connection, BOX_SOURCE)
    except NotFound:
        return False
    return True


def _add(connection: Connection, now: datetime) -> None:
    for name in (NAME, f"{NAME}-armoire", f"{NAME}-0"):
        try:
            sources.add_box(connection, name=name, label=LABEL, now=now)
        except AlreadyExists:
            continue  # a machine of the practice has this name
        events.record(
            connection, at=now, event="source.added", subject=f"source:{BOX_SOURCE}", name=name
        )
        return
    raise AlreadyExists("source", NAME)
