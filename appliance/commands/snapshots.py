"""``armoire snapshots``, ``ls``, ``find``, ``cat`` and ``diff``: finding what was kept."""

import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import islice

import click
from rich.console import Console

from appliance.catalogue import query, store
from appliance.clock import from_epoch
from appliance.commands.framework import Command, answers, complete_sources, option
from appliance.commands.places import find_snapshot, look_up, parse_place, stored_path
from appliance.commands.session import (
    Answer,
    ExitCode,
    Session,
    clean,
    nothing_to_show,
    table,
    when,
    wrong,
)
from appliance.db import snapshots as snapshot_rows
from appliance.db import sources
from appliance.errors import NotFound
from appliance.language import mark
from appliance.ledger import proofs
from appliance.model import EntryKind, Outcome, SnapshotState
from appliance.packed import pack_path
from appliance.policy.status import ProofKind
from appliance.policy.wording import size_words
from appliance.units import NS_PER_S

PAGE = 500  # entries asked of the catalogue at once


def moment(mtime_ns: int) -> str:
    """Return a file's time to the minute; a time no calendar has is «–»."""
    try:
        return when(from_epoch(0) + timedelta(microseconds=mtime_ns // 1000))
    except OverflowError:
        return "–"


@click.command("snapshots", cls=Command, help=mark("List snapshots, newest first."))
@click.argument("name", required=False, metavar="[SOURCE]", shell_complete=complete_sources)
@option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True,
        help=mark("At most so many of a source."))  # fmt: skip
@answers
def snapshots(session: Session, name: str | None, *, limit: int) -> Answer:
    """List snapshots."""
    with session.database.read() as connection:
        found = (
            sources.all_living(connection)
            if name is None
            else [sources.get_by_name(connection, name)]
        )
        rows = []
        for source in found:
            for one in snapshot_rows.of_source(connection, source.id, limit=limit):
                proof = next(
                    (
                        each
                        for each in proofs.of_snapshot(connection, one.id)
                        if each.kind == ProofKind.SAMPLE
                    ),
                    None,
                )
                rows.append((source, one, proof))

    def show(out: Console) -> None:
        if not rows:
            out.print(session.say(mark("There is no snapshot yet.")))
            return
        titles = (
            mark("snapshot"), mark("source"), mark("taken"), mark("files"), mark("size"),
            mark("new"), mark("state"), mark("proof"),
        )  # fmt: skip
        states = {
            SnapshotState.COMPLETE: mark("complete"),
            SnapshotState.WARNED: mark("with warnings"),
        }
        outcomes = {
            Outcome.PROVEN: mark("proven"),
            Outcome.FAILED: mark("NOT proven"),
            Outcome.INCONCLUSIVE: mark("could not be proven yet"),
        }
        lines = [
            (
                str(one.id),
                source.name,
                when(one.started_at),
                str(one.files_seen),
                size_words(one.original_bytes, session.language),
                size_words(one.new_bytes, session.language),
                session.say(states[one.state]),
                "–" if proof is None else session.say(outcomes[proof.outcome]),
            )
            for source, one, proof in rows
        ]
        out.print(table([session.say(each) for each in titles], lines))

    body = [
        {"source": source.name, **_slots(one), "proof": None if proof is None else proof.outcome}
        for source, one, proof in rows
    ]
    return Answer({"snapshots": body}, show)


def _slots(one: object) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__slots__}  # type: ignore[attr-defined]


@click.command(
    "ls",
    cls=Command,
    help=mark("List a folder of a snapshot.\n\nSNAPSHOT is a number, «latest» or a date."),
)
@click.argument("place", metavar="SOURCE[@SNAPSHOT][:PATH]", shell_complete=complete_sources)
@answers
def ls(session: Session, place: str) -> Answer:
    """List a folder."""
    wanted = parse_place(place)
    with session.database.read() as connection:
        source, snapshot = look_up(connection, wanted, session.zone)
    rows: list[query.Listed] = []
    with closing(store.of_source(session.settings, source.id)) as catalogue:
        while True:
            page = query.folder(catalogue, snapshot.id, wanted.path, offset=len(rows), limit=PAGE)
            rows += page.rows
            if not page.rows or len(rows) >= page.total:
                break

    def show(out: Console) -> None:
        lines = [
            (
                # A folder above the roots is not in the snapshot itself: nothing is known of it.
                "" if row.is_implied else stat.filemode(row.mode | _TYPE.get(row.kind, 0)),
                "" if row.kind is EntryKind.FOLDER else size_words(row.size, session.language),
                "" if row.is_implied else moment(row.mtime_ns),
                clean(row.name) + ("/" if row.kind is EntryKind.FOLDER else ""),
            )
            for row in rows
        ]
        out.print(table([""] * 4, lines))

    body = {
        "source": source.name,
        "snapshot": snapshot.id,
        "path": wanted.path,
        "entries": [
            {
                "name": row.name,
                "path_id": pack_path(row.path),
                "kind": row.kind.value,
                "size": row.size,
                "mtime_ns": row.mtime_ns,
                "mode": row.mode,
            }
            for row in rows
        ],
    }
    return Answer(body, show)


_TYPE = {
    EntryKind.FILE: stat.S_IFREG,
    EntryKind.FOLDER: stat.S_IFDIR,
    EntryKind.LINK: stat.S_IFLNK,
}


@click.command(
    "find",
    cls=Command,
    help=mark("Find files by parts of their names, in every snapshot of every source."),
)
@click.argument("words", nargs=-1, required=True)
@option("--source", "name", help=mark("Only in this source."))
@option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True,
        help=mark("At most so many."))  # fmt: skip
@answers
def find(session: Session, words: tuple[str, ...], *, name: str | None, limit: int) -> Answer:
    """Find files."""
    from appliance.catalogue import names  # noqa: PLC0415 - only here

    with session.database.read() as connection:
        living = sources.with_files(connection)
    if name is not None:
        living = [each for each in living if each.name == name]
        if not living:
            raise NotFound("source", name)
    labels = {each.id: each.name for each in living}
    found = names.find_names(
        session.settings.catalogues,
        " ".join(words),
        sources=[each.id for each in living],
        limit=limit,
    )
    hits = found.hits
    for each in found.unreadable:
        session.tell(
            mark("The list of files of «%(source)s» cannot be read: it was not searched."),
            source=labels[each],
        )

    def show(out: Console) -> None:
        if not hits:
            out.print(session.say(mark("Nothing of that name.")))
            return
        lines = [
            (
                f"{labels[hit.source_id]}@{hit.last}:{clean(hit.path)}",
                size_words(hit.size, session.language),
                moment(hit.mtime_ns),
            )
            for hit in hits
        ]
        out.print(table([""] * 3, lines))
        if found.is_more:
            session.tell(mark("There is more: add a word, or --limit."))

    body = [
        {
            "source": labels[hit.source_id],
            "path": hit.path,
            "path_id": pack_path(hit.path),
            "size": hit.size,
            "mtime": hit.mtime_ns / NS_PER_S,
            "last_snapshot": hit.last,
        }
        for hit in hits
    ]
    unreadable = [labels[each] for each in found.unreadable]
    code = ExitCode.WARNED if unreadable else ExitCode.DONE
    return Answer({"found": body, "more": found.is_more, "unreadable": unreadable}, show, code)


@click.command(
    "cat",
    cls=Command,
    help=mark(
        "Write one file of a snapshot to standard output.\n\nSNAPSHOT is a number, «latest» or a date."
    ),
)
@click.argument("place", metavar="SOURCE@SNAPSHOT:PATH", shell_complete=complete_sources)
@option("--output", "-o", type=click.Path(dir_okay=False, writable=True),
        help=mark("Write it to this file instead."))  # fmt: skip
@answers
def cat(session: Session, place: str, *, output: str | None) -> Answer:
    """Write one file."""
    wanted = parse_place(place)
    if not wanted.path:
        raise wrong("PATH", mark("Name a file, not a whole snapshot."))
    if session.as_json and output is None:
        raise wrong("--json", mark("Standard output is the file's: say --output FILE as well."))
    with session.database.read() as connection:
        source, snapshot = look_up(connection, wanted, session.zone)
    with closing(store.of_source(session.settings, source.id)) as catalogue:
        entry = query.entry(catalogue, snapshot.id, wanted.path)
    if entry.kind is not EntryKind.FILE:
        raise wrong("PATH", mark("Name a file, not a folder or a link."))
    from appliance.commands.reading import blocks_of  # noqa: PLC0415 - may import Borg

    written = 0
    target = sys.stdout.buffer if output is None else open(output, "wb")  # noqa: SIM115, PTH123
    try:
        for block in blocks_of(session, source, snapshot, entry):
            target.write(block)
            written += len(block)
        target.flush()
    finally:
        if output is not None:
            target.close()
    body = {"source": source.name, "snapshot": snapshot.id, "bytes": written, "output": output}
    return Answer(body, nothing_to_show)


@click.command(
    "diff",
    cls=Command,
    help=mark("Compare two snapshots of a source.\n\nA and B are numbers, «latest» or dates."),
)
@click.argument("name", metavar="SOURCE", shell_complete=complete_sources)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B", default="latest")
@option("--under", default="", help=mark("Only below this folder."))
@option("--limit", type=click.IntRange(1), default=1000, show_default=True,
        help=mark("At most so many."))  # fmt: skip
@answers
def diff(session: Session, name: str, a: str, b: str, *, under: str, limit: int) -> Answer:
    """Compare two snapshots."""
    with session.database.read() as connection:
        source = sources.get_by_name(connection, name)
        before = find_snapshot(connection, source, a, session.zone)
        after = find_snapshot(connection, source, b, session.zone)
    below = stored_path(under)
    with closing(store.of_source(session.settings, source.id)) as catalogue:
        changes = query.compare(catalogue, before.id, after.id)
        found = list(islice(_below(changes, below), limit + 1))
        del changes  # its moment of the catalogue ends here
    more, found = len(found) > limit, found[:limit]
    signs = {
        query.ChangeKind.ADDED: "+",
        query.ChangeKind.REMOVED: "−",
        query.ChangeKind.CHANGED: "~",
    }

    def show(out: Console) -> None:
        for each in found:
            out.print(f"{signs[each.kind]} {clean(each.path)}")
        if not found:
            out.print(session.say(mark("Nothing differs.")))
        if more:
            session.tell(mark("There is more: --limit shows it."))

    body = {
        "source": source.name,
        "a": before.id,
        "b": after.id,
        "changes": [
            {"kind": each.kind.value, "path": each.path, "path_id": pack_path(each.path)}
            for each in found
        ],
        "more": more,
    }
    return Answer(body, show, ExitCode.DONE)


def _below(changes: Iterator[query.Change], folder: bytes) -> Iterator[query.Change]:
    for each in changes:
        if not folder or each.path == folder or each.path.startswith(folder + b"/"):
            yield each
