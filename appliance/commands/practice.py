"""``armoire settings show | set``: what the practice chose, at the console of the box."""

import click
from rich.console import Console

from appliance.accounts import practice_settings
from appliance.clock import utc_now
from appliance.commands.framework import Group, answers
from appliance.commands.session import Answer, Session, clean, table
from appliance.language import mark
from appliance.policy.practice_settings import BY_KEY, SETTINGS, Value, setting


@click.group(
    "settings",
    cls=Group,
    help=mark(
        "What the practice chooses: its name, nights, sign-in, links, bin, journal.\n\n"
        "The same as the page «Settings»; what is set here holds at once."
    ),
)
def settings() -> None:
    """Hold the commands about what the practice chooses."""


def _complete(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    return [key for key in BY_KEY if key.startswith(begun)]


@settings.command("show", help=mark("Show every setting, or one."))
@click.argument("key", required=False, shell_complete=_complete)
@answers
def show(session: Session, key: str | None) -> Answer:
    """Show settings."""
    wanted = SETTINGS if key is None else (setting(key),)
    with session.database.read() as connection:
        values = practice_settings.read(connection, session.settings)

    def tell(out: Console) -> None:
        rows = [(each.key, _shown(session, values[each.key]), session.say(each.label))
                for each in wanted]  # fmt: skip
        out.print(table(("", "", ""), rows))

    return Answer({each.key: values[each.key] for each in wanted}, tell)


@settings.command("set", help=mark("Change a setting; the journal says that it was done here."))
@click.argument("key", shell_complete=_complete)
@click.argument("value")
@answers
def change(session: Session, key: str, value: str) -> Answer:
    """Change a setting."""
    now = utc_now()
    with session.database.write() as connection:
        changed = practice_settings.change(
            connection,
            session.settings,
            {key: value},
            may=lambda _action: True,  # who is at the console of the box owns it
            person_id=None,
            now=now,
        )
        values = practice_settings.read(connection, session.settings)

    def tell(out: Console) -> None:
        if not changed:
            out.print(session.say(mark("It was so already.")))
        for each in changed:
            out.print(f"{each} = {_shown(session, values[each])}", markup=False)

    return Answer({"changed": changed, key: values[key]}, tell)


def _shown(session: Session, value: Value) -> str:
    if isinstance(value, bool):
        return session.say(mark("yes")) if value else session.say(mark("no"))
    return clean(str(value).replace("\n", " / ")) or "–"
