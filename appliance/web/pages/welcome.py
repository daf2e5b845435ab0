"""The assistant of the first day: what is done, what is next, what waits; it can be left and taken up again.

Each step is done on the page that is there for it anyway; the browser carries the step's name meanwhile, and
every page shows the way back. What is done is read from what exists (``web.first_steps``).
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, ClassVar, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import practice_settings
from appliance.clock import utc_now
from appliance.db import practice, shares, sources, targets
from appliance.disk import set_up
from appliance.errors import AlreadyExists, InvalidInput, NotFound
from appliance.language import Language, explain, mark, translate
from appliance.model import Person, Plan, SourceKind
from appliance.policy import first_steps as policy
from appliance.policy.first_steps import (
    SHARE_TEMPLATES,
    STEP_NAMES,
    STEP_REASONS,
    ShareTemplate,
    StepName,
    StepState,
)
from appliance.policy.roles import Action
from appliance.policy.timetable import Window, latest_window, next_window
from appliance.web import first_steps
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs
from appliance.web.pages import tones
from appliance.web.pages.shares import begin_nights, check_label, slug
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.FIRST_STEPS)])

Text = Annotated[str, Form()]

STATE_NAMES: Final = {
    StepState.DONE: mark("done"),
    StepState.WAITING: mark("waits for the night"),
    StepState.BEGUN: mark("to be finished"),
    StepState.TO_DO: mark("to do"),
    StepState.LATER: mark("later"),
}
LANGUAGES: Final[tuple[Language, ...]] = ("fr", "en")
_TONES: Final = {
    StepState.DONE: tones.GOOD,
    StepState.WAITING: tones.BUSY,
    StepState.BEGUN: tones.WARN,
    StepState.TO_DO: tones.CALM,
    StepState.LATER: tones.CALM,
}
_MACHINES: Final = frozenset({SourceKind.PULLED, SourceKind.PUSHED})


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step on the page."""

    number: int
    name: str
    title: str
    reason: str
    state: str
    state_name: str
    tone: str
    at: datetime | None
    minutes: int
    is_shown: bool  # open on the page
    is_open: bool  # somebody still has something to do
    is_later: bool


@dataclass(frozen=True, slots=True)
class TemplateLine:
    """A share that is offered."""

    key: str
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the steps show besides."""

    name: str
    postal: str
    shares: list[str]  # labels of those that exist
    templates: list[TemplateLine]
    people: int  # open accounts besides one's own
    machine_id: int | None  # one that was begun
    target_name: str | None  # likewise
    night_at: datetime | None  # the next one; of one that is under way, its beginning


@dataclass(frozen=True, slots=True)
class WelcomePage(Page):
    """The steps."""

    template: ClassVar[str] = "welcome.html"
    steps: list[StepLine]
    done: int
    left: int
    minutes: int
    is_pressing: bool
    is_closed: bool
    facts: Facts
    has_disk: bool
    problems: tuple[tuple[str, str], ...] = ()
    wanted: tuple[str, ...] = ("everybody",)  # ticked templates
    label: str = ""
    who: str = "everybody"


@router.get("/welcome", name="welcome")
async def show(request: Request, box: TheBox, visitor: TheVisitor, step: str = "") -> Response:
    """Show how far it is; the browser is back, whichever step it left for."""
    first_steps.forget_count(request)
    page = await _page(box, visitor, step)
    answer = render(request, page)
    answer.delete_cookie(first_steps.COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return answer


@router.get("/welcome/go/{step}", name="welcome-go")
async def go(box: TheBox, visitor: TheVisitor, step: str) -> Response:
    """Lead to the page where a step is done, and remember the way back.

    Raises:
        NotFound: there is no such step.
    """
    if step not in set(StepName):
        raise NotFound("page", step)
    name = StepName(step)
    where = await box.read_aside(lambda c: _place(_facts(c, box, visitor.person), name))
    answer = RedirectResponse(where, 303)
    answer.set_cookie(
        first_steps.COOKIE, name.value, path="/", secure=True, httponly=True, samesite="lax"
    )
    return answer


@router.post("/welcome/practice", name="welcome-practice")
async def name_practice(
    request: Request, box: TheBox, visitor: TheVisitor, name: Text = "", postal: Text = ""
) -> Response:
    """Keep the practice's name and address."""
    wanted = {practice.NAME: name, practice.ADDRESS: postal}
    try:
        await box.write(
            lambda c: practice_settings.change(
                c,
                box.settings,
                wanted,
                may=visitor.may,
                person_id=visitor.person.id,
                now=utc_now(),
            )
        )
    except InvalidInput as error:
        page = await _page(box, visitor, StepName.PRACTICE)
        problem = (error.name, translate(error.expected, language_of(request)))
        typed = replace(page.facts, name=name, postal=postal)
        return render(request, replace(page, facts=typed, problems=(problem,)), 422)
    return _back()


@router.post("/welcome/share", name="welcome-share", dependencies=[needs(Action.SHARES_CHANGE)])
async def make_shares(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    wanted: Annotated[list[str] | None, Form()] = None,
    label: Text = "",
    who: Text = "everybody",
) -> Response:
    """Make the shares that were ticked, and one of another name; with their rights and nights, or none of them."""
    language = language_of(request)
    by_key = {each.key: each for each in SHARE_TEMPLATES}
    chosen = [by_key[key] for key in dict.fromkeys(wanted or []) if key in by_key]
    made = [(translate(each.label, language), each) for each in chosen]
    try:
        if label.strip():
            made.append((check_label(label), by_key.get(who, SHARE_TEMPLATES[0])))
        await box.write(lambda c: _make(c, box, visitor, made))
    except (InvalidInput, AlreadyExists) as error:
        said = (
            translate(error.expected, language)
            if isinstance(error, InvalidInput)
            else explain(error, language)
        )
        page = await _page(box, visitor, StepName.SHARE)
        ticked = tuple(each.key for each in chosen)
        typed = replace(page, problems=(("wanted", said),), wanted=ticked, label=label, who=who)
        return render(request, typed, 422)
    return _back()


@router.post("/welcome/later", name="welcome-later")
async def put_off(box: TheBox, step: Text = "", again: Text = "") -> Response:
    """Put a step off, or take it up again.

    Raises:
        NotFound: there is no such step.
    """
    if step not in set(StepName):
        raise NotFound("page", step)
    name = StepName(step)
    await box.write(lambda c: first_steps.put_off(c, name, is_later=not again, now=utc_now()))
    return _back(name if again else None)


@router.post("/welcome/close", name="welcome-close")
async def close(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Offer the assistant no more; it stays in the settings."""
    first_steps.forget_count(request)
    await box.write(lambda c: first_steps.close(c, by=visitor.person.id, now=utc_now()))
    return RedirectResponse("/", 303)


def _back(step: StepName | None = None) -> Response:
    return RedirectResponse("/welcome" if step is None else f"/welcome?step={step}", 303)


def _make(
    connection: Connection, box: Box, visitor: Visitor, wanted: list[tuple[str, ShareTemplate]]
) -> None:
    if not wanted:
        raise InvalidInput("wanted", mark("At least one share, please."))
    now, by = utc_now(), visitor.person.id
    for label, template in wanted:
        share = set_up.make_share(
            connection, box.settings, name=slug(label), label=label, person_id=by, now=now
        )
        for role, rights in template.rights.items():
            set_up.give_rights(connection, share, rights, by=by, now=now, role=role)
        begin_nights(connection, share.source_id, by)


def _place(facts: Facts, step: StepName) -> str:
    match step:
        case StepName.FACTOR:
            return "/account/second-factor?next=/welcome"
        case StepName.PEOPLE:
            return "/people"
        case StepName.MACHINE:
            begun = facts.machine_id
            return "/sources/new" if begun is None else f"/sources/{begun}/set-up"
        case StepName.COPY:
            known = facts.target_name
            return "/copies/add" if known is None else f"/copies/{known}/set-up"
        case StepName.KIT:
            return "/kit"
        case StepName.SHARE:
            return "/shares"
        case StepName.PRACTICE:
            return "/settings"


async def _page(box: Box, visitor: Visitor, wanted: str) -> WelcomePage:
    def gather(connection: Connection) -> WelcomePage:
        steps = first_steps.found(connection, box.settings, visitor.person)
        shown = wanted if wanted in set(StepName) else policy.current(steps)
        facts = _facts(connection, box, visitor.person)
        return WelcomePage(
            steps=[
                StepLine(
                    number,
                    each.name.value,
                    STEP_NAMES[each.name],
                    STEP_REASONS[each.name],
                    each.state.value,
                    STATE_NAMES[each.state],
                    tones.BUSY
                    if each.name == shown and each.state is StepState.TO_DO
                    else _TONES[each.state],
                    each.at,
                    policy.MINUTES[each.name],
                    each.name == shown,
                    each.is_open,
                    each.state is StepState.LATER,
                )
                for number, each in enumerate(steps, 1)
            ],
            done=sum(each.state is StepState.DONE for each in steps),
            left=policy.left(steps),
            minutes=policy.minutes_left(steps),
            is_pressing=policy.current(steps) is not None,
            is_closed=first_steps.is_closed(connection),
            facts=facts,
            has_disk=bool(facts.shares),
        )

    return await box.read_aside(gather)


def _window(plan: Plan, now: datetime, zone: ZoneInfo) -> Window | None:
    """Return the night that is under way, or else the next one."""
    latest = latest_window(plan, now, zone)
    is_now = latest is not None and now < latest.end
    return latest if is_now else next_window(plan, now, zone)


def _facts(connection: Connection, box: Box, person: Person) -> Facts:
    living = shares.all_living(connection)
    machines = [each for each in sources.all_living(connection) if each.kind in _MACHINES]
    places = targets.all_living(connection)
    names = {each.name for each in living}
    now = utc_now()
    windows = [_window(each.plan, now, box.zone) for each in machines]
    offered = [
        TemplateLine(each.key, each.label, each.text)
        for each in SHARE_TEMPLATES
        if not names & {slug(translate(each.label, spoken)) for spoken in LANGUAGES}
    ]
    return Facts(
        name=practice.name(connection),
        postal=practice.address(connection),
        shares=[each.label for each in living],
        templates=offered,
        people=first_steps.colleagues(connection, person),
        machine_id=machines[0].id if machines else None,
        target_name=places[0].name if places else None,
        night_at=min((each.start for each in windows if each is not None), default=None),
    )
