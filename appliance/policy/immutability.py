"""May a place be called immutable? Only after every way to harm an object was tried there, and failed.

The trying is ``replication.tamper``; this is the judgement. What counts is the object afterwards, not what
the host answered: a host that says «no» and deletes is seen, and so is one that says «yes» and keeps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from appliance.language import mark
from appliance.policy.findings import CLOCK_ALARM

#: The test is nightly; with its night missed, the word is not shown.
GOOD_FOR: Final = timedelta(hours=50)


class Action(StrEnum):
    """A way to harm an object."""

    DELETE = "delete"
    OVERWRITE = "overwrite"
    TRUNCATE = "truncate"
    RENAME = "rename"
    REPLACE = "replace"  # another file moved over its name
    DELETE_VERSION = "delete-version"
    SHORTEN_RETENTION = "shorten-retention"
    BYPASS_GOVERNANCE = "bypass-governance"
    LIFECYCLE = "lifecycle"  # a rule by which the host itself would delete


ACTION_TEXTS: Final[dict[Action, str]] = {
    Action.DELETE: mark("delete it"),
    Action.OVERWRITE: mark("write over it"),
    Action.TRUNCATE: mark("cut it to nothing"),
    Action.RENAME: mark("give it another name"),
    Action.REPLACE: mark("move another file over it"),
    Action.DELETE_VERSION: mark("delete its version"),
    Action.SHORTEN_RETENTION: mark("shorten the time it is locked"),
    Action.BYPASS_GOVERNANCE: mark("go around its lock"),
    Action.LIFECYCLE: mark("let a lifecycle rule delete it"),
}

_FILES: Final = (
    Action.DELETE,
    Action.OVERWRITE,
    Action.TRUNCATE,
    Action.RENAME,
    Action.REPLACE,
)
#: What must have been tried at each kind of target before anything is claimed. S3 has no rename: it is a copy and a delete.
EXPECTED: Final[dict[str, tuple[Action, ...]]] = {
    "directory": _FILES,
    "sftp": _FILES,
    "box": _FILES,
    "s3": (
        Action.LIFECYCLE,
        Action.SHORTEN_RETENTION,
        Action.OVERWRITE,
        Action.TRUNCATE,
        Action.DELETE,
        Action.DELETE_VERSION,
        Action.BYPASS_GOVERNANCE,
    ),
}


class Outcome(StrEnum):
    """How an attempt ended."""

    REFUSED = "refused"
    #: The host accepted, and the object is still read whole: an older version is kept, a lock outlives a rule.
    WITHOUT_EFFECT = "without-effect"
    DONE = "done"
    UNKNOWN = "unknown"  # the line was lost, or the host did not let us look


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt on a canary object, with the box's own credentials."""

    action: Action
    outcome: Outcome
    detail: str = ""  # the host's own word: a code, never a path or a secret


@dataclass(frozen=True, slots=True)
class Immutability:
    """What may be said about a place."""

    is_immutable: bool
    done: tuple[Action, ...]  # what our own key can do there
    unknown: tuple[Action, ...]  # what was not, or could not be, tried
    text: str  # English template, translatable


_IMMUTABLE: Final = mark(
    "Immutable: every attempt to change or delete was refused, with our own key."
)
_HARMED: Final = mark(
    "Not immutable: this place can be emptied with our key. Keep a copy that cannot, or one that is disconnected."
)
_UNKNOWN: Final = mark("Not known: not every attempt could be made. It is not called immutable.")


def judge(kind: str, attempts: Sequence[Attempt]) -> Immutability:
    """Return whether a place may be called immutable.

    Args:
        kind: of the target; an unknown one is never immutable.
        attempts: of one night; of an action tried several times, the worst counts.
    """
    expected = EXPECTED.get(kind, ())
    held = {
        each.action
        for each in attempts
        if each.outcome in {Outcome.REFUSED, Outcome.WITHOUT_EFFECT}
    }
    done = {each.action for each in attempts if each.outcome is Outcome.DONE}
    doubtful = {each.action for each in attempts if each.outcome is Outcome.UNKNOWN}
    missing = (set(expected) - held - done) | (doubtful - done)
    unknown = tuple(each for each in Action if each in missing)
    if done:
        return Immutability(False, tuple(each for each in Action if each in done), unknown, _HARMED)
    if unknown or not expected:
        return Immutability(False, (), unknown, _UNKNOWN)
    return Immutability(True, (), (), _IMMUTABLE)


def is_shown(judgement: Immutability, *, tested_at: datetime, now: datetime) -> bool:
    """Return whether the word may stand on the page: proven, recently, and not in the future."""
    return judgement.is_immutable and -CLOCK_ALARM <= now - tested_at <= GOOD_FOR
