"""Whether the backup an editor's program makes by itself is fresh and whole (domain.md APP-04)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import median
from typing import Final

from appliance.language import mark

#: Source: domain.md APP-04.
FRESH: Final = timedelta(hours=26)
OF_MEDIAN: Final = 0.5
#: A machine's clock may be ahead of ours by so much.
AHEAD: Final = timedelta(hours=26)


class EditorProblem(StrEnum):
    """Why the run fails."""

    EMPTY = "empty"
    STALE = "stale"
    SHRUNK = "shrunk"
    FUTURE = "future"


#: Each fits at the end of «The step … failed: ….» (``errors.RecipeFailed.reason``).
EDITOR_PROBLEM_TEXTS: Final[dict[EditorProblem, str]] = {
    EditorProblem.EMPTY: mark("the folder of the editor's backup holds no backup"),
    EditorProblem.STALE: mark("the editor's newest backup is older than 26 hours"),
    EditorProblem.SHRUNK: mark("the editor's newest backup is less than half as large as usual"),
    EditorProblem.FUTURE: mark("the editor's newest backup is dated in the future"),
}


@dataclass(frozen=True, slots=True)
class EditorBackup:
    """What was found."""

    problem: EditorProblem | None  # None: all is well
    newest_at: datetime | None
    newest_bytes: int
    usual_bytes: float | None  # median of the older ones; None: there is no older one
    files: int  # of the same sort


def judge_editor_backup(files: Sequence[tuple[str, int, datetime]], now: datetime) -> EditorBackup:
    """Return whether the newest backup in the folder is under 26 hours old and not half-sized.

    The backup is the sort of file (by extension) that takes most room: a fresh log beside a stale
    backup is no backup.

    Args:
        files: (name, size in bytes, aware mtime) of the folder.
        now: aware.
    """
    sorts: defaultdict[str, list[tuple[datetime, int]]] = defaultdict(list)
    for name, size, mtime in files:
        stem, dot, suffix = name.rpartition(".")
        sorts[suffix.lower() if dot and stem else ""].append((mtime, size))
    if not sorts:
        return EditorBackup(EditorProblem.EMPTY, None, 0, None, 0)
    _, backups = max(sorts.items(), key=lambda item: (sum(size for _, size in item[1]), item[0]))
    *older, (newest_at, newest_bytes) = sorted(backups)
    usual = median(size for _, size in older) if older else None
    found = (
        (EditorProblem.EMPTY, usual is None and newest_bytes == 0),
        (EditorProblem.FUTURE, newest_at > now + AHEAD),
        (EditorProblem.STALE, now - newest_at >= FRESH),
        (EditorProblem.SHRUNK, usual is not None and newest_bytes < OF_MEDIAN * usual),
    )
    problem = next((one for one, applies in found if applies), None)
    return EditorBackup(problem, newest_at, newest_bytes, usual, len(backups))
