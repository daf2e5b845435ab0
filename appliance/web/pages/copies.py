"""The copies: where they lie, what was proven about each, what is being sent just now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import Response

from appliance.clock import utc_now
from appliance.db import targets
from appliance.jobs import copy_readings
from appliance.jobs.copy_readings import CopyStatus
from appliance.model import Job, JobState
from appliance.policy.copy_status import COPY_LEVEL_NAMES
from appliance.policy.findings import Finding, gravest_first
from appliance.policy.roles import Action
from appliance.web.deps import Box, TheBox, needs
from appliance.web.pages import tones
from appliance.web.pages.copies_view import (
    ProofLine,
    RuleLine,
    at_work,
    copy_name,
    level_tone,
    overall_sentence,
    overall_tone,
    picture,
    proof_lines,
    rule_lines,
    where_words,
)
from appliance.web.pages.copy_map import Drawing
from appliance.web.pages.home import ToDo
from appliance.web.pages.job_view import JobView, view
from appliance.web.render import Page, Words, refreshed, render, words_of

router = APIRouter(include_in_schema=False)

#: Seconds between two looks of an open page.
FAST_S = 1
SLOW_S = 15


@dataclass(frozen=True, slots=True)
class CopyLine:
    """One copy on the list."""

    status: CopyStatus
    tone: str
    level_name: str
    sentence: str
    where: str
    proofs: list[ProofLine]


@dataclass(frozen=True, slots=True)
class Transfer:
    """What is done about a copy just now."""

    label: str
    name: str
    job: JobView


@dataclass(frozen=True, slots=True)
class CopiesPage(Page):
    """Everything copies/list.html may use."""

    template: ClassVar[str] = "copies/list.html"
    sentence: str
    tone: str
    drawings: tuple[Drawing, Drawing]
    lines: list[CopyLine]
    rule: list[RuleLine]
    todo: list[ToDo]
    transfers: list[Transfer]
    waiting: int
    poll_s: int


@dataclass(frozen=True, slots=True)
class TransfersFragment(Page):
    """What is done about the copies just now: polled."""

    template: ClassVar[str] = "_partials/copy_running.html"
    transfers: list[Transfer]
    waiting: int


@router.get("/copies", name="copies", dependencies=[needs(Action.COPIES_SEE)])
async def list_copies(request: Request, box: TheBox) -> Response:
    """Show every copy on the map and in words."""
    words = words_of(request)
    page = await box.read_aside(lambda connection: _gather(connection, box, words))
    return render(request, page)


@router.get("/live/copies", name="live-copies", dependencies=[needs(Action.COPIES_SEE)])
async def poll_copies(request: Request, box: TheBox, pace: int = 0) -> Response:
    """Return what is being sent; when work begins or ends, the page is loaded anew."""
    with box.database.read() as connection:
        labels = {int(each.id): (each.label, each.name) for each in targets.all_living(connection)}
        transfers, waiting = running_now(at_work(connection), labels)
    if pace and pace != pace_of(transfers, waiting):
        return refreshed()
    return render(request, TransfersFragment(transfers, waiting))


def _gather(connection: Connection, box: Box, words: Words) -> CopiesPage:
    now = utc_now()
    statuses = copy_readings.copy_statuses(connection, box.settings, now)
    busy = at_work(connection)
    labels = {int(each.target.id): (each.target.label, each.target.name) for each in statuses}
    transfers, waiting = running_now(busy, labels)
    names = {int(each.target.id): each.target.name for each in statuses}
    findings = findings_of(connection, box, now, statuses)
    return CopiesPage(
        sentence=overall_sentence(statuses, words),
        tone=overall_tone(statuses),
        drawings=picture(statuses, busy, words),
        lines=[line_of(each, words) for each in statuses],
        rule=rule_lines(
            copy_readings.copies_indicator(connection, box.settings, now, statuses), words
        ),
        todo=[
            ToDo(
                one, tones.SEVERITY[one.severity], False, copy_name(one.facts.get("target"), names)
            )
            for one in findings
        ],
        transfers=transfers,
        waiting=waiting,
        poll_s=pace_of(transfers, waiting),
    )


def findings_of(
    connection: Connection, box: Box, now: datetime, statuses: list[CopyStatus]
) -> list[Finding]:
    """Return what needs doing about the copies, the gravest first; nothing while there is none."""
    if not statuses:
        return []
    return gravest_first(copy_readings.copy_findings(connection, box.settings, now, statuses))


def line_of(status: CopyStatus, words: Words) -> CopyLine:
    """Return one copy in words."""
    return CopyLine(
        status,
        level_tone(status),
        COPY_LEVEL_NAMES[status.level],
        status.sentence.words(words.language),
        where_words(status.target, words),
        proof_lines(status),
    )


def running_now(
    busy: Mapping[int, list[Job]], labels: Mapping[int, tuple[str, str]]
) -> tuple[list[Transfer], int]:
    """Return what runs about living copies, and how many tasks wait for their turn."""
    now = utc_now()
    transfers: list[Transfer] = []
    waiting = 0
    for target_id, jobs in busy.items():
        if target_id not in labels:
            continue
        label, name = labels[target_id]
        transfers += [
            Transfer(label, name, view(job, {}, now))
            for job in jobs
            if job.state is JobState.RUNNING
        ]
        waiting += sum(job.state is JobState.QUEUED and job.not_before <= now for job in jobs)
    return transfers, waiting


def pace_of(transfers: Sequence[Transfer], waiting: int) -> int:
    """Return seconds between two looks of an open page."""
    return FAST_S if transfers or waiting else SLOW_S
