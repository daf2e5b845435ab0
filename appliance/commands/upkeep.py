"""``armoire verify``, ``prune`` and ``catalogue rebuild``: looking after repositories."""

import click
from rich.console import Console

from appliance.clock import utc_now
from appliance.commands.backup import OUTCOMES
from appliance.commands.following import enqueue, exit_code_of, follow
from appliance.commands.framework import Command, Group, answers, complete_sources, option
from appliance.commands.jobs import job_body, source_names
from appliance.commands.session import Answer, ExitCode, Session, when
from appliance.db import repositories, snapshots, sources
from appliance.errors import NotFound
from appliance.jobs import queue
from appliance.jobs.kinds import CheckRepository, Prune, RebuildCatalogue, Spec, VerifySnapshot
from appliance.language import mark
from appliance.ledger import proofs
from appliance.model import Source


def _source(session: Session, name: str) -> Source:
    with session.database.read() as connection:
        return sources.get_by_name(connection, name)


def _done(
    session: Session, source: Source, specs: list[Spec]
) -> tuple[dict[str, object], ExitCode]:
    jobs = follow(session, [enqueue(session, each) for each in specs])
    names = source_names(session)
    body: dict[str, object] = {
        "source": source.name,
        "jobs": [job_body(each, names) for each in jobs],
    }
    return body, exit_code_of(jobs)


@click.command(
    "verify",
    cls=Command,
    help=mark(
        "Prove a source again: restore a sample of its newest snapshot, and re-read a slice of what "
        "is stored.\n\nWith --full every stored byte is re-read; that takes long."
    ),
)
@click.argument("name", metavar="SOURCE", shell_complete=complete_sources)
@option("--full", is_flag=True, help=mark("Re-read every byte."))
@answers
def verify(session: Session, name: str, *, full: bool) -> Answer:
    """Prove a source."""
    source = _source(session, name)
    with session.database.read() as connection:
        newest = snapshots.newest(connection, source.id)
        before = {(each.seq) for each in proofs.of_source(connection, source.id)}
    if newest is None:
        raise NotFound("snapshot", f"{name}@latest")
    body, code = _done(
        session,
        source,
        [VerifySnapshot(source.id, newest.id), CheckRepository(source.id, full=full)],
    )
    with session.database.read() as connection:
        made = [p for p in proofs.of_source(connection, source.id) if p.seq not in before]
        repository = repositories.get(connection, source.id)
    body["proofs"] = made
    body["all_read_since"] = repository.all_read_since

    def show(out: Console) -> None:
        for each in reversed(made):
            figures = " · ".join(f"{key} {value}" for key, value in each.figures.items())
            out.print(f"{each.kind}: {session.say(OUTCOMES[each.outcome])}  {figures}")
        if repository.all_read_since is not None:
            out.print(
                session.say(
                    mark("Every stored byte was re-read since %(time)s."),
                    time=when(repository.all_read_since),
                )
            )

    return Answer(body, show, code)


@click.command(
    "prune",
    cls=Command,
    help=mark(
        "Remove the snapshots that the source's rule does not keep.\n\n"
        "--dry-run says which, and what would exist in no snapshot any more, and removes nothing."
    ),
)
@click.argument("name", metavar="SOURCE", shell_complete=complete_sources)
@option("--dry-run", is_flag=True, help=mark("Only say what would go."))
@answers
def prune(session: Session, name: str, *, dry_run: bool) -> Answer:
    """Remove old snapshots."""
    source = _source(session, name)
    if dry_run:
        return _preview(session, source)
    body, code = _done(session, source, [Prune(source.id)])
    with session.database.read() as connection:
        pruned = [each for each in queue.newest(connection, limit=20, source_id=source.id)
                  if each.kind == Prune.kind]  # fmt: skip
    # Nothing was removed because something is in doubt: an answer, not a breakdown (beam 6).
    is_frozen = bool(pruned) and "frozen" in pruned[0].result

    def show(out: Console) -> None:
        removed = pruned[0].result.get("removed", 0) if pruned else 0
        out.print(session.say(mark("Snapshots removed: %(count)s."), count=removed))

    return Answer(body, show, ExitCode.REFUSED if is_frozen else code)


def _preview(session: Session, source: Source) -> Answer:
    from appliance.commands.preview import preview  # noqa: PLC0415 - only here

    return preview(session, source, now=utc_now(), zone=session.zone)


@click.group("catalogue", cls=Group, help=mark("The lists of files of the snapshots."))
def catalogue() -> None:
    """Hold the commands about catalogues."""


@catalogue.command(
    "rebuild", help=mark("Make the list of files of a source again from its repository.")
)
@click.argument("name", metavar="SOURCE", shell_complete=complete_sources)
@answers
def rebuild(session: Session, name: str) -> Answer:
    """Make a catalogue again."""
    source = _source(session, name)
    body, code = _done(session, source, [RebuildCatalogue(source.id)])
    return Answer(body, lambda _out: None, code)
