"""``armoire jobs`` and ``armoire job cancel``."""

from collections.abc import Mapping

import click
from rich.console import Console

from appliance.clock import utc_now
from appliance.commands.following import STATES, amount_words, seconds_words
from appliance.commands.framework import Command, Group, answers, option
from appliance.commands.session import Answer, ExitCode, Session, table, when
from appliance.db import sources
from appliance.jobs import queue
from appliance.jobs.kinds import KINDS
from appliance.language import explain_stored, mark
from appliance.ledger import events
from appliance.model import Job, JobId, JobState


def job_body(job: Job, names: Mapping[int, str]) -> dict[str, object]:
    """Return a job as ``--json`` shows it."""
    return {
        "id": job.id,
        "kind": job.kind,
        "source": None if job.source_id is None else names.get(job.source_id),
        "state": job.state.value,
        "attempt": job.attempt,
        "parent": job.parent_id,
        "queued_at": job.queued_at,
        "not_before": job.not_before,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "progress": job.progress,
        "error": None
        if job.error_code is None
        else {"code": job.error_code, "facts": job.error_facts},
        "result": job.result,
    }


def source_names(session: Session) -> dict[int, str]:
    """Return the names of the living sources by their numbers."""
    with session.database.read() as connection:
        return {each.id: each.name for each in sources.all_living(connection)}


@click.command("jobs", cls=Command, help=mark("List jobs, newest first."))
@option("--all", "everything", is_flag=True, help=mark("Ended ones too."))
@option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True,
        help=mark("At most so many."))  # fmt: skip
@answers
def jobs(session: Session, *, everything: bool, limit: int) -> Answer:
    """List jobs."""
    states = () if everything else (JobState.QUEUED, JobState.RUNNING)
    with session.database.read() as connection:
        found = queue.newest(connection, limit=limit, states=states)
    names = source_names(session)

    def show(out: Console) -> None:
        if not found:
            out.print(session.say(mark("Nothing waits and nothing runs. --all shows what ended.")))
            return
        titles = (mark("job"), mark("what"), mark("source"), mark("state"), mark("begun"), "")
        rows = [
            (
                str(each.id),
                _title(each, session),
                "–" if each.source_id is None else names.get(each.source_id, "–"),
                session.say(STATES[each.state]),
                when(each.started_at),
                _remark(each, session),
            )
            for each in found
        ]
        out.print(table([session.say(each) if each else "" for each in titles], rows))

    return Answer({"jobs": [job_body(each, names) for each in found]}, show)


def _title(job: Job, session: Session) -> str:
    kind = KINDS.get(job.kind)
    return session.say(kind.title) if kind else job.kind


def _remark(job: Job, session: Session) -> str:
    if job.error_code is not None:
        return explain_stored(job.error_code, job.error_facts, session.language)
    if job.state is JobState.RUNNING:
        return amount_words(job, job.progress.bytes_per_s, None, session.language)
    if job.started_at is not None and job.finished_at is not None:
        return seconds_words(job.started_at, job.finished_at)
    if job.state is JobState.QUEUED and job.not_before > utc_now():
        return session.say(mark("not before %(time)s"), time=when(job.not_before))
    return ""


@click.group("job", cls=Group, help=mark("One job."))
def job() -> None:
    """Hold the commands about one job."""


@job.command(
    "cancel", help=mark("Stop a job: a waiting one at once, a running one at its next step.")
)
@click.argument("job_id", type=int, metavar="ID")
@answers
def cancel(session: Session, job_id: int) -> Answer:
    """Stop a job."""
    now = utc_now()
    with session.database.write() as connection:
        state = queue.ask_cancel(connection, JobId(job_id), now=now)
        events.record(
            connection, at=now, event="job.cancel-asked", subject=f"job:{job_id}", actor="console"
        )
    text = {
        JobState.CANCELLED: mark("Job %(id)s is stopped."),
        JobState.RUNNING: mark("Job %(id)s was asked to stop; it stops at its next step."),
    }.get(state, mark("Job %(id)s had ended already."))
    code = ExitCode.DONE if state in {JobState.CANCELLED, JobState.RUNNING} else ExitCode.REFUSED
    return Answer(
        {"id": job_id, "state": state.value},
        lambda out: out.print(session.say(text, id=job_id)),
        code,
    )
