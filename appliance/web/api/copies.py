"""The copies under /api/v1: where they lie and what was proven about them, for programs that hold a session.

Times are ISO 8601 in UTC, sizes are bytes. No place's address, key or dossier is in an answer.
"""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request
from sqlalchemy import Connection

from appliance.clock import utc_now
from appliance.db import copies, targets
from appliance.db.targets import TargetId
from appliance.jobs import copy_readings, queue
from appliance.jobs.copy_readings import CopyStatus
from appliance.jobs.kinds import PushCopy, Spec, VerifyCopy
from appliance.language import Language
from appliance.ledger import events
from appliance.model import Job, PersonId, Proof
from appliance.policy.roles import Action
from appliance.web.api.v1 import JobBody, job_body
from appliance.web.deps import Box, TheBox, TheVisitor, needs
from appliance.web.pages.copies_view import overall_sentence
from appliance.web.render import words_of

router = APIRouter(prefix="/api/v1", tags=["copies"])


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
class CopiesBody:
    """Every copy, and where the practice stands."""

    sentence: str
    rule: RuleBody
    copies: list[CopyBody]


@dataclass(frozen=True, slots=True)
class GenerationBody:
    """One complete state of the box at a target."""

    number: int
    taken_at: datetime
    published_at: datetime
    files: int
    plain_bytes: int
    new_bytes: int


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


@router.post(
    "/copies/{target_id}/push",
    name="api-copy-push",
    status_code=202,
    dependencies=[needs(Action.COPIES_CHANGE)],
)
async def push(box: TheBox, visitor: TheVisitor, target_id: int) -> JobBody:
    """Queue a sending now; 409 when one waits already."""
    spec = PushCopy(target_id)
    return await _queue(box, visitor.person.id, target_id, spec, "copy.push-ask")


@router.post(
    "/copies/{target_id}/verify",
    name="api-copy-verify",
    status_code=202,
    dependencies=[needs(Action.COPIES_CHANGE)],
)
async def verify(
    box: TheBox, visitor: TheVisitor, target_id: int, *, full: bool = False
) -> JobBody:
    """Queue the proof of a copy, with ``full`` of every object; 409 when one waits already."""
    spec = VerifyCopy(target_id, full=full)
    return await _queue(box, visitor.person.id, target_id, spec, "copy.verify-ask")


async def _queue(box: Box, person_id: PersonId, target_id: int, spec: Spec, event: str) -> JobBody:
    now = utc_now()

    def change(connection: Connection) -> Job:
        row = targets.get(connection, TargetId(target_id))
        job = queue.enqueue(connection, spec, now=now, person_id=person_id)
        events.record(
            connection,
            at=now,
            event=event,
            subject=f"target:{row.id}",
            person_id=person_id,
            job=job,
        )
        return queue.get(connection, job)

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


def _proof(proof: Proof) -> CopyProofBody:
    return CopyProofBody(proof.kind, proof.outcome.value, proof.at)
