"""What is written on the sheet of a drill, for the page and for the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from appliance.errors import all_errors
from appliance.language import Language, explain_stored, mark, translate
from appliance.model import Outcome
from appliance.policy.drills import Drill
from appliance.policy.wording import duration_words, size_words

VERDICTS: Final[dict[Outcome, str]] = {
    Outcome.PROVEN: mark("succeeded"),
    Outcome.INCONCLUSIVE: mark("with reservations"),
    Outcome.FAILED: mark("failed"),
}
#: What `borg check` said of a repository.
CHECKS: Final = {"right": mark("right"), "damaged": mark("damaged")}
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_TENTHS_BELOW_S: Final = 10


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the sheet, in the reader's language."""

    label: str
    value: str
    note: str = ""
    is_wrong: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under a title."""

    title: str
    rows: tuple[Row, ...]


def stopwatch(seconds: float, language: Language) -> str:
    """Return «8,4 s», «3 min 05 s» or «2 h 04 min»; «–» for what was not reached."""
    if seconds < 0:
        return "–"
    if seconds < _TENTHS_BELOW_S:
        text = f"{seconds:.1f}"
        return f"{text.replace('.', ',') if language == 'fr' else text} s"
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < _HOUR_S:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def sentence(drill: Drill, outcome: Outcome, language: Language) -> str:
    """Return what the drill showed, in one sentence."""
    facts = {"target": drill.target}
    if outcome is Outcome.PROVEN:
        text = mark("The box was made again from «%(target)s», and what came back is what is here.")
    elif outcome is Outcome.INCONCLUSIVE and drill.lost_s:
        text = mark("The box was made again from «%(target)s», but only from an older generation.")
    elif outcome is Outcome.INCONCLUSIVE and drill.faults:
        text = mark(
            "The box was made again from «%(target)s», but the place hides or altered something."
        )
    elif outcome is Outcome.INCONCLUSIVE:
        text = mark("The box was made again from «%(target)s», but there was nothing to compare.")
    elif drill.reason:
        said = translate(
            mark("The box could not be made again from «%(target)s»."), language, **facts
        )
        return f"{said} {_reason(drill.reason, language)}"
    else:
        text = mark("A box was made from «%(target)s», but it is not this one: something differs.")
    return translate(text, language, **facts)


def _reason(code: str, language: Language) -> str:
    known = {each.code for each in all_errors()}
    return explain_stored(code, {}, language) if code in known else code


def sections(drill: Drill, language: Language, zone: ZoneInfo) -> Sequence[Section]:
    """Return the figures of the sheet."""

    def say(text: str, **facts: object) -> str:
        return translate(text, language, **facts)

    def row(label: str, value: str, note: str = "", *, is_wrong: bool = False) -> Row:
        return Row(say(label), value, note, is_wrong)

    def number(value: int) -> str:
        text = f"{value:,}"
        return text.replace(",", "\N{NARROW NO-BREAK SPACE}") if language == "fr" else text

    def compared(same: int, gone: int, different: int, total: int, label: str) -> Row:
        notes = []
        if gone:
            notes.append(say(mark("%(count)s removed here since"), count=number(gone)))
        if different:
            notes.append(say(mark("%(count)s different"), count=number(different)))
        value = say(mark("%(same)s of %(total)s"), same=number(same), total=number(total))
        return row(label, value, ", ".join(notes), is_wrong=bool(different))

    def promised(seconds: int) -> str:
        if not seconds:
            return ""
        span = duration_words(timedelta(seconds=seconds), language)
        return say(mark("promised: %(span)s"), span=span)

    def clock(seconds: float) -> str:
        return stopwatch(seconds, language)

    age = duration_words(timedelta(seconds=drill.data_age_s), language)
    times = (
        row(mark("Accounts, rights and lists of files are back"), clock(drill.state_s)),
        row(mark("First document opened, straight from the copy"), clock(drill.first_document_s)),
        row(
            mark("Everything is back and checked"),
            clock(drill.restored_s),
            promised(drill.dmia_s),
            is_wrong=drill.is_slower_than_promised,
        ),
        row(mark("Compared with the living box"), clock(drill.total_s)),
    )
    lost = (
        duration_words(timedelta(seconds=drill.lost_s), language)
        if drill.lost_s
        else say(mark("none"))
    )
    data = (
        row(mark("Generation"), _generation(drill, language, zone)),
        row(
            mark("Age of the data"), age, promised(drill.pdma_s),
            is_wrong=drill.is_older_than_promised,
        ),
        row(mark("Work of newer generations lost"), lost, is_wrong=bool(drill.lost_s)),
        row(
            mark("Brought back"),
            size_words(drill.bytes, language),
            say(mark("%(count)s files of repositories"), count=number(drill.files)),
        ),
    )  # fmt: skip
    checks = (
        compared(
            drill.documents_same, drill.documents_gone, drill.documents_different, drill.documents,
            mark("Documents compared byte for byte"),
        ),
        compared(
            drill.segments_same, drill.segments_gone, drill.segments_different, drill.segments,
            mark("Stored segments compared byte for byte"),
        ),
        row(
            mark("Keys and passwords of the vault"),
            say(mark("%(same)s of %(total)s"), same=number(drill.secrets_same), total=number(drill.secrets)),
            is_wrong=bool(drill.passphrases_wrong),
        ),
        row(
            mark("Journal"),
            say(mark("%(count)s journal entries"), count=number(drill.ledger_entries)),
            say(mark("the beginning of the journal here")) if drill.ledger_follows
            else say(mark("not the journal of this box")),
            is_wrong=not drill.ledger_follows,
        ),
        row(
            mark("Generations hidden or altered by the place"), number(drill.faults),
            is_wrong=bool(drill.faults),
        ),
    )  # fmt: skip
    return (
        Section(say(mark("Times, from its beginning on")), times),
        Section(say(mark("What came back")), data),
        Section(say(mark("How it was checked")), checks),
    )


def _generation(drill: Drill, language: Language, zone: ZoneInfo) -> str:
    if not drill.generation:
        return "–"
    moment = datetime.fromisoformat(drill.taken_at).astimezone(zone)
    return translate(
        mark("no. %(number)s, of %(moment)s"),
        language,
        number=drill.generation,
        moment=f"{moment:%d/%m/%Y %H:%M}" if language == "fr" else f"{moment:%Y-%m-%d %H:%M}",
    )
