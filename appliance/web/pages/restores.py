"""Restoring: choose where to, follow the task, read and print the sheet."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.clock import utc_now
from appliance.db import facts, restore_sheets, snapshots, sources
from appliance.errors import AlreadyQueued, InvalidInput, NotAllowed, NotFound
from appliance.jobs.kinds import RestoreFiles
from appliance.language import mark, translate
from appliance.model import (
    JobId,
    Outcome,
    RestoreSheet,
    Snapshot,
    SnapshotId,
    Source,
    SourceId,
    SourceKind,
    System,
)
from appliance.packed import pack_path
from appliance.policy.roles import Action
from appliance.web.asking import ask
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs
from appliance.web.pages import tones
from appliance.web.pages.files import send_zip
from appliance.web.pages.home import sources_by_id
from appliance.web.pages.paths import shown, unpacked
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]
NAMED: Final = 12  # paths shown on the page; the rest is counted

DESTINATION_NAMES: Final = {
    "browser": mark("downloaded"),
    "share": mark("into a share"),
    "machine": mark("back to its machine"),
    "folder": mark("into a folder of the box"),
}
CHECK_NAMES: Final[dict[Outcome, str]] = {
    Outcome.PROVEN: mark("compared, all right"),
    Outcome.FAILED: mark("compared, and something differs"),
    Outcome.INCONCLUSIVE: mark("not compared"),
}


@dataclass(frozen=True, slots=True)
class RestorePage(Page):
    """What was picked, and where it may go."""

    template: ClassVar[str] = "restores/choose.html"
    source: Source
    snapshot: Snapshot
    packed: list[str]
    names: list[str]  # the first ones, readable
    shares: list[Source]
    to_machine: bool
    beside: str  # a proposal
    requested_by: str
    problem: str | None = None
    chosen: str = "browser"


@dataclass(frozen=True, slots=True)
class SheetLine:
    """One restore sheet in words."""

    sheet: RestoreSheet
    source: Source | None
    destination_name: str
    check_name: str
    tone: str


@dataclass(frozen=True, slots=True)
class RestoresPage(Page):
    """Every restore, newest first."""

    template: ClassVar[str] = "restores/list.html"
    lines: list[SheetLine]


@dataclass(frozen=True, slots=True)
class SheetPage(Page):
    """One restore sheet, to be printed (domain.md SAV-16)."""

    template: ClassVar[str] = "restores/sheet.html"
    line: SheetLine
    paths: list[str]
    practice: str


@router.post(
    "/snapshots/{snapshot_id}/picked", name="picked", dependencies=[needs(Action.FILE_OPEN)]
)
async def use_picked(
    request: Request, box: TheBox, visitor: TheVisitor, snapshot_id: SnapshotId, do: Text = ""
) -> Response:
    """Send what was picked as one zip, or ask where to restore it.

    Raises:
        InvalidInput: nothing was picked.
    """
    packed = await _picked(request)
    source, snapshot = whose_files(box, snapshot_id)
    if do == "zip":
        return await send_zip(box, visitor, source, snapshot, [unpacked(one) for one in packed])
    if not visitor.may(Action.FILE_RESTORE):
        raise NotAllowed(Action.FILE_RESTORE.value)
    return render(request, _choose(request, box, visitor, source, snapshot, packed))


@router.post(
    "/snapshots/{snapshot_id}/restore", name="restore", dependencies=[needs(Action.FILE_RESTORE)]
)
async def restore(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    snapshot_id: SnapshotId,
    to: Text = "browser",
    beside: Text = "",
    requested_by: Text = "",
    replace: Text = "",
) -> Response:
    """Begin the restore: a download at once, everything else as a task that leaves a sheet."""
    packed = await _picked(request)
    source, snapshot = whose_files(box, snapshot_id)
    if to == "browser":
        return await send_zip(box, visitor, source, snapshot, [unpacked(one) for one in packed])
    try:
        spec = restore_spec(
            box, source, snapshot, packed, to, beside, requested_by, replace=replace == "1"
        )
    except InvalidInput as error:
        problem = translate(error.expected, language_of(request))
        page = _choose(request, box, visitor, source, snapshot, packed, problem=problem, chosen=to)
        return render(request, page, 422)

    def change(connection: Connection) -> int:
        try:
            return ask_restore(connection, spec, visitor)
        except AlreadyQueued as waiting:
            return waiting.job_id

    job_id = await box.write(change)
    return RedirectResponse(f"/jobs/{job_id}", 303)


def ask_restore(connection: Connection, spec: RestoreFiles, visitor: Visitor) -> JobId:
    """Queue a restore inside the caller's write, and write down who asked; no name of a file.

    Raises:
        NotAllowed: it writes on a machine, and this person may not.
        AlreadyQueued.
    """
    if spec.destination == "machine" and not visitor.may(Action.FILE_RESTORE_TO_MACHINE):
        raise NotAllowed(Action.FILE_RESTORE_TO_MACHINE.value)
    return ask(
        connection,
        spec,
        "restore.ask",
        f"snapshot:{spec.snapshot_id}",
        visitor,
        picked=len(spec.paths),
        destination=spec.destination,
        replace=spec.replace,
    )


async def _picked(request: Request) -> list[str]:
    form = await request.form()
    return checked([str(value) for value in form.getlist("p")])


def checked(packed: list[str]) -> list[str]:
    """Return packed paths as they are, when there is one and each can be read.

    Raises:
        InvalidInput.
    """
    if not packed:
        raise InvalidInput("p", mark("Pick at least one file or folder."))
    for one in packed:
        unpacked(one)
    return packed


def whose_files(box: Box, snapshot_id: SnapshotId) -> tuple[Source, Snapshot]:
    """Return a snapshot and its source, whose files people may have back.

    Raises:
        NotFound: there is none, or it is of the box itself.
    """
    with box.database.read() as connection:
        snapshot = snapshots.get(connection, snapshot_id)
        source = sources.get(connection, snapshot.source_id)
        if source.kind is SourceKind.BOX:
            raise NotFound("snapshot", str(snapshot_id))  # password hashes, sealed secrets
        return source, snapshot


def _choose(
    request: Request,
    box: Box,
    visitor: TheVisitor,
    source: Source,
    snapshot: Snapshot,
    packed: list[str],
    *,
    problem: str | None = None,
    chosen: str = "browser",
) -> RestorePage:
    with box.database.read() as connection:
        shares = [one for one in sources.all_living(connection) if one.kind is SourceKind.SHARE]
    language = language_of(request)
    day = f"{utc_now().astimezone(box.zone):%Y-%m-%d}"
    folder = translate(mark("Restored %(day)s"), language, day=day)
    root = source.roots[0].rstrip("/\\") if source.roots else ""
    slash = "\\" if source.system is System.WINDOWS and "\\" in root else "/"
    return RestorePage(
        source,
        snapshot,
        packed,
        [shown(unpacked(one), source) for one in packed[:NAMED]],
        shares,
        to_machine=source.kind is SourceKind.PULLED and visitor.may(Action.FILE_RESTORE_TO_MACHINE),
        beside=f"{root}{slash}{folder}",
        requested_by=visitor.person.name,
        problem=problem,
        chosen=chosen,
    )


def restore_spec(
    box: Box,
    source: Source,
    snapshot: Snapshot,
    packed: list[str],
    to: str,
    beside: str,
    requested_by: str,
    *,
    replace: bool,
) -> RestoreFiles:
    """Return the job that restores what was picked.

    Args:
        box: of the source.
        source: whose snapshot it is.
        snapshot: out of which.
        packed: paths as addresses carry them.
        to: folder · machine-original · machine-beside · share:NUMBER.
        beside: the folder on the machine, for «machine-beside».
        requested_by: who wants the files back, as the sheet will say.
        replace: files that are there may be replaced; «machine-original» only.

    Raises:
        InvalidInput: nobody asked, or there is no such place.
        NotFound: there is no such share.
    """
    asked_by = " ".join(requested_by.split())
    if not 2 <= len(asked_by) <= 200:
        raise InvalidInput("requested_by", mark("Say who asked for this restore."))
    day = utc_now().astimezone(box.zone)
    common = {
        "source_id": source.id,
        "snapshot_id": snapshot.id,
        "paths": tuple(packed),
        "requested_by": asked_by,
    }
    if to == "folder":
        # A fixed place: the network side may not choose where the worker writes on the box.
        place = box.settings.data / "restored" / f"{source.name}-{snapshot.id}-{day:%Y%m%dT%H%M%S}"
        return RestoreFiles(destination="folder", place=pack_path(str(place).encode()), **common)  # type: ignore[arg-type]
    if to == "machine-beside" and source.kind is SourceKind.PULLED:
        folder = beside.strip()
        if len(folder) < 3 or "\0" in folder or ".." in folder.replace("\\", "/").split("/"):
            raise InvalidInput("beside", mark("Give the whole path of a folder on the machine."))
        return RestoreFiles(
            destination="machine",
            place=pack_path(folder.encode()),
            **common,  # type: ignore[arg-type]
        )
    if to == "machine-original" and source.kind is SourceKind.PULLED:
        return RestoreFiles(destination="machine", replace=replace, **common)  # type: ignore[arg-type]
    if to.startswith("share:") and to[6:].isdecimal():
        share_id = SourceId(int(to[6:]))
        with box.database.read() as connection:
            share = sources.get(connection, share_id)
        if share.kind is SourceKind.SHARE:
            inside = f"Restaurations/{source.name}-{day:%Y%m%dT%H%M%S}"
            return RestoreFiles(
                destination="share",
                share_id=share_id,
                place=pack_path(inside.encode()),
                **common,  # type: ignore[arg-type]
            )
    raise InvalidInput("to", mark("Choose where the files go."))


@router.get("/restores", name="restores", dependencies=[needs(Action.FILE_RESTORE)])
async def list_restores(request: Request, box: TheBox) -> Response:
    """Show every restore sheet."""

    def gather(connection: Connection) -> RestoresPage:
        known = sources_by_id(connection)
        return RestoresPage([_line(one, known) for one in restore_sheets.newest(connection)])

    return render(request, await box.read_aside(gather))


@router.get("/restores/{sheet_id}", name="sheet", dependencies=[needs(Action.FILE_RESTORE)])
async def show_sheet(request: Request, box: TheBox, sheet_id: int) -> Response:
    """Show a restore sheet, ready to be printed."""

    def gather(connection: Connection) -> SheetPage:
        sheet, packed = restore_sheets.get(connection, sheet_id)
        line = _line(sheet, sources_by_id(connection))
        practice = facts.find(connection, "practice.name")
        return SheetPage(
            line,
            [shown(unpacked(one), line.source) for one in packed],
            str(practice) if practice else "",
        )

    return render(request, await box.read_aside(gather))


def _line(sheet: RestoreSheet, known: dict[SourceId, Source]) -> SheetLine:
    return SheetLine(
        sheet,
        known.get(sheet.source_id),
        DESTINATION_NAMES.get(sheet.destination, sheet.destination),
        CHECK_NAMES[sheet.check],
        tones.OUTCOME[sheet.check],
    )
