"""The proof of a night: a sample comes back out of the repository and is compared byte for byte.

With the source where the file is still the one that was read; with the hash recorded at backup time
otherwise: the catalogue keeps the id of every chunk, a keyed BLAKE2b-256 of its bytes
(docs/decisions/0060). And a count: files the source showed against items in the archive.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from appliance.backup_jobs import borg_library, sftp, workplace
from appliance.backup_jobs.borg_library_items import unpack_chunks
from appliance.backup_jobs.recipe_schema import STREAMS_FOLDER
from appliance.backup_jobs.reconcile import check_vanished
from appliance.backup_jobs.source_files import (
    LocalFiles,
    MachineFiles,
    NoFiles,
    SourceFiles,
    is_still,
    same_bytes,
)
from appliance.backup_jobs.workplace import Workplace
from appliance.catalogue import query
from appliance.catalogue.store import Catalogue
from appliance.clock import utc_now
from appliance.db import snapshots, sources
from appliance.errors import (
    ArmoireError,
    MachineError,
    NotFound,
    ProofFailed,
    RepositoryDamaged,
    SnapshotMissing,
)
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import CheckRepository, Prune, VerifySnapshot
from appliance.language import mark
from appliance.ledger import proofs
from appliance.model import (
    Entry,
    EntryKind,
    JobState,
    Outcome,
    ReadEvent,
    ReadEventKind,
    Snapshot,
    SourceKind,
)
from appliance.policy.retention import FreezeReason
from appliance.policy.sampling import Candidate, Picked, Sample, choose
from appliance.policy.status import ProofKind
from appliance.units import GIB

#: What one proof may restore; more than that is left to the monthly reading of every byte.
BUDGET_BYTES: Final = 4 * GIB
_DUMPS: Final = STREAMS_FOLDER.encode() + b"/"
#: Events that explain why a file the source showed is not in the archive.
_EXPLAIN: Final = (
    ReadEventKind.UNREADABLE,
    ReadEventKind.VANISHED,
    ReadEventKind.CHANGED_WHILE_READ,
    ReadEventKind.NAME_REFUSED,
    ReadEventKind.TOO_LARGE,
    ReadEventKind.LOOP,
    ReadEventKind.OTHER,
)


@dataclass
class _Compared:
    """How the sample went."""

    with_source: int = 0
    with_hash: int = 0
    size_bytes: int = 0
    mismatches: list[bytes] = field(default_factory=list)
    source_unreachable: bool = False
    sorts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Counted:
    """What is in the archive, by its own items."""

    items: int
    files: int  # regular, those included that recipes made
    made: int
    sample: Sample


def run(context: JobContext, spec: VerifySnapshot) -> JobState:
    """Prove a snapshot, then queue the rolling check and pruning.

    Safe to run again: a proof is a new record each time.

    Returns:
        SUCCEEDED when sample and count are right; WARNED when the machine could not be asked, so
        that everything was compared with recorded hashes.

    Raises:
        NotFound: the snapshot was removed meanwhile.
        ProofFailed: bytes differ, or the counts do; pruning is frozen.
        ArchiveVanished, RepositoryMissing, RepositoryLocked, WrongPassphrase …
    """
    place = workplace.workplace(context, spec.source_id)
    with context.database.read() as connection:
        snapshot = snapshots.get(connection, spec.snapshot_id)
        stats = snapshots.stats(connection, spec.snapshot_id)
    if snapshot.source_id != spec.source_id:
        raise NotFound("snapshot", str(spec.snapshot_id))
    started = time.monotonic()
    context.step("proving")
    with place.open() as repository:
        check_vanished(place, repository.archives())
        catalogue = place.catalogue()
        try:
            counted = _count(repository, catalogue, snapshot)
            compared = _compare(place, repository, catalogue, snapshot, counted.sample)
        except (RepositoryDamaged, SnapshotMissing) as error:
            # The archive's own list, or the catalogue's part of it, is not there any more.
            _record_unreadable(place, snapshot, error, time.monotonic() - started)
            context.enqueue(CheckRepository(spec.source_id, full=True))
            raise
    seconds = round(time.monotonic() - started, 3)
    count_is_right = _record(place, snapshot, stats, catalogue, counted, compared, seconds)
    context.result.update(
        snapshot=snapshot.id,
        files=len(counted.sample.chosen),
        bytes=compared.size_bytes,
        compared_with_source=compared.with_source,
        compared_with_hash=compared.with_hash,
        mismatches=len(compared.mismatches),
        seconds=seconds,
    )
    if compared.mismatches or count_is_right is False:
        context.enqueue(CheckRepository(spec.source_id, full=True))  # what else is damaged?
        raise ProofFailed(snapshot.id, len(compared.mismatches))
    context.enqueue(CheckRepository(spec.source_id))
    if place.source.kind is not SourceKind.BOX:  # prunes before its night: ``take_snapshot``
        context.enqueue(Prune(spec.source_id))
    return JobState.WARNED if compared.source_unreachable else JobState.SUCCEEDED


# --- counting and choosing -------------------------------------------------------------------


def _count(
    repository: borg_library.Repository, catalogue: Catalogue, snapshot: Snapshot
) -> _Counted:
    totals = query.totals(catalogue, snapshot.id)
    known = catalogue.known_snapshots()
    previous = next((each for each in known if each < snapshot.id), None)
    changed: set[bytes] = set()
    if previous is not None:
        changed = {
            each.path for each in query.compare(catalogue, previous, snapshot.id) if each.after
        }
    items = files = made = 0

    def candidates() -> Iterator[Candidate]:
        nonlocal items, files, made
        for entry in repository.entries(snapshot.archive_id):
            items += 1
            if entry.kind is EntryKind.FILE:
                is_made = entry.path.startswith(_DUMPS)
                made += is_made
                files += 1
                yield Candidate(
                    entry.path, entry.size, entry.mtime_ns, entry.path in changed, is_made
                )

    sample = choose(candidates(), total=totals.files, budget_bytes=BUDGET_BYTES, seed=snapshot.id)
    return _Counted(items, files, made, sample)


# --- comparing -------------------------------------------------------------------------------


def _compare(
    place: Workplace,
    repository: borg_library.Repository,
    catalogue: Catalogue,
    snapshot: Snapshot,
    sample: Sample,
) -> _Compared:
    context, compared = place.context, _Compared()
    wanted = {candidate.path: picked for candidate, picked in sample.chosen}
    # The chunk ids of the archive itself: a catalogue that is wrong must not prove itself.
    chosen = [entry for entry in repository.entries(snapshot.archive_id) if entry.path in wanted]
    with _source_files(place, snapshot, compared) as files:
        for number, entry in enumerate(chosen, 1):
            context.check()
            compared.sorts[wanted[entry.path].value] += 1
            compared.size_bytes += entry.size
            if not _is_proven(repository, catalogue, snapshot, entry, files, compared):
                compared.mismatches.append(entry.path)
            context.report(compared.size_bytes, sample.bytes, files=number)
    return compared


@contextmanager
def _source_files(
    place: Workplace, snapshot: Snapshot, compared: _Compared
) -> Iterator[SourceFiles]:
    source = place.source
    if source.kind in {SourceKind.SHARE, SourceKind.BOX}:
        yield LocalFiles(snapshot.started_at)
        return
    if source.kind is SourceKind.PUSHED:
        yield NoFiles()  # the box has no way into that machine
        return
    try:
        line = sftp.connect(workplace.endpoint(place))
        client = line.__enter__()
    except MachineError:
        compared.source_unreachable = True
        place.context.note(
            mark("The machine does not answer: the sample is compared with recorded hashes."),
            level="warning",
        )
        yield NoFiles()
        return
    try:
        yield MachineFiles(client, source.system)
    finally:
        line.__exit__(None, None, None)


def _is_proven(
    repository: borg_library.Repository,
    catalogue: Catalogue,
    snapshot: Snapshot,
    entry: Entry,
    files: SourceFiles,
    compared: _Compared,
) -> bool:
    whole_seconds = not isinstance(files, LocalFiles)
    try:
        before = None if compared.source_unreachable else files.state(entry.path)
        if is_still(entry, before, whole_seconds=whole_seconds):
            stored = repository.fetch(identity for identity, _ in unpack_chunks(entry.chunks))
            same = same_bytes(stored, files.read(entry.path))
            if files.state(entry.path) == before:
                compared.with_source += 1
                return same
            # It changed while it was compared: what was recorded decides.
    except OSError:
        pass  # it cannot be read now: what was recorded decides
    except MachineError:
        compared.source_unreachable = True
    except RepositoryDamaged:
        return False
    compared.with_hash += 1
    return _agrees_with_record(repository, catalogue, snapshot, entry)


def _agrees_with_record(
    repository: borg_library.Repository, catalogue: Catalogue, snapshot: Snapshot, entry: Entry
) -> bool:
    """Return whether the bytes that come back are those whose hashes were recorded that night."""
    try:
        recorded = query.entry(catalogue, snapshot.id, entry.path)
    except NotFound:
        return False
    if (recorded.chunks, recorded.size) != (entry.chunks, entry.size):
        return False
    parts = unpack_chunks(entry.chunks)
    try:
        # Each chunk is hashed again as it comes, and refused when it is another than its id says.
        plains = repository.fetch(identity for identity, _ in parts)
        return all(len(plain) == size for plain, (_, size) in zip(plains, parts, strict=True)) and (
            sum(size for _, size in parts) == entry.size
        )
    except RepositoryDamaged:
        return False


# --- recording -------------------------------------------------------------------------------


def _record(
    place: Workplace,
    snapshot: Snapshot,
    stats: dict[str, object],
    catalogue: Catalogue,
    counted: _Counted,
    compared: _Compared,
    seconds: float,
) -> bool | None:
    """Store both proofs; freeze when one failed. Return whether the counts agree, None: unknown."""
    context, now = place.context, utc_now()
    totals = query.totals(catalogue, snapshot.id)
    events = stats.get("events")
    explained = sum(events.get(kind.value, 0) for kind in _EXPLAIN if isinstance(events, dict))
    missing = snapshot.files_seen - counted.files
    listed = totals.files + totals.folders + totals.links + totals.others
    agrees = (
        0 <= missing <= explained and counted.items == snapshot.items and counted.items == listed
    )
    # A night listed after a cut: what its source showed was never recorded.
    count = None if stats.get("recovered") and agrees else agrees
    sample_outcome = Outcome.FAILED if compared.mismatches else Outcome.PROVEN
    count_outcome = {None: Outcome.INCONCLUSIVE, True: Outcome.PROVEN, False: Outcome.FAILED}[count]
    with context.database.write() as connection:
        proofs.record(
            connection,
            at=now,
            kind=ProofKind.SAMPLE.value,
            outcome=sample_outcome,
            figures={
                "files": len(counted.sample.chosen),
                "wanted": counted.sample.wanted,
                "bytes": compared.size_bytes,
                "compared_with_source": compared.with_source,
                "compared_with_hash": compared.with_hash,
                "mismatches": len(compared.mismatches),
                "dumps_left_out": counted.sample.dumps_left_out,
                "files_left_out": counted.sample.files_left_out,
                "source_unreachable": compared.source_unreachable,
                "seconds": seconds,
                **{f"picked_{sort.value}": compared.sorts[sort.value] for sort in Picked},
            },
            source_id=place.source.id,
            snapshot_id=snapshot.id,
            actor=context.actor,
        )
        proofs.record(
            connection,
            at=now,
            kind=ProofKind.COUNT.value,
            outcome=count_outcome,
            figures={
                "files_seen": snapshot.files_seen,
                "files_in_archive": counted.files,
                "files_made": counted.made,
                "items": counted.items,
                "items_catalogued": listed,
                "explained": explained,
            },
            source_id=place.source.id,
            snapshot_id=snapshot.id,
            actor=context.actor,
        )
        if Outcome.FAILED in {sample_outcome, count_outcome}:
            sources.freeze(connection, place.source.id, FreezeReason.PROOF_FAILED.value, now=now)
            snapshots.add_events(
                connection,
                snapshot.id,
                [
                    ReadEvent(
                        ReadEventKind.DAMAGED, place.told(path), "it did not come back as it was"
                    )
                    for path in compared.mismatches
                ],
            )
    return count


def _record_unreadable(
    place: Workplace, snapshot: Snapshot, error: ArmoireError, seconds: float
) -> None:
    with place.context.database.write() as connection:
        proofs.record(
            connection,
            at=utc_now(),
            kind=ProofKind.SAMPLE.value,
            outcome=Outcome.FAILED,
            figures={"files": 0, "bytes": 0, "error": error.code, "seconds": round(seconds, 3)},
            source_id=place.source.id,
            snapshot_id=snapshot.id,
            actor=place.context.actor,
        )
        sources.freeze(connection, place.source.id, FreezeReason.PROOF_FAILED.value, now=utc_now())
