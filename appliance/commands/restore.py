"""``armoire restore``: bring files back to a folder of the box, or to their machine."""

import getpass
import os
from pathlib import Path

import click
from rich.console import Console

from appliance.commands.following import enqueue, exit_code_of, follow
from appliance.commands.framework import Command, answers, complete_sources, option
from appliance.commands.jobs import job_body, source_names
from appliance.commands.places import look_up, parse_place
from appliance.commands.session import Answer, ExitCode, Session, wrong
from appliance.db import restore_sheets
from appliance.jobs.kinds import RestoreFiles
from appliance.language import mark
from appliance.model import Outcome
from appliance.packed import pack_path
from appliance.policy.wording import size_words


@click.command(
    "restore",
    cls=Command,
    help=mark(
        "Bring files and folders back, into a folder of the box or to their machine.\n\n"
        "Nothing is overwritten without --replace. Every restore leaves a restore sheet."
    ),
)
@click.argument(
    "places",
    nargs=-1,
    required=True,
    metavar="SOURCE@SNAPSHOT:PATH...",
    shell_complete=complete_sources,
)
@option("--to", "folder", type=click.Path(file_okay=False, path_type=Path),
        help=mark("Into this folder of the box."))  # fmt: skip
@option("--back", is_flag=True, help=mark("To the machine they came from, at their old place."))
@option("--at", "beside", help=mark("With --back: into this folder of the machine instead."))
@option("--replace", is_flag=True, help=mark("Files that are there already may be replaced."))
@option("--asked-by", default="", help=mark("Who asked for it, for the restore sheet."))
@answers
def restore(
    session: Session,
    places: tuple[str, ...],
    *,
    folder: Path | None,
    back: bool,
    beside: str | None,
    replace: bool,
    asked_by: str,
) -> Answer:
    """Restore."""
    if (folder is None) == (not back):
        raise wrong("--to", mark("Say either --to FOLDER or --back."))
    if beside is not None and not back:
        raise wrong("--at", mark("Only together with --back."))
    wanted = [parse_place(each) for each in places]
    if len({(each.source, each.snapshot) for each in wanted}) > 1:
        raise wrong("SOURCE@SNAPSHOT", mark("All of one restore come from one snapshot."))
    with session.database.read() as connection:
        source, snapshot = look_up(connection, wanted[0], session.zone)
    if folder is not None:
        destination, place = "folder", pack_path(os.fsencode(folder.absolute()))
    else:
        destination, place = "machine", pack_path(os.fsencode(beside)) if beside else ""
    job_id = enqueue(
        session,
        RestoreFiles(
            source.id,
            snapshot.id,
            tuple(pack_path(each.path) for each in wanted),
            destination,
            place=place,
            replace=replace,
            requested_by=asked_by or getpass.getuser(),
        ),
    )
    jobs = follow(session, [job_id])
    with session.database.read() as connection:
        sheet = next(
            (each for each in restore_sheets.newest(connection) if each.job_id == job_id), None
        )
    body = {
        "job": job_body(jobs[0], source_names(session)),
        "sheet": sheet,
        "source": source.name,
        "snapshot": snapshot.id,
    }

    def show(out: Console) -> None:
        if sheet is None:
            return
        out.print(
            session.say(
                mark(
                    "%(files)s files (%(size)s) are back; restore sheet no. %(sheet)s: %(check)s."
                ),
                files=sheet.files,
                size=size_words(sheet.bytes, session.language),
                sheet=sheet.id,
                check=session.say(CHECKS[sheet.check]),
            )
        )

    code = exit_code_of(jobs)
    # «Already there» is an answer, not a breakdown: nothing was overwritten.
    refused = any(each.error_code == "restore.would-overwrite" for each in jobs)
    return Answer(body, show, ExitCode.REFUSED if refused else code)


CHECKS = {
    Outcome.PROVEN: mark("compared, all right"),
    Outcome.FAILED: mark("compared, and something differs"),
    Outcome.INCONCLUSIVE: mark("not compared"),
}
