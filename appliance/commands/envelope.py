"""``armoire envelope show | seal | withdraw``: the emergency account in the safe, at the console of the box."""

from pathlib import Path

import click
from rich.console import Console

from appliance.accounts import sealed_envelope
from appliance.clock import utc_now
from appliance.commands.framework import Group, answers, option
from appliance.commands.kit import write_private
from appliance.commands.session import Answer, ExitCode, Session, clean, table, when
from appliance.commands.setting_up import base_url
from appliance.db import practice
from appliance.language import mark
from appliance.policy.envelope_sheet import EnvelopeSheet, sheet_html


@click.group(
    "envelope",
    cls=Group,
    help=mark("The sealed envelope: an emergency account on paper, good once."),
)
def group() -> None:
    """Hold the commands of the envelope."""


@group.command(
    "show", help=mark("Say whether there is one, where it is kept, and if it was opened.")
)
@answers
def show(session: Session) -> Answer:
    """Show the envelope in force; no code."""
    with session.database.read() as connection:
        found = sealed_envelope.find(connection)
    if found is None:
        return Answer(
            {"number": None},
            lambda out: out.print(session.say(mark("There is no sealed envelope."))),
            ExitCode.WARNED,
        )

    def tell(out: Console) -> None:
        say = session.say
        rows = [
            (say(mark("Number")), str(found.id)),
            (say(mark("Kept in")), clean(found.place)),
            (say(mark("Login")), found.login),
            (say(mark("Sealed on")), when(found.sealed_at)),
            (say(mark("Opened")), when(found.opened_at)),
        ]
        out.print(table(("", ""), rows))

    body = {
        "number": found.id,
        "login": found.login,
        "place": found.place,
        "sealed_at": found.sealed_at,
        "opened_at": found.opened_at,
        "opened_from": found.opened_from,
    }
    return Answer(body, tell, ExitCode.WARNED if found.opened_at else ExitCode.DONE)


@group.command(
    "seal",
    help=mark(
        "Make a new envelope and write its paper as a page to print; the former one ends.\n\n"
        "Print it, shut it away and remove the file: it holds the code."
    ),
)
@option(
    "--place", required=True, help=mark("Where it will be kept, such as «safe of the practice».")
)
@option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, metavar="FOLDER",
        help=mark("Where the page goes; best a folder in memory such as /dev/shm."))  # fmt: skip
@option("--address", default="", metavar="URL",
        help=mark("How the box is opened at the practice, such as https://armoire.local:8443."))  # fmt: skip
@answers
def seal(session: Session, place: str, folder: Path, address: str) -> Answer:
    """Make an envelope."""
    made = sealed_envelope.draft()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with session.database.write() as connection:
        envelope = sealed_envelope.seal(connection, made, place=place, by=None, now=utc_now())
        sheet = EnvelopeSheet(
            envelope.id,
            practice.name(connection),
            envelope.place,
            when(envelope.sealed_at),
            address or base_url(session.settings),
            made.login,
            made.code,
        )
        path = (
            folder / f"{'enveloppe' if session.language == 'fr' else 'envelope'}-{envelope.id}.html"
        )
        # Inside the write: an envelope whose paper was not written does not take the former one's place.
        write_private(path, sheet_html(sheet, language=session.language))

    def tell(out: Console) -> None:
        out.print(str(path))
        out.print(session.say(mark("Open it in a browser, print it, then remove the file.")))

    return Answer({"number": envelope.id, "login": made.login, "file": str(path)}, tell)


@group.command("withdraw", help=mark("End the envelope in force: its code opens nothing any more."))
@answers
def withdraw(session: Session) -> Answer:
    """End the envelope."""
    with session.database.write() as connection:
        number = sealed_envelope.get(connection).id
        sealed_envelope.withdraw(connection, by=None, now=utc_now())
    return Answer(
        {"number": number},
        lambda out: out.print(
            session.say(mark("Envelope %(number)s is withdrawn."), number=number)
        ),
    )
