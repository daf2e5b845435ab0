"""A folder of a share as it was in a night comes back: read through the reader, written as whoever asked.

No lock on the repository: files come as they do to a person who opens them, also while a night runs. Who asked must
still be allowed to, up to the last file.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.accounts import people
from appliance.catalogue import query
from appliance.catalogue.reader_client import open_file
from appliance.catalogue.store import of_source
from appliance.clock import utc_now
from appliance.db import shares, snapshots
from appliance.db.shares import Share, ShareId
from appliance.disk import access, paths, restoring, restoring_draft
from appliance.disk.access import Held
from appliance.disk.actions import Doer
from appliance.disk.restoring import Item
from appliance.errors import (
    ArmoireError,
    InvalidInput,
    JobCancelled,
    NotAllowed,
    NotFound,
    ShareMoved,
)
from appliance.jobs import queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import RestoreFolder
from appliance.language import mark
from appliance.model import EntryKind, JobState, PersonId
from appliance.packed import unpack_path
from appliance.policy.share_rights import Right


def run(context: JobContext, spec: RestoreFolder) -> JobState:
    """Bring the folder back; safe to run again after a crash at any line, with the same draft.

    Raises:
        NotAllowed: who asked may not any more; nothing of it is seen.
        NotFound: the share, the night or the folder is not there.
        ShareFull: before anything is fetched, or when others took the room; nothing of it is seen.
        WorkerUnreachable, RestoreBusy: what was fetched stays for the next attempt, when there is one.
        ShareMoved: the next attempt begins anew, where the share lies now.
        InvalidInput: the task was not made by this program.
        RepositoryDamaged, ChunkMissing, ShareNotWritable, JobCancelled.
    """
    restoring_draft.check_draft(spec.draft)  # before anything is made, or removed, under that name
    share = _share(context, spec)
    watch = _Watch(context, spec, share.folder)
    try:
        held = watch.held()
        context.step("listing")
        items = _items(context, spec, held)
        watch.total = sum(each.size for each in items)
        context.step("restoring")
        found = restoring.put_folder(
            context.database,
            held,
            unpack_path(spec.path),
            items,
            lambda item: open_file(
                context.settings,
                spec.source_id,
                spec.snapshot_id,
                paths.join(unpack_path(spec.stored), item.path),
            ),
            draft=spec.draft,
            snapshot_id=int(spec.snapshot_id),
            doer=Doer(watch.person_id, "web"),
            now=utc_now,
            watch=watch,
        )
    except JobCancelled:
        if _is_asked_to_stop(context):  # else the box stops, and goes on when it is back
            _forget(share, spec)
        raise
    except Exception as error:
        goes_on = isinstance(error, ArmoireError) and error.retryable
        if isinstance(error, ShareMoved) or not goes_on or context.job.attempt >= spec.attempts:
            _forget(share, spec)
        raise
    context.result.update(
        files=found.files, bytes=found.size
    )  # figures only: where, the ledger says
    return JobState.SUCCEEDED


@dataclass
class _Watch:
    """Asks before each file whether to go on, and tells how far it is."""

    context: JobContext
    spec: RestoreFolder
    folder: Path  # of the share when this attempt began
    total: int = 0  # bytes

    @property
    def person_id(self) -> PersonId:
        """Who asked."""
        if self.context.job.person_id is None:
            raise InvalidInput("person", mark("A folder comes back for a person."))
        return self.context.job.person_id

    def share(self) -> Share:
        """Return the share as it is now.

        Raises:
            NotFound: it is not there any more.
        """
        return _share(self.context, self.spec)

    def held(self) -> Held:
        """Return the share and what who asked may do there, right now.

        Raises:
            NotAllowed, NotFound.
            ShareMoved: it lies in another folder than when this attempt began.
        """
        database, now, who = self.context.database, utc_now(), self.person_id
        person = database.recall(("person", who), lambda c: people.get(c, who))
        if person.disabled_at is not None:
            raise NotAllowed(Right.ADD.value)
        held = access.recall(database, person, now=now).on_share(self.share().name, now)
        held.demand(Right.SEE)
        held.demand(Right.ADD)
        if held.share.folder != self.folder:
            raise ShareMoved
        return held

    def check(self) -> None:
        """Raise when somebody asked to stop, who asked may not any more, or the task was taken from this process."""
        self.context.check()
        number = self.context.job.id
        job = self.context.database.recall(("job", number), lambda c: queue.get(c, number))
        if job.state is not JobState.RUNNING or job.cancel_asked_at is not None:
            raise JobCancelled  # the heart may have stood still for longer than the others waited
        self.held()

    def report(self, size: int, files: int) -> None:
        """Store how far it is."""
        self.context.report(size, self.total, "bytes", files=files)


def _items(context: JobContext, spec: RestoreFolder, held: Held) -> list[Item]:
    with context.database.read() as connection:
        night = snapshots.get(connection, spec.snapshot_id)
    if night.source_id != spec.source_id or held.share.source_id != spec.source_id:
        raise NotFound("snapshot", str(spec.snapshot_id))
    top = unpack_path(spec.stored)
    items = []
    for each in query.walk(of_source(context.settings, spec.source_id), night.id, top):
        context.check()
        if each.path == top:
            if each.kind is not EntryKind.FOLDER:
                raise NotFound("folder", "–")
        elif each.kind in {EntryKind.FILE, EntryKind.FOLDER}:
            is_folder = each.kind is EntryKind.FOLDER
            inner = each.path[len(top) + 1 :]
            items.append(Item(inner, is_folder, 0 if is_folder else each.size, each.mtime_ns))
    return items


def _share(context: JobContext, spec: RestoreFolder) -> Share:
    number = ShareId(spec.share_id)
    return context.database.recall(("share", number), lambda c: shares.get(c, number))


def _forget(share: Share, spec: RestoreFolder) -> None:
    # What went wrong is told, not that the disk keeps the draft too: the night tries again.
    with suppress(OSError, ArmoireError):
        restoring_draft.forget(share, spec.draft)


def _is_asked_to_stop(context: JobContext) -> bool:
    with context.database.read() as connection:
        return queue.get(connection, context.job.id).cancel_asked_at is not None
