"""Words in the reader's language: English in the code, French in ``locales/fr/*.po``.

Every room has a ``.po`` file of its own; all of them are read together once per process.
"""

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Literal

from babel.messages.pofile import read_po

from appliance.errors import ArmoireError, all_errors

Language = Literal["fr", "en"]
DEFAULT: Language = "fr"


def mark(text: str) -> str:
    """Mark a text for translation where it is written but not yet shown; return it unchanged."""
    return text


@cache
def _texts(language: Language) -> dict[str, str | tuple[str, ...]]:
    if language == "en":
        return {}
    found: dict[str, str | tuple[str, ...]] = {}
    for entry in sorted(files("appliance").joinpath("locales", language).iterdir(), key=str):
        if entry.name.endswith(".po"):
            for message in read_po(BytesIO(entry.read_bytes()), locale=language):
                if not message.id or not message.string or message.fuzzy:
                    continue
                key = message.id if isinstance(message.id, str) else message.id[0]
                found[key] = (
                    message.string if isinstance(message.string, str) else tuple(message.string)
                )
    return found


def translate(text: str, language: Language, /, **facts: object) -> str:
    """Return ``text`` in ``language``, its ``%(name)s`` places filled; English where nothing is known."""
    known = _texts(language).get(text, text)
    words = known if isinstance(known, str) else known[0]
    return words % facts if facts else words


def translate_count(one: str, many: str, count: int, language: Language, /, **facts: object) -> str:
    """Return the form for ``count``: in French 0 and 1 are singular, in English only 1."""
    known = _texts(language).get(one)
    singular = count in {0, 1} if language == "fr" else count == 1
    if isinstance(known, tuple) and len(known) > 1:
        words = known[0] if singular else known[1]
    else:
        words = one if singular else many
    return words % {"count": count, **facts}


def explain(error: ArmoireError, language: Language) -> str:
    """Return what a person may be told about ``error``, and what to do next."""
    facts = {
        name: translate(value, language) if isinstance(value, str) else value
        for name, value in error.facts.items()
    }
    return (
        translate(type(error).public, language, **facts)
        if facts
        else translate(type(error).public, language)
    )


def explain_stored(code: str, facts: Mapping[str, object], language: Language) -> str:
    """Return what a person may be told about an error that was stored by its code.

    Facts that name a file are never stored: «…» stands in their places. An unknown code, of a newer
    program, is said in general words.
    """
    kind = next((each for each in all_errors() if each.code == code), ArmoireError)
    known: dict[str, object] = {each.name: "…" for each in fields(kind)}
    for name, value in facts.items():
        known[name] = translate(value, language) if isinstance(value, str) else value
    return translate(kind.public, language, **known)
