"""The assistant: adding a machine or a share, step by step, until its first backup."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.clock import utc_now
from appliance.db import snapshots, sources
from appliance.db.engine import Database
from appliance.errors import AlreadyExists, AlreadyQueued, InvalidInput
from appliance.jobs import queue
from appliance.jobs.kinds import CheckMachine, ProbeHostKey, SetUpSource
from appliance.language import mark, translate
from appliance.ledger import events
from appliance.model import Job, JobId, JobState, Source, SourceId, SourceKind
from appliance.policy import instructions
from appliance.policy.roles import Action
from appliance.web.deps import TheBox, TheVisitor, Visitor, language_of, needs
from appliance.web.pages import tones
from appliance.web.pages.job_view import JobView, view
from appliance.web.pages.sources import SYSTEM_NAMES
from appliance.web.render import Page, refreshed, render
from appliance.web.source_new import USERS, NewSource, add_source, problems_of

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]

_KEY: Final = re.compile(r"[a-z0-9@.-]{4,60} [A-Za-z0-9+/]{16,4000}={0,2}")
_ENDED: Final = frozenset(queue.ENDED)
#: Steps of the assistant that can be asked for again.
TRIALS: Final[dict[str, type[ProbeHostKey | CheckMachine | SetUpSource]]] = {
    "probe": ProbeHostKey,
    "check": CheckMachine,
    "prepare": SetUpSource,
}


@dataclass(frozen=True, slots=True)
class NewPage(Page):
    """What is added: a machine or a share."""

    template: ClassVar[str] = "sources/new.html"
    wanted: NewSource = field(default_factory=NewSource)
    systems: tuple[tuple[str, str], ...] = tuple((s.value, n) for s, n in SYSTEM_NAMES.items())
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One thing that was tried, in words."""

    tone: str
    text: str
    facts: dict[str, object]


@dataclass(frozen=True, slots=True)
class Step:
    """Where one step of the assistant stands."""

    state: str  # waiting · busy · done · failed
    job: JobView | None = None


@dataclass(frozen=True, slots=True)
class SetUpState:
    """Everything the changing part of the assistant may use."""

    source: Source
    prepared: Step
    found: Step
    tried: Step
    found_key: str | None  # what the machine showed, not confirmed yet
    fingerprint: str | None
    is_changed: bool  # another key than the pinned one
    instructions: list[instructions.Step]
    checks: list[CheckLine]
    has_snapshot: bool
    poll_s: int | None


@dataclass(frozen=True, slots=True)
class SetUpPage(Page):
    """The assistant."""

    template: ClassVar[str] = "sources/set_up.html"
    state: SetUpState


@dataclass(frozen=True, slots=True)
class SetUpFragment(Page):
    """The part of the assistant that changes by itself."""

    template: ClassVar[str] = "_partials/set_up.html"
    state: SetUpState


@router.get("/sources/new", name="source-new", dependencies=[needs(Action.SOURCES_CHANGE)])
async def show_new(request: Request) -> Response:
    """Ask what is added."""
    return render(request, NewPage())


@router.post("/sources/new", name="source-add", dependencies=[needs(Action.SOURCES_CHANGE)])
async def add(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    kind: Text = "machine",
    label: Text = "",
    system: Text = "",
    host: Text = "",
    port: Text = "22",
    user: Text = "",
    roots: Text = "",
    folder: Text = "",
) -> Response:
    """Add it, queue what prepares it, and go on to the assistant."""
    wanted = NewSource(kind, label, system, host, port, user, roots, folder)
    problems = problems_of(wanted, box.settings)
    made: Source | None = None
    if not problems:
        try:
            made = await box.write(lambda c: add_source(c, wanted, visitor))
        except AlreadyExists:
            problems.append(("label", mark("There is already a source of this name.")))
    if made is None:
        language = language_of(request)
        said = tuple((each, translate(text, language)) for each, text in problems)
        return render(request, NewPage(wanted, problems=said), 422)
    return RedirectResponse(f"/sources/{made.id}/set-up", 303)


# --- the assistant -----------------------------------------------------------------------------


@router.get(
    "/sources/{source_id}/set-up", name="set-up", dependencies=[needs(Action.SOURCES_CHANGE)]
)
async def show_set_up(request: Request, box: TheBox, source_id: SourceId) -> Response:
    """Show where the assistant stands."""
    return render(request, SetUpPage(set_up_state(box.database, source_id)))


@router.get(
    "/live/sources/{source_id}/set-up",
    name="live-set-up",
    dependencies=[needs(Action.SOURCES_CHANGE)],
)
async def poll_set_up(
    request: Request, box: TheBox, source_id: SourceId, pace: int = 0
) -> Response:
    """Return where the assistant stands now."""
    state = set_up_state(box.database, source_id)
    if pace and pace != state.poll_s:
        return refreshed()
    return render(request, SetUpFragment(state))


def set_up_state(database: Database, source_id: SourceId) -> SetUpState:
    """Return where the assistant stands with a source.

    Raises:
        NotFound: there is no such source.
    """
    with database.read() as connection:
        source = sources.get(connection, source_id)
        facts = sources.facts(connection, source_id)
        jobs = {
            kind: next(
                iter(queue.newest(connection, limit=1, source_id=source_id, kind=kind)), None
            )
            for kind in (SetUpSource.kind, ProbeHostKey.kind, CheckMachine.kind)
        }
        has_snapshot = snapshots.newest(connection, source_id) is not None
    public_key = facts.get("public_key")
    found_key = _found_key(facts)
    steps = {kind: _step(job, source) for kind, job in jobs.items()}
    prepared = steps[SetUpSource.kind]
    if jobs[SetUpSource.kind] is None and (public_key or has_snapshot):
        prepared = Step("done")  # made by the command line, before jobs were kept
    is_busy = any(step.state == "busy" for step in (prepared, *steps.values()))
    is_pulled = source.kind is SourceKind.PULLED
    return SetUpState(
        source=source,
        prepared=prepared,
        found=steps[ProbeHostKey.kind],
        tried=steps[CheckMachine.kind],
        found_key=found_key if found_key != source.host_key else None,
        fingerprint=fingerprint(found_key or source.host_key or ""),
        is_changed=source.host_key is not None
        and found_key is not None
        and found_key != source.host_key,
        instructions=_lines(source, str(public_key)) if public_key and is_pulled else [],
        checks=check_lines(facts.get("check")),
        has_snapshot=has_snapshot,
        poll_s=1 if is_busy else None,
    )


def _step(job: Job | None, source: Source) -> Step:
    if job is None:
        return Step("waiting")
    seen = view(job, {source.id: source}, utc_now())
    if job.state not in _ENDED:
        return Step("busy", seen)
    is_good = job.state in {JobState.SUCCEEDED, JobState.WARNED}
    return Step("done" if is_good else "failed", seen)


def _lines(source: Source, public_key: str) -> list[instructions.Step]:
    try:
        return instructions.steps(
            source.system,
            public_key,
            user=source.user or USERS[source.system],
            roots=source.roots,
            runs_commands=bool(source.recipes),
        )
    except InvalidInput:
        return []


def _found_key(facts: dict[str, object]) -> str | None:
    """Return the host key that the machine showed last, out of what «machine.probe» stored."""
    probed = facts.get("probed")
    key = probed.get("host_key") if isinstance(probed, dict) else None
    return key if isinstance(key, str) and _KEY.fullmatch(key) else None


CHECK_TONES: Final = {
    "ok": tones.GOOD,
    "warning": tones.WARN,
    "failed": tones.BAD,
    "skipped": tones.CALM,
}


def check_lines(stored: object) -> list[CheckLine]:
    """Return what a job that tried something stored under «check», each line as it came."""
    results = stored.get("results") if isinstance(stored, dict) else None
    return [
        CheckLine(
            CHECK_TONES.get(str(one.get("outcome")), tones.CALM),
            str(one.get("text", "")),
            dict(one["facts"]) if isinstance(one.get("facts"), dict) else {},
        )
        for one in (results if isinstance(results, list) else [])
        if isinstance(one, dict)
    ]


def outcome_of(line: CheckLine) -> str:
    """Return what came of a thing that was tried: ok · warning · failed · skipped."""
    return next(outcome for outcome, tone in CHECK_TONES.items() if tone == line.tone)


def fingerprint(key: str) -> str | None:
    """Return «SHA256:…» of a public key line, as `ssh-keygen -l` shows it; None: it is no key."""
    try:
        blob = base64.b64decode(key.split()[1], validate=True)
    except (IndexError, binascii.Error):
        return None
    digest = hashlib.sha256(blob).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


@router.post(
    "/sources/{source_id}/host-key", name="host-key", dependencies=[needs(Action.SOURCES_CHANGE)]
)
async def confirm_host_key(
    box: TheBox, visitor: TheVisitor, source_id: SourceId, key: Text = ""
) -> Response:
    """Pin the identity that was shown, and try the machine.

    Raises:
        InvalidInput: it is not the one the machine showed last.
    """
    await box.write(lambda c: pin(c, source_id, visitor, key))
    return RedirectResponse(f"/sources/{source_id}/set-up", 303)


def pin(
    connection: Connection,
    source_id: SourceId,
    visitor: Visitor,
    key: str,
) -> None:
    """Pin the identity a machine showed last, when a person confirms just that one; inside the caller's write.

    Raises:
        NotFound: there is no such source.
        InvalidInput: the machine showed another one last, or none yet.
    """
    sources.get(connection, source_id)
    found = _found_key(sources.facts(connection, source_id))
    if found is None or key != found:
        raise InvalidInput("key", mark("The machine shows another identity now. Look again."))
    sources.change(connection, source_id, host_key=key)
    events.record(
        connection,
        at=utc_now(),
        event="machine.confirmed",
        subject=f"source:{source_id}",
        person_id=visitor.person.id,
        fingerprint=fingerprint(key),
    )


@router.post(
    "/sources/{source_id}/try", name="try-machine", dependencies=[needs(Action.SOURCES_CHANGE)]
)
async def try_machine(
    box: TheBox, visitor: TheVisitor, source_id: SourceId, what: Text = "check"
) -> Response:
    """Look for the machine again, try it, or prepare its repository again."""

    def change(connection: Connection) -> None:
        try:
            ask_trial(connection, source_id, what, visitor)
        except AlreadyQueued:
            return  # it is under way already, which is what was asked for

    await box.write(change)
    return RedirectResponse(f"/sources/{source_id}/set-up", 303)


def ask_trial(connection: Connection, source_id: SourceId, what: str, visitor: Visitor) -> JobId:
    """Queue one step of the assistant: «probe», «check» or «prepare».

    Raises:
        NotFound: there is no such source.
        InvalidInput: it is no such step, or one of machines only.
        AlreadyQueued.
    """
    source = sources.get(connection, source_id)
    spec = TRIALS.get(what)
    if spec is None or (spec is not SetUpSource and source.kind is not SourceKind.PULLED):
        raise InvalidInput("what", mark("probe or check, of a machine the box reads; or prepare."))
    return queue.enqueue(connection, spec(source_id), now=utc_now(), person_id=visitor.person.id)
