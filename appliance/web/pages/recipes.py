"""The recipes of a machine: which application is made consistent before it is read.

The files of the recipes are read as data; what they run is the worker's affair. Recipes that ask for
a command line are chosen at the console only: the process that faces the network may not say what
runs on a machine.
"""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.clock import utc_now
from appliance.db import secrets as vault_rows
from appliance.db import sources
from appliance.errors import AlreadyQueued, InvalidInput
from appliance.jobs import queue
from appliance.jobs.kinds import CheckMachine
from appliance.language import Language, mark, translate
from appliance.ledger import events
from appliance.model import RecipeUse, Source, SourceId, SourceKind
from appliance.policy.roles import Action
from appliance.settings import Settings
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, language_of, needs
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

LONGEST: Final = 500  # characters of a value or a secret


@dataclass(frozen=True, slots=True)
class Question:
    """A value a recipe asks for."""

    field: str  # name in the form
    name: str
    text: str
    default: str | None  # None: it must be given
    choices: tuple[str, ...]
    value: str


@dataclass(frozen=True, slots=True)
class RecipeForm:
    """One recipe as a part of the form."""

    name: str
    title: str
    about: str
    is_used: bool
    questions: tuple[Question, ...]
    secret: str | None  # what it is asked for; None: it needs none
    has_secret: bool


@dataclass(frozen=True, slots=True)
class RecipesPage(Page):
    """Every recipe that fits the machine's system."""

    template: ClassVar[str] = "sources/recipes.html"
    source: Source
    forms: list[RecipeForm]
    others: list[str]  # in use, but to be changed at the console only
    problem: str | None = None


@router.get(
    "/sources/{source_id}/recipes", name="recipes", dependencies=[needs(Action.SOURCES_CHANGE)]
)
async def show_recipes(request: Request, box: TheBox, source_id: SourceId) -> Response:
    """Show the recipes as a form."""
    language = language_of(request)
    return render(request, await aside(recipes_page, box, source_id, language))


@router.post(
    "/sources/{source_id}/recipes",
    name="recipes-change",
    dependencies=[needs(Action.SOURCES_CHANGE)],
)
async def change_recipes(
    request: Request, box: TheBox, visitor: TheVisitor, source_id: SourceId
) -> Response:
    """Use these recipes from the next night on, and try the machine with them."""
    form = {name: str(value) for name, value in (await request.form()).items()}
    language = language_of(request)
    page = await aside(recipes_page, box, source_id, language)
    try:
        uses, given = chosen(page, form)
    except InvalidInput as error:
        problem = f"{error.name} : {translate(error.expected, language)}"
        shown = RecipesPage(page.source, page.forms, page.others, problem)
        return render(request, shown, 422)
    await box.write(lambda c: use_recipes(c, box.settings, page, uses, given, visitor))
    return RedirectResponse(f"/sources/{source_id}/set-up", 303)


def use_recipes(
    connection: Connection,
    settings: Settings,
    page: RecipesPage,
    uses: tuple[RecipeUse, ...],
    given: dict[str, Secret],
    visitor: Visitor,
) -> None:
    """Keep these recipes inside the caller's write, seal their secrets, and try the machine with them.

    What is changed at the console only stays as it is.

    Raises:
        NotFound: the source was removed.
    """
    source, now = page.source, utc_now()
    kept = tuple(one for one in source.recipes if one.name in page.others)
    sources.change(connection, source.id, recipes=(*kept, *uses))
    for name, secret in given.items():
        row = f"machine:{source.id}:recipe:{name}"
        vault_rows.put_sealed(connection, row, seal(secret, settings.keys), now=now)
    events.record(
        connection,
        at=now,
        event="recipes.change",
        subject=f"source:{source.id}",
        person_id=visitor.person.id,
        recipes=", ".join(one.name for one in (*kept, *uses)),
    )
    if source.host_key is not None:
        try:
            queue.enqueue(connection, CheckMachine(source.id), now=now, person_id=visitor.person.id)
        except AlreadyQueued:
            return  # it will be tried with them anyway


def recipes_page(box: Box, source_id: SourceId, language: Language) -> RecipesPage:
    """Return every recipe that may be chosen for a machine, and those it uses; reads files, so aside.

    Raises:
        NotFound: there is no such source.
        InvalidInput: the box does not read it over SSH.
    """
    with box.database.read() as connection:
        source = sources.get(connection, source_id)
        if source.kind is not SourceKind.PULLED:
            raise InvalidInput("source", mark("Only machines that the box reads have recipes."))
        known = _read(box.settings)
        sealed = {
            name
            for name in known
            if vault_rows.find_sealed(connection, f"machine:{source_id}:recipe:{name}")
        }
    used = {one.name: one.values for one in source.recipes}
    forms = [
        _form(table, used.get(name), language, has_secret=name in sealed)
        for name, table in known.items()
        if source.system.value in table.get("systems", [source.system.value])
    ]
    shown = {one.name for one in forms}
    return RecipesPage(source, forms, [name for name in used if name not in shown])


def _read(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the tables of every recipe that may be chosen on a page, by name."""
    folder = files("appliance").joinpath("backup_jobs", "recipes")
    texts = [one.read_bytes() for one in folder.iterdir() if one.name.endswith(".toml")]
    if settings.recipes_folder:
        own = sorted(Path(settings.recipes_folder).glob("*.toml"))
        texts += [path.read_bytes() for path in own]
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        try:
            table = tomllib.loads(text.decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            continue  # the worker says what is wrong with it when it is used
        asked = table.get("values", [])
        if not any(one.get("kind") == "command" for one in asked):
            found[str(table.get("name"))] = table
    return dict(sorted(found.items()))


def _said(value: object, language: Language) -> str:
    if isinstance(value, dict):
        return str(value.get(language) or value.get("en") or "")
    return ""


def _form(
    table: dict[str, Any], used: dict[str, str] | None, language: Language, *, has_secret: bool
) -> RecipeForm:
    name = str(table["name"])
    asked = table.get("values")
    questions = tuple(
        Question(
            field=f"{name}.{one['name']}",
            name=str(one["name"]),
            text=_said(one, language),
            default=str(one["default"]) if "default" in one else None,
            choices=tuple(str(choice) for choice in one.get("choices", ())),
            value=(used or {}).get(str(one["name"]), str(one.get("default", ""))),
        )
        for one in (asked if isinstance(asked, list) else [])
    )
    return RecipeForm(
        name,
        _said(table.get("title"), language),
        _said(table.get("about"), language),
        used is not None,
        questions,
        _said(table.get("secret"), language) or None,
        has_secret,
    )


def chosen(
    page: RecipesPage, form: dict[str, str]
) -> tuple[tuple[RecipeUse, ...], dict[str, Secret]]:
    """Return the recipes that were ticked with their values, and the secrets that were typed.

    Raises:
        InvalidInput: a value is missing or cannot be one.
    """
    uses: list[RecipeUse] = []
    given: dict[str, Secret] = {}
    for recipe in page.forms:
        if f"use.{recipe.name}" not in form:
            continue
        values: dict[str, str] = {}
        for question in recipe.questions:
            value = form.get(question.field, "").strip()
            if not value and question.default is None:
                raise InvalidInput(question.text, mark("A value is needed."))
            if len(value) > LONGEST or any(not sign.isprintable() for sign in value):
                raise InvalidInput(question.text, mark("One short line."))
            if question.choices and value not in question.choices:
                raise InvalidInput(question.text, mark("Choose one of the list."))
            if value and value != question.default:
                values[question.name] = value
        uses.append(RecipeUse(recipe.name, values))
        typed = form.get(f"secret.{recipe.name}", "")
        if typed and recipe.secret:
            if len(typed) > LONGEST or "\n" in typed:
                raise InvalidInput(recipe.secret, mark("One short line."))
            given[recipe.name] = Secret(typed.encode())
    return tuple(uses), given
