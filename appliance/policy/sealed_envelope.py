"""The account in the safe (domain.md SEC-04, SAV-17): when its envelope is looked at, and what is asked then.

An emergency administrator who is nobody from day to day. The code lies on paper, sealed; it signs in once, at the
practice only, and everybody responsible is told.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from appliance.language import mark
from appliance.policy.findings import Finding, Severity

#: Once a year somebody looks whether it is still there and shut.
LOOKED_AT_EVERY: Final = timedelta(days=365)
#: Its session: long enough to let somebody in, who then works in their own name.
SESSION: Final = timedelta(hours=1)
LONGEST_PLACE: Final = 200


@dataclass(frozen=True, slots=True)
class Kept:
    """The envelope that is in force."""

    sealed_at: datetime
    opened_at: datetime | None


def envelope_findings(kept: Kept | None, now: datetime) -> list[Finding]:
    """Return what there is to say about the envelope; one finding at most, none where there is no envelope."""
    if kept is None:
        return []
    if kept.opened_at is not None:
        return [
            Finding(
                "envelope.opened",
                Severity.ALARM,
                mark("The sealed envelope was opened %(age)s ago."),
                mark(
                    "Look in the journal at what was done with it, then seal a new one: page «Sealed envelope»."
                ),
                {"age": now - kept.opened_at},
            )
        ]
    if now - kept.sealed_at > LOOKED_AT_EVERY:
        return [
            Finding(
                "envelope.old",
                Severity.NOTICE,
                mark("The sealed envelope was made %(age)s ago."),
                mark("See that it is where it should be and shut, then seal a new one."),
                {"age": now - kept.sealed_at},
            )
        ]
    return []
