"""Finding a file of any night, its history, and what differs between two nights."""

import re
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import ClassVar, Final

from fastapi import APIRouter, Request
from markupsafe import Markup, escape
from sqlalchemy import Connection
from starlette.responses import Response

from appliance.catalogue import differences
from appliance.catalogue.differences import Change, ChangeKind
from appliance.catalogue.names import Hit, find_names
from appliance.catalogue.store import of_source
from appliance.catalogue.words import normalise, split
from appliance.clock import from_epoch
from appliance.db import snapshots, sources
from appliance.errors import NotFound
from appliance.language import mark
from appliance.model import EntryKind, Snapshot, SnapshotId, Source, SourceId
from appliance.packed import pack_path
from appliance.policy.roles import Action
from appliance.units import NS_PER_S
from appliance.web.deps import Box, TheBox, aside, needs
from appliance.web.pages import tones
from appliance.web.pages.paths import readable, shown
from appliance.web.render import Page, is_fragment, render

router = APIRouter(include_in_schema=False)

HITS: Final = 50
CHANGES: Final = 500
CHANGES_COUNTED: Final = 50_000


@dataclass(frozen=True, slots=True)
class Found:
    """One file that was found."""

    name: Markup  # the searched words marked
    folder: str
    packed: str
    folder_packed: str
    kind: str
    size: int
    modified_at: datetime
    source: Source
    snapshot_id: SnapshotId  # the newest that shows this version
    seen_at: datetime | None
    versions: int
    is_present: bool


@dataclass(frozen=True, slots=True)
class SearchPage(Page):
    """A search line and what was found."""

    template: ClassVar[str] = "search.html"
    q: str
    source_id: int
    sources: list[Source]
    found: list[Found]
    is_more: bool
    unreadable: list[str]


@dataclass(frozen=True, slots=True)
class ResultsFragment(Page):
    """What was found: the part of the page that changes while one types."""

    template: ClassVar[str] = "_partials/results.html"
    q: str
    found: list[Found]
    is_more: bool
    unreadable: list[str]


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """One difference."""

    kind: ChangeKind
    tone: str
    text: str
    path: str
    packed: str
    before_size: int | None
    after_size: int | None
    is_file: bool


@dataclass(frozen=True, slots=True)
class ComparePage(Page):
    """What differs between two snapshots."""

    template: ClassVar[str] = "snapshots/compare.html"
    source: Source
    snapshots: list[Snapshot]  # newest first
    a: Snapshot | None
    b: Snapshot | None
    only: str
    changes: list[ChangeLine]
    counts: list[tuple[str, str, int]]  # kind, text, how many
    is_more: bool


CHANGE_NAMES: Final[dict[ChangeKind, str]] = {
    ChangeKind.ADDED: mark("new"),
    ChangeKind.CHANGED: mark("altered"),
    ChangeKind.REMOVED: mark("gone"),
}
CHANGE_TONES: Final[dict[ChangeKind, str]] = {
    ChangeKind.ADDED: tones.GOOD,
    ChangeKind.CHANGED: tones.BUSY,
    ChangeKind.REMOVED: tones.WARN,
}


@router.get("/search", name="search", dependencies=[needs(Action.SNAPSHOT_BROWSE)])
async def search(request: Request, box: TheBox, q: str = "", source: int = 0) -> Response:
    """Find files by words of their names, over every source or one."""
    with box.database.read() as connection:
        known = sources.with_files(connection)
        times = _times(connection, known)
    by_id = {one.id: one for one in known}
    wanted = [SourceId(source)] if source in by_id else list(by_id)
    words = split(q)
    result = await aside(lambda: find_names(box.settings.catalogues, q, sources=wanted, limit=HITS))
    found = [
        _found(hit, by_id[hit.source_id], words, times)
        for hit in result.hits
        if hit.source_id in by_id
    ]
    unreadable = [by_id[one].label for one in result.unreadable if times.get(one)]
    if is_fragment(request):
        return render(request, ResultsFragment(q.strip(), found, result.is_more, unreadable))
    return render(request, SearchPage(q.strip(), source, known, found, result.is_more, unreadable))


_Times = dict[SourceId, dict[SnapshotId, datetime]]


def _times(connection: Connection, known: list[Source]) -> _Times:
    return {
        one.id: {each.id: each.started_at for each in snapshots.of_source(connection, one.id)}
        for one in known
    }


def _found(hit: Hit, source: Source, words: tuple[str, ...], times: _Times) -> Found:
    folder, _, name = hit.path.rpartition(b"/")
    return Found(
        marked(readable(name), words),
        shown(folder, source),
        pack_path(hit.path),
        pack_path(folder),
        hit.kind.value,
        hit.size,
        from_epoch(hit.mtime_ns / NS_PER_S),
        source,
        hit.last,
        times.get(source.id, {}).get(hit.last),
        hit.versions,
        hit.is_present,
    )


def marked(name: str, words: tuple[str, ...]) -> Markup:
    """Return a name as HTML with the searched words marked, accents and case aside."""
    plain = "".join(normalise(each)[:1] or each for each in name)
    if len(plain) != len(name) or not words:
        return escape(name)
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))
    made = Markup()
    at = 0
    for place in pattern.finditer(plain):
        made += escape(name[at : place.start()])
        made += Markup("<mark>%s</mark>") % name[place.start() : place.end()]
        at = place.end()
    return made + escape(name[at:])


@router.get(
    "/sources/{source_id}/compare", name="compare", dependencies=[needs(Action.SNAPSHOT_BROWSE)]
)
async def show_comparison(
    request: Request, box: TheBox, source_id: SourceId, a: int = 0, b: int = 0, only: str = ""
) -> Response:
    """Show what is different in snapshot ``b`` from snapshot ``a``; by default the newest two."""
    found = await aside(compared, box, source_id, a, b, only)
    page = ComparePage(
        found.source,
        found.known,
        found.before,
        found.after,
        only,
        [_change_line(one, found.source) for one in found.changes],
        [(kind.value, CHANGE_NAMES[kind], found.counts[kind]) for kind in ChangeKind],
        found.is_more or (not only and sum(found.counts.values()) > len(found.changes)),
    )
    return render(request, page)


@dataclass(frozen=True, slots=True)
class Compared:
    """What differs between two snapshots of a source."""

    source: Source
    known: list[Snapshot]  # newest first
    before: Snapshot | None  # None: there are not two
    after: Snapshot | None
    changes: list[Change]  # CHANGES at most
    counts: dict[ChangeKind, int]
    is_more: bool  # the counts are not whole: counting ended at CHANGES_COUNTED


def compared(box: Box, source_id: SourceId, a: int, b: int, only: str = "") -> Compared:
    """Return what is different in snapshot ``b`` from ``a``; reads a catalogue, so aside.

    Args:
        box: of the source.
        source_id: whose snapshots.
        a: the earlier one; 0: the one before ``b``.
        b: the later one; 0: the newest.
        only: a ChangeKind's value: only those are listed, all are counted.

    Raises:
        NotFound: there is no such source, or no such snapshot of it.
    """
    with box.database.read() as connection:
        source = sources.get(connection, source_id)
        known = snapshots.of_source(connection, source_id)
    after = _chosen(known, b) if b else (known[0] if known else None)
    before = _chosen(known, a) if a else _previous(known, after)
    kept: list[Change] = []
    counts = dict.fromkeys(ChangeKind, 0)
    if before is not None and after is not None and before.id != after.id:
        found = differences.compare(of_source(box.settings, source_id), before.id, after.id)
        for change in islice(found, CHANGES_COUNTED):
            counts[change.kind] += 1
            if only in {"", change.kind.value} and len(kept) < CHANGES:
                kept.append(change)
    is_more = sum(counts.values()) >= CHANGES_COUNTED
    return Compared(source, known, before, after, kept, counts, is_more)


def _chosen(known: list[Snapshot], number: int) -> Snapshot:
    for one in known:
        if one.id == number:
            return one
    raise NotFound("snapshot", str(number))


def _previous(known: list[Snapshot], after: Snapshot | None) -> Snapshot | None:
    older = [one for one in known if after is not None and one.id < after.id]
    return older[0] if older else None


def _change_line(change: Change, source: Source) -> ChangeLine:
    newest = change.after or change.before
    return ChangeLine(
        change.kind,
        CHANGE_TONES[change.kind],
        CHANGE_NAMES[change.kind],
        shown(change.path, source),
        pack_path(change.path),
        None if change.before is None else change.before.size,
        None if change.after is None else change.after.size,
        newest is not None and newest.kind is EntryKind.FILE,
    )
