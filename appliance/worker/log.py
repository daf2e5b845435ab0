"""What the worker and its jobs write to standard error: ids and codes, never a file's name (beam 7)."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from appliance.settings import Settings
from appliance.units import MIB

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
    """Yield ``log/<name>.log`` of the data folder, for what runs without a journal; kept twice ROTATE_BYTES."""
    folder = settings.data / "log"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{name}.log"
    if path.exists() and path.stat().st_size > ROTATE_BYTES:
        path.replace(path.with_suffix(".log.1"))
    with path.open("ab") as file:
        _share(file.fileno(), folder)
        yield file


def _share(descriptor: int, folder: Path) -> None:
    """Leave a log to whose folder it is in: a command run as root would shut the worker out of it."""
    owner, ours = folder.stat(), os.fstat(descriptor)
    if os.geteuid() == 0 and ours.st_uid != owner.st_uid:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def where(error: BaseException) -> str:
    """Return the type of an unforeseen error and where it rose, without its text.

    The text of an OSError, for one, holds the name of the file it is about.
    """
    frames = traceback.extract_tb(error.__traceback__)
    road = " < ".join(f"{Path(each.filename).name}:{each.lineno}" for each in reversed(frames[-8:]))
    return f"{type(error).__name__} at {road}"
