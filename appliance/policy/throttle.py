"""How failed sign-ins slow the next one down, and when a session ends (domain.md SEC-07, SEC-08).

Three failures cost a minute, each further one twice as long, up to an hour; ten block the account
until an administrator or a one-time link opens it. A success sets the count back to 0.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

FREE_FAILURES: Final = 2  # cost nothing: people mistype
BLOCKED_AT: Final = 10
FIRST_WAIT: Final = timedelta(minutes=1)
LONGEST_WAIT: Final = timedelta(hours=1)
#: So many locks in a day raise an alert (PGSSI-S 5.2.3).
LOCKS_A_DAY: Final = 3
LOCKS_WITHIN: Final = timedelta(days=1)

IDLE: Final = timedelta(minutes=15)
IDLE_AT_MOST: Final = timedelta(minutes=30)
REMOTE_SESSION: Final = timedelta(hours=4)
LOCAL_SESSION: Final = timedelta(hours=12)  # a working day


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether this account may try to sign in now."""

    open: bool
    wait_s: int = 0  # seconds until it is worth trying again; 0 when open or blocked
    blocked: bool = False  # waiting does not help: an administrator or a link does


def wait_after(failures: int, *, blocks: bool = True) -> timedelta | None:
    """Return how long to wait after so many failures in a row; None: blocked.

    Args:
        failures: in a row.
        blocks: False: of a secret nobody guesses, mistyped off paper; it waits and is never blocked.
    """
    if failures >= BLOCKED_AT:
        return None if blocks else LONGEST_WAIT
    if failures <= FREE_FAILURES:
        return timedelta(0)
    return min(FIRST_WAIT * (1 << (failures - FREE_FAILURES - 1)), LONGEST_WAIT)


def locked_until(failures: int, now: datetime, *, blocks: bool = True) -> datetime | None:
    """Return what to store after the failure that made it ``failures``; None: nothing to wait for."""
    wait = wait_after(failures, blocks=blocks)
    return now + wait if wait else None


def gate(failures: int, locked: datetime | None, now: datetime, *, blocks: bool = True) -> Gate:
    """Return whether a sign-in may be tried.

    Args:
        failures: in a row, as stored.
        locked: the stored ``locked_until``.
        now: aware. A clock that went back lengthens no wait beyond what the failures cost.
        blocks: as of ``wait_after``.
    """
    wait = wait_after(failures, blocks=blocks)
    if wait is None:
        return Gate(open=False, blocked=True)
    if locked is None or locked <= now:
        return Gate(open=True)
    left = min(locked - now, wait)
    seconds = -int(-left.total_seconds() // 1)  # rounded up: «0 seconds» would be a lie
    return Gate(open=seconds == 0, wait_s=seconds)


def alert_due(locks_today: int, failures: int) -> bool:
    """Return whether this lock is told: the third of a day, and the one that blocks, however slowly it came."""
    return locks_today == LOCKS_A_DAY or failures == BLOCKED_AT


class SessionEnd(StrEnum):
    """Why a session has ended."""

    IDLE = "idle"
    TOO_OLD = "too-old"
    REVOKED = "revoked"
    CLOCK = "clock"  # it was made in the future


def session_end(
    *,
    created_at: datetime,
    seen_at: datetime,
    revoked_at: datetime | None,
    now: datetime,
    is_remote: bool,
    idle: timedelta = IDLE,
) -> SessionEnd | None:
    """Return why the session has ended, None while it lives.

    Args:
        created_at: when the person signed in.
        seen_at: when they last asked for something.
        revoked_at: when it was ended by hand.
        now: aware.
        is_remote: it comes from outside the declared local network.
        idle: the practice's choice; never more than ``IDLE_AT_MOST``.
    """
    if revoked_at is not None:
        return SessionEnd.REVOKED
    if created_at > now + timedelta(minutes=5):
        return SessionEnd.CLOCK
    if now - created_at >= (REMOTE_SESSION if is_remote else LOCAL_SESSION):
        return SessionEnd.TOO_OLD
    if now - seen_at >= min(idle, IDLE_AT_MOST):
        return SessionEnd.IDLE
    return None
