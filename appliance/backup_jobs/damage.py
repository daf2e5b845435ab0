"""From damaged chunks to the snapshots and files that hold them, recorded for a person's page.

File names go into the events of the snapshots only, never into a log, a note or the ledger (beam 7).
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from appliance.backup_jobs.borg_library import Repository
from appliance.backup_jobs.borg_library_damage import structure_chunks
from appliance.backup_jobs.workplace import Workplace
from appliance.catalogue.by_chunk import versions_with_chunks
from appliance.clock import utc_now
from appliance.db import anomalies, snapshots, sources
from appliance.errors import RepositoryDamaged
from appliance.ledger import events
from appliance.model import ReadEvent, ReadEventKind, SnapshotId
from appliance.policy.retention import FreezeReason

#: Kind of the anomaly that damaged bytes open.
DAMAGED: Final = "repository-damaged"
#: Events written for one finding; the counts are whole.
EVENTS_KEPT: Final = 2_000
_REASON: Final = "its stored bytes were altered"


@dataclass(frozen=True, slots=True)
class Damage:
    """What damaged bytes mean."""

    chunks: int
    files: dict[SnapshotId, list[bytes]] = field(default_factory=dict)  # paths, by snapshot
    unlistable: tuple[SnapshotId, ...] = ()  # snapshots whose own list of items is damaged

    @property
    def snapshots(self) -> tuple[SnapshotId, ...]:
        """Every snapshot that is no longer whole, newest first."""
        return tuple(sorted({*self.files, *self.unlistable}, reverse=True))

    @property
    def paths(self) -> int:
        """How many different files are affected."""
        return len({path for paths in self.files.values() for path in paths})


def assess(place: Workplace, repository: Repository, ids: Collection[bytes]) -> Damage:
    """Return which snapshots and files hold the chunks ``ids``.

    Raises:
        CatalogueMissing, CatalogueDamaged.
    """
    with place.context.database.read() as connection:
        rows = snapshots.of_source(connection, place.source.id)
    living = [row.id for row in rows]
    files: defaultdict[SnapshotId, list[bytes]] = defaultdict(list)
    for version in versions_with_chunks(place.catalogue(), ids):
        for each in living:
            if version.first <= each <= version.last:
                files[each].append(version.entry.path)
    wanted = frozenset(ids)
    unlistable = []
    for row in rows:
        try:
            is_damaged = bool(structure_chunks(repository, row.archive_id) & wanted)
        except RepositoryDamaged:
            is_damaged = True
        if is_damaged:
            unlistable.append(row.id)
    return Damage(len(wanted), dict(files), tuple(unlistable))


def record(connection: Connection, place: Workplace, damage: Damage) -> None:
    """Store the finding: events of the snapshots, an anomaly, the freeze, the ledger; once."""
    source_id, now = place.source.id, utc_now()
    known = {
        one.snapshot_id for one in anomalies.open_ones(connection, source_id) if one.kind == DAMAGED
    }
    left = EVENTS_KEPT
    for snapshot_id in damage.snapshots:
        if snapshot_id in known:
            continue
        paths = damage.files.get(snapshot_id, [])
        snapshots.add_events(
            connection,
            snapshot_id,
            [ReadEvent(ReadEventKind.DAMAGED, place.told(path), _REASON) for path in paths[:left]],
        )
        left -= min(left, len(paths))
    newest = damage.snapshots[0] if damage.snapshots else None
    if newest not in known:
        anomalies.add(
            connection,
            source_id=source_id,
            snapshot_id=newest,
            kind=DAMAGED,
            reading={
                "value": float(damage.paths),
                "usual": 0.0,
                "threshold": 1.0,
                "chunks": float(damage.chunks),
                "snapshots": float(len(damage.snapshots)),
            },
            now=now,
        )
        events.record(
            connection,
            at=now,
            event="repository.damaged",
            subject=f"source:{source_id}",
            actor=place.context.actor,
            chunks=damage.chunks,
            files=damage.paths,
            snapshots=list(damage.snapshots),
        )
    sources.freeze(connection, source_id, FreezeReason.PROOF_FAILED.value, now=now)
