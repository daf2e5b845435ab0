"""May a disk be taken away? What the unit of a plugged disk recorded, in words (``TargetRow.facts["disk"]``)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from appliance.language import mark

#: In the target's facts: {"state": DiskState, "folder": where it was mounted, "at": ISO time}.
DISK: Final = "disk"


class DiskState(StrEnum):
    """Where a disk is between plugging in and taking away."""

    COPYING = "copying"
    DONE = "done"
    FAILED = "failed"
    AWAY = "away"  # unmounted: it may be taken away
    PULLED_OUT = "pulled-out"  # it went while a copy was under way


#: State → tone of a note («», is-good, is-warn, is-bad) and what it says.
_SAID: Final[dict[DiskState, tuple[str, str]]] = {
    DiskState.COPYING: (
        "is-warn",
        mark("A copy to this disk is under way: leave it plugged in."),
    ),
    DiskState.DONE: (
        "is-warn",
        mark(
            "The copy is complete; the disk is still mounted. Unmount it before you take it away."
        ),
    ),
    DiskState.FAILED: (
        "is-bad",
        mark("The last copy to this disk is not complete. What is written on it stays good."),
    ),
    DiskState.AWAY: ("is-good", mark("This disk was unmounted: it may be taken away.")),
    DiskState.PULLED_OUT: (
        "is-bad",
        mark(
            "This disk went while a copy was under way. The copies on it stay good: plug it in again, "
            "the copy goes on where it was."
        ),
    ),
}


def said(facts: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the tone and the text for a target's facts; None where no disk was ever plugged in.

    A state of a newer program says nothing.
    """
    found = facts.get(DISK)
    if not isinstance(found, Mapping):
        return None
    try:
        return _SAID[DiskState(str(found.get("state")))]
    except ValueError:
        return None
