"""The 3-2-1 indicator: what is missing, not a badge (domain.md SAV-10, SAV-18, row 7).

Production and two backups, on two different media, one of them offline, one of them elsewhere. A copy
that cannot be overwritten is not an offline one: it is said apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from appliance.language import mark

COPIES: Final = 3
MEDIA: Final = 2
OFFSITE_AGE: Final = timedelta(days=7)
OFFLINE_AGE: Final = timedelta(days=7)
#: With a copy that cannot be overwritten, the offline one may be rarer (SAV-18, R12).
OFFLINE_AGE_WITH_WORM: Final = timedelta(days=31)


class Missing(StrEnum):
    """What 3-2-1 still asks for."""

    COPIES = "copies"
    MEDIA = "media"
    OFFSITE = "offsite"
    OFFLINE = "offline"


MISSING_TEXTS: Final[dict[Missing, str]] = {
    Missing.COPIES: mark("Fewer than three copies are known to be good."),
    Missing.MEDIA: mark("All copies lie on the same kind of medium."),
    Missing.OFFSITE: mark("No copy of the last 7 days lies in another building."),
    Missing.OFFLINE: mark("No recent copy is disconnected from everything."),
}


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of the practice's data, the data itself included."""

    medium: str  # one word per kind: «disk-box», «disk-usb», «object-store»
    good_at: datetime | None  # last proven good; None: not known, so it does not count
    is_offsite: bool = False
    is_offline: bool = False
    is_write_once: bool = False


@dataclass(frozen=True, slots=True)
class Indicator:
    """Where the practice stands."""

    copies: int
    media: int
    has_offsite: bool
    has_offline: bool
    has_write_once: bool
    missing: tuple[Missing, ...]


def indicator(copies: Sequence[Copy], now: datetime) -> Indicator:
    """Return what is there and what is missing; a copy never proven good does not count."""
    good = [(one, now - one.good_at) for one in copies if one.good_at is not None]
    media = len({one.medium for one, _ in good})
    write_once = any(one.is_write_once for one, _ in good)
    offline_age = OFFLINE_AGE_WITH_WORM if write_once else OFFLINE_AGE
    offsite = any(one.is_offsite and age <= OFFSITE_AGE for one, age in good)
    offline = any(one.is_offline and age <= offline_age for one, age in good)
    found = (
        (Missing.COPIES, len(good) < COPIES),
        (Missing.MEDIA, media < MEDIA),
        (Missing.OFFSITE, not offsite),
        (Missing.OFFLINE, not offline),
    )
    return Indicator(
        copies=len(good),
        media=media,
        has_offsite=offsite,
        has_offline=offline,
        has_write_once=write_once,
        missing=tuple(one for one, applies in found if applies),
    )
