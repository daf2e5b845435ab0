"""The job that lists what a machine pushed by itself, after it has looked for what it took away.

Order: the key and the list of archives are compared with what the box knows, and an alarm is raised
and pruning frozen for what is missing; then each new archive is read into the catalogue, listed, and
its proof queued; last, an alarm ends the job as failed. A kill between any two lines is mended by the
next run.
"""

import time
from datetime import datetime
from typing import Final

from appliance.backup_jobs import anomalies, vault_access, workplace
from appliance.backup_jobs.borg_library import ArchiveInfo, Repository, export_key
from appliance.backup_jobs.live_databases import consistency_after
from appliance.backup_jobs.reconcile import reconcile
from appliance.backup_jobs.sources import Taken
from appliance.backup_jobs.sources.pushed import dated, import_pushed, with_counts
from appliance.backup_jobs.workplace import Workplace
from appliance.clock import utc_now
from appliance.db import anomalies as anomaly_rows
from appliance.db import repositories, snapshots, sources
from appliance.errors import ArchiveVanished, InvalidInput, RepositoryDamaged
from appliance.jobs import queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import ImportPushed, VerifySnapshot
from appliance.jobs.pushed import SEEN, push_state
from appliance.language import mark
from appliance.ledger import events
from appliance.model import (
    Consistency,
    JobState,
    ReadEventKind,
    Snapshot,
    SnapshotId,
    SnapshotState,
    SourceKind,
)
from appliance.policy.retention import FreezeReason

#: Kind of the anomaly that is opened when the key stored in the repository is not ours any more.
KEY_CHANGED: Final = "repository-key-changed"


def run(context: JobContext, spec: ImportPushed) -> JobState:
    """List every archive that was pushed since; safe to run again after a crash at any line.

    Returns:
        WARNED when something about what was pushed is odd or abnormal; else SUCCEEDED.

    Raises:
        InvalidInput: the machine does not push.
        RepositoryLocked: it is pushing now; the worker tries again later.
        ArchiveVanished: the machine, or somebody on it, deleted snapshots. What was pushed since is
            listed all the same, pruning is frozen, and the deleted can be had back
            (docs/recover-from-client-delete.md).
        RepositoryDamaged: the key in the repository was changed, or part of it cannot be read.
    """
    place = workplace.workplace(context, spec.source_id)
    if place.source.kind is not SourceKind.PUSHED:
        raise InvalidInput("source", mark("This machine does not push."))
    context.step("importing")
    # Read first: what is pushed while we work is then seen as new once more.
    state = push_state(place.path)
    _check_key(place)
    vanished: ArchiveVanished | None = None
    listed = warned = 0
    with place.open() as repository:
        try:
            reconcile(place, repository)
        except ArchiveVanished as error:
            vanished = error
        for archive in _unlisted(place, repository):
            warned += _import_one(place, repository, archive)
            listed += 1
    with context.database.write() as connection:
        sources.set_facts(connection, place.source.id, {SEEN: state.transaction})
        if listed:
            sources.seen(connection, place.source.id, now=utc_now())
    context.result.update(listed=listed, warned=warned)
    if vanished is not None:
        raise vanished
    return JobState.WARNED if warned else JobState.SUCCEEDED


def _check_key(place: Workplace) -> None:
    """Raise the alarm when the key stored in the repository is not the one that was exported.

    `borg serve --append-only` lets a client write the repository's settings, the key in them too.
    """
    context, source_id = place.context, place.source.id
    with context.database.read() as connection:
        ours = vault_access.repository_key(connection, context.settings, source_id)
    if export_key(place.path, place.repository.borg_id) == ours:
        return
    now = utc_now()
    with context.database.write() as connection:
        if not any(
            one.kind == KEY_CHANGED for one in anomaly_rows.open_ones(connection, source_id)
        ):
            anomaly_rows.add(
                connection,
                source_id=source_id,
                snapshot_id=None,
                kind=KEY_CHANGED,
                reading={"value": 1.0, "usual": 0.0, "threshold": 1.0},
                now=now,
            )
            events.record(
                connection,
                at=now,
                event="repository.key-changed",
                subject=f"source:{source_id}",
                actor=context.actor,
            )
        sources.freeze(connection, source_id, FreezeReason.ANOMALY_OPEN.value, now=now)
    raise RepositoryDamaged(
        str(place.path), mark("the key stored in it was changed by the machine")
    )


def _unlisted(place: Workplace, repository: Repository) -> list[ArchiveInfo]:
    """Return the archives that are not listed, oldest first: ids of snapshots grow with time."""
    with place.context.database.read() as connection:
        rows = snapshots.of_source(connection, place.source.id, with_removed=True)
    known = {row.archive_id for row in rows}
    return [archive for archive in reversed(repository.archives()) if archive.id not in known]


def _import_one(place: Workplace, repository: Repository, archive: ArchiveInfo) -> bool:
    """Read an archive into the catalogue and list it; return whether it is warned."""
    context, source = place.context, place.source
    started = time.monotonic()
    now = utc_now()
    with context.database.write() as connection:
        previous = snapshots.newest(connection, source.id)
        snapshot_id = workplace.reserve_snapshot_id(connection, now)
    taken_at = dated(archive, previous.started_at if previous else None, now)
    catalogue = place.catalogue(create=True)
    with catalogue.night(snapshot_id, taken_at) as night:
        taken = import_pushed(repository, night, context, archive=archive)
        counts = night.commit()
    size = workplace.size_on_disk(place.path)
    taken = with_counts(
        taken,
        changed=counts.added + counts.changed,
        vanished=counts.gone,
        new_bytes=max(0, size - place.repository.size_bytes),
    )
    snapshot = _snapshot(place, snapshot_id, taken, taken_at)
    figures = anomalies.figures(
        catalogue, repository.fetch, snapshot_id=snapshot_id, at=taken_at, new_bytes=taken.new_bytes
    )
    with context.database.write() as connection:
        found = anomalies.judge(connection, source.id, figures)
        stats = {
            "seconds": round(time.monotonic() - started, 3),
            "pushed": True,
            "events": {kind.value: n for kind, n in sorted(taken.event_counts.items())},
            **anomalies.to_stats(figures, found),
        }
        snapshots.add(connection, snapshot, events=taken.events, stats=stats)
        now = utc_now()
        events.record(
            connection,
            at=now,
            event="snapshot.imported",
            subject=f"snapshot:{snapshot_id}",
            actor=context.actor,
            source=source.id,
            archive=archive.id,
            said_at=archive.started_at.isoformat(),
            files=taken.files_seen,
            bytes=taken.original_bytes,
        )
        red = anomalies.open_red(
            connection, source.id, snapshot_id, found, now=now, actor=context.actor
        )
        repositories.change(connection, source.id, size_bytes=size)
        queue.enqueue(
            connection, VerifySnapshot(source.id, snapshot_id), now=now, parent_id=context.job.id
        )
    return bool(red) or snapshot.state is SnapshotState.WARNED


def _snapshot(
    place: Workplace, snapshot_id: SnapshotId, taken: Taken, taken_at: datetime
) -> Snapshot:
    warnings = sum(
        count
        for kind, count in taken.event_counts.items()
        if kind is not ReadEventKind.SKIPPED_SPECIAL
    )
    return Snapshot(
        id=snapshot_id,
        source_id=place.source.id,
        archive=taken.archive,
        archive_id=taken.archive_id,
        job_id=place.context.job.id,
        started_at=taken_at,
        finished_at=utc_now(),
        state=SnapshotState.WARNED if warnings else SnapshotState.COMPLETE,
        consistency=consistency_after(Consistency.FILES, taken.events),
        files_seen=taken.files_seen,
        items=taken.items,
        original_bytes=taken.original_bytes,
        new_bytes=taken.new_bytes,
        changed=taken.changed,
        vanished=taken.vanished,
        warnings=warnings,
    )
