"""How a person writes the timetable of a line, and how it is said back: «mon-fri 08:00-19:00 2Mbit»."""

import re
from collections.abc import Sequence
from datetime import time
from typing import Final

from appliance.commands.session import wrong
from appliance.language import Language, mark, translate
from appliance.policy.bandwidth import EVERY_DAY, Rule

_DAYS: Final = {
    "mon": 0, "tue": 1, "wed": 2, "thu": 3, "fri": 4, "sat": 5, "sun": 6,
    "lun": 0, "mar": 1, "mer": 2, "jeu": 3, "ven": 4, "sam": 5, "dim": 6,
}  # fmt: skip
_NAMES: Final[dict[Language, tuple[str, ...]]] = {
    "en": ("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
    "fr": ("lun", "mar", "mer", "jeu", "ven", "sam", "dim"),
}
_HOURS: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)")
#: Lines are sold in bits, files are counted in bytes: both are understood, and «Mb», which may be either, is not.
_RATE: Final = re.compile(r"(\d+(?:[.,]\d+)?)([kKmMgG])?(bit|B|o)?(?:/s)?")
_UNITS: Final = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_EXPECTED: Final = mark(
    "Write a rule as «mon-fri 08:00-19:00 2Mbit»: days, hours, and a rate, «pause» or «free»."
)


def rule_of(text: str) -> Rule:
    """Return the rule that a person wrote; days and hours may be left out.

    Raises:
        InvalidInput: it cannot be read.
    """
    days, start, end, rate = EVERY_DAY, time(0), time(0), None
    seen_rate = False
    for given in text.replace("–", "-").split():
        word = given.lower()
        hours = _HOURS.fullmatch(word)
        if hours is not None:
            start = time(int(hours[1]), int(hours[2]))
            end = time(int(hours[3]), int(hours[4]))
        elif word.split("-")[0].split(",")[0] in _DAYS:
            days = _days(word)
        elif not seen_rate:
            rate, seen_rate = _rate(given), True
        else:
            raise wrong("RULE", _EXPECTED)
    if not seen_rate:
        raise wrong("RULE", _EXPECTED)
    return Rule(bytes_s=rate, days=days, start=start, end=end)


def rule_words(rule: Rule, language: Language) -> str:
    """Return a rule as a person reads it, and as ``rule_of`` reads it back."""
    days = "" if rule.days == EVERY_DAY else f"{_day_words(rule.days, language)} "
    hours = "" if rule.start == rule.end else f"{rule.start:%H:%M}-{rule.end:%H:%M} "
    return f"{days}{hours}{_rate_words(rule.bytes_s, language)}"


def _days(word: str) -> frozenset[int]:
    found: set[int] = set()
    for part in word.split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise wrong("RULE", _EXPECTED)
        begin, end = _DAYS[first], _DAYS[last] if dash else _DAYS[first]
        found |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return frozenset(found)


def _rate(word: str) -> int | None:
    if word.lower() in {"free", "libre"}:
        return None
    if word.lower() in {"pause", "0"}:
        return 0
    match = _RATE.fullmatch(word)
    if match is None:
        raise wrong("RULE", _EXPECTED)
    number = float(match[1].replace(",", ".")) * _UNITS[(match[2] or "").lower()]
    return round(number / 8 if match[3] == "bit" else number)


def _rate_words(bytes_s: int | None, language: Language) -> str:
    if bytes_s is None:
        return translate(mark("free"), language)
    if bytes_s == 0:
        return "pause"
    bits = bytes_s * 8
    for unit, size in (("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)):
        if bits >= size:
            return f"{bits / size:g}{unit}bit"
    return f"{bits}bit"


def _day_words(days: Sequence[int] | frozenset[int], language: Language) -> str:
    names = _NAMES[language]
    ordered = sorted(days)
    if len(ordered) > 1 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{names[ordered[0]]}-{names[ordered[-1]]}"
    return ",".join(names[day] for day in ordered)
