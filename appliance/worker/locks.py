"""Lock files that the kernel lets go when their holder dies, however it dies.

One for the worker of a data folder, one for each running job: so another process can tell a job that
works in silence from one that is gone, without trusting a process number that may belong to another.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from appliance.model import JobId
from appliance.settings import Settings

WORKER: Final = "worker.lock"


def of_worker(settings: Settings) -> Path:
    """Return the lock file of the one worker of a data folder."""
    return settings.run / WORKER


def of_job(settings: Settings, job_id: JobId) -> Path:
    """Return the lock file that the process of a job holds while it lives."""
    return settings.run / "jobs" / str(job_id)


@contextmanager
def hold(path: Path) -> Iterator[bool]:
    """Yield whether this process holds ``path`` now; it lets go at the end of the block, or of its life."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Not through a link: the web interface's account writes in that folder too, and root may be who locks.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Return whether a living process holds ``path``; a missing file is held by nobody."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared: two processes that only ask do not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
