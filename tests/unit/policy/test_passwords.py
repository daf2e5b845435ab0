"""Which passwords are good enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.passwords import (
    BITS,
    CHARACTERS,
    PROBLEM_TEXTS,
    PasswordProblem,
    entropy_bits,
    judge,
)

LEAKED = frozenset({"azerty", "motdepasse", "password", "doudou", "123456", "soleil2024"})


@pytest.mark.parametrize(
    "password",
    [
        "Gr4nd-Plateau",
        "tR0mbone/cave",
        "k9#Vx2!mQe",
        "cheval batterie agrafe correcte lundi",
        "le petit chat noir dort bien",
        "Épée-d'argent7",
        "Zx7!" + "été" * 1 + "Qp4?vR",
    ],
)
def test_good_passwords_and_phrases_pass(password):
    """Ten characters of three classes, or five words."""
    verdict = judge(password, login="claire.martin", name="Claire Martin", leaked=LEAKED)

    assert verdict.problems == ()
    assert verdict.is_good
    assert verdict.bits >= BITS
    assert verdict.words("fr") == []


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("", PasswordProblem.TOO_SHORT),
        ("aB3$xY7!q", PasswordProblem.TOO_SHORT),
        ("abricotier", PasswordProblem.TOO_FEW_CLASSES),
        ("Abricotier", PasswordProblem.TOO_FEW_CLASSES),
        ("Aa1Aa1aaaa11111", PasswordProblem.TOO_EASY),
        ("Azertyuiop123", PasswordProblem.TOO_EASY),
        ("Abcdefgh12345678!", PasswordProblem.TOO_EASY),
        ("Poiuytreza1!", PasswordProblem.TOO_EASY),
        ("chat chat chat chat chat", PasswordProblem.TOO_FEW_CLASSES),
        ("Motdepasse2026!", PasswordProblem.LEAKED),
        ("PASSWORD!", PasswordProblem.LEAKED),
        ("Soleil2024", PasswordProblem.LEAKED),
        ("Claire-2026-kiné", PasswordProblem.PERSONAL),
        ("xx-MARTIN-4-zz", PasswordProblem.PERSONAL),
        ("aB3$" * 65, PasswordProblem.TOO_LONG),
    ],
)
def test_weak_known_and_personal_passwords_are_refused(password, problem):
    """Each with a sentence that says what to do."""
    verdict = judge(password, login="claire.martin", name="Claire Martin", leaked=LEAKED)

    assert problem in verdict.problems
    assert not verdict.is_good
    assert len(verdict.words("fr")) == len(verdict.problems)
    assert all(words.endswith(".") for words in verdict.words("en"))


def test_short_parts_of_a_name_do_not_count():
    """Doctor «Li Wu» may use an «li» in a password."""
    assert judge("Gr4nd-Plaliteau", login="li.wu", name="Li Wu").is_good


def test_digits_alone_as_a_stem_match_no_empty_leak():
    """What is left of «2026!» after its end is cut is nothing, and nothing is on no list."""
    assert PasswordProblem.LEAKED not in judge("20262026!!", leaked=frozenset({""})).problems


@given(st.text(max_size=80))
def test_what_passes_has_the_bits_and_the_length(password):
    """The bar holds for anything typed."""
    verdict = judge(password)

    assert verdict.bits >= 0
    if verdict.is_good:
        assert verdict.bits >= BITS
        assert len(password) >= CHARACTERS


@given(st.text(min_size=1, max_size=30), st.integers(2, 40))
def test_repeating_a_sign_adds_next_to_nothing(text, times):
    """A long row of one sign is two."""
    assert entropy_bits(text + "aaa") == pytest.approx(entropy_bits(text + "a" * (times + 2)))


@pytest.mark.parametrize(
    ("password", "bits"),
    [
        ("", 0),
        ("7", 3.32),
        ("777777777777", 6.64),
        ("qwerty", 9.40),
        ("un deux trois quatre cinq", 40),
    ],
)
def test_bits_are_counted_carefully(password, bits):
    """«un» is too short to be a word: four words count as characters, five words as words."""
    if "deux" in password:
        assert entropy_bits(password) > bits
        assert entropy_bits(password + " six") == pytest.approx(50)
    else:
        assert entropy_bits(password) == pytest.approx(bits, abs=0.01)


def test_every_problem_has_words():
    """A refusal without a reason teaches nothing."""
    assert set(PROBLEM_TEXTS) == set(PasswordProblem)
