"""Re-reading what is stored: a slice of the segments after every night, every byte once a month.

What Borg finds is not only counted: the chunks that do not come back are looked up in the catalogue,
so that a person reads which files of which snapshots are damaged.
"""

import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from appliance.backup_jobs import borg, damage, workplace
from appliance.backup_jobs.borg import BorgRun
from appliance.backup_jobs.borg_events import BorgEvent, LogMessage, Percent
from appliance.backup_jobs.borg_library_damage import chunks_in_segments, unreadable
from appliance.backup_jobs.damage import Damage
from appliance.backup_jobs.workplace import Workplace
from appliance.clock import utc_now
from appliance.db import copies, repositories, targets
from appliance.errors import RepositoryDamaged
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import CheckRepository
from appliance.language import mark
from appliance.ledger import proofs
from appliance.model import JobState, Outcome
from appliance.policy.status import ProofKind

#: Segments named in a proof, for ``armoire repository mend``.
SEGMENTS_NAMED: Final = 1_000
_FOUND: Final = frozenset({borg.EXIT_WARNING})
_SEGMENT: Final = re.compile(r"segment (\d+)")
_CHUNK: Final = re.compile(r"\bchunk ([0-9a-f]{64})\b", re.IGNORECASE)
_SLICE_ENDED: Final = re.compile(r"last segment checked is (\d+)")
_VERIFIED: Final = re.compile(r"verified (\d+) chunks")


@dataclass(frozen=True, slots=True)
class Found:
    """What Borg said about damage."""

    is_damaged: bool
    segments: frozenset[int]
    chunks: frozenset[bytes]


def found_in(run: BorgRun) -> Found:
    """Return the segments and chunks that Borg's messages name."""
    segments: set[int] = set()
    chunks: set[bytes] = set()
    for message in run.messages:
        chunks.update(bytes.fromhex(each) for each in _CHUNK.findall(message.message))
        segments.update(int(each) for each in _SEGMENT.findall(message.message))
    return Found(run.exit_code in _FOUND, frozenset(segments), frozenset(chunks))


def run(context: JobContext, spec: CheckRepository) -> JobState:
    """Re-read a slice of a repository, or all of it when ``spec.full`` or when its month is over.

    Safe to run again: Borg remembers where the last slice ended.

    Returns:
        SUCCEEDED: what was read is what was written.

    Raises:
        RepositoryDamaged: it is not; what is affected is recorded, pruning is frozen.
        RepositoryMissing, RepositoryLocked, WrongPassphrase, JobCancelled …
    """
    place = workplace.workplace(context, spec.source_id)
    with place.open():
        pass  # present, the right one, and its passphrase opens it: said in our own words
    if spec.full or is_due(place, utc_now()):
        _read_all(place)
    else:
        _read_slice(place)
    return JobState.SUCCEEDED


def is_due(place: Workplace, now: datetime) -> bool:
    """Return whether every byte has to be read again by now."""
    limit = timedelta(days=place.source.plan.verify_data_every_days)
    return now - (place.repository.all_read_since or place.repository.created_at) >= limit


# --- a slice ---------------------------------------------------------------------------------


def _read_slice(place: Workplace) -> None:
    context, started = place.context, time.monotonic()
    context.step("checking")
    last: list[int] = []

    def on_event(event: BorgEvent) -> None:
        _report(context, event)
        if isinstance(event, LogMessage) and (ended := _SLICE_ENDED.search(event.message)):
            last.append(int(ended[1]))

    argv = borg.check_segments(place.path, max_seconds=context.settings.check_seconds)
    run = place.borg().call(argv, on_event=on_event, accept=_FOUND)
    figures: dict[str, object] = {
        "seconds": round(time.monotonic() - started, 3),
        "to_the_end": not last,  # the next slice begins at the first segment again
        "segment": last[-1] if last else None,
    }
    _conclude(place, ProofKind.CHECK, found_in(run), figures)


# --- everything ------------------------------------------------------------------------------


def _read_all(place: Workplace) -> None:
    context, started = place.context, time.monotonic()
    began_at = utc_now()
    verified: list[int] = []

    def on_event(event: BorgEvent) -> None:
        _report(context, event)
        if isinstance(event, LogMessage) and (counted := _VERIFIED.search(event.message)):
            verified.append(int(counted[1]))

    context.step("checking")
    segments = place.borg().call(borg.check_segments(place.path), on_event=on_event, accept=_FOUND)
    _conclude(
        place,
        ProofKind.CHECK,
        found_in(segments),
        {"seconds": round(time.monotonic() - started, 3), "to_the_end": True, "segment": None},
    )
    context.step("checking")
    data = place.borg().call(borg.check_data(place.path), on_event=on_event, accept=_FOUND)
    figures: dict[str, object] = {
        "seconds": round(time.monotonic() - started, 3),
        "bytes": workplace.size_on_disk(place.path),
        "chunks": sum(verified),
    }
    _conclude(place, ProofKind.DATA, found_in(data), figures, all_read_since=began_at)


# --- what it means -----------------------------------------------------------------------------


def _conclude(
    place: Workplace,
    kind: ProofKind,
    found: Found,
    figures: dict[str, object],
    *,
    all_read_since: datetime | None = None,
) -> None:
    """Record the proof; when there is damage, name it, freeze, and raise."""
    context, now = place.context, utc_now()
    affected = _name(place, found) if found.is_damaged else None
    with context.database.write() as connection:
        if affected is not None:
            figures = {
                **figures,
                "damaged_chunks": affected.chunks,
                "damaged_files": affected.paths,
                "damaged_snapshots": list(affected.snapshots),
                "segments": sorted(found.segments)[:SEGMENTS_NAMED],
            }
            damage.record(connection, place, affected)
        proofs.record(
            connection,
            at=now,
            kind=kind.value,
            outcome=Outcome.FAILED if found.is_damaged else Outcome.PROVEN,
            figures=figures,
            source_id=place.source.id,
            actor=context.actor,
        )
        if affected is None:
            changes: dict[str, object] = {"checked_at": now}
            if all_read_since is not None:
                changes["all_read_since"] = all_read_since
            repositories.change(connection, place.source.id, **changes)
    context.result.update(figures)
    if affected is not None:
        context.note(
            mark(
                "Stored bytes were altered: %(files)s files in %(snapshots)s snapshots are damaged."
                " Each is named in the events of its snapshot."
            ),
            level="error",
            files=affected.paths,
            snapshots=len(affected.snapshots),
        )
        if _lies_elsewhere(context):
            context.note(
                mark(
                    "A copy may have what was lost: «armoire repository mend %(name)s» fetches it back."
                    " It asks for the words of the recovery sheets."
                ),
                level="warning",
                name=place.source.name,
            )
        raise RepositoryDamaged(
            str(place.path), f"{affected.paths} files in {len(affected.snapshots)} snapshots"
        )


def _lies_elsewhere(context: JobContext) -> bool:
    with context.database.read() as connection:
        return any(
            copies.newest_published(connection, row.id) is not None
            for row in targets.all_living(connection)
        )


def _name(place: Workplace, found: Found) -> Damage:
    with place.open() as repository:
        suspects = {*found.chunks, *chunks_in_segments(repository, found.segments)}
        # A flipped bit hides the rest of its segment from Borg's check, not from the index.
        return damage.assess(place, repository, unreadable(repository, sorted(suspects)))


def _report(context: JobContext, event: BorgEvent) -> None:
    if isinstance(event, Percent) and not event.finished:
        context.report(event.current, event.total, "items")
