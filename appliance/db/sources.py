"""Sources: machines and shares."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from appliance.db import practice
from appliance.db.schema import source
from appliance.errors import AlreadyExists, InvalidInput, NotFound
from appliance.language import mark
from appliance.model import (
    BOX_SOURCE,
    Keep,
    Plan,
    RecipeUse,
    Source,
    SourceId,
    SourceKind,
    System,
)


def add(
    connection: Connection,
    *,
    name: str,
    label: str,
    kind: SourceKind,
    roots: tuple[str, ...],
    now: datetime,
    system: System = System.LINUX,
    host: str | None = None,
    port: int = 22,
    user: str | None = None,
    excludes: tuple[str, ...] = (),
    recipes: tuple[RecipeUse, ...] = (),
    plan: Plan | None = None,
    quota_bytes: int | None = None,
) -> Source:
    """Add a source and return it; its name has been checked by ``policy``.

    Raises:
        AlreadyExists: a living source has this name.
    """
    try:
        with connection.begin_nested():
            result = connection.execute(
                insert(source).values(
                    name=name,
                    label=label,
                    kind=kind.value,
                    system=system.value,
                    host=host,
                    port=port,
                    user=user,
                    roots=list(roots),
                    excludes=list(excludes),
                    recipes=[asdict(recipe) for recipe in recipes],
                    plan=asdict(plan or practice.usual_plan(connection)),
                    quota_bytes=quota_bytes,
                    created_at=now,
                    facts={},
                )
            )
    except IntegrityError as error:
        raise AlreadyExists("source", name) from error
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    return get(connection, SourceId(result.inserted_primary_key[0]))


def add_box(connection: Connection, *, name: str, label: str, now: datetime) -> Source:
    """Add the box's own state as a source and return it; it is backed up whatever happens.

    Its folder is the worker's business: the row names no root.

    Raises:
        AlreadyExists: it is there, or another source has this name.
    """
    try:
        with connection.begin_nested():
            connection.execute(
                insert(source).values(
                    id=BOX_SOURCE,
                    name=name,
                    label=label,
                    kind=SourceKind.BOX.value,
                    system=System.LINUX.value,
                    port=22,
                    roots=[],
                    excludes=[],
                    recipes=[],
                    plan=asdict(replace(practice.usual_plan(connection), wake_on_lan=False)),
                    created_at=now,
                    facts={},
                )
            )
    except IntegrityError as error:
        raise AlreadyExists("source", name) from error
    return get(connection, BOX_SOURCE)


def get(connection: Connection, source_id: SourceId) -> Source:
    """Return a living source.

    Raises:
        NotFound: there is none, or it was removed.
    """
    row = connection.execute(
        select(source).where(source.c.id == source_id, source.c.removed_at.is_(None))
    ).first()
    if row is None:
        raise NotFound("source", str(source_id))
    return _source(row)


def get_by_name(connection: Connection, name: str) -> Source:
    """Return the living source called ``name``.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(
        select(source).where(source.c.name == name, source.c.removed_at.is_(None))
    ).first()
    if row is None:
        raise NotFound("source", name)
    return _source(row)


def all_living(connection: Connection) -> list[Source]:
    """Return the living sources by label; the box itself is the last."""
    is_box = source.c.kind == SourceKind.BOX.value
    query = select(source).where(source.c.removed_at.is_(None)).order_by(is_box, source.c.label)
    return [_source(row) for row in connection.execute(query)]


def with_files(connection: Connection) -> list[Source]:
    """Return the living sources whose files people may look for, by label: all but the box itself."""
    return [each for each in all_living(connection) if each.kind is not SourceKind.BOX]


def change(connection: Connection, source_id: SourceId, **values: object) -> None:
    """Set columns of a living source (``plan``, ``roots``, ``host_key`` …), given as model values.

    Raises:
        NotFound: there is none.
    """
    stored: dict[str, object] = {}
    for name, value in values.items():
        match name, value:
            case "plan", Plan():
                stored[name] = asdict(value)
            case "recipes", tuple() | list():
                stored[name] = [asdict(recipe) for recipe in value]
            case (("roots" | "excludes"), tuple() | list()):
                stored[name] = list(value)
            case _:
                stored[name] = value
    changed = connection.execute(
        update(source)
        .where(source.c.id == source_id, source.c.removed_at.is_(None))
        .values(**stored)
    )
    if changed.rowcount == 0:
        raise NotFound("source", str(source_id))


def freeze(connection: Connection, source_id: SourceId, reason: str, *, now: datetime) -> bool:
    """Freeze pruning (beam 6); return False when it was frozen already: the first reason stays."""
    changed = connection.execute(
        update(source)
        .where(source.c.id == source_id, source.c.frozen_at.is_(None))
        .values(frozen_reason=reason, frozen_at=now)
    )
    return changed.rowcount == 1


def thaw(connection: Connection, source_id: SourceId) -> None:
    """Allow pruning again."""
    connection.execute(
        update(source).where(source.c.id == source_id).values(frozen_reason=None, frozen_at=None)
    )


def seen(connection: Connection, source_id: SourceId, *, now: datetime) -> None:
    """Record that the machine answered."""
    connection.execute(update(source).where(source.c.id == source_id).values(last_seen_at=now))


def facts(connection: Connection, source_id: SourceId) -> dict[str, object]:
    """Return what the last machine check saw."""
    found = connection.execute(select(source.c.facts).where(source.c.id == source_id)).scalar()
    return dict(found or {})


def set_facts(connection: Connection, source_id: SourceId, values: Mapping[str, object]) -> None:
    """Merge ``values`` into what is known of the machine."""
    known = facts(connection, source_id)
    connection.execute(
        update(source).where(source.c.id == source_id).values(facts={**known, **values})
    )


def remove(connection: Connection, source_id: SourceId, *, now: datetime) -> None:
    """Stop backing a source up; its repository and snapshots stay on the disk.

    Raises:
        NotFound: there is none.
        InvalidInput: it is the box itself.
    """
    if source_id == BOX_SOURCE:
        raise InvalidInput("source", mark("The box always backs itself up."))
    change(connection, source_id, removed_at=now)


def _source(row: Row[Any]) -> Source:
    plan = dict(row.plan)
    keep = Keep(**plan.pop("keep"))
    plan["weekdays"] = tuple(plan["weekdays"])
    return Source(
        id=SourceId(row.id),
        name=row.name,
        label=row.label,
        kind=SourceKind(row.kind),
        created_at=row.created_at,
        roots=tuple(row.roots),
        excludes=tuple(row.excludes),
        system=System(row.system),
        host=row.host,
        port=row.port,
        user=row.user,
        host_key=row.host_key,
        mac=row.mac,
        recipes=tuple(RecipeUse(**recipe) for recipe in row.recipes),
        plan=Plan(keep=keep, **plan),
        quota_bytes=row.quota_bytes,
        last_seen_at=row.last_seen_at,
        frozen_reason=row.frozen_reason,
        frozen_at=row.frozen_at,
    )
