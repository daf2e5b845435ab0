"""From proofs to the truth: one level a source, one sentence a box, and what needs doing.

Green comes from proofs alone. A source is ``PROVEN`` when bytes of its newest snapshot came back and
were right, the counts agree, the snapshot is as fresh as promised and its application was consistent.
Whatever is not known is never green, and late is not failed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Final

from appliance.language import Language, mark, translate, translate_count
from appliance.model import (
    Consistency,
    JobState,
    Outcome,
    Plan,
    Proof,
    SnapshotId,
    SourceId,
    SourceKind,
)
from appliance.policy.findings import Finding, Severity, gravest_first
from appliance.policy.retention import FREEZE_TEXTS, FreezeReason
from appliance.policy.timetable import CLOCK_TOLERANCE, Lateness, late_state, unseen_days
from appliance.policy.wording import duration_words


class ProofKind(StrEnum):
    """What was verified: the kinds of ``model.Proof``."""

    SAMPLE = "snapshot.sample"
    COUNT = "snapshot.count"
    CHECK = "repository.check"
    DATA = "repository.data"
    DRILL = "drill.restore"


PROOF_NAMES: Final[dict[ProofKind, str]] = {
    ProofKind.SAMPLE: mark("sample restored and compared"),
    ProofKind.COUNT: mark("files counted on both sides"),
    ProofKind.CHECK: mark("repository checked"),
    ProofKind.DATA: mark("every byte read again"),
    ProofKind.DRILL: mark("restore drill"),
}

OUTCOME_NAMES: Final[dict[Outcome, str]] = {
    Outcome.PROVEN: mark("proven"),
    Outcome.FAILED: mark("failed"),
    Outcome.INCONCLUSIVE: mark("could not be done"),
}

#: The levels at which an application's files may be green (domain.md APP-01, APP-02).
GREEN_CONSISTENCY: Final = frozenset(
    {Consistency.DUMP, Consistency.VSS_WRITER, Consistency.STOPPED, Consistency.FILES}
)
#: Failures that mean the machine was away, not that the backup went wrong: lateness judges them.
_AWAY_CODES: Final = frozenset({"machine.unreachable"})


class Level(StrEnum):
    """The one word about a source, best first. Only ``PROVEN`` is green."""

    PROVEN = "proven"
    WARNED = "warned"  # proven, but some files could not be read
    UNKNOWN = "unknown"
    LATE = "late"
    OVERDUE = "overdue"  # late, and red
    FAILED = "failed"
    FROZEN = "frozen"  # something is in doubt: nothing is removed


LEVEL_NAMES: Final[dict[Level, str]] = {
    Level.PROVEN: mark("backed up and verified"),
    Level.WARNED: mark("verified, some files missing"),
    Level.UNKNOWN: mark("not known"),
    Level.LATE: mark("late"),
    Level.OVERDUE: mark("very late"),
    Level.FAILED: mark("failed"),
    Level.FROZEN: mark("in doubt"),
}

_WORST_LAST: Final = tuple(Level)


@dataclass(frozen=True, slots=True)
class Badge:
    """One named proof with its age. It never exists without one."""

    kind: ProofKind
    outcome: Outcome
    at: datetime
    age: timedelta
    snapshot_id: SnapshotId | None

    @property
    def is_green(self) -> bool:
        """Only a proof that succeeded, and that is not of the future."""
        return self.outcome is Outcome.PROVEN and self.age >= -CLOCK_TOLERANCE

    def words(self, language: Language) -> str:
        """Return «sample restored and compared: proven, 7 hours ago»."""
        return translate(
            mark("%(proof)s: %(outcome)s, %(age)s ago"),
            language,
            proof=translate(PROOF_NAMES[self.kind], language),
            outcome=translate(OUTCOME_NAMES[self.outcome], language),
            age=duration_words(self.age, language),
        )


@dataclass(frozen=True, slots=True)
class NewestSnapshot:
    """What matters here of the newest snapshot of a source."""

    id: SnapshotId
    started_at: datetime
    consistency: Consistency
    unread: int = 0  # files that were asked for and are not, or not surely, in it


@dataclass(frozen=True, slots=True)
class SourceReading:
    """Everything the level of a source is made from."""

    source_id: SourceId
    label: str
    kind: SourceKind
    plan: Plan
    snapshot: NewestSnapshot | None
    #: How the newest run that has ended, ended; None: none has.
    last_run_state: JobState | None
    last_run_error: str | None = None  # its error code
    proofs: Sequence[Proof] = ()  # any order, any age; at least the newest of each kind
    freeze: Sequence[FreezeReason] = ()  # stored with the source: what froze it
    open_anomalies: int = 0
    last_seen_at: datetime | None = None  # of a machine
    all_read_since: datetime | None = None  # every byte of the repository was re-read since then


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """The truth about a source, and where it comes from."""

    source_id: SourceId
    label: str
    kind: SourceKind
    level: Level
    reasons: tuple[Finding, ...]  # why it is not green, gravest first; also notices of a green one
    badges: tuple[Badge, ...]  # the newest proof of each kind
    backed_up_at: datetime | None  # the newest snapshot began
    backup_age: timedelta | None
    proven_at: datetime | None  # the sample proof of the newest snapshot
    proof_age: timedelta | None
    unread: int = 0

    @property
    def is_green(self) -> bool:
        """Only what proofs say."""
        return self.level is Level.PROVEN


#: Freezes that are a doubt of their own; the others say again what a run or a proof says already.
_DOUBTS: Final = (
    FreezeReason.ARCHIVE_VANISHED,
    FreezeReason.LIST_UNREADABLE,
    FreezeReason.ANOMALY_OPEN,
    FreezeReason.CLOCK_WRONG,
)

_Reason = tuple[Level, Finding]


def source_status(reading: SourceReading, now: datetime, tz: tzinfo) -> SourceStatus:
    """Return the truth about one source at ``now``.

    Args:
        reading: what is stored about it.
        now: aware.
        tz: the practice's time zone.
    """
    badges = _badges(reading.proofs, now)
    snapshot = reading.snapshot
    sample = _proof_of(badges, ProofKind.SAMPLE, snapshot)
    count = _proof_of(badges, ProofKind.COUNT, snapshot)
    reasons: list[_Reason] = [
        *_doubts(reading),
        *_failures(reading, badges),
        *_lateness(reading, now, tz),
        *_unknowns(reading, is_proven=sample is not None and count is not None),
        *_notices(reading, now),
    ]
    return SourceStatus(
        source_id=reading.source_id,
        label=reading.label,
        kind=reading.kind,
        level=worst([level for level, _ in reasons]),
        reasons=tuple(gravest_first([finding for _, finding in reasons])),
        badges=badges,
        backed_up_at=snapshot.started_at if snapshot else None,
        backup_age=now - snapshot.started_at if snapshot else None,
        proven_at=sample.at if sample else None,
        proof_age=sample.age if sample else None,
        unread=snapshot.unread if snapshot else 0,
    )


def worst(levels: Sequence[Level]) -> Level:
    """Return the gravest level; of nothing, ``PROVEN``."""
    return max(levels, key=_WORST_LAST.index, default=Level.PROVEN)


def _badges(proofs: Sequence[Proof], now: datetime) -> tuple[Badge, ...]:
    newest = {proof.kind: proof for proof in sorted(proofs, key=lambda one: one.seq)}
    return tuple(
        Badge(
            kind,
            newest[kind].outcome,
            newest[kind].at,
            now - newest[kind].at,
            newest[kind].snapshot_id,
        )
        for kind in ProofKind
        if kind in newest
    )


def _proof_of(
    badges: Sequence[Badge], kind: ProofKind, snapshot: NewestSnapshot | None
) -> Badge | None:
    """Return the green proof of this kind about this very snapshot."""
    for badge in badges:
        if badge.kind is kind and badge.is_green and snapshot is not None:
            return badge if badge.snapshot_id == snapshot.id else None
    return None


def _finding(
    reading: SourceReading, code: str, severity: Severity, text: str, action: str, **facts: object
) -> Finding:
    return Finding(
        code, severity, text, action, {"label": reading.label, **facts}, reading.source_id
    )


def _doubts(reading: SourceReading) -> Iterator[_Reason]:
    for doubt in _DOUBTS:
        by_count = doubt is FreezeReason.ANOMALY_OPEN and reading.open_anomalies > 0
        if doubt in reading.freeze or by_count:
            yield (
                Level.FROZEN,
                _finding(
                    reading,
                    f"status.{doubt}",
                    Severity.ALARM,
                    mark("«%(label)s»: %(reason)s. Nothing is removed."),
                    mark("Look at the source before anything else; close the alarm with a reason."),
                    reason=FREEZE_TEXTS[doubt],
                ),
            )


def _failures(reading: SourceReading, badges: Sequence[Badge]) -> Iterator[_Reason]:
    ended_badly = reading.last_run_state in {JobState.FAILED, JobState.INTERRUPTED}
    if ended_badly and reading.last_run_error not in _AWAY_CODES:
        yield (
            Level.FAILED,
            _finding(
                reading,
                "status.run-failed",
                Severity.ALARM,
                mark("The last backup of «%(label)s» failed."),
                mark("Open the source: its last job says what to do."),
            ),
        )
    for badge in badges:
        if badge.outcome is Outcome.FAILED:
            yield (
                Level.FAILED,
                _finding(
                    reading,
                    "status.proof-failed",
                    Severity.ALARM,
                    mark("A check of «%(label)s» found an error %(age)s ago: %(reason)s."),
                    mark("Check the disk of the box, then start a backup. Nothing is removed."),
                    reason=PROOF_NAMES[badge.kind],
                    age=badge.age,
                ),
            )


def _lateness(reading: SourceReading, now: datetime, tz: tzinfo) -> Iterator[_Reason]:
    taken_at = reading.snapshot.started_at if reading.snapshot else None
    lateness = late_state(reading.plan, taken_at, now, tz)
    level = {
        Lateness.ON_TIME: Level.PROVEN,
        Lateness.LATE: Level.LATE,
        Lateness.OVERDUE: Level.OVERDUE,
        Lateness.UNKNOWN: Level.UNKNOWN,
    }[lateness]
    unseen = unseen_days(reading.last_seen_at, now)
    if unseen is not None and reading.kind not in {SourceKind.SHARE, SourceKind.BOX}:
        yield (
            level,
            _finding(
                reading,
                "status.unseen",
                Severity.WARNING,
                mark("«%(label)s» was not seen for %(count)s days."),
                mark("Switch it on, or take it off the list if it is no longer used."),
                count=unseen,
            ),
        )
    if taken_at is None:
        yield (
            Level.UNKNOWN,
            _finding(
                reading,
                "status.never",
                Severity.WARNING,
                mark("«%(label)s» was never backed up."),
                mark("Start a backup, or wait for the first night."),
            ),
        )
    elif lateness is Lateness.UNKNOWN:
        yield (
            Level.UNKNOWN,
            _finding(
                reading,
                "status.clock",
                Severity.ALARM,
                mark("The last backup of «%(label)s» is dated in the future."),
                mark("Set the clock of the box right."),
            ),
        )
    elif lateness is not Lateness.ON_TIME:
        yield (
            level,
            _finding(
                reading,
                f"status.{lateness}",
                Severity.ALARM if lateness is Lateness.OVERDUE else Severity.WARNING,
                mark("«%(label)s» has not been backed up for %(age)s."),
                mark("Leave it switched on tonight, or start a backup now."),
                age=now - taken_at,
            ),
        )


def _unknowns(reading: SourceReading, *, is_proven: bool) -> Iterator[_Reason]:
    snapshot = reading.snapshot
    if snapshot is None:
        return
    if not is_proven:
        yield (
            Level.UNKNOWN,
            _finding(
                reading,
                "status.unproven",
                Severity.WARNING,
                mark("The last backup of «%(label)s» is not proven yet."),
                mark("Start «verify» for this source, or wait for the next night."),
            ),
        )
    if snapshot.consistency not in GREEN_CONSISTENCY:
        yield (
            Level.UNKNOWN,
            _finding(
                reading,
                "status.consistency",
                Severity.WARNING,
                mark(
                    "It is not known whether the application of «%(label)s» could start again"
                    " from this backup."
                ),
                mark("Ask its editor how it is backed up, then choose the matching recipe."),
            ),
        )
    if snapshot.unread:
        yield (
            Level.WARNED,
            _finding(
                reading,
                "status.unread",
                Severity.WARNING,
                mark("Files of «%(label)s» could not be read, or not surely: %(count)s."),
                mark("Look at their list in the snapshot; exclude them or give the right to read."),
                count=snapshot.unread,
            ),
        )


def _notices(reading: SourceReading, now: datetime) -> Iterator[_Reason]:
    """What should be done without taking the green away: the newest snapshot is proven all the same."""
    allowed = timedelta(days=reading.plan.verify_data_every_days)
    if reading.all_read_since is not None and now - reading.all_read_since > allowed:
        yield (
            Level.PROVEN,
            _finding(
                reading,
                "status.data-not-read",
                Severity.NOTICE,
                mark("The repository of «%(label)s» was last read whole %(age)s ago."),
                mark("Start a full verification of this source."),
                age=now - reading.all_read_since,
            ),
        )


# --- the home page -------------------------------------------------------------------------


def home_level(statuses: Sequence[SourceStatus]) -> Level:
    """Return the level of the box: that of its worst source; without a machine or share, unknown."""
    return worst([one.level for one in statuses]) if has_practice(statuses) else Level.UNKNOWN


def has_practice(statuses: Sequence[SourceStatus]) -> bool:
    """Return whether there is a machine or a share: the box itself alone is nothing of the practice's."""
    return any(one.kind is not SourceKind.BOX for one in statuses)


def home_sentence(statuses: Sequence[SourceStatus], language: Language) -> str:
    """Return the one sentence of the home page: all is well, or the worst thing first."""
    if not has_practice(statuses):
        return translate(mark("Nothing is backed up yet: add a first machine or share."), language)
    ages = [one.proof_age for one in statuses if one.is_green and one.proof_age is not None]
    if len(ages) == len(statuses):
        return translate_count(
            mark("Everything is backed up and verified: %(count)s source, checked %(age)s ago."),
            mark(
                "Everything is backed up and verified: %(count)s sources, the oldest check"
                " %(age)s ago."
            ),
            len(statuses),
            language,
            age=duration_words(max(ages), language),
        )
    worst_first = sorted(statuses, key=lambda one: _WORST_LAST.index(one.level), reverse=True)
    said = source_sentence(worst_first[0], language)
    others = sum(1 for one in statuses if not one.is_green) - 1
    if others <= 0:
        return said
    return f"{said} " + translate_count(
        mark("%(count)s other source needs attention."),
        mark("%(count)s other sources need attention."),
        others,
        language,
    )


_LATE_TEXTS: Final[dict[SourceKind, str]] = {
    SourceKind.PULLED: mark("The machine «%(label)s» has not been backed up for %(age)s."),
    SourceKind.PUSHED: mark("The machine «%(label)s» has not been backed up for %(age)s."),
    SourceKind.SHARE: mark("The share «%(label)s» has not been backed up for %(age)s."),
    SourceKind.BOX: mark("What the box itself knows has not been backed up for %(age)s."),
}


def source_sentence(status: SourceStatus, language: Language) -> str:
    """Return one sentence about one source."""
    facts: dict[str, object] = {"label": status.label}
    if status.backup_age is not None:
        facts["age"] = duration_words(status.backup_age, language)
    if status.is_green and status.proof_age is not None:
        return translate(
            mark("«%(label)s» is backed up and verified; the check is %(proof_age)s old."),
            language,
            proof_age=duration_words(status.proof_age, language),
            **facts,
        )
    if status.level in {Level.LATE, Level.OVERDUE} and status.backup_age is not None:
        return translate(_LATE_TEXTS[status.kind], language, **facts)
    if status.reasons:
        return status.reasons[0].words(language)
    return translate(mark("The state of «%(label)s» is not known."), language, **facts)


def needs_doing(statuses: Sequence[SourceStatus], box: Sequence[Finding] = ()) -> list[Finding]:
    """Return what needs doing, gravest first: what the box's own readings say, then the sources'."""
    # A box that is only being set up is not told that its own first night is still to come.
    told = statuses if has_practice(statuses) else ()
    return gravest_first([*box, *(reason for one in told for reason in one.reasons)])
