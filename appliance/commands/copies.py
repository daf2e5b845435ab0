"""``armoire push``, ``generations`` and ``verify-copy``: sending copies, and what is proven of them."""

import click
from rich.console import Console
from rich.text import Text

from appliance.clock import utc_now
from appliance.commands.backup import OUTCOMES
from appliance.commands.following import enqueue, follow
from appliance.commands.framework import Command, answers, complete_targets, option
from appliance.commands.session import Answer, ExitCode, Session, table, when
from appliance.commands.target_common import find, job_bodies, refused_if
from appliance.db import copies, practice, targets
from appliance.db.targets import TargetRow
from appliance.jobs.copy_readings import copy_status, place_of
from appliance.jobs.disks import is_plugged_in
from appliance.jobs.kinds import PushCopy, VerifyCopy
from appliance.language import mark
from appliance.ledger import proofs
from appliance.policy.copy_status import COPY_PROOF_NAMES, CopyProof
from appliance.policy.place import DirectoryPlace
from appliance.policy.wording import size_words


@click.command(
    "push",
    cls=Command,
    help=mark(
        "Send what the destinations lack, publish a generation there, and prove it.\n\n"
        "Without TARGET: every destination, those disks aside that are not plugged in."
    ),
)
@click.argument("names", nargs=-1, metavar="[TARGET]...", shell_complete=complete_targets)
@answers
def push(session: Session, names: tuple[str, ...]) -> Answer:
    """Send copies."""
    chosen = [find(session, each) for each in dict.fromkeys(names)] or _present(session)
    jobs = follow(session, [enqueue(session, PushCopy(each.id)) for each in chosen])
    now = utc_now()
    with session.database.read() as connection:
        settings = practice.in_force(connection, session.settings)
        statuses = [
            copy_status(connection, settings, targets.get(connection, each.id), now)
            for each in chosen
        ]

    def show(out: Console) -> None:
        if not chosen:
            out.print(session.say(mark("There is no destination to send to. «armoire target add» adds one.")))  # fmt: skip
        for each in statuses:
            out.print(Text(each.sentence.words(session.language)))

    body = {
        "targets": [
            {
                "target": each.target.name,
                "generation": each.newest_number,
                "newest_at": each.newest_at,
                "level": each.level.value,
            }
            for each in statuses
        ],
        "jobs": job_bodies(session, jobs),
    }
    return Answer(body, show, refused_if(jobs) if jobs else ExitCode.DONE)


def _present(session: Session) -> list[TargetRow]:
    with session.database.read() as connection:
        rows = targets.all_living(connection)
    return [each for each in rows if _is_present(each)]


def _is_present(row: TargetRow) -> bool:
    place = place_of(row)
    return not isinstance(place, DirectoryPlace) or is_plugged_in(place)


@click.command(
    "generations", cls=Command, help=mark("List the generations of a destination, newest first.")
)
@click.argument("name", metavar="TARGET", shell_complete=complete_targets)
@answers
def generations(session: Session, name: str) -> Answer:
    """List generations."""
    row = find(session, name)
    with session.database.read() as connection:
        found = [each for each in copies.generations(connection, row.id) if each.published_at]

    def show(out: Console) -> None:
        if not found:
            out.print(session.say(mark("No generation is there yet. «armoire push %(name)s» sends one."), name=name))  # fmt: skip
            return
        titles = (mark("generation"), mark("of"), mark("complete there"), mark("files"), mark("size"), mark("sent"))  # fmt: skip
        out.print(
            table(
                [session.say(each) for each in titles],
                [
                    (
                        str(each.number),
                        when(each.taken_at),
                        when(each.published_at),
                        str(each.files),
                        size_words(each.plain_bytes, session.language),
                        size_words(each.new_bytes, session.language),
                    )
                    for each in found
                ],
            )
        )

    body = {
        "target": row.name,
        "generations": [
            {
                "number": each.number,
                "taken_at": each.taken_at,
                "published_at": each.published_at,
                "sha256": each.sha256,
                "previous": each.previous,
                "files": each.files,
                "plain_bytes": each.plain_bytes,
                "new_bytes": each.new_bytes,
            }
            for each in found
        ],
    }
    return Answer(body, show)


@click.command(
    "verify-copy",
    cls=Command,
    help=mark(
        "Prove a copy again: what lies there is listed, and a part of it read back and compared.\n\n"
        "With --full every object is read back; that takes as long as sending it all."
    ),
)
@click.argument("name", metavar="TARGET", shell_complete=complete_targets)
@option("--full", is_flag=True, help=mark("Read every object back."))
@answers
def verify_copy(session: Session, name: str, *, full: bool) -> Answer:
    """Prove a copy."""
    row = find(session, name)
    jobs = follow(session, [enqueue(session, VerifyCopy(row.id, full=full))])
    with session.database.read() as connection:
        made = {
            kind: proofs.latest_of_target(connection, row.id, kind)
            for kind in (CopyProof.LISTING, CopyProof.READ_BACK, CopyProof.COMPLETE)
        }
        settings = practice.in_force(connection, session.settings)
        status = copy_status(connection, settings, row, utc_now())

    def show(out: Console) -> None:
        for kind, proof in made.items():
            said = "–" if proof is None else session.say(OUTCOMES[proof.outcome])
            out.print(Text(f"{session.say(COPY_PROOF_NAMES[kind])}: {said}"))
        if status.read_back_since is not None:
            out.print(
                session.say(
                    mark("Every object of this copy was read back since %(time)s."),
                    time=when(status.read_back_since),
                )
            )

    body = {
        "target": row.name,
        "proofs": {kind.value: proof for kind, proof in made.items()},
        "read_back_since": status.read_back_since,
        "jobs": job_bodies(session, jobs),
    }
    return Answer(body, show, refused_if(jobs))
