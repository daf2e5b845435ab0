"""Units, so that no bare number has to be explained."""

from typing import Final

KIB: Final = 1024  # bytes
MIB: Final = 1024 * KIB  # bytes
GIB: Final = 1024 * MIB  # bytes

MINUTE_S: Final = 60  # seconds
HOUR_S: Final = 60 * MINUTE_S  # seconds
DAY_S: Final = 24 * HOUR_S  # seconds

NS_PER_S: Final = 1_000_000_000


def share(part: float, whole: float) -> float:
    """Return ``part / whole`` from 0 to 1, and 0.0 when there is no whole."""
    return part / whole if whole else 0.0
