"""Every text a person may read has its French words."""

import ast
import re
from dataclasses import fields
from functools import cache
from io import BytesIO
from pathlib import Path

import jinja2
import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

import appliance
from appliance.errors import Frozen, JobCancelled, TooManyAttempts, WouldOverwrite, all_errors
from appliance.language import explain, translate, translate_count

PACKAGE = Path(appliance.__file__).parent
LOCALES = PACKAGE / "locales" / "fr"
PLACE = re.compile(r"%\((\w+)\)[sd]")


@cache
def catalogues() -> dict[Path, Catalog]:
    return {
        path: read_po(BytesIO(path.read_bytes()), locale="fr")
        for path in sorted(LOCALES.glob("*.po"))
    }


@cache
def known() -> dict[str, tuple[str, ...]]:
    """English text → its French forms; of a plural, its singular is the key."""
    found: dict[str, tuple[str, ...]] = {}
    for catalogue in catalogues().values():
        for message in catalogue:
            if message.id and message.string and not message.fuzzy:
                key = message.id if isinstance(message.id, str) else message.id[0]
                forms = (
                    (message.string,) if isinstance(message.string, str) else tuple(message.string)
                )
                if all(forms):
                    found[key] = forms
    return found


@cache
def plurals() -> set[str]:
    """English plurals: never looked up themselves, their singular is."""
    return {
        message.id[1]
        for catalogue in catalogues().values()
        for message in catalogue
        if isinstance(message.id, tuple | list)
    }


def to_paste(texts: list[str]) -> str:
    """What is missing, as entries of a .po file."""
    quoted = [text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for text in texts]
    return "\n".join(f'msgid "{text}"\nmsgstr ""\n' for text in quoted)


def literal(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def texts_of(path: Path) -> tuple[set[str], set[tuple[str, str]]]:
    """Return (plain texts, (singular, plural) pairs) written for people in a module."""
    plain: set[str] = set()
    counted: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        first = literal(node.args[0]) if node.args else None
        if name in {"mark", "translate", "note"} and first is not None:
            plain.add(first)
        if name == "translate_count" and len(node.args) >= 2:
            one, many = (
                literal(each.args[0]) if isinstance(each, ast.Call) and each.args else literal(each)
                for each in node.args[:2]
            )
            if one is not None and many is not None:
                counted.add((one, many))
    # What is counted is looked up by its singular, wherever it is marked.
    return plain - {many for _, many in counted}, counted


def texts_of_template(path: Path) -> set[str]:
    """Return what a page says itself: every text given to «_» or, by its singular, to «_n»."""
    tree = jinja2.Environment(autoescape=True).parse(path.read_text("utf-8"))
    return {
        call.args[0].value
        for call in tree.find_all(jinja2.nodes.Call)
        if isinstance(call.node, jinja2.nodes.Name)
        and call.node.name in {"_", "_n"}
        and call.args
        and isinstance(call.args[0], jinja2.nodes.Const)
    }


def templates() -> list[Path]:
    return sorted(PACKAGE.rglob("*.html"))


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
def test_every_error_is_said_in_french(error):
    """A person who met it reads what happened and what to do, in their language."""
    assert error.public in known(), f"locales/fr/errors.po: {error.public!r}"


@pytest.mark.parametrize("module", modules(), ids=named)
def test_every_marked_text_of_a_module_has_french_words(module):
    """Room by room: what is missing, and the file it belongs in."""
    plain, counted = texts_of(module)
    french = {*known(), *plurals()}
    missing = sorted(text for text in plain | {one for one, _ in counted} if text not in french)

    room = named(module).split("/")[0].removesuffix(".py")
    assert not missing, f"locales/fr/{room}.po lacks {len(missing)} texts:\n" + to_paste(missing)


@pytest.mark.parametrize("template", templates(), ids=named)
def test_every_text_of_a_page_has_french_words(template):
    """A page half in English looks broken to the people it is for."""
    missing = sorted(texts_of_template(template) - set(known()))

    assert not missing, f"locales/fr/web.po lacks {len(missing)} texts:\n" + to_paste(missing)


#: Fields of errors that are words inside a public sentence, and so are translated by ``explain``.
SPOKEN_FIELDS = {"reason", "expected", "noun"}


def spoken_facts(path: Path) -> set[str]:
    """Return the literal words a module puts into an error's sentence."""
    errors = {error.__name__: [each.name for each in fields(error)] for error in all_errors()}
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in errors
        ):
            given = [*zip(errors[node.func.id], node.args, strict=False)]
            given += [(keyword.arg, keyword.value) for keyword in node.keywords]
            found |= {literal(value) or "" for name, value in given if name in SPOKEN_FIELDS}
    return found - {""}


@pytest.mark.parametrize("module", modules(), ids=named)
def test_every_word_put_into_an_error_has_french_words(module):
    """Or a French sentence would end in English."""
    missing = sorted(spoken_facts(module) - set(known()))

    assert not missing, (
        f"locales/fr/errors.po (or the room's own) lacks {len(missing)} texts:\n"
        + to_paste(missing)
    )


@pytest.mark.parametrize("module", modules(), ids=named)
def test_every_counted_text_has_a_singular_and_a_plural(module):
    """«1 jours» is not French."""
    french = known()
    for one, _ in texts_of(module)[1]:
        assert len(french.get(one, ())) == 2, one


@pytest.mark.parametrize("path", sorted(LOCALES.glob("*.po")), ids=lambda path: path.name)
def test_a_translation_keeps_the_places_and_is_finished(path):
    """A place that is lost or misspelt would fail while a page is shown; a fuzzy one is a guess."""
    for message in catalogues()[path]:
        if not message.id:
            continue
        ids = (message.id,) if isinstance(message.id, str) else tuple(message.id)
        forms = (message.string,) if isinstance(message.string, str) else tuple(message.string)
        assert not message.fuzzy, ids[0]
        assert all(forms), f"no French for {ids[0]!r}"
        for english, french in zip(ids, forms, strict=True):
            assert set(PLACE.findall(english)) == set(PLACE.findall(french)), english
            without_places = PLACE.sub("", french)
            if PLACE.search(english):
                assert "%" not in without_places.replace("%%", ""), french


def test_one_text_is_translated_once():
    """Two rooms that translate the same text differently would take turns."""
    seen: dict[str, tuple[str, object]] = {}
    for path, catalogue in catalogues().items():
        for message in catalogue:
            if message.id:
                key = message.id if isinstance(message.id, str) else message.id[0]
                before = seen.setdefault(key, (path.name, message.string))
                assert before[1] == message.string, f"{key!r}: {before[0]} and {path.name}"


def test_an_error_is_explained_with_its_facts():
    """Private ones too: this is the person's own screen."""
    assert explain(WouldOverwrite(count=1, path="Courriers/lettre.pdf"), "fr") == (
        "« Courriers/lettre.pdf » existe déjà. Restaurez à côté, ou dites qu’il peut être remplacé."
    )
    assert explain(WouldOverwrite(count=1, path="a"), "en").startswith("«a» already exists.")
    assert explain(TooManyAttempts(wait_s=60), "fr") == (
        "Trop de tentatives. Attendez 60 secondes, puis réessayez."
    )
    assert explain(JobCancelled(), "fr") == "L’opération a été arrêtée."


def test_a_reason_inside_an_error_is_translated_too():
    """Or the sentence would end in another language than it began."""
    frozen = Frozen(source_id=3, reason="the last backup failed")

    assert explain(frozen, "fr").endswith(" : la dernière sauvegarde a échoué.")
    assert explain(frozen, "en").endswith(": the last backup failed.")


@pytest.mark.parametrize(
    ("count", "french", "english"),
    [(0, "0 jour", "0 days"), (1, "1 jour", "1 day"), (2, "2 jours", "2 days")],
)
def test_none_is_singular_in_french_and_plural_in_english(count, french, english):
    """The two languages disagree about 0."""
    assert translate_count("%(count)s day", "%(count)s days", count, "fr") == french
    assert translate_count("%(count)s day", "%(count)s days", count, "en") == english


def test_an_unknown_text_is_shown_in_english():
    """Better the other language than nothing."""
    assert translate("Nobody translated %(this)s.", "fr", this="that") == "Nobody translated that."
    assert translate_count("%(count)s yak", "%(count)s yaks", 0, "fr") == "0 yak"
