"""Known passwords, without asking anybody."""

import hashlib

import pytest

from appliance.accounts.leaked import FILE_NAME, Leaked, words
from appliance.policy.passwords import PasswordProblem, judge


@pytest.mark.parametrize(
    "password",
    [
        "Azertyuiop123!",
        "MotDePasse2026!",
        "M0tdep@sse-2026",
        "P@ssw0rd12345!",
        "1234-Soleil-56",
        "SoleilSoleil1!",
        "Été2026!!!!!!!",
        "Marseille13013!",
        "Doctolib2026!!",
        "Secrétariat75!",
        "!!Qwertyuiop99",
    ],
)
def test_what_every_list_begins_with_is_known_under_its_trimmings(password):
    """Ten characters of three classes, and the first thing anybody tries."""
    assert PasswordProblem.LEAKED in judge(password, leaked=Leaked()).problems


@pytest.mark.parametrize(
    "password",
    [
        "Trois-lampes9",
        "Vingt2-lampes",
        "cinq mots dans une phrase tranquille",
        "Marseille-lampe8ocre",
    ],
)
def test_a_password_of_ones_own_is_not_known(password):
    """A known word in it is no harm."""
    assert judge(password, leaked=Leaked()).is_good


def test_the_words_are_plain_so_that_trimmings_find_them():
    """Small letters without accents or digits around them; some hundred."""
    assert len(words()) > 400
    for word in words():
        assert word == word.strip("0123456789")
        assert word.isascii()
        assert word == word.lower()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_a_list_of_ones_own_is_searched_as_it_is_published(tmp_path, count):
    """Every line of it is found, no other; with or without counts at the ends of lines."""
    known = [f"Un mot de passe {number}" for number in range(count)]
    lines = sorted(hashlib.sha1(each.encode()).hexdigest().upper() for each in known)
    text = "".join(f"{line}:{number}\r\n" for number, line in enumerate(lines))
    (tmp_path / FILE_NAME).write_text(text, newline="")
    leaked = Leaked(tmp_path)

    assert all(each in leaked for each in known)
    assert not any(f"Autre {number}" in leaked for number in range(200))


def test_a_list_that_is_broken_or_not_there_stops_nobody(tmp_path):
    """The words of the program remain."""
    assert "Trois-lampes9" not in Leaked(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"\x00" * 5_000)
    assert "Trois-lampes9" not in Leaked(tmp_path)
    assert "motdepasse" in Leaked(tmp_path)
