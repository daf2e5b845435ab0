"""What is written into the state that came back while the rest follows, and whom its files belong to."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from appliance.clock import utc_now
from appliance.db import workers
from appliance.db.engine import open_database
from appliance.jobs import queue
from appliance.model import JobState
from appliance.settings import Settings
from appliance.worker.runner import runner_name


def end_old_jobs(settings: Settings) -> None:
    """End what ran or waited on the box of before: at least the one that saved this state.

    A restore somebody asked for last month must not begin by itself; nights are planned anew.
    """
    database = open_database(settings.database)
    now = utc_now()
    try:
        with database.write() as connection:
            for job in queue.waiting(connection):
                if job.state is JobState.RUNNING:
                    queue.finish(connection, job.id, JobState.INTERRUPTED, now=now)
                else:
                    queue.ask_cancel(connection, job.id, now=now)
    finally:
        database.close()


def beat(settings: Settings) -> None:
    """Say that this process works on the box: nobody is asked to start the worker."""
    database = open_database(settings.database)
    try:
        with database.write() as connection:
            workers.beat(connection, runner_name(), now=utc_now())
    finally:
        database.close()


def leave(settings: Settings) -> None:
    """Say that it has ended."""
    database = open_database(settings.database)
    try:
        with database.write() as connection:
            workers.leave(connection, runner_name())
    finally:
        database.close()


def hand_over(data: Path) -> None:
    """Give what root made below a data folder to the accounts of `make install`: as the folder it lies in.

    Worker and web interface have accounts of their own there (systemd/tmpfiles.d); nothing is done elsewhere.
    """
    if os.geteuid() != 0 or data.stat().st_uid == 0:
        return
    for folder, folders, files in os.walk(data):
        above = os.stat(folder)  # noqa: PTH116 - the owner, given a moment ago
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.lstat().st_uid == 0:
                os.chown(path, above.st_uid, above.st_gid, follow_symlinks=False)
    for name in ("state.sqlite", "state.sqlite-wal", "state.sqlite-shm"):
        with suppress(FileNotFoundError):
            # O_PATH: closing another descriptor would take SQLite's locks away; and a link is not followed.
            descriptor = os.open(data / name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    Path(f"/proc/self/fd/{descriptor}").chmod(0o660)  # both accounts write to it
            finally:
                os.close(descriptor)


def without_privileges(settings: Settings) -> tuple[str, ...]:
    """Return what begins the command line of the web interface: as root it gets the account of its folder."""
    tls = settings.tls
    if os.geteuid() != 0 or not tls.exists() or tls.stat().st_uid == 0:
        return ()
    owner = tls.stat()
    return (
        "setpriv",
        f"--reuid={owner.st_uid}",
        f"--regid={owner.st_gid}",
        "--clear-groups",
        "--no-new-privs",
        "--",
    )
