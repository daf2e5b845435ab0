"""``armoire machine``: the machines of the practice."""

import click
from rich.console import Console

from appliance.commands.following import enqueue, exit_code_of, follow
from appliance.commands.framework import Group, answers, option
from appliance.commands.jobs import job_body, source_names
from appliance.commands.machine_adding import add, confirm
from appliance.commands.pushing import push_key, push_passphrase, push_script
from appliance.commands.session import Answer, Session
from appliance.commands.sources import list_sources, machine_named, remove_source
from appliance.db import sources
from appliance.jobs.kinds import CheckMachine
from appliance.language import mark
from appliance.model import SourceKind


@click.group("machine", cls=Group, help=mark("The machines of the practice."))
def machine() -> None:
    """Hold the commands about machines."""


@machine.command("list", help=mark("List the machines."))
@answers
def list_machines(session: Session) -> Answer:
    """List machines."""
    return list_sources(session, {SourceKind.PULLED, SourceKind.PUSHED}, "machines")


@machine.command("check", help=mark("Try a machine and say in words what works."))
@click.argument("name")
@answers
def check(session: Session, name: str) -> Answer:
    """Try a machine."""
    source = machine_named(session, name)
    job_id = enqueue(session, CheckMachine(source.id))
    jobs = follow(session, [job_id])
    from appliance.backup_jobs.check_machine import CHECK  # noqa: PLC0415 - heavy
    from appliance.backup_jobs.machines import CheckOutcome, CheckResult  # noqa: PLC0415

    with session.database.read() as connection:
        stored = sources.facts(connection, source.id).get(CHECK)
    results = stored["results"] if isinstance(stored, dict) and stored["job"] == job_id else []
    checks = [CheckResult(**{**each, "outcome": CheckOutcome(each["outcome"])}) for each in results]
    signs = {CheckOutcome.OK: "✓", CheckOutcome.WARNING: "!", CheckOutcome.FAILED: "✗"}

    def show(out: Console) -> None:
        for each in checks:
            out.print(f"{signs.get(each.outcome, '–')} {each.words(session.language)}")

    body = {
        "name": name,
        "checks": [
            {
                "check": each.name,
                "outcome": each.outcome.value,
                "text": each.words(session.language),
                "facts": each.facts,
            }
            for each in checks
        ],
        "job": job_body(jobs[0], source_names(session)),
    }
    return Answer(body, show, exit_code_of(jobs))


@machine.command(
    "remove", help=mark("Stop backing a machine up. What was kept stays on the disk of the box.")
)
@click.argument("name")
@option("--yes", is_flag=True, help=mark("Do not ask."))
@answers
def remove(session: Session, name: str, *, yes: bool) -> Answer:
    """Stop backing a machine up."""
    return remove_source(session, machine_named(session, name), yes=yes)


for _command in (add, confirm, push_key, push_script, push_passphrase):
    machine.add_command(_command)
