"""``armoire drill``: the box made again beside itself with the words of the sheets, and what it measured."""

import click
from rich.console import Console
from rich.text import Text

from appliance.clock import utc_now
from appliance.commands.following import follow
from appliance.commands.framework import Command, answers, option
from appliance.commands.recover_words import read_words
from appliance.commands.session import Answer, ExitCode, Session, table, when
from appliance.errors import NotFound
from appliance.jobs import drill_asking, drill_readings, drill_scratch
from appliance.jobs.drill_readings import PastDrill
from appliance.language import explain_stored, mark
from appliance.model import Job, JobId, JobState, Outcome
from appliance.policy import drill_sheet, drills
from appliance.policy.wording import size_words

COLOURS = {Outcome.PROVEN: "green", Outcome.INCONCLUSIVE: "yellow", Outcome.FAILED: "red"}


@click.command(
    "drill",
    cls=Command,
    help=mark(
        "Make the box again from a target, in a scratch place, with the words of the recovery sheets.\n\n"
        "Times it, compares what came back with the living box, removes everything, and leaves a proof "
        "and a sheet. Nothing changes at the target. Without TARGET, from the one with the newest copy."
    ),
)
@click.argument("target", required=False)
@option("--words-fd", type=int, metavar="N",
        help=mark("Read the words from this file descriptor, one sheet a line; asked otherwise."))  # fmt: skip
@option("--sheet", is_flag=True, help=mark("Show the sheet of the last exercise; nothing is run."))
@option("--list", "listed", is_flag=True, help=mark("Show every exercise; nothing is run."))
@answers
def drill(
    session: Session, target: str | None, *, words_fd: int | None, sheet: bool, listed: bool
) -> Answer:
    """Run a drill, or show what earlier ones measured."""
    if sheet or listed:
        return _past(session, target, listed=listed)
    with session.database.read() as connection:
        row = drill_asking.choose(connection, target)
    session.tell(mark("Exercise from «%(label)s»."), label=row.label)
    secret = read_words(session, words_fd)
    job_id = drill_asking.ask(session.database, session.settings, row.id, secret, now=utc_now())
    return follow_drill(session, job_id)


def follow_drill(session: Session, job_id: JobId) -> Answer:
    """Wait for a drill that was asked for, and return its sheet as the answer."""
    try:
        jobs = follow(session, [job_id])
    finally:
        drill_scratch.sweep(session.settings, session.database)  # killed, and no worker to look
    job = next(each for each in jobs if each.id == job_id)
    with session.database.read() as connection:
        seq = job.result.get("proof")
        past = drill_readings.find(connection, seq) if isinstance(seq, int) else None
    if past is None:
        return _without_verdict(session, job)
    found = past
    body = {"job": job.id, "state": job.state.value, "drill": _body(found)}
    return Answer(body, lambda out: show_sheet(session, found, out), _code(found, job))


def show_sheet(session: Session, past: PastDrill, out: Console) -> None:
    """Print the sheet of a drill."""
    language = session.language
    sentence = drill_sheet.sentence(past.drill, past.outcome, language)
    out.print(Text(sentence, style=f"bold {COLOURS[past.outcome]}"))
    for section in drill_sheet.sections(past.drill, language, session.zone):
        out.print(Text(f"\n{section.title}", style="bold"))
        shown = table(
            ("", "", ""), [(f"  {row.label}", row.value, row.note) for row in section.rows]
        )
        for row, style in zip(section.rows, shown.rows, strict=True):
            if row.is_wrong:
                style.style = "red"
        out.print(shown)
    if past.drill.repositories:
        out.print()
        out.print(
            table(
                [session.say(each) for each in (mark("Repository"), mark("Size"), mark("Back in"), mark("Check"))],
                [
                    (
                        each.label,
                        size_words(each.bytes, language),
                        drill_sheet.stopwatch(each.seconds, language),
                        session.say(drill_sheet.CHECKS.get(each.check, each.check)),
                    )
                    for each in past.drill.repositories
                ],
            )
        )  # fmt: skip


def _past(session: Session, target: str | None, *, listed: bool) -> Answer:
    with session.database.read() as connection:
        known = drill_readings.of_all(connection)
        if target is not None:
            wanted = drill_asking.choose(connection, target).id
            known = [each for each in known if each.target_id == wanted]
        right, first = drill_readings.last_right(connection), drill_readings.first_copy(connection)
    if listed:
        due = drills.next_due(right, first)
        return Answer(
            {"drills": [_body(each) for each in known], "next_due": due},
            lambda out: _show_list(session, known, out),
        )
    if not known:
        raise NotFound(mark("exercise"), target or "–")
    return Answer({"drill": _body(known[0])}, lambda out: show_sheet(session, known[0], out))


def _show_list(session: Session, known: list[PastDrill], out: Console) -> None:
    titles = (
        mark("Day"),
        mark("The copy"),
        mark("First document"),
        mark("Everything back"),
        mark("Verdict"),
    )
    out.print(
        table(
            [session.say(each) for each in titles],
            [
                (
                    when(each.at),
                    each.drill.target,
                    drill_sheet.stopwatch(each.drill.first_document_s, session.language),
                    drill_sheet.stopwatch(each.drill.restored_s, session.language),
                    session.say(drill_sheet.VERDICTS[each.outcome]),
                )
                for each in known
            ],
        )
    )  # fmt: skip


def _without_verdict(session: Session, job: Job) -> Answer:
    message = ""
    if job.error_code:
        message = explain_stored(job.error_code, job.error_facts, session.language)
    body = {"job": job.id, "state": job.state.value, "drill": None, "error": job.error_code}

    def show(out: Console) -> None:
        out.print(
            Text(
                message or session.say(mark("The exercise was stopped; nothing was proven by it."))
            )
        )

    return Answer(body, show, ExitCode.FAILED)


def _body(past: PastDrill) -> dict[str, object]:
    return {
        "proof": past.seq,
        "at": past.at,
        "outcome": past.outcome.value,
        **drills.to_figures(past.drill),
    }


def _code(past: PastDrill, job: Job) -> ExitCode:
    if past.outcome is Outcome.FAILED:
        return ExitCode.FAILED
    return ExitCode.DONE if job.state is JobState.SUCCEEDED else ExitCode.WARNED
