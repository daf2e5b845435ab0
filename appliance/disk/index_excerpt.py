"""What is shown of a text that was found: the part where the words stand, in pieces."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance.policy.plain_words import normalise

#: Letters of a text around what was found.
AROUND: Final = 70


@dataclass(frozen=True, slots=True)
class Piece:
    """Some letters of a text, and whether they are what was looked for."""

    text: str
    is_hit: bool


#: Letters a French keyboard has with marks: what is typed without finds them, in the text as it is.
_VARIANTS: Final = {
    "a": "aàâäáãå",
    "c": "cç",
    "e": "eéèêë",
    "i": "iîïí",
    "n": "nñ",
    "o": "oôöóõø",
    "u": "uùûüú",
    "y": "yÿý",
}


def around(text: str, words: Sequence[str]) -> tuple[Piece, ...]:
    """Return the part of a text where the first of the words stands, in pieces; its beginning if none is found."""
    pattern = re.compile(
        r"(?<![^\W_])(?:" + "|".join(_spelled(each) for each in words) + ")", re.IGNORECASE
    )
    first = pattern.search(text)
    at = 0 if first is None else first.start()
    low = max(0, at - AROUND)
    if low:  # not in the middle of a word
        low = next((i + 1 for i in range(low, at) if text[i].isspace()), low)
    high = min(len(text), at + 2 * AROUND)
    shown = text[low:high]
    pieces = [Piece("…", is_hit=False)] if low else []
    done = 0
    for each in pattern.finditer(shown):
        pieces.append(Piece(_spaced(shown[done : each.start()]), is_hit=False))
        pieces.append(Piece(_spaced(each.group()), is_hit=True))
        done = each.end()
    pieces.append(Piece(_spaced(shown[done:]), is_hit=False))
    if high < len(text):
        pieces.append(Piece("…", is_hit=False))
    return tuple(each for each in pieces if each.text)


def _spelled(word: str) -> str:
    made = []
    for letter in normalise(word):
        kin = _VARIANTS.get(letter)
        made.append((f"[{kin}]" if kin else re.escape(letter)) + "[\u0300-\u036f]?")
    return "".join(made).replace(
        "[oôöóõø][\u0300-\u036f]?[eéèêë][\u0300-\u036f]?",
        "(?:œ|[oôöóõø][\u0300-\u036f]?[eéèêë][\u0300-\u036f]?)",
    )


def _spaced(text: str) -> str:
    return re.sub(r"\s+", " ", text)
