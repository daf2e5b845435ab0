"""The copies under /api/v1: what was proven about them, and what is to be done about one now.

Times are ISO 8601 in UTC, sizes are bytes. No place's address, key or dossier is in an answer: those are in
``copies_change`` and ``hosts``, which no token opens.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection

from appliance.clock import utc_now
from appliance.db import copies, targets
from appliance.db.targets import TargetId
from appliance.jobs import copy_readings, queue
from appliance.jobs.copy_readings import CopyStatus
from appliance.jobs.kinds import CheckTarget, PushCopy, Spec, TamperCopy, VerifyCopy
from appliance.language import Language
from appliance.model import Job, Proof
from appliance.policy import disk_state
from appliance.policy.findings import Finding
from appliance.policy.roles import Action
from appliance.web.api.v1 import JobBody, job_body
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, needs
from appliance.web.pages.copies import findings_of
from appliance.web.pages.copies_do import ask_about
from appliance.web.pages.copies_show import answer_lines, attempt_lines, uploads_of
from appliance.web.pages.copies_view import overall_sentence
from appliance.web.render import words_of

router = APIRouter(prefix="/api/v1", tags=["copies"])

#: Of each route that queues a task.
TASK: Final[dict[str, Any]] = {
    "status_code": 202,
    "dependencies": [needs(Action.COPIES_CHANGE)],
}


@dataclass(frozen=True, slots=True)
class CopyProofBody:
    """The newest answer to one question about a copy."""

    kind: str  # copy.listing · copy.read-back · copy.complete · copy.tamper · copy.conformance
    outcome: str  # proven · failed · inconclusive
    at: datetime


@dataclass(frozen=True, slots=True)
class TransferBody:
    """A sending that waits or runs."""

    job_id: int
    state: str
    done: int  # bytes
    total: int | None
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class CopyBody:
    """A copy and the truth about it."""

    id: int
    name: str
    label: str
    kind: str  # directory · sftp · s3 · box
    nature: str | None  # as an owner doctor declared it; null: not declared, so nothing is sent
    distance_km: int | None
    level: str  # proven · warned · unknown · late · overdue · failed · frozen
    is_green: bool
    sentence: str
    may_send: bool
    generations: int
    newest_at: datetime | None  # the moment of the box that the newest generation holds
    lag_s: int | None  # age of newest_at
    proven_at: datetime | None  # the moment that is proven to lie there whole
    published_bytes: int
    objects: int
    read_back_since: datetime | None  # every object was read back since then
    is_immutable: bool  # shown: every attempt to harm was refused, recently
    is_removable: bool
    is_offline: bool
    is_offsite: bool
    transfer: TransferBody | None
    proofs: list[CopyProofBody]


@dataclass(frozen=True, slots=True)
class RuleBody:
    """3-2-1, from proofs."""

    copies: int
    media: int
    has_offsite: bool
    has_offline: bool
    has_write_once: bool
    missing: list[str]  # copies · media · offsite · offline


@dataclass(frozen=True, slots=True)
class FindingBody:
    """One thing that needs doing."""

    code: str  # stable
    severity: str  # notice · warning · alarm
    text: str  # in the reader's language
    action: str  # what to do next
    target_id: int | None  # the copy it is about; null: all of them, or the kit


@dataclass(frozen=True, slots=True)
class CopiesBody:
    """Every copy, and where the practice stands."""

    sentence: str
    rule: RuleBody
    copies: list[CopyBody]
    findings: list[FindingBody]  # about copies, drills and the kit; the gravest first


@dataclass(frozen=True, slots=True)
class GenerationBody:
    """One complete state of the box at a target."""

    number: int
    taken_at: datetime
    published_at: datetime
    files: int
    plain_bytes: int
    new_bytes: int


@dataclass(frozen=True, slots=True)
class AttemptBody:
    """One way to harm the copy that was tried with our own key."""

    action: str
    outcome: str  # refused · without-effect · done · unknown
    text: str  # what was tried, in the reader's language
    detail: str  # what the place answered


@dataclass(frozen=True, slots=True)
class AnswerBody:
    """What a bucket's host answered to one question."""

    question: str  # lock · versioning · lifecycle · public-access · region · encryption
    state: str  # ok · bad · unknown
    text: str  # in the reader's language
    answered_at: datetime | None  # it last did


@dataclass(frozen=True, slots=True)
class DiskBody:
    """Where a disk is between plugging in and taking away."""

    state: str  # copying · done · failed · away · pulled-out
    text: str  # whether it may be taken away, in the reader's language


@dataclass(frozen=True, slots=True)
class UploadBody:
    """One sending that ended well."""

    at: datetime
    sent_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class EvidenceBody:
    """What is known of a copy beside its proofs."""

    findings: list[FindingBody]
    tampered_at: datetime | None  # the attempts were made
    attempts: list[AttemptBody]
    bucket: list[AnswerBody]  # empty for what is no bucket
    disk: DiskBody | None  # of a disk that was plugged in
    uploads: list[UploadBody]  # oldest first


@router.get("/copies", name="api-copies", dependencies=[needs(Action.COPIES_SEE)])
async def list_copies(request: Request, box: TheBox) -> CopiesBody:
    """Return every copy, by label, and 3-2-1."""
    words = words_of(request)

    def gather(connection: Connection) -> CopiesBody:
        now = utc_now()
        found = copy_readings.copy_statuses(connection, box.settings, now)
        rule = copy_readings.copies_indicator(connection, box.settings, now, found)
        return CopiesBody(
            overall_sentence(found, words),
            RuleBody(
                rule.copies,
                rule.media,
                rule.has_offsite,
                rule.has_offline,
                rule.has_write_once,
                [one.value for one in rule.missing],
            ),
            [_copy(one, words.language) for one in found],
            [_finding(one, words.language) for one in findings_of(connection, box, now, found)],
        )

    return await box.read_aside(gather)


@router.get("/copies/{target_id}", name="api-copy", dependencies=[needs(Action.COPIES_SEE)])
async def show_copy(request: Request, box: TheBox, target_id: int) -> CopyBody:
    """Return one copy; 404 when there is none, or it was removed."""
    language = words_of(request).language

    def gather(connection: Connection) -> CopyBody:
        row = targets.get(connection, TargetId(target_id))
        status = copy_readings.copy_status(connection, box.settings, row, utc_now())
        return _copy(status, language)

    return await box.read_aside(gather)


@router.get(
    "/copies/{target_id}/generations",
    name="api-generations",
    dependencies=[needs(Action.COPIES_SEE)],
)
async def list_generations(box: TheBox, target_id: int) -> list[GenerationBody]:
    """Return the complete states kept at a target, newest first."""

    def gather(connection: Connection) -> list[GenerationBody]:
        row = targets.get(connection, TargetId(target_id))
        return [
            GenerationBody(
                one.number,
                one.taken_at,
                one.published_at,
                one.files,
                one.plain_bytes,
                one.new_bytes,
            )
            for one in copies.generations(connection, row.id)
            if one.published_at is not None
        ]

    return await box.read_aside(gather)


@router.get(
    "/copies/{target_id}/evidence",
    name="api-copy-evidence",
    dependencies=[needs(Action.COPIES_SEE)],
)
async def show_evidence(request: Request, box: TheBox, target_id: int) -> EvidenceBody:
    """Return what needs doing, what a thief with our key could do, and what the host answered."""
    words = words_of(request)

    def gather(connection: Connection) -> EvidenceBody:
        row = targets.get(connection, TargetId(target_id))
        status = copy_readings.copy_status(connection, box.settings, row, utc_now())
        disk = disk_state.said(row.facts)
        return EvidenceBody(
            [_finding(one, words.language) for one in status.reasons],
            None if status.last_tamper is None else status.last_tamper.at,
            [
                AttemptBody(one.action, one.how, words.text(one.what), one.detail)
                for one in attempt_lines(row)
            ],
            [
                AnswerBody(one.name, one.state, words.explain(one.text, one.facts), one.at)
                for one in answer_lines(row)
            ],
            None
            if disk is None
            else DiskBody(str(row.facts[disk_state.DISK]["state"]), words.text(disk[1])),
            [UploadBody(one.at, one.sent_bytes, one.seconds) for one in uploads_of(status)],
        )

    return await box.read_aside(gather)


@router.post("/copies/{target_id}/push", name="api-copy-push", **TASK)
async def push(box: TheBox, visitor: TheVisitor, target_id: int) -> JobBody:
    """Queue a sending now; 409 when one waits already."""
    return await _queue(box, visitor, target_id, PushCopy(target_id))


@router.post("/copies/{target_id}/verify", name="api-copy-verify", **TASK)
async def verify(
    box: TheBox, visitor: TheVisitor, target_id: int, *, full: bool = False
) -> JobBody:
    """Queue the proof of a copy, with ``full`` of every object; 409 when one waits already."""
    return await _queue(box, visitor, target_id, VerifyCopy(target_id, full=full))


@router.post("/copies/{target_id}/tamper", name="api-copy-tamper", **TASK)
async def tamper(box: TheBox, visitor: TheVisitor, target_id: int) -> JobBody:
    """Queue the attempts to harm the canary, and a bucket's questions; 409 when they wait already."""
    return await _queue(box, visitor, target_id, TamperCopy(target_id))


@router.post("/copies/{target_id}/check", name="api-copy-check", **TASK)
async def check(box: TheBox, visitor: TheVisitor, target_id: int) -> JobBody:
    """Queue a test of the place; 409 when one waits already."""
    return await _queue(box, visitor, target_id, CheckTarget(target_id))


async def _queue(box: Box, visitor: Visitor, target_id: int, spec: Spec) -> JobBody:
    def change(connection: Connection) -> Job:
        row = targets.get(connection, TargetId(target_id))
        return queue.get(connection, ask_about(connection, row, spec, visitor))

    return job_body(await box.write(change))


def _copy(status: CopyStatus, language: Language) -> CopyBody:
    row, running = status.target, status.running
    known = (
        status.last_listing,
        status.last_read_back,
        status.last_complete,
        status.last_tamper,
        status.last_conformance,
    )
    return CopyBody(
        id=row.id,
        name=row.name,
        label=row.label,
        kind=row.kind,
        nature=row.nature,
        distance_km=row.distance_km,
        level=status.level.value,
        is_green=status.is_green,
        sentence=status.sentence.words(language),
        may_send=status.verdict.may_send,
        generations=status.generations,
        newest_at=status.newest_at,
        lag_s=None if status.lag is None else int(status.lag.total_seconds()),
        proven_at=status.proven_at,
        published_bytes=status.published_bytes,
        objects=status.objects,
        read_back_since=status.read_back_since,
        is_immutable=status.is_immutable_shown,
        is_removable=status.is_removable,
        is_offline=status.is_offline,
        is_offsite=status.is_offsite,
        transfer=None
        if running is None
        else TransferBody(
            running.id,
            running.state.value,
            running.progress.done,
            running.progress.total,
            running.progress.bytes_per_s,
        ),
        proofs=[_proof(one) for one in known if one is not None],
    )


def _finding(one: Finding, language: Language) -> FindingBody:
    about = one.facts.get("target")
    return FindingBody(
        one.code,
        one.severity.value,
        one.words(language),
        one.action_words(language),
        about if isinstance(about, int) else None,
    )


def _proof(proof: Proof) -> CopyProofBody:
    return CopyProofBody(proof.kind, proof.outcome.value, proof.at)
