"""Removing the snapshots that the plan no longer keeps, then giving their space back.

Nothing is removed while anything is in doubt (beam 6). Exact archives are named to Borg, never a
pattern or a rule of its own; what is about to be removed is written down first, so that an archive
that is gone afterwards is explained, and every other one that is gone is an alarm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from appliance.backup_jobs import borg, workplace
from appliance.backup_jobs.borg_library import ArchiveInfo
from appliance.backup_jobs.reconcile import check_vanished, reconcile
from appliance.backup_jobs.workplace import Workplace
from appliance.catalogue import prune_preview, store
from appliance.catalogue.prune_preview import PrunePreview
from appliance.clock import utc_now
from appliance.db import repositories, snapshots, sources
from appliance.db.engine import Database
from appliance.errors import ArchiveListUnreadable, BorgFailed, Frozen
from appliance.jobs import frozen
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import Prune
from appliance.jobs.snapshot_marks import intend_removal, still_unmarked
from appliance.language import mark
from appliance.ledger import events
from appliance.model import JobState, Snapshot, SnapshotId, Source
from appliance.policy.retention import FREEZE_TEXTS, FreezeReason, freeze_text
from appliance.settings import Settings

#: `borg delete` says with it that an archive was not there: it is looked at, not believed.
_NOT_THERE: Final = frozenset({borg.EXIT_WARNING})
#: Archives in one call, so that a stop waits for a few only.
_AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True)
class PlannedPrune:
    """What pruning would do, and why it would do nothing at all."""

    preview: PrunePreview
    frozen: tuple[FreezeReason, ...]


def plan_prune(
    settings: Settings, database: Database, source: Source, *, now: datetime
) -> PlannedPrune:
    """Return what ``run`` would do at ``now``, without opening the repository.

    Raises:
        CatalogueMissing, CatalogueDamaged.
    """
    with database.read() as connection:
        found = prune_preview.preview(
            connection,
            store.of_source(settings, source.id),
            source,
            now=now,
            tz=ZoneInfo(settings.time_zone),
        )
        return PlannedPrune(found, tuple(frozen.reasons(connection, source, now=now)))


def run(context: JobContext, spec: Prune) -> JobState:
    """Remove what the plan no longer keeps.

    Safe to run again after a crash at any line: what was half done is completed first.

    Returns:
        SUCCEEDED when the repository is as the plan wants it; WARNED when something is in doubt and
        therefore nothing was removed.

    Raises:
        ArchiveListUnreadable: frozen; never taken for an empty list.
        ArchiveVanished: an archive is gone that nobody here removed; frozen.
        RepositoryMissing, RepositoryLocked, WrongPassphrase, NoSpace, JobCancelled …
    """
    place = workplace.workplace(context, spec.source_id)
    context.step("preparing")
    try:
        with place.open() as repository:
            reconcile(place, repository)
            leftovers = _leftovers(place, repository.archives(checkpoints=True))
    except ArchiveListUnreadable:
        with context.database.write() as connection:
            frozen.settle(connection, place.source, now=utc_now(), archive_list_readable=False)
        raise
    try:
        _refuse_in_doubt(place)
    except Frozen as refused:
        context.result.update(removed=0, frozen=refused.reason)
        return JobState.WARNED
    before = workplace.size_on_disk(place.path)
    removed = _remove(place, _decide(place), leftovers)
    freed = before - workplace.size_on_disk(place.path)
    context.result.update(removed=len(removed), freed_bytes=max(0, freed))
    return JobState.SUCCEEDED


def _leftovers(place: Workplace, archives: Sequence[ArchiveInfo]) -> list[str]:
    """Return the checkpoints that no run can go on from any more: a snapshot began after them."""
    with place.context.database.read() as connection:
        newest = snapshots.newest(connection, place.source.id)
    if newest is None:
        return []
    return [
        each.name for each in archives if each.is_checkpoint and each.started_at < newest.started_at
    ]


def _refuse_in_doubt(place: Workplace) -> None:
    context, now = place.context, utc_now()
    with context.database.write() as connection:
        source = sources.get(connection, place.source.id)
        found = frozen.settle(connection, source, now=now)
        if found:
            events.record(
                connection,
                at=now,
                event="prune.refused",
                subject=f"source:{source.id}",
                actor=context.actor,
                reasons=[reason.value for reason in found],
            )
    for reason in found:
        context.note(
            mark("Nothing is removed while something is in doubt: %(reason)s."),
            level="warning",
            reason=freeze_text(reason),
        )
    if found:
        raise Frozen(place.source.id, FREEZE_TEXTS[found[0]])


def _decide(place: Workplace) -> list[Snapshot]:
    with place.context.database.read() as connection:
        rows = snapshots.of_source(connection, place.source.id)
    tz = ZoneInfo(place.context.settings.time_zone)
    decided = prune_preview.decisions(rows, place.source, now=utc_now(), tz=tz)
    gone = {each.id for each in decided if not each.kept}
    return [row for row in rows if row.id in gone]


# --- removing --------------------------------------------------------------------------------


def _remove(
    place: Workplace, going: Sequence[Snapshot], leftovers: Sequence[str]
) -> list[SnapshotId]:
    context, source_id = place.context, place.source.id
    with context.database.write() as connection:
        # In one write with the intention: who protects one from now on is told that it goes.
        going = still_unmarked(connection, going)
        if not going and not leftovers:
            return []
        intend_removal(connection, source_id, [row.archive_id for row in going])
    context.step("pruning")
    names = [*(row.archive for row in going), *leftovers]
    for first in range(0, len(names), _AT_ONCE):
        batch = names[first : first + _AT_ONCE]
        place.borg().call(borg.delete(place.path, batch), accept=_NOT_THERE)
        context.report(first + len(batch), len(names), "items")
    removed = _record(place, going)
    context.step("compacting")
    place.borg().call(borg.compact(place.path))
    with context.database.write() as connection:
        repositories.change(connection, source_id, size_bytes=workplace.size_on_disk(place.path))
    return removed


def _record(place: Workplace, going: Sequence[Snapshot]) -> list[SnapshotId]:
    """Record what is gone, once the repository itself says so; and that everything else is there."""
    context, now = place.context, utc_now()
    with place.open() as repository:
        archives = repository.archives()
    present = {archive.id for archive in archives}
    removed = [row for row in going if row.archive_id not in present]
    with context.database.write() as connection:
        snapshots.removed(connection, [row.id for row in removed], now=now)
        intend_removal(connection, place.source.id, [])
        if removed:
            events.record(
                connection,
                at=now,
                event="snapshot.removed",
                subject=f"source:{place.source.id}",
                actor=context.actor,
                snapshots=[row.id for row in removed],
                archives=[row.archive_id for row in removed],
            )
    place.catalogue().forget([row.id for row in removed])
    check_vanished(place, archives)
    if len(removed) < len(going):
        raise BorgFailed(borg.EXIT_WARNING, "not every archive was removed")
    return [row.id for row in removed]
