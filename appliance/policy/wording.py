"""How long, how much and how many, in words: what sentences and findings are filled with."""

from collections.abc import Mapping
from datetime import timedelta

from appliance.language import Language, mark, translate, translate_count
from appliance.units import DAY_S, HOUR_S, MINUTE_S


def duration_words(span: timedelta, language: Language) -> str:
    """Return «3 hours»: the largest unit that says enough, rounded down, never under 0."""
    seconds = span.total_seconds()
    if seconds >= 2 * DAY_S:
        return translate_count(
            mark("%(count)s day"), mark("%(count)s days"), int(seconds // DAY_S), language
        )
    if seconds >= HOUR_S:
        return translate_count(
            mark("%(count)s hour"), mark("%(count)s hours"), int(seconds // HOUR_S), language
        )
    if seconds >= MINUTE_S:
        return translate_count(
            mark("%(count)s minute"), mark("%(count)s minutes"), int(seconds // MINUTE_S), language
        )
    return translate_count(
        mark("%(count)s second"), mark("%(count)s seconds"), int(max(0, seconds)), language
    )


def size_words(size_bytes: float, language: Language) -> str:
    """Return «1.2 GB» or «1,2 Go», in thousands as disks are sold; whole numbers from 10 on."""
    units = (
        ("o", "ko", "Mo", "Go", "To", "Po")
        if language == "fr"
        else ("B", "kB", "MB", "GB", "TB", "PB")
    )
    value, place = float(size_bytes), 0
    while value >= 999.5 and place < len(units) - 1:
        value, place = value / 1000, place + 1
    text = f"{value:.0f}" if place == 0 or value >= 9.95 else f"{value:.1f}"
    return f"{text.replace('.', ',') if language == 'fr' else text} {units[place]}"


def percent_words(part: float, language: Language) -> str:
    """Return «30%», in French «30 %», of 0.3; one decimal under 1 %."""
    number = f"{100 * part:.0f}" if part == 0 or part >= 0.01 else f"{100 * part:.1f}"
    return f"{number.replace('.', ',')} %" if language == "fr" else f"{number}%"


def in_language(facts: Mapping[str, object], language: Language) -> dict[str, object]:
    """Return facts as the reader writes them.

    A ``timedelta`` becomes a duration; a fact named ``reason`` is a text to translate, one whose
    name ends in ``_bytes`` a size, one in ``_share`` a percentage; the rest stays.
    """

    def said(name: str, value: object) -> object:
        if isinstance(value, timedelta):
            return duration_words(value, language)
        if name == "reason" and isinstance(value, str):
            return translate(value, language)
        if name.endswith("_bytes") and isinstance(value, int | float):
            return size_words(value, language)
        if name.endswith("_share") and isinstance(value, int | float):
            return percent_words(value, language)
        return value

    return {name: said(name, value) for name, value in facts.items()}
