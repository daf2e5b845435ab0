"""The page of a recovery: how it goes, live; afterwards its sheet, to print and keep."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final, TypeVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from appliance.clock import utc_now
from appliance.errors import NotFound
from appliance.jobs import recovery_status
from appliance.jobs.recovery_status import (
    PHASE_NAMES,
    REPOSITORY_STATES,
    SHARE_STATES,
    Phase,
    RecoveryStatus,
    RepositoryLine,
    ShareLine,
)
from appliance.model import BOX_SOURCE
from appliance.web.deps import Box, TheBox, TheVisitor
from appliance.web.pages import tones
from appliance.web.render import Page, refreshed, render

router = APIRouter(include_in_schema=False)
Shown = TypeVar("Shown", bound="RecoveryPage")

_TONES: Final = {
    "waiting": tones.CALM,
    "fetching": tones.BUSY,
    "restoring": tones.BUSY,
    "right": tones.GOOD,
    "back": tones.GOOD,
    "partly": tones.WARN,
    "damaged": tones.BAD,
    "failed": tones.BAD,
}


@dataclass(frozen=True, slots=True)
class RepositoryView:
    """One repository's line."""

    line: RepositoryLine
    tone: str
    state: str


@dataclass(frozen=True, slots=True)
class ShareView:
    """One share's line."""

    line: ShareLine
    tone: str
    state: str
    is_elsewhere: bool  # in another folder than before


@dataclass(frozen=True, slots=True)
class PhaseView:
    """One of the stations of a recovery."""

    name: str
    is_done: bool
    is_now: bool


@dataclass(frozen=True, slots=True)
class RecoveryPage(Page):
    """Everything recovery.html may use."""

    template: ClassVar[str] = "recovery.html"
    status: RecoveryStatus
    stations: list[PhaseView]
    repositories: list[RepositoryView]
    shares: list[ShareView]
    is_silent: bool
    is_done: bool
    left: timedelta | None
    poll_s: int


@dataclass(frozen=True, slots=True)
class RecoveryFragment(RecoveryPage):
    """The part that is asked for again and again."""

    template: ClassVar[str] = "recovery_live.html"


@router.get("/recovery", name="recovery")
async def show_recovery(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Show how the recovery goes, or went."""
    del visitor  # whoever signed in may know how long it takes
    return render(request, _gather(box, RecoveryPage))


@router.get("/live/recovery", name="live-recovery")
async def show_live(
    request: Request, box: TheBox, visitor: TheVisitor, phase: str = ""
) -> Response:
    """Return the part that changes; the whole page anew when a station was reached."""
    del visitor
    page = _gather(box, RecoveryFragment)
    if phase and phase != page.status.phase.value:
        return refreshed()
    return render(request, page)


def _gather(box: Box, kind: type[Shown]) -> Shown:
    status = recovery_status.read_live(box.settings)
    if status is None:
        raise NotFound("page", "/recovery")
    phases = list(Phase)
    here = phases.index(status.phase)
    is_done = status.phase is Phase.DONE
    return kind(
        status=status,
        stations=[
            PhaseView(PHASE_NAMES[each], place < here or is_done, place == here and not is_done)
            for place, each in enumerate(phases)
            if each is not Phase.DONE
        ],
        repositories=[
            RepositoryView(
                each, _TONES.get(each.state, tones.CALM), REPOSITORY_STATES.get(each.state, "")
            )
            for each in status.repositories
            if each.source_id != BOX_SOURCE
        ],
        shares=[
            ShareView(
                each,
                _TONES.get(each.state, tones.CALM),
                SHARE_STATES.get(each.state, ""),
                status.is_elsewhere(each),
            )
            for each in status.shares
        ],
        is_silent=status.is_silent(utc_now()),
        is_done=is_done,
        left=None if status.left_s is None else timedelta(seconds=status.left_s),
        poll_s=0 if is_done else 2,
    )
