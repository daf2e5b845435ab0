"""Who does what: the jobs of both rooms, and what one lends to the other. Imports Borg: late only."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.backup_jobs import take_snapshot, vault_access
from appliance.backup_jobs.borg_library_lock import hold_lock
from appliance.backup_jobs.borg_library_reader import Reader, open_reader
from appliance.backup_jobs.registry import RUN
from appliance.backup_jobs.restore_share import restore_share
from appliance.backup_jobs.workplace import Workplace
from appliance.clock import utc_now
from appliance.db import facts, repositories
from appliance.db.engine import open_database
from appliance.errors import NotFound
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import TakeSnapshot
from appliance.model import JobState, SourceId
from appliance.replication import registry, state
from appliance.replication.tools import Tools
from appliance.settings import Settings
from appliance.worker.tasks import registry as tasks

Run = Callable[[JobContext, Any], JobState]


def runs() -> Mapping[str, Run]:
    """Return kind → ``run(context, spec)`` for every kind of job there is."""
    return {**RUN, TakeSnapshot.kind: take, **registry.runs(tools()), **tasks.runs()}


def take(context: JobContext, spec: TakeSnapshot) -> JobState:
    """Take a snapshot; that of the box itself is laid out by ``replication.state`` first."""
    return take_snapshot.run(context, spec, lay_out=lay_out)


def lay_out(place: Workplace, folder: Path) -> None:
    """Lay the box's state out below ``folder``; the passphrase of its repository is sealed to the sheets.

    Raises:
        NotFound: no kit was made.
        As ``replication.state.stage``.
    """
    context = place.context
    with context.database.read() as connection:
        recipient = facts.find(connection, "kit.recipient")
    if not isinstance(recipient, str):
        raise NotFound("kit", "–")
    # First: a repository whose passphrase burns with the box is worth nothing after a fire.
    state.seal_passphrase(place.path, place.passphrase, recipient)
    state.stage(context.settings, context.database, folder, recipient, now=utc_now())


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
