"""Who does what: the jobs of both rooms, and what one lends to the other. Imports Borg: late only."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.backup_jobs import vault_access
from appliance.backup_jobs.borg_library_lock import hold_lock
from appliance.backup_jobs.borg_library_reader import Reader, open_reader
from appliance.backup_jobs.registry import RUN
from appliance.backup_jobs.restore_share import restore_share
from appliance.db import repositories
from appliance.db.engine import open_database
from appliance.jobs.context import JobContext
from appliance.model import JobState, SourceId
from appliance.replication import registry
from appliance.replication.tools import Tools
from appliance.settings import Settings

Run = Callable[[JobContext, Any], JobState]


def runs() -> Mapping[str, Run]:
    """Return kind → ``run(context, spec)`` for every kind of job there is."""
    return {**RUN, **registry.runs(tools())}


def tools() -> Tools:
    """Return what ``replication`` borrows from ``backup_jobs``."""
    return Tools(hold_lock=hold_lock, open_chunks=open_chunks, restore_share=restore_share)


@contextmanager
def open_chunks(
    settings: Settings, source_id: int, place: Path, before_read: Callable[[int], None]
) -> Iterator[Reader]:
    """Yield the chunks of a repository, opened with the vault of ``settings``.

    Raises:
        As ``replication.tools.OpenChunks``.
    """
    database = open_database(settings.database)
    try:
        with database.read() as connection:
            known = repositories.get(connection, SourceId(source_id))
            passphrase = vault_access.repository_passphrase(
                connection, settings, SourceId(source_id)
            )
    finally:
        database.close()
    with open_reader(
        place, passphrase, settings.borg_home, known.borg_id, before_read=before_read
    ) as reader:
        yield reader
