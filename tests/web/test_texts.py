"""Every word of the pages is there in French."""

import ast
import re
from pathlib import Path

import pytest

import appliance
from appliance.errors import AccountBlocked
from appliance.language import explain, translate, translate_count

ROOT = Path(appliance.__file__).parent
TEMPLATES = sorted((ROOT / "web" / "templates").rglob("*.html"))
MODULES = sorted(
    [
        *(ROOT / "web").rglob("*.py"),
        *(ROOT / "accounts").glob("*.py"),
        ROOT / "policy" / "instructions.py",
        ROOT / "jobs" / "kinds.py",
    ]
)
#: The same in both languages.
SAME = {"Linux", "macOS", "Windows", "Port", "Journal", "Source", "Sources", "Assistant", "Pages",
        "sources", "versions", "%(count)s version", "Copies", "copies", "destinations", "Distance", "Documents", "%(km)s km",
        "Référentiel", "v2 (2024)", "LSTI, BSI, AFNOR Certification, LNE…",
        "Verdict", "Actions", "destination %(number)s",
        "Code", "Sessions", "application", "%(count)s minutes"}  # fmt: skip
SINGLE = re.compile(r"""(?<![\w])_\(\s*(["'])((?:(?!\1).)*)\1""")
COUNTED = re.compile(r"""_n\(\s*"([^"]*)",\s*"([^"]*)\"""")


def marked(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "mark":
            yield node.args[0].value


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_text_of_a_template_is_translated(path):
    """A forgotten one would stand in English in the middle of a page."""
    text = path.read_text()
    for _, words in SINGLE.findall(text):
        assert words in SAME or translate(words, "fr") != words, words
    for one, many in COUNTED.findall(text):
        facts = {"ago": "x", "size": "y"}
        said = translate_count(one, many, 2, "fr", **facts)
        assert one in SAME or said != many % {"count": 2, **facts}, one


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_marked_text_is_translated(path):
    """Words that reach a page through a table."""
    for words in marked(path):
        assert words in SAME or translate(words, "fr") != words, words


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_places_of_a_text_are_the_same_in_both_languages(path):
    """«%(label)s» in English is «%(label)s» in French."""
    for _, words in SINGLE.findall(path.read_text()):
        places = re.findall(r"%\((\w+)\)s", words)
        assert sorted(re.findall(r"%\((\w+)\)s", translate(words, "fr"))) == sorted(places), words


def test_a_blocked_account_is_told_what_to_do():
    """Waiting would not help."""
    assert "armoire link" in explain(AccountBlocked(), "fr")
