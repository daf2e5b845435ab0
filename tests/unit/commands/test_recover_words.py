"""Words typed from paper: a mistake costs one word, not twenty; nothing of them reaches argv or the screen's memory."""

import os
import random

import pytest

from appliance.commands.recover_words import ask_words, read_words
from appliance.commands.session import Session
from appliance.errors import InvalidInput, WordUnknown
from appliance.vault import words
from appliance.vault.secret import Secret

SECRET = Secret(bytes(range(16)))


class Typing:
    """A person with a keyboard: answers in order, remembers what was asked."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.asked: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.asked.append(prompt)
        return self.lines.pop(0)


@pytest.fixture
def session(capsys):
    del capsys  # what is told goes there
    return Session(language="en")


def sheets(needed: int = 1, count: int = 1) -> list[str]:
    return words.split(SECRET, needed=needed, sheets=count)


def secret_of(session, typing) -> bytes:
    return ask_words(session, typing).reveal()


def test_a_sheet_typed_in_two_lines_with_four_letters_a_word(session):
    """Nobody types «transaction» twenty times without need."""
    typed = sheets()[0].split()
    short = [word[:4] if number % 2 else word.upper() for number, word in enumerate(typed)]
    typing = Typing(" ".join(short[:9]), " ".join(short[9:]))

    assert secret_of(session, typing) == SECRET.reveal()
    assert typing.asked == [" 1> ", "10> "]


def test_an_unknown_word_is_asked_for_alone(session, capsys):
    """Which word, on which sheet, and what is near."""
    typed = sheets()[0].split()
    wrong = [*typed[:4], "zzzzz", *typed[5:]]

    assert secret_of(session, Typing(" ".join(wrong), typed[4])) == SECRET.reveal()
    assert "Sheet 1: word number 5" in capsys.readouterr().err


def test_a_word_of_the_list_in_a_wrong_place_is_found_by_the_checksum(session, capsys):
    typed = sheets()[0].split()
    wrong = [*typed[:11], "academic" if typed[11] != "academic" else "acid", *typed[12:]]
    typing = Typing(" ".join(wrong), typed[11])

    assert secret_of(session, typing) == SECRET.reveal()
    assert typing.asked[-1] == "12> "
    assert "number 12" in capsys.readouterr().err


def test_two_of_three_in_any_order_and_one_twice_is_said(session, capsys):
    first, _, third = sheets(needed=2, count=3)

    assert secret_of(session, Typing(third, third, first)) == SECRET.reveal()
    said = capsys.readouterr().err
    assert "1 of 2 sheets" in said
    assert "already given" in said


def test_a_sheet_of_another_kit_is_put_aside(session, capsys):
    first, second, _ = sheets(needed=2, count=3)
    stranger = words.split(words.make_secret(), needed=2, sheets=3)[0]

    assert secret_of(session, Typing(first, stranger, second)) == SECRET.reveal()
    assert "another kit" in capsys.readouterr().err


def test_too_many_mistakes_begin_the_sheet_again(session):
    """Words in disorder: no single one is to blame."""
    typed = sheets()[0].split()
    mixed = list(typed)
    random.Random(1).shuffle(mixed)

    assert secret_of(session, Typing(" ".join(mixed), " ".join(typed))) == SECRET.reveal()


def test_a_descriptor_gives_one_sheet_a_line(session):
    first, _, third = sheets(needed=2, count=3)
    reading, writing = os.pipe()
    os.write(writing, f"{third}\n\n{first.upper()}\n".encode())
    os.close(writing)

    assert read_words(session, reading).reveal() == SECRET.reveal()


def test_a_descriptor_with_a_mistake_raises_and_names_it(session):
    typed = sheets()[0].split()
    reading, writing = os.pipe()
    os.write(writing, " ".join(["qqqq", *typed[1:]]).encode())
    os.close(writing)

    with pytest.raises(WordUnknown) as raised:
        read_words(session, reading)
    assert (raised.value.sheet, raised.value.position) == (1, 1)


def test_without_a_terminal_nobody_is_asked(session, monkeypatch):
    """A script must not hang."""
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading) as stream:
        monkeypatch.setattr("sys.stdin", stream)
        with pytest.raises(InvalidInput):
            read_words(session, None)
    with pytest.raises(InvalidInput):
        read_words(session, 987)
