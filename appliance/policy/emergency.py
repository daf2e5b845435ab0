"""When emergency access («bris de glace») may be taken, for how long, and when it is looked at (domain.md SEC-15)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from appliance.language import mark
from appliance.model import Role
from appliance.policy.findings import Finding, Severity
from appliance.policy.share_rights import PROFESSIONALS

MINUTES: Final = 30
MINUTES_BOUNDS: Final = (5, 240)
REASON_LETTERS: Final = 10
REASON_AT_MOST: Final = 1_000
#: An access is reviewed within so long.
REVIEW_WITHIN: Final = timedelta(days=7)


def refusal(role: Role, reason: str) -> str | None:
    """Return why this is refused, or None.

    Args:
        role: of who takes it. A technical administrator never does: a professional takes it for them.
        reason: as typed.
    """
    if role not in PROFESSIONALS:
        return mark("Only a health professional takes emergency access.")
    words = " ".join(reason.split())
    if len(words) < REASON_LETTERS or len(set(words.replace(" ", ""))) < 4:
        return mark("Say why, in at least 10 letters that somebody will read.")
    if len(reason) > REASON_AT_MOST:
        return mark("This is too long: say why in some sentences.")
    return None


@dataclass(frozen=True, slots=True)
class Unreviewed:
    """An access nobody has reviewed yet."""

    began_at: datetime
    taker: str


def review_findings(waiting: Sequence[Unreviewed], now: datetime) -> list[Finding]:
    """Return what there is to say about accesses that wait for their review; one finding at most."""
    if not waiting:
        return []
    oldest = min(waiting, key=lambda each: each.began_at)
    age = now - oldest.began_at
    action = mark("Read why and what was opened, and sign the review: page «Emergency access».")
    if age > REVIEW_WITHIN:
        return [
            Finding(
                "emergency.review-overdue",
                Severity.WARNING,
                mark("An emergency access of %(taker)s, %(age)s ago, was never reviewed."),
                action,
                {"taker": oldest.taker, "age": age},
            )
        ]
    return [
        Finding(
            "emergency.review-due",
            Severity.NOTICE,
            mark("%(taker)s took emergency access: it is to be reviewed within 7 days."),
            action,
            {"taker": oldest.taker},
        )
    ]


def may_review(reviewer: int, taker: int, owners: Sequence[int]) -> bool:
    """Return whether this owner may review: another one than the taker, when there is another.

    Args:
        reviewer: person id of an owner.
        taker: person id of who took the access.
        owners: person ids of the living owners.
    """
    if reviewer not in owners:
        return False
    return reviewer != taker or all(each == taker for each in owners)
