"""A snapshot: what it is, its folders, and what one may do with what is picked there."""

from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from threading import Lock
from typing import Annotated, ClassVar, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.catalogue import query
from appliance.catalogue.deleted import deleted
from appliance.catalogue.query import Listed, Order
from appliance.catalogue.store import Catalogue, of_source
from appliance.clock import from_epoch, utc_now
from appliance.db import snapshots, sources
from appliance.errors import InvalidInput, NotFound
from appliance.jobs import snapshot_marks
from appliance.language import mark
from appliance.ledger import events, proofs
from appliance.model import Proof, ReadEvent, Snapshot, SnapshotId, Source, SourceId
from appliance.packed import pack_path
from appliance.policy.roles import Action
from appliance.policy.status import OUTCOME_NAMES, PROOF_NAMES, ProofKind
from appliance.units import NS_PER_S
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, needs
from appliance.web.pages import tones
from appliance.web.pages.past_lines import DeletedLine, Doors, deleted_lines
from appliance.web.pages.paths import Crumb, crumbs, readable, shown, unpacked
from appliance.web.pages.sources import CONSISTENCY_NAMES, event_counts
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

ROWS: Final = 200
EVENTS_SHOWN: Final = 500
DELETED_SHOWN: Final = 500
#: Lines of large folders kept in memory, some 250 bytes each.
ROWS_KEPT: Final = 60_000


@dataclass(frozen=True, slots=True)
class ProofLine:
    """One proof in words."""

    proof: Proof
    name: str
    outcome_name: str
    tone: str


@dataclass(frozen=True, slots=True)
class EventLine:
    """One file that is not, or not surely, in the snapshot as it was."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class SnapshotPage(Page):
    """Everything about a snapshot but its files."""

    template: ClassVar[str] = "snapshots/show.html"
    source: Source
    snapshot: Snapshot
    consistency_name: str
    proofs: list[ProofLine]
    event_counts: list[tuple[str, int, str]]
    events: list[EventLine]
    before_id: SnapshotId | None
    after_id: SnapshotId | None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a folder."""

    name: str
    packed: str
    kind: str
    size: int
    modified_at: datetime | None
    is_implied: bool
    look: str
    opened: str
    download: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column that sorts."""

    text: str
    href: str
    sorted: str  # ascending · descending · none
    css: str


@dataclass(frozen=True, slots=True)
class FolderPage(Page):
    """One folder of a snapshot, ROWS lines at a time."""

    template: ClassVar[str] = "snapshots/browse.html"
    source: Source
    snapshot: Snapshot
    others: list[Snapshot]  # newest first
    packed: str
    crumbs: list[Crumb]
    up: str | None
    rows: list[Row]
    total: int
    first: int  # of the rows shown, counted from 1; 0 when there is none
    columns: list[Column]
    order: str
    previous: str | None  # addresses of the neighbouring pages
    following: str | None
    newer_id: SnapshotId | None
    older_id: SnapshotId | None
    lines: list[DeletedLine] | None  # what was deleted before this night; None: not asked for


#: Where files of a machine's nights are looked at and opened.
DOORS: Final = Doors("/snapshots/{s}/preview", "/snapshots/{s}/file?p={p}")


class Folders:
    """The last large folders somebody turned pages in: a snapshot never changes, so neither do they."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[SourceId, SnapshotId, bytes, Order], list[Listed]] = (
            OrderedDict()
        )
        self._lock = Lock()

    def page(
        self,
        catalogue: Catalogue,
        snapshot_id: SnapshotId,
        path: bytes,
        *,
        offset: int,
        order: Order,
    ) -> query.Page:
        """Return ROWS lines of a folder from ``offset`` on; raises as ``query.folder``."""
        key = (catalogue.source_id, snapshot_id, path, order)
        with self._lock:
            rows = self._known.get(key)
            if rows is not None:
                self._known.move_to_end(key)
        if rows is None:
            rows = query.folder(catalogue, snapshot_id, path, limit=None, order=order).rows
            if len(rows) > ROWS:
                self._keep(key, rows)
        return query.Page(rows[offset : offset + ROWS], len(rows), offset)

    def _keep(self, key: tuple[SourceId, SnapshotId, bytes, Order], rows: list[Listed]) -> None:
        with self._lock:
            self._known[key] = rows
            while sum(map(len, self._known.values())) > ROWS_KEPT and len(self._known) > 1:
                self._known.popitem(last=False)


def pair(connection: Connection, snapshot_id: SnapshotId) -> tuple[Source, Snapshot]:
    """Return a snapshot and its source.

    Raises:
        NotFound: there is no such snapshot, or its source was removed.
    """
    snapshot = snapshots.get(connection, snapshot_id)
    return sources.get(connection, snapshot.source_id), snapshot


def neighbours(
    others: list[Snapshot], snapshot_id: SnapshotId
) -> tuple[SnapshotId | None, SnapshotId | None]:
    """Return the ids of the next newer and the next older snapshot."""
    ids = [one.id for one in others]
    if snapshot_id not in ids:
        return None, None
    place = ids.index(snapshot_id)
    newer = ids[place - 1] if place > 0 else None
    older = ids[place + 1] if place + 1 < len(ids) else None
    return newer, older


@router.get("/snapshots/{snapshot_id}", name="snapshot", dependencies=[needs(Action.SOURCES_SEE)])
async def show_snapshot(
    request: Request, box: TheBox, visitor: TheVisitor, snapshot_id: SnapshotId
) -> Response:
    """Show what a snapshot is, how it was proven, and what is not in it."""

    def gather(connection: Connection) -> SnapshotPage:
        source, snapshot = pair(connection, snapshot_id)
        others = snapshots.of_source(connection, source.id)
        newer, older = neighbours(others, snapshot_id)
        found: list[ReadEvent] = []
        if visitor.may(Action.SNAPSHOT_BROWSE):  # names of files
            found = snapshots.events(connection, snapshot_id, limit=EVENTS_SHOWN)
        return SnapshotPage(
            source,
            snapshot,
            CONSISTENCY_NAMES[snapshot.consistency],
            [_proof_line(one) for one in proofs.of_snapshot(connection, snapshot_id)],
            event_counts(connection, snapshot_id),
            [
                EventLine(shown(one.path, source), tones.EVENT_NAMES.get(one.kind, one.kind.value))
                for one in found
            ],
            older,
            newer,
        )

    return render(request, await box.read_aside(gather))


def _proof_line(proof: Proof) -> ProofLine:
    known = proof.kind in set(ProofKind)
    return ProofLine(
        proof,
        PROOF_NAMES[ProofKind(proof.kind)] if known else proof.kind,
        OUTCOME_NAMES[proof.outcome],
        tones.OUTCOME[proof.outcome],
    )


@router.post(
    "/snapshots/{snapshot_id}/mark",
    name="snapshot-mark",
    dependencies=[needs(Action.SNAPSHOT_PROTECT)],
)
async def mark_snapshot(
    box: TheBox,
    visitor: TheVisitor,
    snapshot_id: SnapshotId,
    what: Annotated[str, Form()] = "",
    on: Annotated[str, Form()] = "",
) -> Response:
    """Protect a snapshot or put it under legal hold, or end that."""
    if what not in {"protected", "legal_hold"}:
        raise InvalidInput("what", mark("protected or legal_hold."))
    await box.write(lambda c: set_marks(c, snapshot_id, visitor, **{what: on == "1"}))
    return RedirectResponse(f"/snapshots/{snapshot_id}", 303)


def set_marks(
    connection: Connection, snapshot_id: SnapshotId, visitor: Visitor, **marks: bool
) -> None:
    """Set «protected» or «legal_hold», or take it away, inside the caller's write.

    Raises:
        NotFound: there is no such snapshot.
        SnapshotGoing: it is being removed just now.
    """
    snapshot_marks.mark(connection, snapshot_id, **marks)
    for what, on in marks.items():
        events.record(
            connection,
            at=utc_now(),
            event="snapshot.mark",
            subject=f"snapshot:{snapshot_id}",
            person_id=visitor.person.id,
            what=what,
            on=on,
        )


@router.get(
    "/snapshots/{snapshot_id}/browse", name="browse", dependencies=[needs(Action.SNAPSHOT_BROWSE)]
)
async def browse(
    request: Request,
    box: TheBox,
    snapshot_id: SnapshotId,
    p: str = "",
    order: str = Order.NAME.value,
    at: int = 0,
    gone: int = 0,
) -> Response:
    """Show a folder of a snapshot, from its ``at``-th line on; ``gone=1``: and what was deleted before."""
    path = unpacked(p)
    chosen = Order(order) if order in set(Order) else Order.NAME
    start = max(0, at)
    with box.database.read() as connection:
        source, snapshot = pair(connection, snapshot_id)
        others = snapshots.of_source(connection, source.id)

    folders: Folders = request.app.state.folders
    found = await aside(
        lambda: folders.page(
            of_source(box.settings, source.id), snapshot_id, path, offset=start, order=chosen
        )
    )
    newer, older = neighbours(others, snapshot_id)
    packed = pack_path(path)

    def address(offset: int, by: Order = chosen) -> str:
        values = {"p": packed, "order": by.value, "at": offset}
        return f"/snapshots/{snapshot_id}/browse?{urlencode(values)}"

    page = FolderPage(
        source=source,
        snapshot=snapshot,
        others=others,
        packed=packed,
        crumbs=crumbs(path),
        up=pack_path(path.rpartition(b"/")[0]) if path else None,
        rows=[_row(snapshot_id, one) for one in found.rows],
        total=found.total,
        first=found.offset + 1 if found.rows else 0,
        columns=_columns(chosen, address),
        order=chosen.value,
        previous=address(max(0, start - ROWS)) if start > 0 else None,
        following=address(start + ROWS) if start + ROWS < found.total else None,
        newer_id=newer,
        older_id=older,
        lines=await aside(_deleted, box, source.id, snapshot_id, path, others) if gone else None,
    )
    return render(request, page)


def _deleted(
    box: Box, source_id: SourceId, snapshot_id: SnapshotId, path: bytes, nights: list[Snapshot]
) -> list[DeletedLine]:
    found = deleted(of_source(box.settings, source_id), path, before=snapshot_id)
    return deleted_lines(
        [(each, each.path) for each in found[:DELETED_SHOWN]],
        {each.id: each.started_at for each in nights},
        DOORS,
        folders="/snapshots/{s}/browse?p={p}",
        versions=f"/sources/{source_id}/history?p={{p}}",
    )


def _row(snapshot_id: SnapshotId, one: Listed) -> Row:
    return Row(
        readable(one.name),
        pack_path(one.path),
        one.kind.value,
        one.size,
        None if one.is_implied else from_epoch(one.mtime_ns / NS_PER_S),
        one.is_implied,
        *DOORS.of(snapshot_id, pack_path(one.path)),
    )


def _columns(chosen: Order, address: Callable[[int, Order], str]) -> list[Column]:
    made: list[Column] = []
    for text, up, down, css in (
        (mark("Name"), Order.NAME, Order.NAME_DOWN, "name"),
        (mark("Size"), Order.SIZE, Order.SIZE_DOWN, "num"),
        (mark("Modified"), Order.TIME, Order.TIME_DOWN, "num wide"),
    ):
        is_up, is_down = chosen is up, chosen is down
        state = "ascending" if is_up else "descending" if is_down else "none"
        made.append(Column(text, address(0, down if is_up else up), state, css))
    return made


def token_of(path: bytes, snapshot_id: int) -> str:
    """Return a short name of a file in a snapshot for the ledger and ETags: no name is readable in it."""
    digest = sha256(b"%d:" % snapshot_id + path).digest()[:12]
    return urlsafe_b64encode(digest).decode("ascii")


@router.get(
    "/sources/{source_id}/at", name="browse-at", dependencies=[needs(Action.SNAPSHOT_BROWSE)]
)
async def browse_at(
    box: TheBox, source_id: SourceId, snapshot: SnapshotId, p: str = ""
) -> Response:
    """Go to the same folder in another snapshot; where it did not exist, to the nearest one above."""
    path = unpacked(p)
    with box.database.read() as connection:
        source, _ = pair(connection, snapshot)
    if source.id != source_id:
        raise NotFound("snapshot", str(snapshot))

    def nearest() -> bytes:
        catalogue = of_source(box.settings, source_id)
        here = path
        while here:
            try:
                query.folder(catalogue, snapshot, here, limit=1)
            except NotFound:
                here = here.rpartition(b"/")[0]
            else:
                return here
        return b""

    found = await aside(nearest)
    return RedirectResponse(f"/snapshots/{snapshot}/browse?p={pack_path(found)}", 303)
