"""``armoire backup`` and ``armoire night``: run nights now, to their proofs."""

from collections.abc import Sequence

import click
from rich.console import Console

from appliance.clock import utc_now
from appliance.commands.following import enqueue, exit_code_of, follow
from appliance.commands.framework import Command, answers, complete_sources, option
from appliance.commands.jobs import job_body, source_names
from appliance.commands.session import Answer, ExitCode, Session, table, wrong
from appliance.db import repositories, snapshots, sources
from appliance.jobs.kinds import ImportPushed, SetUpSource, TakeSnapshot
from appliance.language import mark
from appliance.ledger import proofs
from appliance.model import Job, JobState, Outcome, Snapshot, Source, SourceKind
from appliance.policy.status import ProofKind
from appliance.policy.wording import size_words
from appliance.worker import box_source

OUTCOMES = {
    Outcome.PROVEN: mark("proven"),
    Outcome.FAILED: mark("NOT proven"),
    Outcome.INCONCLUSIVE: mark("could not be proven yet"),
}


@click.command(
    "backup",
    cls=Command,
    help=mark("Back these sources up now, and prove it.\n\nA snapshot, its proof, then pruning."),
)
@click.argument("names", nargs=-1, metavar="SOURCE...", shell_complete=complete_sources)
@option("--all", "everything", is_flag=True, help=mark("Every source."))
@answers
def backup(session: Session, names: tuple[str, ...], *, everything: bool) -> Answer:
    """Back sources up."""
    if bool(names) == everything:
        raise wrong("SOURCE", mark("Name sources, or say --all."))
    return back_up(session, None if everything else names)


@click.command(
    "night", cls=Command, help=mark("Run one whole night now: every source, one after the other.")
)
@answers
def night(session: Session) -> Answer:
    """Run a night."""
    return back_up(session, None)


def chosen(session: Session, names: Sequence[str] | None) -> list[Source]:
    """Return the sources of these names, or every one whose plan is switched on.

    Raises:
        NotFound: a name is none of a living source.
    """
    with session.database.read() as connection:
        if names is None:
            return [each for each in sources.all_living(connection) if each.plan.enabled]
        return [sources.get_by_name(connection, each) for each in dict.fromkeys(names)]


def back_up(session: Session, names: Sequence[str] | None) -> Answer:
    """Back these sources up (None: all), follow to the end and say what came of it."""
    if names is None:
        box_source.ensure(session.settings, session.database, utc_now())  # a box made before
    found = chosen(session, names)
    with session.database.read() as connection:
        bare = [each for each in found if repositories.find(connection, each.id) is None]
    jobs: list[Job] = []
    # The box itself last: what it knows of itself then names the snapshots of the others.
    for is_box in (False, True):
        now = [each for each in found if (each.kind is SourceKind.BOX) is is_box]
        if not now:
            continue
        # Of two jobs on one repository the older runs first.
        roots = [enqueue(session, SetUpSource(each.id)) for each in now if each in bare]
        roots += [
            enqueue(
                session,
                ImportPushed(each.id) if each.kind is SourceKind.PUSHED else TakeSnapshot(each.id),
            )
            for each in now
        ]
        jobs += follow(session, roots)
    rows = [Night.of(session, source, jobs) for source in found]
    body = {
        "sources": [row.body() for row in rows],
        "jobs": [job_body(each, source_names(session)) for each in jobs],
    }

    def show(out: Console) -> None:
        if all(each.kind is SourceKind.BOX for each in found):
            out.print(session.say(mark("There is no source yet. «armoire machine add» adds one.")))
            return
        out.print(nights_table(session, rows))

    return Answer(body, show, exit_code_of(jobs) if jobs else ExitCode.DONE)


class Night:
    """What a night gave one source."""

    def __init__(
        self, source: Source, run: Job | None, snapshot: Snapshot | None, proof: Outcome | None
    ) -> None:
        self.source = source
        self.run = run
        self.snapshot = snapshot
        self.proof = proof

    @classmethod
    def of(cls, session: Session, source: Source, jobs: Sequence[Job]) -> "Night":
        """Return what these jobs gave ``source``."""
        takers = {TakeSnapshot.kind, ImportPushed.kind}
        runs = [each for each in jobs if each.source_id == source.id and each.kind in takers]
        run = runs[-1] if runs else None
        with session.database.read() as connection:
            snapshot = snapshots.newest(connection, source.id)
            proof = proofs.latest(connection, source.id, ProofKind.SAMPLE)
        if snapshot is not None and (run is None or run.id != snapshot.job_id):
            snapshot = None
        told = proof is not None and snapshot is not None and proof.snapshot_id == snapshot.id
        return cls(source, run, snapshot, proof.outcome if told and proof is not None else None)

    @property
    def seconds(self) -> float | None:
        """How long the source was read."""
        if self.run is None or self.run.finished_at is None or self.run.started_at is None:
            return None
        return max(0.001, (self.run.finished_at - self.run.started_at).total_seconds())

    def body(self) -> dict[str, object]:
        """Return it as ``--json`` shows it."""
        return {
            "source": self.source.name,
            "state": None if self.run is None else self.run.state.value,
            "snapshot": self.snapshot,
            "seconds": self.seconds,
            "proof": None if self.proof is None else self.proof.value,
        }


def nights_table(session: Session, rows: Sequence[Night]) -> object:
    """Return what was kept, proven and how fast, a line a source."""
    titles = (
        mark("source"), mark("snapshot"), mark("files"), mark("size"), mark("new"), mark("changed"),
        mark("time"), mark("speed"), mark("proof"),
    )  # fmt: skip

    def line(row: Night) -> list[str]:
        taken = row.snapshot
        if taken is None:
            state = row.run.state if row.run is not None else JobState.QUEUED
            word = session.say(mark("no snapshot")) if state in _ENDED else "…"
            return [row.source.name, word, *["–"] * 7]
        speed = "–"
        if row.seconds is not None:
            speed = f"{size_words(taken.original_bytes / row.seconds, session.language)}/s"
        proof = session.say(OUTCOMES[row.proof]) if row.proof is not None else "–"
        warned = f" ({taken.warnings} !)" if taken.warnings else ""
        return [
            row.source.name,
            f"{taken.id}{warned}",
            f"{taken.files_seen:,}".replace(",", " "),
            size_words(taken.original_bytes, session.language),
            size_words(taken.new_bytes, session.language),
            str(taken.changed),
            "–" if row.seconds is None else f"{row.seconds:.1f} s",
            speed,
            proof,
        ]

    return table([session.say(each) for each in titles], [line(row) for row in rows])


_ENDED = frozenset(
    {JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED, JobState.SUCCEEDED, JobState.WARNED}
)
