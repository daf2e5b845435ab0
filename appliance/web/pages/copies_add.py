"""A new copy: what kind of place it is, and where. Stored after that; ``copies_set_up`` goes on from there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.clock import utc_now
from appliance.db.targets import TargetRow
from appliance.errors import AlreadyExists, InvalidInput, NotFound
from appliance.jobs import queue, target_setup
from appliance.jobs.kinds import SetUpTarget
from appliance.language import mark, translate
from appliance.model import PersonId
from appliance.policy.hosting import Nature
from appliance.policy.roles import Action
from appliance.settings import Settings
from appliance.vault.secret import Secret
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs
from appliance.web.pages import copies_form, tones
from appliance.web.pages.copies_form import Hint, Typed
from appliance.web.pages.copies_names import KIND_NAMES, KIND_TEXTS, NATURE_NAMES, NATURE_TEXTS
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]

_ENDED: Final = frozenset(queue.ENDED)


@dataclass(frozen=True, slots=True)
class KindsPage(Page):
    """What kinds of places there are."""

    template: ClassVar[str] = "copies/kinds.html"
    kinds: tuple[tuple[str, str, str], ...]  # kind, name, what it is good for


@dataclass(frozen=True, slots=True)
class AddPage(Page):
    """One kind's form."""

    template: ClassVar[str] = "copies/add.html"
    kind: str
    kind_name: str
    values: dict[str, str]  # what was typed; never a secret
    natures: tuple[tuple[str, str, str], ...]
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TriedFragment(Page):
    """What can be said about the form while one types."""

    template: ClassVar[str] = "_partials/copy_tried.html"
    hints: tuple[Hint, ...]
    is_ready: bool


#: «Somebody else» is offered too: who chooses it reads why it cannot be.
NATURES: Final = tuple((each.value, NATURE_NAMES[each], NATURE_TEXTS[each]) for each in Nature)


@router.get("/copies/add", name="copy-new", dependencies=[needs(Action.COPIES_CHANGE)])
async def show_new(request: Request, kind: str = "") -> Response:
    """Ask what kind of place it is, then where it is."""
    if not copies_form.is_kind(kind):
        kinds = tuple((each, KIND_NAMES[each], KIND_TEXTS[each]) for each in KIND_NAMES)
        return render(request, KindsPage(kinds))
    return render(request, AddPage(kind, KIND_NAMES[kind], copies_form.DEFAULTS[kind], NATURES))


@router.post("/live/copies/add", name="copy-typed", dependencies=[needs(Action.COPIES_CHANGE)])
async def judge_typed(
    request: Request, box: TheBox, visitor: TheVisitor, kind: Text = ""
) -> Response:
    """Say what is wrong, or looks good, while one types. No secret is sent here."""
    if not copies_form.is_kind(kind):
        raise NotFound("page", request.url.path)
    form = await _form(request)
    typed = await _read(box, visitor, kind, form, request)
    # An empty field is not wrong yet: the person is still typing.
    said = tuple(
        Hint(tones.BAD, text)
        for name, text in typed.problems
        if form.get(name, "").strip() or name == "nature"
    )
    return render(request, TriedFragment((*said, *typed.hints), not typed.problems))


@router.post("/copies/add", name="copy-add", dependencies=[needs(Action.COPIES_CHANGE)])
async def add(request: Request, box: TheBox, visitor: TheVisitor, kind: Text = "") -> Response:
    """Store the place, queue what prepares it, and go on to the assistant."""
    if not copies_form.is_kind(kind):
        raise NotFound("page", request.url.path)
    language = language_of(request)
    form = await _form(request)
    typed = await _read(box, visitor, kind, form, request)
    problems = list(typed.problems)
    try:
        secrets = copies_form.secrets_of(kind, form)
    except InvalidInput as error:
        problems.append((error.name, translate(error.expected, language)))
        secrets = {}
    if not problems:
        try:
            row = await box.write(
                lambda c: add_copy(c, box.settings, typed, secrets, visitor.person.id)
            )
        except AlreadyExists:
            problems.append(
                (
                    "label",
                    translate(
                        mark("There is already a copy of this name: choose another."), language
                    ),
                )
            )
        except InvalidInput as error:
            problems.append((error.name, translate(error.expected, language)))
        else:
            return RedirectResponse(f"/copies/{row.name}/set-up", 303)
    shown = {name: text for name, text in form.items() if name not in _SECRET_FIELDS}
    page = AddPage(kind, KIND_NAMES[kind], shown, NATURES, tuple(problems))
    return render(request, page, 422)


_SECRET_FIELDS: Final = frozenset({"password", "access_key", "secret_key"})


async def _form(request: Request) -> dict[str, str]:
    return {name: str(value) for name, value in (await request.form()).items()}


async def _read(
    box: Box,
    visitor: Visitor,
    kind: str,
    form: dict[str, str],
    request: Request,
) -> Typed:
    language = language_of(request)
    return await box.read_aside(
        lambda c: copies_form.read(
            c, kind, form, language, may_declare=visitor.may(Action.COPIES_DECLARE)
        )
    )


def add_copy(
    connection: Connection,
    settings: Settings,
    typed: Typed,
    secrets: Mapping[str, Secret],
    person_id: PersonId,
) -> TargetRow:
    """Store a place whose form has no problem, its secrets sealed, and queue what prepares it.

    Raises:
        AlreadyExists, InvalidInput: somebody else was quicker.
        KeyMissing: the box has no key pair.
    """
    assert typed.place is not None  # noqa: S101 - a form without problems has one
    now = utc_now()
    row = target_setup.add_target(
        connection,
        settings,
        name=typed.name,
        label=typed.label,
        kind=typed.kind,
        place=typed.place,
        nature=typed.nature,
        distance_km=typed.distance_km,
        secrets=secrets,
        person=person_id,
        now=now,
    )
    queue.enqueue(connection, SetUpTarget(row.id), now=now, person_id=person_id)
    return row
