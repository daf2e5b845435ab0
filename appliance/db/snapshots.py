"""Snapshots, and what was met while they were taken."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update

from appliance.db.schema import read_event, snapshot
from appliance.errors import NotFound
from appliance.model import (
    Consistency,
    JobId,
    ReadEvent,
    ReadEventKind,
    Snapshot,
    SnapshotId,
    SnapshotState,
    SourceId,
)

_ROOT: Final = snapshot.c.stats[("journal", "scope", "roots", 0)].as_string()


def next_id(connection: Connection) -> SnapshotId:
    """Return an id larger than any given out before: take it inside the write that uses it."""
    newest = connection.execute(select(func.max(snapshot.c.id))).scalar()
    return SnapshotId((newest or 0) + 1)


def add(
    connection: Connection,
    one: Snapshot,
    *,
    events: Iterable[ReadEvent] = (),
    stats: Mapping[str, object] | None = None,
) -> None:
    """List a snapshot whose archive is committed, with its events, inside the caller's write."""
    values = asdict(one)
    for name in ("state", "consistency"):
        values[name] = values[name].value
    connection.execute(insert(snapshot).values(**values, stats=dict(stats or {})))
    add_events(connection, one.id, events)


def add_events(
    connection: Connection, snapshot_id: SnapshotId, events: Iterable[ReadEvent]
) -> None:
    """Add what was met while a snapshot was taken, or found about it later."""
    rows = [
        {
            "snapshot_id": snapshot_id,
            "kind": event.kind.value,
            "path": event.path,
            "reason": event.reason[:200],
        }
        for event in events
    ]
    if rows:
        connection.execute(insert(read_event), rows)


def find(connection: Connection, snapshot_id: SnapshotId) -> Snapshot | None:
    """Return a snapshot, removed ones too, or None."""
    row = connection.execute(select(snapshot).where(snapshot.c.id == snapshot_id)).first()
    return None if row is None else _snapshot(row)


def get(connection: Connection, snapshot_id: SnapshotId) -> Snapshot:
    """Return a snapshot that is still there.

    Raises:
        NotFound: there is none, or it was removed.
    """
    found = find(connection, snapshot_id)
    if found is None or found.removed_at is not None:
        raise NotFound("snapshot", str(snapshot_id))
    return found


def of_source(
    connection: Connection,
    source_id: SourceId,
    *,
    limit: int | None = None,
    with_removed: bool = False,
) -> list[Snapshot]:
    """Return the snapshots of a source, newest first."""
    query = select(snapshot).where(snapshot.c.source_id == source_id).order_by(snapshot.c.id.desc())
    if not with_removed:
        query = query.where(snapshot.c.removed_at.is_(None))
    if limit is not None:
        query = query.limit(limit)
    return [_snapshot(row) for row in connection.execute(query)]


def newest(connection: Connection, source_id: SourceId) -> Snapshot | None:
    """Return the newest snapshot of a source that is still there, or None."""
    found = of_source(connection, source_id, limit=1)
    return found[0] if found else None


def newest_of_all(connection: Connection) -> dict[SourceId, Snapshot]:
    """Return the newest snapshot of every source."""
    ids = (
        select(func.max(snapshot.c.id))
        .where(snapshot.c.removed_at.is_(None))
        .group_by(snapshot.c.source_id)
    )
    rows = connection.execute(select(snapshot).where(snapshot.c.id.in_(ids)))
    return {row.source_id: _snapshot(row) for row in rows}


def mark(
    connection: Connection,
    snapshot_id: SnapshotId,
    *,
    protected: bool | None = None,
    legal_hold: bool | None = None,
) -> None:
    """Protect a snapshot or put it under legal hold, or end that.

    Raises:
        NotFound: there is none, or it was removed.
    """
    get(connection, snapshot_id)
    values = {
        n: v for n, v in (("protected", protected), ("legal_hold", legal_hold)) if v is not None
    }
    if values:
        connection.execute(update(snapshot).where(snapshot.c.id == snapshot_id).values(**values))


def removed(connection: Connection, ids: Iterable[SnapshotId], *, now: datetime) -> None:
    """Record that snapshots were pruned."""
    connection.execute(
        update(snapshot)
        .where(snapshot.c.id.in_(list(ids)), snapshot.c.removed_at.is_(None))
        .values(removed_at=now)
    )


def events(
    connection: Connection, snapshot_id: SnapshotId, *, limit: int = 1000
) -> list[ReadEvent]:
    """Return what was met while a snapshot was taken."""
    query = (
        select(read_event).where(read_event.c.snapshot_id == snapshot_id).order_by(read_event.c.id)
    )
    return [
        ReadEvent(ReadEventKind(row.kind), row.path, row.reason)
        for row in connection.execute(query.limit(limit))
    ]


def stats(connection: Connection, snapshot_id: SnapshotId) -> dict[str, object]:
    """Return the stored statistics of a snapshot."""
    found = connection.execute(
        select(snapshot.c.stats).where(snapshot.c.id == snapshot_id)
    ).scalar()
    return dict(found or {})


def roots(connection: Connection, source_id: SourceId) -> dict[SnapshotId, str]:
    """Return where the first folder of a source lay when each snapshot was taken: it may have been moved since."""
    query = select(snapshot.c.id, _ROOT).where(snapshot.c.source_id == source_id)
    return {SnapshotId(row[0]): row[1] for row in connection.execute(query) if row[1]}


def root(connection: Connection, snapshot_id: SnapshotId) -> str | None:
    """Return where the first folder of its source lay when a snapshot was taken; None: it does not say."""
    query = select(_ROOT).where(snapshot.c.id == snapshot_id)
    return connection.execute(query).scalar() or None


def _snapshot(row: Row[Any]) -> Snapshot:
    return Snapshot(
        id=SnapshotId(row.id),
        source_id=SourceId(row.source_id),
        archive=row.archive,
        archive_id=row.archive_id,
        job_id=None if row.job_id is None else JobId(row.job_id),
        started_at=row.started_at,
        finished_at=row.finished_at,
        state=SnapshotState(row.state),
        consistency=Consistency(row.consistency),
        files_seen=row.files_seen,
        items=row.items,
        original_bytes=row.original_bytes,
        new_bytes=row.new_bytes,
        changed=row.changed,
        vanished=row.vanished,
        warnings=row.warnings,
        protected=row.protected,
        legal_hold=row.legal_hold,
        removed_at=row.removed_at,
    )
