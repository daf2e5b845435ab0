"""When a source is backed up, what is kept, and what would be removed now."""

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.catalogue.prune_preview import PrunePreview, preview
from appliance.catalogue.store import of_source
from appliance.clock import utc_now
from appliance.db import snapshots, sources
from appliance.errors import AlreadyQueued, CatalogueMissing
from appliance.jobs import frozen
from appliance.jobs.kinds import Prune
from appliance.language import Language, mark, translate
from appliance.model import JobId, Plan, Snapshot, SnapshotId, Source, SourceId
from appliance.policy.retention import REASON_TEXTS, sentence
from appliance.policy.roles import Action
from appliance.web.asking import ask
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, language_of, needs
from appliance.web.pages.paths import shown
from appliance.web.plan_wish import NUMBERS, PlanWish, keep_plan, weigh
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]

DAYS: Final = (
    mark("Monday"),
    mark("Tuesday"),
    mark("Wednesday"),
    mark("Thursday"),
    mark("Friday"),
    mark("Saturday"),
    mark("Sunday"),
)


@dataclass(frozen=True, slots=True)
class PlanPage(Page):
    """The plan as a form."""

    template: ClassVar[str] = "sources/plan.html"
    source: Source
    plan: Plan
    roots: str
    excludes: str
    days: tuple[str, ...]
    promise: str
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DecisionLine:
    """What becomes of a snapshot."""

    snapshot: Snapshot
    kept: bool
    reason: str


@dataclass(frozen=True, slots=True)
class LostLine:
    """A file that no kept snapshot would show."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class RetentionPage(Page):
    """What pruning would do just now."""

    template: ClassVar[str] = "sources/retention.html"
    source: Source
    promise: str
    lines: list[DecisionLine]  # newest first
    removed: int
    freed_bytes: int
    lost_files: int
    lost_bytes: int
    lost: list[LostLine]
    is_frozen: bool
    is_unknown: bool  # the list of files is missing, so what would be lost is not known
    done: str | None


@router.get("/sources/{source_id}/plan", name="plan", dependencies=[needs(Action.SOURCES_CHANGE)])
async def show_plan(request: Request, box: TheBox, source_id: SourceId) -> Response:
    """Show the plan as a form."""
    with box.database.read() as connection:
        source = sources.get(connection, source_id)
    return render(request, _page(source, source.plan, language_of(request)))


def _page(
    source: Source,
    plan: Plan,
    language: Language,
    *,
    roots: str | None = None,
    excludes: str | None = None,
    problems: tuple[tuple[str, str], ...] = (),
) -> PlanPage:
    return PlanPage(
        source,
        plan,
        "\n".join(source.roots) if roots is None else roots,
        "\n".join(source.excludes) if excludes is None else excludes,
        DAYS,
        sentence(plan.keep, language),
        problems,
    )


@router.post(
    "/sources/{source_id}/plan", name="plan-change", dependencies=[needs(Action.SOURCES_CHANGE)]
)
async def change_plan(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    source_id: SourceId,
    window_start: Text = "",
    window_end: Text = "",
    roots: Text = "",
    excludes: Text = "",
    label: Text = "",
) -> Response:
    """Change the plan, or show the form again with what is wrong."""
    form = await request.form()
    language = language_of(request)
    with box.database.read() as connection:
        source = sources.get(connection, source_id)
    wish = PlanWish(
        label=label,
        roots=roots,
        excludes=excludes,
        window_start=window_start,
        window_end=window_end,
        weekdays=frozenset(
            int(str(day)) for day in form.getlist("weekdays") if str(day) in set("1234567")
        ),
        numbers={name: _number(str(form.get(name, ""))) for name in NUMBERS},
        wake_on_lan="wake_on_lan" in form,
        enabled="enabled" in form,
    )
    kept = weigh(source, wish)
    if isinstance(kept, list):
        problems = tuple((one.field, translate(one.text, language, **one.facts)) for one in kept)
        page = _page(
            source, source.plan, language, roots=roots, excludes=excludes, problems=problems
        )
        return render(request, page, 422)
    await box.write(lambda c: keep_plan(c, source, kept, visitor))
    return RedirectResponse(f"/sources/{source_id}?done=plan", 303)


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text.strip()) else None


@router.get(
    "/sources/{source_id}/retention", name="retention", dependencies=[needs(Action.SOURCES_SEE)]
)
async def show_retention(
    request: Request, box: TheBox, visitor: TheVisitor, source_id: SourceId, done: str = ""
) -> Response:
    """Show what pruning would do now, and which files would be lost."""
    language = language_of(request)

    def gather() -> RetentionPage:
        found = foreseen(box, source_id)
        would, lost = found.preview, found.preview.lost if found.preview else None
        sees_names = visitor.may(Action.SNAPSHOT_BROWSE)
        return RetentionPage(
            found.source,
            sentence(found.source.plan.keep, language),
            [
                DecisionLine(found.known[one.id], one.kept, REASON_TEXTS[one.why])
                for one in (would.decisions if would else ())
                if one.id in found.known
            ],
            len(would.removed) if would else 0,
            would.bytes if would else 0,
            lost.files if lost else 0,
            lost.bytes if lost else 0,
            [
                LostLine(shown(one.entry.path, found.source), one.entry.size)
                for one in (lost.first if lost and sees_names else [])
            ],
            found.is_frozen,
            would is None,
            done or None,
        )

    return render(request, await aside(gather))


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What pruning would do to a source just now."""

    source: Source
    known: dict[SnapshotId, Snapshot]
    is_frozen: bool  # nothing is removed while something is in doubt
    preview: (
        PrunePreview | None
    )  # None: the list of files is missing; what would be lost is not known


def foreseen(box: Box, source_id: SourceId) -> Foreseen:
    """Return what pruning would do; reads a catalogue, so aside.

    Raises:
        NotFound: there is no such source.
    """
    now = utc_now()
    with box.database.read() as connection:
        source = sources.get(connection, source_id)
        known = {one.id: one for one in snapshots.of_source(connection, source_id)}
        is_frozen = bool(frozen.reasons(connection, source, now=now))
        try:
            catalogue = of_source(box.settings, source_id)
            found = preview(connection, catalogue, source, now=now, tz=box.zone)
        except CatalogueMissing:
            return Foreseen(source, known, is_frozen, None)
    return Foreseen(source, known, is_frozen, found)


@router.post("/sources/{source_id}/prune", name="prune", dependencies=[needs(Action.PRUNE_RUN)])
async def prune(box: TheBox, visitor: TheVisitor, source_id: SourceId) -> Response:
    """Queue the removal; the job decides again, and refuses while something is in doubt."""

    def change(connection: Connection) -> int:
        try:
            return ask_pruning(connection, source_id, visitor)
        except AlreadyQueued as waiting:
            return waiting.job_id

    job_id = await box.write(change)
    return RedirectResponse(f"/jobs/{job_id}", 303)


def ask_pruning(connection: Connection, source_id: SourceId, visitor: Visitor) -> JobId:
    """Queue the removal of what a plan does not keep, and write down who asked.

    Raises:
        NotFound, AlreadyQueued.
    """
    sources.get(connection, source_id)
    return ask(connection, Prune(source_id), "prune.ask", f"source:{source_id}", visitor)
