"""What the worker and its jobs write to standard error: ids and codes, never a file's name (beam 7)."""

import errno
import logging
import os
import stat
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from appliance.settings import Settings
from appliance.units import MIB

_log = logging.getLogger(__name__)

#: A log file that is larger when it is opened makes place for a new one.
ROTATE_BYTES: Final = 10 * MIB


def set_up(level: str) -> None:
    """Log to standard error from ``level`` on; under systemd that is the journal."""
    logging.basicConfig(
        level=level.upper() if level.upper() in logging.getLevelNamesMapping() else "INFO",
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )


@contextmanager
def file_of(settings: Settings, name: str) -> Iterator[IO[bytes]]:
    """Yield ``log/<name>.log`` of the data folder, for what runs without a journal; kept twice ROTATE_BYTES.

    The web interface's account may put into that folder what it likes, and root writes there: a link is not
    followed and nothing is changed that was there before. What cannot be a log is left alone, a warning says so,
    and nothing is kept of this run: a log stops no command.
    """
    folder = settings.data / "log"
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        descriptor = _open(folder, f"{name}.log")
    except OSError as error:
        _log.warning("log.not-kept %s: %s", name, errno.errorcode.get(error.errno or 0, "unsafe"))
        descriptor = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "ab") as file:
        yield file


def _open(folder: Path, name: str) -> int:
    """Return a descriptor to append to.

    Raises:
        OSError: it is a link, has other names, is no file, or cannot be opened.
    """
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            if os.lstat(name, dir_fd=place).st_size > ROTATE_BYTES:
                os.replace(name, f"{name}.1", src_dir_fd=place, dst_dir_fd=place)
        # O_NONBLOCK: a pipe in its place is an error at once.
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o660, dir_fd=place)
        except FileExistsError:
            descriptor = os.open(name, flags, dir_fd=place)
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                os.close(descriptor)
                raise
            return descriptor
        if os.geteuid() == 0:  # a command run as root would shut the worker out of it
            owner = os.fstat(place)
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return descriptor
    finally:
        os.close(place)


def where(error: BaseException) -> str:
    """Return the type of an unforeseen error and where it rose, without its text.

    The text of an OSError, for one, holds the name of the file it is about.
    """
    frames = traceback.extract_tb(error.__traceback__)
    road = " < ".join(f"{Path(each.filename).name}:{each.lineno}" for each in reversed(frames[-8:]))
    return f"{type(error).__name__} at {road}"
