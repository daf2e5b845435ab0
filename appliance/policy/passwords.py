"""Whether a password is strong enough, and in words why not (domain.md SEC-06).

The bar: 50 bits, and 10 characters of three of the four classes, or a phrase of five words. 50 bits
suffice because sign-in is throttled and blocks (SEC-07); 10 characters follow the older, stricter
PGSSI-S rule. Never forced to be renewed.

Source: CNIL, deliberation 2022-100 (entropy, second case: with restricted access); draft RIE v2 and
PGSSI-S 4.5.1 as told in domain.md SEC-06; docs/decisions/0034.
"""

import math
import re
import string
import unicodedata
from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from appliance.language import Language, mark, translate

BITS: Final = 50.0
CHARACTERS: Final = 10
CLASSES: Final = 3
WORDS: Final = 5
#: A word a person chooses, of a vocabulary of 1,024: less than any real one has.
BITS_PER_WORD: Final = 10.0
#: Hashing a novel would be a way to keep the box busy.
CHARACTERS_AT_MOST: Final = 256

_ALPHABETS: Final = (
    (string.ascii_lowercase, 26),
    (string.ascii_uppercase, 26),
    (string.digits, 10),
)
_OTHERS: Final = 33  # printable ASCII that is neither letter nor digit; accents count as these
#: Rows of keyboards and the usual orders: a stretch of one adds next to nothing.
_ROWS: Final = (
    string.ascii_lowercase,
    string.digits + "0",
    "azertyuiop",
    "qsdfghjklm",
    "wxcvbn",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
)
_RUN: Final = 3  # characters from which on a stretch counts as one
_TRIMMINGS: Final = string.digits + string.punctuation + " "
#: What people write instead of a letter.
_EXCHANGED: Final = str.maketrans("0134578@$!", "oieastbasi")
_STEM: Final = 3  # a stem shorter than this says nothing
#: Few different signs are few, however often they come: each counts for so many places on average.
_PLACES_PER_SIGN: Final = 2


class PasswordProblem(StrEnum):
    """Why a password is refused."""

    TOO_SHORT = "too-short"
    TOO_LONG = "too-long"
    TOO_FEW_CLASSES = "too-few-classes"
    TOO_EASY = "too-easy"
    LEAKED = "leaked"
    PERSONAL = "personal"


PROBLEM_TEXTS: Final[dict[PasswordProblem, str]] = {
    PasswordProblem.TOO_SHORT: mark("Use at least 10 characters, or five words."),
    PasswordProblem.TOO_LONG: mark("Use at most 256 characters."),
    PasswordProblem.TOO_FEW_CLASSES: mark(
        "Mix three of these: small letters, capitals, digits, other signs; or use five words."
    ),
    PasswordProblem.TOO_EASY: mark("It is too easy to guess: make it longer, without repetitions."),
    PasswordProblem.LEAKED: mark("It is on the list of known passwords: choose another one."),
    PasswordProblem.PERSONAL: mark("It contains your name or your login: choose another one."),
}


@dataclass(frozen=True, slots=True)
class PasswordVerdict:
    """What was found; it never holds the password."""

    bits: float
    problems: tuple[PasswordProblem, ...]

    @property
    def is_good(self) -> bool:
        """No problem was found."""
        return not self.problems

    def words(self, language: Language) -> list[str]:
        """Return one sentence a problem, each saying what to do."""
        return [translate(PROBLEM_TEXTS[problem], language) for problem in self.problems]


def judge(
    password: str, *, login: str = "", name: str = "", leaked: Container[str] = frozenset()
) -> PasswordVerdict:
    """Return whether ``password`` may be used by this person.

    Args:
        password: as typed.
        login: the account's; it may not be part of the password.
        name: the person's; no part of it of four letters or more may be part of the password.
        leaked: known passwords in lower case without accents. A known one counts too with digits and signs
            before or after it, with the usual exchanges («p@ssw0rd»), and twice in a row.
    """
    bits = entropy_bits(password)
    is_phrase = len(_words(password)) >= WORDS
    lower = password.casefold()
    personal = [part for part in re.split(r"\W+", f"{login} {name}".casefold()) if len(part) >= 4]
    found = (
        (PasswordProblem.TOO_LONG, len(password) > CHARACTERS_AT_MOST),
        (PasswordProblem.TOO_SHORT, not is_phrase and len(password) < CHARACTERS),
        (PasswordProblem.TOO_FEW_CLASSES, not is_phrase and len(_classes(password)) < CLASSES),
        (PasswordProblem.LEAKED, any(one in leaked for one in {password} | _stems(lower) if one)),
        (PasswordProblem.PERSONAL, any(part in lower for part in personal)),
        (PasswordProblem.TOO_EASY, bits < BITS),
    )
    return PasswordVerdict(bits, tuple(problem for problem, applies in found if applies))


def entropy_bits(password: str) -> float:
    """Return a careful guess of the entropy: that of its characters, or of its words if fewer.

    A repetition, a stretch of the alphabet, of digits or of a keyboard row counts as two characters,
    and a few signs mixed again and again as few.
    """
    size = sum(size for _, size in _classes(password))
    by_characters = _effective_length(password) * math.log2(size) if size else 0.0
    words = _words(password)
    return min(by_characters, BITS_PER_WORD * len(words)) if len(words) >= WORDS else by_characters


def _stems(lower: str) -> set[str]:
    """Return what a password is when its trimmings are taken off."""
    plain = "".join(
        one for one in unicodedata.normalize("NFKD", lower) if not unicodedata.combining(one)
    )
    found: set[str] = {lower}
    for text in (plain, plain.translate(_EXCHANGED)):
        stem = text.strip(_TRIMMINGS)
        found |= {text, stem, text.rstrip(_TRIMMINGS), stem.translate(_EXCHANGED)}
    for text in tuple(found):
        half = len(text) // 2
        if text[:half] == text[half:]:
            found.add(text[:half])
    return {one for one in found if len(one) >= _STEM}


def _classes(password: str) -> list[tuple[str, int]]:
    found = [
        (alphabet, size)
        for alphabet, size in _ALPHABETS
        if any(one in alphabet for one in password)
    ]
    known = string.ascii_letters + string.digits
    if any(one not in known for one in password):
        found.append(("", _OTHERS))
    return found


def _words(password: str) -> set[str]:
    """Return the different words of three letters and more."""
    return {word for word in re.split(r"[\W\d_]+", password.casefold()) if len(word) >= 3}


def _effective_length(password: str) -> int:
    lower, length, at = password.casefold(), 0, 0
    while at < len(lower):
        run = _run_length(lower, at)
        length += 2 if run >= _RUN else 1
        at += run if run >= _RUN else 1
    return min(length, _PLACES_PER_SIGN * len(set(lower)))


def _run_length(text: str, at: int) -> int:
    """Return how long the stretch is that begins at ``at``: the same sign, or a row, either way."""
    longest = 1
    while at + longest < len(text) and text[at + longest] == text[at]:
        longest += 1
    for row in (*_ROWS, *(one[::-1] for one in _ROWS)):
        length = 1
        while text[at : at + length + 1] in row and at + length < len(text):
            length += 1
        longest = max(longest, length)
    return longest
