"""Bringing files back: to a folder of the box, to a share, or to the machine they came from.

Every block is checked against its id as it comes out of the repository, before it is written. What
was restored is on a sheet (domain.md SAV-16), also when the job was cut by an error half-way.
"""

import errno
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, select

from appliance.backup_jobs import borg_library, workplace
from appliance.backup_jobs.borg_library_attributes import FullItem, full_items
from appliance.backup_jobs.borg_library_items import unpack_chunks
from appliance.backup_jobs.restore_places import (
    AlreadyThere,
    CannotPlace,
    Parts,
    Place,
    safe_parts,
)
from appliance.backup_jobs.restore_targets import Wish, is_inside, name_all, open_target
from appliance.clock import utc_now
from appliance.db import restore_sheets, snapshots
from appliance.db.schema import person
from appliance.errors import (
    InvalidInput,
    NoSpace,
    NotFound,
    NothingRestored,
    RepositoryDamaged,
    SnapshotMissing,
)
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import RestoreFiles
from appliance.language import mark
from appliance.ledger import events
from appliance.model import (
    EntryKind,
    JobState,
    Outcome,
    RestoreSheet,
    Snapshot,
    SourceKind,
)
from appliance.packed import pack_path, unpack_path

#: Failures named on the sheet; the count is whole.
FAILURES_KEPT: Final = 200


@dataclass
class _Done:
    """What came back."""

    files: int = 0
    folders: int = 0
    links: int = 0
    size_bytes: int = 0
    found: int = 0  # items of the snapshot that were asked for
    failures: list[tuple[bytes, str]] = field(default_factory=list)
    failed: int = 0
    damaged: int = 0  # whose bytes did not come back right: nothing of them was written
    skipped: Counter[str] = field(default_factory=Counter)

    def fail(self, path: bytes, reason: str) -> None:
        self.failed += 1
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append((path, reason))

    @property
    def outcome(self) -> Outcome:
        """PROVEN only when all that was asked for is there, and every byte was right."""
        if self.damaged:
            return Outcome.FAILED
        return Outcome.INCONCLUSIVE if self.failed else Outcome.PROVEN


def run(context: JobContext, spec: RestoreFiles) -> JobState:
    """Restore what was asked for and leave a sheet.

    Not started again by itself after a crash: a person looks at what is there and decides.

    Returns:
        SUCCEEDED when everything came back; WARNED when some files could not be put in their place.

    Raises:
        NotFound: the snapshot, or a path in it, is not there.
        InvalidInput: the destination cannot be used, or is another machine (domain.md SAV-20).
        WouldOverwrite: something of that name is in the chosen folder; nothing was written.
        NothingRestored: not one of them could be restored; the sheet says why.
        MachineError, BackupError, NoSpace, JobCancelled: the sheet says what was done until then.
    """
    place = workplace.workplace(context, spec.source_id)
    if place.source.kind is SourceKind.BOX:
        raise NotFound("file", "box")  # password hashes, sealed secrets: nobody's to open
    with context.database.read() as connection:
        snapshot = snapshots.get(connection, spec.snapshot_id)
    if snapshot.source_id != spec.source_id:
        raise NotFound("snapshot", str(spec.snapshot_id))
    paths = [unpack_path(each) for each in spec.paths]
    if not paths:
        raise InvalidInput("paths", mark("Nothing was chosen."))
    done, started = _Done(), time.monotonic()
    context.step("restoring")
    try:
        with ExitStack() as stack:
            repository = stack.enter_context(place.open())
            if snapshot.archive_id not in {each.id for each in repository.archives()}:
                raise SnapshotMissing(snapshot.id)
            target = stack.enter_context(open_target(place, spec))
            wishes = name_all(place, spec, snapshot, paths, target)
            _restore(context, repository, snapshot, wishes, target.place, done)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoSpace(spec.destination, 0, 0) from error
        raise
    finally:
        _leave_sheet(context, spec, snapshot, done, time.monotonic() - started)
    if done.found == 0:
        raise NotFound("file", paths[0].decode("utf-8", "replace"))
    if not (done.files or done.folders or done.links) and (done.failed or done.damaged):
        raise NothingRestored(done.failed)
    return JobState.WARNED if done.failed else JobState.SUCCEEDED


# --- doing it ----------------------------------------------------------------------------------


def _restore(
    context: JobContext,
    repository: borg_library.Repository,
    snapshot: Snapshot,
    wishes: Sequence[Wish],
    place: Place,
    done: _Done,
) -> None:
    folders: list[tuple[Parts, FullItem]] = []
    for item in full_items(repository, snapshot.archive_id):
        for wish in wishes:
            if is_inside(item.entry.path, wish.path):
                context.check()
                done.found += 1
                _one(repository, item, wish, place, done, folders)
        context.report(done.size_bytes, None, files=done.files)
    # Deepest first, and only now: writing into a folder changes its time.
    for parts, item in sorted(folders, key=lambda each: -len(each[0])):
        try:
            place.finish_folder(parts, item)
        except (CannotPlace, OSError):
            done.fail(item.entry.path, "its rights and times could not be set")
    place.settle()


def _one(
    repository: borg_library.Repository,
    item: FullItem,
    wish: Wish,
    place: Place,
    done: _Done,
    folders: list[tuple[Parts, FullItem]],
) -> None:
    entry = item.entry
    try:
        below = entry.path[len(wish.path) :].lstrip(b"/")
        parts = (*wish.top, *safe_parts(below))
        match entry.kind:
            case EntryKind.FOLDER:
                place.make_folder(parts)
                folders.append((parts, item))
                done.folders += 1
            case EntryKind.LINK:
                place.link(parts, entry.target or b"")
                done.links += 1
            case EntryKind.FILE:
                identities = [identity for identity, _ in unpack_chunks(entry.chunks)]
                place.write(parts, item, _whole(repository.fetch(identities), entry.size))
                done.files += 1
                done.size_bytes += entry.size
            case EntryKind.OTHER:
                done.skipped["special"] += 1
    except AlreadyThere as error:
        done.fail(entry.path, str(error))
    except CannotPlace as error:
        done.fail(entry.path, str(error))
    except RepositoryDamaged:
        done.damaged += 1
        done.fail(entry.path, "its stored bytes were altered")


def _whole(blocks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the blocks, and fail at the end when they are not as many bytes as the item says."""
    written = 0
    for block in blocks:
        written += len(block)
        yield block
    if written != size:
        raise RepositoryDamaged("", "an item has another size than its content")


# --- the sheet ---------------------------------------------------------------------------------


def _leave_sheet(
    context: JobContext, spec: RestoreFiles, snapshot: Snapshot, done: _Done, seconds: float
) -> None:
    now = utc_now()
    figures: dict[str, object] = {
        "folders": done.folders,
        "links": done.links,
        "failed": done.failed,
        "damaged": done.damaged,
        "skipped": dict(done.skipped),
        "seconds": round(seconds, 3),
        # For the person's page; base64, never in a log.
        "failures": [{"path": pack_path(path), "reason": why} for path, why in done.failures],
    }
    with context.database.write() as connection:
        operator = _operator(connection, context)
        sheet = RestoreSheet(
            id=0,
            job_id=context.job.id,
            source_id=snapshot.source_id,
            snapshot_id=snapshot.id,
            operator=operator,
            requested_by=spec.requested_by or operator,
            files=done.files,
            bytes=done.size_bytes,
            snapshot_at=snapshot.started_at,
            restored_at=now,
            destination=spec.destination,
            check=done.outcome if done.found else Outcome.INCONCLUSIVE,
            figures=figures,
        )
        number = restore_sheets.add(connection, sheet, paths=list(spec.paths))
        events.record(
            connection,
            at=now,
            event="files.restored",
            subject=f"snapshot:{snapshot.id}",
            person_id=context.job.person_id,
            actor=context.actor,
            sheet=number,
            files=done.files,
            bytes=done.size_bytes,
            failed=done.failed,
            destination=spec.destination,
            check=sheet.check.value,
        )
    context.result.update(sheet=number, files=done.files, bytes=done.size_bytes, failed=done.failed)
    if done.failed:
        context.note(
            mark("%(count)s files could not be restored; the restore sheet says which."),
            level="warning",
            count=done.failed,
        )


def _operator(connection: Connection, context: JobContext) -> str:
    name = None
    if context.job.person_id is not None:
        query = select(person.c.name).where(person.c.id == context.job.person_id)
        name = connection.execute(query).scalar()
    return name or "box"
