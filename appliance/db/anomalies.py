"""Anomalies: open until a person closes them with a reason."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from appliance.db.schema import anomaly
from appliance.errors import NotFound
from appliance.model import Anomaly, PersonId, SnapshotId, SourceId


def add(
    connection: Connection,
    *,
    source_id: SourceId,
    snapshot_id: SnapshotId | None,
    kind: str,
    reading: Mapping[str, float],
    now: datetime,
) -> int:
    """Open an anomaly and return its id."""
    result = connection.execute(
        insert(anomaly).values(
            source_id=source_id,
            snapshot_id=snapshot_id,
            kind=kind,
            reading=dict(reading),
            opened_at=now,
        )
    )
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    return int(result.inserted_primary_key[0])


def open_ones(connection: Connection, source_id: SourceId | None = None) -> list[Anomaly]:
    """Return the open anomalies, newest first."""
    query = select(anomaly).where(anomaly.c.closed_at.is_(None)).order_by(anomaly.c.id.desc())
    if source_id is not None:
        query = query.where(anomaly.c.source_id == source_id)
    return [_anomaly(row) for row in connection.execute(query)]


def closed_snapshots(connection: Connection, source_id: SourceId, kind: str) -> set[SnapshotId]:
    """Return the snapshots about which a person closed an anomaly of this kind."""
    query = select(anomaly.c.snapshot_id).where(
        anomaly.c.source_id == source_id,
        anomaly.c.kind == kind,
        anomaly.c.closed_at.is_not(None),
        anomaly.c.snapshot_id.is_not(None),
    )
    return {SnapshotId(row.snapshot_id) for row in connection.execute(query)}


def close(
    connection: Connection,
    anomaly_id: int,
    *,
    person_id: PersonId | None,
    reason: str,
    now: datetime,
) -> Anomaly:
    """Close an anomaly and return it.

    Raises:
        NotFound: there is none open with this number.
    """
    changed = connection.execute(
        update(anomaly)
        .where(anomaly.c.id == anomaly_id, anomaly.c.closed_at.is_(None))
        .values(closed_at=now, closed_by=person_id, closing_reason=reason)
    )
    if changed.rowcount == 0:
        raise NotFound("anomaly", str(anomaly_id))
    row = connection.execute(select(anomaly).where(anomaly.c.id == anomaly_id)).one()
    return _anomaly(row)


def _anomaly(row: Row[Any]) -> Anomaly:
    return Anomaly(**row._mapping)  # noqa: SLF001 - the public name
