"""The assistant: adding a machine or a share, step by step, until its first backup."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.catalogue.words import normalise
from appliance.clock import utc_now
from appliance.db import snapshots, sources
from appliance.db.engine import Database
from appliance.errors import AlreadyExists, AlreadyQueued, InvalidInput
from appliance.jobs import queue
from appliance.jobs.kinds import CheckMachine, ProbeHostKey, SetUpSource, Spec
from appliance.language import Language, mark, translate
from appliance.ledger import events
from appliance.model import Job, JobState, PersonId, Source, SourceId, SourceKind, System
from appliance.policy import instructions
from appliance.policy.roles import Action
from appliance.web.deps import Box, TheBox, TheVisitor, language_of, needs
from appliance.web.pages import tones
from appliance.web.pages.job_view import JobView, view
from appliance.web.pages.plan import parse_roots
from appliance.web.pages.sources import SYSTEM_NAMES
from appliance.web.render import Page, refreshed, render

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]

#: Proposals; a person changes them.
ROOTS: Final[dict[System, str]] = {
    System.LINUX: "/home\n/srv",
    System.MACOS: "/Users",
    System.WINDOWS: "C:\\Users",
}
USERS: Final[dict[System, str]] = {
    System.LINUX: "armoire",
    System.MACOS: "armoire",
    System.WINDOWS: "Administrateur",
}
_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:%-]{0,254}")
_USER: Final = re.compile(r"[^\s\x00-\x1f\x7f-]\S{0,103}( \S+)*")
_KEY: Final = re.compile(r"[a-z0-9@.-]{4,60} [A-Za-z0-9+/]{16,4000}={0,2}")
_ENDED: Final = frozenset(queue.ENDED)


@dataclass(frozen=True, slots=True)
class NewPage(Page):
    """What is added: a machine or a share."""

    template: ClassVar[str] = "sources/new.html"
    kind: str = "machine"
    label: str = ""
    system: str = System.WINDOWS.value
    host: str = ""
    port: str = "22"
    user: str = ""
    roots: str = ""
    folder: str = ""
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
    language = language_of(request)
    values = NewPage(kind, label, system, host, port, user, roots, folder)
    problems = _problems(values, language)
    made: Source | None = None
    if not problems:
        try:
            made = await box.write(lambda c: _add(c, values, visitor.person.id))
        except (AlreadyExists, InvalidInput):
            problems.append(
                ("label", translate(mark("There is already a source of this name."), language))
            )
    if made is None:
        page = NewPage(
            kind, label, system, host, port, user, roots, folder, problems=tuple(problems)
        )
        return render(request, page, 422)
    return RedirectResponse(f"/sources/{made.id}/set-up", 303)


def _problems(values: NewPage, language: Language) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    def wrong(field: str, text: str) -> None:
        found.append((field, translate(text, language)))

    if not 2 <= len(values.label.strip()) <= 100 or not slug(values.label):
        wrong("label", mark("A name of 2 to 100 characters."))
    if values.kind == "share":
        folder = values.folder.strip()
        if not folder.startswith("/") or ".." in folder.split("/") or folder.rstrip("/") == "":
            wrong(
                "folder", mark("The whole path of a folder of the box, such as «/srv/documents».")
            )
        elif not Path(folder).is_dir():
            wrong("folder", mark("There is no such folder on the box."))
        return found
    if values.system not in set(System):
        wrong("system", mark("Choose its system."))
        return found
    if not _HOST.fullmatch(values.host.strip()):
        wrong("host", mark("Its name or address on the network, such as «192.168.1.20»."))
    if not values.port.isdecimal() or not 1 <= int(values.port) <= 65535:
        wrong("port", mark("A number from 1 to 65535; 22 is usual."))
    if values.user.strip() and not _USER.fullmatch(values.user.strip()):
        wrong("user", mark("The name of an account of the machine."))
    if values.roots.strip():
        try:
            parse_roots(values.roots, is_windows=values.system == System.WINDOWS.value)
        except InvalidInput as error:
            wrong("roots", error.expected)
    return found


def slug(label: str) -> str:
    """Return the short name of a source, used in commands: «Poste accueil» is «poste-accueil»."""
    return re.sub(r"[^a-z0-9]+", "-", normalise(label)).strip("-")[:60].strip("-")


def _add(connection: Connection, values: NewPage, person_id: PersonId) -> Source:
    now = utc_now()
    label = " ".join(values.label.split())
    if values.kind == "share":
        made = sources.add(
            connection,
            name=slug(label),
            label=label,
            kind=SourceKind.SHARE,
            roots=("/" + values.folder.strip().strip("/"),),
            now=now,
        )
    else:
        system = System(values.system)
        made = sources.add(
            connection,
            name=slug(label),
            label=label,
            kind=SourceKind.PULLED,
            system=system,
            host=values.host.strip(),
            port=int(values.port),
            user=values.user.strip() or USERS[system],
            roots=parse_roots(
                values.roots.strip() or ROOTS[system], is_windows=system is System.WINDOWS
            ),
            now=now,
        )
    events.record(
        connection,
        at=now,
        event="source.added",
        subject=f"source:{made.id}",
        person_id=person_id,
        kind=made.kind.value,
    )
    queue.enqueue(connection, SetUpSource(made.id), now=now, person_id=person_id)
    if made.kind is SourceKind.PULLED:
        queue.enqueue(connection, ProbeHostKey(made.id), now=now, person_id=person_id)
    return made


# --- the assistant -----------------------------------------------------------------------------


@router.get(
    "/sources/{source_id}/set-up", name="set-up", dependencies=[needs(Action.SOURCES_CHANGE)]
)
async def show_set_up(request: Request, box: TheBox, source_id: SourceId) -> Response:
    """Show where the assistant stands."""
    return render(request, SetUpPage(_state(box.database, source_id)))


@router.get(
    "/live/sources/{source_id}/set-up",
    name="live-set-up",
    dependencies=[needs(Action.SOURCES_CHANGE)],
)
async def poll_set_up(
    request: Request, box: TheBox, source_id: SourceId, pace: int = 0
) -> Response:
    """Return where the assistant stands now."""
    state = _state(box.database, source_id)
    if pace and pace != state.poll_s:
        return refreshed()
    return render(request, SetUpFragment(state))


def _state(database: Database, source_id: SourceId) -> SetUpState:
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
        checks=_checks(facts),
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


_CHECK_TONES: Final = {
    "ok": tones.GOOD,
    "warning": tones.WARN,
    "failed": tones.BAD,
    "skipped": tones.CALM,
}


def _checks(facts: dict[str, object]) -> list[CheckLine]:
    """Return what «machine.check» stored, each line as it came."""
    stored = facts.get("check")
    results = stored.get("results") if isinstance(stored, dict) else None
    found: list[CheckLine] = []
    for one in results if isinstance(results, list) else []:
        if not isinstance(one, dict):
            continue
        said = one.get("facts")
        found.append(
            CheckLine(
                _CHECK_TONES.get(str(one.get("outcome")), tones.CALM),
                str(one.get("text", "")),
                dict(said) if isinstance(said, dict) else {},
            )
        )
    return found


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
    now = utc_now()
    with box.database.read() as connection:
        found = _found_key(sources.facts(connection, source_id))
    if found is None or key != found:
        raise InvalidInput("key", mark("The machine shows another identity now. Look again."))

    def change(connection: Connection) -> None:
        sources.change(connection, source_id, host_key=key)
        events.record(
            connection,
            at=now,
            event="machine.confirmed",
            subject=f"source:{source_id}",
            person_id=visitor.person.id,
            fingerprint=fingerprint(key),
        )

    await box.write(change)
    return RedirectResponse(f"/sources/{source_id}/set-up", 303)


@router.post(
    "/sources/{source_id}/try", name="try-machine", dependencies=[needs(Action.SOURCES_CHANGE)]
)
async def try_machine(
    box: TheBox, visitor: TheVisitor, source_id: SourceId, what: Text = "check"
) -> Response:
    """Look for the machine again, try it, or prepare its repository again."""
    spec: Spec
    match what:
        case "probe":
            spec = ProbeHostKey(source_id)
        case "prepare":
            spec = SetUpSource(source_id)
        case _:
            spec = CheckMachine(source_id)
    await _enqueue(box, spec, visitor.person.id)
    return RedirectResponse(f"/sources/{source_id}/set-up", 303)


async def _enqueue(box: Box, spec: Spec, person_id: PersonId) -> None:
    now = utc_now()

    def change(connection: Connection) -> None:
        try:
            queue.enqueue(connection, spec, now=now, person_id=person_id)
        except AlreadyQueued:
            return  # it is under way already, which is what was asked for

    await box.write(change)
