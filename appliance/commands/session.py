"""What every command has at hand: the box, the reader's language, and where answers go."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import datetime, tzinfo
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from appliance.db import practice
from appliance.db.engine import Database, open_database
from appliance.errors import ArmoireError, InputError, InvalidInput, Refused, WouldOverwrite
from appliance.language import DEFAULT, Language, explain, translate, translate_count
from appliance.settings import Settings, load


class ExitCode(IntEnum):
    """What a command says to the program that called it."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    WARNED = 3
    REFUSED = 4


#: How wide a line is that goes to a file or a pipe.
FILE_COLUMNS: Final = 160
#: Variables that may name a language, first one wins; ours before the system's.
LANGUAGE_VARIABLES: Final = ("ARMOIRE_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


#: Of the practice, from the moment the box is opened; None: the machine's.
_ZONE: ContextVar[tzinfo | None] = ContextVar("zone", default=None)


def language_of(environment: Mapping[str, str]) -> Language:
    """Return the language a person asked for; «C» and «POSIX» ask for none."""
    for name in LANGUAGE_VARIABLES:
        value = environment.get(name, "").lower()
        if value.startswith("fr"):
            return "fr"
        if value.startswith("en"):
            return "en"
    return DEFAULT


def exit_code_of(error: ArmoireError) -> ExitCode:
    """Return the exit code for an error."""
    match error:
        case Refused() | WouldOverwrite():
            return ExitCode.REFUSED
        case InputError():
            return ExitCode.WRONG_USAGE
        case _:
            return ExitCode.FAILED


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found or did."""

    #: The one object ``--json`` prints.
    body: Mapping[str, object]
    #: Prints the same for a person.
    show: Callable[[Console], None]
    exit_code: ExitCode = ExitCode.DONE


def nothing_to_show(_out: Console) -> None:
    """Print nothing: what there was to see is on the screen already."""


def _console(*, stderr: bool = False) -> Console:
    # No markup: «[red]» in the name of a file is part of the name.
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=not stderr)
    if not made.is_terminal:
        made.width = FILE_COLUMNS  # a file has no 80 columns
    return made


@dataclass
class Session:
    """One run of the command line."""

    data: Path | None = None
    as_json: bool = False
    language: Language = field(default_factory=lambda: language_of(os.environ))
    out: Console = field(default_factory=_console)
    #: Progress and errors: standard output is the answer's alone.
    err: Console = field(default_factory=lambda: _console(stderr=True))

    def __post_init__(self) -> None:
        _ZONE.set(None)

    @property
    def folder(self) -> Path:
        """The data folder: ``--data``, ARMOIRE_DATA, or ``./var``."""
        return self.data or Path(os.environ.get("ARMOIRE_DATA") or "var")

    @cached_property
    def settings(self) -> Settings:
        """The settings of the box in the data folder.

        Raises:
            SettingsInvalid: the settings file cannot be used.
        """
        return load(self.folder)

    @cached_property
    def database(self) -> Database:
        """The state database of the box.

        Raises:
            NotInitialised: there is no box in the data folder.
            DatabaseUnusable: it is damaged, or newer than this program.
        """
        found = open_database(self.settings.database)
        with found.read() as connection:
            _ZONE.set(ZoneInfo(practice.in_force(connection, self.settings).time_zone))
        return found

    @property
    def zone(self) -> ZoneInfo:
        """The practice's time zone.

        Raises:
            NotInitialised, DatabaseUnusable: as ``database``.
        """
        return ZoneInfo(self.in_force.time_zone)

    @property
    def in_force(self) -> Settings:
        """The settings, with what the practice chose in their place.

        Raises:
            NotInitialised, DatabaseUnusable: as ``database``.
        """
        with self.database.read() as connection:
            return practice.in_force(connection, self.settings)

    def say(self, text: str, **facts: object) -> str:
        """Return ``text`` in the reader's language."""
        return translate(text, self.language, **facts)

    def say_count(self, one: str, many: str, count: int, **facts: object) -> str:
        """Return the form for ``count`` in the reader's language."""
        return translate_count(one, many, count, self.language, **facts)

    def tell(self, text: str, **facts: object) -> None:
        """Print a line beside the answer, on standard error."""
        self.err.print(self.say(text, **facts))

    def confirm(self, question: str) -> bool:
        """Return whether a person says yes, in either language; nobody to ask means no."""
        if self.as_json or not sys.stdin.isatty():
            return False
        self.err.print(f"{question} [{'o/N' if self.language == 'fr' else 'y/N'}] ", end="")
        return sys.stdin.readline().strip().lower() in {"o", "oui", "y", "yes"}

    def give(self, answer: Answer) -> None:
        """Print an answer on standard output."""
        if self.as_json:
            self.out.file.write(as_json(answer.body) + "\n")
        else:
            answer.show(self.out)

    def give_error(self, error: ArmoireError) -> None:
        """Say what went wrong and what to do next."""
        message = explain(error, self.language)
        if self.as_json:
            body = {"code": error.code, "message": message, "facts": error.facts}
            self.out.file.write(as_json({"error": body}) + "\n")
        else:
            self.err.print(message, style="red")

    def close(self) -> None:
        """Close what was opened."""
        if "database" in self.__dict__:
            self.database.close()


def as_json(body: object) -> str:
    """Return one line of JSON; times as ISO 8601 in UTC, bytes as text."""
    return orjson.dumps(body, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(type(value).__name__)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a plain table; cells are text as it is, whatever it looks like."""
    made = Table(box=None, pad_edge=False, show_header=any(titles))
    for title in titles:
        made.add_column(Text(title, style="dim"), overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def clean(name: bytes | str) -> str:
    """Return a name as a terminal may show it: no control character reaches it.

    A file's name is chosen by whoever made the file; an escape sequence in it must stay text.
    """
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return "".join(each if each.isprintable() else "�" for each in text)


def when(moment: datetime | None) -> str:
    """Return a time as a person of the practice reads it, to the minute; «–» for none.

    The machine's own zone counts where no box was opened: after a fire, at a colleague's.
    """
    return "–" if moment is None else moment.astimezone(_ZONE.get()).strftime("%Y-%m-%d %H:%M")


def wrong(name: str, expected: str) -> InvalidInput:
    """Return the error for a value that cannot be used; ``expected`` is a translatable sentence."""
    return InvalidInput(name, expected)
