"""Removing what no rule keeps at a target: generations first, then objects nothing names, after a grace.

``plan`` decides; here the record is written *before* the place is asked to remove, so that a kill in between
leaves something too much there, never a generation that seems lost; the next night asks again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from appliance.db import copies
from appliance.db.copies import KeptGeneration, StoredRow
from appliance.db.engine import Database
from appliance.db.targets import TargetId
from appliance.errors import JobCancelled, TargetRefuses
from appliance.ledger import events
from appliance.replication import manifest as manifests
from appliance.replication.plan import (
    KeepGenerations,
    KnownGeneration,
    StoredObject,
    generations_to_remove,
    objects_to_remove,
)
from appliance.replication.push import object_name
from appliance.replication.target import Target
from appliance.replication.verify import Listing


@dataclass(slots=True)
class Collected:
    """What went."""

    generations: int = 0
    objects: int = 0
    bytes: int = 0
    locked: int = 0  # the place keeps them for now


def collect(
    database: Database,
    target_id: TargetId,
    target: Target,
    *,
    listing: Listing,
    keep: KeepGenerations,
    lock: timedelta,
    zone: tzinfo,
    now: Callable[[], datetime],
    should_stop: Callable[[], bool],
    actor: str,
) -> Collected:
    """Remove what no rule keeps; the caller has seen that the last verification was good.

    Args:
        database: of this box.
        target_id: whose copies.
        target: opened with the box's own credentials.
        listing: of tonight, whole.
        keep: which generations stay.
        lock: for how long the place locks a new object; zero: not at all.
        zone: of the practice: days are its days.
        now: the clock.
        should_stop: asked between two objects.
        actor: for the ledger.

    Raises:
        JobCancelled, TargetUnreachable: what went is recorded.
    """
    done = Collected()
    with database.read() as connection:
        kept = copies.kept(connection, target_id)
        before = copies.removed_numbers(connection, target_id)
    going = generations_to_remove(
        [KnownGeneration(each.number, each.taken_at.astimezone(zone)) for each in kept], keep
    )
    if going:
        _forget_generations(database, target_id, kept, going, now=now(), actor=actor)
    listed = set(listing.strange_generations)
    again = sorted(n for n in before if manifests.object_name(n) in listed)
    for number in [*again, *going]:
        if should_stop():
            raise JobCancelled
        if _removed(target, manifests.object_name(number)):
            done.generations += 1
        else:
            done.locked += 1
    _objects(database, target_id, target, listing, done, lock, now=now, should_stop=should_stop)
    return done


def _forget_generations(
    database: Database,
    target_id: TargetId,
    kept: Sequence[KeptGeneration],
    going: Sequence[int],
    *,
    now: datetime,
    actor: str,
) -> None:
    staying: set[int] = set()
    leaving: set[int] = set()
    with database.write() as connection:
        for each in kept:
            named = copies.objects_of(connection, target_id, each.number)
            (leaving if each.number in going else staying).update(named)
        for number in going:
            copies.generation_removed(connection, target_id, number, now=now)
        copies.orphaned(connection, leaving - staying, now=now)
        events.record(
            connection,
            at=now,
            event="copy.generations-removed",
            subject=f"target:{target_id}",
            actor=actor,
            numbers=list(going),
        )


def _objects(
    database: Database,
    target_id: TargetId,
    target: Target,
    listing: Listing,
    done: Collected,
    lock: timedelta,
    *,
    now: Callable[[], datetime],
    should_stop: Callable[[], bool],
) -> None:
    named: set[int] = set()
    with database.read() as connection:
        rows = {row.name: row for row in copies.stored(connection, target_id)}
        for each in copies.kept(connection, target_id):
            named.update(copies.objects_of(connection, target_id, each.number))
        names = [name.rpartition("/")[2] for name in listing.unknown]
        leftover = copies.removed_names(connection, target_id, names)
    at = now()
    going = objects_to_remove(
        [
            StoredObject(row.name, row.put_at, row.orphaned_at)
            for row in rows.values()
            if (row.locked_until or row.put_at + lock) <= at
        ],
        named={row.name for row in rows.values() if row.id in named},
        now=at,
        last_verification_was_good=True,
    )
    for name in sorted(leftover):
        _stop(should_stop)
        if not _removed(target, object_name(name)):
            done.locked += 1
    for name in going:
        _stop(should_stop)
        _one(database, target, rows[name], done, at)


def _one(
    database: Database, target: Target, row: StoredRow, done: Collected, now: datetime
) -> None:
    with database.write() as connection:
        copies.removed(connection, [row.id], now=now)
    if _removed(target, object_name(row.name)):
        done.objects += 1
        done.bytes += row.size
    else:
        done.locked += 1


def _removed(target: Target, name: str) -> bool:
    """Return whether it is gone; False where the place keeps it for now."""
    try:
        target.remove(name)
    except TargetRefuses:
        return False
    return True


def _stop(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise JobCancelled
