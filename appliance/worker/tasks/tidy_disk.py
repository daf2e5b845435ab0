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

from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.shares import Share
from appliance.disk import bin as bins
from appliance.disk import quarantine_upkeep, uploads
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import TidyDisk
from appliance.language import mark
from appliance.model import JobState


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
        gone += forget_drafts(share, now)
        gone += quarantine_upkeep.settle(context.database, share, now=now)
        used = measure(share.folder, context.check)
        with context.database.write() as connection:
            shares.change(connection, share.id, used_bytes=used)
    context.report(len(living), len(living), "shares")
    context.result.update(shares=len(living), removed=gone)
    return JobState.WARNED if context.warnings else JobState.SUCCEEDED


def forget_drafts(share: Share, now: datetime) -> int:
    """Remove folders whose copying was killed, a week ago or more; return how many."""
    oldest_s = (now - uploads.KEPT).timestamp()
    gone = 0
    for place in bins.own_folder(share, bins.PARTS).iterdir():
        facts = place.lstat()
        if stat.S_ISDIR(facts.st_mode) and facts.st_ctime <= oldest_s:
            shutil.rmtree(place)
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
