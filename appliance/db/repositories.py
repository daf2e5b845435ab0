"""Repositories: one per source."""

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from appliance.db.schema import repository
from appliance.errors import NotFound
from appliance.model import Repository, SourceId


def add(
    connection: Connection, source_id: SourceId, *, path: str, borg_id: str, now: datetime
) -> Repository:
    """Record the repository of a source and return it."""
    connection.execute(
        insert(repository).values(source_id=source_id, path=path, borg_id=borg_id, created_at=now)
    )
    return get(connection, source_id)


def find(connection: Connection, source_id: SourceId) -> Repository | None:
    """Return the repository of a source, or None."""
    row = connection.execute(select(repository).where(repository.c.source_id == source_id)).first()
    return None if row is None else Repository(**row._mapping)  # noqa: SLF001 - the public name


def get(connection: Connection, source_id: SourceId) -> Repository:
    """Return the repository of a source.

    Raises:
        NotFound: it was never made.
    """
    found = find(connection, source_id)
    if found is None:
        raise NotFound("repository", str(source_id))
    return found


def change(connection: Connection, source_id: SourceId, **values: object) -> None:
    """Set columns: ``size_bytes``, ``checked_at``, ``all_read_since``."""
    connection.execute(
        update(repository).where(repository.c.source_id == source_id).values(**values)
    )
