"""Borg's lock on a repository, held by this process without opening anything.

Part of the ``borg_library`` family: whoever links a repository's committed files aside, or puts a segment
back, needs nobody to be writing; neither needs the passphrase. Source: borg 1.4.5 locking.py Lock.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from borg.locking import Lock  # noqa: TID251 - the borg_library family

from appliance.backup_jobs import borg_library
from appliance.backup_jobs.borg_library_opening import break_dead_lock, mapped
from appliance.errors import RepositoryMissing

WAIT_S: Final = 60.0


@contextmanager
def hold_lock(path: Path, *, wait_s: float = WAIT_S) -> Iterator[None]:
    """Keep every other reader and writer out of the repository at ``path`` until the block ends.

    A lock whose process is gone is taken over, as Borg does itself.

    Args:
        path: the repository.
        wait_s: how long to wait for another process, seconds.

    Raises:
        RepositoryMissing: nothing lies there.
        RepositoryLocked: another process works on it for longer, or this one has it open.
    """
    path = path.absolute()
    if not (path / "config").is_file():
        raise RepositoryMissing(str(path))
    with borg_library.alone_in_process(path):
        with mapped(path):
            break_dead_lock(path)
            lock = Lock(str(path / "lock"), exclusive=True, timeout=wait_s).acquire()
        try:
            yield
        finally:
            with mapped(path):
                lock.release()
