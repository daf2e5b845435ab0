"""The tasks: what runs, what waits, what ended and how."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection, Row
from starlette.responses import RedirectResponse, Response

from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.shares import ShareId
from appliance.disk import restoring_draft
from appliance.errors import ArmoireError
from appliance.jobs import queue
from appliance.jobs.kinds import RestoreFolder, from_json
from appliance.ledger import events
from appliance.model import JobId, JobState
from appliance.policy.roles import Action
from appliance.web.deps import Box, TheBox, TheVisitor, aside, needs
from appliance.web.pages.home import copies_by_id, sources_by_id
from appliance.web.pages.job_view import JobView, view
from appliance.web.render import Page, refreshed, render

router = APIRouter(include_in_schema=False)

SHOWN: Final = 50
#: Seconds between two looks of an open page.
FAST_S: Final = 1
SLOW_S: Final = 10


@dataclass(frozen=True, slots=True)
class JobsPage(Page):
    """Every task, newest first."""

    template: ClassVar[str] = "jobs/list.html"
    active: list[JobView]
    ended: list[JobView]
    older_than: int | None  # id to go on from
    poll_s: int


@dataclass(frozen=True, slots=True)
class JobsFragment(Page):
    """The part of the list that changes by itself."""

    template: ClassVar[str] = "_partials/jobs_list.html"
    active: list[JobView]
    ended: list[JobView]
    older_than: int | None


@dataclass(frozen=True, slots=True)
class NoteLine:
    """One line of a task's log."""

    at: datetime
    level: str
    text: str
    facts: dict[str, object]


@dataclass(frozen=True, slots=True)
class JobPage(Page):
    """One task."""

    template: ClassVar[str] = "jobs/show.html"
    job: JobView
    notes: list[NoteLine]
    children: list[JobView]
    parent: JobView | None
    poll_s: int | None  # None: it has ended, nothing changes any more


@dataclass(frozen=True, slots=True)
class JobFragment(Page):
    """The part of a task's page that changes by itself."""

    template: ClassVar[str] = "_partials/job.html"
    job: JobView
    notes: list[NoteLine]
    children: list[JobView]


def _list(connection: Connection, before: int | None) -> JobsPage:
    now = utc_now()
    known = sources_by_id(connection)
    names = copies_by_id(connection)
    active = [] if before else [view(job, known, now, names) for job in queue.waiting(connection)]
    ended = queue.newest(connection, limit=SHOWN, states=queue.ENDED, before_id=before)
    return JobsPage(
        active=active,
        ended=[view(job, known, now, names) for job in ended],
        older_than=ended[-1].id if len(ended) == SHOWN else None,
        poll_s=FAST_S if any(one.is_running for one in active) else SLOW_S,
    )


@router.get("/jobs", name="jobs", dependencies=[needs(Action.JOBS_SEE)])
async def list_jobs(request: Request, box: TheBox, before: int | None = None) -> Response:
    """Show the tasks; older ones page by page."""
    return render(request, await box.read_aside(lambda connection: _list(connection, before)))


@router.get("/live/jobs", name="live-jobs", dependencies=[needs(Action.JOBS_SEE)])
async def poll_jobs(request: Request, box: TheBox, pace: int = 0) -> Response:
    """Return the list as it is now."""
    page = await box.read_aside(lambda connection: _list(connection, None))
    if pace and pace != page.poll_s:
        return refreshed()
    return render(request, JobsFragment(page.active, page.ended, page.older_than))


def job_page(connection: Connection, job_id: JobId) -> JobPage:
    """Return one task with its log and what followed from it.

    Raises:
        NotFound: there is no such task.
    """
    now = utc_now()
    known = sources_by_id(connection)
    names = copies_by_id(connection)
    job = queue.get(connection, job_id)
    parent = None if job.parent_id is None else queue.get(connection, job.parent_id)
    is_over = job.state in queue.ENDED
    return JobPage(
        job=view(job, known, now, names),
        notes=[_note(row) for row in queue.notes(connection, job_id)],
        children=[view(one, known, now, names) for one in queue.children(connection, job_id)],
        parent=None if parent is None else view(parent, known, now, names),
        poll_s=None if is_over else FAST_S if job.state is JobState.RUNNING else 3,
    )


def _note(row: Row[Any]) -> NoteLine:
    return NoteLine(row.at, row.level, row.text, dict(row.facts))


@router.get("/jobs/{job_id}", name="job", dependencies=[needs(Action.JOBS_SEE)])
async def show_job(request: Request, box: TheBox, job_id: JobId) -> Response:
    """Show one task."""
    return render(request, await box.read_aside(lambda connection: job_page(connection, job_id)))


@router.get("/live/jobs/{job_id}", name="live-job", dependencies=[needs(Action.JOBS_SEE)])
async def poll_job(request: Request, box: TheBox, job_id: JobId, pace: int = 0) -> Response:
    """Return a task as it is now; once it has ended, the page is loaded anew and polls no more."""
    page = await box.read_aside(lambda connection: job_page(connection, job_id))
    if pace and pace != page.poll_s:
        return refreshed()
    return render(request, JobFragment(page.job, page.notes, page.children))


@router.post("/jobs/{job_id}/cancel", name="job-cancel", dependencies=[needs(Action.JOBS_CANCEL)])
async def cancel_job(box: TheBox, visitor: TheVisitor, job_id: JobId) -> Response:
    """Stop a task: at once when it waits, at its next step when it runs."""
    await cancel(box, visitor, job_id)
    return RedirectResponse(f"/jobs/{job_id}", 303)


async def cancel(box: Box, visitor: TheVisitor, job_id: JobId) -> JobState:
    """Ask a job to stop, write who asked, return its state.

    Of a folder that was to come back and waited, what had been fetched is removed here: no process of it is there to.
    """
    now = utc_now()

    def change(connection: Connection) -> JobState:
        state = queue.ask_cancel(connection, job_id, now=now)
        if state in {JobState.RUNNING, JobState.CANCELLED}:
            events.record(
                connection,
                at=now,
                event="job.cancel",
                subject=f"job:{job_id}",
                person_id=visitor.person.id,
            )
        return state

    state = await box.write(change)
    if state is JobState.CANCELLED:
        await aside(_leave_nothing, box, job_id)
    return state


def _leave_nothing(box: Box, job_id: JobId) -> None:
    with suppress(
        ArmoireError, OSError
    ):  # the night tidies what stays: the job is stopped in any case
        with box.database.read() as connection:
            job = queue.get(connection, job_id)
            spec = from_json(job.kind, job.spec)
            if not isinstance(spec, RestoreFolder):
                return
            share = shares.get(connection, ShareId(spec.share_id))
        restoring_draft.forget(share, str(spec.draft))
