"""``armoire ledger``: the journal and its chain."""

import click
from rich.console import Console

from appliance.commands.framework import Group, answers, option
from appliance.commands.session import Answer, Session, table, when
from appliance.language import mark
from appliance.ledger import chain


@click.group("ledger", cls=Group, help=mark("The journal: what was done and proven."))
def ledger() -> None:
    """Hold the commands about the journal."""


@ledger.command("verify", help=mark("Check every link of the chain."))
@answers
def verify(session: Session) -> Answer:
    """Check the chain."""
    with session.database.read() as connection:
        count = chain.verify(connection)
        last = chain.newest(connection, limit=1)
    digest = last[0].digest if last else None

    def show(out: Console) -> None:
        out.print(session.say(mark("The journal is whole: %(count)s entries."), count=count))
        if digest:
            out.print(
                session.say(
                    mark("Last digest: %(digest)s. Write it down elsewhere."), digest=digest
                )
            )

    return Answer({"entries": count, "digest": digest}, show)


@ledger.command("list", help=mark("List entries, newest first."))
@option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True,
        help=mark("At most so many."))  # fmt: skip
@answers
def list_entries(session: Session, *, limit: int) -> Answer:
    """List entries."""
    with session.database.read() as connection:
        found = chain.newest(connection, limit=limit)

    def show(out: Console) -> None:
        rows = [(str(e.seq), when(e.at), e.event, e.actor, e.subject) for e in found]
        out.print(table([""] * 5, rows))

    return Answer({"entries": found}, show)
