"""What is told about findings: when one begins, gets worse, goes on being an alarm, and ends. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from appliance.policy.findings import Finding, Severity
from appliance.policy.notices import FINDING_BEGUN, FINDING_ENDED, FINDING_STILL, FINDING_WORSE

#: A finding must stay so long before it is told: between a backup and its proof there is always one.
MUST_LAST: Final = {
    Severity.ALARM: timedelta(0),
    Severity.WARNING: timedelta(hours=2),
    Severity.NOTICE: timedelta(hours=2),
}
#: It is over when it was not there in so many looks.
LOOKS_GONE: Final = 2
#: An alarm is told again.
AGAIN: Final = timedelta(days=1)
#: An alarm that lasts is told to each owner and administrator, whatever they chose.
ESCALATES_AFTER: Final = timedelta(days=3)
#: Of the mere notices, those with a day they are due on.
DUE: Final = frozenset({"people.review-due", "drill.due", "emergency.review-due", "kit.file-old"})

#: Facts that name what a finding is about, when it is no source.
_ABOUT: Final = ("target", "share", "way")
_GRAVITY: Final = (Severity.NOTICE, Severity.WARNING, Severity.ALARM)


@dataclass(frozen=True, slots=True)
class Known:
    """A finding that was there at the last looks."""

    finding: Finding
    since: datetime
    told_at: datetime | None = None
    missed: int = 0  # looks it was not there in, just now


@dataclass(frozen=True, slots=True)
class Change:
    """Something to tell."""

    code: str  # policy.notices.FINDING_*
    finding: Finding
    since: datetime
    escalates: bool = False

    @property
    def is_grave(self) -> bool:
        """It is about an alarm."""
        return self.finding.severity is Severity.ALARM


def key_of(finding: Finding) -> str:
    """Return what makes a finding the same at two looks: its words and figures may change."""
    about = next((finding.facts[each] for each in _ABOUT if finding.facts.get(each)), "")
    return f"{finding.code}/{finding.source_id or ''}/{about}"


def is_told(finding: Finding) -> bool:
    """Return whether it leaves the box at all."""
    return finding.severity is not Severity.NOTICE or finding.code in DUE


def look(
    known: Mapping[str, Known], found: Sequence[Finding], now: datetime
) -> tuple[list[Change], dict[str, Known]]:
    """Return what is to be told after a look, gravest first as found, and what is known from then on."""
    changes: list[Change] = []
    after: dict[str, Known] = {}
    for finding in found:
        key = key_of(finding)
        if key in after or not is_told(finding):
            continue  # two of one kind about one thing are one
        before = known.get(key)
        since = now if before is None else min(before.since, now)
        one = Known(finding, since, None if before is None else before.told_at)
        code = _code(before, one, now)
        if code is not None:
            escalates = code == FINDING_STILL and now - since >= ESCALATES_AFTER
            changes.append(Change(code, finding, since, escalates))
            one = replace(one, told_at=now)
        after[key] = one
    for key, each in known.items():
        if key in after:
            continue
        if each.missed + 1 < LOOKS_GONE:
            after[key] = replace(each, missed=each.missed + 1)
        elif each.told_at is not None:
            changes.append(Change(FINDING_ENDED, each.finding, each.since))
    return changes, after


def _code(before: Known | None, one: Known, now: datetime) -> str | None:
    severity = one.finding.severity
    if one.told_at is None:
        return FINDING_BEGUN if now - one.since >= MUST_LAST[severity] else None
    if before is not None and _GRAVITY.index(severity) > _GRAVITY.index(before.finding.severity):
        return FINDING_WORSE
    if severity is Severity.ALARM and now - one.told_at >= AGAIN:
        return FINDING_STILL
    return None
