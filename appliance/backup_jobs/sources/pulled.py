"""A machine pulled over SSH: pipelined SFTP straight into the archive, unchanged files never read.

Nothing is staged on the box and nothing runs on the machine. A file with the size and time it had in
the previous archive, older than that archive by more than the racy window, keeps its chunks; every
other one streams through Borg's chunker. So what changed is known without a listing.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack

from appliance.backup_jobs.borg_library import Repository
from appliance.backup_jobs.sftp import Pipeline, start_pipeline
from appliance.backup_jobs.sources import Stream, Taken
from appliance.backup_jobs.sources.deep_reading import RunCommand
from appliance.backup_jobs.sources.reading import PullOptions, Reading
from appliance.backup_jobs.sources.writing import Night, Reporter, Writing
from appliance.backup_jobs.ssh import Endpoint, stream_command
from appliance.clock import utc_now
from appliance.errors import ConnectionLost, JobCancelled, MachineUnreachable
from appliance.model import Source, System
from appliance.units import DAY_S

__all__ = ["Connection", "Night", "PullOptions", "Reporter", "pull"]

#: A machine to connect to, or a pipeline over a line that somebody else makes (tests).
Connection = Endpoint | Callable[[], AbstractContextManager[Pipeline]]


def pull(
    source: Source,
    connection: Connection,
    repository: Repository,
    night: Night,
    context: Reporter,
    *,
    archive: str,
    comment: str,
    previous: str | None = None,
    streams: Sequence[Stream] = (),
    roots: Sequence[str] | None = None,
    stored_as: Mapping[str, str] | None = None,
    options: PullOptions | None = None,
) -> Taken:
    """Read the machine into a new archive and name in ``night`` what changed; the caller commits it.

    Safe to run again after any cut: a checkpoint at most ``checkpoint_s`` old is found by the next
    run, which does not read again what is in it. When the line is lost or a person stops the job, a
    checkpoint is written at that moment.

    Args:
        source: its roots, excludes and system.
        connection: the machine.
        repository: opened for writing.
        night: gets what is new or changed, and what is gone.
        context: progress and stop.
        archive: the new archive's name.
        comment: stored with it.
        previous: id of the archive that changes are counted from, 64 hex digits.
        streams: files a recipe makes while they are read; read first.
        roots: instead of the source's (a shadow copy, say).
        stored_as: for a root that is read at another place: the root it is stored as.
        options: limits and switches.

    Raises:
        RootUnreadable: a root is not there or cannot be read at all; no archive is left.
        JobCancelled, ConnectionLost: no archive was saved, a checkpoint was.
        MachineError: as ``sftp.open_pipeline``.
        RecipeFailed: a stream failed; no archive is left.
        AlreadyExists: the archive's name is taken.
        NotFound: ``previous`` is not there.
        BackupError, NoSpace: no archive was saved.
    """
    chosen = options or PullOptions()
    started_at = utc_now()
    with ExitStack() as stack:
        # Connecting takes a quarter of a second and reading the previous archive as long: both at
        # once. Not while streams are read, which may take hours.
        early = None if streams else stack.enter_context(_started(connection))
        written = stack.enter_context(
            repository.new_archive(
                archive,
                comment,
                previous=previous,
                started_at=started_at,
                checkpoint_s=chosen.checkpoint_s,
            )
        )
        out = Writing(written, night, context)
        reading = Reading(source, out, chosen, _commands(connection, context, source))
        try:
            reading.streams(streams)
            pipeline = early or stack.enter_context(_started(connection))
            pipeline.handshake()
            reading.roots(pipeline, source.roots if roots is None else roots, stored_as)
        except (ConnectionLost, MachineUnreachable, JobCancelled):
            if written.has_anything:
                written.checkpoint()
            raise
        out.finish()
        saved = written.save()
    return Taken(
        archive=archive,
        archive_id=saved.archive_id,
        files_seen=out.files_seen,
        items=saved.items,
        original_bytes=saved.original_bytes,
        new_bytes=saved.new_bytes,
        changed=out.changed,
        vanished=out.vanished,
        events=tuple(out.events),
        event_counts=dict(out.counts),
    )


def _commands(connection: Connection, context: Reporter, source: Source) -> RunCommand | None:
    if not isinstance(connection, Endpoint) or source.system is System.WINDOWS:
        return None
    endpoint = connection
    return lambda command: stream_command(
        endpoint, command, timeout_s=DAY_S, should_stop=context.should_stop
    )


def _started(connection: Connection) -> AbstractContextManager[Pipeline]:
    return start_pipeline(connection) if isinstance(connection, Endpoint) else connection()
