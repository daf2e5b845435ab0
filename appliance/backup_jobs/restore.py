"""Bringing files back: to a folder of the box, to a share, or to the machine they came from.

Every block is checked against its id as it comes out of the repository, before it is written. What
was restored is on a sheet (domain.md SAV-16), also when the job was cut by an error half-way.
"""

import errno
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from appliance.backup_jobs import borg_library, sftp, workplace
from appliance.backup_jobs.borg_library_attributes import FullItem, full_items
from appliance.backup_jobs.borg_library_items import unpack_chunks
from appliance.backup_jobs.recipe_schema import STREAMS_FOLDER
from appliance.backup_jobs.restore_places import (
    AlreadyThere,
    CannotPlace,
    LocalPlace,
    MachinePlace,
    Parts,
    Place,
    safe_parts,
)
from appliance.backup_jobs.sources.roots import root_paths
from appliance.backup_jobs.workplace import Workplace
from appliance.clock import utc_now
from appliance.db import restore_sheets, snapshots, sources
from appliance.db.schema import person
from appliance.errors import (
    InvalidInput,
    NoSpace,
    NotFound,
    NothingRestored,
    RepositoryDamaged,
    RootUnreadable,
    SnapshotMissing,
    WouldOverwrite,
)
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import RestoreFiles, pack_path, unpack_path
from appliance.language import mark
from appliance.ledger import events
from appliance.model import (
    EntryKind,
    JobState,
    Outcome,
    RestoreSheet,
    Snapshot,
    Source,
    SourceKind,
    System,
)

#: Failures named on the sheet; the count is whole.
FAILURES_KEPT: Final = 200
_STREAMS: Final = STREAMS_FOLDER.encode()


@dataclass(frozen=True, slots=True)
class _Wish:
    """One path asked for, and where it goes."""

    path: bytes  # as stored; b"": the whole snapshot
    top: Parts  # what it becomes, below the base of the place


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
            target = stack.enter_context(_target(place, spec))
            wishes = _wishes(place, spec, snapshot, paths, target)
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


# --- where it goes ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Target:
    """A place, and what is known about paths in it."""

    place: Place
    #: Stored path of the folder the base stands for, when files go back to where they came from.
    original: bytes | None = None


@contextmanager
def _target(place: Workplace, spec: RestoreFiles) -> Iterator[_Target]:
    source = place.source
    chosen = unpack_path(spec.place) if spec.place else b""
    match spec.destination:
        case "folder":
            base = _folder_of_the_box(place.context, chosen)
            keep = source.kind is SourceKind.SHARE
            yield _Target(LocalPlace(base, replace=spec.replace, keep_owner=keep))
        case "share":
            yield _in_share(place, spec, chosen)
        case "machine" if source.kind is SourceKind.SHARE:
            yield _in_share(place, spec, chosen)
        case "machine" if source.kind is SourceKind.PULLED:
            with sftp.connect(workplace.endpoint(place)) as client:
                yield _on_machine(source, client, spec, chosen)
        case "machine":
            raise InvalidInput(
                "destination",
                mark("The box has no way into a machine that sends its snapshots by itself."),
            )
        case _:
            raise InvalidInput("destination", mark("One of: folder, share, machine."))


def _folder_of_the_box(context: JobContext, chosen: bytes) -> Path:
    folder = Path(os.fsdecode(chosen))
    if not folder.is_absolute():
        raise InvalidInput("place", mark("a whole path of a folder of the box."))
    real = folder.resolve()
    settings = context.settings
    for ours in (
        settings.repositories,
        settings.catalogues,
        settings.keys,
        settings.borg_home,
        settings.run,
        settings.tls,
    ):
        if real == settings.data.resolve() or real.is_relative_to(ours.resolve()):
            raise InvalidInput("place", mark("The box keeps its own files there."))
    try:
        real.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput("place", mark("This folder cannot be made or written.")) from error
    return real


def _in_share(place: Workplace, spec: RestoreFiles, chosen: bytes) -> _Target:
    with place.context.database.read() as connection:
        share = (
            place.source
            if spec.share_id is None
            else sources.get(connection, type(place.source.id)(spec.share_id))
        )
    if share.kind is not SourceKind.SHARE:
        raise InvalidInput("share_id", mark("This is not a share of the box."))
    root = Path(share.roots[0])
    if not root.is_dir():
        raise RootUnreadable("it is not there", str(root))
    is_same = share.id == place.source.id
    if not chosen and is_same:
        stored = root_paths(share.roots[0], System.LINUX)[1]
        return _Target(LocalPlace(root, replace=spec.replace, keep_owner=True), original=stored)
    base = (
        (root / os.fsdecode(chosen.lstrip(b"/")))
        if not _is_below(chosen, root)
        else Path(os.fsdecode(chosen))
    )
    if not base.resolve().is_relative_to(root.resolve()) or not base.is_dir():
        raise InvalidInput("place", mark("This folder is not in the share."))
    return _Target(LocalPlace(base.resolve(), replace=spec.replace, keep_owner=is_same))


def _is_below(chosen: bytes, root: Path) -> bool:
    path = Path(os.fsdecode(chosen))
    return path.is_absolute() and path.is_relative_to(root)


def _on_machine(
    source: Source, client: sftp.SftpClient, spec: RestoreFiles, chosen: bytes
) -> _Target:
    if chosen:
        base = root_paths(chosen.decode("utf-8", "surrogateescape"), source.system)[0]
        return _Target(MachinePlace(client, base, source.system, replace=spec.replace))
    wanted = unpack_path(spec.paths[0])
    for root in source.roots:
        remote, stored = root_paths(root, source.system)
        if _is_inside(wanted, stored):
            place = MachinePlace(client, remote, source.system, replace=spec.replace)
            return _Target(place, original=stored)
    raise InvalidInput(
        "destination",
        mark("This was not in a folder of the machine that is backed up: choose a folder."),
    )


def _is_inside(path: bytes, folder: bytes) -> bool:
    return not folder or path == folder or path.startswith(folder + b"/")


# --- what becomes of each path -----------------------------------------------------------------


def _wishes(
    place: Workplace,
    spec: RestoreFiles,
    snapshot: Snapshot,
    paths: Sequence[bytes],
    target: _Target,
) -> list[_Wish]:
    """Return where each path goes; nothing was written yet.

    Raises:
        WouldOverwrite: something has its name in a chosen folder of the box.
        InvalidInput: a path cannot go back to where it was.
    """
    day = f"{snapshot.started_at.astimezone(ZoneInfo(place.context.settings.time_zone)):%Y-%m-%d}"
    wishes: list[_Wish] = []
    taken: set[Parts] = set()
    for path in paths:
        try:
            top = _top(place.source, path, target, day)
            is_there = bool(top) and target.place.exists(top)
        except CannotPlace as error:
            raise InvalidInput("paths", mark("This name cannot be restored.")) from error
        if not top and not spec.replace:
            # A whole root goes into a folder of its own inside it, never through what is there.
            name = (target.original or b"").rpartition(b"/")[2] or place.source.name.encode()
            top = _beside((name,), day, target.place, taken)
        elif top in taken or (not spec.replace and is_there):
            if spec.destination == "folder" and top not in taken:
                raise WouldOverwrite(1, top[-1].decode("utf-8", "replace"))
            top = _beside(top, day, target.place, taken)
        taken.add(top)
        wishes.append(_Wish(path, top))
    return wishes


def _top(source: Source, path: bytes, target: _Target, day: str) -> Parts:
    if target.original is not None:
        if path.split(b"/", 1)[0] == _STREAMS:
            raise InvalidInput(
                "paths",
                mark("A file made by a recipe was never on the machine: restore it to a folder."),
            )
        if not path or not _is_inside(path, target.original):
            raise InvalidInput("paths", mark("All of one restore come from one folder."))
        return safe_parts(path[len(target.original) :].lstrip(b"/"))
    if not path:
        return (f"{source.name} {day}".encode(),)
    return safe_parts(path)[-1:]


def _beside(top: Parts, day: str, place: Place, taken: set[Parts]) -> Parts:
    """Return «name (restauré 2026-03-12).pdf», numbered when that is there too."""
    stem, dot, ending = top[-1].rpartition(b".")
    if not stem or len(ending) > 12:
        stem, dot, ending = top[-1], b"", b""
    for number in range(1, 1000):
        more = "" if number == 1 else f", {number}"
        name = stem + f" (restauré {day}{more})".encode() + dot + ending
        found = (*top[:-1], name)
        if found not in taken and not place.exists(found):
            return found
    raise WouldOverwrite(1, top[-1].decode("utf-8", "replace"))


# --- doing it ----------------------------------------------------------------------------------


def _restore(
    context: JobContext,
    repository: borg_library.Repository,
    snapshot: Snapshot,
    wishes: Sequence[_Wish],
    place: Place,
    done: _Done,
) -> None:
    folders: list[tuple[Parts, FullItem]] = []
    for item in full_items(repository, snapshot.archive_id):
        for wish in wishes:
            if _is_inside(item.entry.path, wish.path):
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


def _one(
    repository: borg_library.Repository,
    item: FullItem,
    wish: _Wish,
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
