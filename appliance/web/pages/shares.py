"""Shares and rights: an owner doctor makes a share, says who may do what there, and through which doors."""

import re
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import people
from appliance.clock import utc_now
from appliance.db import repositories, shares
from appliance.db.shares import Share
from appliance.disk import access, actions, set_up
from appliance.errors import AlreadyExists, AlreadyQueued, ArmoireError, InvalidInput
from appliance.jobs import queue
from appliance.jobs.kinds import SetUpSource
from appliance.language import Language, explain, mark, translate
from appliance.model import Person, PersonId, Role, SourceId
from appliance.policy.roles import ROLE_NAMES, Action
from appliance.policy.share_rights import RIGHT_TEXTS, Right
from appliance.policy.share_words import sentence
from appliance.web.deps import Box, TheBox, TheVisitor, language_of, needs
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.SHARES_CHANGE)])

Text = Annotated[str, Form()]
#: Whole roles to which rights may be given: a locum's come with a term, a technical administrator has none.
GRANTED_ROLES: Final = (Role.OWNER, Role.ASSOCIATE, Role.SECRETARY)
LONGEST_BIN: Final = 3650
GB: Final = 1_000_000_000  # as people count, and as sizes are shown
_LABEL: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class ShareRow:
    """One share in the list."""

    share: Share
    room: int
    people: list[str]  # names of those who may do anything there
    problem: bool  # its folder is not there


@dataclass(frozen=True, slots=True)
class SharesSettingsPage(Page):
    """Every share, and the form for a new one."""

    template: ClassVar[str] = "shares/list.html"
    rows: list[ShareRow]
    label: str = ""
    name: str = ""
    folder: str = ""
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RightsRow:
    """One line of the table of rights: everybody of a role, or a person."""

    key: str  # «role:secretary» · «person:3»
    text: str
    hint: str
    rights: dict[str, bool]  # right → granted here, to this line


@dataclass(frozen=True, slots=True)
class SharePage(Page):
    """One share: who may do what, its doors, its bin, its size."""

    template: ClassVar[str] = "shares/show.html"
    share: Share
    rights: list[tuple[str, str]]  # value, words
    roles: list[RightsRow]
    persons: list[RightsRow]
    effective: list[tuple[bool, str]]  # has any right, sentence: what follows from the table
    room: int
    quota_gb: str
    saved: bool
    problems: tuple[tuple[str, str], ...] = ()


# --- all of them ------------------------------------------------------------------------------


@router.get("/shares", name="shares")
async def list_shares(request: Request, box: TheBox) -> Response:
    """Show every share."""
    return render(request, await box.read_aside(_list))


@router.post("/shares", name="shares-make")
async def make(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    label: Text = "",
    name: Text = "",
    folder: Text = "",
) -> Response:
    """Make a share, with its nights, and show its rights."""
    label = " ".join(label.split())
    chosen = name.strip().lower() or slug(label)
    place = Path(folder.strip()) if folder.strip() else None

    def change(connection: Connection) -> Share:
        made = set_up.make_share(
            connection,
            box.settings,
            name=chosen,
            label=label,
            person_id=visitor.person.id,
            now=utc_now(),
            folder=place,
        )
        begin_nights(connection, made.source_id, visitor.person.id)
        return made

    try:
        made = await box.write(change)
    except (InvalidInput, AlreadyExists) as error:
        page = await box.read_aside(_list)
        return render(
            request,
            replace(
                page,
                label=label,
                name=name,
                folder=folder,
                problems=(_problem(error, language_of(request)),),
            ),
            422,
        )
    return RedirectResponse(f"/shares/{made.name}", 303)


def begin_nights(
    connection: Connection, source_id: SourceId | None, person_id: PersonId | None
) -> None:
    """Queue what makes the repository of a new share, unless it has one."""
    if source_id is None or repositories.find(connection, source_id) is not None:
        return
    with suppress(AlreadyQueued):
        queue.enqueue(connection, SetUpSource(source_id), now=utc_now(), person_id=person_id)


def slug(label: str) -> str:
    """Return the name of a share out of what people call it: «Comptes rendus» → «comptes-rendus»."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    return _LABEL.sub("-", plain).strip("-")[:40].strip("-")


def _list(connection: Connection) -> SharesSettingsPage:
    now = utc_now()
    everybody = [
        (each.person.name, {held.share.id for held in each.held(now)})
        for each in access.read_each(connection, _everybody(connection), now=now)
    ]
    rows = []
    for share in shares.all_living(connection):
        with_rights = [name for name, theirs in everybody if share.id in theirs]
        is_there = share.folder.is_dir()
        room = actions.room(share) if is_there else 0
        rows.append(ShareRow(share, room, with_rights, problem=not is_there))
    return SharesSettingsPage(rows)


# --- one --------------------------------------------------------------------------------------


@router.get("/shares/{name}", name="share")
async def show(request: Request, box: TheBox, name: str, saved: str = "") -> Response:
    """Show one share.

    Raises:
        NotFound.
    """
    language = language_of(request)
    return render(
        request, await box.read_aside(lambda c: _page(c, name, language, saved=bool(saved)))
    )


@router.post("/shares/{name}/rights", name="share-rights")
async def give(request: Request, box: TheBox, visitor: TheVisitor, name: str) -> Response:
    """Give exactly the rights that are ticked; each change is in the ledger.

    Raises:
        NotFound.
    """
    form = await request.form()
    ticked = {str(each) for each in form.getlist("r")}

    def change(connection: Connection) -> None:
        share = shares.get_by_name(connection, name)
        now = utc_now()
        roles, persons = _rows(connection, share)
        for row in (*roles, *persons):
            wanted = frozenset(right for right in Right if f"{row.key}:{right.value}" in ticked)
            if wanted == frozenset(Right(each) for each, has in row.rights.items() if has):
                continue
            kind, _, value = row.key.partition(":")
            set_up.give_rights(
                connection,
                share,
                wanted,
                by=visitor.person.id,
                now=now,
                person_id=PersonId(int(value)) if kind == "person" else None,
                role=Role(value) if kind == "role" else None,
            )

    return await _changed(request, box, name, change)


@router.post("/shares/{name}/settings", name="share-settings")
async def settle(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    name: str,
    label: Text = "",
    bin_days: Text = "30",
    quota_gb: Text = "",
    over_smb: Text = "",
    over_dav: Text = "",
    is_time_machine: Text = "",
) -> Response:
    """Set a share's name for people, its doors, its bin and its quota.

    Raises:
        NotFound.
    """

    def change(connection: Connection) -> None:
        share = shares.get_by_name(connection, name)
        values: dict[str, object] = {
            "label": check_label(label),
            "bin_days": check_days(bin_days),
            "quota_bytes": check_quota(quota_gb),
            "over_smb": bool(over_smb),
            "over_dav": bool(over_dav),
            "is_time_machine": bool(is_time_machine) and bool(over_smb),
        }
        set_up.change_share(connection, share, values, by=visitor.person.id, now=utc_now())

    return await _changed(request, box, name, change)


@router.post("/shares/{name}/remove", name="share-remove")
async def remove(box: TheBox, visitor: TheVisitor, name: str) -> Response:
    """Close a share: nobody reaches it any more; its files and its snapshots stay on the box.

    Raises:
        NotFound.
    """

    def change(connection: Connection) -> None:
        share = shares.get_by_name(connection, name)
        set_up.close_share(connection, share, person_id=visitor.person.id, now=utc_now())

    await box.write(change)
    return RedirectResponse("/shares", 303)


async def _changed(
    request: Request, box: Box, name: str, change: Callable[[Connection], None]
) -> Response:
    try:
        await box.write(change)
    except InvalidInput as error:
        language = language_of(request)
        page = await box.read_aside(lambda c: _page(c, name, language, saved=False))
        return render(request, replace(page, problems=(_problem(error, language),)), 422)
    return RedirectResponse(f"/shares/{name}?saved=1", 303)


def check_label(text: str) -> str:
    """Return a name for people.

    Raises:
        InvalidInput: it is empty or too long.
    """
    label = " ".join(text.split())
    if not 0 < len(label) <= 200:
        raise InvalidInput("label", mark("A name for people, please."))
    return label


def check_days(text: str) -> int:
    """Return how many days the bin keeps.

    Raises:
        InvalidInput: it is no number of days.
    """
    if (
        not text.strip().isascii()
        or not text.strip().isdigit()
        or not 1 <= int(text) <= LONGEST_BIN
    ):
        raise InvalidInput("bin_days", mark("A number of days, from 1 to 3650."))
    return int(text)


def check_quota(text: str) -> int | None:
    """Return a quota in bytes out of gigabytes; None: without one.

    Raises:
        InvalidInput: it is no size.
    """
    if not text.strip():
        return None
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        value = 0
    if not 0 < value <= 1_000_000:  # also refuses NaN
        raise InvalidInput("quota_gb", mark("A size in gigabytes, or nothing."))
    return int(value * GB)


def _page(connection: Connection, name: str, language: Language, *, saved: bool) -> SharePage:
    share = shares.get_by_name(connection, name)
    roles, persons = _rows(connection, share)
    now = utc_now()
    effective = []
    for readings in access.read_each(connection, _everybody(connection), now=now):
        person = readings.person
        rights = next(
            (each.rights for each in readings.held(now) if each.share.id == share.id),
            frozenset(),
        )
        effective.append((bool(rights), sentence(person, rights, language)))
    return SharePage(
        share=share,
        rights=[(right.value, RIGHT_TEXTS[right]) for right in Right],
        roles=roles,
        persons=persons,
        effective=sorted(effective, key=lambda each: not each[0]),
        room=actions.room(share) if share.folder.is_dir() else 0,
        quota_gb="" if share.quota_bytes is None else f"{share.quota_bytes / GB:g}",
        saved=saved,
    )


def _rows(connection: Connection, share: Share) -> tuple[list[RightsRow], list[RightsRow]]:
    grants = shares.grants(connection, share.id)
    of_role = {each.role: each.rights for each in grants if each.role is not None}
    of_person = {each.person_id: each.rights for each in grants if each.person_id is not None}

    def ticks(rights: frozenset[Right]) -> dict[str, bool]:
        return {right.value: right in rights for right in Right}

    roles = [
        RightsRow(f"role:{role.value}", ROLE_NAMES[role], "", ticks(of_role.get(role, frozenset())))
        for role in GRANTED_ROLES
    ]
    persons = [
        RightsRow(
            f"person:{person.id}",
            person.name,
            ROLE_NAMES[person.role],
            ticks(of_person.get(person.id, frozenset())),
        )
        for person in _everybody(connection)
        if person.role in GRANTED_ROLES
    ]
    return roles, persons


def _everybody(connection: Connection) -> list[Person]:
    return [each for each in people.everybody(connection) if each.disabled_at is None]


def _problem(error: ArmoireError, language: Language) -> tuple[str, str]:
    if isinstance(error, InvalidInput):
        return error.name, translate(error.expected, language)
    return "name", explain(error, language)
