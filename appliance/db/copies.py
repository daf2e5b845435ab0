"""Objects and generations at a target, by this box's own record."""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from appliance.db.schema import copy_object, generation
from appliance.db.targets import TargetId


@dataclass(frozen=True, slots=True)
class CopyObject:
    """One sealed object."""

    id: int
    name: str
    repository: int
    path: str
    plain_size: int
    plain_mtime_ns: int
    plain_sha256: str
    sealed_size: int
    sealed_sha256: str
    sealed_at: datetime
    put_at: datetime | None
    read_back_at: datetime | None
    orphaned_at: datetime | None


class StoredRow(NamedTuple):
    """What a verification needs of an object that is at a target; a hundred thousand of them fit in memory."""

    id: int
    name: str
    size: int  # sealed
    put_at: datetime
    read_back_at: datetime | None
    orphaned_at: datetime | None
    locked_until: datetime | None


@dataclass(frozen=True, slots=True)
class KeptGeneration:
    """A generation that is kept, without its list of objects."""

    number: int
    taken_at: datetime
    published_at: datetime
    sha256: str
    locked_until: datetime | None


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """One published generation."""

    number: int
    taken_at: datetime
    published_at: datetime | None  # None: about to be published when the box stopped
    sha256: str
    previous: str
    objects: tuple[int, ...]  # copy_object ids
    files: int
    plain_bytes: int
    new_bytes: int


@dataclass(frozen=True, slots=True)
class CopySummary:
    """What lies at a target by our record, in figures."""

    generations: int
    number: int  # of the newest published generation
    taken_at: datetime
    published_at: datetime
    files: int  # of it
    plain_bytes: int  # of it
    new_bytes: int  # sealed bytes that were sent for it


@dataclass(frozen=True, slots=True)
class NewestGeneration:
    """The newest generation ever, published or about to be, removed ones included."""

    number: int
    sha256: str
    published_at: datetime | None


def sealed(
    connection: Connection,
    target_id: TargetId,
    *,
    name: str,
    repository: int,
    path: str,
    plain_size: int,
    plain_mtime_ns: int,
    plain_sha256: str,
    sealed_size: int,
    sealed_sha256: str,
    now: datetime,
) -> int:
    """Record a sealed object before it is sent, and return its id."""
    result = connection.execute(
        insert(copy_object).values(
            target_id=target_id,
            name=name,
            repository=repository,
            path=path,
            plain_size=plain_size,
            plain_mtime_ns=plain_mtime_ns,
            plain_sha256=plain_sha256,
            sealed_size=sealed_size,
            sealed_sha256=sealed_sha256,
            sealed_at=now,
        )
    )
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    return int(result.inserted_primary_key[0])


def put(connection: Connection, ids: Iterable[int], *, now: datetime) -> None:
    """Record that objects are whole at the target."""
    _set(connection, ids, put_at=now)


def read_back(connection: Connection, ids: Iterable[int], *, now: datetime) -> None:
    """Record that every byte of these objects came back and was right."""
    _set(connection, ids, read_back_at=now)


def removed(connection: Connection, ids: Iterable[int], *, now: datetime) -> None:
    """Record that objects are no longer at the target, removed by us or lost by it."""
    _set(connection, ids, removed_at=now)


def orphaned(connection: Connection, ids: Iterable[int], *, now: datetime | None) -> None:
    """Record since when no kept generation names these objects; None: one does again."""
    _set(connection, ids, orphaned_at=now)


def living(connection: Connection, target_id: TargetId) -> Iterator[CopyObject]:
    """Yield every object that was not removed, sealed-only ones included."""
    query = (
        select(copy_object)
        .where(copy_object.c.target_id == target_id, copy_object.c.removed_at.is_(None))
        .order_by(copy_object.c.id)
    )
    # Thousands were sent in the same moment: one value for all of them, not one a row.
    same: dict[datetime, datetime] = {}
    for row in connection.execute(query).yield_per(2000):
        yield _object(row, same)


def intend(
    connection: Connection,
    target_id: TargetId,
    *,
    number: int,
    taken_at: datetime,
    sha256: str,
    previous: str,
    objects: Sequence[int],
    plain_bytes: int,
    new_bytes: int,
) -> None:
    """Record a generation before its object is sent: a cut in between is told from a forgery by its hash."""
    connection.execute(
        insert(generation).values(
            target_id=target_id,
            number=number,
            taken_at=taken_at,
            sha256=sha256,
            previous=previous,
            objects=zlib.compress(struct.pack(f"<{len(objects)}Q", *objects)),
            files=len(objects),
            plain_bytes=plain_bytes,
            new_bytes=new_bytes,
        )
    )


def published(connection: Connection, target_id: TargetId, number: int, *, now: datetime) -> None:
    """Record that a generation's object is at the target."""
    connection.execute(
        update(generation)
        .where(generation.c.target_id == target_id, generation.c.number == number)
        .values(published_at=now)
    )


def given_up(connection: Connection, target_id: TargetId, number: int) -> None:
    """Forget a generation that never reached the target."""
    connection.execute(
        delete(generation).where(
            generation.c.target_id == target_id,
            generation.c.number == number,
            generation.c.published_at.is_(None),
        )
    )


def generations(connection: Connection, target_id: TargetId) -> list[GenerationRow]:
    """Return the kept generations of a target, newest first."""
    query = (
        select(generation)
        .where(generation.c.target_id == target_id, generation.c.removed_at.is_(None))
        .order_by(generation.c.number.desc())
    )
    return [_generation(row) for row in connection.execute(query)]


def summary(connection: Connection, target_id: TargetId) -> CopySummary | None:
    """Return the figures of a target, or None while no generation was published: two indexed reads."""
    kept = (
        generation.c.target_id == target_id,
        generation.c.removed_at.is_(None),
        generation.c.published_at.is_not(None),
    )
    count = connection.execute(select(func.count()).select_from(generation).where(*kept)).scalar()
    row = connection.execute(
        select(
            generation.c.number,
            generation.c.taken_at,
            generation.c.published_at,
            generation.c.files,
            generation.c.plain_bytes,
            generation.c.new_bytes,
        )
        .where(*kept)
        .order_by(generation.c.number.desc())
        .limit(1)
    ).first()
    if row is None:
        return None
    return CopySummary(
        int(count or 0),
        row.number,
        row.taken_at,
        row.published_at,
        row.files,
        row.plain_bytes,
        row.new_bytes,
    )


def newest_number(connection: Connection, target_id: TargetId) -> tuple[int, str] | None:
    """Return number and hash of the newest generation ever published, removed ones included."""
    row = connection.execute(
        select(generation.c.number, generation.c.sha256)
        .where(generation.c.target_id == target_id)
        .order_by(generation.c.number.desc())
        .limit(1)
    ).first()
    return None if row is None else (row.number, row.sha256)


def newest(connection: Connection, target_id: TargetId) -> NewestGeneration | None:
    """Return the newest generation ever, without its list of objects; None: there was none."""
    row = connection.execute(
        select(generation.c.number, generation.c.sha256, generation.c.published_at)
        .where(generation.c.target_id == target_id)
        .order_by(generation.c.number.desc())
        .limit(1)
    ).first()
    return None if row is None else NewestGeneration(row.number, row.sha256, row.published_at)


def newest_published(connection: Connection, target_id: TargetId) -> GenerationRow | None:
    """Return the newest generation that is at the target, or None."""
    row = connection.execute(
        select(generation)
        .where(
            generation.c.target_id == target_id,
            generation.c.removed_at.is_(None),
            generation.c.published_at.is_not(None),
        )
        .order_by(generation.c.number.desc())
        .limit(1)
    ).first()
    return None if row is None else _generation(row)


def stored(connection: Connection, target_id: TargetId) -> list[StoredRow]:
    """Return every object that is whole at the target by our record."""
    query = select(
        copy_object.c.id,
        copy_object.c.name,
        copy_object.c.sealed_size,
        copy_object.c.put_at,
        copy_object.c.read_back_at,
        copy_object.c.orphaned_at,
        copy_object.c.locked_until,
    ).where(
        copy_object.c.target_id == target_id,
        copy_object.c.removed_at.is_(None),
        copy_object.c.put_at.is_not(None),
    )
    return [StoredRow(*row) for row in connection.execute(query).yield_per(2000)]


def sealed_hash(connection: Connection, object_id: int) -> str:
    """Return the SHA-256 of an object as it was sealed, 64 hex digits."""
    return str(
        connection.execute(
            select(copy_object.c.sealed_sha256).where(copy_object.c.id == object_id)
        ).scalar_one()
    )


def removed_names(connection: Connection, target_id: TargetId, names: Iterable[str]) -> set[str]:
    """Return which of these names were ours and are recorded as removed."""
    wanted, found = list(names), set()
    for start in range(0, len(wanted), 500):
        found |= set(
            connection.execute(
                select(copy_object.c.name).where(
                    copy_object.c.target_id == target_id,
                    copy_object.c.removed_at.is_not(None),
                    copy_object.c.name.in_(wanted[start : start + 500]),
                )
            ).scalars()
        )
    return found


def kept(connection: Connection, target_id: TargetId) -> list[KeptGeneration]:
    """Return the kept, published generations of a target, newest first."""
    query = (
        select(
            generation.c.number,
            generation.c.taken_at,
            generation.c.published_at,
            generation.c.sha256,
            generation.c.locked_until,
        )
        .where(
            generation.c.target_id == target_id,
            generation.c.removed_at.is_(None),
            generation.c.published_at.is_not(None),
        )
        .order_by(generation.c.number.desc())
    )
    return [KeptGeneration(*row) for row in connection.execute(query)]


def removed_numbers(connection: Connection, target_id: TargetId) -> set[int]:
    """Return the numbers of the generations recorded as removed."""
    query = select(generation.c.number).where(
        generation.c.target_id == target_id, generation.c.removed_at.is_not(None)
    )
    return set(connection.execute(query).scalars())


def objects_of(connection: Connection, target_id: TargetId, number: int) -> tuple[int, ...]:
    """Return the object ids a generation names."""
    packed = connection.execute(
        select(generation.c.objects).where(
            generation.c.target_id == target_id, generation.c.number == number
        )
    ).scalar_one()
    return _unpacked(packed)


def locked(
    connection: Connection,
    target_id: TargetId,
    *,
    until: datetime,
    ids: Iterable[int] = (),
    numbers: Iterable[int] = (),
) -> None:
    """Record until when objects and generations are locked at their place."""
    _set(connection, ids, locked_until=until)
    connection.execute(
        update(generation)
        .where(generation.c.target_id == target_id, generation.c.number.in_(list(numbers)))
        .values(locked_until=until)
    )


def newest_files(connection: Connection, target_id: TargetId, repository: int) -> list[CopyObject]:
    """Return the objects the newest published generation names of a repository; none when one of them is gone."""
    newest = newest_published(connection, target_id)
    if newest is None:
        return []
    wanted = set(newest.objects)
    rows = connection.execute(
        select(copy_object).where(
            copy_object.c.target_id == target_id, copy_object.c.repository == repository
        )
    )
    found = [row for row in rows if row.id in wanted]
    if any(row.removed_at is not None for row in found):
        return []
    same: dict[datetime, datetime] = {}
    return [_object(row, same) for row in found]


def generation_removed(
    connection: Connection, target_id: TargetId, number: int, *, now: datetime
) -> None:
    """Record that a generation was removed from the target."""
    connection.execute(
        update(generation)
        .where(generation.c.target_id == target_id, generation.c.number == number)
        .values(removed_at=now)
    )


def _set(connection: Connection, ids: Iterable[int], **values: object) -> None:
    wanted = list(ids)
    for start in range(0, len(wanted), 500):
        connection.execute(
            update(copy_object)
            .where(copy_object.c.id.in_(wanted[start : start + 500]))
            .values(**values)
        )


def _object(row: Row[Any], same: dict[datetime, datetime]) -> CopyObject:
    def one(moment: datetime | None) -> datetime | None:
        return None if moment is None else same.setdefault(moment, moment)

    return CopyObject(
        id=row.id,
        name=row.name,
        repository=row.repository,
        path=row.path,
        plain_size=row.plain_size,
        plain_mtime_ns=row.plain_mtime_ns,
        plain_sha256=row.plain_sha256,
        sealed_size=row.sealed_size,
        sealed_sha256=row.sealed_sha256,
        sealed_at=same.setdefault(row.sealed_at, row.sealed_at),
        put_at=one(row.put_at),
        read_back_at=one(row.read_back_at),
        orphaned_at=one(row.orphaned_at),
    )


def _generation(row: Row[Any]) -> GenerationRow:
    return GenerationRow(
        number=row.number,
        taken_at=row.taken_at,
        published_at=row.published_at,
        sha256=row.sha256,
        previous=row.previous,
        objects=_unpacked(row.objects),
        files=row.files,
        plain_bytes=row.plain_bytes,
        new_bytes=row.new_bytes,
    )


def _unpacked(packed: bytes) -> tuple[int, ...]:
    plain = zlib.decompress(packed)
    return struct.unpack(f"<{len(plain) // 8}Q", plain)
