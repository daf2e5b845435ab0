"""The words on the sheets give the secret back, and a mistake in them is named."""

import random

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shamir_mnemonic.wordlist import WORDLIST

from appliance.errors import SheetMissing, SheetOfAnotherKit, SheetTwice, WordsWrong, WordUnknown
from appliance.process import run
from appliance.vault import words
from appliance.vault.secret import Secret

SECRET = Secret(bytes(range(16)))


def test_any_two_of_three_sheets_give_the_secret_back_in_any_order_and_case():
    sheets = words.split(SECRET, needed=2, sheets=3)

    for pair in ((0, 1), (1, 0), (0, 2), (2, 1)):
        assert words.join([sheets[at].upper() for at in pair]) == SECRET
    assert words.join(sheets) == SECRET
    assert all(len(sheet.split()) == words.WORDS_PER_SHEET for sheet in sheets)
    assert len({words.kit_number(sheet) for sheet in sheets}) == 1


def test_one_sheet_alone_is_enough_when_the_practice_chose_so():
    (sheet,) = words.split(SECRET, needed=1, sheets=1)

    assert words.join([sheet]) == SECRET


def test_one_of_two_needed_sheets_says_that_another_is_missing():
    with pytest.raises(SheetMissing) as raised:
        words.join(words.split(SECRET, needed=2, sheets=3)[:1])

    assert (raised.value.given, raised.value.needed) == (1, 2)


def test_the_same_sheet_twice_is_said():
    sheets = words.split(SECRET, needed=2, sheets=3)

    with pytest.raises(SheetTwice) as raised:
        words.join([sheets[0], sheets[0]])

    assert raised.value.sheet == 2


def test_a_sheet_of_another_kit_is_said():
    one, other = (words.split(words.make_secret(), needed=2, sheets=3) for _ in range(2))

    with pytest.raises(SheetOfAnotherKit):
        words.join([one[0], other[1]])


def test_a_word_that_is_none_is_named_with_what_is_near():
    (sheet,) = words.split(SECRET, needed=1, sheets=1)
    typed = sheet.split()
    typed[6] = typed[6][:-1] + "q"

    with pytest.raises(WordUnknown) as raised:
        words.join([" ".join(typed)])

    assert raised.value.position == 7
    assert sheet.split()[6] in raised.value.near


@pytest.mark.parametrize("position", [0, 9, 19])
def test_another_word_of_the_list_in_one_place_is_pointed_at(position):
    (sheet,) = words.split(SECRET, needed=1, sheets=1)
    typed = sheet.split()
    typed[position] = random.Random(position).choice([w for w in WORDLIST if w != typed[position]])

    with pytest.raises(WordsWrong) as raised:
        words.join([" ".join(typed)])

    assert raised.value.position == position + 1


def test_two_wrong_words_or_a_missing_one_are_noticed_though_not_placed():
    (sheet,) = words.split(SECRET, needed=1, sheets=1)
    typed = sheet.split()
    typed[2], typed[11] = typed[11], typed[2]
    for wrong in (typed, sheet.split()[:-1]):
        with pytest.raises(WordsWrong):
            words.join([" ".join(wrong)])


@given(st.binary(min_size=16, max_size=16))
def test_the_identity_is_one_that_age_knows_and_opens_what_was_sealed_to_its_recipient(secret):
    made = words.identity(Secret(secret)).reveal().decode()

    opened = pyrage.x25519.Identity.from_str(made)
    assert str(opened) == made
    assert str(opened.to_public()) == words.recipient(Secret(secret))


def test_the_identity_of_a_secret_never_changes():
    """Sheets printed today must open copies in thirty years: this value is fixed for ever."""
    assert words.recipient(SECRET) == EXPECTED


def test_debians_age_opens_with_the_derived_identity(tmp_path):
    (tmp_path / "key").write_bytes(words.identity(SECRET).reveal())
    sealed = pyrage.encrypt(b"letter", [pyrage.x25519.Recipient.from_str(words.recipient(SECRET))])
    (tmp_path / "sealed").write_bytes(sealed)

    argv = ["age", "-d", "-i", str(tmp_path / "key"), str(tmp_path / "sealed")]

    assert run(argv, timeout_s=20).stdout == "letter"


EXPECTED = "age1r94p29pxpuayyq2dhc3d7m3plg59wjy5hgjcxjm8e7k2k27qppfquxmnrp"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("acadmic", "academic"),  # one letter missing
        ("accademic", "academic"),  # one too many
        ("acadenic", "academic"),  # another one
        ("caademic", "academic"),  # two changed places
        ("deviec", "device"),
    ],
)
def test_a_slip_of_one_letter_finds_the_word_that_was_meant(typed, meant):
    assert words.near(typed)[0] == meant


@pytest.mark.parametrize("word", words.LIST[::97])
def test_every_single_slip_of_any_word_suggests_it(word):
    for at in range(len(word)):
        for typed in (word[:at] + word[at + 1 :], word[:at] + "q" + word[at + 1 :]):
            assert typed in words.LIST or word in words.near(typed), (typed, word)


def test_what_is_typed_is_forgiven_numbers_capitals_and_all_after_four_letters():
    (sheet,) = words.split(SECRET, needed=1, sheets=1)
    typed = "\n".join(f"{at}. {word[:4].title()}" for at, word in enumerate(sheet.split(), start=1))

    assert words.clean(typed) == sheet
    assert words.join([typed]) == SECRET
    assert words.look(typed).fits


def test_looking_at_a_sheet_tells_what_is_wrong_with_each_word():
    (sheet,) = words.split(SECRET, needed=1, sheets=1)
    typed = sheet.split()
    typed[3] = "zzzz"

    look = words.look(" ".join(typed))

    assert [each.position for each in look.words if not each.is_known] == [4]
    assert not look.fits
    assert words.look(" ".join(typed[:9])).missing == 11
    assert words.look(sheet + " device").missing == -1
    assert words.look(sheet).number == words.kit_number(sheet)
    assert "zzzz" not in repr(look)
