"""Before a generation is published: what a cut left behind is sorted out, and what others wrote is left aside.

Only a signature makes a generation ours. Whoever stole our credentials can write under the next number, and
where nothing can be removed that number stays taken: it is recorded as forged, passed over, and said; nothing is
removed from the place until a person looked (docs/decisions/0111). A later generation that *is* signed by our key
was written by another box with this identity, and everything stops.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.db import copies, forged
from appliance.db.engine import Database
from appliance.db.targets import TargetId
from appliance.errors import ObjectAltered, TargetIdentityChanged
from appliance.ledger import events
from appliance.replication import manifest as manifests
from appliance.replication.fetch import LARGEST_GENERATION_BYTES
from appliance.replication.target import Target

#: More numbers taken by others than this in a row is no accident that a program should walk over.
MOST_FORGED: Final = 1000


@dataclass(frozen=True, slots=True)
class Settled:
    """Where the row of generations stands."""

    number: int  # of the newest generation of this box; 0: none
    sha256: str  # of its object
    next_number: int  # the first free one after it


def settle_generation(
    database: Database,
    target_id: TargetId,
    target: Target,
    *,
    box_id: str,
    signer: Ed25519PublicKey,
    now: Callable[[], datetime],
) -> Settled:
    """Return where the row stands, after a cut was sorted out and forged numbers were recorded.

    Raises:
        TargetIdentityChanged: a generation lies there that was signed with this box's key, and not by it.
        Any TargetError.
    """
    with database.read() as connection:
        newest = copies.newest(connection, target_id)
    number, digest = (newest.number, newest.sha256) if newest else (0, manifests.NONE)
    if newest is not None and newest.published_at is None:
        found = _digest(target, manifests.object_name(number))
        if found is not None and found != digest:
            _must_be_forged(database, target_id, target, number, found, box_id, signer, now)
        with database.write() as connection:
            if found == digest:
                copies.published(connection, target_id, number, now=now())
            else:
                copies.given_up(connection, target_id, number)
        if found != digest:
            with database.read() as connection:
                number, digest = copies.newest_number(connection, target_id) or (0, manifests.NONE)
    for following in range(number + 1, number + 2 + MOST_FORGED):
        name = manifests.object_name(following)
        if target.stat(name) is None:
            return Settled(number, digest, following)
        taken = _digest(target, name)
        if taken is not None:
            _must_be_forged(database, target_id, target, following, taken, box_id, signer, now)
    raise TargetIdentityChanged(target.label, f"generation {number}", "too many of somebody else")


def record_forged(
    database: Database, target_id: TargetId, name: str, sha256: str, *, now: datetime
) -> None:
    """Record an object that somebody else wrote under our identity; told in the ledger, once."""
    with database.write() as connection:
        if forged.found(connection, target_id, name, sha256, now=now):
            events.record(
                connection,
                at=now,
                event="copy.forged",
                subject=f"target:{target_id}",
                object=name,
                sha256=sha256,
            )


def _must_be_forged(
    database: Database,
    target_id: TargetId,
    target: Target,
    number: int,
    digest: str,
    box_id: str,
    signer: Ed25519PublicKey,
    now: Callable[[], datetime],
) -> None:
    """Record what lies under ``number`` as forged.

    Raises:
        TargetIdentityChanged: it is a generation signed with our key.
    """
    name = manifests.object_name(number)
    info = target.stat(name)
    if info is not None and info.size <= LARGEST_GENERATION_BYTES:
        try:
            manifests.check(name, b"".join(target.read(name)), signer=signer, box_id=box_id)
        except ObjectAltered:
            pass
        else:
            raise TargetIdentityChanged(
                target.label,
                f"generation {number - 1}",
                f"generation {number} of another box with this identity",
            )
    record_forged(database, target_id, name, digest, now=now())


def _digest(target: Target, name: str) -> str | None:
    if target.stat(name) is None:
        return None
    digest = hashlib.sha256()
    for block in target.read(name):
        digest.update(block)
    return digest.hexdigest()
