"""``armoire status``: the sentence of the home page, from proofs, and what needs doing."""

from typing import Final

import click
from rich.console import Console
from rich.text import Text

from appliance.clock import utc_now
from appliance.commands.following import has_worker
from appliance.commands.framework import Command, answers
from appliance.commands.session import Answer, ExitCode, Session
from appliance.jobs import queue, readings
from appliance.jobs.box_readings import box_findings
from appliance.language import mark
from appliance.model import JobState
from appliance.policy import status as policy
from appliance.policy.status import Level

COLOURS: Final = {
    Level.PROVEN: "green",
    Level.WARNED: "yellow",
    Level.LATE: "yellow",
    Level.OVERDUE: "red",
    Level.FAILED: "red",
    Level.FROZEN: "red",
}


@click.command(
    "status",
    cls=Command,
    help=mark("Say in one sentence how the backups are, from proofs, and what needs doing."),
)
@answers
def status(session: Session) -> Answer:
    """Say how it is."""
    now = utc_now()
    settings, zone = session.in_force, session.zone
    with session.database.read() as connection:
        statuses = [policy.source_status(each, now, zone) for each in readings.of_all(connection)]
        of_the_box = box_findings(connection, settings, now)
        waiting = queue.waiting(connection)
    alive = has_worker(session)
    running = sum(1 for each in waiting if each.state is JobState.RUNNING)
    level = policy.home_level(statuses)
    sentence = policy.home_sentence(statuses, session.language)
    findings = policy.needs_doing(statuses, of_the_box)

    def show(out: Console) -> None:
        out.print(Text(sentence, style=f"bold {COLOURS.get(level, 'default')}"))
        for each in findings:
            out.print(f"• {each.words(session.language)} {each.action_words(session.language)}")
        for one in statuses:
            out.print(f"  {policy.source_sentence(one, session.language)}")
        if waiting:
            out.print(
                session.say(
                    mark("%(running)s jobs run, %(queued)s wait."),
                    running=running,
                    queued=len(waiting) - running,
                )
            )

    body = {
        "level": level.value,
        "sentence": sentence,
        "findings": [
            {
                "code": each.code,
                "severity": each.severity.value,
                "text": each.words(session.language),
                "action": each.action_words(session.language),
                "source": each.source_id,
            }
            for each in findings
        ],
        "sources": [
            {
                "source": one.source_id,
                "label": one.label,
                "level": one.level.value,
                "sentence": policy.source_sentence(one, session.language),
                "backed_up_at": one.backed_up_at,
                "proven_at": one.proven_at,
            }
            for one in statuses
        ],
        "worker": alive,
        "jobs_running": running,
        "jobs_queued": len(waiting) - running,
    }
    return Answer(body, show, ExitCode.DONE)
