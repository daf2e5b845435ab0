"""``armoire repository mend``: what the disk of the box damaged is fetched back from a copy.

The box cannot open what it sent: a person brings the words of the recovery sheets. Only what is proven
damaged is replaced, what was there is kept aside, and afterwards every byte is read again.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from sqlalchemy import Connection

from appliance.clock import utc_now
from appliance.commands.following import enqueue, exit_code_of, follow
from appliance.commands.framework import Command, Group, answers, complete_sources, option
from appliance.commands.jobs import job_body, source_names
from appliance.commands.recover_words import read_words
from appliance.commands.session import Answer, ExitCode, Session
from appliance.db import facts, repositories, sources, targets
from appliance.db.targets import TargetRow
from appliance.errors import ArmoireError, NotFound, NothingToRecover, SheetOfAnotherKit
from appliance.jobs import kit_words
from appliance.jobs.kinds import CheckRepository
from appliance.language import explain, mark
from appliance.ledger import proofs
from appliance.model import Outcome, Repository, Source
from appliance.policy.status import ProofKind
from appliance.replication import kit
from appliance.replication.manifest import Manifest
from appliance.replication.mend import Doubt, Mending, Suspect, find_suspects, mend
from appliance.replication.open_target import open_target
from appliance.replication.recover_choice import look
from appliance.replication.target import Target
from appliance.vault import words
from appliance.vault.secret import Secret

DOUBTS: Final = {
    Doubt.DAMAGED: mark("damaged: its own checksums are wrong"),
    Doubt.NAMED: mark("damaged, by the check of the repository"),
    Doubt.GONE: mark("missing, by the check of the repository"),
    Doubt.DIFFERS: mark("whole, but not what was copied: left alone"),
}
#: The name of a segment in the copy: «data/0/17».
_SEGMENTS: Final = "data/"


@click.group("repository", cls=Group, help=mark("The repositories of the box."))
def repository() -> None:
    """Hold the commands about repositories."""


@repository.command(
    "mend",
    cls=Command,
    help=mark(
        "Fetch damaged parts of a repository back from a copy.\n\n"
        "Asks for the words of the recovery sheets: only they open a copy. Reads the whole repository, "
        "replaces what is proven damaged, keeps aside what was there, then re-reads every byte."
    ),
)
@click.argument("name", metavar="SOURCE", shell_complete=complete_sources)
@option("--from", "only", metavar="TARGET", help=mark("Only from this destination."))
@option("--words-fd", type=int, metavar="N",
        help=mark("Read the words from this file descriptor, one sheet a line; asked otherwise."))  # fmt: skip
@option("--dry-run", is_flag=True, help=mark("Only say what is damaged."))
@answers
def mend_repository(
    session: Session, name: str, *, only: str | None, words_fd: int | None, dry_run: bool
) -> Answer:
    """Mend a repository."""
    from appliance.backup_jobs.borg_library_lock import hold_lock  # noqa: PLC0415 - heavy

    with session.database.read() as connection:
        source = sources.get_by_name(connection, name)
        place = repositories.get(connection, source.id)
        rows = _chosen(connection, only)
    identity = _identity(session, read_words(session, words_fd))
    path = Path(place.path)
    with ExitStack() as stack:
        found = _copies(session, rows, identity, stack)
        session.tell(mark("Reading the repository of «%(name)s» whole…"), name=source.name)
        named = _named(session, source, found[0].manifest)
        suspects = find_suspects(path, found[0].manifest, source.id, named=named)
        done = None
        if not dry_run and any(each.may_be_mended for each in suspects):
            done = mend(
                suspects,
                path,
                [(each.target, each.manifest) for each in found],
                identity=identity,
                locked=lambda: hold_lock(path),
                database=session.database,
                now=utc_now,
            )
    return _answer(session, source, place, suspects, done)


@dataclass(frozen=True, slots=True)
class _Copy:
    """One place's newest generation, opened."""

    row: TargetRow
    target: Target
    manifest: Manifest


def _chosen(connection: Connection, only: str | None) -> list[TargetRow]:
    living = targets.all_living(connection)
    if only is not None:
        return [targets.get_by_name(connection, only)]
    if not living:
        raise NotFound(mark("destination"), "–")
    return living


def _identity(session: Session, secret: Secret) -> Secret:
    """Return what opens the copies: the words' own identity, then those of kits before.

    Raises:
        SheetOfAnotherKit: the words are right, of another kit.
    """
    with session.database.read() as connection:
        recipient = facts.find(connection, "kit.recipient")
        former = facts.find(connection, "kit.former")
    if words.recipient(secret) != recipient:
        raise SheetOfAnotherKit(1)
    own = words.identity(secret)
    if not isinstance(former, dict):
        return own
    older = kit_words.open_former(str(former["sealed"]), secret)
    return Secret(own.reveal() + b"\n" + older.reveal())


def _copies(
    session: Session, rows: Sequence[TargetRow], identity: Secret, stack: ExitStack
) -> list[_Copy]:
    """Return the newest generation that opens at each place, the newest of all first.

    Raises:
        NothingToRecover: no place has one.
    """
    settings = session.settings
    found: list[_Copy] = []
    reasons: list[str] = []
    for row in rows:
        try:
            with session.database.read() as connection:
                box_id = str(facts.find(connection, "box.id"))
                signer = kit.signing_key(connection, settings.keys).public_key()
                opener: Callable[[], Target] = open_target(connection, row, settings, now=utc_now)
            target = stack.enter_context(closing(opener()))
        except ArmoireError as error:
            reasons.append(error.code)
            session.tell(
                mark("«%(name)s» is passed over: %(reason)s"),
                name=row.name,
                reason=explain(error, session.language),
            )
            continue
        seen = look(row.name, target, signer=signer, box_id=box_id, identity=identity)
        manifests = [each.manifest for each in seen.generations if each.manifest is not None]
        if manifests:
            found.append(_Copy(row, target, manifests[0]))
        else:
            session.tell(mark("«%(name)s» has no copy that opens."), name=row.name)
    if not found:
        raise NothingToRecover(", ".join(reasons) or "–")
    return sorted(found, key=lambda each: each.manifest.taken_at, reverse=True)


def _named(session: Session, source: Source, manifest: Manifest) -> set[str]:
    """Return the segments that the last check of the repository named, as the copy calls them."""
    with session.database.read() as connection:
        failed = [
            proofs.latest(connection, source.id, kind.value, outcome=Outcome.FAILED)
            for kind in (ProofKind.CHECK, ProofKind.DATA)
        ]
    numbers: set[str] = set()
    for each in failed:
        if each is not None and isinstance(segments := each.figures.get("segments"), list):
            numbers.update(str(one) for one in segments)
    return {
        file.path
        for file in manifest.files
        if file.repository == source.id
        and file.path.startswith(_SEGMENTS)
        and file.path.rpartition("/")[2] in numbers
    }


def _answer(
    session: Session,
    source: Source,
    place: Repository,
    suspects: Sequence[Suspect],
    done: Mending | None,
) -> Answer:
    mended = done.mended if done is not None else ()
    failed = dict(done.failed) if done is not None else {}
    jobs = []
    if mended:
        jobs = follow(session, [enqueue(session, CheckRepository(source.id, full=True))])
    body = {
        "source": source.name,
        "repository": place.borg_id,
        "suspects": [
            {"path": each.file.path, "doubt": each.doubt.value, "may_be_mended": each.may_be_mended}
            for each in suspects
        ],
        "mended": list(mended),
        "failed": failed,
        "kept_aside": str(done.kept_aside) if mended and done is not None else None,
        "jobs": [job_body(each, source_names(session)) for each in jobs],
    }

    def show(out: Console) -> None:
        if not suspects:
            out.print(session.say(mark("Everything is as it was copied: nothing to mend.")))
        for each in suspects:
            path = each.file.path
            said = session.say(DOUBTS[each.doubt])
            if path in mended:
                said += session.say(mark("; fetched back"))
            elif path in failed:
                said += session.say(
                    mark("; no copy could give it (%(reason)s)"), reason=failed[path]
                )
            out.print(f"{path}: {said}", markup=False)
        if mended and done is not None:
            out.print(
                session.say(
                    mark("What was there is kept in %(folder)s until you remove it."),
                    folder=done.kept_aside,
                ),
                markup=False,
            )

    if failed:
        return Answer(body, show, ExitCode.FAILED)
    if jobs:
        return Answer(body, show, exit_code_of(jobs))
    return Answer(body, show, ExitCode.WARNED if suspects else ExitCode.DONE)
