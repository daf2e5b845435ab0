"""What the worker and its jobs write to standard error: ids and codes, never a file's name (beam 7)."""

import logging
import sys
import traceback
from pathlib import Path


def set_up(level: str) -> None:
    """Log to standard error from ``level`` on; under systemd that is the journal."""
    logging.basicConfig(
        level=level.upper() if level.upper() in logging.getLevelNamesMapping() else "INFO",
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )


def where(error: BaseException) -> str:
    """Return the type of an unforeseen error and where it rose, without its text.

    The text of an OSError, for one, holds the name of the file it is about.
    """
    frames = traceback.extract_tb(error.__traceback__)
    road = " < ".join(f"{Path(each.filename).name}:{each.lineno}" for each in reversed(frames[-8:]))
    return f"{type(error).__name__} at {road}"
