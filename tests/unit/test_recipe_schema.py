"""Recipes are read whole and exactly, or refused with the field's name."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.backup_jobs.recipe_schema import STREAMS_FOLDER, items_of, load_recipes, parse
from appliance.errors import InvalidInput
from appliance.model import Consistency, System
from appliance.settings import Settings

GOOD = """
name = "mine"
level = "dump"
systems = ["linux"]
title = { fr = "La mienne", en = "Mine" }
about = { fr = "Essai", en = "Trial" }
[[values]]
name = "bases"
kind = "list"
fr = "Bases"
en = "Databases"
[[steps]]
kind = "stream"
each = "bases"
path = "{item}.dump"
command = "dump \\"$v_item\\""
"""


def test_every_recipe_of_the_package_can_be_read(settings):
    """What is shipped works as it is, says its level, and is written in both languages."""
    recipes = load_recipes(settings)

    assert set(recipes) == {
        "commands", "editor-folder", "mariadb", "postgresql", "sqlite", "stopped-service", "windows-vss",
    }  # fmt: skip
    assert recipes["postgresql"].level is Consistency.DUMP
    assert recipes["windows-vss"].level is Consistency.VSS_SIMPLE
    assert recipes["commands"].level is Consistency.UNKNOWN
    for recipe in recipes.values():
        texts = [recipe.title, recipe.about, *(asked.words for asked in recipe.values)]
        assert all(
            (words.fr and words.en and words.fr != words.en) or words.fr == "Port"
            for words in texts
        )


def test_a_recipe_says_whether_the_machine_must_run_commands(settings):
    """A folder that is only read needs no shell on the machine: the key may be restricted to SFTP."""
    recipes = load_recipes(settings)

    assert not recipes["editor-folder"].needs_commands
    assert recipes["postgresql"].needs_commands
    assert recipes["windows-vss"].needs_commands


def test_a_recipe_of_the_folder_replaces_the_one_of_the_package(settings, tmp_path):
    """A practice's IT person can correct a recipe without touching the program."""
    mine = replace(settings, recipes_folder=str(tmp_path))
    (tmp_path / "mine.toml").write_text(GOOD)
    (tmp_path / "sqlite.toml").write_text(GOOD.replace('"mine"', '"sqlite"'))

    recipes = load_recipes(mine)

    assert recipes["mine"].systems == {System.LINUX}
    assert recipes["sqlite"].title.fr == "La mienne"


def test_a_broken_recipe_nobody_uses_stops_no_night(settings, tmp_path):
    """Only the recipes a source names are read."""
    (tmp_path / "broken.toml").write_text("name = ")
    mine = replace(settings, recipes_folder=str(tmp_path))

    assert set(load_recipes(mine, {"sqlite"})) == {"sqlite"}
    with pytest.raises(InvalidInput):
        load_recipes(mine)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('level = "dump"', 'level = "dump"\ncolour = "red"', "mine.toml: colour"),
        ('kind = "stream"', 'kind = "stream"\ncomand = "x"', "mine.toml: steps[0].comand"),
        ('fr = "Bases"', 'fr = "Bases"\nsecret = true', "mine.toml: values[0].secret"),
        ('fr = "La mienne"', 'de = "x", fr = "La mienne"', "mine.toml: title.de"),
        ('level = "dump"', 'level = "great"', "mine.toml: level"),
        ('level = "dump"\n', "", "mine.toml: level"),
        ('name = "mine"', 'name = "other"', "mine.toml: name"),
        ('name = "mine"', "name = 3", "mine.toml: name"),
        ('systems = ["linux"]', 'systems = ["linux", "windows"]', "mine.toml: steps[0]"),
        ('systems = ["linux"]', 'systems = "linux"', "mine.toml: systems"),
        ('systems = ["linux"]', 'systems = ["beos"]', "mine.toml: systems"),
        ('each = "bases"', 'each = "nothing"', "mine.toml: steps[0].each"),
        ("{item}.dump", "x.dump", "mine.toml: steps[0].path"),
        ("{item}.dump", "../{item}", "mine.toml: steps[0].path"),
        ("{item}.dump", "/{item}", "mine.toml: steps[0].path"),
        ('kind = "list"', 'kind = "list"\nchoices = ["a"]', "mine.toml: values[0].choices"),
        ('kind = "list"', 'kind = "lists"', "mine.toml: values[0].kind"),
        ('name = "bases"', 'name = "item"', "mine.toml: values[0].name"),
        ('name = "bases"', 'name = "a;b"', "mine.toml: values[0].name"),
        ('kind = "stream"', 'kind = "editor-folder"\nfolder = "x"', "mine.toml: steps[0].folder"),
        ('kind = "stream"', 'kind = "stream"\ntimeout_s = 0', "mine.toml: steps[0].timeout_s"),
        ('level = "dump"', 'level = "dump"\nlevel_from = "bases"', "mine.toml: level_from"),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_name_of_the_field(old, new, field):
    """Whoever writes a recipe is told where the mistake is."""
    assert old in GOOD
    with pytest.raises(InvalidInput) as raised:
        parse("mine.toml", GOOD.replace(old, new).encode())

    assert raised.value.name == field


def test_a_recipe_without_steps_or_without_toml_is_refused():
    """A recipe that does nothing would promise a consistency it does not make."""
    for text in (
        GOOD.partition("[[steps]]")[0].encode(),
        b"\xff",
        b"= 1",
        b'steps = 3\nname = "mine"',
    ):
        with pytest.raises(InvalidInput):
            parse("mine.toml", text)


@pytest.mark.parametrize(
    ("recipe", "given", "wrong"),
    [
        ("postgresql", {"databases": "a,--help"}, "postgresql.databases"),
        ("postgresql", {"user": "-x"}, "postgresql.user"),
        ("postgresql", {"port": "70000"}, "postgresql.port"),
        ("postgresql", {"port": "1²"}, "postgresql.port"),
        ("postgresql", {"password": "secret"}, "postgresql.password"),
        ("sqlite", {}, "sqlite.file"),
        ("sqlite", {"file": "relative.sqlite"}, "sqlite.file"),
        ("sqlite", {"file": "/a\0b"}, "sqlite.file"),
        ("commands", {"level": "vss-writer"}, "commands.level"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(settings, recipe, given, wrong):
    """Before anything is sent to the machine, and without showing the value."""
    with pytest.raises(InvalidInput) as raised:
        load_recipes(settings)[recipe].resolve(given)

    assert raised.value.name == wrong


def test_values_are_completed_with_their_defaults(settings):
    """An empty value is the default, as in the form."""
    found = load_recipes(settings)["postgresql"].resolve(
        {"databases": " cabinet , imagerie ", "port": ""}
    )

    assert found["port"] == "5432"
    assert items_of(found["databases"]) == ("cabinet", "imagerie")


def test_the_person_says_the_level_of_her_own_commands(settings):
    """A command of one's own is «unknown» until somebody answers for it."""
    commands = load_recipes(settings)["commands"]

    assert commands.level_reached(commands.resolve({})) is Consistency.UNKNOWN
    assert commands.level_reached(commands.resolve({"level": "stopped"})) is Consistency.STOPPED


def test_the_documentation_names_every_field_and_kind():
    """docs/recipes.fr.md goes with the code."""
    text = Path("docs/recipes.fr.md").read_text("utf-8")
    from appliance.backup_jobs.recipe_schema import Content, StepKind, ValueKind

    for kind in (*StepKind, *ValueKind, *Content, *Consistency):
        assert f"`{kind.value}`" in text, kind
    assert STREAMS_FOLDER in text
    assert "systems" in text
    assert Settings.__name__ != ""
