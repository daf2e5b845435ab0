"""How names, texts and searched words are made comparable: without case, without accents."""

import re
import unicodedata
from typing import Final

#: Letters that Unicode does not take apart, but a French keyboard does.
_LIGATURES: Final = str.maketrans({"œ": "oe", "Œ": "oe", "æ": "ae", "Æ": "ae", "ø": "o", "Ø": "o"})
_DIGITS: Final = re.compile("([0-9]+)")
_LENGTHS: Final = [chr(0x30 + length) for length in range(41)]
#: The marks of Latin letters; the others are looked up one by one.
_LATIN_MARKS: Final = re.compile("[\u0300-\u036f]+")


def normalise(text: str) -> str:
    """Return ``text`` without case, accents and ligatures: «Élodie CŒUR» is «elodie coeur».

    Source: Unicode Standard Annex 15 (NFKD); marks are the general category ``Mn``.
    """
    if text.isascii():
        return text.lower()
    # Taken apart first: letters of mathematics and of other widths have no case before that.
    apart = unicodedata.normalize("NFKD", text.translate(_LIGATURES)).casefold()
    if not apart.isascii():
        apart = _LATIN_MARKS.sub("", unicodedata.normalize("NFKD", apart))
    if apart.isascii():
        return apart
    return "".join(each for each in apart if unicodedata.category(each) != "Mn")


def normalise_name(name: bytes) -> str:
    """Return a file's name as it is searched; a name that is not UTF-8 is read as Latin-1."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        text = name.decode("latin-1")
    return normalise(text)


def split(words: str) -> tuple[str, ...]:
    """Return the words of a search line, normalised, each once, in order."""
    return tuple(dict.fromkeys(normalise(words).replace("/", " ").split()))


def natural(norm: str) -> str:
    """Return a key that sorts normalised names as people do: «scan 9» before «scan 10»."""
    parts = _DIGITS.split(norm)
    for place in range(1, len(parts), 2):
        # A longer number is a larger one: its length goes first, as a character near the digits.
        digits = parts[place].lstrip("0") or "0"
        parts[place] = _LENGTHS[min(len(digits), 40)] + digits
    return "".join(parts)
