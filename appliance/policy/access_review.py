"""The yearly review of who may do what (domain.md SEC-05): when it is due."""

from datetime import datetime, timedelta
from typing import Final

from appliance.language import mark
from appliance.policy.findings import Finding, Severity

EVERY: Final = timedelta(days=365)
#: It is announced so long ahead.
AHEAD: Final = timedelta(days=30)


def review_findings(
    last_at: datetime | None, first_account_at: datetime | None, now: datetime
) -> list[Finding]:
    """Return what there is to say about the yearly review; one finding at most.

    Args:
        last_at: when it was last signed; None: never.
        first_account_at: when the oldest account was made: the first year counts from there.
        now: aware.
    """
    since = last_at or first_account_at
    if since is None or now - since <= EVERY - AHEAD:
        return []
    age = now - since
    is_late = age > EVERY
    action = mark("Look through the accounts and sign: page «Review of rights».")
    if last_at is None:
        text = mark("Who may do what on this box was never reviewed; once a year is asked for.")
    else:
        text = mark("The last review of rights was %(age)s ago; once a year is asked for.")
    return [
        Finding(
            "people.review-overdue" if is_late else "people.review-due",
            Severity.WARNING if is_late else Severity.NOTICE,
            text,
            action,
            {"age": age},
        )
    ]
