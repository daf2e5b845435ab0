"""What Borg says while it works: one JSON line of ``--log-json``, one typed event.

Source: Borg 1.4.5 docs, «Frontends and JSON»; archiver.print_file_status, logger.JsonFormatter,
helpers/progress.py.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_GRAVE: Final = frozenset({"WARNING", "ERROR", "CRITICAL"})


@dataclass(frozen=True, slots=True)
class FileStatus:
    """One item of `borg create --list`.

    A added · M modified · U unchanged · C changed while read · E unreadable · d folder · s link ·
    h hard link · x excluded · b, c, f devices and pipes.

    ``path`` is for a person's eyes only: Borg writes «?» for what is not UTF-8.
    """

    status: str
    path: str


@dataclass(frozen=True, slots=True)
class ArchiveProgress:
    """How far `borg create` is."""

    original_bytes: int
    new_bytes: int  # compressed, deduplicated
    files: int
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Percent:
    """How far a check, a delete or a compaction is."""

    operation: int
    what: str  # Borg's message id: «repository.check», «check.verify_data» …
    current: int
    total: int
    finished: bool = False


@dataclass(frozen=True, slots=True)
class LogMessage:
    """A line of Borg's log. ``message`` may name a file: it never goes into a log of ours."""

    level: str  # DEBUG · INFO · WARNING · ERROR · CRITICAL
    message: str
    msgid: str = ""  # stable: «FileChangedWarning», «Repository.DoesNotExist» …
    name: str = ""  # the logger

    @property
    def is_grave(self) -> bool:
        """Whether something did not go as it should."""
        return self.level in _GRAVE


@dataclass(frozen=True, slots=True)
class Unknown:
    """A line of a later Borg, or one that is not JSON (a Python traceback)."""

    text: str


BorgEvent = FileStatus | ArchiveProgress | Percent | LogMessage | Unknown


def parse_line(line: str) -> BorgEvent:
    """Return the event in ``line``; what is not understood is ``Unknown``, never dropped, never raised."""
    if not line.startswith("{"):
        return Unknown(line)
    try:
        found = json.loads(line)
        return _event(found) or Unknown(line)
    except (ValueError, KeyError, TypeError):
        return Unknown(line)


def _event(found: Mapping[str, Any]) -> BorgEvent | None:
    match found["type"]:
        case "file_status":
            return FileStatus(str(found["status"]), str(found["path"]))
        case "archive_progress":
            return ArchiveProgress(
                int(found.get("original_size", 0)),
                int(found.get("deduplicated_size", 0)),
                int(found.get("nfiles", 0)),
                bool(found.get("finished", False)),
            )
        case "progress_percent":
            return Percent(
                int(found["operation"]),
                str(found.get("msgid") or ""),
                int(found.get("current", 0)),
                int(found.get("total", 0)),
                bool(found.get("finished", False)),
            )
        case "log_message":
            return LogMessage(
                str(found.get("levelname", "CRITICAL")),
                str(found.get("message", "")),
                str(found.get("msgid") or ""),
                str(found.get("name") or ""),
            )
        case _:
            return None
