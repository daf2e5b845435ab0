"""Which of the five tones of the style sheet a state is shown in; the word always stands beside it."""

from typing import Final

from appliance.language import mark
from appliance.model import JobState, Outcome, ReadEventKind
from appliance.policy.findings import Severity
from appliance.policy.nights import NightState
from appliance.policy.status import Level

GOOD: Final = "is-good"
WARN: Final = "is-warn"
BAD: Final = "is-bad"
CALM: Final = "is-calm"
BUSY: Final = "is-busy"

LEVEL: Final[dict[Level, str]] = {
    Level.PROVEN: GOOD,
    Level.WARNED: WARN,
    Level.UNKNOWN: WARN,
    Level.LATE: WARN,
    Level.OVERDUE: BAD,
    Level.FAILED: BAD,
    Level.FROZEN: BAD,
}
NIGHT: Final[dict[NightState, str]] = {
    NightState.PROVEN: GOOD,
    NightState.WARNED: WARN,
    NightState.UNSURE: WARN,
    NightState.UNPROVEN: WARN,
    NightState.FAILED: BAD,
    NightState.MISSED: BAD,
    NightState.CANCELLED: CALM,
    NightState.RUNNING: BUSY,
    NightState.PLANNED: CALM,
    NightState.NONE: CALM,
}
SEVERITY: Final[dict[Severity, str]] = {
    Severity.ALARM: BAD,
    Severity.WARNING: WARN,
    Severity.NOTICE: CALM,
}
OUTCOME: Final[dict[Outcome, str]] = {
    Outcome.PROVEN: GOOD,
    Outcome.FAILED: BAD,
    Outcome.INCONCLUSIVE: WARN,
}
JOB: Final[dict[JobState, str]] = {
    JobState.QUEUED: CALM,
    JobState.RUNNING: BUSY,
    JobState.SUCCEEDED: GOOD,
    JobState.WARNED: WARN,
    JobState.FAILED: BAD,
    JobState.CANCELLED: CALM,
    JobState.INTERRUPTED: WARN,
}
JOB_NAMES: Final[dict[JobState, str]] = {
    JobState.QUEUED: mark("waiting"),
    JobState.RUNNING: mark("running"),
    JobState.SUCCEEDED: mark("done"),
    JobState.WARNED: mark("done, with warnings"),
    JobState.FAILED: mark("failed"),
    JobState.CANCELLED: mark("stopped by a person"),
    JobState.INTERRUPTED: mark("interrupted"),
}
EVENT_NAMES: Final[dict[ReadEventKind, str]] = {
    ReadEventKind.CHANGED_WHILE_READ: mark("changed while it was read"),
    ReadEventKind.VANISHED: mark("disappeared while it was read"),
    ReadEventKind.UNREADABLE: mark("could not be read"),
    ReadEventKind.SKIPPED_SPECIAL: mark("not a file (socket, device): left out"),
    ReadEventKind.DAMAGED: mark("damaged since: it does not come back as it was"),
    ReadEventKind.LOOP: mark("folder that leads back to itself: left out"),
    ReadEventKind.NAME_REFUSED: mark("name that cannot be kept: left out"),
    ReadEventKind.TOO_LARGE: mark("grew without end: left out"),
    ReadEventKind.LIVE_DATABASE: mark("raw copy of a running database: it may not start from it"),
    ReadEventKind.OTHER: mark("could not be kept as it is"),
}
