"""Making repository, catalogue and database agree again, whatever line a job was killed at.

The order of a night is: archive committed → catalogue's night committed → snapshot listed. So what
may be found is, and what is done about it:

- an archive of ours that is not listed: the run was cut after its archive; it is listed now;
- a night in the catalogue that belongs to nothing: forgotten;
- a listed snapshot that the catalogue does not know: the catalogue is made again;
- a listed snapshot whose archive is gone: finished when a pruning of ours was cut, else an alarm
  that freezes everything. Nothing is deleted here, ever.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from appliance.backup_jobs.archive_comment import read_comment
from appliance.backup_jobs.borg_library import ArchiveInfo, Repository
from appliance.backup_jobs.workplace import Workplace, reserve_snapshot_id
from appliance.catalogue import query, rebuild
from appliance.catalogue.store import Catalogue
from appliance.clock import utc_now
from appliance.db import anomalies, snapshots, sources
from appliance.errors import ArchiveVanished, CatalogueDamaged, CatalogueMissing
from appliance.jobs import frozen
from appliance.jobs.snapshot_marks import intended_removals
from appliance.language import mark
from appliance.ledger import events
from appliance.model import (
    Snapshot,
    SnapshotId,
    SnapshotState,
    SourceKind,
)
from appliance.policy.retention import FreezeReason

#: Kind of the anomaly that a vanished archive opens, one for each snapshot.
VANISHED: Final = frozen.VANISHED


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was found and mended."""

    listed: tuple[SnapshotId, ...] = ()
    forgotten: tuple[SnapshotId, ...] = ()
    finished_removals: tuple[SnapshotId, ...] = ()
    rebuilt: bool = False
    foreign: int = 0  # archives that this box did not make: left alone

    @property
    def changed(self) -> bool:
        """Whether anything had to be mended."""
        return bool(self.listed or self.forgotten or self.finished_removals or self.rebuilt)


# --- the archives against the list ------------------------------------------------------------


def check_vanished(place: Workplace, archives: Sequence[ArchiveInfo]) -> tuple[SnapshotId, ...]:
    """Return the snapshots whose removal a cut pruning left unrecorded, now recorded.

    Args:
        place: of the source.
        archives: read from the repository just now, whole.

    Raises:
        ArchiveVanished: an archive is gone that nobody here removed. Anomalies are open, pruning is
            frozen, the ledger says so; nothing was deleted.
    """
    present = {archive.id for archive in archives}
    source_id, now = place.source.id, utc_now()
    with place.context.database.write() as connection:
        missing = [
            one
            for one in snapshots.of_source(connection, source_id)
            if one.archive_id not in present
        ]
        if not missing:
            return ()
        intended = intended_removals(connection, source_id)
        accepted = anomalies.closed_snapshots(connection, source_id, VANISHED)
        ours = [one for one in missing if one.archive_id in intended or one.id in accepted]
        snapshots.removed(connection, [one.id for one in ours], now=now)
        if ours:
            events.record(
                connection,
                at=now,
                event="snapshot.removal-recorded",
                subject=f"source:{source_id}",
                actor=place.context.actor,
                snapshots=[one.id for one in ours],
            )
        unexplained = [one for one in missing if one not in ours]
        if unexplained:
            _raise_alarm(connection, place, unexplained)
    if unexplained:
        raise ArchiveVanished(source_id, tuple(one.archive for one in unexplained))
    return tuple(one.id for one in ours)


def _raise_alarm(connection: Connection, place: Workplace, missing: Sequence[Snapshot]) -> None:
    source_id, now = place.source.id, utc_now()
    known = {
        one.snapshot_id
        for one in anomalies.open_ones(connection, source_id)
        if one.kind == VANISHED
    }
    new = [one for one in missing if one.id not in known]
    for one in new:
        anomalies.add(
            connection,
            source_id=source_id,
            snapshot_id=one.id,
            kind=VANISHED,
            reading={"value": float(len(missing)), "usual": 0.0, "threshold": 1.0},
            now=now,
        )
    sources.freeze(connection, source_id, FreezeReason.ARCHIVE_VANISHED.value, now=now)
    if new:
        events.record(
            connection,
            at=now,
            event="snapshot.vanished",
            subject=f"source:{source_id}",
            actor=place.context.actor,
            snapshots=[one.id for one in new],
            archives=[one.archive_id for one in new],
        )


# --- all of it -----------------------------------------------------------------------------


def reconcile(place: Workplace, repository: Repository) -> Reconciled:
    """Mend what a killed job left; cheap when there is nothing to mend. Safe to run at any time.

    Archives that a machine pushed by itself are ``import_pushed``'s business and not listed here.

    Raises:
        ArchiveListUnreadable: the list cannot be read whole.
        ArchiveVanished: see ``check_vanished``.
        RepositoryDamaged: an archive to be listed cannot be read; it stays unlisted.
    """
    archives = repository.archives()
    finished = check_vanished(place, archives)
    catalogue, rebuilt = _whole_catalogue(place, repository)
    with place.context.database.read() as connection:
        rows = snapshots.of_source(connection, place.source.id, with_removed=True)
    by_archive = {row.archive_id for row in rows}
    unknown = [archive for archive in archives if archive.id not in by_archive]
    listed: list[SnapshotId] = []
    foreign = 0
    if place.source.kind is not SourceKind.PUSHED:
        for archive in reversed(unknown):  # oldest first: ids grow with time
            found = _list(place, repository, catalogue, archive)
            if found is None:
                foreign += 1
            else:
                listed.append(found)
    known = {row.id for row in rows if row.removed_at is None} | set(listed)
    orphans = tuple(each for each in catalogue.known_snapshots() if each not in known)
    if orphans:
        catalogue.forget(orphans)
    done = Reconciled(tuple(listed), orphans, finished, rebuilt, foreign)
    _say(place, done)
    return done


def _whole_catalogue(place: Workplace, repository: Repository) -> tuple[Catalogue, bool]:
    with place.context.database.read() as connection:
        rows = snapshots.of_source(connection, place.source.id)
    try:
        catalogue = place.catalogue(create=not rows)
        if {row.id for row in rows} <= set(catalogue.known_snapshots()):
            return catalogue, False
    except (CatalogueMissing, CatalogueDamaged):
        pass
    place.context.step("rebuilding")

    def oldest_first() -> Iterator[rebuild.Archive]:
        for row in reversed(rows):
            yield row.id, row.started_at, repository.entries(row.archive_id)

    rebuild.rebuild(place.catalogue_path, oldest_first())
    return place.catalogue(), True


def _list(
    place: Workplace, repository: Repository, catalogue: Catalogue, archive: ArchiveInfo
) -> SnapshotId | None:
    """List an archive that a cut run of ours committed; None when it is not ours."""
    comment = read_comment(archive.comment)
    if comment is None:
        return None
    database = place.context.database
    known = catalogue.known_snapshots()
    with database.read() as connection:
        is_taken = snapshots.find(connection, comment.snapshot) is not None
    snapshot_id = comment.snapshot
    if is_taken or (snapshot_id not in known and known and snapshot_id < known[0]):
        with database.write() as connection:
            snapshot_id = reserve_snapshot_id(connection, utc_now())
    if snapshot_id not in known:
        rebuild.import_archive(
            catalogue, snapshot_id, archive.started_at, repository.entries(archive.id)
        )
    totals = query.totals(catalogue, snapshot_id)
    snapshot = Snapshot(
        id=snapshot_id,
        source_id=place.source.id,
        archive=archive.name,
        archive_id=archive.id,
        job_id=None,
        started_at=totals.taken_at,
        finished_at=utc_now(),
        # What was met while it was read is lost, so it cannot be said that everything is in it.
        state=SnapshotState.WARNED,
        consistency=comment.consistency,
        files_seen=totals.files,
        items=totals.files + totals.folders + totals.links + totals.others,
        original_bytes=totals.bytes,
        new_bytes=0,
    )
    with database.write() as connection:
        snapshots.add(connection, snapshot, stats={"recovered": True, "run": comment.run})
        events.record(
            connection,
            at=utc_now(),
            event="snapshot.listed-afterwards",
            subject=f"snapshot:{snapshot_id}",
            actor=place.context.actor,
            archive=archive.id,
            run=comment.run,
        )
    return snapshot_id


def _say(place: Workplace, done: Reconciled) -> None:
    context = place.context
    if done.listed:
        context.note(
            mark("An earlier run was cut after its snapshot was complete: it is listed now."),
            count=len(done.listed),
        )
    if done.rebuilt:
        context.note(mark("The list of files was made again from the repository."))
    if done.finished_removals:
        context.note(mark("A removal that had been cut was completed in the list."))
    if done.foreign:
        context.note(
            mark("%(count)s archives in the repository were not made by this box; left alone."),
            level="warning",
            count=done.foreign,
        )
