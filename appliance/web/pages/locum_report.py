"""What a locum did during a term: for whom they replaced, to read and to print; and the case copy."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from appliance.accounts import locums
from appliance.clock import utc_now
from appliance.db import shares
from appliance.disk import access, actions, paths
from appliance.disk.access import Held
from appliance.errors import ArmoireError, InvalidInput, NotAllowed
from appliance.language import mark
from appliance.ledger import questions
from appliance.model import LedgerEntry, Role
from appliance.packed import unpack_path
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web.api.upload import doer_of, held_by
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, needs
from appliance.web.pages.locums import TermLine, answering, line_of
from appliance.web.pages.paths import readable
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

GROUPS: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    (
        mark("Opened"),
        frozenset(
            {
                "file.open",
                "file.opened",
                "file.previewed",
                "file.zipped",
                "file.version-opened",
                "file.series-opened",
                "file.dicom-fields",
            }
        ),
    ),
    (mark("Added"), frozenset({"file.added", "folder.made", "file.accepted"})),
    (mark("Put into the bin"), frozenset({"file.deleted", "folder.deleted"})),
    (mark("Copied into the folder of the replacement"), frozenset({"file.case-copied"})),
    (mark("Shared by a link"), frozenset({"share-link.made", "file.linked"})),
)
CHANGED: Final = mark("Changed, moved, copied")
#: Entries shown of one term: the journal holds the rest.
MOST: Final = 5_000


@dataclass(frozen=True, slots=True)
class Line:
    """One document, and what happened to it."""

    at: datetime
    share: str
    name: str | None  # None: the reader has no sight of that share
    to: str | None
    door: str


@dataclass(frozen=True, slots=True)
class ReportPage(Page):
    """What was opened, added, changed, deleted, copied."""

    template: ClassVar[str] = "locums/report.html"
    line: TermLine
    groups: list[tuple[str, list[Line]]]
    total: int
    is_over: bool
    made_at: datetime


def grouped(
    entries: Iterable[LedgerEntry], labels: dict[int, str], seen: set[int]
) -> list[tuple[str, list[Line]]]:
    """Return entries by what was done, empty groups too; names only of shares the reader sees."""
    found: dict[str, list[Line]] = {title: [] for title, _ in GROUPS}
    found[CHANGED] = []
    for entry in entries:
        title = next((title for title, names in GROUPS if entry.event in names), CHANGED)
        found[title].append(line(entry, labels, seen))
    order = [GROUPS[0][0], GROUPS[1][0], CHANGED, *(title for title, _ in GROUPS[2:])]
    return [(title, found[title]) for title in order]


def line(entry: LedgerEntry, labels: dict[int, str], seen: set[int]) -> Line:
    """Return an entry about a document in words."""
    noun, _, number = entry.subject.partition(":")
    share = int(number) if noun == "share" and number.isdecimal() else 0
    name, to = None, None
    if share in seen:
        name = _readable(questions.path_of(entry))
        to_share = str(entry.body.get("to", "")).removeprefix("share:")
        if to_share.isdecimal() and int(to_share) in seen:
            to = _readable(questions.path_of(entry, "to_path"))
    return Line(entry.at, labels.get(share, "–"), name, to, str(entry.body.get("door", "")))


def _readable(packed: str | None) -> str | None:
    if packed is None:
        return None
    try:
        return readable(unpack_path(packed)) or "/"
    except InvalidInput:
        return None


@router.get(
    "/locums/{term_id}/report", name="locum-report", dependencies=[needs(Action.LOCUMS_CHANGE)]
)
async def show_report(request: Request, box: TheBox, visitor: TheVisitor, term_id: int) -> Response:
    """Show what a locum did.

    Raises:
        NotFound: there is no such term, or one does not answer for it.
    """
    now = utc_now()

    def gather() -> ReportPage:
        with box.database.read() as connection:
            term = answering(connection, visitor, term_id)
            labels = {int(each.id): each.label for each in shares.all_living(connection)}
            held = access.held(connection, visitor.person, now=now)
            seen = {int(each.share.id) for each in held if each.may(Right.SEE)}
            until = min(term.closed_at or term.ends_at, term.ends_at)
            entries = list(
                questions.of_person(
                    connection,
                    term.person_id,
                    since=term.starts_at,
                    until=until,
                    events="f",
                    limit=MOST,
                )
            )
            shown = line_of(connection, term, now)
        return ReportPage(
            shown, grouped(entries, labels, seen), len(entries), shown.state == "over", now
        )

    return render(request, await aside(gather))


@router.post("/disk/{share}/case-copy", name="case-copy", dependencies=[needs(Action.DISK_USE)])
async def case_copy(
    box: TheBox,
    visitor: TheVisitor,
    share: str,
    p: Annotated[list[str], Form()],
    here: Annotated[str, Form()] = "",
) -> Response:
    """Copy documents into the folder of one's own replacement; each is noted down as a case copy.

    Raises:
        NotAllowed: the term does not allow it.
        NotFound, InvalidInput, FileMissing, ShareFull: as copying.
    """
    held = await held_by(box, visitor, share)
    own = _own(box, visitor)
    for packed in p[:1000]:
        path = unpack_path(packed)
        await aside(_copy, box, visitor, held, own, path)
    return RedirectResponse(
        f"/disk/{own.share.name}" if not here else f"/disk/{share}?p={here}", 303
    )


def _own(box: Box, visitor: Visitor) -> Held:
    """Return the folder of the running replacement, to add to; it is seen, and nothing else, otherwise."""
    now = utc_now()
    if visitor.person.role is not Role.LOCUM:
        raise NotAllowed("case.copy")
    with box.database.read() as connection:
        for term in locums.of_person(connection, visitor.person.id):
            if not term.is_running(now) or not term.may_copy_cases:
                continue
            for each in access.held(connection, visitor.person, now=now):
                if each.share.name == locums.own_share_name(visitor.person):
                    return Held(each.share, frozenset({Right.SEE, Right.ADD}))
    raise NotAllowed("case.copy")


def _copy(box: Box, visitor: Visitor, held: Held, own: Held, path: bytes) -> None:
    name = paths.parent(path)[1]
    stem, dot, end = name.rpartition(b".")
    for number in range(1, 100):
        again = name if number == 1 else (
            b"%s (%d).%s" % (stem, number, end) if dot else b"%s (%d)" % (name, number)
        )  # fmt: skip
        try:
            actions.copy(
                box.database,
                held,
                path,
                own,
                again,
                doer=doer_of(visitor),
                now=utc_now(),
                event="file.case-copied",
            )
        except ArmoireError as error:
            if error.code != "disk.name-taken" or number == 99:
                raise
        else:
            return
