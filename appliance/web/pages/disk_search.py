"""Finding files of the shares: by their names and by what stands in them, while one types.

Only shares on which the visitor has the right to see are looked into, asked anew for each letter.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Final

from fastapi import APIRouter, Request
from markupsafe import Markup, escape
from starlette.responses import Response

from appliance.clock import from_epoch, utc_now
from appliance.db.shares import Share
from appliance.disk import access, paths
from appliance.disk.index_excerpt import Piece
from appliance.disk.index_search import Found, Hit, Place, find
from appliance.errors import NotFound
from appliance.packed import pack_path
from appliance.policy.plain_words import split
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.units import NS_PER_S
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, needs
from appliance.web.pages.paths import readable
from appliance.web.pages.search import marked
from appliance.web.render import Page, is_fragment, render

router = APIRouter(include_in_schema=False, dependencies=[needs(Action.DISK_USE)])
api_router = APIRouter(prefix="/api/v1/disk", tags=["disk"], dependencies=[needs(Action.DISK_USE)])

NAMES: Final = 50
TEXTS: Final = 30
#: In the box over a folder.
FEW_NAMES: Final = 8
FEW_TEXTS: Final = 5
LONGEST: Final = 200  # letters of a search


@dataclass(frozen=True, slots=True)
class Line:
    """One file or folder that was found."""

    share: str
    share_label: str
    name: str
    shown: Markup  # the searched words marked
    folder: str
    packed: str
    folder_packed: str
    kind: str
    size: int
    modified_at: datetime
    snippet: Markup


@dataclass(frozen=True, slots=True)
class Results:
    """What was found."""

    names: list[Line]
    texts: list[Line]
    is_more_names: bool
    is_more_texts: bool
    is_short: bool
    unready: list[str]  # labels of shares that are not listed yet
    waiting: int  # documents whose words are not read yet


@dataclass(frozen=True, slots=True)
class SearchPage(Page):
    """A search line and what was found."""

    template: ClassVar[str] = "disk/_search_page.html"
    q: str
    share: str
    shares: list[Share]
    results: Results


@dataclass(frozen=True, slots=True)
class ResultsFragment(Page):
    """What was found: the part that changes while one types."""

    template: ClassVar[str] = "disk/_search_results.html"
    q: str
    share: str
    results: Results


@dataclass(frozen=True, slots=True)
class FewFragment(Page):
    """The first of what was found, under the box of a folder's page."""

    template: ClassVar[str] = "disk/_search_few.html"
    q: str
    share: str
    results: Results


@router.get("/disk/search", name="disk_search")
async def show_search(
    request: Request, box: TheBox, visitor: TheVisitor, q: str = "", share: str = "", few: int = 0
) -> Response:
    """Find files by words of their names and of their texts, in every share one sees, or in one."""
    seen = _seen(box, visitor)
    chosen = [each for each in seen if each.name == share]
    limits = (FEW_NAMES, FEW_TEXTS) if few else (NAMES, TEXTS)
    q = q[:LONGEST].strip()
    # A share one does not see is as one that is not there: all that are seen are searched.
    results = await aside(_results, box, chosen or seen, q, limits)
    name = share if chosen else ""
    if is_fragment(request):
        fragment = FewFragment if few else ResultsFragment
        return render(request, fragment(q, name, results))
    return render(request, SearchPage(q, name, seen, results))


def _seen(box: Box, visitor: Visitor) -> list[Share]:
    with box.database.read() as connection:
        held = access.held(connection, visitor.person, now=utc_now())
    return [each.share for each in held if each.may(Right.SEE)]


def _both(box: Box, shares: list[Share], q: str, limits: tuple[int, int]) -> tuple[Found, Found]:
    return (
        find(box.settings, shares, q, place=Place.NAMES, limit=limits[0]),
        find(box.settings, shares, q, place=Place.TEXTS, limit=limits[1]),
    )


def _results(box: Box, shares: list[Share], q: str, limits: tuple[int, int]) -> Results:
    names, texts = _both(box, shares, q, limits)
    words = split(q)
    return Results(
        [_line(each, words) for each in names.hits],
        [_line(each, words) for each in texts.hits],
        names.is_more,
        texts.is_more,
        names.is_short and not texts.hits,
        [each.label for each in names.unready or texts.unready],
        texts.waiting,
    )


def _line(hit: Hit, words: tuple[str, ...]) -> Line:
    folder, name = paths.parent(hit.path)
    shown = readable(name)
    return Line(
        hit.share.name,
        hit.share.label,
        shown,
        marked(shown, words),
        readable(folder),
        pack_path(hit.path),
        pack_path(folder),
        hit.kind,
        hit.size,
        from_epoch(hit.mtime_ns / NS_PER_S),
        _marked(hit.snippet),
    )


def _marked(pieces: tuple[Piece, ...]) -> Markup:
    made = Markup()
    for each in pieces:
        made += Markup("<mark>%s</mark>") % each.text if each.is_hit else escape(each.text)
    return made


# --- as JSON --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HitBody:
    """A file or folder that was found; ``path`` is base64url of its bytes."""

    share: str
    path: str
    name: str
    folder: str
    kind: str  # d · f · l · o
    size: int
    modified_at: datetime
    snippet: str = ""


@dataclass(frozen=True, slots=True)
class SearchBody:
    """What was found by name, and by words in the text."""

    names: list[HitBody]
    texts: list[HitBody]
    is_more: bool
    unready: list[str] = field(default_factory=list)  # shares that are not listed yet
    waiting: int = 0  # documents whose words are not read yet


@api_router.get("/search")
async def search(
    box: TheBox, visitor: TheVisitor, q: str = "", share: str = "", limit: int = NAMES
) -> SearchBody:
    """Find files by words of their names and of their texts, in every share one sees, or in one.

    Raises:
        NotFound: ``share`` is none on which one may see.
    """
    seen = _seen(box, visitor)
    chosen = [each for each in seen if each.name == share] if share else seen
    if share and not chosen:
        raise NotFound("share", share)
    most = max(1, min(limit, 200))
    names, texts = await aside(_both, box, chosen, q[:LONGEST], (most, most))
    return SearchBody(
        [_body(each) for each in names.hits],
        [_body(each) for each in texts.hits],
        names.is_more or texts.is_more,
        [each.name for each in names.unready or texts.unready],
        texts.waiting,
    )


def _body(hit: Hit) -> HitBody:
    folder, name = paths.parent(hit.path)
    return HitBody(
        hit.share.name,
        pack_path(hit.path),
        readable(name),
        readable(folder),
        hit.kind,
        hit.size,
        from_epoch(hit.mtime_ns / NS_PER_S),
        "".join(each.text for each in hit.snippet),
    )
