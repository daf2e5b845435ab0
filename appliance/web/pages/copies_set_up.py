"""The assistant of a copy that was added: its key, its identity, what it is, a test, the first sending.

It shows how far it is whenever it is opened, so it can be left and taken up again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.clock import utc_now
from appliance.db import copies
from appliance.db.targets import TargetRow
from appliance.errors import AlreadyQueued, InvalidInput
from appliance.jobs import queue, target_setup
from appliance.jobs.copy_readings import nature_of, place_of
from appliance.jobs.kinds import CheckTarget, PushCopy, SetUpTarget, Spec
from appliance.language import mark
from appliance.model import Job, JobState, PersonId
from appliance.policy.hosting import Nature, Verdict, judge
from appliance.policy.place import BoxPlace, SftpPlace, fingerprint
from appliance.policy.roles import Action
from appliance.web.deps import Box, TheBox, TheVisitor, needs
from appliance.web.pages.copies_add import NATURES
from appliance.web.pages.copies_names import KIND_NAMES, NATURE_NAMES
from appliance.web.pages.copies_view import by_name, dossier_of, facts_text, newest_jobs
from appliance.web.pages.job_view import JobView, view
from appliance.web.pages.set_up import CheckLine, Step, check_lines
from appliance.web.render import Page, refreshed, render

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]

_ENDED: Final = frozenset(queue.ENDED)


@dataclass(frozen=True, slots=True)
class AssistantState:
    """How far the assistant is."""

    target: TargetRow
    kind_name: str
    host: str
    user: str
    public_key: str  # of this box for this place; "": not made yet, or none is needed
    asks_key: bool  # this kind of place is entered with a key
    has_identity: bool  # this kind of place shows a host key
    prepared: Step
    offered: str  # the host key that was shown, not confirmed yet
    fingerprint: str  # of the offered one, or of the confirmed one
    is_confirmed: bool
    is_changed: bool  # another key than the confirmed one
    nature: Nature | None
    nature_name: str | None
    verdict: Verdict
    tried: Step
    checks: list[CheckLine]
    pushed: Step
    has_copy: bool
    poll_s: int | None

    @property
    def is_ready(self) -> bool:
        """Whether a first copy may be sent."""
        return self.verdict.may_send and (self.is_confirmed or not self.has_identity)


@dataclass(frozen=True, slots=True)
class AssistantPage(Page):
    """The assistant of one target."""

    template: ClassVar[str] = "copies/set_up.html"
    state: AssistantState
    natures: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class AssistantFragment(Page):
    """The part of it that changes by itself."""

    template: ClassVar[str] = "_partials/copy_set_up.html"
    state: AssistantState
    natures: tuple[tuple[str, str, str], ...]


@router.get("/copies/{name}/set-up", name="copy-set-up", dependencies=[needs(Action.COPIES_CHANGE)])
async def show_set_up(request: Request, box: TheBox, name: str) -> Response:
    """Show how far the assistant is."""
    state = await box.read_aside(lambda c: state_of(c, box, by_name(c, name)))
    return render(request, AssistantPage(state, NATURES))


@router.get(
    "/live/copies/{name}/set-up",
    name="live-copy-set-up",
    dependencies=[needs(Action.COPIES_CHANGE)],
)
async def poll_set_up(request: Request, box: TheBox, name: str, pace: int = 0) -> Response:
    """Return how far it is now; when work begins or ends, the page is loaded anew."""
    state = await box.read_aside(lambda c: state_of(c, box, by_name(c, name)))
    if pace and pace != state.poll_s:
        return refreshed()
    return render(request, AssistantFragment(state, NATURES))


def state_of(connection: Connection, box: Box, row: TargetRow) -> AssistantState:
    """Return how far the assistant of a target is."""
    now = utc_now()
    place = place_of(row)
    kinds = (SetUpTarget.kind, CheckTarget.kind, PushCopy.kind)
    steps = {job.kind: _step(job) for job in newest_jobs(connection, row.id, kinds)}
    prepared, tried, pushed = (steps.get(kind, Step("waiting")) for kind in kinds)
    public_key = facts_text(row.facts, target_setup.PUBLIC_KEY)
    has_copy = any(each.published_at for each in copies.generations(connection, row.id))
    if prepared.state == "waiting" and (public_key or has_copy):
        prepared = Step("done")  # by the command line, or so long ago that its task is forgotten
    confirmed = place.host_key if isinstance(place, SftpPlace | BoxPlace) else ""
    offered = offered_key(row)
    nature = nature_of(row)
    today = now.astimezone(box.zone).date()
    return AssistantState(
        target=row,
        kind_name=KIND_NAMES.get(row.kind, row.kind),
        host=place.host if isinstance(place, SftpPlace | BoxPlace) else "",
        user=place.user if isinstance(place, SftpPlace) else "",
        public_key=public_key,
        asks_key=isinstance(place, SftpPlace | BoxPlace),
        has_identity=isinstance(place, SftpPlace | BoxPlace),
        prepared=prepared,
        offered=offered if offered != confirmed else "",
        fingerprint=_fingerprint(offered or confirmed),
        is_confirmed=bool(confirmed),
        is_changed=bool(confirmed and offered and offered != confirmed),
        nature=nature,
        nature_name=None if nature is None else NATURE_NAMES[nature],
        verdict=judge(nature, dossier_of(row), today),
        tried=tried,
        checks=check_lines(row.facts.get(target_setup.CHECK)),
        pushed=Step("done") if has_copy and pushed.state != "busy" else pushed,
        has_copy=has_copy,
        poll_s=1 if any(step.state == "busy" for step in steps.values()) else None,
    )


def _step(job: Job) -> Step:
    seen: JobView = view(job, {}, utc_now())
    if job.state not in _ENDED:
        return Step("busy", seen)
    return Step("done" if job.state in {JobState.SUCCEEDED, JobState.WARNED} else "failed", seen)


def offered_key(row: TargetRow) -> str:
    """Return the host key the place showed last, two words of it; «» for none."""
    stored = row.facts.get(target_setup.OFFERED_HOST_KEY)
    key = stored.get("host_key") if isinstance(stored, dict) else None
    if not isinstance(key, str):
        return ""
    try:
        fingerprint(key)
    except InvalidInput:
        return ""
    return " ".join(key.split()[:2])


def _fingerprint(key: str) -> str:
    try:
        return fingerprint(key) if key else ""
    except InvalidInput:
        return ""


@router.post(
    "/copies/{name}/host-key", name="copy-host-key", dependencies=[needs(Action.COPIES_CHANGE)]
)
async def confirm_host_key(box: TheBox, visitor: TheVisitor, name: str, key: Text = "") -> Response:
    """Pin the identity that was shown, and try the place.

    Raises:
        InvalidInput: it is not the one the place showed last.
    """
    now = utc_now()

    await box.write(lambda c: pin(c, by_name(c, name), key, person_id=visitor.person.id, now=now))
    return RedirectResponse(f"/copies/{name}/set-up", 303)


def pin(
    connection: Connection, row: TargetRow, key: str, *, person_id: PersonId, now: datetime
) -> None:
    """Confirm the host key a place showed last, and queue a test of the place.

    Raises:
        InvalidInput: it is another one.
    """
    if not key or key != offered_key(row):
        raise InvalidInput("key", mark("The place shows another identity now. Look again."))
    target_setup.confirm_host_key(connection, row.id, key, person=person_id, now=now)
    _enqueue(connection, CheckTarget(row.id), person_id)


@router.post("/copies/{name}/try", name="copy-try", dependencies=[needs(Action.COPIES_CHANGE)])
async def try_place(box: TheBox, visitor: TheVisitor, name: str, what: Text = "check") -> Response:
    """Prepare the place again, look for it again, test it, or send the first copy."""

    def change(connection: Connection) -> None:
        row = by_name(connection, name)
        spec: Spec
        match what:
            case "prepare":
                spec = SetUpTarget(row.id)
            case "push":
                spec = PushCopy(row.id)
            case _:
                spec = CheckTarget(row.id)
        _enqueue(connection, spec, visitor.person.id)

    await box.write(change)
    return RedirectResponse(f"/copies/{name}/set-up", 303)


def _enqueue(connection: Connection, spec: Spec, person_id: PersonId) -> None:
    try:
        queue.enqueue(connection, spec, now=utc_now(), person_id=person_id)
    except AlreadyQueued:
        return  # it is under way already, which is what was asked for
