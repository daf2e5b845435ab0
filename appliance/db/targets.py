"""Targets: places where copies go."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NewType

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from appliance.db.schema import target
from appliance.errors import AlreadyExists, NotFound

TargetId = NewType("TargetId", int)


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A target as it is stored; ``policy.hosting`` reads ``nature`` and ``dossier``."""

    id: TargetId
    name: str
    label: str
    kind: str  # directory · sftp · s3 · box
    nature: str | None
    place: dict[str, Any]
    dossier: dict[str, Any]
    bandwidth: list[dict[str, Any]]
    distance_km: int | None
    created_at: datetime
    facts: dict[str, Any]


def add(
    connection: Connection,
    *,
    name: str,
    label: str,
    kind: str,
    place: Mapping[str, object],
    now: datetime,
    nature: str | None = None,
) -> TargetRow:
    """Add a target and return it.

    Raises:
        AlreadyExists: a living target has this name.
    """
    try:
        with connection.begin_nested():
            result = connection.execute(
                insert(target).values(
                    name=name,
                    label=label,
                    kind=kind,
                    nature=nature,
                    place=dict(place),
                    dossier={},
                    bandwidth=[],
                    created_at=now,
                    facts={},
                )
            )
    except IntegrityError as error:
        raise AlreadyExists("target", name) from error
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    return get(connection, TargetId(result.inserted_primary_key[0]))


def get(connection: Connection, target_id: TargetId) -> TargetRow:
    """Return a living target.

    Raises:
        NotFound: there is none, or it was removed.
    """
    row = connection.execute(
        select(target).where(target.c.id == target_id, target.c.removed_at.is_(None))
    ).first()
    if row is None:
        raise NotFound("target", str(target_id))
    return _target(row)


def get_by_name(connection: Connection, name: str) -> TargetRow:
    """Return the living target called ``name``.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(
        select(target).where(target.c.name == name, target.c.removed_at.is_(None))
    ).first()
    if row is None:
        raise NotFound("target", name)
    return _target(row)


def all_living(connection: Connection) -> list[TargetRow]:
    """Return the living targets by label."""
    query = select(target).where(target.c.removed_at.is_(None)).order_by(target.c.label)
    return [_target(row) for row in connection.execute(query)]


def change(connection: Connection, target_id: TargetId, **values: object) -> None:
    """Set columns of a living target.

    Raises:
        NotFound: there is none.
    """
    changed = connection.execute(
        update(target)
        .where(target.c.id == target_id, target.c.removed_at.is_(None))
        .values(**values)
    )
    if changed.rowcount == 0:
        raise NotFound("target", str(target_id))


def set_facts(connection: Connection, target_id: TargetId, values: Mapping[str, object]) -> None:
    """Merge ``values`` into what was last asked of a living target; a value of None takes a fact away.

    Raises:
        NotFound: there is none.
    """
    known = {**get(connection, target_id).facts, **values}
    change(
        connection,
        target_id,
        facts={name: value for name, value in known.items() if value is not None},
    )


def _target(row: Row[Any]) -> TargetRow:
    return TargetRow(
        id=TargetId(row.id),
        name=row.name,
        label=row.label,
        kind=row.kind,
        nature=row.nature,
        place=row.place,
        dossier=row.dossier,
        bandwidth=row.bandwidth,
        distance_km=row.distance_km,
        created_at=row.created_at,
        facts=row.facts,
    )
