"""What a task did, as JSON: its log and its end in words, and the tasks that followed from it."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request

from appliance.language import translate
from appliance.model import JobId
from appliance.policy.roles import Action
from appliance.web.api.v1 import JobBody, job_body
from appliance.web.deps import TheBox, needs
from appliance.web.pages.jobs import job_page
from appliance.web.render import words_of

router = APIRouter(prefix="/api/v1/jobs", tags=["v1"])


@dataclass(frozen=True, slots=True)
class JobNoteBody:
    """One line of a task's log."""

    at: datetime
    level: str  # info · warning · error
    text: str


@dataclass(frozen=True, slots=True)
class JobLogBody:
    """What a task did."""

    job: JobBody
    title: str
    state: str  # in words
    error: str | None  # what went wrong, and what to do
    took_s: float | None
    remaining_s: float | None  # of a running one, once it can be told
    notes: list[JobNoteBody]  # oldest first
    parent_id: int | None  # the task it followed from
    children: list[JobBody]  # those that followed from it


@router.get("/{job_id}/log", name="api-job-log", dependencies=[needs(Action.JOBS_SEE)])
async def show_log(request: Request, box: TheBox, job_id: JobId) -> JobLogBody:
    """Return what a task did, in the reader's language.

    Raises:
        NotFound.
    """
    words = words_of(request)
    page = await box.read_aside(lambda c: job_page(c, job_id))
    view = page.job
    return JobLogBody(
        job_body(view.job),
        translate(view.title, words.language),
        translate(view.state_name, words.language),
        None if view.error is None else words.explain(view.error, view.error_facts),
        None if view.took is None else view.took.total_seconds(),
        None if view.remaining is None else view.remaining.total_seconds(),
        [JobNoteBody(one.at, one.level, words.explain(one.text, one.facts)) for one in page.notes],
        view.job.parent_id,
        [job_body(one.job) for one in page.children],
    )
