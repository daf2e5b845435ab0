"""The sources as JSON: adding one, letting the box in, backing up, proving, closing an alarm.

A token reads how they are and starts tasks; whatever changes what is backed up asks for a person.
"""

from dataclasses import dataclass
from datetime import date, datetime

from fastapi import APIRouter, Request
from sqlalchemy import Connection

from appliance.db import sources
from appliance.errors import InvalidInput
from appliance.jobs import queue
from appliance.jobs.kinds import Spec
from appliance.language import Language, translate
from appliance.model import Job, SourceId, System
from appliance.policy.roles import Action
from appliance.web.api.assistant import (
    CheckBody,
    HostKeyBody,
    StageBody,
    check_bodies,
    stage_body,
)
from appliance.web.api.v1 import JobBody, SourceBody, job_body, source_body
from appliance.web.asking import ask
from appliance.web.deps import TheBox, TheVisitor, Visitor, language_of, needs
from appliance.web.pages.set_up import (
    SetUpState,
    ask_trial,
    pin,
    set_up_state,
)
from appliance.web.pages.sources import (
    SourcePage,
    backup_spec,
    close_alarm,
    proof_spec,
    source_page,
)
from appliance.web.render import words_of
from appliance.web.source_new import NewSource, add_source, problems_of

router = APIRouter(prefix="/api/v1/sources", tags=["sources"])


@dataclass(frozen=True, slots=True)
class TodoBody:
    """Why a source is not green, or what a person should know of it."""

    code: str
    severity: str  # alarm · warning · notice
    text: str
    action: str


@dataclass(frozen=True, slots=True)
class NightBody:
    """What became of one night."""

    night: date  # the practice's day on which it began
    state: str  # proven · warned · unsure · unproven · failed · cancelled · missed · running · planned · none
    text: str
    snapshot_id: int | None


@dataclass(frozen=True, slots=True)
class SourceDetailBody:
    """Everything about a source but its files."""

    source: SourceBody
    sentence: str
    todo: list[TodoBody]  # gravest first
    nights: list[NightBody]  # the last thirty, oldest first
    host: str | None  # of a machine
    is_confirmed: bool  # its identity is pinned
    last_seen_at: datetime | None
    roots: list[str]
    recipes: list[str]
    is_planned: bool  # backed up by itself
    plan_sentence: str
    next_at: datetime | None
    frozen: list[str]  # why nothing is removed just now
    snapshots: int
    original_bytes: int  # of every snapshot, as if each stood alone
    stored_bytes: int
    all_read_since: datetime | None  # every stored byte was read again since then


@dataclass(frozen=True, slots=True)
class NewSourceBody:
    """A machine or a share to be backed up."""

    label: str
    kind: str = "machine"  # machine: the box reads it over SSH · share: a folder of the box
    system: str = System.WINDOWS.value  # linux · macos · windows
    host: str = ""
    port: int = 22
    user: str = ""  # empty: the usual one of the system
    roots: tuple[str, ...] = ()  # empty: the folders of all its people
    folder: str = ""  # of a share


@dataclass(frozen=True, slots=True)
class InstructionBody:
    """One thing to do on the machine."""

    text: str
    lines: list[str]  # to paste as they are


@dataclass(frozen=True, slots=True)
class ConnectionBody:
    """How far a source is connected."""

    source_id: int
    prepared: StageBody  # repository and key
    found: StageBody  # the machine was looked for
    tried: StageBody
    offered_key: str | None  # what the machine showed and nobody confirmed yet
    fingerprint: str | None  # of it, to be compared on the machine; else of the confirmed one
    is_confirmed: bool
    is_changed: bool  # it shows another identity than the confirmed one
    instructions: list[InstructionBody]
    checks: list[CheckBody]
    has_snapshot: bool


@dataclass(frozen=True, slots=True)
class TrialBody:
    """A step to be done again."""

    what: str = "check"  # probe: look for it · check: try the connection · prepare: the repository


@dataclass(frozen=True, slots=True)
class AnomalyBody:
    """An open alarm."""

    id: int
    kind: str
    text: str
    opened_at: datetime
    snapshot_id: int | None


@dataclass(frozen=True, slots=True)
class ReasonBody:
    """Why an alarm is closed."""

    reason: str  # 10 to 500 characters


@router.post(
    "", name="api-source-add", status_code=201, dependencies=[needs(Action.SOURCES_CHANGE)]
)
async def add(
    request: Request, box: TheBox, visitor: TheVisitor, wanted: NewSourceBody
) -> SourceDetailBody:
    """Add a machine or a share and queue what prepares it; a machine's identity is then to be confirmed.

    Raises:
        InvalidInput, AlreadyExists.
    """
    new = NewSource(
        wanted.kind,
        wanted.label,
        wanted.system,
        wanted.host,
        str(wanted.port),
        wanted.user,
        "\n".join(wanted.roots),
        wanted.folder,
    )
    for field, text in problems_of(new, box.settings):
        raise InvalidInput(field, text)
    language = language_of(request)

    def change(connection: Connection) -> SourceDetailBody:
        made = add_source(connection, new, visitor)
        return _detail(source_page(connection, box, language, made.id), language)

    return await box.write(change)


@router.get("/{source_id}", name="api-source", dependencies=[needs(Action.SOURCES_SEE)])
async def show(request: Request, box: TheBox, source_id: SourceId) -> SourceDetailBody:
    """Return one source and the truth about it.

    Raises:
        NotFound.
    """
    language = language_of(request)
    return await box.read_aside(
        lambda c: _detail(source_page(c, box, language, source_id), language)
    )


@router.post(
    "/{source_id}/snapshots",
    name="api-back-up",
    status_code=202,
    dependencies=[needs(Action.BACKUP_START)],
)
async def back_up(box: TheBox, visitor: TheVisitor, source_id: SourceId) -> JobBody:
    """Queue a backup now; 409 when one waits already."""

    def change(connection: Connection) -> Job:
        spec = backup_spec(sources.get(connection, source_id))
        return _asked(connection, spec, "backup.ask", source_id, visitor)

    return job_body(await box.write(change))


@router.post(
    "/{source_id}/verify",
    name="api-source-verify",
    status_code=202,
    dependencies=[needs(Action.BACKUP_START)],
)
async def verify(
    box: TheBox, visitor: TheVisitor, source_id: SourceId, *, full: bool = False
) -> JobBody:
    """Queue the proof of the newest snapshot, with ``full`` the re-reading of every byte; 409 when it waits."""

    def change(connection: Connection) -> Job:
        sources.get(connection, source_id)
        spec = proof_spec(connection, source_id, full=full)
        return _asked(connection, spec, "verification.ask", source_id, visitor)

    return job_body(await box.write(change))


@router.get("/{source_id}/set-up", name="api-set-up", dependencies=[needs(Action.SOURCES_CHANGE)])
async def show_set_up(request: Request, box: TheBox, source_id: SourceId) -> ConnectionBody:
    """Return how far a source is connected, and the lines to run on the machine.

    Raises:
        NotFound.
    """
    return _set_up(request, set_up_state(box.database, source_id))


@router.post(
    "/{source_id}/set-up",
    name="api-set-up-try",
    status_code=202,
    dependencies=[needs(Action.SOURCES_CHANGE)],
)
async def try_again(
    box: TheBox, visitor: TheVisitor, source_id: SourceId, wanted: TrialBody
) -> JobBody:
    """Look for the machine again, try it, or prepare its repository again; 409 when that waits already.

    Raises:
        NotFound, InvalidInput, AlreadyQueued.
    """

    def change(connection: Connection) -> Job:
        return queue.get(connection, ask_trial(connection, source_id, wanted.what, visitor))

    return job_body(await box.write(change))


@router.put(
    "/{source_id}/host-key", name="api-host-key", dependencies=[needs(Action.SOURCES_CHANGE)]
)
async def confirm(
    request: Request, box: TheBox, visitor: TheVisitor, source_id: SourceId, wanted: HostKeyBody
) -> ConnectionBody:
    """Confirm the identity the machine showed last; another one is refused.

    Raises:
        NotFound, InvalidInput.
    """
    await box.write(lambda c: pin(c, source_id, visitor, wanted.key))
    return _set_up(request, set_up_state(box.database, source_id))


@router.get(
    "/{source_id}/anomalies", name="api-anomalies", dependencies=[needs(Action.SOURCES_SEE)]
)
async def list_anomalies(request: Request, box: TheBox, source_id: SourceId) -> list[AnomalyBody]:
    """Return the open alarms of a source, newest first.

    Raises:
        NotFound.
    """
    language = language_of(request)
    page = await box.read_aside(lambda c: source_page(c, box, language, source_id))
    return [
        AnomalyBody(
            one.anomaly.id,
            one.anomaly.kind,
            one.text,
            one.anomaly.opened_at,
            one.anomaly.snapshot_id,
        )
        for one in page.alarms
    ]


@router.post(
    "/{source_id}/anomalies/{anomaly_id}/close",
    name="api-anomaly-close",
    status_code=204,
    dependencies=[needs(Action.ANOMALY_CLOSE)],
)
async def close_anomaly(
    box: TheBox, visitor: TheVisitor, source_id: SourceId, anomaly_id: int, wanted: ReasonBody
) -> None:
    """Close an alarm with a reason; the last one closed lets pruning run again.

    Raises:
        NotFound, InvalidInput.
    """
    await box.write(lambda c: close_alarm(c, source_id, anomaly_id, wanted.reason, visitor))


def _asked(
    connection: Connection, spec: Spec, event: str, source_id: SourceId, visitor: Visitor
) -> Job:
    return queue.get(connection, ask(connection, spec, event, f"source:{source_id}", visitor))


def _detail(page: SourcePage, language: Language) -> SourceDetailBody:
    source, repository = page.source, page.repository
    return SourceDetailBody(
        source=source_body(source, page.line.status),
        sentence=page.sentence,
        todo=[
            TodoBody(
                one.finding.code,
                one.finding.severity.value,
                one.finding.words(language),
                one.finding.action_words(language),
            )
            for one in page.todo
        ],
        nights=[
            NightBody(
                one.cell.night, one.cell.state.value, one.cell.words(language), one.snapshot_id
            )
            for one in page.line.cells
        ],
        host=source.host,
        is_confirmed=source.host_key is not None,
        last_seen_at=source.last_seen_at,
        roots=list(source.roots),
        recipes=[each.name for each in source.recipes],
        is_planned=source.plan.enabled,
        plan_sentence=page.plan_sentence,
        next_at=page.next_at,
        frozen=[translate(each, language) for each in page.freeze_texts],
        snapshots=page.snapshot_count,
        original_bytes=page.original_total,
        stored_bytes=repository.size_bytes if repository else 0,
        all_read_since=repository.all_read_since if repository else None,
    )


def _set_up(request: Request, state: SetUpState) -> ConnectionBody:
    words = words_of(request)
    return ConnectionBody(
        state.source.id,
        stage_body(state.prepared),
        stage_body(state.found),
        stage_body(state.tried),
        state.found_key,
        state.fingerprint,
        state.source.host_key is not None,
        state.is_changed,
        [
            InstructionBody(each.words(words.language), list(each.lines))
            for each in state.instructions
        ],
        check_bodies(state.checks, words),
        state.has_snapshot,
    )
