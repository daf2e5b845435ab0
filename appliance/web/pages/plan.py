"""When a source is backed up, what is kept, and what would be removed now."""

import re
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.catalogue.prune_preview import PrunePreview, preview
from appliance.catalogue.store import of_source
from appliance.clock import utc_now
from appliance.db import snapshots, sources
from appliance.errors import AlreadyQueued, CatalogueMissing, InvalidInput
from appliance.jobs import frozen, queue
from appliance.jobs.kinds import Prune
from appliance.language import Language, mark, translate
from appliance.ledger import events
from appliance.model import Keep, Plan, Snapshot, Source, SourceId, SourceKind
from appliance.policy.retention import REASON_TEXTS, sentence
from appliance.policy.roles import Action
from appliance.web.deps import TheBox, TheVisitor, aside, language_of, needs
from appliance.web.pages.paths import shown
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
_TIME: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_STYLE: Final = re.compile(r"(sh|pf|pp|fm|re):.+")
#: Form field → (least, most).
_NUMBERS: Final = {
    "within_days": (0, 3650),
    "daily": (0, 3650),
    "weekly": (0, 520),
    "monthly": (0, 240),
    "yearly": (0, 30),
    "pdma_hours": (1, 24 * 31),
    "dmia_hours": (1, 24 * 31),
    "verify_data_every_days": (1, 365),
}


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
    problems: list[tuple[str, str]] = []

    def wrong(field: str, text: str, **said: object) -> None:
        problems.append((field, translate(text, language, **said)))

    numbers: dict[str, int] = {}
    for name, (least, most) in _NUMBERS.items():
        text = str(form.get(name, "")).strip()
        if text.isdecimal() and least <= int(text) <= most:
            numbers[name] = int(text)
        else:
            wrong(name, mark("A whole number from %(least)s to %(most)s."), least=least, most=most)
    for name, text in (("window_start", window_start), ("window_end", window_end)):
        if not _TIME.fullmatch(text):
            wrong(name, mark("A time such as 20:00."))
    days = tuple(
        sorted({int(str(day)) for day in form.getlist("weekdays") if str(day) in set("1234567")})
    )
    if not days:
        wrong("weekdays", mark("Choose at least one day."))
    try:
        is_fixed = source.kind in {SourceKind.SHARE, SourceKind.BOX}
        root_lines = source.roots if is_fixed else _roots(roots, source)
    except InvalidInput as error:
        root_lines = source.roots
        wrong("roots", error.expected)
    try:
        is_box = source.kind is SourceKind.BOX  # all of it, always
        exclude_lines = source.excludes if is_box else parse_excludes(excludes)
    except InvalidInput as error:
        exclude_lines = source.excludes
        wrong("excludes", error.expected)
    name = " ".join(label.split())
    if not 2 <= len(name) <= 100:
        wrong("label", mark("A name of 2 to 100 characters."))
    if problems:
        page = _page(
            source, source.plan, language, roots=roots, excludes=excludes, problems=tuple(problems)
        )
        return render(request, page, 422)
    keep = Keep(**{each: numbers[each] for each in Keep.__dataclass_fields__})
    plan = replace(
        source.plan,
        window_start=window_start,
        window_end=window_end,
        weekdays=days,
        keep=keep,
        pdma_hours=numbers["pdma_hours"],
        dmia_hours=numbers["dmia_hours"],
        verify_data_every_days=numbers["verify_data_every_days"],
        wake_on_lan="wake_on_lan" in form,
        enabled="enabled" in form or source.kind is SourceKind.BOX,
    )
    now = utc_now()

    def change(connection: Connection) -> None:
        sources.change(
            connection, source_id, plan=plan, roots=root_lines, excludes=exclude_lines, label=name
        )
        events.record(
            connection,
            at=now,
            event="plan.change",
            subject=f"source:{source_id}",
            person_id=visitor.person.id,
            enabled=plan.enabled,
            window=f"{plan.window_start}-{plan.window_end}",
            within_days=keep.within_days,
            daily=keep.daily,
            weekly=keep.weekly,
            monthly=keep.monthly,
            yearly=keep.yearly,
        )

    await box.write(change)
    return RedirectResponse(f"/sources/{source_id}?done=plan", 303)


def _roots(text: str, source: Source) -> tuple[str, ...]:
    return parse_roots(text, is_windows=source.system.value == "windows")


def parse_roots(text: str, *, is_windows: bool) -> tuple[str, ...]:
    r"""Return the folders written one a line, ``C:\Users`` as ``C:/Users``.

    Raises:
        InvalidInput: there is none, or one is not a whole path.
    """
    found: list[str] = []
    for line in text.splitlines():
        root = line.strip().replace("\\", "/") if is_windows else line.strip()
        if not root:
            continue
        is_whole = re.match(r"[A-Za-z]:/", root) if is_windows else root.startswith("/")
        if not is_whole or ".." in root.split("/") or "\0" in root:
            raise InvalidInput(
                "roots", mark("Whole paths, one a line: «/home/anna» or «C:\\Users\\anna».")
            )
        found.append(root)
    if not found:
        raise InvalidInput("roots", mark("Name at least one folder."))
    return tuple(dict.fromkeys(found))


def parse_excludes(text: str) -> tuple[str, ...]:
    """Return the Borg patterns written one a line; a bare name is left out wherever it stands.

    Raises:
        InvalidInput: a regular expression cannot be read.
    """
    found: list[str] = []
    for line in text.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        if not _STYLE.fullmatch(pattern):
            pattern = f"sh:**/{pattern.strip('/')}"
        if pattern.startswith("re:"):
            try:
                re.compile(pattern[3:])
            except re.error as error:
                raise InvalidInput(
                    "excludes", mark("A pattern «re:…» cannot be read as a regular expression.")
                ) from error
        found.append(pattern)
    return tuple(dict.fromkeys(found))


@router.get(
    "/sources/{source_id}/retention", name="retention", dependencies=[needs(Action.SOURCES_SEE)]
)
async def show_retention(
    request: Request, box: TheBox, visitor: TheVisitor, source_id: SourceId, done: str = ""
) -> Response:
    """Show what pruning would do now, and which files would be lost."""
    language = language_of(request)

    def gather() -> RetentionPage:
        with box.database.read() as connection:
            source = sources.get(connection, source_id)
            known = {one.id: one for one in snapshots.of_source(connection, source_id)}
            is_frozen = bool(frozen.reasons(connection, source, now=utc_now()))
            found: PrunePreview | None
            try:
                found = preview(
                    connection,
                    of_source(box.settings, source_id),
                    source,
                    now=utc_now(),
                    tz=box.zone,
                )
            except CatalogueMissing:
                found = None
        decisions = found.decisions if found else ()
        sees_names = visitor.may(Action.SNAPSHOT_BROWSE)
        return RetentionPage(
            source,
            sentence(source.plan.keep, language),
            [
                DecisionLine(known[one.id], one.kept, REASON_TEXTS[one.why])
                for one in decisions
                if one.id in known
            ],
            len(found.removed) if found else 0,
            found.bytes if found else 0,
            found.lost.files if found else 0,
            found.lost.bytes if found else 0,
            [
                LostLine(shown(one.entry.path, source), one.entry.size)
                for one in (found.lost.first if found and sees_names else [])
            ],
            is_frozen,
            found is None,
            done or None,
        )

    return render(request, await aside(gather))


@router.post("/sources/{source_id}/prune", name="prune", dependencies=[needs(Action.PRUNE_RUN)])
async def prune(box: TheBox, visitor: TheVisitor, source_id: SourceId) -> Response:
    """Queue the removal; the job decides again, and refuses while something is in doubt."""
    now = utc_now()

    def change(connection: Connection) -> int:
        sources.get(connection, source_id)
        try:
            job = queue.enqueue(connection, Prune(source_id), now=now, person_id=visitor.person.id)
        except AlreadyQueued as waiting:
            return waiting.job_id
        events.record(
            connection,
            at=now,
            event="prune.ask",
            subject=f"source:{source_id}",
            person_id=visitor.person.id,
            job=job,
        )
        return job

    job_id = await box.write(change)
    return RedirectResponse(f"/jobs/{job_id}", 303)
