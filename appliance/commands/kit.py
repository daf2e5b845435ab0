"""``armoire kit``: the sheets and the file with which the box is made again; never a word in argv."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from appliance.clock import utc_now
from appliance.commands.framework import Group, answers, option
from appliance.commands.recover_words import read_words
from appliance.commands.session import Answer, ExitCode, Session, when
from appliance.commands.target_common import ask, find
from appliance.db import practice
from appliance.errors import InvalidInput
from appliance.jobs import kit_access, kit_readings, kit_words, target_setup
from appliance.jobs.kit_words import KitPlan, KitState
from appliance.language import mark
from appliance.vault.secret import Secret

_TO = click.Path(path_type=Path)


@click.group(
    "kit",
    cls=Group,
    help=mark("The recovery kit: sheets with words, and a file for a USB stick."),
)
def kit() -> None:
    """Hold the commands about the kit."""


@kit.command("show", help=mark("Say how it stands with the kit, and what it needs."))
@answers
def show(session: Session) -> Answer:
    """Show the kit's state; no secret."""
    now = utc_now()
    with session.database.read() as connection:
        known = kit_words.state(connection)
        findings = kit_readings.kit_findings(connection, now)
        is_fresh = kit_readings.is_file_fresh(connection)

    def lines(out: Console) -> None:
        _show_state(session, out, known)
        for each in findings:
            out.print(f"! {each.words(session.language)} {each.action_words(session.language)}")

    body = {
        **_body(known),
        "is_file_fresh": is_fresh,
        "findings": [each.code for each in findings],
    }
    return Answer(body, lines, ExitCode.WARNED if findings else ExitCode.DONE)


@kit.command("make", help=mark("Make the kit's secret, once; «armoire init» does it already."))
@answers
def make(session: Session) -> Answer:
    """Make the recovery secret and the signing key where there are none."""
    from appliance.replication import kit as kits  # noqa: PLC0415 - heavy

    with session.database.write() as connection:
        recipient = kits.make(connection, session.settings.keys, now=utc_now())
        known = kit_words.state(connection)
    return Answer(
        {"recipient": recipient, **_body(known)},
        lambda out: _show_state(session, out, known),
    )


@kit.command(
    "split", help=mark("Choose who keeps the sheets: one, or three of which two are needed.")
)
@option("--holder", "holders", multiple=True, required=True, metavar="NAME",
        help=mark("Who keeps a sheet; once or three times."))  # fmt: skip
@answers
def split(session: Session, holders: tuple[str, ...]) -> Answer:
    """Choose the holders and make the words; print them with «kit print»."""
    from appliance.replication.kit_documents import sheets_now  # noqa: PLC0415 - heavy

    plan = _plan(holders)
    now = utc_now()
    with session.database.write() as connection:
        kit_words.choose(connection, plan, now=now)
        sheets = sheets_now(connection, session.settings, now=now)
        known = kit_words.state(connection)

    def lines(out: Console) -> None:
        _show_state(session, out, known)
        out.print(session.say(mark("Print them: «armoire kit print --to FOLDER».")))

    listed = [{"number": each.number, "holder": each.holder} for each in sheets]
    body = {"number": sheets[0].kit_number, "needed": plan.needed, "sheets": listed}
    return Answer(body, lines)


@kit.command(
    "print",
    help=mark(
        "Write the sheets as pages to print, one file each, readable by you alone.\n\n"
        "Print them, hand them over, and remove the files: whoever reads them opens every copy."
    ),
)
@option("--to", "folder", type=_TO, required=True, metavar="FOLDER",
        help=mark("Where the pages go; best a folder in memory such as /dev/shm."))  # fmt: skip
@option("--sheet", "number", type=int, default=None, metavar="N",
        help=mark("Only this sheet."))  # fmt: skip
@answers
def print_(session: Session, folder: Path, number: int | None) -> Answer:
    """Write the pages."""
    from appliance.replication.kit_documents import print_sheet, sheets_now  # noqa: PLC0415

    now = utc_now()
    written: list[Path] = []
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with session.database.write() as connection:
        settings = practice.in_force(connection, session.settings)
        known = sheets_now(connection, settings, now=now)
        wanted = [each.number for each in known] if number is None else [number]
        for one in wanted:
            page = print_sheet(connection, settings, one, language=session.language, now=now)
            path = folder / f"{'feuille' if session.language == 'fr' else 'sheet'}-{one}.html"
            write_private(path, page)
            written.append(path)

    def lines(out: Console) -> None:
        for path in written:
            out.print(str(path))
        out.print(
            session.say(
                mark(
                    "Open each in a browser, print it, then remove the files: they hold the words."
                )
            )
        )

    return Answer({"number": known[0].kit_number, "files": [str(each) for each in written]}, lines)


@kit.command(
    "confirm",
    help=mark(
        "Type the words of the sheets: they are compared, then the box forgets them.\n\n"
        "The first time, at the yearly rehearsal, and to put a new kit in force."
    ),
)
@option("--words-fd", type=int, default=None, metavar="N",
        help=mark("Read the words from this file descriptor, one sheet a line."))  # fmt: skip
@answers
def confirm(session: Session, words_fd: int | None) -> Answer:
    """Check the words."""
    secret = read_words(session, words_fd)
    with session.database.write() as connection:
        what = kit_words.confirm_secret(connection, secret, now=utc_now())
        known = kit_words.state(connection)
    session.database.forget_for_good()

    def lines(out: Console) -> None:
        out.print(session.say(_WHAT[what]))

    return Answer({"what": what, **_body(known)}, lines)


@kit.command("file", help=mark("Write the kit file: where the copies are, sealed with the words."))
@option("--to", "path", type=_TO, required=True, metavar="FILE",
        help=mark("The file, or a folder such as a USB stick's; an older kit file is replaced."))  # fmt: skip
@answers
def file(session: Session, path: Path) -> Answer:
    """Write the kit file."""
    from appliance.replication.kit_documents import write_file  # noqa: PLC0415 - heavy
    from appliance.replication.kit_file import NAME, targets_in  # noqa: PLC0415

    place = path / NAME if path.is_dir() else path
    with session.database.write() as connection:
        content = write_file(connection, session.settings, now=utc_now())
        named = targets_in(connection)
        write_private(place, content)

    def lines(out: Console) -> None:
        out.print(session.say(mark("Written: %(path)s"), path=place))
        for label, reads_only in named:
            text = (
                mark("  %(label)s: with credentials that only read")
                if reads_only
                else mark("  %(label)s: with the credentials the box sends with")
            )
            out.print(session.say(text, label=label))

    targets = [{"label": label, "reads_only": reads_only} for label, reads_only in named]
    return Answer({"file": str(place), "targets": targets}, lines)


@kit.command(
    "rekey",
    help=mark(
        "Make a new kit, after a holder left or a sheet was lost.\n\n"
        "It holds once its own words were typed («kit confirm»). With the words of the kit before it "
        "opens what was sent in its time too; with --resend everything is sent again."
    ),
)
@option("--holder", "holders", multiple=True, metavar="NAME",
        help=mark("Who keeps a sheet; once or three times."))  # fmt: skip
@option("--words-fd", type=int, default=None, metavar="N",
        help=mark("Read the words from this file descriptor, one sheet a line."))  # fmt: skip
@option("--resend", is_flag=True,
        help=mark("Send everything again, sealed to the new kit."))  # fmt: skip
@option("--words-lost", is_flag=True,
        help=mark("The words of the kit before are lost; needs --resend."))  # fmt: skip
@option("--abandon", is_flag=True, help=mark("Give up a new kit that does not hold yet."))
@answers
def rekey(
    session: Session,
    holders: tuple[str, ...],
    words_fd: int | None,
    resend: bool,  # noqa: FBT001 - click gives it so
    words_lost: bool,  # noqa: FBT001
    abandon: bool,  # noqa: FBT001
) -> Answer:
    """Begin, or give up, a new kit."""
    now = utc_now()
    if abandon:
        with session.database.write() as connection:
            kit_words.abandon_next(connection, now=now)
            known = kit_words.state(connection)
        session.database.forget_for_good()
        return Answer(_body(known), lambda out: _show_state(session, out, known))
    plan = _plan(holders)
    if words_lost and not resend:
        raise InvalidInput("words-lost", mark("together with --resend."))
    former = None if words_lost else read_words(session, words_fd)
    with session.database.write() as connection:
        kit_words.rekey(connection, session.settings, plan, former=former, resend=resend, now=now)
        known = kit_words.state(connection)

    def lines(out: Console) -> None:
        _show_state(session, out, known)
        out.print(
            session.say(
                mark(
                    "Next: «armoire kit print --to FOLDER», then «armoire kit confirm» with the new "
                    "words. Until then the former sheets hold."
                )
            )
        )

    return Answer(_body(known), lines)


@kit.command(
    "access",
    help=mark(
        "Enter credentials that can only read a destination, for the kit file.\n\n"
        "They are typed, or come on standard input: a password, or the two keys of a bucket."
    ),
)
@click.argument("target")
@option("--user", default="", help=mark("The account they are for, on an SFTP host."))
@option("--key-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=None,
        help=mark("A file with an OpenSSH private key, instead of a password."))  # fmt: skip
@option(
    "--forget",
    is_flag=True,
    help=mark("Erase them: the kit file then holds those the box sends with."),
)
@answers
def access(
    session: Session,
    target: str,
    user: str,
    key_file: Path | None,
    forget: bool,  # noqa: FBT001 - click gives it so
) -> Answer:
    """Keep, or erase, credentials for reading."""
    row = find(session, target)
    given: dict[str, Secret] = {}
    if forget:
        pass
    elif row.kind == "s3":
        access_key = ask(session, mark("Access key"), hide=False)
        given["s3"] = target_setup.s3_secret(access_key, ask(session, mark("Secret key")))
    elif key_file is not None:
        given["key"] = Secret(key_file.read_bytes())
    elif row.kind in kit_access.READING:
        given["password"] = Secret(ask(session, mark("Password")).encode())
    with session.database.write() as connection:
        if forget:
            kit_access.forget_reading(connection, row.id)
        else:
            kit_access.set_reading(
                connection, session.settings, row, given, user=user, now=utc_now()
            )
    return Answer(
        {"target": row.name, "reads_only": not forget},
        lambda out: out.print(session.say(mark("Write the kit file again: «armoire kit file»."))),
    )


_WHAT = {
    "confirmed": mark("Right: these words open the copies. The box has forgotten them."),
    "rehearsed": mark("Right: these words open the copies. The next rehearsal is in a year."),
    "taken-over": mark(
        "Right: the new kit holds from now on. See that the kit file is up to date, then burn the former sheets."
    ),
}


def _plan(holders: Sequence[str]) -> KitPlan:
    return kit_words.checked_plan(1 if len(holders) == 1 else 2, holders)


def _body(known: KitState) -> dict[str, object]:
    return {"kit": asdict(known)}


def _show_state(session: Session, out: Console, known: KitState) -> None:
    if not known.is_made:
        out.print(session.say(mark("There is no kit yet: «armoire kit make».")))
        return
    shown = [
        (known.plan, known.number, mark("Kit %(number)s: %(needed)s of %(sheets)s (%(holders)s)"))
    ]
    if known.next is not None:
        shown.append(
            (
                known.next.plan,
                known.next.number,
                mark(
                    "New kit %(number)s: %(needed)s of %(sheets)s (%(holders)s), not in force yet"
                ),
            )
        )
    for plan, number, text in shown:
        if plan is None:
            out.print(
                session.say(mark("Nobody chose yet who keeps the sheets: «armoire kit split»."))
            )
            continue
        out.print(
            session.say(
                text,
                number=number or "–",
                needed=plan.needed,
                sheets=len(plan.holders),
                holders=", ".join(plan.holders),
            )
        )
    out.print(session.say(mark("Words typed: %(moment)s"), moment=when(known.confirmed_at)))
    out.print(session.say(mark("Kit file written: %(moment)s"), moment=when(known.file_written_at)))


def write_private(path: Path, content: bytes) -> None:
    """Write a file for us alone, whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    draft.unlink(missing_ok=True)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as writing:
            writing.write(content)
            writing.flush()
            os.fsync(writing.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InvalidInput("to", mark("a place that can be written to.")) from error
