"""How a command is made: shared options, help in the reader's language, answers and exit codes."""

import gettext
import os
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec

import click

from appliance.commands.session import Answer, Session, language_of
from appliance.language import mark, translate

P = ParamSpec("P")

_DATA_HELP: Final = mark("The data folder of the box (or ARMOIRE_DATA; ./var otherwise).")
_JSON_HELP: Final = mark("Print one JSON object on standard output.")


def _words(text: str | None) -> str:
    return translate(text, language_of(os.environ)) if text else ""


def session_of(context: click.Context) -> Session:
    """Return the session of this run."""
    return context.ensure_object(Session)


def _keep_data(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        session_of(context).data = value


def _keep_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001
    if value:
        session_of(context).as_json = True


class Option(click.Option):
    """An option whose help is translated where it is shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option's line of the help."""
        english = self.help
        try:
            self.help = _words(english) or None
            return super().get_help_record(ctx)
        finally:
            self.help = english


def shared_options() -> list[click.Parameter]:
    """Return the options every command takes, before or after its own name."""
    folder = click.Path(file_okay=False, path_type=Path)
    return [
        Option(["--data"], type=folder, expose_value=False, is_eager=True, callback=_keep_data,
               help=_DATA_HELP, metavar="DIR"),
        Option(["--json"], is_flag=True, expose_value=False, is_eager=True, callback=_keep_json,
               help=_JSON_HELP),
    ]  # fmt: skip


class _Translated(click.Command):
    """Help texts are English in the code and translated where they are shown."""

    def get_short_help_str(self, limit: int = 90) -> str:  # noqa: ARG002 - click’s own
        """Return the first sentence of the help."""
        return _words(self.help).split("\n", 1)[0].strip()

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help."""
        english = self.help
        try:
            self.help = _words(english) or None
            super().format_help_text(ctx, formatter)
        finally:
            self.help = english


class Command(_Translated):
    """A command with the shared options."""

    def __init__(self, *given: Any, **options: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*given, **options)
        self.params += shared_options()


class Group(_Translated, click.Group):
    """A group whose commands take the shared options."""

    command_class = Command

    def __init__(self, *given: Any, **options: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*given, **options)
        self.params += shared_options()


Group.group_class = Group


class LateGroup(Group):
    """A group that imports a command when it is asked for: the others cost nothing.

    ``where`` maps a command's name to ``module:attribute``.
    """

    def __init__(self, *given: Any, where: dict[str, str], **options: Any) -> None:  # noqa: ANN401
        super().__init__(*given, **options)
        self._where = where

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own
        """Return the names in the order of the table, which is the order of use."""
        return list(self._where)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command by its name."""
        place = self._where.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found


def option(*names: str, **settings: Any) -> Callable[[Callable[P, None]], Callable[P, None]]:  # noqa: ANN401
    """Return ``click.option`` with a help that is translated where it is shown."""
    return click.option(*names, cls=Option, **settings)


def answers(function: Callable[Concatenate[Session, P], Answer]) -> Callable[P, None]:
    """Turn ``function(session, …) -> Answer`` into a click callback that prints and exits."""

    @wraps(function)
    def run(*given: P.args, **options: P.kwargs) -> None:
        context = click.get_current_context()
        session = session_of(context)
        answer = function(session, *given, **options)
        session.give(answer)
        if answer.exit_code:
            context.exit(answer.exit_code)

    return run


def complete_sources(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the names of sources that begin so, for the shell; nothing when there is no box."""
    from appliance.db import sources  # noqa: PLC0415 - only while somebody presses Tab
    from appliance.errors import ArmoireError  # noqa: PLC0415

    session = Session(data=context.find_root().params.get("data"))
    try:
        with session.database.read() as connection:
            found = [each.name for each in sources.with_files(connection)]
    except ArmoireError:
        return []
    finally:
        session.close()
    return [name for name in found if name.startswith(begun)]


def complete_targets(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the names of destinations that begin so, for the shell; nothing when there is no box."""
    from appliance.db import targets  # noqa: PLC0415 - only while somebody presses Tab
    from appliance.errors import ArmoireError  # noqa: PLC0415

    session = Session(data=context.find_root().params.get("data"))
    try:
        with session.database.read() as connection:
            found = [each.name for each in targets.all_living(connection)]
    except ArmoireError:
        return []
    finally:
        session.close()
    return [name for name in found if name.startswith(begun)]


def use_french_for_click() -> None:
    """Give click's own words («Usage», «Missing option») to the reader in French.

    Click asks ``gettext`` for them; it has no French of its own.
    """
    texts = {english: _words(english) for english in CLICK_TEXTS}
    plain = gettext.gettext

    def look_up(message: str) -> str:
        return texts.get(message) or plain(message)

    for name in ("core", "decorators", "exceptions", "formatting", "types"):
        module = import_module(f"click.{name}")
        if hasattr(module, "_"):
            setattr(module, "_", look_up)  # noqa: B010 - gettext's customary name, held by each


#: Of click's texts, those people meet.
CLICK_TEXTS: Final = (
    mark("Usage:"),
    mark("Options"),
    mark("Commands"),
    mark("Show this message and exit."),
    mark("Show the version and exit."),
    mark("Error: {message}"),
    mark("Try '{command} {option}' for help."),
    mark("Missing argument"),
    mark("Missing option"),
    mark("Missing parameter"),
    mark("Missing command."),
    mark("No such command {name!r}."),
    mark("No such option: {name}"),
    mark("Invalid value: {message}"),
    mark("Invalid value for {param_hint}: {message}"),
    mark("Got unexpected extra argument ({args})"),
)
