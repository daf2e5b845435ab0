"""What pruning would remove just now, and which files no kept snapshot would show any more.

From the list of snapshots, the plan and the catalogue alone: the page asks without Borg.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from sqlalchemy import Connection

from appliance.catalogue import query
from appliance.catalogue.query import Lost
from appliance.catalogue.store import Catalogue
from appliance.db import snapshots
from appliance.model import Snapshot, SnapshotId, SnapshotState, Source
from appliance.policy.retention import Decision, KeepCandidate, decide


@dataclass(frozen=True, slots=True)
class PrunePreview:
    """What would happen. Nothing was touched."""

    decisions: tuple[Decision, ...]  # one a snapshot, newest first
    #: Bytes that the snapshots to be removed had added; what is shared with kept ones stays.
    bytes: int
    lost: Lost

    @property
    def removed(self) -> tuple[SnapshotId, ...]:
        """The snapshots that would go, newest first."""
        return tuple(each.id for each in self.decisions if not each.kept)


def decisions(
    rows: Sequence[Snapshot], source: Source, *, now: datetime, tz: tzinfo
) -> list[Decision]:
    """Return what becomes of each living snapshot of a source, newest first.

    Args:
        rows: the source's snapshots that are still there.
        source: its plan holds the rules.
        now: aware.
        tz: the practice's time zone.
    """
    candidates = [
        KeepCandidate(
            row.id,
            row.started_at,
            protected=row.protected,
            legal_hold=row.legal_hold,
            complete=row.state is SnapshotState.COMPLETE,
        )
        for row in rows
    ]
    return decide(candidates, source.plan.keep, now, tz)


def preview(
    connection: Connection,
    catalogue: Catalogue,
    source: Source,
    *,
    now: datetime,
    tz: tzinfo,
    names: int = 100,
) -> PrunePreview:
    """Return what pruning would do at ``now``; whether it may is ``jobs.frozen``'s to say.

    Args:
        connection: sees one moment.
        catalogue: of the source.
        source: whose plan decides.
        now: aware.
        tz: the practice's time zone.
        names: how many lost files are named; counts are whole.

    Raises:
        CatalogueMissing, CatalogueDamaged.
    """
    rows = snapshots.of_source(connection, source.id)
    found = decisions(rows, source, now=now, tz=tz)
    gone = {each.id for each in found if not each.kept}
    lost = query.lost_if_removed(catalogue, gone, limit=names)
    return PrunePreview(tuple(found), sum(row.new_bytes for row in rows if row.id in gone), lost)
