"""What a recipe is, and how it is read from TOML. Nothing here runs anything.

docs/recipes.fr.md explains the format to a practice's IT person; a test keeps both in step.
"""

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from appliance.errors import InvalidInput
from appliance.language import Language, mark
from appliance.model import Consistency, System
from appliance.settings import Settings

NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,40}")
VALUE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")
#: Folder of a snapshot under which the files made by recipes lie.
STREAMS_FOLDER: Final = "_armoire"


class StepKind(StrEnum):
    """What a step does."""

    STREAM = "stream"  # a command whose output becomes a file of the snapshot
    BEFORE = "before"  # a command before anything is read
    AFTER = "after"  # a command once everything is read, or was cut
    VSS = "vss"  # a Windows shadow copy that is read in place of the roots
    EDITOR_FOLDER = "editor-folder"  # the newest file of a folder must be fresh and whole


class ValueKind(StrEnum):
    """What a value of a recipe may be."""

    TEXT = "text"
    NAME = "name"  # of a database, a service, an account: never begins with «-»
    HOST = "host"
    PORT = "port"
    PATH = "path"  # absolute
    LIST = "list"  # names, parted by commas
    CHOICE = "choice"
    COMMAND = "command"  # a command line, run by the machine's own shell


class Content(StrEnum):
    """How a stream is looked at when it ends, on top of the program's exit code."""

    ANY = "any"  # not empty
    PG_CUSTOM = "pg-custom"
    PG_SQL = "pg-sql"
    MARIADB_SQL = "mariadb-sql"
    SQLITE = "sqlite"


@dataclass(frozen=True, slots=True)
class Words:
    """A text a person reads, as its author wrote it in both languages."""

    fr: str
    en: str

    def in_language(self, language: Language) -> str:
        """Return the text in ``language``."""
        return self.fr if language == "fr" else self.en


@dataclass(frozen=True, slots=True)
class Asked:
    """A value the recipe asks for."""

    name: str
    kind: ValueKind
    words: Words
    default: str | None  # None: it must be given
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing a recipe does. Commands see a value ``x`` as the shell variable ``$v_x``."""

    kind: StepKind
    command: str = ""  # POSIX shell; Linux and macOS
    windows: str = ""  # PowerShell
    path: str = ""  # stream: where it appears, under STREAMS_FOLDER/<recipe>/; «{item}»
    each: str = ""  # stream: once for each item of this list value, as ``$v_item``
    each_command: str = ""  # stream: what lists the items when the value is empty
    content: Content = Content.ANY
    folder: str = ""  # editor-folder: the value that names it
    names: str = ""  # editor-folder: the value that holds the pattern of names
    timeout_s: int = 3600


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an application is made consistent before it is read."""

    name: str
    title: Words
    about: Words
    systems: frozenset[System]
    level: Consistency
    level_from: str = ""  # the value that says the level, when the person must
    detect: tuple[str, ...] = ()  # patterns of paths that suggest this recipe
    programs: tuple[str, ...] = ()  # that must be on the machine
    any_program: tuple[str, ...] = ()  # of which one must be there
    secret: Words | None = None  # what the vault keeps for it, if anything
    values: tuple[Asked, ...] = ()
    steps: tuple[Step, ...] = field(default_factory=tuple)

    @property
    def needs_commands(self) -> bool:
        """Whether the machine must let the box run commands, not only read files."""
        return any(step.kind is not StepKind.EDITOR_FOLDER for step in self.steps)

    def fits(self, names: Iterable[str]) -> bool:
        """Whether one of the names of a folder is among those this recipe is for (``detect``)."""
        wanted = [pattern.rpartition("/")[2].lower() for pattern in self.detect]
        return any(fnmatchcase(name.lower(), pattern) for name in names for pattern in wanted)

    def level_reached(self, values: Mapping[str, str]) -> Consistency:
        """Return the level with these (resolved) values."""
        return Consistency(values[self.level_from]) if self.level_from else self.level

    def resolve(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return every value, checked, defaults filled in.

        Raises:
            InvalidInput: a value is unknown, missing, or not of its kind.
        """
        known = {asked.name: asked for asked in self.values}
        for name in given:
            if name not in known:
                raise InvalidInput(
                    f"{self.name}.{name}", mark("This recipe asks for no such value.")
                )
        found = {}
        for asked in self.values:
            value = given.get(asked.name, "").strip()
            if not value:
                if asked.default is None:
                    raise InvalidInput(f"{self.name}.{asked.name}", mark("A value is needed."))
                value = asked.default
            _check_value(f"{self.name}.{asked.name}", asked, value)
            found[asked.name] = value
        return found


def items_of(value: str) -> tuple[str, ...]:
    """Return the items of a list value."""
    return tuple(item.strip() for item in value.split(",") if item.strip())


def load_recipes(settings: Settings, names: Collection[str] | None = None) -> dict[str, Recipe]:
    """Return the recipes of the package and those of ``settings.recipes_folder``, by name.

    One of the folder takes the place of the package's one of that name.

    Args:
        settings: names the folder.
        names: only these are read: a broken recipe nobody uses stops no night.

    Raises:
        InvalidInput: a file is not a recipe; the text names the file and the field.
    """
    found: dict[str, Recipe] = {}
    texts: list[tuple[str, bytes]] = [
        (entry.name, entry.read_bytes())
        for entry in files("appliance.backup_jobs").joinpath("recipes").iterdir()
        if entry.name.endswith(".toml") and _wanted(entry.name, names)
    ]
    if settings.recipes_folder:
        texts += [
            (path.name, path.read_bytes())
            for path in Path(settings.recipes_folder).glob("*.toml")
            if _wanted(path.name, names)
        ]
    for file_name, text in texts:
        recipe = parse(file_name, text)
        found[recipe.name] = recipe
    return dict(sorted(found.items()))


def _wanted(file_name: str, names: Collection[str] | None) -> bool:
    return names is None or file_name.removesuffix(".toml") in names


def parse(file_name: str, text: bytes) -> Recipe:
    """Return the recipe in the TOML ``text``.

    Raises:
        InvalidInput: it is none; the name of the error is «file: field».
    """
    try:
        table = _Table(file_name, "", tomllib.loads(text.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(file_name, mark("This is not a TOML file in UTF-8.")) from error
    name = table.text("name")
    if not NAME.fullmatch(name) or file_name != f"{name}.toml":
        table.refuse("name", mark("It must be the name of the file, in small letters."))
    values = tuple(_asked(part) for part in table.tables("values"))
    by_name = {asked.name: asked for asked in values}
    if len(by_name) != len(values):
        table.refuse("values", mark("Two values have the same name."))
    steps = tuple(_step(part, by_name) for part in table.tables("steps"))
    if not steps:
        table.refuse("steps", mark("A recipe needs at least one step."))
    systems = frozenset(
        table.one_of(System, "systems", one) for one in table.texts("systems")
    ) or frozenset(System)
    level_from = table.text("level_from", "")
    if level_from and (level_from not in by_name or not by_name[level_from].choices):
        table.refuse("level_from", mark("It must name a value of the kind «choice»."))
    recipe = Recipe(
        name=name,
        title=table.words("title"),
        about=table.words("about"),
        systems=systems,
        level=table.one_of(Consistency, "level", table.text("level")),
        level_from=level_from,
        detect=table.texts("detect"),
        programs=table.texts("programs"),
        any_program=table.texts("any_program"),
        secret=table.words("secret") if table.has("secret") else None,
        values=values,
        steps=steps,
    )
    for system in systems:
        for position, step in enumerate(steps):
            if step.kind in _COMMANDS and not (
                step.windows if system is System.WINDOWS else step.command
            ):
                table.refuse(
                    f"steps[{position}]", mark("It has no command for one of the systems.")
                )
    table.end()
    return recipe


_COMMANDS: Final = (StepKind.STREAM, StepKind.BEFORE, StepKind.AFTER)


def _asked(table: "_Table") -> Asked:
    name = table.text("name")
    if not VALUE_NAME.fullmatch(name) or name in {"item", "secret"}:
        table.refuse("name", mark("Small letters, digits and «_»; not «item», not «secret»."))
    kind = table.one_of(ValueKind, "kind", table.text("kind", "text"))
    choices = table.texts("choices")
    if bool(choices) != (kind is ValueKind.CHOICE):
        table.refuse("choices", mark("A «choice» has choices, and nothing else has."))
    asked = Asked(
        name=name,
        kind=kind,
        words=Words(table.text("fr"), table.text("en")),
        default=table.text("default") if table.has("default") else None,
        choices=choices,
    )
    if asked.default:
        _check_value(f"{table.file}: {table.place}default", asked, asked.default)
    table.end()
    return asked


def _step(table: "_Table", values: Mapping[str, Asked]) -> Step:
    kind = table.one_of(StepKind, "kind", table.text("kind"))
    step = Step(
        kind=kind,
        command=table.text("command", ""),
        windows=table.text("windows", ""),
        path=table.text("path", ""),
        each=table.text("each", ""),
        each_command=table.text("each_command", ""),
        content=table.one_of(Content, "content", table.text("content", "any")),
        folder=table.text("folder", ""),
        names=table.text("names", ""),
        timeout_s=table.number("timeout_s", 3600),
    )
    if kind is StepKind.STREAM:
        if not step.path or step.path.startswith("/") or ".." in step.path.split("/"):
            table.refuse("path", mark("A relative path is needed, without «..»."))
        if step.each and (step.each not in values or values[step.each].kind is not ValueKind.LIST):
            table.refuse("each", mark("It must name a value of the kind «list»."))
        if bool(step.each) != ("{item}" in step.path):
            table.refuse("path", mark("«{item}» is needed with «each», and only with it."))
    if kind is StepKind.EDITOR_FOLDER:
        for given, name in ((step.folder, "folder"), (step.names, "names")):
            if given not in values:
                table.refuse(name, mark("It must name a value."))
    table.end()
    return step


def _check_value(place: str, asked: Asked, value: str) -> None:
    if "\0" in value:
        raise InvalidInput(place, mark("A value holds no NUL."))
    wrong, expected = False, ""
    match asked.kind:
        case ValueKind.TEXT | ValueKind.COMMAND:
            pass
        case ValueKind.NAME | ValueKind.HOST:
            wrong = value.startswith("-") or "\n" in value
            expected = mark("A name must not begin with «-».")
        case ValueKind.LIST:
            wrong = "\n" in value or any(item.startswith("-") for item in items_of(value))
            expected = mark("Names parted by commas; none begins with «-».")
        case ValueKind.PORT:
            wrong = bool(value) and not (
                value.isascii() and value.isdigit() and 0 < int(value) < 65_536
            )
            expected = mark("A port is a number from 1 to 65535.")
        case ValueKind.PATH:
            wrong = bool(value) and not (
                value.startswith(("/", "\\\\")) or re.match(r"[A-Za-z]:[\\/]", value)
            )
            expected = mark("A whole path is needed, from the root or the drive on.")
        case ValueKind.CHOICE:
            wrong = value not in asked.choices
            expected = mark("It must be one of the choices.")
    if wrong:
        raise InvalidInput(place, expected)


_E = TypeVar("_E", bound=StrEnum)


class _Table:
    """A TOML table that is read field by field; what nobody asked for is an error."""

    def __init__(self, file: str, place: str, values: object) -> None:
        self.file, self.place = file, place
        self._asked: set[str] = set()
        if not isinstance(values, dict):
            raise InvalidInput(f"{file}: {place}", mark("A table is needed here."))
        self._values: dict[str, object] = values

    def refuse(self, name: str, expected: str) -> NoReturn:
        raise InvalidInput(f"{self.file}: {self.place}{name}", expected)

    def has(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str | None = None) -> str:
        self._asked.add(name)
        value = self._values.get(name, default)
        if value is None:
            self.refuse(name, mark("This field is missing."))
        if not isinstance(value, str):
            self.refuse(name, mark("A text is needed here."))
        return str(value)

    def number(self, name: str, default: int) -> int:
        self._asked.add(name)
        value = self._values.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            self.refuse(name, mark("A number above 0 is needed here."))
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        self._asked.add(name)
        value = self._values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.refuse(name, mark("A list of texts is needed here."))
        return tuple(value)

    def tables(self, name: str) -> list["_Table"]:
        self._asked.add(name)
        value = self._values.get(name, [])
        if not isinstance(value, list):
            self.refuse(name, mark("It is written with double brackets."))
        return [
            _Table(self.file, f"{self.place}{name}[{position}].", one)
            for position, one in enumerate(value)
        ]

    def words(self, name: str) -> Words:
        self._asked.add(name)
        table = _Table(self.file, f"{self.place}{name}.", self._values.get(name, {}))
        words = Words(table.text("fr"), table.text("en"))
        table.end()
        return words

    def one_of(self, kind: type[_E], name: str, value: str) -> _E:
        try:
            return kind(value)
        except ValueError as error:
            raise InvalidInput(
                f"{self.file}: {self.place}{name}", mark("It must be one of the known words.")
            ) from error

    def end(self) -> None:
        for name in self._values:
            if name not in self._asked:
                self.refuse(name, mark("No such field. Is it written right?"))
