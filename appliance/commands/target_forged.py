"""``armoire target forged``: what somebody else wrote at a place in the box's name, and a person's word on it."""

import click
from rich.console import Console

from appliance.clock import utc_now
from appliance.commands.framework import Command, answers, complete_targets
from appliance.commands.session import Answer, Session, table, when
from appliance.commands.target_common import find
from appliance.db import forged as forged_rows
from appliance.jobs import copy_forged
from appliance.language import mark


@click.command(
    "forged",
    cls=Command,
    help=mark(
        "List what somebody else wrote at a destination in the name of this box.\n\n"
        "It is left aside for ever. While nobody looked at it nothing is removed there: with "
        "--accept you say that its password or key was changed, and that no other box uses it."
    ),
)
@click.argument("name", shell_complete=complete_targets)
@click.option("--accept", is_flag=True, help=mark("Old copies may be removed there again."))
@answers
def forged(session: Session, name: str, *, accept: bool) -> Answer:
    """List, or accept, forged objects."""
    row = find(session, name)
    now = utc_now()
    if accept:
        with session.database.write() as connection:
            accepted = copy_forged.accept(connection, row.id, person=None, now=now)
    else:
        accepted = 0
    with session.database.read() as connection:
        found = forged_rows.of_target(connection, row.id)

    def show(out: Console) -> None:
        if not found:
            out.print(session.say(mark("Nobody else wrote there.")))
            return
        titles = (mark("object"), mark("found on"), mark("looked at on"))
        out.print(
            table(
                [session.say(each) for each in titles],
                [(each.name, when(each.found_at), when(each.passed_over_at)) for each in found],
            )
        )
        if accept:
            out.print(
                session.say(mark("Accepted: %(count)s. They stay left aside."), count=accepted)
            )

    body = {
        "target": row.name,
        "accepted": accepted,
        "forged": [
            {
                "object": each.name,
                "sha256": each.sha256,
                "found_at": each.found_at,
                "accepted_at": each.passed_over_at,
            }
            for each in found
        ],
    }
    return Answer(body, show)
