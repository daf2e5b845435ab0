"""Proofs: what was verified, how, on what, when and with what result. No proof, no green (beam 3)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from appliance.db.schema import proof
from appliance.ledger import chain
from appliance.model import Outcome, Proof, SnapshotId, SourceId


def record(
    connection: Connection,
    *,
    at: datetime,
    kind: str,
    outcome: Outcome,
    figures: Mapping[str, object],
    source_id: SourceId | None = None,
    snapshot_id: SnapshotId | None = None,
    target_id: int | None = None,
    actor: str = "box",
) -> Proof:
    """Store a proof as a link of the chain, inside the caller's write transaction.

    Args:
        connection: inside ``Database.write()``.
        at: when the verification ended, aware UTC.
        kind: ``snapshot.sample``, ``snapshot.count``, ``repository.check``, ``repository.data`` …
        outcome: only PROVEN may ever become green.
        figures: what was checked, how many, how long; no file name.
        source_id: the source it speaks of.
        snapshot_id: the snapshot it speaks of.
        target_id: the target it speaks of: ``copy.listing``, ``copy.read-back``, ``copy.complete`` …
        actor: «job:12».
    """
    about: dict[str, object] = {"source": source_id}
    if target_id is not None:
        about = {"target": target_id}
        subject = f"target:{target_id}"
    else:
        subject = f"snapshot:{snapshot_id}" if snapshot_id is not None else f"source:{source_id}"
    entry = chain.append(
        connection,
        at=at,
        event=f"proof.{kind}",
        actor=actor,
        subject=subject,
        body={"outcome": outcome.value, **about, **figures},
    )
    connection.execute(
        insert(proof).values(
            seq=entry.seq,
            at=at,
            kind=kind,
            outcome=outcome.value,
            source_id=source_id,
            snapshot_id=snapshot_id,
            figures=dict(figures),
            target_id=target_id,
        )
    )
    return Proof(entry.seq, at, kind, outcome, source_id, snapshot_id, dict(figures), target_id)


def latest(
    connection: Connection, source_id: SourceId, kind: str, *, outcome: Outcome | None = None
) -> Proof | None:
    """Return the newest proof of ``kind`` about a source, of ``outcome`` when given, or None."""
    query = (
        select(proof)
        .where(proof.c.source_id == source_id, proof.c.kind == kind)
        .order_by(proof.c.seq.desc())
        .limit(1)
    )
    if outcome is not None:
        query = query.where(proof.c.outcome == outcome.value)
    row = connection.execute(query).first()
    return None if row is None else _proof(row)


def latest_of_target(
    connection: Connection, target_id: int, kind: str, outcome: Outcome | None = None
) -> Proof | None:
    """Return the newest proof of ``kind`` about a target, of ``outcome`` when given, or None."""
    query = (
        select(proof)
        .where(proof.c.target_id == target_id, proof.c.kind == kind)
        .order_by(proof.c.seq.desc())
        .limit(1)
    )
    if outcome is not None:
        query = query.where(proof.c.outcome == outcome.value)
    row = connection.execute(query).first()
    return None if row is None else _proof(row)


def of_target(
    connection: Connection, target_id: int, kind: str | None = None, *, limit: int = 200
) -> list[Proof]:
    """Return the proofs about a target, newest first."""
    query = select(proof).where(proof.c.target_id == target_id)
    if kind is not None:
        query = query.where(proof.c.kind == kind)
    return [
        _proof(row) for row in connection.execute(query.order_by(proof.c.seq.desc()).limit(limit))
    ]


def latest_by_source(connection: Connection) -> dict[tuple[SourceId, str], Proof]:
    """Return the newest proof of every kind about every source."""
    newest = (
        select(func.max(proof.c.seq))
        .where(proof.c.source_id.is_not(None))
        .group_by(proof.c.source_id, proof.c.kind)
    )
    rows = connection.execute(select(proof).where(proof.c.seq.in_(newest)))
    return {(row.source_id, row.kind): _proof(row) for row in rows}


def of_snapshot(connection: Connection, snapshot_id: SnapshotId) -> list[Proof]:
    """Return the proofs about a snapshot, newest first."""
    query = select(proof).where(proof.c.snapshot_id == snapshot_id).order_by(proof.c.seq.desc())
    return [_proof(row) for row in connection.execute(query)]


def of_source(
    connection: Connection, source_id: SourceId, *, since: datetime | None = None, limit: int = 200
) -> list[Proof]:
    """Return the proofs about a source, newest first."""
    query = select(proof).where(proof.c.source_id == source_id)
    if since is not None:
        query = query.where(proof.c.at >= since)
    return [
        _proof(row) for row in connection.execute(query.order_by(proof.c.seq.desc()).limit(limit))
    ]


def _proof(row: Row[Any]) -> Proof:
    return Proof(
        row.seq,
        row.at,
        row.kind,
        Outcome(row.outcome),
        row.source_id,
        row.snapshot_id,
        row.figures,
        row.target_id,
    )
