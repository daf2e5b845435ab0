"""How long the journal is kept (domain.md SEC-14: 6 to 12 months; up to 3 years with a reason)."""

from datetime import datetime, timedelta
from typing import Final

from appliance.language import mark

MONTHS: Final = 12
MONTHS_BOUNDS: Final = (6, 36)
#: Longer than this asks for a reason.
WITHOUT_REASON: Final = 12
REASON_LETTERS: Final = 10
_MONTH: Final = timedelta(days=365) / 12
#: What still proves something is never cut, unless it is older than the longest time allowed.
LONGEST: Final = _MONTH * MONTHS_BOUNDS[1]


def keep_from(now: datetime, months: int) -> datetime:
    """Return the moment before which entries may go: 12 months are 365 days."""
    return now - _MONTH * months


def problem(months: int, reason: str) -> str | None:
    """Return why the practice may not choose this, or None."""
    low, high = MONTHS_BOUNDS
    if not low <= months <= high:
        return mark("From 6 to 36 months.")
    if months > WITHOUT_REASON and len(" ".join(reason.split())) < REASON_LETTERS:
        return mark("More than 12 months needs a reason that can be told to the CNIL.")
    return None


def last_to_go(seqs_kept: list[int], first: int, newest: int) -> int:
    """Return the number of the last entry that may go, or ``first - 1``: none.

    Args:
        seqs_kept: numbers of entries that stay, for whatever reason.
        first: number of the oldest entry there is.
        newest: number of the newest one; it always stays, for the next to follow.
    """
    return max(first - 1, min([*seqs_kept, newest]) - 1)
