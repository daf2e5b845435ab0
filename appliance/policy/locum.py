"""What a locum's term may be (domain.md SEC-02): whom, how long, which part of whose rights."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from appliance.language import mark
from appliance.model import Role
from appliance.policy.share_rights import NONE, Right

#: Days a term may last; the practice may choose otherwise within the bounds.
MOST_DAYS: Final = 90
MOST_DAYS_BOUNDS: Final = (1, 366)
#: A term is not prepared longer ahead: who knows what the rights are by then?
AHEAD: Final = timedelta(days=366)
#: Doctors: only they are replaced, only they answer for a replacement.
REPLACED: Final = frozenset({Role.OWNER, Role.ASSOCIATE})
_RPPS: Final = re.compile(r"\d{11}")


def rpps_problem(rpps: str) -> str | None:
    """Return what is wrong with an RPPS number, or None; an empty one is for the caller to judge."""
    if not _RPPS.fullmatch(rpps):
        return mark("An RPPS number has 11 digits.")
    return None


def looks_mistyped(rpps: str) -> bool:
    """Return whether the last digit does not follow from the others (Luhn): a warning, never a refusal.

    That RPPS numbers end in such a key is known from memory only (domain.md PSC-01).
    """
    total = 0
    for place, digit in enumerate(reversed(rpps)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 != 0


def dates_problem(
    starts_at: datetime, ends_at: datetime, now: datetime, *, most_days: int
) -> str | None:
    """Return what is wrong with a term's dates, or None.

    Args:
        starts_at: the first moment inside; may lie in the past: it then begins at once.
        ends_at: the first moment outside.
        now: aware.
        most_days: what the practice allows.
    """
    if ends_at <= starts_at:
        return mark("The end comes after the beginning.")
    if ends_at <= now:
        return mark("This end is past already.")
    if ends_at - starts_at > timedelta(days=most_days):
        return mark("This is longer than the practice allows. Extend it when the time comes.")
    if starts_at > now + AHEAD:
        return mark("This begins too far ahead. Prepare it nearer to the day.")
    return None


def chosen_rights(
    wanted: Mapping[int, frozenset[Right]], held: Mapping[int, frozenset[Right]]
) -> dict[int, frozenset[Right]]:
    """Return the part of ``held`` that was ticked: never more than whom they replace has.

    A right that needs «see» without it is left out, so is a share without any.

    Args:
        wanted: share → ticked rights.
        held: share → rights of whom they replace, now.
    """
    found = {}
    for share, rights in wanted.items():
        given = rights & held.get(share, NONE)
        if Right.SEE not in given:
            given &= {Right.ADD}
        if given:
            found[share] = frozenset(given)
    return found
