"""The twenty places for the words of a sheet: what was typed there, and what is wrong with it."""

from dataclasses import dataclass, field

from fastapi import Request

from appliance.errors import SheetMissing, SheetOfAnotherKit, SheetTwice
from appliance.language import Language, explain, mark, translate
from appliance.vault import words
from appliance.vault.secret import Secret
from appliance.vault.words import TypedSheet


@dataclass(frozen=True, slots=True)
class TypedField:
    """One of the twenty places for words."""

    position: int
    word: str = field(default="", repr=False)
    problem: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class SheetFields:
    """The places of one sheet, and what is wrong with it as a whole."""

    number: int
    fields: list[TypedField]
    problem: str = ""
    is_right: bool = False


async def read_form(request: Request, sheets: int) -> list[str]:
    """Return the words of each sheet of the form, as typed."""
    form = await request.form()
    return [
        " ".join(each for each in form.getlist(f"sheet{number}") if isinstance(each, str)).strip()
        for number in range(1, sheets + 1)
    ]


def empty_fields(sheets: int) -> list[SheetFields]:
    """Return the empty places of so many sheets."""
    return [
        SheetFields(number, [TypedField(at) for at in range(1, words.WORDS_PER_SHEET + 1)])
        for number in range(1, sheets + 1)
    ]


def judge(typed: list[str], language: Language) -> tuple[Secret | None, list[SheetFields]]:
    """Return what the words give, or None, and every place with what is wrong there. Takes a second."""
    looks = [words.look(each) for each in typed]
    sheets = [_fields(number, look, language) for number, look in enumerate(looks, start=1)]
    if not all(look.fits for look in looks):
        return None, sheets
    try:
        return words.join(typed), sheets
    except (SheetTwice, SheetOfAnotherKit) as error:
        return None, blamed(sheets, error.sheet, explain(error, language))
    except SheetMissing as error:
        return None, blamed(sheets, len(sheets), explain(error, language))


def _fields(number: int, look: TypedSheet, language: Language) -> SheetFields:
    places = []
    for each in look.words:
        problem = ""
        if not each.is_known and each.near:
            problem = translate(
                mark("Not one of the words. Is it %(near)s?"), language, near=", ".join(each.near)
            )
        elif not each.is_known:
            problem = translate(mark("Not one of the words."), language)
        elif each.position == look.wrong_position:
            problem = translate(mark("Look at this word again."), language)
        places.append(TypedField(each.position, each.word, problem))
    places += [
        TypedField(position) for position in range(len(places) + 1, words.WORDS_PER_SHEET + 1)
    ]
    sentence = ""
    if look.missing > 0 and not look.words:
        sentence = translate(mark("The words of this sheet are missing."), language)
    elif look.missing > 0:
        sentence = translate(mark("Words missing: %(count)s."), language, count=look.missing)
    elif look.missing < 0:
        sentence = translate(mark("Words too many: %(count)s."), language, count=-look.missing)
    elif not look.fits and all(each.is_known for each in look.words):
        sentence = translate(
            mark("Every word is in the list, but they do not fit together.")
            if look.wrong_position
            else mark("Every word is in the list, but they do not fit together: look at each."),
            language,
        )
    return SheetFields(number, places, sentence, look.fits)


def blamed(sheets: list[SheetFields], number: int, sentence: str) -> list[SheetFields]:
    """Return the sheets with a sentence at the one it is about."""
    return [
        SheetFields(each.number, each.fields, sentence, is_right=False)
        if each.number == number
        else each
        for each in sheets
    ]
