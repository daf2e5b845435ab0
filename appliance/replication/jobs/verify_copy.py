"""The job that proves a copy: what lies there against our record, a part of it read back, what may go removed.

Proofs: ``copy.listing``, ``copy.read-back``, ``copy.complete``. Nothing is removed unless all three are good
tonight and nothing at home is in doubt (beam 6).
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection

from appliance.clock import utc_now
from appliance.db import copies, facts, forged, sources, targets
from appliance.db.copies import KeptGeneration, StoredRow
from appliance.db.targets import TargetId, TargetRow
from appliance.errors import (
    NotInitialised,
    ObjectAltered,
    ObjectMissing,
    TargetIdentityChanged,
    TargetRefuses,
)
from appliance.jobs import clock_watch
from appliance.jobs.context import JobContext
from appliance.jobs.copy_readings import place_of
from appliance.jobs.kinds import TamperCopy, VerifyCopy
from appliance.language import mark
from appliance.ledger import proofs
from appliance.model import JobState, Outcome
from appliance.policy.copy_status import CopyProof
from appliance.policy.place import S3Place
from appliance.replication import fetch, kit
from appliance.replication import manifest as manifests
from appliance.replication.collect import Collected, collect
from appliance.replication.open_target import open_target
from appliance.replication.plan import KeepGenerations, next_to_read_back
from appliance.replication.push import object_name
from appliance.replication.settle import record_forged
from appliance.replication.target import Target
from appliance.replication.targets.s3 import S3Target
from appliance.replication.tools import Tools
from appliance.replication.verify import (
    Listing,
    ReadBack,
    check_generation,
    compare_listing,
    in_turn,
    read_back,
)
from appliance.units import MIB

#: Read back each night: at least so much, and a ninetieth of the copy, so that a quarter reads it whole …
LEAST_BYTES: Final = 256 * MIB
NIGHTS_FOR_ALL: Final = 90
#: … but not for longer than this.
LONGEST_S: Final = 2 * 3600.0
TAMPER_EVERY: Final = timedelta(hours=20)
#: A lock is made longer when less than this part of it is left.
EXTEND_BELOW: Final = 0.5
KEEP: Final = KeepGenerations()


@dataclass(frozen=True, slots=True)
class Verified:
    """What tonight says."""

    listing: Listing
    complete: bool
    read: ReadBack

    @property
    def is_good(self) -> bool:
        """All that was looked at is as it was sent."""
        return self.listing.is_whole and self.complete and not self.read.bad


def run(context: JobContext, spec: VerifyCopy, tools: Tools) -> JobState:  # noqa: ARG001
    """Compare, read back, extend locks, remove what may go, and queue the tamper test when it is due.

    Returns:
        WARNED when something of the copy is not what was sent; it is sent again with the next push.

    Raises:
        NotFound: the target was removed.
        TargetIdentityChanged: a later generation signed with our key lies there: another box lives.
        TargetListUnreadable, TargetUnreachable: nothing is concluded; what was read back stays recorded.
        JobCancelled.
    """
    database = context.database
    with database.read() as connection:
        row = targets.get(connection, TargetId(spec.target_id))
        opener = open_target(connection, row, context.settings, now=utc_now)
        box_id = facts.find(connection, "box.id")
        signer = kit.signing_key(connection, context.settings.keys).public_key()
        rows = copies.stored(connection, row.id)
        kept = copies.kept(connection, row.id)
        last_ever = copies.newest(connection, row.id)
    if not isinstance(box_id, str):
        raise NotInitialised(str(context.settings.data))
    context.step("connecting")
    with _opened(opener()) as target:
        context.step("listing")
        listing = compare_listing(target, rows, kept)
        newest = last_ever.number if last_ever else 0
        _strangers(context, row, target, listing, newest, box_id, signer)
        altered = _generations(target, kept, signer=signer, box_id=box_id)
        _record_listing(context, row, listing, altered)
        complete = _record_complete(context, row, kept, listing, altered)
        context.step("reading-back")
        lost = {each.id for each in listing.lost}
        left = [each for each in rows if each.id not in lost]
        read = _read_back(context, row, target, left, is_full=spec.full)
        if read.bad:
            complete = _record_complete(context, row, kept, listing, altered)
        verified = Verified(listing, complete and not altered, read)
        _extend(context, row, target, left, kept)
        gone = _collect(context, row, target, verified)
    context.result.update(
        objects=listing.objects,
        bytes=listing.bytes,
        lost=len(listing.lost) + len(listing.lost_generations),
        altered=len(read.bad) + len(altered),
        read_objects=len(read.read),
        read_bytes=read.bytes,
        removed_generations=gone.generations,
        removed_objects=gone.objects,
        removed_bytes=gone.bytes,
    )
    _tamper_when_due(context, row)
    if verified.is_good:
        return JobState.SUCCEEDED
    context.note(
        mark(
            "Not what was sent: %(lost)s objects missing, %(altered)s altered. They are sent again"
            " with the next copy; nothing is removed."
        ),
        level="warning",
        lost=len(listing.lost) + len(listing.lost_generations),
        altered=len(read.bad) + len(altered),
    )
    return JobState.WARNED


@contextmanager
def _opened(target: Target) -> Iterator[Target]:
    try:
        yield target
    finally:
        target.close()


# --- what lies there -------------------------------------------------------------------------


def _strangers(
    context: JobContext,
    row: TargetRow,
    target: Target,
    listing: Listing,
    newest: int,
    box_id: str,
    signer: Ed25519PublicKey,
) -> None:
    """Look at generations that are none of ours: forged ones are recorded, another box's stop everything.

    Raises:
        TargetIdentityChanged: one is signed with our key and later than all of ours.
    """
    with context.database.read() as connection:
        known = {each.name for each in forged.of_target(connection, row.id)}
    for name in listing.strange_generations:
        number = name.rpartition("/")[2]
        if name in known or not number.isdigit() or int(number) <= newest:
            continue
        info = target.stat(name)
        if info is None:
            continue
        data = b"".join(target.read(name, length=fetch.LARGEST_GENERATION_BYTES))
        try:
            manifests.check(name, data, signer=signer, box_id=box_id)
        except ObjectAltered:
            record_forged(
                context.database, row.id, name, hashlib.sha256(data).hexdigest(), now=utc_now()
            )
            continue
        raise TargetIdentityChanged(
            target.label,
            f"generation {newest}",
            f"generation {int(number)} of another box with this identity",
        )


def _generations(
    target: Target, kept: Sequence[KeptGeneration], *, signer: Ed25519PublicKey, box_id: str
) -> list[int]:
    """Return the numbers of the generations read tonight that are not what was sent."""
    bad = []
    for each in in_turn(kept, utc_now()):
        try:
            check_generation(target, each, signer=signer, box_id=box_id)
        except ObjectMissing:
            continue  # the listing says so
        except ObjectAltered:
            bad.append(each.number)
    return bad


def _record_listing(
    context: JobContext, row: TargetRow, listing: Listing, altered: Sequence[int]
) -> None:
    good = listing.is_whole and not altered
    now = utc_now()
    with context.database.write() as connection:
        # What is not there is sent again by the next push.
        copies.removed(connection, [each.id for each in listing.lost], now=now)
        proofs.record(
            connection,
            at=now,
            kind=CopyProof.LISTING,
            outcome=Outcome.PROVEN if good else Outcome.FAILED,
            target_id=row.id,
            actor=context.actor,
            figures={
                "objects": listing.objects,
                "bytes": listing.bytes,
                "lost": len(listing.lost),
                "unknown": len(listing.unknown),
                "generations": listing.generations,
                "lost_generations": list(listing.lost_generations),
                "altered_generations": list(altered),
            },
        )


def _record_complete(
    context: JobContext,
    row: TargetRow,
    kept: Sequence[KeptGeneration],
    listing: Listing,
    altered: Sequence[int],
) -> bool:
    """Say whether the newest generation is there whole."""
    if not kept:
        return True
    newest, now = kept[0], utc_now()
    with context.database.write() as connection:
        named = copies.objects_of(connection, row.id, newest.number)
        there = {each.id for each in copies.stored(connection, row.id)}
        absent = len(set(named) - there)
        whole = (
            absent == 0
            and newest.number not in altered
            and newest.number not in listing.lost_generations
        )
        proofs.record(
            connection,
            at=now,
            kind=CopyProof.COMPLETE,
            outcome=Outcome.PROVEN if whole else Outcome.FAILED,
            target_id=row.id,
            actor=context.actor,
            figures={
                "generation": newest.number,
                "taken_at": newest.taken_at.isoformat(),
                "objects": len(named),
                "missing": absent,
            },
        )
    return whole


# --- reading back ----------------------------------------------------------------------------


def _read_back(
    context: JobContext,
    row: TargetRow,
    target: Target,
    rows: Sequence[StoredRow],
    *,
    is_full: bool,
) -> ReadBack:
    total = sum(each.size for each in rows)
    budget = total if is_full else max(LEAST_BYTES, total // NIGHTS_FOR_ALL)
    by_name = {each.name: each for each in rows}
    chosen = [
        by_name[name]
        for name in next_to_read_back(
            [(each.name, each.size, each.read_back_at) for each in rows], budget_bytes=budget
        )
    ]
    wanted = sum(each.size for each in chosen)
    context.report(0, wanted)
    done = 0
    waiting: list[int] = []

    def store() -> None:
        if waiting:
            with context.database.write() as connection:
                copies.read_back(connection, waiting, now=utc_now())
            waiting.clear()

    def on_read(one: StoredRow) -> None:
        nonlocal done
        done += one.size
        waiting.append(one.id)
        if len(waiting) >= 32:
            store()
        context.report(done, wanted)

    def sha256_of(object_id: int) -> str:
        with context.database.read() as connection:
            return copies.sealed_hash(connection, object_id)

    try:
        result = read_back(
            target,
            chosen,
            sha256_of=sha256_of,
            on_read=on_read,
            should_stop=context.should_stop,
            seconds=None if is_full else LONGEST_S,
        )
    finally:
        store()
    context.check()
    _record_read_back(context, row, result)
    return result


def _record_read_back(context: JobContext, row: TargetRow, result: ReadBack) -> None:
    now = utc_now()
    with context.database.write() as connection:
        copies.removed(connection, [each.id for each in result.bad], now=now)
        left = copies.stored(connection, row.id)
        dates = [each.read_back_at for each in left]
        known = [each for each in dates if each is not None]
        since = min(known) if known and len(known) == len(dates) else None
        if result.bad:
            outcome = Outcome.FAILED
        else:
            outcome = Outcome.PROVEN if result.read else Outcome.INCONCLUSIVE
        figures: dict[str, Any] = {
            "objects": len(result.read),
            "bytes": result.bytes,
            "bad": len(result.bad),
            "total_objects": len(left),
            "total_bytes": sum(each.size for each in left),
            "unread": len(dates) - len(known),
            "since": None if since is None else since.isoformat(),
        }
        proofs.record(
            connection,
            at=now,
            kind=CopyProof.READ_BACK,
            outcome=outcome,
            target_id=row.id,
            actor=context.actor,
            figures=figures,
        )


# --- keeping and removing --------------------------------------------------------------------


def _extend(
    context: JobContext,
    row: TargetRow,
    target: Target,
    rows: Sequence[StoredRow],
    kept: Sequence[KeptGeneration],
) -> None:
    """Make the lock longer of what a kept generation still names."""
    place = place_of(row)
    if not isinstance(place, S3Place) or not place.lock_mode or not isinstance(target, S3Target):
        return
    lock = timedelta(days=place.lock_days)
    now = utc_now()
    until, soon = now + lock, now + lock * EXTEND_BELOW
    with context.database.read() as connection:
        named: set[int] = set()
        for each in kept:
            named.update(copies.objects_of(connection, row.id, each.number))
    refused = 0
    ids: list[int] = []
    numbers: list[int] = []
    for one in rows:
        if one.id in named and (one.locked_until or one.put_at + lock) < soon:
            context.check()
            if _extended(target, object_name(one.name), until):
                ids.append(one.id)
            else:
                refused += 1
    for each in kept:
        if (each.locked_until or each.published_at + lock) < soon:
            if _extended(target, manifests.object_name(each.number), until):
                numbers.append(each.number)
            else:
                refused += 1
    with context.database.write() as connection:
        copies.locked(connection, row.id, until=until, ids=ids, numbers=numbers)
    if refused:
        context.note(
            mark("The lock of %(count)s objects could not be made longer."),
            level="warning",
            count=refused,
        )


def _extended(target: S3Target, name: str, until: datetime) -> bool:
    try:
        target.extend_retention(name, until)
    except (TargetRefuses, ObjectMissing):
        return False
    return True


def _collect(context: JobContext, row: TargetRow, target: Target, verified: Verified) -> Collected:
    """Remove what no rule keeps, unless anything at all is in doubt."""
    if row.kind == "box" or not verified.is_good:
        return Collected()  # another box removes nothing for us: its keeper does
    with context.database.read() as connection:
        doubt = _doubt(connection, row)
    if doubt is not None:
        context.note(doubt)
        return Collected()
    context.step("removing")
    place = place_of(row)
    return collect(
        context.database,
        row.id,
        target,
        listing=verified.listing,
        keep=KEEP,
        lock=timedelta(days=place.lock_days) if isinstance(place, S3Place) else timedelta(),
        zone=ZoneInfo(context.settings.time_zone),
        now=utc_now,
        should_stop=context.should_stop,
        actor=context.actor,
    )


def _doubt(connection: Connection, row: TargetRow) -> str | None:
    """Return why nothing may be removed there tonight."""
    if forged.count_open(connection, row.id):
        return mark("Nothing is removed: somebody else wrote there.")
    if any(each.frozen_at is not None for each in sources.all_living(connection)):
        return mark("Nothing is removed: a source is in doubt.")
    last = facts.find(connection, clock_watch.LAST)
    wrong = facts.find(connection, clock_watch.WRONG)
    if wrong or (isinstance(last, str) and utc_now() < datetime.fromisoformat(last) - _TOLERANCE):
        return mark("Nothing is removed: the clock of the box is wrong.")
    return None


_TOLERANCE: Final = timedelta(minutes=5)


def _tamper_when_due(context: JobContext, row: TargetRow) -> None:
    with context.database.read() as connection:
        last = proofs.latest_of_target(connection, row.id, CopyProof.TAMPER)
    if last is None or utc_now() - last.at > TAMPER_EVERY:
        context.enqueue(TamperCopy(row.id))
