"""Protecting a snapshot, against a pruning that is going on: who comes second is told.

Pruning writes down which archives it is about to remove before it removes the first one; both decide
inside a write of the database, so one of them sees the other.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from appliance.clock import utc_now
from appliance.db import facts, snapshots
from appliance.errors import SnapshotGoing
from appliance.model import Snapshot, SnapshotId, SourceId


def _intent(source_id: SourceId) -> str:
    return f"prune.intent:{source_id}"


def intend_removal(connection: Connection, source_id: SourceId, archive_ids: Sequence[str]) -> None:
    """Write down which archives are about to be removed: what is gone later is then explained."""
    facts.put(connection, _intent(source_id), list(archive_ids), now=utc_now())


def intended_removals(connection: Connection, source_id: SourceId) -> frozenset[str]:
    """Return the archives that a pruning of ours was about to remove."""
    found = facts.find(connection, _intent(source_id))
    return frozenset(found) if isinstance(found, list) else frozenset()


def still_unmarked(connection: Connection, going: Sequence[Snapshot]) -> list[Snapshot]:
    """Return those of ``going`` that nobody protected since they were chosen."""
    found = [snapshots.find(connection, each.id) for each in going]
    return [
        each
        for each in found
        if each is not None and not (each.protected or each.legal_hold or each.removed_at)
    ]


def mark(
    connection: Connection,
    snapshot_id: SnapshotId,
    *,
    protected: bool | None = None,
    legal_hold: bool | None = None,
) -> None:
    """Protect a snapshot or put it under legal hold, or end that; inside the caller's write.

    Raises:
        NotFound: there is none, or it was removed.
        SnapshotGoing: it is being removed just now: a promise to keep it would not be kept.
    """
    snapshot = snapshots.get(connection, snapshot_id)
    if (protected or legal_hold) and snapshot.archive_id in intended_removals(
        connection, snapshot.source_id
    ):
        raise SnapshotGoing(snapshot_id)
    snapshots.mark(connection, snapshot_id, protected=protected, legal_hold=legal_hold)
