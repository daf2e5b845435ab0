"""The settings: what the practice chooses, group by group, in words; each change is written into the journal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import practice_settings
from appliance.clock import utc_now
from appliance.db import shares, sources
from appliance.errors import InvalidInput, NotFound, ProofNeeded
from appliance.language import mark, translate
from appliance.policy.practice_settings import (
    GROUP_NAMES,
    PROVEN,
    SETTINGS,
    Group,
    Kind,
    Setting,
    Value,
)
from appliance.policy.roles import Action
from appliance.policy.second_factor import is_proven
from appliance.settings import FILE_NAME
from appliance.units import GIB
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.SETTINGS_CHANGE)])


@dataclass(frozen=True, slots=True)
class FieldLine:
    """One setting as a field of a form, or as a line to read."""

    key: str
    id: str
    kind: str
    label: str
    hint: str
    value: Value
    shown: str  # the value of a choice, in words
    choices: tuple[tuple[str, str], ...]
    least: int
    most: int
    longest: int
    may_change: bool
    is_required: bool


@dataclass(frozen=True, slots=True)
class GroupBox:
    """What belongs together: a form, or lines to read where somebody else decides."""

    name: str
    title: str
    fields: list[FieldLine]
    may_change: bool
    links: list[tuple[str, str]]  # address, words: what belongs here and is set elsewhere
    others: list[tuple[str, str, str]]  # address, name, value: who was given something else
    is_done: bool  # just saved
    has_problem: bool


@dataclass(frozen=True, slots=True)
class FixedLine:
    """What lies in the settings file of the box."""

    label: str
    value: str
    name: str  # in the file


@dataclass(frozen=True, slots=True)
class SettingsPage(Page):
    """Every group."""

    template: ClassVar[str] = "settings.html"
    groups: list[GroupBox]
    fixed: list[FixedLine]
    file: str
    elsewhere: list[tuple[str, str, str]]  # address, name, what is set there
    problems: tuple[tuple[str, str], ...] = ()


_Others = dict[Group, list[tuple[str, str, str]]]
_LINKS: Final[Mapping[Group, tuple[tuple[str, Action, str], ...]]] = {
    Group.PRACTICE: (("/welcome", Action.FIRST_STEPS, mark("First steps")),),
    Group.NIGHTS: (
        ("/sources", Action.SOURCES_CHANGE, mark("Plans of machines and shares")),
        ("/copies", Action.COPIES_CHANGE, mark("Hours and speed of the copies")),
    ),
    Group.SIGN_IN: (
        ("/access", Action.PEOPLE_CHANGE, mark("Who signs in how")),
        ("/people", Action.PEOPLE_CHANGE, mark("People of the practice")),
    ),
    Group.SHARES: (("/shares", Action.SHARES_CHANGE, mark("Shares and rights")),),
    Group.LINKS: (("/links", Action.DISK_USE, mark("Links there are")),),
    Group.SEARCH: (),
    Group.LOCUMS: (
        ("/locums", Action.LOCUMS_CHANGE, mark("Replacements")),
        ("/emergency", Action.EMERGENCY_REVIEW, mark("Emergency access")),
    ),
    Group.LEDGER: (("/ledger", Action.LEDGER_SEE, mark("Journal")),),
}
#: Address, action, name, what is set there.
_ELSEWHERE: Final = (
    ("/network", Action.NETWORK_CHANGE, mark("Network"), mark("where the box may be reached from")),
    (
        "/certificate",
        Action.NETWORK_CHANGE,
        mark("Certificate"),
        mark("how browsers know the box"),
    ),
    (
        "/notices/settings",
        Action.SETTINGS_CHANGE,
        mark("Messages"),
        mark("what the box tells you by e-mail, and at which hours"),
    ),
    (
        "/devices",
        Action.SETTINGS_CHANGE,
        mark("From anywhere"),
        mark("telephones and laptops outside"),
    ),
    ("/copies", Action.COPIES_SEE, mark("Copies"), mark("where copies lie, and their hosts")),
    ("/kit", Action.KIT_PRINT, mark("Recovery kit"), mark("who keeps the words")),
)


@router.get("/settings", name="settings")
async def show(request: Request, box: TheBox, visitor: TheVisitor, done: str = "") -> Response:
    """Show every setting."""
    return render(request, await _page(box, visitor, done=done))


@router.post("/settings/{group}", name="settings-change")
async def change(request: Request, box: TheBox, visitor: TheVisitor, group: str) -> Response:
    """Store what a group's form says, all of it or nothing.

    Raises:
        NotFound: there is no such group.
        NotAllowed: it is not theirs to change.
        ProofNeeded: of a group that matters most: the person shows again who they are.
    """
    if group not in set(Group):
        raise NotFound("page", group)
    form = await request.form()
    wanted: dict[str, object] = {}
    for each in SETTINGS:
        if each.group == group and visitor.may(each.action):
            given = form.get(each.key)
            if each.kind is Kind.YES_NO:
                wanted[each.key] = given is not None
            elif isinstance(given, str):
                wanted[each.key] = given
    demand_proof(visitor, wanted)
    now = utc_now()
    try:
        await box.write(
            lambda c: practice_settings.change(
                c, box.settings, wanted, may=visitor.may, person_id=visitor.person.id, now=now
            )
        )
    except InvalidInput as error:
        said = translate(error.expected, language_of(request))
        page = await _page(box, visitor, typed=wanted, problems=((error.name, said),))
        return render(request, page, 422)
    return RedirectResponse(f"/settings?done={group}#{group}", 303)


def demand_proof(visitor: Visitor, wanted: Mapping[str, object]) -> None:
    """Return when who asks showed just now who they are, or nothing wanted asks for that.

    Raises:
        ProofNeeded.
    """
    asks = any(each.group in PROVEN for each in SETTINGS if each.key in wanted)
    if asks and not is_proven(visitor.session.proven_at, utc_now()):
        raise ProofNeeded


async def _page(
    box: Box,
    visitor: Visitor,
    *,
    done: str = "",
    typed: Mapping[str, object] | None = None,
    problems: tuple[tuple[str, str], ...] = (),
) -> SettingsPage:
    def gather(connection: Connection) -> tuple[dict[str, Value], _Others]:
        held = practice_settings.read(connection, box.settings)
        return held, _others(connection, held, visitor)

    values, others = await box.read_aside(gather)
    wrong = {name for name, _ in problems}
    groups = []
    for group in Group:
        fields = [
            _field(each, values[each.key], typed, visitor)
            for each in SETTINGS
            if each.group is group
        ]
        groups.append(
            GroupBox(
                group.value,
                GROUP_NAMES[group],
                fields,
                any(each.may_change for each in fields),
                [(to, text) for to, action, text in _LINKS[group] if visitor.may(action)],
                others.get(group, []),
                done == group.value,
                any(each.key in wrong for each in fields),
            )
        )
    return SettingsPage(groups, _fixed(box), FILE_NAME, _elsewhere(visitor), problems)


def _others(connection: Connection, held: Mapping[str, Value], visitor: Visitor) -> _Others:
    """Return who was given hours or days of their own: what is chosen here does not reach them."""
    found: _Others = {}
    if visitor.may(Action.SOURCES_CHANGE):
        usual = (held["nights.start"], held["nights.end"])
        found[Group.NIGHTS] = [
            (
                f"/sources/{each.id}/plan",
                each.label,
                f"{each.plan.window_start} – {each.plan.window_end}",
            )
            for each in sources.all_living(connection)
            if (each.plan.window_start, each.plan.window_end) != usual
        ]
    if visitor.may(Action.SHARES_CHANGE):
        found[Group.SHARES] = [
            (f"/shares/{each.name}", each.label, str(each.bin_days))
            for each in shares.all_living(connection)
            if each.bin_days != held["shares.bin-days"]
        ]
    return found


def _field(
    known: Setting, value: Value, typed: Mapping[str, object] | None, visitor: Visitor
) -> FieldLine:
    given = None if typed is None else typed.get(known.key)
    held = given if isinstance(given, str | bool) else value
    choices = known.choices
    if choices and all(choice != value for choice, _ in choices):
        choices = (*choices, (str(value), str(value)))  # out of the settings file: a form keeps it
    return FieldLine(
        known.key,
        known.key.replace(".", "-"),
        known.kind.value,
        known.label,
        known.hint,
        held,
        next((text for choice, text in choices if choice == value), str(value)),
        choices,
        known.least,
        known.most,
        known.longest,
        visitor.may(known.action),
        known.kind is not Kind.LINES and (known.kind is not Kind.TEXT or known.least > 0),
    )


def _fixed(box: Box) -> list[FixedLine]:
    chosen = box.settings
    return [
        FixedLine(mark("Tasks at the same time"), str(chosen.worker_jobs), "worker_jobs"),
        FixedLine(
            mark("Kept free on the disk of the backups, in GiB"),
            f"{chosen.free_bytes_floor / GIB:g}",
            "free_bytes_floor",
        ),
        FixedLine(
            mark("Seconds a backup is checked after each night"),
            str(chosen.check_seconds),
            "check_seconds",
        ),
    ]


def _elsewhere(visitor: Visitor) -> list[tuple[str, str, str]]:
    return [(to, name, text) for to, action, name, text in _ELSEWHERE if visitor.may(action)]
