"""Workers: which ones are alive."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from appliance.db.schema import worker

SILENT_S: Final = 30.0  # seconds


def beat(connection: Connection, name: str, *, now: datetime) -> None:
    """Say that the worker ``name`` is alive."""
    changed = connection.execute(update(worker).where(worker.c.name == name).values(beat_at=now))
    if changed.rowcount == 0:
        connection.execute(insert(worker).values(name=name, started_at=now, beat_at=now))


def leave(connection: Connection, name: str) -> None:
    """Say that the worker ``name`` has ended."""
    connection.execute(delete(worker).where(worker.c.name == name))


def alive(connection: Connection, *, now: datetime) -> list[str]:
    """Return the names of the workers that beat within SILENT_S seconds."""
    fresh = worker.c.beat_at >= now - timedelta(seconds=SILENT_S)
    return list(connection.execute(select(worker.c.name).where(fresh)).scalars())
