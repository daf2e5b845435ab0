"""The words of the recovery sheets, typed on a terminal or read from a file descriptor; never argv.

Docs: docs/decisions/0121. What is typed can be seen while it is typed (twenty words nobody sees are
twenty mistakes) and is wiped from the screen, and from what it remembers, with the Enter key.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

from shamir_mnemonic.wordlist import WORDLIST

from appliance.commands.session import Session
from appliance.errors import (
    InvalidInput,
    SheetMissing,
    SheetOfAnotherKit,
    SheetTwice,
    WordsWrong,
    WordUnknown,
)
from appliance.language import explain, mark
from appliance.vault import words
from appliance.vault.secret import Secret

#: SLIP-39 words differ in their first four letters.
ENOUGH_LETTERS: Final = 4
#: Words of one sheet mended one by one before the whole sheet is asked for again.
MOST_MENDED: Final = 6
LARGEST_BYTES: Final = 64 * 1024

Ask = Callable[[str], str]


def read_words(session: Session, words_fd: int | None) -> Secret:
    """Return the recovery secret: from descriptor ``words_fd``, one sheet a line, else asked on the terminal.

    Raises:
        InvalidInput: there is no terminal to ask on, or the descriptor cannot be read.
        WordUnknown, WordsWrong, SheetTwice, SheetMissing, SheetOfAnotherKit: of what the descriptor held.
    """
    if words_fd is not None:
        return words.join([_whole(sheet) for sheet in _from_descriptor(words_fd)])
    if session.as_json or not sys.stdin.isatty():
        raise InvalidInput(
            "words", mark("There is no terminal to ask for the words: give --words-fd.")
        )
    return ask_words(session, _ask_on_terminal)


def ask_words(session: Session, ask: Ask) -> Secret:
    """Return the secret out of sheets asked for one after the other, each mended until its words fit.

    Args:
        session: says things to the person.
        ask: shows its argument, returns the line that was typed.
    """
    sheets: list[str] = []
    while True:
        sheets.append(_ask_sheet(session, ask, len(sheets) + 1))
        try:
            return words.join(sheets)
        except SheetMissing as missing:
            session.tell(
                mark("Right. %(given)s of %(needed)s sheets."),
                given=missing.given,
                needed=missing.needed,
            )
        except (SheetTwice, SheetOfAnotherKit) as wrong:
            session.tell(explain(wrong, session.language))
            sheets.pop()


def _ask_sheet(session: Session, ask: Ask, number: int) -> str:
    while True:
        session.tell(
            mark(
                "Sheet %(number)s: type its 20 words, parted by spaces (four letters are enough)."
            ),
            number=number,
        )
        typed: list[str] = []
        while len(typed) < words.WORDS_PER_SHEET:
            typed += ask(f"{len(typed) + 1:2}> ").lower().split()
        found = _mended(session, ask, number, _whole(" ".join(typed)).split())
        if found is not None:
            return found


def _mended(session: Session, ask: Ask, number: int, typed: list[str]) -> str | None:
    """Return the sheet once its words fit, asking for single words; None: the whole sheet again."""
    for _ in range(MOST_MENDED):
        try:
            words.join([" ".join(typed)])
        except SheetMissing:
            return " ".join(typed)
        except WordUnknown as wrong:
            position, message = wrong.position, WordUnknown(number, wrong.position, wrong.near)
            session.tell(explain(message, session.language))
        except WordsWrong as wrong:
            session.tell(explain(WordsWrong(number, wrong.position), session.language))
            position = wrong.position
            if len(typed) != words.WORDS_PER_SHEET:
                session.tell(mark("A sheet has 20 words; %(count)s were typed."), count=len(typed))
        else:
            return " ".join(typed)
        if not 1 <= position <= len(typed):
            return None
        answer = _whole(ask(f"{position:2}> ").lower()).split()
        typed[position - 1 : position] = answer or typed[position - 1 : position]
    return None


def _whole(text: str) -> str:
    """Return the words spelled out where their first letters say which they are."""
    return " ".join(_spelled(word) for word in text.lower().split())


def _spelled(word: str) -> str:
    if len(word) < ENOUGH_LETTERS:
        return word
    found = [each for each in WORDLIST if each.startswith(word)]
    return found[0] if len(found) == 1 else word


def _from_descriptor(number: int) -> Sequence[str]:
    try:
        with os.fdopen(number, "rb", closefd=number > 2) as file:
            text = file.read(LARGEST_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "words-fd", mark("A descriptor from which the words can be read.")
        ) from error
    sheets = [line for line in text.splitlines() if line.strip()]
    if not sheets:
        raise InvalidInput("words-fd", mark("The words of one sheet a line."))
    return sheets


def _ask_on_terminal(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise KeyboardInterrupt  # Ctrl-D: nobody types any more
    if sys.stderr.isatty():
        columns = max(1, os.get_terminal_size(sys.stderr.fileno()).columns)
        rows = max(1, -(-(len(prompt) + len(line.rstrip("\n"))) // columns))
        # Up to where it began, the rest of the screen wiped: xterm's ECMA-48 sequences CUU and ED.
        sys.stderr.write(f"\x1b[{rows}A\r\x1b[J")
        sys.stderr.flush()
    return line
