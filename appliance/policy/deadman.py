"""The dead-man alarm of a receiving box: silence is what it listens for.

A box whose sender was stopped, stolen or burnt says nothing by itself; the one in the second building does.
"""

from datetime import datetime, timedelta
from typing import Final

from appliance.language import mark
from appliance.policy.findings import CLOCK_ALARM, Finding, Severity

#: domain.md row 6: alert at 26 h, red at 48 h.
SILENT_AFTER: Final = timedelta(hours=26)
DEAD_AFTER: Final = timedelta(hours=48)


def silence_finding(
    name: str,
    *,
    now: datetime,
    object_at: datetime | None,
    generation_at: datetime | None,
    known_since: datetime | None = None,
) -> Finding | None:
    """Return what there is to say about a sender; None: a copy of it came within SILENT_AFTER.

    Args:
        name: of the sender, for people.
        now: aware.
        object_at: when the last whole object came; None: nothing ever did.
        generation_at: when the last complete copy came.
        known_since: when the sender was let in; None: not known.
    """
    facts: dict[str, object] = {"name": name}
    newest = max((each for each in (object_at, generation_at) if each is not None), default=None)
    if newest is None:
        waited = now - known_since if known_since is not None else timedelta()
        return Finding(
            "receive.nothing-yet",
            Severity.WARNING if waited >= SILENT_AFTER else Severity.NOTICE,
            mark("Nothing was received from «%(name)s» yet."),
            mark("Start a first copy on the other box, and check its address and key."),
            facts,
        )
    if newest - now >= CLOCK_ALARM:
        # Silence cannot be measured, so it is not said to be none.
        return Finding(
            "receive.clock",
            Severity.ALARM,
            mark("What was received from «%(name)s» is dated in the future: the clock is wrong."),
            mark("Set the clock of this box right."),
            facts,
        )
    silent = now - newest
    if silent >= SILENT_AFTER:
        return Finding(
            "receive.silent",
            Severity.ALARM if silent >= DEAD_AFTER else Severity.WARNING,
            mark("Nothing received from «%(name)s» for %(silent)s."),
            mark("Go and see the other box: is it switched on, and its line alive?"),
            {**facts, "silent": silent},
        )
    if generation_at is None or now - generation_at >= SILENT_AFTER:
        # A first copy over a slow line takes days: said, but no alarm.
        return Finding(
            "receive.incomplete",
            Severity.NOTICE
            if generation_at is None or now - generation_at < DEAD_AFTER
            else Severity.WARNING,
            mark("The copy of «%(name)s» is arriving, but is not complete yet."),
            mark("Leave the line to it; look at its progress on the other box."),
            facts,
        )
    return None
