"""The job that takes over what was carried to a target by disk: verified, counted, then written into our record.

The box cannot open a generation (it seals to the kit), so what lies there is compared with what this box
recorded when it sent the same generation to the disk: the generation's own hash, each object's size, and a
part of the objects read whole. The next push then sends only what is new.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, select, update

from appliance.clock import utc_now
from appliance.db import copies, facts, targets
from appliance.db.copies import GenerationRow
from appliance.db.schema import copy_object, generation
from appliance.db.targets import TargetId, TargetRow
from appliance.errors import (
    NotInitialised,
    ObjectAltered,
    ObjectMissing,
    TargetIdentityChanged,
)
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import AdoptCopy, VerifyCopy
from appliance.language import mark
from appliance.ledger import events, proofs
from appliance.model import JobState, Outcome
from appliance.replication import fetch, kit, takeover
from appliance.replication.open_target import open_target
from appliance.replication.push import object_name
from appliance.replication.target import Target
from appliance.replication.tools import Tools
from appliance.units import MIB

ADOPTED: Final = "copy.adopted"
#: Read whole during the adoption, drawn at random; the nights read the rest (rolling).
SAMPLE_OBJECTS: Final = 64
SAMPLE_BYTES: Final = 512 * MIB


@dataclass(frozen=True, slots=True)
class Known:
    """An object as this box recorded it when it sent it somewhere."""

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


@dataclass(frozen=True, slots=True)
class Match:
    """A generation found there, and our own record of the same one, sent elsewhere."""

    row: GenerationRow
    objects: tuple[Known, ...]


@dataclass(slots=True)
class Count:
    """What was found."""

    generations: int = 0
    unknown_generations: int = 0
    objects: int = 0
    bytes: int = 0
    missing: int = 0
    wrong_size: int = 0
    read_back: int = 0
    altered: int = 0

    @property
    def is_whole(self) -> bool:
        """Nothing is missing and nothing that was read was altered."""
        return not (self.missing or self.wrong_size or self.altered)


def run(context: JobContext, spec: AdoptCopy, tools: Tools) -> JobState:  # noqa: ARG001
    """Verify and count what lies there, record it, and queue its verification.

    Safe to run again: what is recorded already stays.

    Returns:
        WARNED when something is missing or altered; the next push sends that again.

    Raises:
        NotFound: the target was removed.
        ObjectMissing: there is no generation of this box there.
        TargetIdentityChanged: another box took over, or one with our identity published there.
        Any TargetError.
    """
    with context.database.read() as connection:
        row = targets.get(connection, TargetId(spec.target_id))
        opener = open_target(connection, row, context.settings, now=utc_now)
    target = opener()
    try:
        context.step("listing")
        matches, unknown = _generations(context, row, target)
        there = {info.name: info.size for info in target.list("objects/")}
        count = Count(generations=len(matches), unknown_generations=unknown)
        wanted = {each.name: each for match in matches for each in match.objects}
        context.step("comparing")
        lost = _compare(wanted.values(), there, count)
        context.step("reading")
        read, altered = _sample(context, target, [wanted[n] for n in sorted(set(wanted) - lost)])
        count.read_back, count.altered = len(read), len(altered)
    finally:
        target.close()
    _write(context, row, matches, lost | altered, read, count)
    context.enqueue(VerifyCopy(row.id))
    context.note(
        mark("%(generations)s generations, %(objects)s objects, %(gigabytes)s GB found there."),
        generations=count.generations,
        objects=count.objects,
        gigabytes=round(count.bytes / 1e9, 2),
    )
    if unknown:
        context.note(
            mark("%(count)s older generations are signed by this box but not in its record."),
            count=unknown,
        )
    if not count.is_whole:
        context.note(
            mark("%(missing)s objects are missing and %(altered)s altered: they are sent again."),
            level="warning",
            missing=count.missing,
            altered=count.altered + count.wrong_size,
        )
        return JobState.WARNED
    return JobState.SUCCEEDED


# --- what lies there -------------------------------------------------------------------------


def _generations(context: JobContext, row: TargetRow, target: Target) -> tuple[list[Match], int]:
    """Return the generations there that this box knows, oldest first, and how many it does not know."""
    with context.database.read() as connection:
        box_id = facts.find(connection, "box.id")
        instance = facts.find(connection, takeover.INSTANCE)
        signer = kit.signing_key(connection, context.settings.keys).public_key()
    if not isinstance(box_id, str):
        raise NotInitialised(str(context.settings.data))
    takeover.check_takeover(
        target, instance if isinstance(instance, str) else None, box_id=box_id, signer=signer
    )
    survey = fetch.survey(target, signer=signer, box_id=box_id)
    altered = [fault for fault in survey.faults if fault.reason == "altered"]
    if altered:
        raise ObjectAltered(
            target.label,
            f"generations/{altered[0].number:010d}",
            "its signature is not of this box",
        )
    matches: list[Match] = []
    unknown: list[int] = []
    with context.database.read() as connection:
        for found in sorted(survey.generations, key=lambda each: each.header.number):
            match = _match(connection, row.id, found.sha256)
            if match is None:
                unknown.append(found.header.number)
            else:
                matches.append(match)
    if not matches:
        if unknown:
            raise TargetIdentityChanged(
                target.label, "what this box sent", "generations it has no record of"
            )
        raise ObjectMissing(target.label, "generations/")
    newest = matches[-1].row.number
    if any(number > newest for number in unknown):
        raise TargetIdentityChanged(
            target.label, f"generation {newest}", "a later one of another box with this identity"
        )
    return matches, len(unknown)


def _match(connection: Connection, target_id: TargetId, sha256: str) -> Match | None:
    """Return our record of the generation with this hash: of this target when there is one, else of any.

    Targets that were removed count: the disk's own may be gone from the list by now.
    """
    rows = connection.execute(
        select(generation.c.target_id, generation.c.number)
        .where(generation.c.sha256 == sha256)
        .order_by((generation.c.target_id != target_id), generation.c.id)
    ).all()
    for found in rows:
        kept = [
            each
            for each in copies.generations(connection, TargetId(found.target_id))
            if each.sha256 == sha256
        ]
        if kept:
            return Match(kept[0], tuple(_objects(connection, kept[0].objects)))
    return None


def _objects(connection: Connection, ids: Sequence[int]) -> Iterator[Known]:
    for start in range(0, len(ids), 500):
        query = select(copy_object).where(copy_object.c.id.in_(ids[start : start + 500]))
        for row in connection.execute(query):
            yield Known(
                id=row.id,
                name=row.name,
                repository=row.repository,
                path=row.path,
                plain_size=row.plain_size,
                plain_mtime_ns=row.plain_mtime_ns,
                plain_sha256=row.plain_sha256,
                sealed_size=row.sealed_size,
                sealed_sha256=row.sealed_sha256,
                sealed_at=row.sealed_at,
            )


def _compare(wanted: Iterable[Known], there: dict[str, int], count: Count) -> set[str]:
    """Count, and return the names of the objects that are not there with their size."""
    lost = set()
    for each in wanted:
        size = there.get(object_name(each.name))
        if size == each.sealed_size:
            count.objects += 1
            count.bytes += size
            continue
        lost.add(each.name)
        if size is None:
            count.missing += 1
        else:
            count.wrong_size += 1
    return lost


def _sample(
    context: JobContext, target: Target, present: Sequence[Known]
) -> tuple[set[str], set[str]]:
    """Read some objects whole; return the names that were right, and those that were not."""
    drawn: list[Known] = []
    for each in random.SystemRandom().sample(present, min(len(present), SAMPLE_OBJECTS)):
        if not drawn or sum(one.sealed_size for one in drawn) + each.sealed_size <= SAMPLE_BYTES:
            drawn.append(each)
    right, wrong = set(), set()
    total = sum(each.sealed_size for each in drawn)
    done = 0
    for each in drawn:
        context.check()
        try:
            fetch.verify_sealed(
                target,
                object_name(each.name),
                sha256=each.sealed_sha256,
                size=each.sealed_size,
            )
            right.add(each.name)
        except (ObjectAltered, ObjectMissing):
            wrong.add(each.name)
        done += each.sealed_size
        context.report(done, total)
    return right, wrong


# --- our record ------------------------------------------------------------------------------


def _write(
    context: JobContext,
    row: TargetRow,
    matches: Sequence[Match],
    lost: set[str],
    read: set[str],
    count: Count,
) -> None:
    now = utc_now()
    with context.database.write() as connection:
        known = _known_here(connection, row.id)
        for match in matches:
            ids = [_adopt(connection, row.id, each, known, lost, now) for each in match.objects]
            _record(connection, row.id, replace(match.row, objects=tuple(ids)), now)
        copies.read_back(connection, [known[name] for name in read], now=now)
        copies.removed(connection, [known[name] for name in lost if name in known], now=now)
        figures: dict[str, Any] = {
            "generations": count.generations,
            "objects": count.objects,
            "bytes": count.bytes,
            "missing": count.missing,
            "wrong_size": count.wrong_size,
            "read_back": count.read_back,
            "altered": count.altered,
        }
        proofs.record(
            connection,
            at=now,
            kind=ADOPTED,
            outcome=Outcome.PROVEN if count.is_whole else Outcome.FAILED,
            figures=figures,
            target_id=row.id,
            actor=context.actor,
        )
        events.record(
            connection, at=now, event="target.adopted", subject=f"target:{row.id}",
            actor=context.actor, **figures,
        )  # fmt: skip
    context.result.update(figures)


def _known_here(connection: Connection, target_id: TargetId) -> dict[str, int]:
    rows = connection.execute(
        select(copy_object.c.name, copy_object.c.id).where(copy_object.c.target_id == target_id)
    )
    return {str(row.name): int(row.id) for row in rows}


def _adopt(
    connection: Connection,
    target_id: TargetId,
    one: Known,
    known: dict[str, int],
    lost: set[str],
    now: datetime,
) -> int:
    """Return this target's own row for an object; a lost one is recorded as removed, so it is sent again."""
    identity = known.get(one.name)
    if identity is not None:
        if one.name not in lost:
            connection.execute(
                update(copy_object)
                .where(copy_object.c.id == identity)
                .values(put_at=now, removed_at=None)
            )
        return identity
    identity = copies.sealed(
        connection,
        target_id,
        name=one.name,
        repository=one.repository,
        path=one.path,
        plain_size=one.plain_size,
        plain_mtime_ns=one.plain_mtime_ns,
        plain_sha256=one.plain_sha256,
        sealed_size=one.sealed_size,
        sealed_sha256=one.sealed_sha256,
        now=one.sealed_at,
    )
    known[one.name] = identity
    copies.put(connection, [identity], now=now)
    return identity


def _record(connection: Connection, target_id: TargetId, row: GenerationRow, now: datetime) -> None:
    before = connection.execute(
        select(generation.c.id, generation.c.sha256, generation.c.published_at).where(
            generation.c.target_id == target_id, generation.c.number == row.number
        )
    ).first()
    if before is not None and before.sha256 == row.sha256:
        if before.published_at is None:
            copies.published(connection, target_id, row.number, now=now)
        return
    if before is not None:
        # Another state was about to be published here under this number; the one that lies there counts.
        connection.execute(delete(generation).where(generation.c.id == before.id))
    copies.intend(
        connection,
        target_id,
        number=row.number,
        taken_at=row.taken_at,
        sha256=row.sha256,
        previous=row.previous,
        objects=row.objects,
        plain_bytes=row.plain_bytes,
        new_bytes=0,
    )
    copies.published(connection, target_id, row.number, now=now)
