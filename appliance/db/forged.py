"""What lies at a target under our identity and is not ours: left aside, never truth, never forgotten."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from appliance.db.schema import forged
from appliance.db.targets import TargetId


@dataclass(frozen=True, slots=True)
class ForgedObject:
    """One object that somebody else wrote."""

    id: int
    name: str  # where it lies
    sha256: str  # of what lies there
    found_at: datetime
    passed_over_at: datetime | None  # None: no person looked at it yet


def found(
    connection: Connection, target_id: TargetId, name: str, sha256: str, *, now: datetime
) -> bool:
    """Record a forged object; return whether it is new."""
    known = connection.execute(
        select(forged.c.id).where(
            forged.c.target_id == target_id, forged.c.name == name, forged.c.sha256 == sha256
        )
    ).first()
    if known is not None:
        return False
    connection.execute(
        insert(forged).values(target_id=target_id, name=name, sha256=sha256, found_at=now)
    )
    return True


def of_target(connection: Connection, target_id: TargetId) -> list[ForgedObject]:
    """Return every forged object of a target, newest first."""
    query = select(forged).where(forged.c.target_id == target_id).order_by(forged.c.id.desc())
    return [_forged(row) for row in connection.execute(query)]


def count_open(connection: Connection, target_id: TargetId) -> int:
    """Return how many no person has looked at."""
    return connection.execute(
        select(func.count())
        .select_from(forged)
        .where(forged.c.target_id == target_id, forged.c.passed_over_at.is_(None))
    ).scalar_one()


def pass_over(connection: Connection, ids: Iterable[int], *, now: datetime) -> None:
    """Record that a person looked at these."""
    connection.execute(
        update(forged)
        .where(forged.c.id.in_(list(ids)), forged.c.passed_over_at.is_(None))
        .values(passed_over_at=now)
    )


def _forged(row: Row[Any]) -> ForgedObject:
    return ForgedObject(row.id, row.name, row.sha256, row.found_at, row.passed_over_at)
