"""``armoire share``: shares of the network disk, and folders of the box that are backed up like a machine."""

from pathlib import Path

import click

from appliance.clock import utc_now
from appliance.commands import shares as of_the_disk
from appliance.commands.following import enqueue, exit_code_of, follow
from appliance.commands.framework import Group, answers, option
from appliance.commands.session import Answer, Session
from appliance.commands.sources import check_name, list_sources, plan_of, remove_source, source_body
from appliance.db import sources
from appliance.errors import NotFound
from appliance.jobs.kinds import SetUpSource
from appliance.language import mark
from appliance.ledger import events
from appliance.model import SourceKind


@click.group("share", cls=Group, help=mark("The shares of the box."))
def share() -> None:
    """Hold the commands about shares."""


@share.command("add", help=mark("Add a folder of the box that is backed up like a machine."))
@click.argument("name")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@option("--label", help=mark("What people read instead of NAME."))
@option("--exclude", "excludes", multiple=True,
        help=mark("A Borg pattern of what is left out; may be given several times."))  # fmt: skip
@option("--window", metavar="20:00-06:00", help=mark("When its nights may begin."))
@answers
def add_share(
    session: Session,
    name: str,
    folder: Path,
    *,
    label: str | None,
    excludes: tuple[str, ...],
    window: str | None,
) -> Answer:
    """Add a share."""
    now = utc_now()
    with session.database.write() as connection:
        made = sources.add(
            connection,
            name=check_name(name),
            label=label or name,
            kind=SourceKind.SHARE,
            roots=(str(folder.absolute()),),
            now=now,
            excludes=excludes,
            plan=plan_of(window),
        )
        events.record(
            connection, at=now, event="source.added", subject=f"source:{made.id}", actor="console",
            kind=made.kind.value,
        )  # fmt: skip
    jobs = follow(session, [enqueue(session, SetUpSource(made.id))])
    return Answer(
        source_body(made),
        lambda out: out.print(session.say(mark("«%(name)s» is added."), name=made.name)),
        exit_code_of(jobs),
    )


@share.command("list", help=mark("List the shares."))
@answers
def list_shares(session: Session) -> Answer:
    """List shares."""
    return list_sources(session, {SourceKind.SHARE}, "shares")


@share.command(
    "remove", help=mark("Stop backing a share up. What was kept stays on the disk of the box.")
)
@click.argument("name")
@option("--yes", is_flag=True, help=mark("Do not ask."))
@answers
def remove_share(session: Session, name: str, *, yes: bool) -> Answer:
    """Stop backing a share up."""
    with session.database.read() as connection:
        found = sources.get_by_name(connection, name)
    if found.kind is not SourceKind.SHARE:
        raise NotFound("share", name)
    return remove_source(session, found, yes=yes)


for _command in (
    of_the_disk.make,
    of_the_disk.rights,
    of_the_disk.show,
    of_the_disk.bin_,
    of_the_disk.close,
):
    share.add_command(_command)
