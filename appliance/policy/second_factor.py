"""When a second factor is asked for (domain.md SEC-09, PSC-03, PSC-07; draft RIE v2).

From outside the declared local networks: always. At the practice: of owners and technical
administrators always, of the others when the practice says so for all, or for one person.

Who must show one and has none yet is never locked out: they are led to make one, at the practice, with
some days of grace. From outside a password alone opens nothing, not even the page that makes a second
factor: else the first thief of a password would make it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from appliance.model import Role

#: From the day the account was made; then a second factor is made before anything else.
GRACE: Final = timedelta(days=7)
#: After so long the person shows again who they are, for what matters most: the kit, people, factors.
PROVEN_FOR: Final = timedelta(minutes=15)
#: A sign-in that waits for its second factor ends by then.
HALF_LIFE: Final = timedelta(minutes=10)
ALWAYS: Final = frozenset({Role.OWNER, Role.TECHNICAL_ADMIN})
#: Has none and makes none: what lies in a safe of the practice is one thing that is had, and good there only.
NEVER: Final = frozenset({Role.SEALED_ENVELOPE})


class Step(StrEnum):
    """What comes after the first factor was right."""

    IN = "in"  # nothing more
    LED = "led"  # in, and shown the page that makes a second factor
    ASKED = "asked"  # the second factor, then in
    MAKE = "make"  # a second factor is made first, then in
    REFUSED = (
        "refused"  # from outside, and there is no second factor: at the practice, or by a link
    )


@dataclass(frozen=True, slots=True)
class Means:
    """How somebody came: what they showed so far, as ``session.factors`` holds it."""

    factors: str  # «password», «link», «passkey+verified», «password+totp» …

    @property
    def is_strong(self) -> bool:
        """Two different factors were shown."""
        return "+" in self.factors

    @property
    def is_link(self) -> bool:
        """It began with a one-time link, handed over by who is responsible."""
        return self.factors.split("+")[0] == "link"


def is_required(role: Role, *, of_person: bool, of_everyone: bool, is_local: bool) -> bool:
    """Return whether this person shows a second factor from where they are.

    Args:
        role: theirs.
        of_person: it was set for this person.
        of_everyone: it was set for the whole practice.
        is_local: they are in a declared local network.
    """
    if is_local and role in NEVER:
        return False
    return not is_local or of_everyone or of_person or role in ALWAYS


def next_step(
    means: Means,
    *,
    required: bool,
    has_factor: bool,
    is_local: bool,
    since: datetime,
    now: datetime,
) -> Step:
    """Return what comes after the first factor.

    Args:
        means: what was shown.
        required: as ``is_required`` says.
        has_factor: the person has made a second factor.
        is_local: they are in a declared local network.
        since: when the account was made: the grace counts from there.
        now: aware.
    """
    if means.is_strong or not required:
        return Step.IN
    if has_factor:
        return Step.ASKED
    if not is_local:
        return Step.MAKE if means.is_link else Step.REFUSED
    return Step.LED if since <= now < since + GRACE else Step.MAKE


def is_proven(proven_at: datetime | None, now: datetime) -> bool:
    """Return whether the person showed who they are just now; a proof of the future is none."""
    return proven_at is not None and timedelta(0) <= now - proven_at < PROVEN_FOR


def may_go_on(means: Means, *, began_local: bool, is_local: bool) -> bool:
    """Return whether a session goes on from another place than it began.

    A session of one factor that began at the practice ends at its door: its cookie, carried out,
    asks for the second factor.
    """
    return means.is_strong or is_local or not began_local
