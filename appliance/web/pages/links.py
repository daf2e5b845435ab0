"""Links for correspondents: made from the disk's page, listed, looked through, withdrawn; what they received, decided about."""

import os
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import people
from appliance.clock import utc_now
from appliance.db import shares
from appliance.disk import access, links, listing, quarantine
from appliance.disk.access import Held
from appliance.disk.links import Link
from appliance.disk.quarantine import Received
from appliance.errors import ArmoireError, FileMissing, LinkGone, NotAllowed, NotFound
from appliance.language import explain
from appliance.ledger import chain, events
from appliance.model import PersonId
from appliance.packed import pack_path
from appliance.policy.outside_links import (
    ASK,
)
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web.api.upload import doer_of
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, language_of, needs
from appliance.web.pages.links_new import what_of, whole
from appliance.web.pages.paths import readable
from appliance.web.render import Page, render
from appliance.web.share_file import ShareFile

router = APIRouter(prefix="/links", include_in_schema=False, dependencies=[needs(Action.DISK_USE)])

ACCESSES_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class LinkLine:
    """One link in the list."""

    id: int
    kind: str
    label: str
    what: str  # its path, readable
    maker: str
    created_at: datetime
    ends_at: datetime
    state: str  # open · ended · revoked · used-up · no-right
    uses: int
    most_uses: int | None
    has_password: bool
    waiting: int  # files to be decided about
    can_revoke: bool


@dataclass(frozen=True, slots=True)
class LinksPage(Page):
    """One's own links, or everybody's."""

    template: ClassVar[str] = "links/list.html"
    lines: list[LinkLine]
    is_all: bool


@dataclass(frozen=True, slots=True)
class ReceivedLine:
    """One file that was sent."""

    id: int
    name: str
    size: int
    received_at: datetime
    state: str  # waiting · accepted · declined · lost
    by: str


@dataclass(frozen=True, slots=True)
class AccessLine:
    """One access in the ledger."""

    at: datetime
    event: str
    address: str


@dataclass(frozen=True, slots=True)
class LinkPage(Page):
    """One link: what it received, and who came."""

    template: ClassVar[str] = "links/show.html"
    line: LinkLine
    folder: str  # the disk's page of it
    received: list[ReceivedLine]
    accesses: list[AccessLine]
    can_decide: bool
    problem: str = ""


@router.get("", name="links")
async def list_links(
    request: Request, box: TheBox, visitor: TheVisitor, everybody: int = 0
) -> Response:
    """Show one's own links; with ``everybody`` all of them, to who may see them."""
    is_all = bool(everybody) and visitor.may(Action.LINKS_SEE_ALL)
    whose = None if is_all else visitor.person.id
    lines = await box.read_aside(
        lambda c: lines_of(c, visitor, links.listed(c, person_id=whose), utc_now())
    )
    return render(request, LinksPage(lines, is_all))


@router.get("/{link_id}", name="link_show")
async def show_link(request: Request, box: TheBox, visitor: TheVisitor, link_id: int) -> Response:
    """Show a link, what it received and who came.

    Raises:
        NotFound: there is none, or it is another's.
    """
    return await _show(request, box, visitor, link_id)


@router.post("/{link_id}/revoke", name="link_revoke")
async def revoke_link(box: TheBox, visitor: TheVisitor, link_id: int) -> Response:
    """Withdraw a link at once.

    Raises:
        NotFound.
    """

    def work(connection: Connection) -> None:
        one = mine(connection, visitor, link_id)
        links.revoke(connection, one, by=visitor.person.id, now=utc_now())

    await box.write(work)
    return RedirectResponse(f"/links/{link_id}", 303)


@router.get("/{link_id}/received/{received_id}", name="link_received")
async def look_at(box: TheBox, visitor: TheVisitor, link_id: int, received_id: int) -> Response:
    """Send a file that waits, for who decides about it; the ledger keeps that it was looked at.

    Raises:
        NotFound, NotAllowed, FileMissing.
    """
    link, held, one = await box.read_aside(lambda c: _received(c, visitor, link_id, received_id))
    held.demand(Right.SEE)
    descriptor = await aside(quarantine.open_received, held.share, one)
    now = utc_now()
    await box.write(
        lambda c: events.record(
            c,
            at=now,
            event="link.looked-at",
            subject=f"share:{held.share.id}",
            person_id=visitor.person.id,
            link=link.id,
            received=one.id,
        )
    )
    entry = listing.entry_of(one.name.rpartition(b"/")[2], os.fstat(descriptor))
    return ShareFile(descriptor, entry)


@router.post("/{link_id}/received", name="link_decide")
async def decide(request: Request, box: TheBox, visitor: TheVisitor, link_id: int) -> Response:
    """Accept (``do=accept``) or refuse (``do=refuse``) the files ``r``, or all that wait (``all``).

    Raises:
        NotFound, NotAllowed.
    """
    form = await request.form()
    is_accept = form.get("do") == "accept"
    wanted = {whole(str(each)) for each in form.getlist("r")}
    chosen = None if "all" in form else {each for each in wanted if each is not None}
    try:
        await decide_about(box, visitor, link_id, chosen, is_accept=is_accept)
    except (NotAllowed, NotFound):
        raise
    except ArmoireError as error:
        problem = explain(error, language_of(request))
        return await _show(request, box, visitor, link_id, problem)
    return RedirectResponse(f"/links/{link_id}", 303)


async def decide_about(
    box: Box, visitor: Visitor, link_id: int, wanted: set[int] | None, *, is_accept: bool
) -> int:
    """Accept or refuse files that wait; return how many that were.

    Args:
        box: of the request.
        visitor: who decides.
        link_id: by which they came.
        wanted: their numbers; None: all that wait.
        is_accept: or else they are refused, for good.

    Raises:
        NotFound, NotAllowed, and as ``quarantine.accept``: those before it are decided about.
    """
    link, held = await box.read_aside(lambda c: held_by_link(c, visitor, link_id))
    held.demand(Right.ADD)

    def work() -> int:
        with box.database.read() as connection:
            found = quarantine.of_link(connection, link_id)
        act = quarantine.accept if is_accept else quarantine.refuse
        count = 0
        for one in reversed(found):
            if one.decided_at is None and (wanted is None or one.id in wanted):
                act(box.database, held, link, one, doer=doer_of(visitor), now=utc_now())
                count += 1
        return count

    return await aside(work)


async def _show(
    request: Request, box: Box, visitor: Visitor, link_id: int, problem: str = ""
) -> Response:
    def look(connection: Connection) -> LinkPage:
        one = mine(connection, visitor, link_id)
        (line,) = lines_of(connection, visitor, [one], utc_now())
        names = people.names(connection)
        can_decide, folder = False, ""
        try:
            share = shares.get(connection, one.share_id)
            held = access.on_share(connection, visitor.person, share.name, now=utc_now())
        except NotFound:
            pass
        else:
            can_decide = held.may(Right.ADD)
            above = one.path if one.kind == ASK else one.path.rpartition(b"/")[0]
            folder = f"/disk/{share.name}?p={pack_path(above)}" if held.may(Right.SEE) else ""
        return LinkPage(
            line=line,
            folder=folder,
            received=[
                ReceivedLine(
                    each.id,
                    readable(each.name),
                    each.size,
                    each.received_at,
                    each.state,
                    names.get(each.decided_by or PersonId(0), ""),
                )
                for each in quarantine.of_link(connection, link_id)
            ],
            accesses=[
                AccessLine(each.at, each.event, str(each.body.get("address", "")))
                for each in chain.newest(
                    connection,
                    subject=f"share:{one.share_id}",
                    actor=links.actor(one),
                    limit=ACCESSES_SHOWN,
                )
            ],
            can_decide=can_decide,
            problem=problem,
        )

    return render(request, await box.read_aside(look), 409 if problem else 200)


def mine(connection: Connection, visitor: Visitor, link_id: int) -> Link:
    """Return one's own link, or with LINKS_SEE_ALL anybody's.

    Raises:
        NotFound: there is none, or it is another's.
    """
    one = links.get(connection, link_id)
    if one.person_id != visitor.person.id and not visitor.may(Action.LINKS_SEE_ALL):
        raise NotFound("link", str(link_id))
    return one


def held_by_link(connection: Connection, visitor: Visitor, link_id: int) -> tuple[Link, Held]:
    """Return a link and what the visitor may do on its share now.

    Raises:
        NotFound: there is no such link, or no right on its share.
    """
    one = mine(connection, visitor, link_id)
    share = shares.get(connection, one.share_id)
    return one, access.on_share(connection, visitor.person, share.name, now=utc_now())


def _received(
    connection: Connection, visitor: Visitor, link_id: int, received_id: int
) -> tuple[Link, Held, Received]:
    link, held = held_by_link(connection, visitor, link_id)
    one = quarantine.get(connection, link_id, received_id)
    if one.decided_at is not None:
        raise FileMissing
    return link, held, one


def lines_of(
    connection: Connection, visitor: Visitor, found: list[Link], now: datetime
) -> list[LinkLine]:
    """Return links as they are listed; another's only to who sees all of them."""
    names, waits = people.names(connection), quarantine.waiting(connection)
    labels = {each.id: each.label for each in shares.all_living(connection)}
    return [
        LinkLine(
            id=each.id,
            kind=each.kind,
            label=each.label,
            what=what_of(labels.get(each.share_id, "—"), each.path),
            maker=names.get(each.person_id, ""),
            created_at=each.created_at,
            ends_at=each.ends_at,
            state=_state(connection, each, now),
            uses=each.uses,
            most_uses=each.most_uses,
            has_password=each.password_hash is not None,
            waiting=waits.get(each.id, 0),
            can_revoke=each.revoked_at is None and each.ends_at > now,
        )
        for each in found
        if each.person_id == visitor.person.id or visitor.may(Action.LINKS_SEE_ALL)
    ]


def _state(connection: Connection, one: Link, now: datetime) -> str:
    if one.revoked_at is not None:
        return "revoked"
    if one.ends_at <= now:
        return "ended"
    if not one.is_open(now):
        return "used-up"
    try:
        links.rights_of_maker(connection, one, now=now)
    except LinkGone:
        return "no-right"
    return "open"
