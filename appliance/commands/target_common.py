"""What the commands about targets share."""

import sys
from collections.abc import Sequence
from typing import Final

import click

from appliance.commands.following import enqueue, exit_code_of, follow
from appliance.commands.jobs import job_body, source_names
from appliance.commands.session import ExitCode, Session, wrong
from appliance.db import targets
from appliance.db.targets import TargetRow
from appliance.errors import SendingNotAllowed
from appliance.jobs import target_setup
from appliance.jobs.kinds import AdoptCopy, Spec, TamperCopy
from appliance.language import mark
from appliance.model import Job
from appliance.policy.hosting import Nature
from appliance.policy.target_check import CheckOutcome

NATURE_NAMES: Final = {
    Nature.SAME_PRACTICE_HERE: mark("the practice itself, in this building"),
    Nature.SAME_PRACTICE_ELSEWHERE: mark("the practice itself, in another building"),
    Nature.CERTIFIED_HOST: mark("a certified health-data host"),
    Nature.OTHER: mark("neither the practice nor a certified host: refused"),
}
KIND_NAMES: Final = {
    "directory": mark("disk or folder"),
    "sftp": mark("SFTP host"),
    "s3": mark("S3 bucket"),
    "box": mark("another Armoire"),
}
OUTCOME_SIGNS: Final = {
    CheckOutcome.OK: ("✓", "green"),
    CheckOutcome.WARNING: ("!", "yellow"),
    CheckOutcome.FAILED: ("✗", "red"),
    CheckOutcome.SKIPPED: ("–", "dim"),
}


def find(session: Session, name: str) -> TargetRow:
    """Return the living target of this name.

    Raises:
        NotFound: there is none.
    """
    with session.database.read() as connection:
        return targets.get_by_name(connection, name)


def target_body(row: TargetRow) -> dict[str, object]:
    """Return a target as ``--json`` shows it; no secret is in a row."""
    return {
        "id": row.id,
        "name": row.name,
        "label": row.label,
        "kind": row.kind,
        "nature": row.nature,
        "distance_km": row.distance_km,
        "place": row.place,
        "bandwidth": row.bandwidth,
        "created_at": row.created_at,
        "public_key": row.facts.get(target_setup.PUBLIC_KEY),
        "offered_host_key": row.facts.get(target_setup.OFFERED_HOST_KEY),
    }


def reloaded(session: Session, row: TargetRow) -> TargetRow:
    """Return the target as it is now."""
    with session.database.read() as connection:
        return targets.get(connection, row.id)


def ask(session: Session, what: str, *, hide: bool = True) -> str:
    """Return what a person types, or the next line of standard input.

    Raises:
        InvalidInput: nothing was given.
    """
    if sys.stdin.isatty():
        typed: str = click.prompt(session.say(what), hide_input=hide, err=True)
    else:
        typed = sys.stdin.readline().rstrip("\n")
    if not typed:
        raise wrong(session.say(what), mark("Nothing was given on standard input."))
    return typed


def followed(
    session: Session, name: str, kind: type[TamperCopy] | type[AdoptCopy]
) -> tuple[TargetRow, list[Job]]:
    """Run a job on a target to its end.

    Raises:
        NotFound: there is no such target.
    """
    row = find(session, name)
    spec: Spec = kind(row.id)
    return row, follow(session, [enqueue(session, spec)])


def job_bodies(session: Session, jobs: Sequence[Job]) -> list[dict[str, object]]:
    """Return jobs as ``--json`` shows them."""
    names = source_names(session)
    return [job_body(each, names) for each in jobs]


def refused_if(jobs: Sequence[Job]) -> ExitCode:
    """Return the exit code of jobs that the rules of hosting may have refused."""
    if any(each.error_code == SendingNotAllowed.code for each in jobs):
        return ExitCode.REFUSED
    return exit_code_of(jobs)
