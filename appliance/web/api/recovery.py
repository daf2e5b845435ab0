"""How the recovery of this box goes, or went, as JSON: for whoever signed in, as on its page; no token opens it."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request

from appliance.clock import utc_now
from appliance.errors import NotFound
from appliance.jobs import recovery_status
from appliance.jobs.recovery_status import RecoveryStatus, RepositoryLine, ShareLine
from appliance.model import BOX_SOURCE
from appliance.web.deps import TheBox, TheVisitor, aside
from appliance.web.render import Words, words_of

router = APIRouter(prefix="/api/v1/recovery", tags=["drills"])


@dataclass(frozen=True, slots=True)
class RecoveredShareBody:
    """One share whose files go back to a folder."""

    source_id: int
    label: str
    state: str  # waiting · restoring · back · partly · failed
    snapshot_at: datetime | None
    files: int
    bytes: int
    left_alone: int  # files whose name was taken already
    failed: int
    folder: str | None  # another than before; null: that of before
    problem: str  # in the reader's language


@dataclass(frozen=True, slots=True)
class RecoveryBody:
    """A recovery at one moment."""

    phase: str  # state · repositories · shares · done
    at: datetime
    is_silent: bool  # nobody writes this any more, though it is not done
    is_whole: bool  # everything is back, read again and right
    started_at: datetime
    place: str  # label of where the copy lies
    generation: int
    taken_at: datetime  # the moment of the box that it holds
    lost_s: int  # seconds of work that newer, unusable generations held
    state_at: datetime | None  # accounts, rights and catalogues are back
    readable_at: datetime | None  # the first document was read
    finished_at: datetime | None
    bytes_back: int
    bytes_total: int
    bytes_s: float
    left_s: int | None
    documents_read: int  # straight from the copy
    secrets: int
    unreadable_secrets: int
    repositories: list[RepositoryLine]
    shares: list[RecoveredShareBody]
    remarks: list[str]  # what places withheld, altered, lack; in the reader's language


@router.get("", name="api-recovery")
async def show_recovery(request: Request, box: TheBox, visitor: TheVisitor) -> RecoveryBody:
    """Return how far it is.

    Raises:
        NotFound: this box was never made again from a copy.
    """
    del visitor  # whoever signed in may know how long it takes
    status = await aside(recovery_status.read_live, box.settings)
    if status is None:
        raise NotFound("page", request.url.path)
    words = words_of(request)
    return RecoveryBody(
        phase=status.phase.value,
        at=status.at,
        is_silent=status.is_silent(utc_now()),
        is_whole=status.is_whole,
        started_at=status.started_at,
        place=status.place,
        generation=status.number,
        taken_at=status.taken_at,
        lost_s=status.lost_s,
        state_at=status.state_at,
        readable_at=status.readable_at,
        finished_at=status.finished_at,
        bytes_back=status.bytes_back,
        bytes_total=status.bytes_total,
        bytes_s=status.bytes_s,
        left_s=status.left_s,
        documents_read=status.documents_read,
        secrets=status.secrets,
        unreadable_secrets=len(status.unreadable_secrets),
        repositories=[each for each in status.repositories if each.source_id != BOX_SOURCE],
        shares=[_share(status, each, words) for each in status.shares],
        remarks=[words.explain(text, facts) for text, facts in status.remarks],
    )


def _share(status: RecoveryStatus, line: ShareLine, words: Words) -> RecoveredShareBody:
    return RecoveredShareBody(
        line.source_id,
        line.label,
        line.state,
        line.snapshot_at,
        line.files,
        line.bytes,
        line.left_alone,
        line.failed,
        line.root if status.is_elsewhere(line) else None,
        words.explain(line.problem, line.problem_facts) if line.problem else "",
    )
