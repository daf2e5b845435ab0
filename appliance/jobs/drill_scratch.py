"""The scratch place of a drill: ``data/drill``, of one drill at a time, and gone after it, however it ended.

The kernel lets go of the lock when the drill's process dies, so whoever looks next (the worker every few
seconds, the next drill, the command line) knows that what lies there is nobody's, and removes it.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from appliance.db import secrets
from appliance.db.engine import Database
from appliance.errors import AlreadyRunning
from appliance.jobs import drill_readings
from appliance.settings import Settings

#: The vault's name for what the words of the sheets stand for, while a drill waits or runs.
WORDS: Final = "drill:words"
#: Another look at what a killed drill left may hold the lock for a moment.
WAIT_S: Final = 30.0
_TRIES: Final = 50  # a program of a killed drill may still write for a moment


def place_of(settings: Settings) -> Path:
    """Return the scratch folder."""
    return settings.data / "drill"


@contextmanager
def scratch(settings: Settings, *, wait_s: float = WAIT_S) -> Iterator[Path]:
    """Yield the scratch folder, empty, 0700; it is removed at the end of the block.

    Raises:
        AlreadyRunning: another drill has it.
    """
    place = place_of(settings)
    with _lock(settings, wait_s) as is_mine:
        if not is_mine:
            raise AlreadyRunning(str(place))
        _remove(place)
        place.mkdir(mode=0o700)
        try:
            yield place
        finally:
            _remove(place)


def sweep(settings: Settings, database: Database) -> bool:
    """Remove what a killed drill left: its folder, and the words; return whether there was something.

    Costs one look at the disk and one at the database when there is nothing. Safe at any time.
    """
    place, done = place_of(settings), False
    if place.exists():
        with _lock(settings, 0.0) as is_mine:
            if is_mine:
                with suppress(OSError):  # a program of it may still write: the next look
                    _remove(place, tries=1)
                done = True
    with database.read() as connection:
        there = secrets.find_sealed(connection, WORDS) is not None
    if there:
        with database.write() as connection:
            # Asking seals the words and queues the drill in one write: words without a drill are left over.
            if drill_readings.active(connection) is None:
                secrets.forget(connection, [WORDS])
                done = True
        database.forget_for_good()
    return done


def forget_words(database: Database) -> None:
    """Erase the words of the sheets."""
    with database.read() as connection:
        if secrets.find_sealed(connection, WORDS) is None:
            return
    with database.write() as connection:
        secrets.forget(connection, [WORDS])
    database.forget_for_good()


@contextmanager
def _lock(settings: Settings, wait_s: float) -> Iterator[bool]:
    settings.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC  # see ``worker.locks.hold``
    descriptor = os.open(settings.run / "drill.lock", flags, 0o600)
    deadline = time.monotonic() + wait_s
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    yield False
                    return
                time.sleep(0.1)
            else:
                yield True
                return
    finally:
        os.close(descriptor)


def _remove(place: Path, *, tries: int = _TRIES) -> None:
    for left in range(tries, 0, -1):
        if place.is_symlink():
            place.unlink()
        if not place.exists():
            return
        with suppress(OSError):
            shutil.rmtree(place)
        if place.exists():
            if left == 1:
                shutil.rmtree(place)  # says why
            time.sleep(0.1)
