"""``armoire clock``: a clock that was wrong and is right again."""

import click
from rich.console import Console

from appliance.clock import utc_now
from appliance.commands.framework import Group, answers
from appliance.commands.session import Answer, Session, when
from appliance.jobs import clock_watch
from appliance.language import mark


@click.group("clock", cls=Group, help=mark("The clock of the box."))
def clock() -> None:
    """Hold the commands about the clock."""


@clock.command(
    "accept",
    help=mark(
        "Say that the clock is right now, although older records are dated later.\n\n"
        "Look at the time that is shown before and after: nights begin again from it."
    ),
)
@answers
def accept(session: Session) -> Answer:
    """Take the time of now for right."""
    now = utc_now()
    with session.database.write() as connection:
        clock_watch.accept(connection, now=now, actor="command")

    def show(out: Console) -> None:
        out.print(
            session.say(
                mark("The clock says %(now)s; that is taken for right. Nights go on from here."),
                now=when(now),
            )
        )

    return Answer({"now": now}, show)
