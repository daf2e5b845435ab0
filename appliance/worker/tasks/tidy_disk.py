"""Nightly order on the shares: bins are emptied of what is past its days, uploads nobody went on with go.

Each share is then measured: the figure a quota is compared with. What came through our own doors is added to it
during the day; what came over SMB is known from here.
"""

import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk import bin as bins
from appliance.disk import quarantine_upkeep, restoring_draft, uploads
from appliance.disk.paths import open_own
from appliance.errors import NotAFolder
from appliance.jobs import queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import RestoreFolder, TidyDisk
from appliance.language import mark
from appliance.model import JobState

#: Restores that are looked through, newest first; drafts of older ones go by their age.
_RESTORES: Final = 10_000


def run(context: JobContext, _spec: TidyDisk) -> JobState:
    """Tidy every share; safe to run again after a crash at any line.

    Returns:
        WARNED when a share's folder is not there (a disk that is unplugged), else SUCCEEDED.

    Raises:
        JobCancelled: a person stopped it.
    """
    with context.database.read() as connection:
        living = shares.all_living(connection)
    gone = 0
    for done, share in enumerate(living):
        context.check()
        context.report(done, len(living), "shares")
        if not share.folder.is_dir():
            # Nothing is made or forgotten where a disk ought to be (beam 6).
            context.note(mark("The folder of a share is not there: is its disk plugged in?"),
                         level="warning", share=share.id)  # fmt: skip
            continue
        now = utc_now()
        gone += bins.settle(context.database, share, now=now)
        gone += uploads.settle(context.database, share, now=now)
        try:
            gone += forget_restores(context.database, share) + forget_drafts(share, now)
        except NotAFolder:
            context.note(mark("A link lies where a share keeps what is being written: nothing is removed through it."),
                         level="warning", share=share.id)  # fmt: skip
        gone += quarantine_upkeep.settle(context.database, share, now=now)
        used = measure(share.folder, context.check) - measure_restores(context, share)
        used = max(0, used)  # a folder that comes back grows meanwhile
        with context.database.write() as connection:
            shares.change(connection, share.id, used_bytes=used)
    context.report(len(living), len(living), "shares")
    context.result.update(shares=len(living), removed=gone)
    return JobState.WARNED if context.warnings else JobState.SUCCEEDED


def forget_restores(database: Database, share: Share) -> int:
    """Remove drafts of folders whose coming back has ended: no task waits or runs that goes on; return how many.

    Raises:
        NotAFolder: as ``restoring_draft.forget``.
    """
    ended, _ = _drafts(database, share)
    gone = 0
    for draft in ended:
        if restoring_draft.is_draft(draft):  # else a task that this program did not make
            gone += restoring_draft.forget(share, draft)
    return gone


def measure_restores(context: JobContext, share: Share) -> int:
    """Return the bytes of folders on their way back: they count against the quota once they are there."""
    _, going_on = _drafts(context.database, share)
    parts = bins.own_folder(share, bins.PARTS)
    return sum(
        measure(parts / each, context.check) for each in going_on if restoring_draft.is_draft(each)
    )


def _drafts(database: Database, share: Share) -> tuple[set[str], set[str]]:
    """Return the drafts of restores that have ended, and of those that wait or run."""
    with database.read() as connection:
        tasks = [
            (str(each.spec["draft"]), each.state in queue.ENDED)
            for each in queue.newest(connection, limit=_RESTORES, kind=RestoreFolder.kind)
            if each.spec.get("share_id") == share.id
        ]
    going_on = {draft for draft, has_ended in tasks if not has_ended}
    return {draft for draft, _ in tasks} - going_on, going_on


def forget_drafts(share: Share, now: datetime) -> int:
    """Remove folders whose copying was killed, a week ago or more; return how many.

    Raises:
        NotAFolder: a link leads to where drafts are; nothing is removed through it.
    """
    oldest_s = (now - uploads.KEPT).timestamp()
    gone = 0
    bins.own_folder(share, bins.PARTS)
    with open_own(share.folder, bins.PARTS.encode()) as parts:
        for name in os.listdir(parts):  # noqa: PTH208 - a descriptor
            facts = os.stat(name, dir_fd=parts, follow_symlinks=False)
            if stat.S_ISDIR(facts.st_mode) and facts.st_ctime <= oldest_s:
                shutil.rmtree(name, dir_fd=parts)
                gone += 1
    return gone


def measure(folder: Path, check: Callable[[], None]) -> int:
    """Return the bytes of every file below ``folder``, the bin included; links are not followed.

    ``check`` is called in each folder and may raise.
    """
    size = 0
    for _, _, names, descriptor in os.fwalk(folder):
        check()
        for each in names:
            with suppress(FileNotFoundError):
                size += os.stat(each, dir_fd=descriptor, follow_symlinks=False).st_size
    return size
