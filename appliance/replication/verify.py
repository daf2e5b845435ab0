"""What a target has, against what this box recorded: the listing, the newest generation, a part read back.

No key is needed: sealed sizes and hashes are compared. What a listing leaves out is asked for by name before it
counts as lost; half a list concludes nothing.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.db.copies import KeptGeneration, StoredRow
from appliance.errors import ObjectAltered, ObjectMissing, TargetListUnreadable
from appliance.replication import manifest as manifests
from appliance.replication.fetch import LARGEST_GENERATION_BYTES, verify_sealed
from appliance.replication.push import object_name
from appliance.replication.target import Target

#: So many names that a listing left out are asked for one by one; of more, as many at random places.
ASKED_BY_NAME: Final = 1000
#: Beside the newest, so many older generations are read whole each night, in turn.
OLDER_EACH_NIGHT: Final = 2


@dataclass(frozen=True, slots=True)
class Listing:
    """What a target lists, compared."""

    objects: int  # of ours, listed with their size
    bytes: int  # of those
    lost: tuple[StoredRow, ...]  # missing, or of another size
    unknown: tuple[str, ...]  # object names that are not in our living record
    generations: int  # of ours, listed
    lost_generations: tuple[int, ...]
    strange_generations: tuple[str, ...]  # names that are none of ours

    @property
    def is_whole(self) -> bool:
        """Nothing of ours is missing."""
        return not self.lost and not self.lost_generations


def compare_listing(
    target: Target, rows: Sequence[StoredRow], kept: Sequence[KeptGeneration]
) -> Listing:
    """List ``target`` and compare it with our record.

    Raises:
        TargetListUnreadable: the list has no end, or leaves out what is there.
        TargetUnreachable, TargetRefuses.
    """
    there: dict[str, int] = {info.name: info.size for info in target.list("objects/")}
    generations = {info.name for info in target.list("generations/")}
    absent = [row for row in rows if there.pop(object_name(row.name), None) != row.size]
    lost = _really(target, absent)
    ours = {manifests.object_name(each.number) for each in kept}
    missing = [
        each.number
        for each in kept
        if manifests.object_name(each.number) not in generations
        and target.stat(manifests.object_name(each.number)) is None
    ]
    return Listing(
        objects=len(rows) - len(lost),
        bytes=sum(row.size for row in rows) - sum(row.size for row in lost),
        lost=tuple(lost),
        unknown=tuple(sorted(set(there) - {object_name(row.name) for row in absent})),
        generations=len(kept) - len(missing),
        lost_generations=tuple(sorted(missing)),
        strange_generations=tuple(sorted(generations - ours)),
    )


def _really(target: Target, absent: Sequence[StoredRow]) -> list[StoredRow]:
    """Return which of these are lost, asked by name.

    Raises:
        TargetListUnreadable: too many to ask for, and the list was wrong about some.
    """
    step = max(1, -(-len(absent) // ASKED_BY_NAME))
    asked = absent[::step]
    found = []
    for row in asked:
        info = target.stat(object_name(row.name))
        if info is None or info.size != row.size:
            found.append(row)
    if step == 1:
        return found
    if len(found) < len(asked):
        raise TargetListUnreadable(target.label, "the list leaves out what is there")
    return list(absent)


def check_generation(
    target: Target, row: KeptGeneration, *, signer: Ed25519PublicKey, box_id: str
) -> None:
    """Read a generation's object whole and compare it with our record and our signature.

    Raises:
        ObjectMissing, ObjectAltered, TargetUnreachable.
    """
    name = manifests.object_name(row.number)
    data = b"".join(target.read(name, length=LARGEST_GENERATION_BYTES))
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise ObjectAltered(target.label, name, "its content is not what was sent")
    manifests.check(name, data, signer=signer, box_id=box_id)


def in_turn(kept: Sequence[KeptGeneration], now: datetime) -> list[KeptGeneration]:
    """Return which generations to read tonight: the newest, and OLDER_EACH_NIGHT others, another pair each day."""
    older = list(kept[1:])
    if len(older) <= OLDER_EACH_NIGHT:
        return [*kept[:1], *older]
    first = (now.toordinal() * OLDER_EACH_NIGHT) % len(older)
    return [*kept[:1], *((older + older)[first : first + OLDER_EACH_NIGHT])]


@dataclass(slots=True)
class ReadBack:
    """What came back tonight."""

    read: list[int] = field(default_factory=list)  # ids, right
    bytes: int = 0
    bad: list[StoredRow] = field(default_factory=list)  # altered, cut or missing


def read_back(
    target: Target,
    chosen: Iterable[StoredRow],
    *,
    sha256_of: Callable[[int], str],
    on_read: Callable[[StoredRow], None],
    should_stop: Callable[[], bool],
    seconds: float | None,
) -> ReadBack:
    """Read objects whole and compare them; each that is right is told at once.

    Args:
        target: where.
        chosen: in this order; at least the first is read.
        sha256_of: id → hash of the sealed object.
        on_read: told of each object that is right.
        should_stop: asked between two objects.
        seconds: how long it may take; None: to the end.

    Raises:
        TargetUnreachable: the line was lost; what was told stays told.
    """
    done = ReadBack()
    ends = None if seconds is None else time.monotonic() + seconds
    for row in chosen:
        if should_stop() or (ends is not None and done.read and time.monotonic() >= ends):
            break
        try:
            verify_sealed(target, object_name(row.name), sha256=sha256_of(row.id), size=row.size)
        except (ObjectAltered, ObjectMissing):
            done.bad.append(row)
            continue
        done.read.append(row.id)
        done.bytes += row.size
        on_read(row)
    return done
