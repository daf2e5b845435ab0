"""What to keep of a repository, and why nothing may go just now (beam 6).

The rules are those of ``borg prune``: walking from the newest snapshot to the oldest, the newest of
each period is kept until the rule has kept as many as it says; a snapshot an earlier rule already
keeps is not counted again; a rule that runs out of periods also keeps the oldest snapshot. Periods
are those of the practice's clock, weeks are ISO weeks.
Where Borg and the house differ, the house keeps more: see ``decide``.

Source: Borg 1.4.5, ``helpers/misc.py`` (prune_within, prune_split) and «borg prune» in its manual;
tests/integration/test_retention_like_borg.py compares with the program.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Final

from appliance.language import Language, mark, translate, translate_count
from appliance.model import JobState, Keep, Outcome, SnapshotId


class KeepReason(StrEnum):
    """Why a snapshot stays, or that it goes."""

    WITHIN = "within"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"
    OLDEST = "oldest"  # a rule was not filled, so it keeps the oldest too
    NEWEST = "newest"
    LAST_COMPLETE = "last-complete"
    PROTECTED = "protected"
    LEGAL_HOLD = "legal-hold"
    FUTURE = "future"  # dated after now: the clock is or was wrong
    NO_RULE = "no-rule"  # the plan names no rule, so nothing goes
    EXPIRED = "expired"  # the only one that means «goes»


REASON_TEXTS: Final[dict[KeepReason, str]] = {
    KeepReason.WITHIN: mark("recent: every snapshot is kept"),
    KeepReason.DAILY: mark("the last one of its day"),
    KeepReason.WEEKLY: mark("the last one of its week"),
    KeepReason.MONTHLY: mark("the last one of its month"),
    KeepReason.YEARLY: mark("the last one of its year"),
    KeepReason.OLDEST: mark("the oldest one: there are fewer than the plan asks for"),
    KeepReason.NEWEST: mark("the newest one"),
    KeepReason.LAST_COMPLETE: mark("the last complete one"),
    KeepReason.PROTECTED: mark("protected by a person"),
    KeepReason.LEGAL_HOLD: mark("under legal hold"),
    KeepReason.FUTURE: mark("dated in the future: the clock was wrong"),
    KeepReason.NO_RULE: mark("the plan removes nothing"),
    KeepReason.EXPIRED: mark("no rule of the plan keeps it any longer"),
}


@dataclass(frozen=True, slots=True)
class KeepCandidate:
    """What the decision needs to know of one snapshot."""

    id: SnapshotId
    taken_at: datetime  # when it was begun, as Borg counts
    protected: bool = False
    legal_hold: bool = False
    complete: bool = True  # False when something asked for is not in it (SnapshotState.WARNED)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one snapshot."""

    id: SnapshotId
    kept: bool
    why: KeepReason


#: In Borg's order: the field of ``Keep``, and the period a local time falls in.
RULES: Final[tuple[tuple[KeepReason, Callable[[Keep], int], Callable[[datetime], object]], ...]] = (
    (KeepReason.DAILY, lambda keep: keep.daily, lambda at: at.date()),
    (KeepReason.WEEKLY, lambda keep: keep.weekly, lambda at: at.isocalendar()[:2]),
    (KeepReason.MONTHLY, lambda keep: keep.monthly, lambda at: (at.year, at.month)),
    (KeepReason.YEARLY, lambda keep: keep.yearly, lambda at: at.year),
)


def decide(
    snapshots: Sequence[KeepCandidate], keep: Keep, now: datetime, tz: tzinfo
) -> list[Decision]:
    """Return one decision per snapshot, newest first.

    More careful than Borg in five ways: the newest snapshot and the last complete one never go;
    protected ones and those under legal hold never go (they fill their period like any other); one
    dated after ``now`` is kept and fills nothing; a plan without any rule removes nothing.
    Deciding again about what was kept, at the same ``now``, removes nothing.

    Args:
        snapshots: every snapshot of one source, in any order.
        keep: the rules, counts and days of 0 and more.
        now: aware.
        tz: the practice's time zone.
    """
    newest_first = sorted(snapshots, key=lambda one: (one.taken_at, one.id), reverse=True)
    known = [one for one in newest_first if one.taken_at <= now]
    by_rule = _kept_by_rules(known, keep, now, tz)
    newest = known[0].id if known else None
    last_complete = next((one.id for one in known if one.complete), None)

    def why(one: KeepCandidate) -> KeepReason:
        always = (
            (KeepReason.FUTURE, one.taken_at > now),
            (KeepReason.LEGAL_HOLD, one.legal_hold),
            (KeepReason.PROTECTED, one.protected),
            (KeepReason.NO_RULE, not any_rule(keep)),
        )
        for reason, applies in always:
            if applies:
                return reason
        if one.id in by_rule:
            return by_rule[one.id]
        if one.id == newest:
            return KeepReason.NEWEST
        if one.id == last_complete:
            return KeepReason.LAST_COMPLETE
        return KeepReason.EXPIRED

    reasons = [(one, why(one)) for one in newest_first]
    return [Decision(one.id, reason is not KeepReason.EXPIRED, reason) for one, reason in reasons]


def any_rule(keep: Keep) -> bool:
    """Return whether the plan names any rule at all."""
    return keep.within_days > 0 or any(count(keep) > 0 for _, count, _ in RULES)


def _kept_by_rules(
    newest_first: Sequence[KeepCandidate], keep: Keep, now: datetime, tz: tzinfo
) -> dict[SnapshotId, KeepReason]:
    horizon = now - timedelta(days=keep.within_days)
    kept = {one.id: KeepReason.WITHIN for one in newest_first if one.taken_at > horizon}
    for rule, count, period_of in RULES:
        left = count(keep)
        last: object = None
        for one in newest_first:
            if left == 0:
                break
            period = period_of(one.taken_at.astimezone(tz))
            if period != last:
                last = period
                if one.id not in kept:
                    kept[one.id] = rule
                    left -= 1
        if left and newest_first:
            kept.setdefault(newest_first[-1].id, KeepReason.OLDEST)
    return kept


def reason_words(reason: KeepReason, language: Language) -> str:
    """Return why a snapshot stays or goes, as the end of a sentence."""
    return translate(REASON_TEXTS[reason], language)


# --- in plain words ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Horizon:
    """How long something stays recoverable, counted from the last night that saw it."""

    count: int
    unit: str  # day · week · month · year


#: What a unit of a promise is worth at least; a month is of 30 days.
DAYS_AT_LEAST: Final = {"day": 1, "week": 7, "month": 30, "year": 365}


def horizon(keep: Keep) -> Horizon:
    """Return for how long a file that was there for a while can surely be recovered once deleted.

    «A while» is one period of the rule that reaches furthest: a month for a monthly rule. Of that
    rule's places the newest snapshot takes one, and the newest of the period before takes one,
    unless finer rules keep these already; a file deleted shortly before the end of a period is in
    neither. tests/unit/policy/test_retention.py lives through years of nights to check it.
    """
    nights = keep.within_days + keep.daily
    weeks = nights + 7 * keep.weekly
    months = weeks + 30 * keep.monthly
    found = [
        Horizon(keep.within_days, "day"),
        Horizon(keep.daily, "day"),
        Horizon(keep.weekly - _places_taken(nights, 7), "week"),
        Horizon(keep.monthly - _places_taken(nights, 30), "month"),
        Horizon(keep.yearly - _places_taken(months, 365), "year"),
    ]
    return max(found, key=lambda one: one.count * DAYS_AT_LEAST[one.unit])


def _places_taken(days_covered: int, period_days: int) -> int:
    """Return how many places of a rule go to periods a deleted file may not be in."""
    return (days_covered < 1) + (days_covered < period_days)


def horizon_words(one: Horizon, language: Language) -> str:
    """Return «12 months»."""
    one_text, many = {
        "day": (mark("%(count)s day"), mark("%(count)s days")),
        "week": (mark("%(count)s week"), mark("%(count)s weeks")),
        "month": (mark("%(count)s month"), mark("%(count)s months")),
        "year": (mark("%(count)s year"), mark("%(count)s years")),
    }[one.unit]
    return translate_count(one_text, many, one.count, language)


def sentence(keep: Keep, language: Language) -> str:
    """Return in plain words what the rules promise about a deleted file."""
    if not any_rule(keep):
        return translate(
            mark("Nothing is ever removed: a deleted file stays recoverable."), language
        )
    long = horizon(keep)
    short = Horizon(max(keep.within_days, keep.daily), "day")
    if long.count <= 0:
        return translate(
            mark("Only the newest snapshot is kept: a deleted file is lost the next night."),
            language,
        )
    if short.count == 0 or long == short:
        return translate(
            mark("A deleted file stays recoverable for %(long)s."),
            language,
            long=horizon_words(long, language),
        )
    return translate(
        mark(
            "A deleted file stays recoverable for %(long)s; one that was there for a single night,"
            " for %(short)s."
        ),
        language,
        long=horizon_words(long, language),
        short=horizon_words(short, language),
    )


# --- when nothing may go -------------------------------------------------------------------


class FreezeReason(StrEnum):
    """Why nothing is removed from a repository; the value fits ``source.frozen_reason``."""

    LIST_UNREADABLE = "list-unreadable"
    ARCHIVE_VANISHED = "archive-vanished"
    ANOMALY_OPEN = "anomaly-open"
    PROOF_FAILED = "proof-failed"
    PROOF_MISSING = "proof-missing"
    RUN_FAILED = "run-failed"
    RUN_UNKNOWN = "run-unknown"
    CLOCK_WRONG = "clock-wrong"


#: Each fits at the end of «Nothing is removed while something is in doubt: …».
FREEZE_TEXTS: Final[dict[FreezeReason, str]] = {
    FreezeReason.LIST_UNREADABLE: mark("the list of snapshots cannot be read"),
    FreezeReason.ARCHIVE_VANISHED: mark("snapshots disappeared that this box did not remove"),
    FreezeReason.ANOMALY_OPEN: mark("an anomaly is waiting for a person to look at it"),
    FreezeReason.PROOF_FAILED: mark("the last check found a difference"),
    FreezeReason.PROOF_MISSING: mark("the last snapshot is not proven yet"),
    FreezeReason.RUN_FAILED: mark("the last backup failed"),
    FreezeReason.RUN_UNKNOWN: mark("it is not known how the last backup ended"),
    FreezeReason.CLOCK_WRONG: mark("the clock of the box is wrong"),
}


def why_frozen(
    *,
    last_run_state: JobState | None,
    last_proof: Outcome | None,
    open_anomalies: int,
    archive_list_readable: bool,
    vanished_archives: int,
    clock_ok: bool,
) -> list[FreezeReason]:
    """Return every reason why nothing may be removed, gravest first; empty means pruning may run.

    Args:
        last_run_state: how the newest run of the source ended; None: there was none.
        last_proof: outcome of the newest sample proof of the newest snapshot; None: there is none.
        open_anomalies: how many no person has closed.
        archive_list_readable: the repository's list was read just now, whole.
        vanished_archives: archives we list, did not remove, and do not find.
        clock_ok: no record of ours is dated after now.
    """
    run_ended_well = {JobState.SUCCEEDED, JobState.WARNED, JobState.CANCELLED}
    run_unknown = {None, JobState.QUEUED, JobState.RUNNING}
    found = (
        (FreezeReason.LIST_UNREADABLE, not archive_list_readable),
        (FreezeReason.ARCHIVE_VANISHED, vanished_archives > 0),
        (FreezeReason.ANOMALY_OPEN, open_anomalies > 0),
        (FreezeReason.PROOF_FAILED, last_proof is Outcome.FAILED),
        (FreezeReason.PROOF_MISSING, last_proof in {None, Outcome.INCONCLUSIVE}),
        (FreezeReason.RUN_FAILED, last_run_state not in run_ended_well | run_unknown),
        (FreezeReason.RUN_UNKNOWN, last_run_state in run_unknown),
        (FreezeReason.CLOCK_WRONG, not clock_ok),
    )
    return [reason for reason, applies in found if applies]


def freeze_text(reason: FreezeReason) -> str:
    """Return the English (translatable) text that ``errors.Frozen.reason`` takes."""
    return FREEZE_TEXTS[reason]
