"""A snapshot as JSON: what it is, how it was proven, what is not in it, its marks; what differs between two."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import Connection

from appliance.catalogue.deleted import deleted
from appliance.catalogue.differences import Change
from appliance.catalogue.store import of_source
from appliance.clock import from_epoch
from appliance.db import snapshots, sources
from appliance.language import translate
from appliance.ledger import proofs
from appliance.model import ReadEvent, SnapshotId, Source, SourceId
from appliance.packed import pack_path
from appliance.policy.roles import Action
from appliance.units import NS_PER_S
from appliance.web.api.disk_details import TouchBody
from appliance.web.api.v1 import SnapshotBody, snapshot_body
from appliance.web.deps import TheBox, TheVisitor, aside, language_of, needs
from appliance.web.pages.browse import DELETED_SHOWN, EVENTS_SHOWN, neighbours, pair, set_marks
from appliance.web.pages.history import touches_of
from appliance.web.pages.paths import readable, shown, unpacked
from appliance.web.pages.search import compared
from appliance.web.pages.sources import event_counts

router = APIRouter(prefix="/api/v1", tags=["snapshots"])


@dataclass(frozen=True, slots=True)
class SnapshotProofBody:
    """One proof about a snapshot."""

    kind: str
    outcome: str  # proven · failed · inconclusive
    at: datetime
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReadEventBody:
    """A file that is not, or not surely, in the snapshot as it was."""

    kind: str
    path: str  # base64
    name: str  # the whole path, for people
    reason: str


@dataclass(frozen=True, slots=True)
class SnapshotDetailBody:
    """Everything about a snapshot but its files."""

    snapshot: SnapshotBody
    proofs: list[SnapshotProofBody]
    event_counts: dict[str, int]  # kind → how many files
    events: list[ReadEventBody]  # empty for who may not see names of files
    older_id: int | None
    newer_id: int | None


@dataclass(frozen=True, slots=True)
class MarksBody:
    """Marks to set or to take away; what is not named stays."""

    protected: bool | None = None
    legal_hold: bool | None = None


@dataclass(frozen=True, slots=True)
class ChangeBody:
    """One difference between two snapshots."""

    kind: str  # added · changed · removed
    path: str  # base64
    name: str  # the whole path, for people
    before_size: int | None
    after_size: int | None


@dataclass(frozen=True, slots=True)
class ComparisonBody:
    """What differs between two snapshots."""

    before_id: int | None  # null: there are not two
    after_id: int | None
    counts: dict[str, int]
    is_more: bool  # the counts are not whole
    changes: list[ChangeBody]  # 500 at most, by folder and name


@dataclass(frozen=True, slots=True)
class GoneBody:
    """Something that was in a folder once."""

    path: str  # base64
    name: str
    kind: str
    size: int
    modified_at: datetime
    snapshot_id: int  # the newest that shows it


@router.get(
    "/snapshots/{snapshot_id}", name="api-snapshot", dependencies=[needs(Action.SOURCES_SEE)]
)
async def show(box: TheBox, visitor: TheVisitor, snapshot_id: SnapshotId) -> SnapshotDetailBody:
    """Return what a snapshot is, how it was proven, and what is not in it.

    Raises:
        NotFound.
    """

    def gather(connection: Connection) -> SnapshotDetailBody:
        source, snapshot = pair(connection, snapshot_id)
        newer, older = neighbours(snapshots.of_source(connection, source.id), snapshot_id)
        found: list[ReadEvent] = []
        if visitor.may(Action.SNAPSHOT_BROWSE):  # names of files
            found = snapshots.events(connection, snapshot_id, limit=EVENTS_SHOWN)
        return SnapshotDetailBody(
            snapshot_body(snapshot),
            [
                SnapshotProofBody(one.kind, one.outcome.value, one.at, dict(one.figures))
                for one in proofs.of_snapshot(connection, snapshot_id)
            ],
            {kind: count for kind, count, _ in event_counts(connection, snapshot_id)},
            [
                ReadEventBody(
                    one.kind.value, pack_path(one.path), shown(one.path, source), one.reason
                )
                for one in found
            ],
            older,
            newer,
        )

    return await box.read_aside(gather)


@router.patch(
    "/snapshots/{snapshot_id}",
    name="api-snapshot-mark",
    dependencies=[needs(Action.SNAPSHOT_PROTECT)],
)
async def mark_snapshot(
    box: TheBox, visitor: TheVisitor, snapshot_id: SnapshotId, wanted: MarksBody
) -> SnapshotBody:
    """Protect a snapshot or put it under legal hold, or end that; the ledger keeps it.

    Raises:
        NotFound, SnapshotGoing.
    """
    marks = {"protected": wanted.protected, "legal_hold": wanted.legal_hold}

    def change(connection: Connection) -> SnapshotBody:
        pair(connection, snapshot_id)
        given = {what: on for what, on in marks.items() if on is not None}
        set_marks(connection, snapshot_id, visitor, **given)
        return snapshot_body(snapshots.get(connection, snapshot_id))

    return await box.write(change)


@router.get(
    "/sources/{source_id}/compare",
    name="api-compare",
    dependencies=[needs(Action.SNAPSHOT_BROWSE)],
)
async def compare(
    box: TheBox, source_id: SourceId, a: int = 0, b: int = 0, only: str = ""
) -> ComparisonBody:
    """Return what is different in snapshot ``b`` from ``a``, by default the newest two; ``only``: of one kind.

    Raises:
        NotFound.
    """
    found = await aside(compared, box, source_id, a, b, only)
    return ComparisonBody(
        None if found.before is None else found.before.id,
        None if found.after is None else found.after.id,
        {kind.value: count for kind, count in found.counts.items()},
        found.is_more,
        [_change(one, found.source) for one in found.changes],
    )


@router.get(
    "/snapshots/{snapshot_id}/deleted",
    name="api-deleted",
    dependencies=[needs(Action.SNAPSHOT_BROWSE)],
)
async def list_deleted(box: TheBox, snapshot_id: SnapshotId, p: str = "") -> list[GoneBody]:
    """Return what earlier snapshots show in a folder and this one does not: 500 at most, folders first.

    Raises:
        NotFound, InvalidInput.
    """
    path = unpacked(p)
    with box.database.read() as connection:
        source, _ = pair(connection, snapshot_id)
    found = await aside(
        lambda: deleted(of_source(box.settings, source.id), path, before=snapshot_id)
    )
    return [
        GoneBody(
            pack_path(one.path),
            readable(one.name),
            one.kind.value,
            one.size,
            from_epoch(one.mtime_ns / NS_PER_S),
            one.last,
        )
        for one in found[:DELETED_SHOWN]
    ]


@router.get(
    "/sources/{source_id}/touches",
    name="api-touches",
    dependencies=[needs(Action.SNAPSHOT_BROWSE)],
)
async def list_touches(
    request: Request, box: TheBox, source_id: SourceId, p: str = ""
) -> list[TouchBody]:
    """Return who opened a file of a source out of its snapshots, newest first.

    Raises:
        NotFound, InvalidInput.
    """
    path, language = unpacked(p), language_of(request)

    def look(connection: Connection) -> list[TouchBody]:
        sources.get(connection, source_id)
        nights = snapshots.of_source(connection, source_id)
        return [
            TouchBody(each.at, each.who, translate(each.what, language))
            for each in touches_of(connection, nights, path)
        ]

    return await box.read_aside(look)


def _change(one: Change, source: Source) -> ChangeBody:
    return ChangeBody(
        one.kind.value,
        pack_path(one.path),
        shown(one.path, source),
        None if one.before is None else one.before.size,
        None if one.after is None else one.after.size,
    )
