"""One night of one source: read into a new archive, then listed, then its proof is queued.

Order: archive committed → catalogue's night committed → snapshot, events, anomalies, ledger and the
job that proves it in one write. A kill between any two lines is mended by ``reconcile``, which every
night begins with.
"""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from appliance import __version__
from appliance.backup_jobs import anomalies, borg_library, prune, recipe_schema, recipes, workplace
from appliance.backup_jobs.archive_comment import ArchiveComment
from appliance.backup_jobs.reconcile import reconcile
from appliance.backup_jobs.sources import Taken
from appliance.backup_jobs.sources.pulled import PullOptions, pull
from appliance.backup_jobs.sources.share import take_share
from appliance.backup_jobs.workplace import Workplace
from appliance.catalogue.store import Catalogue
from appliance.clock import utc_now
from appliance.db import facts, repositories, snapshots, sources
from appliance.errors import ArmoireError, InvalidInput, JobCancelled
from appliance.jobs import frozen, queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import Prune, TakeSnapshot, VerifySnapshot
from appliance.language import mark
from appliance.ledger import events
from appliance.model import (
    Consistency,
    JobState,
    ReadEvent,
    ReadEventKind,
    Snapshot,
    SnapshotId,
    SnapshotState,
    SourceKind,
)
from appliance.policy.anomaly import FoundAnomaly, RunFigures

#: Nothing of value is lost with these: they are recorded and shown, but do not make a night warned.
HARMLESS: Final = frozenset({ReadEventKind.SKIPPED_SPECIAL})

#: Lays the box's state out below a folder, and seals the passphrase of its repository beside that.
LayOut = Callable[[Workplace, Path], None]
#: Below ``settings.state``: what is archived as the box's own source, kept from night to night.
LAID_OUT: Final = "copy"


@dataclass(frozen=True, slots=True)
class _Night:
    """What one night is about."""

    place: Workplace
    catalogue: Catalogue
    snapshot_id: SnapshotId
    started_at: datetime
    previous: str | None  # id of the archive the catalogue's newest snapshot stands for

    @property
    def archive(self) -> str:
        """The archive's name: ids and times, never a person."""
        return f"{self.place.source.id}-{self.snapshot_id}-{self.started_at:%Y%m%dT%H%M%SZ}"

    def comment(self, consistency: Consistency) -> str:
        """What the archive says about its making."""
        job = self.place.context.job.id
        return ArchiveComment(job, self.snapshot_id, consistency).text()


@dataclass(frozen=True, slots=True)
class _Read:
    """A night that was read and whose catalogue is written."""

    taken: Taken
    consistency: Consistency
    figures: RunFigures
    seconds: float


def run(context: JobContext, spec: TakeSnapshot, *, lay_out: LayOut | None = None) -> JobState:
    """Read a source into a new snapshot and list it once it is complete.

    Safe to run again after a crash at any line. Nothing is listed that is not whole in the repository.

    Args:
        context: of the job.
        spec: which source.
        lay_out: lays out the box's own state; only the worker knows how (``worker/wiring.py``).

    Returns:
        WARNED when something could not be read, changed while read, or looks abnormal; else SUCCEEDED.

    Raises:
        NotFound: the source was removed while the job waited.
        InvalidInput: the machine pushes by itself.
        RepositoryMissing, RepositoryReplaced, RepositoryDamaged, RepositoryLocked, WrongPassphrase,
        ArchiveListUnreadable, ArchiveVanished, NoSpace, ClockWrong: the box is not fit for a night.
        MachineError: the machine cannot be read, or an application could not be made consistent.
        JobCancelled: a person stopped it; no snapshot is listed, what was sent is kept.
    """
    try:
        return _take(context, workplace.workplace(context, spec.source_id), lay_out)
    except JobCancelled:
        raise
    except ArmoireError as error:
        _record_failure(context, spec, error.code)
        raise
    except Exception:
        _record_failure(context, spec, "job.crashed")
        raise


def _take(context: JobContext, place: Workplace, lay_out: LayOut | None) -> JobState:
    source = place.source
    context.step("preparing")
    workplace.check_space(place)
    now = utc_now()
    with context.database.read() as connection:
        workplace.check_clock(connection, source.id, now)
    if source.kind is SourceKind.PUSHED:
        raise InvalidInput("source", mark("This machine sends its snapshots by itself."))
    if source.kind is SourceKind.BOX:
        place = _box_laid_out(place, lay_out)
    if source.kind in {SourceKind.SHARE, SourceKind.BOX}:
        # Borg's own program will open the repository: this process must not hold it.
        with place.open() as repository:
            reconcile(place, repository)
        night = _begin(place, now)
        read = _read_share(night)
    else:
        with place.open(borg_library.Mode.WRITE) as repository:
            reconcile(place, repository)
            night = _begin(place, now)
            read = _read_machine(night, repository)
    return _list(night, read)


def _begin(place: Workplace, now: datetime) -> _Night:
    with place.context.database.write() as connection:
        newest = snapshots.newest(connection, place.source.id)
        snapshot_id = workplace.reserve_snapshot_id(connection, now)
    previous = None if newest is None else newest.archive_id
    return _Night(place, place.catalogue(create=True), snapshot_id, now, previous)


def _box_laid_out(place: Workplace, lay_out: LayOut | None) -> Workplace:
    """Remove what the plan no longer keeps, lay the box's state out, and return where it is read from.

    Pruning comes before the night here, not after its proof: the state says which snapshots there are,
    its own too, and a box that is made again from it must not miss one that went in the same night.
    """
    if lay_out is None:
        raise InvalidInput("source", mark("Only the worker lays the state of the box out."))
    context, source = place.context, place.source
    with context.database.read() as connection:
        may_prune = snapshots.newest(connection, source.id) is not None and not frozen.reasons(
            connection, source, now=utc_now()
        )
    try:
        if may_prune:
            prune.run(context, Prune(source.id))
    except JobCancelled:
        raise
    except ArmoireError as error:
        # What is grave about it stops the night itself in a moment; a full disk must not.
        context.note(
            mark("Old states of the box were not removed: %(code)s."),
            level="warning",
            code=error.code,
        )
    context.step("preparing")
    settings = context.settings
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = settings.state / LAID_OUT
    lay_out(place, folder)
    # Files of one name begin with a dot: what was made from what, of use to this box alone.
    laid_out = replace(source, roots=(str(folder),), excludes=(f"sh:{folder}/.*",))
    return replace(place, source=laid_out)


# --- reading -------------------------------------------------------------------------------


def _read_share(night: _Night) -> _Read:
    place = night.place
    started = time.monotonic()
    # Every file of the state is one moment of itself, made by SQLite's own backup.
    is_box = place.source.kind is SourceKind.BOX
    consistency = Consistency.DUMP if is_box else Consistency.FILES
    place.context.step("reading")
    with night.catalogue.night(night.snapshot_id, night.started_at) as listing:
        taken = take_share(
            place.source,
            place.borg(),
            listing,
            place.context,
            archive=night.archive,
            comment=night.comment(consistency),
        )
        listing.commit()
    with place.open() as repository:
        figures = _figures(night, repository, taken)
    consistency = recipes.consistency_after(consistency, taken.events)
    return _Read(taken, consistency, figures, time.monotonic() - started)


def _read_machine(night: _Night, repository: borg_library.Repository) -> _Read:
    place = night.place
    context, source = place.context, place.source
    started = time.monotonic()
    context.step("connecting")
    endpoint = workplace.endpoint(place)
    known = recipe_schema.load_recipes(context.settings, {use.name for use in source.recipes})
    with recipes.prepare(source, endpoint, known, context) as prepared:
        context.step("reading")
        with night.catalogue.night(night.snapshot_id, night.started_at) as listing:
            taken = pull(
                source,
                endpoint,
                repository,
                listing,
                context,
                archive=night.archive,
                comment=night.comment(prepared.consistency),
                previous=night.previous,
                streams=prepared.streams,
                roots=prepared.roots,
                stored_as=prepared.stored_as,
                options=_options(night, prepared),
            )
            listing.commit()
    consistency = recipes.consistency_after(prepared.consistency, taken.events)
    figures = _figures(night, repository, taken)
    return _Read(taken, consistency, figures, time.monotonic() - started)


def _options(night: _Night, prepared: recipes.Prepared) -> PullOptions:
    context, source = night.place.context, night.place.source
    with context.database.read() as connection:
        offset = sources.facts(connection, source.id).get("clock_offset_s")
    behind = -float(offset) if isinstance(offset, int | float) else 0.0
    return PullOptions(
        clock_behind_s=max(0.0, behind),
        # Through a shadow copy a database's files are all of one moment.
        live_databases=prepared.consistency
        not in {Consistency.VSS_SIMPLE, Consistency.VSS_WRITER, Consistency.STOPPED},
    )


def _figures(night: _Night, repository: borg_library.Repository, taken: Taken) -> RunFigures:
    return anomalies.figures(
        night.catalogue,
        repository.fetch,
        snapshot_id=night.snapshot_id,
        at=night.started_at,
        new_bytes=taken.new_bytes,
    )


# --- listing -------------------------------------------------------------------------------


def _list(night: _Night, read: _Read) -> JobState:
    place, taken = night.place, read.taken
    context, source = place.context, place.source
    warnings = sum(n for kind, n in taken.event_counts.items() if kind not in HARMLESS)
    snapshot = Snapshot(
        id=night.snapshot_id,
        source_id=source.id,
        archive=taken.archive,
        archive_id=taken.archive_id,
        job_id=context.job.id,
        started_at=night.started_at,
        finished_at=utc_now(),
        state=SnapshotState.WARNED if warnings else SnapshotState.COMPLETE,
        consistency=read.consistency,
        files_seen=taken.files_seen,
        items=taken.items,
        original_bytes=taken.original_bytes,
        new_bytes=taken.new_bytes,
        changed=taken.changed,
        vanished=taken.vanished,
        warnings=warnings,
    )
    size = workplace.size_on_disk(place.path)
    with context.database.write() as connection:
        found = anomalies.judge(connection, source.id, read.figures)
        snapshots.add(
            connection,
            snapshot,
            events=[
                ReadEvent(each.kind, place.told(each.path), each.reason) for each in taken.events
            ],
            stats=_stats(connection, night, read, snapshot, found),
        )
        now = utc_now()
        events.record(
            connection,
            at=now,
            event="snapshot.taken",
            subject=f"snapshot:{snapshot.id}",
            actor=context.actor,
            source=source.id,
            archive=snapshot.archive_id,
            state=snapshot.state.value,
            consistency=snapshot.consistency.value,
            files=snapshot.files_seen,
            bytes=snapshot.original_bytes,
            warnings=warnings,
        )
        red = anomalies.open_red(
            connection, source.id, snapshot.id, found, now=now, actor=context.actor
        )
        sources.seen(connection, source.id, now=now)
        repositories.change(connection, source.id, size_bytes=size)
        queue.enqueue(
            connection,
            VerifySnapshot(source.id, snapshot.id),
            now=now,
            person_id=context.job.person_id,
            parent_id=context.job.id,
        )
    context.result.update(
        snapshot=snapshot.id,
        files=snapshot.files_seen,
        items=snapshot.items,
        bytes=snapshot.original_bytes,
        new_bytes=snapshot.new_bytes,
        changed=snapshot.changed,
        vanished=snapshot.vanished,
        warnings=warnings,
        seconds=round(read.seconds, 3),
    )
    if warnings:
        context.note(
            mark("%(count)s files could not be read, or changed while they were read."),
            level="warning",
            count=warnings,
        )
    if red:
        context.note(
            mark(
                "Something about this night is abnormal: nothing is removed until a person looked."
            ),
            level="warning",
        )
    return JobState.WARNED if warnings or red else JobState.SUCCEEDED


def _stats(
    connection: Connection,
    night: _Night,
    read: _Read,
    snapshot: Snapshot,
    found: list[FoundAnomaly],
) -> dict[str, object]:
    source, taken = night.place.source, read.taken
    return {
        # The record domain.md SAV-08 asks for; «files» are listed in the catalogue and the archive.
        "journal": {
            "device": facts.find(connection, "box.id") or platform.node(),
            "program": f"armoire {__version__}",
            "scope": {"roots": list(source.roots), "excludes": list(source.excludes)},
            "type": source.kind.value,
            "recipes": [recipe.name for recipe in source.recipes],
            "files": taken.files_seen,
            "started_at": snapshot.started_at.isoformat(),
            "finished_at": snapshot.finished_at.isoformat(),
            "state": snapshot.state.value,
            "consistency": snapshot.consistency.value,
        },
        "events": {kind.value: count for kind, count in sorted(taken.event_counts.items())},
        "seconds": round(read.seconds, 3),
        **anomalies.to_stats(read.figures, found),
    }


def _record_failure(context: JobContext, spec: TakeSnapshot, code: str) -> None:
    # Pruning freezes by itself: its decision reads how the last run ended (decision 0062).
    with context.database.write() as connection:
        events.record(
            connection,
            at=utc_now(),
            event="snapshot.failed",
            subject=f"source:{spec.source_id}",
            actor=context.actor,
            error=code,
        )
