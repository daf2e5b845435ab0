"""A new link for a correspondent: its form, and the one page that shows its address and password."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from appliance.accounts import passwords
from appliance.clock import utc_now
from appliance.db import practice
from appliance.db.practice import LinkRules
from appliance.disk import links, listing
from appliance.disk.access import Held
from appliance.disk.links import Made
from appliance.errors import InvalidInput, NotFound
from appliance.jobs import network
from appliance.language import explain
from appliance.packed import pack_path, unpack_path
from appliance.policy.outside_links import (
    ASK,
    DEFAULT_DAYS,
    GIVE,
    KIND_NAMES,
    KINDS,
    LONGEST_DAYS,
    Rules,
)
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web.api.upload import held_by
from appliance.web.deps import TheBox, TheVisitor, aside, language_of, needs
from appliance.web.pages.arrivals import origin_of
from appliance.web.pages.paths import readable
from appliance.web.render import Page, render

router = APIRouter(prefix="/links", include_in_schema=False, dependencies=[needs(Action.DISK_USE)])

Text = Annotated[str, Form()]


@dataclass(frozen=True, slots=True)
class NewPage(Page):
    """The form for a new link."""

    template: ClassVar[str] = "links/new.html"
    share: str
    share_label: str
    packed: str
    what: str
    kind: str
    kinds: list[tuple[str, str, bool]]  # value, name, whether chosen
    label: str = ""
    days: int = DEFAULT_DAYS
    longest: int = LONGEST_DAYS
    most_uses: str = ""
    has_password: bool = True
    needs_password: bool = False  # the practice wants one on every link
    problem: str = ""


@dataclass(frozen=True, slots=True)
class MadePage(Page):
    """What is shown once."""

    template: ClassVar[str] = "links/made.html"
    id: int
    kind: str
    label: str
    what: str
    url: str
    password: str | None
    ends_at: datetime
    back: str
    is_closed: bool  # to the Internet: the correspondent cannot come


@router.get("/new", name="link_new")
async def show_new(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, p: str = "", kind: str = GIVE
) -> Response:
    """Show the form for a link to the file or folder ``p``.

    Raises:
        NotFound, NotAllowed, InvalidInput.
    """
    if kind not in KINDS:
        raise NotFound("link", kind)
    held = await held_by(box, visitor, share)
    held.demand(Right.SHARE_OUT)
    path = unpack_path(p)
    await aside(listing.entry, held.share.folder, path)
    with box.database.read() as connection:
        chosen = practice.link_rules(connection)
    return render(request, _form(held, path, kind, frozenset(KIND_NAMES), chosen))


@router.post("/new", name="link_make")
async def make_link(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    share: Text,
    p: Text = "",
    kind: Text = GIVE,
    label: Text = "",
    days: Text = "",
    most_uses: Text = "",
    password: Text = "",
) -> Response:
    """Make a link and show, once, its address and its password.

    Raises:
        NotFound, NotAllowed.
    """
    held = await held_by(box, visitor, share)
    path = unpack_path(p)
    form = await request.form()
    chosen = frozenset(str(each) for each in form.getlist("kinds")) & frozenset(KIND_NAMES)

    def work() -> Made:
        return links.make(
            box.database,
            held,
            path,
            kind=kind,
            person_id=visitor.person.id,
            label=label,
            days=whole(days) or 0,
            now=utc_now(),
            hash_password=passwords.make_hash if password else None,
            most_uses=whole(most_uses) if kind == GIVE else None,
            rules=Rules(chosen) if kind == ASK else None,
        )

    try:
        made = await aside(work)
    except InvalidInput as error:
        with box.database.read() as connection:
            allowed = practice.link_rules(connection)
        page = _form(
            held,
            path,
            kind if kind in KINDS else GIVE,
            chosen,
            allowed,
            label=label,
            days=whole(days),
            most_uses=most_uses,
            has_password=bool(password),
            problem=explain(error, language_of(request)),
        )
        return render(request, page, 422)
    with box.database.read() as connection:
        is_closed = network.opened(connection) is None
    return render(
        request,
        MadePage(
            id=made.link.id,
            kind=kind,
            label=made.link.label,
            what=what_of(held.share.label, path),
            url=links.address(origin_of(request), made.token),
            password=made.password,
            ends_at=made.link.ends_at,
            back=f"/disk/{share}?p={pack_path(path.rpartition(b'/')[0])}",
            is_closed=is_closed,
        ),
    )


def _form(
    held: Held,
    path: bytes,
    kind: str,
    chosen: frozenset[str],
    allowed: LinkRules,
    *,
    label: str = "",
    days: int | None = None,
    most_uses: str = "",
    has_password: bool = True,
    problem: str = "",
) -> NewPage:
    return NewPage(
        share=held.share.name,
        share_label=held.share.label,
        packed=pack_path(path),
        what=what_of(held.share.label, path),
        kind=kind,
        kinds=[(value, name, value in chosen) for value, name in KIND_NAMES.items()],
        label=label,
        days=days or allowed.days,
        longest=allowed.longest_days,
        most_uses=most_uses,
        has_password=has_password,
        needs_password=allowed.needs_password,
        problem=problem,
    )


def what_of(label: str, path: bytes) -> str:
    """Return a share and a path in it as people read them."""
    return f"{label} › {readable(path).replace('/', ' › ')}" if path else label


def whole(text: str) -> int | None:
    """Return the number in a field; None: there is none."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else None
