"""Passwords at rest: argon2id, two at a time at most.

t=3, m=19 MiB, p=1 takes about 32 ms here. Source: measured-web.md G, after OWASP's Password Storage
Cheat Sheet. Which passwords are good enough is decided in ``policy.passwords``.
"""

import threading
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from appliance.units import MIB

HASHER: Final = PasswordHasher(time_cost=3, memory_cost=19 * MIB // 1024, parallelism=1)
#: A flood of sign-ins may not take the memory of a small box.
_AT_ONCE: Final = threading.Semaphore(2)


def make_hash(password: str) -> str:
    """Return the argon2id hash of a password. Takes tens of milliseconds: call it in a thread."""
    with _AT_ONCE:
        return HASHER.hash(password)


def matches(stored: str | None, password: str) -> bool:
    """Return whether this is the password; takes as long when nobody has this login (None)."""
    with _AT_ONCE:
        try:
            HASHER.verify(stored or _nobody(), password)
        except (VerificationError, InvalidHashError):
            return False
    return stored is not None


def is_outdated(stored: str) -> bool:
    """Return whether the hash was made with older parameters than today's."""
    return HASHER.check_needs_rehash(stored)


@cache
def _nobody() -> str:
    return HASHER.hash("nobody has this password")
