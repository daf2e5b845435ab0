"""The plans as JSON: when a source is backed up, what is kept, what would be removed now."""

from dataclasses import dataclass, replace
from datetime import datetime

from fastapi import APIRouter, Request
from sqlalchemy import Connection

from appliance.clock import from_epoch, utc_now
from appliance.db import sources
from appliance.errors import InvalidInput
from appliance.jobs import queue
from appliance.language import Language, translate
from appliance.model import Job, Source, SourceId
from appliance.packed import pack_path
from appliance.policy.retention import REASON_TEXTS, sentence
from appliance.policy.roles import Action
from appliance.policy.timetable import next_window
from appliance.units import NS_PER_S
from appliance.web.api.v1 import JobBody, job_body
from appliance.web.deps import Box, TheBox, TheVisitor, aside, language_of, needs
from appliance.web.pages.paths import shown
from appliance.web.pages.plan import ask_pruning, foreseen
from appliance.web.plan_wish import NUMBERS, keep_plan, weigh, wish_of

router = APIRouter(prefix="/api/v1/sources/{source_id}", tags=["plans"])


@dataclass(frozen=True, slots=True)
class PlanBody:
    """When a source is backed up, what of it, and what is kept."""

    label: str
    enabled: bool  # it is backed up by itself
    window_start: str  # the practice's time, HH:MM
    window_end: str
    weekdays: list[int]  # nights that begin on; Monday is 1
    within_days: int  # every snapshot of so many days
    daily: int  # then one a day, so many
    weekly: int
    monthly: int
    yearly: int
    pdma_hours: int  # data that may be lost at most
    dmia_hours: int  # interruption at most
    verify_data_every_days: int
    wake_on_lan: bool
    roots: list[str]
    excludes: list[str]  # Borg patterns
    sentence: str  # what is kept, in words
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class PlanChangeBody:
    """What is to change of a plan; what is not named stays."""

    label: str | None = None
    enabled: bool | None = None  # false: paused
    window_start: str | None = None
    window_end: str | None = None
    weekdays: tuple[int, ...] | None = None
    within_days: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None
    pdma_hours: int | None = None
    dmia_hours: int | None = None
    verify_data_every_days: int | None = None
    wake_on_lan: bool | None = None
    roots: tuple[str, ...] | None = None
    excludes: tuple[str, ...] | None = None  # names or Borg patterns


@dataclass(frozen=True, slots=True)
class DecisionBody:
    """What becomes of a snapshot."""

    snapshot_id: int
    started_at: datetime
    is_kept: bool
    reason: str


@dataclass(frozen=True, slots=True)
class LostFileBody:
    """A file that no kept snapshot would show."""

    path: str  # base64, as everywhere
    name: str  # the whole path, for people
    size: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class RetentionBody:
    """What pruning would do just now; nothing was touched."""

    sentence: str
    is_frozen: bool  # something is in doubt, so nothing is removed
    is_known: bool  # false: the list of files is missing, what would be lost is not known
    decisions: list[DecisionBody]  # newest first
    removed: int
    freed_bytes: int
    lost_files: int
    lost_bytes: int
    lost: list[LostFileBody]  # the newest of them; empty for who may not see names of files


@router.get("/plan", name="api-plan", dependencies=[needs(Action.SOURCES_CHANGE)])
async def show_plan(request: Request, box: TheBox, source_id: SourceId) -> PlanBody:
    """Return the plan of a source.

    Raises:
        NotFound.
    """
    with box.database.read() as connection:
        source = sources.get(connection, source_id)
    return _plan(source, box, language_of(request))


@router.patch("/plan", name="api-plan-change", dependencies=[needs(Action.SOURCES_CHANGE)])
async def change_plan(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    source_id: SourceId,
    wanted: PlanChangeBody,
) -> PlanBody:
    """Change a plan, whole or not at all; the ledger keeps it.

    A share keeps its folder; the box keeps all of itself and is always backed up.

    Raises:
        NotFound, InvalidInput.
    """

    def change(connection: Connection) -> Source:
        source = sources.get(connection, source_id)
        wish = wish_of(source)
        given = {
            name: getattr(wanted, name)
            for name in ("label", "enabled", "window_start", "window_end", "wake_on_lan")
        }
        numbers = {name: getattr(wanted, name) for name in NUMBERS}
        wish = replace(
            wish,
            **{name: value for name, value in given.items() if value is not None},
            numbers={
                name: wish.numbers[name] if value is None else value
                for name, value in numbers.items()
            },
            roots=wish.roots if wanted.roots is None else "\n".join(wanted.roots),
            excludes=wish.excludes if wanted.excludes is None else "\n".join(wanted.excludes),
            weekdays=wish.weekdays if wanted.weekdays is None else frozenset(wanted.weekdays),
        )
        kept = weigh(source, wish)
        if isinstance(kept, list):
            first = kept[0]
            said = translate(first.text, language_of(request), **first.facts)
            raise InvalidInput(first.field, said)
        keep_plan(connection, source, kept, visitor)
        return sources.get(connection, source_id)

    return _plan(await box.write(change), box, language_of(request))


@router.get("/retention", name="api-retention", dependencies=[needs(Action.SOURCES_SEE)])
async def show_retention(
    request: Request, box: TheBox, visitor: TheVisitor, source_id: SourceId
) -> RetentionBody:
    """Return what pruning would do now, and which files would be lost.

    Raises:
        NotFound.
    """
    language = language_of(request)
    found = await aside(foreseen, box, source_id)
    would = found.preview
    named = would.lost.first if would and visitor.may(Action.SNAPSHOT_BROWSE) else []
    return RetentionBody(
        sentence=sentence(found.source.plan.keep, language),
        is_frozen=found.is_frozen,
        is_known=would is not None,
        decisions=[
            DecisionBody(
                one.id,
                found.known[one.id].started_at,
                one.kept,
                translate(REASON_TEXTS[one.why], language),
            )
            for one in (would.decisions if would else ())
            if one.id in found.known
        ],
        removed=len(would.removed) if would else 0,
        freed_bytes=would.bytes if would else 0,
        lost_files=would.lost.files if would else 0,
        lost_bytes=would.lost.bytes if would else 0,
        lost=[
            LostFileBody(
                pack_path(one.entry.path),
                shown(one.entry.path, found.source),
                one.entry.size,
                from_epoch(one.entry.mtime_ns / NS_PER_S),
            )
            for one in named
        ],
    )


@router.post("/prune", name="api-prune", status_code=202, dependencies=[needs(Action.PRUNE_RUN)])
async def prune(box: TheBox, visitor: TheVisitor, source_id: SourceId) -> JobBody:
    """Queue the removal of what the plan does not keep; the job decides again. 409 when one waits already.

    Raises:
        NotFound, AlreadyQueued.
    """

    def change(connection: Connection) -> Job:
        return queue.get(connection, ask_pruning(connection, source_id, visitor))

    return job_body(await box.write(change))


def _plan(source: Source, box: Box, language: Language) -> PlanBody:
    plan, keep = source.plan, source.plan.keep
    window = next_window(plan, utc_now(), box.zone)
    return PlanBody(
        source.label,
        plan.enabled,
        plan.window_start,
        plan.window_end,
        list(plan.weekdays),
        keep.within_days,
        keep.daily,
        keep.weekly,
        keep.monthly,
        keep.yearly,
        plan.pdma_hours,
        plan.dmia_hours,
        plan.verify_data_every_days,
        plan.wake_on_lan,
        list(source.roots),
        list(source.excludes),
        sentence(keep, language),
        window.start if window else None,
    )
