"""From proofs to the truth about one copy: its level, why it is not green, and one sentence.

Green comes from proofs alone: the target listed everything a recent generation names, bytes of it came back
and were right, and a person has shown that the words open it. What is not known is never green, and a copy
that is late has not failed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from appliance.language import Language, mark, translate
from appliance.model import JobState, Outcome, Proof
from appliance.policy import immutability
from appliance.policy.findings import Finding, Severity, gravest_first
from appliance.policy.hosting import NOTICE_DAYS, Verdict
from appliance.policy.immutability import Action, Attempt, Immutability
from appliance.policy.status import Level, worst
from appliance.policy.timetable import CLOCK_TOLERANCE
from appliance.policy.wording import in_language

#: domain.md row 6: a copy of every night is late at 26 h and red at 48 h.
LATE_AFTER: Final = timedelta(hours=26)
OVERDUE_AFTER: Final = timedelta(hours=48)
#: A disk that is carried away and back: domain.md row 7.
REMOVABLE_LATE_AFTER: Final = timedelta(days=7)
REMOVABLE_OVERDUE_AFTER: Final = timedelta(days=31)
#: Proofs are nightly; with two nights missed nothing is known any more. A disk in a drawer is not asked.
PROOF_GOOD_FOR: Final = timedelta(hours=74)
REMOVABLE_PROOF_GOOD_FOR: Final = REMOVABLE_OVERDUE_AFTER
#: Errors that mean the place was away, not that the copy went wrong: lateness judges them.
AWAY_CODES: Final = frozenset({"target.unreachable", "target.list-unreadable"})
#: Errors that mean somebody else may be there: nothing is sent until a person looked.
IDENTITY_CODES: Final = frozenset({"target.identity-changed", "target.object-already-there"})
#: The verdict says these in better words.
_VERDICT_CODES: Final = frozenset({"target.sending-not-allowed"})


class CopyProof(StrEnum):
    """What is verified about a target: kinds of ``model.Proof`` with a ``target_id``."""

    LISTING = "copy.listing"  # what it lists against our record
    READ_BACK = "copy.read-back"  # a part of the objects came back and was compared
    COMPLETE = (
        "copy.complete"  # a generation is there whole: signature, chain, every object it names
    )
    TAMPER = "copy.tamper"
    CONFORMANCE = "copy.conformance"


COPY_PROOF_NAMES: Final[dict[CopyProof, str]] = {
    CopyProof.LISTING: mark("what the place lists, compared"),
    CopyProof.READ_BACK: mark("a part read back and compared"),
    CopyProof.COMPLETE: mark("copy complete"),
    CopyProof.TAMPER: mark("attempts to harm it"),
    CopyProof.CONFORMANCE: mark("settings of the bucket"),
}

COPY_LEVEL_NAMES: Final[dict[Level, str]] = {
    Level.PROVEN: mark("sent and verified"),
    Level.WARNED: mark("verified, with remarks"),
    Level.UNKNOWN: mark("not known"),
    Level.LATE: mark("late"),
    Level.OVERDUE: mark("very late"),
    Level.FAILED: mark("failed"),
    Level.FROZEN: mark("in doubt"),
}


@dataclass(frozen=True, slots=True)
class CopyReading:
    """Everything the level of a copy is made from."""

    target_id: int
    label: str
    kind: str  # directory · sftp · s3 · box
    created_at: datetime
    verdict: Verdict  # may we send there?
    is_kit_confirmed: bool
    newest_at: datetime | None  # moment of the newest published generation
    proofs: Sequence[Proof] = ()  # the newest of each kind
    last_push_state: JobState | None = None  # of the newest push that has ended
    last_push_error: str | None = None  # its error code
    is_running: bool = False  # a push is under way
    is_removable: bool = False
    carried_over: int = 0  # repositories that the newest push could not freeze
    forged: int = 0  # objects under our identity that are not ours, not yet looked at by a person


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence, in words that are translated where they are shown."""

    text: str  # English template over ``facts``
    facts: Mapping[str, object] = field(default_factory=dict)

    def words(self, language: Language) -> str:
        """Return it as the reader writes it."""
        return translate(self.text, language, **in_language(self.facts, language))


@dataclass(frozen=True, slots=True)
class CopyJudgement:
    """The truth about a copy, and where it comes from."""

    level: Level
    sentence: Sentence
    reasons: tuple[Finding, ...]  # why it is not green, gravest first; also notices of a green one
    proven_at: datetime | None  # moment of the data that is proven to lie there
    proven_age: timedelta | None
    verified_at: datetime | None  # when that was proven
    immutability: Immutability | None  # of the last tamper test; None: never tried
    is_immutable_shown: bool

    @property
    def is_green(self) -> bool:
        """Only what proofs say."""
        return self.level is Level.PROVEN


_Reason = tuple[Level, Finding]


def judge(reading: CopyReading, now: datetime) -> CopyJudgement:
    """Return the truth about one copy at ``now`` (aware)."""
    complete = _newest(reading, CopyProof.COMPLETE)
    proven_at = _proven_moment(complete)
    reasons: list[_Reason] = [
        *_doubts(reading),
        *_failures(reading, now),
        *_permission(reading),
        *_lateness(reading, proven_at, now),
        *_unknowns(reading, complete, proven_at, now),
        *_notices(reading),
    ]
    level = worst([each for each, _ in reasons])
    ordered = gravest_first([finding for _, finding in reasons])
    tamper = _newest(reading, CopyProof.TAMPER)
    judged = None if tamper is None else _immutability(tamper)
    return CopyJudgement(
        level=level,
        sentence=_sentence(reading, level, reasons, proven_at, complete, now),
        reasons=tuple(ordered),
        proven_at=proven_at,
        proven_age=None if proven_at is None else now - proven_at,
        verified_at=complete.at if complete is not None and proven_at is not None else None,
        immutability=judged,
        is_immutable_shown=judged is not None
        and tamper is not None
        and immutability.is_shown(judged, tested_at=tamper.at, now=now),
    )


def _newest(reading: CopyReading, kind: CopyProof) -> Proof | None:
    found = [each for each in reading.proofs if each.kind == kind]
    return max(found, key=lambda each: each.seq, default=None)


def _proven_moment(complete: Proof | None) -> datetime | None:
    """Return the moment of the generation that is proven whole."""
    if complete is None or complete.outcome is not Outcome.PROVEN:
        return None
    taken_at = complete.figures.get("taken_at")
    return datetime.fromisoformat(taken_at) if isinstance(taken_at, str) else None


def _finding(
    reading: CopyReading, code: str, severity: Severity, text: str, action: str, **facts: object
) -> Finding:
    return Finding(
        code, severity, text, action, {"label": reading.label, "target": reading.target_id, **facts}
    )


def _doubts(reading: CopyReading) -> Iterator[_Reason]:
    if reading.forged:
        yield (
            Level.FROZEN,
            _finding(
                reading,
                "copy.forged",
                Severity.ALARM,
                mark(
                    "Somebody else wrote at «%(label)s» in the name of this box (%(count)s objects)."
                    " They are left aside; nothing is removed there."
                ),
                mark(
                    "Change the password or the key of this place, then confirm that no other box"
                    " uses it (runbook, «Somebody else wrote there»)."
                ),
                count=reading.forged,
            ),
        )
    if (
        reading.last_push_state is JobState.FAILED
        and reading.last_push_error in IDENTITY_CODES
        and not reading.forged
    ):
        yield (
            Level.FROZEN,
            _finding(
                reading,
                "copy.identity-changed",
                Severity.ALARM,
                mark(
                    "«%(label)s» is not what it was: another box writes there, or another disk or"
                    " host answers. Nothing is sent."
                ),
                mark(
                    "Open its last job: it says what was found. Send nothing before you know why."
                ),
            ),
        )


def _failures(reading: CopyReading, now: datetime) -> Iterator[_Reason]:
    code = reading.last_push_error
    ended_badly = reading.last_push_state in {JobState.FAILED, JobState.INTERRUPTED}
    if ended_badly and code not in AWAY_CODES | IDENTITY_CODES | _VERDICT_CODES:
        yield (
            Level.FAILED,
            _finding(
                reading,
                "copy.push-failed",
                Severity.ALARM,
                mark("The last sending to «%(label)s» failed."),
                mark("Open the destination: its last job says what to do."),
            ),
        )
    for kind in (CopyProof.LISTING, CopyProof.READ_BACK, CopyProof.COMPLETE):
        proof = _newest(reading, kind)
        if proof is not None and proof.outcome is Outcome.FAILED:
            yield (
                Level.FAILED,
                _finding(
                    reading,
                    "copy.proof-failed",
                    Severity.ALARM,
                    mark("The copy at «%(label)s» is not what was sent: %(reason)s, %(age)s ago."),
                    mark(
                        "Nothing is removed there. What is missing is sent again with the next copy;"
                        " ask the host what happened."
                    ),
                    reason=COPY_PROOF_NAMES[kind],
                    age=now - proof.at,
                ),
            )
            return  # one loss is one finding


def _permission(reading: CopyReading) -> Iterator[_Reason]:
    if reading.verdict.may_send:
        return
    undeclared = any(each.code == "hosting.nature-missing" for each in reading.verdict.remarks)
    if undeclared:
        yield (
            Level.UNKNOWN,
            _finding(
                reading,
                "copy.nature-missing",
                Severity.WARNING,
                mark("Nothing is sent to «%(label)s»: nobody said what this place is."),
                mark("An owner doctor declares it on the page of the destination."),
            ),
        )
        return
    yield (
        Level.FAILED,
        _finding(
            reading,
            "copy.not-allowed",
            Severity.ALARM,
            mark("Nothing new may be sent to «%(label)s». Nothing is deleted there."),
            mark("Open its host file: it says what is missing, and how to change host."),
        ),
    )


def _lateness(reading: CopyReading, proven_at: datetime | None, now: datetime) -> Iterator[_Reason]:
    known = proven_at if proven_at is not None else reading.newest_at
    late, overdue = (
        (REMOVABLE_LATE_AFTER, REMOVABLE_OVERDUE_AFTER)
        if reading.is_removable
        else (LATE_AFTER, OVERDUE_AFTER)
    )
    if known is None:
        if not reading.verdict.may_send:
            return
        waited = now - reading.created_at
        fresh = reading.is_running or waited < late
        yield (
            Level.UNKNOWN,
            _finding(
                reading,
                "copy.never",
                Severity.NOTICE if fresh else Severity.WARNING,
                mark("The first copy to «%(label)s» is being sent.")
                if reading.is_running
                else mark("«%(label)s» holds no complete copy yet."),
                mark("Leave the box and its line on: a first copy may take days.")
                if reading.is_running
                else mark("Start a copy, or wait for the night."),
            ),
        )
        return
    age = now - known
    if age < -CLOCK_TOLERANCE:
        yield (
            Level.UNKNOWN,
            _finding(
                reading,
                "copy.clock",
                Severity.ALARM,
                mark("The last copy at «%(label)s» is dated in the future."),
                mark("Set the clock of the box right."),
            ),
        )
    elif age >= late:
        yield (
            Level.OVERDUE if age >= overdue else Level.LATE,
            _finding(
                reading,
                "copy.overdue" if age >= overdue else "copy.late",
                Severity.ALARM if age >= overdue else Severity.WARNING,
                mark("The last complete copy at «%(label)s» is %(age)s old."),
                mark("Plug the disk in, and leave it until the box says it is done.")
                if reading.is_removable
                else mark("Look at its last sending: is the line slow, cut, or held back?"),
                age=age,
            ),
        )


def _unknowns(
    reading: CopyReading, complete: Proof | None, proven_at: datetime | None, now: datetime
) -> Iterator[_Reason]:
    if reading.newest_at is None:
        return
    read_back = _newest(reading, CopyProof.READ_BACK)
    good_for = REMOVABLE_PROOF_GOOD_FOR if reading.is_removable else PROOF_GOOD_FOR
    failed = {Outcome.FAILED} & {each.outcome for each in (complete, read_back) if each is not None}
    if (proven_at is None or read_back is None or read_back.outcome is not Outcome.PROVEN) and (
        not failed
    ):
        yield (
            Level.UNKNOWN,
            _finding(
                reading,
                "copy.unproven",
                Severity.WARNING,
                mark("The copy at «%(label)s» is not proven yet."),
                mark("Start its verification, or wait for the next night."),
            ),
        )
    elif complete is not None and read_back is not None and not failed:
        age = now - min(complete.at, read_back.at)
        youngest = now - max(complete.at, read_back.at)
        if age >= good_for or youngest < -CLOCK_TOLERANCE:
            yield (
                Level.UNKNOWN,
                _finding(
                    reading,
                    "copy.not-verified-since",
                    Severity.WARNING,
                    mark("The copy at «%(label)s» was last verified %(age)s ago."),
                    mark("Start its verification, or wait for the next night."),
                    age=age,
                ),
            )
    if not reading.is_kit_confirmed:
        yield (
            Level.UNKNOWN,
            _finding(
                reading,
                "copy.kit-not-confirmed",
                Severity.WARNING,
                mark("It is not shown that the copy at «%(label)s» can be opened."),
                mark("Print the recovery kit, then type the words of its sheets."),
            ),
        )


def _notices(reading: CopyReading) -> Iterator[_Reason]:
    if reading.carried_over:
        yield (
            Level.WARNED,
            _finding(
                reading,
                "copy.carried",
                Severity.WARNING,
                mark(
                    "The last copy at «%(label)s» holds %(count)s repositories as the one before"
                    " did: they were at work, or could not be read."
                ),
                mark("Nothing if it happens once; look at these sources if it goes on."),
                count=reading.carried_over,
            ),
        )
    for each in host_notices(reading.target_id, reading.label, reading.verdict):
        yield Level.PROVEN, each


def host_notices(target_id: int, label: str, verdict: Verdict) -> tuple[Finding, ...]:
    """Return the notice about a certificate that ends: the nearest of 180, 90, 30, 7 and 0 days before.

    After its end the verdict speaks.
    """
    left = verdict.days_left
    if left is None or left < 0:
        return ()
    reached = [days for days in NOTICE_DAYS if left <= days]
    if not reached:
        return ()
    nearest = min(reached)
    severity = {180: Severity.NOTICE, 90: Severity.NOTICE, 30: Severity.WARNING}.get(
        nearest, Severity.ALARM
    )
    return (
        Finding(
            f"copy.certificate-{nearest}",
            severity,
            mark("The certificate of the host «%(label)s» ends in %(left)s.")
            if left
            else mark("The certificate of the host «%(label)s» ends today."),
            mark("Ask the host for its new certificate and enter it in the host file."),
            {"label": label, "target": target_id, "left": timedelta(days=left)},
        ),
    )


def _sentence(
    reading: CopyReading,
    level: Level,
    reasons: Sequence[_Reason],
    proven_at: datetime | None,
    complete: Proof | None,
    now: datetime,
) -> Sentence:
    if level is Level.PROVEN and proven_at is not None and complete is not None:
        return Sentence(
            mark("«%(label)s» holds everything up to %(age)s ago; checked %(checked)s ago."),
            {"label": reading.label, "age": now - proven_at, "checked": now - complete.at},
        )
    worst_first = [finding for each, finding in reasons if each is level]
    if worst_first:
        first = gravest_first(worst_first)[0]
        return Sentence(first.text, first.facts)
    return Sentence(
        mark("The state of the copy at «%(label)s» is not known."), {"label": reading.label}
    )


def _immutability(tamper: Proof) -> Immutability:
    """Judge the attempts of a stored tamper test again; words of a newer program count as unknown."""
    kind = str(tamper.figures.get("kind", ""))
    attempts: list[Attempt] = []
    stored: Any = tamper.figures.get("attempts")
    for each in stored if isinstance(stored, list) else []:
        try:
            attempts.append(
                Attempt(
                    Action(each["action"]),
                    immutability.Outcome(each["outcome"]),
                    str(each.get("detail", "")),
                )
            )
        except (KeyError, ValueError, TypeError, AttributeError):
            return immutability.judge("", ())
    return immutability.judge(kind, attempts)
