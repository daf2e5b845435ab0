"""Adding a place for copies as JSON: what the assistant does, step by step.

For programs that hold a session; no token opens it. Secrets go in, are sealed at once, and are in no answer.
"""

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from sqlalchemy import Connection

from appliance.clock import utc_now
from appliance.db import targets
from appliance.db.targets import TargetId, TargetRow
from appliance.errors import InvalidInput, NotAllowed
from appliance.jobs import queue
from appliance.jobs.copy_readings import place_of
from appliance.jobs.kinds import SetUpTarget
from appliance.model import Job
from appliance.policy import place as places
from appliance.policy.hosting import Nature, Remark
from appliance.policy.roles import Action
from appliance.web.api.assistant import (
    CheckBody,
    HostKeyBody,
    StageBody,
    check_bodies,
    stage_body,
)
from appliance.web.api.v1 import JobBody, job_body
from appliance.web.deps import Box, TheBox, TheVisitor, language_of, needs
from appliance.web.pages import copies_form
from appliance.web.pages.copies_add import add_copy
from appliance.web.pages.copies_set_up import pin, state_of
from appliance.web.render import Words, words_of

router = APIRouter(prefix="/api/v1/copies", tags=["copies"])

Text = Annotated[str, Field(max_length=500)]
#: Goes in, comes out of no answer.
SecretText = Annotated[str, Field(max_length=1000, json_schema_extra={"format": "password"})]


@dataclass(frozen=True, slots=True)
class DirectoryBody:
    """A disk that carries our label, or a folder where one is mounted."""

    kind: Literal["directory"]
    disk_id: Text  # on the label, 32 hexadecimal digits
    folder: Text = ""  # "": wherever a disk with this label appears
    is_removable: bool = True
    expires_on: Text = ""  # ISO date after which the disk is not trusted; "": never


@dataclass(frozen=True, slots=True)
class SftpBody:
    """An SFTP account; without a password the box signs in with a key of its own."""

    kind: Literal["sftp"]
    host: Text
    user: Text
    port: int = 22
    folder: Text = ""
    password: SecretText = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ReceivingBoxBody:
    """Another Armoire that receives."""

    kind: Literal["box"]
    host: Text
    sender: Text  # the name it gave this box
    port: int = 2222


@dataclass(frozen=True, slots=True)
class BucketBody:
    """A bucket, or a folder of one."""

    kind: Literal["s3"]
    endpoint: Text  # https://…
    region: Text
    bucket: Text
    access_key: SecretText = field(repr=False)
    secret_key: SecretText = field(repr=False)
    prefix: Text = ""
    lock_mode: Literal["", "COMPLIANCE", "GOVERNANCE"] = "COMPLIANCE"
    lock_days: int = 30
    country: Text = ""  # of a region we do not know, ISO 3166-1


@dataclass(frozen=True, slots=True)
class NewCopyBody:
    """A place to be added."""

    label: Text
    place: Annotated[
        DirectoryBody | SftpBody | ReceivingBoxBody | BucketBody, Field(discriminator="kind")
    ]
    nature: Nature | None = None  # an owner doctor's word; without it nothing is sent
    distance_km: int | None = None


@dataclass(frozen=True, slots=True)
class ProblemBody:
    """What is wrong with one field."""

    field: str
    text: str  # in the reader's language


@dataclass(frozen=True, slots=True)
class JudgedBody:
    """What is wrong with a place that was not added yet, and what else there is to say."""

    problems: list[ProblemBody]
    hints: list[str]  # in the reader's language: good, or worth a thought


@dataclass(frozen=True, slots=True)
class RemarkBody:
    """One thing about whether copies may be sent there."""

    code: str  # stable
    blocks: bool  # nothing new is sent while it stands
    text: str  # in the reader's language


@dataclass(frozen=True, slots=True)
class SetUpBody:
    """A place, and how far its assistant is."""

    id: int
    name: str
    label: str
    kind: str
    place: dict[str, str | int | bool]  # as it was given; no secret
    distance_km: int | None
    nature: str | None
    may_send: bool
    remarks: list[RemarkBody]
    public_key: str  # of this box for this place; "": not made yet, or none is needed
    offered_key: str  # the host key that was shown and is not confirmed; "": none
    fingerprint: str  # of the offered one, else of the confirmed one
    is_confirmed: bool
    is_changed: bool  # another key than the confirmed one was shown
    is_ready: bool  # a first copy may be sent
    prepared: StageBody
    tried: StageBody
    pushed: StageBody
    checks: list[CheckBody]


@router.post("", name="api-copy-add", status_code=201, dependencies=[needs(Action.COPIES_CHANGE)])
async def add(request: Request, box: TheBox, visitor: TheVisitor, wanted: NewCopyBody) -> SetUpBody:
    """Store a place, seal its secrets, and queue what prepares it.

    Raises:
        InvalidInput: a field cannot be used, or the place may keep no health data.
        NotAllowed: what a place is to the practice is an owner doctor's to say.
    """
    may_declare = visitor.may(Action.COPIES_DECLARE)
    if wanted.nature is not None and not may_declare:
        raise NotAllowed(Action.COPIES_DECLARE.value)
    language, words, kind = language_of(request), words_of(request), wanted.place.kind
    form = _form(wanted)

    def change(connection: Connection) -> SetUpBody:
        typed = copies_form.read(connection, kind, form, language, may_declare=may_declare)
        if typed.problems:
            raise InvalidInput(*typed.problems[0])
        secrets = copies_form.secrets_of(kind, form)
        row = add_copy(connection, box.settings, typed, secrets, visitor.person.id)
        return set_up_body(connection, box, row, words)

    return await box.write(change)


@router.post("/judge", name="api-copy-judge", dependencies=[needs(Action.COPIES_CHANGE)])
async def judge(
    request: Request, box: TheBox, visitor: TheVisitor, wanted: NewCopyBody
) -> JudgedBody:
    """Say all that is wrong with a place, or looks good; nothing is stored, no secret is looked at."""
    language, may_declare = language_of(request), visitor.may(Action.COPIES_DECLARE)
    typed = await box.read_aside(
        lambda c: copies_form.read(
            c, wanted.place.kind, _form(wanted), language, may_declare=may_declare
        )
    )
    return JudgedBody(
        [ProblemBody(field, text) for field, text in typed.problems],
        [each.text for each in typed.hints],
    )


@router.get(
    "/{target_id}/set-up", name="api-copy-set-up", dependencies=[needs(Action.COPIES_CHANGE)]
)
async def show_set_up(request: Request, box: TheBox, target_id: int) -> SetUpBody:
    """Return a place and how far its assistant is."""
    words = words_of(request)
    return await box.read_aside(
        lambda c: set_up_body(c, box, targets.get(c, TargetId(target_id)), words)
    )


@router.post(
    "/{target_id}/prepare",
    name="api-copy-prepare",
    status_code=202,
    dependencies=[needs(Action.COPIES_CHANGE)],
)
async def prepare(box: TheBox, visitor: TheVisitor, target_id: int) -> JobBody:
    """Queue the making of the key and the look at the place's identity; 409 when that waits already."""
    now = utc_now()

    def change(connection: Connection) -> Job:
        row = targets.get(connection, TargetId(target_id))
        job = queue.enqueue(connection, SetUpTarget(row.id), now=now, person_id=visitor.person.id)
        return queue.get(connection, job)

    return job_body(await box.write(change))


@router.put(
    "/{target_id}/host-key", name="api-copy-host-key", dependencies=[needs(Action.COPIES_CHANGE)]
)
async def confirm_host_key(
    request: Request, box: TheBox, visitor: TheVisitor, target_id: int, wanted: HostKeyBody
) -> SetUpBody:
    """Confirm the identity the place showed last, after comparing it with what the host told; test the place.

    Raises:
        InvalidInput: the place shows another one now.
    """
    words, now = words_of(request), utc_now()

    def change(connection: Connection) -> SetUpBody:
        row = targets.get(connection, TargetId(target_id))
        pin(connection, row, wanted.key, person_id=visitor.person.id, now=now)
        return set_up_body(connection, box, targets.get(connection, row.id), words)

    return await box.write(change)


def remarks_of(remarks: tuple[Remark, ...] | list[Remark], words: Words) -> list[RemarkBody]:
    """Return remarks of ``policy.hosting`` in the reader's language."""
    return [
        RemarkBody(each.code, each.blocks, words.explain(each.text, each.facts)) for each in remarks
    ]


def _form(wanted: NewCopyBody) -> dict[str, str]:
    """Return what was asked for as the page's form sends it: one place judges both."""
    form = {
        "label": wanted.label,
        "nature": "" if wanted.nature is None else wanted.nature.value,
        "distance_km": "" if wanted.distance_km is None else str(wanted.distance_km),
    }
    for each in fields(wanted.place):
        value: Any = getattr(wanted.place, each.name)
        form[each.name] = ("on" if value else "") if isinstance(value, bool) else str(value)
    return form


def set_up_body(connection: Connection, box: Box, row: TargetRow, words: Words) -> SetUpBody:
    """Return a place and how far its assistant is, in the reader's language."""
    state = state_of(connection, box, row)
    place = place_of(row)
    return SetUpBody(
        id=row.id,
        name=row.name,
        label=row.label,
        kind=row.kind,
        place={} if place is None else places.to_stored(place),
        distance_km=row.distance_km,
        nature=row.nature,
        may_send=state.verdict.may_send,
        remarks=remarks_of(state.verdict.remarks, words),
        public_key=state.public_key,
        offered_key=state.offered,
        fingerprint=state.fingerprint,
        is_confirmed=state.is_confirmed,
        is_changed=state.is_changed,
        is_ready=state.is_ready,
        prepared=stage_body(state.prepared),
        tried=stage_body(state.tried),
        pushed=stage_body(state.pushed),
        checks=check_bodies(state.checks, words),
    )
