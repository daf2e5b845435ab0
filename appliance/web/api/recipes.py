"""The recipes of a machine as JSON: which application is made consistent before it is read.

A secret goes in sealed and never comes out. What would run a command line is chosen at the console only.
"""

from dataclasses import dataclass, field

from fastapi import APIRouter, Request

from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.model import SourceId
from appliance.policy.roles import Action
from appliance.web.deps import TheBox, TheVisitor, aside, language_of, needs
from appliance.web.pages.recipes import RecipesPage, chosen, recipes_page, use_recipes

router = APIRouter(
    prefix="/api/v1/sources/{source_id}/recipes",
    tags=["recipes"],
    dependencies=[needs(Action.SOURCES_CHANGE)],
)


@dataclass(frozen=True, slots=True)
class QuestionBody:
    """A value a recipe asks for."""

    name: str
    text: str
    default: str | None  # null: it must be given
    choices: list[str]  # empty: anything short
    value: str


@dataclass(frozen=True, slots=True)
class RecipeBody:
    """One recipe, and how the machine uses it."""

    name: str
    title: str
    about: str
    is_used: bool
    questions: list[QuestionBody]
    secret: str | None  # what secret it is asked for; null: none
    has_secret: bool


@dataclass(frozen=True, slots=True)
class RecipesBody:
    """The recipes that fit a machine's system."""

    recipes: list[RecipeBody]
    others: list[str]  # in use too, to be changed at the console only


@dataclass(frozen=True, slots=True)
class RecipeUseBody:
    """A recipe to be used."""

    name: str
    values: dict[str, str] = field(default_factory=dict)
    secret: str = field(default="", repr=False)  # empty: as it was


@dataclass(frozen=True, slots=True)
class RecipesChangeBody:
    """The recipes to be used from the next night on; one that is not named is used no more."""

    recipes: tuple[RecipeUseBody, ...]


@router.get("", name="api-recipes")
async def list_recipes(request: Request, box: TheBox, source_id: SourceId) -> RecipesBody:
    """Return the recipes that fit a machine, and those it uses.

    Raises:
        NotFound, InvalidInput: it is no machine that the box reads.
    """
    return _body(await aside(recipes_page, box, source_id, language_of(request)))


@router.put("", name="api-recipes-change")
async def change_recipes(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    source_id: SourceId,
    wanted: RecipesChangeBody,
) -> RecipesBody:
    """Use just these recipes, and try the machine with them.

    Raises:
        NotFound, InvalidInput.
    """
    language = language_of(request)
    page = await aside(recipes_page, box, source_id, language)
    uses, given = chosen(page, _form(page, wanted))
    await box.write(lambda c: use_recipes(c, box.settings, page, uses, given, visitor))
    return _body(await aside(recipes_page, box, source_id, language))


def _form(page: RecipesPage, wanted: RecipesChangeBody) -> dict[str, str]:
    """Return the fields as the page sends them.

    Raises:
        InvalidInput: a recipe or a value is not among those that may be chosen.
    """
    known = {one.name: one for one in page.forms}
    form: dict[str, str] = {}
    for use in wanted.recipes:
        recipe = known.get(use.name)
        if recipe is None or f"use.{use.name}" in form:
            raise InvalidInput("recipes", mark("Recipes of the list, each once."))
        fields = {one.name: one.field for one in recipe.questions}
        if not set(use.values) <= set(fields):
            raise InvalidInput("values", mark("Only what the recipe asks for."))
        if use.secret and recipe.secret is None:
            raise InvalidInput("secret", mark("Only what the recipe asks for."))
        form[f"use.{use.name}"] = "on"
        form[f"secret.{use.name}"] = use.secret
        form |= {fields[name]: value for name, value in use.values.items()}
    return form


def _body(page: RecipesPage) -> RecipesBody:
    return RecipesBody(
        [
            RecipeBody(
                one.name,
                one.title,
                one.about,
                one.is_used,
                [
                    QuestionBody(each.name, each.text, each.default, list(each.choices), each.value)
                    for each in one.questions
                ],
                one.secret,
                one.has_secret,
            )
            for one in page.forms
        ],
        page.others,
    )
