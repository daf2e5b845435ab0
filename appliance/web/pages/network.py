"""The way in: local networks, where the box listens, its certificate, the tunnel, the front, and whether to open it."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from appliance.accounts import people, second_factors, tunnel
from appliance.accounts.tunnel import Device
from appliance.clock import utc_now
from appliance.db import local_networks
from appliance.errors import InputError, InvalidInput
from appliance.jobs import network
from appliance.jobs.network import Opened, TurnedAway
from appliance.language import explain, mark
from appliance.model import PersonId
from appliance.policy import listening
from appliance.policy import tunnel as policy
from appliance.policy.listening import REASON_WORDS, Door
from appliance.policy.local_networks import holds
from appliance.policy.roles import Action
from appliance.web.deps import Box, TheBox, TheVisitor, language_of, needs, proven
from appliance.web.pages.arrivals import address_of
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

_MAY: Final = [needs(Action.NETWORK_CHANGE)]
_CHANGES: Final = [needs(Action.NETWORK_CHANGE), proven()]
Text = Annotated[str, Form()]


@dataclass(frozen=True, slots=True)
class DeviceSeen:
    """A device of the tunnel and when it was last there."""

    device: Device
    owner: str


@dataclass(frozen=True, slots=True)
class NetworkPage(Page):
    """Everything about the way in."""

    template: ClassVar[str] = "network/show.html"
    networks: list[str]
    is_declared: bool  # else they are those of the box's interfaces
    visitor_address: str
    is_at_practice: bool  # whoever looks at the page
    is_on_box: bool
    doors: list[Door]
    reason_words: dict[str, str]
    port: int
    opened: Opened | None
    opened_by: str
    may_open: bool  # has a second factor
    devices: list[DeviceSeen]
    way_in: str  # name:port of the router; empty: not set
    smb_in_tunnel: bool
    front: str
    sends_files: bool
    asked: str  # the network whose removal shuts the visitor out, to be confirmed
    done: str | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class VisiblePage(Page):
    """What to try from a phone outside, and what the answer means."""

    template: ClassVar[str] = "network/visible.html"
    visitor_address: str
    comes_from_outside: bool  # this very page was asked from the Internet
    way_in: str  # name of the router; empty: not set
    port: int
    tunnel_port: int
    box_address: str
    own: list[str]  # addresses of the box that the Internet could reach
    is_open: bool
    is_links_only: bool
    turned_away: TurnedAway | None  # lately: the router lets strangers through


_DONE: Final = {
    "declared": mark("The network is declared. The box listens there within some seconds."),
    "forgotten": mark("The network is declared no longer."),
    "opened": mark("The box is open to the Internet. It is in the journal, with your name."),
    "closed": mark("The box is closed to the Internet again."),
    "smb": mark("The file explorer follows within a minute."),
}


@router.get("/network", name="network", dependencies=_MAY)
async def show_network(
    request: Request, box: TheBox, visitor: TheVisitor, after: str = ""
) -> Response:
    """Show the way in."""
    return await _page(request, box, visitor.person.id, done=_DONE.get(after))


@router.post("/network/declare", name="network-declare", dependencies=_CHANGES)
async def declare(
    request: Request, box: TheBox, visitor: TheVisitor, network_text: Annotated[str, Form(alias="network")] = ""
) -> Response:  # fmt: skip
    """Declare a local network."""
    me = visitor.person.id
    try:
        await box.write(lambda c: network.declare(c, network_text, now=utc_now(), by=me))
    except InputError as error:
        said = explain(error, language_of(request))
        return await _page(request, box, me, problem=said, status=422)
    return RedirectResponse("/network?after=declared", 303)


@router.post("/network/forget", name="network-forget", dependencies=_CHANGES)
async def forget(
    request: Request, box: TheBox, visitor: TheVisitor, network_text: Annotated[str, Form(alias="network")] = "",
    sure: Text = "",
) -> Response:  # fmt: skip
    """Declare a network no longer; whoever would shut themselves out is told first."""
    me, here = visitor.person.id, address_of(request)

    def change(connection: Connection) -> bool:
        if sure != "yes" and network.would_shut_out(connection, network_text, here):
            return False
        network.forget(connection, network_text, now=utc_now(), by=me)
        return True

    try:
        is_done = await box.write(change)
    except InputError as error:
        said = explain(error, language_of(request))
        return await _page(request, box, me, problem=said, status=422)
    if not is_done:
        return await _page(request, box, me, asked=network_text, status=409)
    return RedirectResponse("/network?after=forgotten", 303)


@router.post("/network/open", name="network-open", dependencies=_CHANGES)
async def open_box(
    request: Request, box: TheBox, visitor: TheVisitor, sure: Text = "", extent: Text = "links"
) -> Response:
    """Open the box to the Internet: a decision with a name, a second factor and a warning that was read."""
    me = visitor.person.id

    def change(connection: Connection) -> None:
        if sure != "yes":
            raise InvalidInput("sure", mark("Tick the box: you have read what can happen."))
        if not second_factors.has_any(connection, me, box.settings.tls):
            raise InvalidInput("sure", mark("Make a second factor for your account first."))
        network.open_to_internet(connection, by=me, now=utc_now(), links_only=extent != "all")

    try:
        await box.write(change)
    except InvalidInput as error:
        said = explain(error, language_of(request))
        return await _page(request, box, me, problem=said, status=422)
    return RedirectResponse("/network?after=opened", 303)


@router.post("/network/close", name="network-close", dependencies=_MAY)
async def close_box(box: TheBox, visitor: TheVisitor) -> Response:
    """Close it again: nothing is asked of who does."""
    await box.write(lambda c: network.close(c, now=utc_now(), by=visitor.person.id))
    return RedirectResponse("/network?after=closed", 303)


@router.post("/network/smb", name="network-smb", dependencies=_CHANGES)
async def set_smb(box: TheBox, visitor: TheVisitor, wanted: Text = "") -> Response:
    """Let the file explorer in through the tunnel, or no longer."""
    is_on, me = wanted == "yes", visitor.person.id
    await box.write(lambda c: network.set_smb_in_tunnel(c, is_on=is_on, now=utc_now(), by=me))
    return RedirectResponse("/network?after=smb", 303)


@router.get("/network/firewall", name="network-firewall", dependencies=_MAY)
async def show_firewall(box: TheBox) -> Response:
    """Send the suggestion for the box's firewall as a file."""
    text = await box.read_aside(lambda c: network.firewall(c, box.settings))
    return PlainTextResponse(
        text, headers={"content-disposition": 'attachment; filename="armoire.nft"'}
    )


@router.get("/network/visible", name="network-visible", dependencies=_MAY)
async def show_visible(request: Request, box: TheBox) -> Response:
    """Say how to find out whether the box is seen from the Internet; nobody is asked by the box itself."""
    here = address_of(request)

    def gather(connection: Connection) -> VisiblePage:
        rule = network.rule(connection, box.settings)
        endpoint = tunnel.endpoint(connection)
        opened = network.opened(connection)
        closed = listening.Rule(rule.networks)
        return VisiblePage(
            here,
            not listening.may_come(here, closed),
            "" if endpoint is None else endpoint[0],
            443 if box.settings.front_address else box.settings.listen_port,
            policy.PORT if endpoint is None else endpoint[1],
            policy.box_address(),
            [
                each.address
                for each in listening.doors(network.cards(), closed)
                if each.why is listening.Reason.OUTSIDE
            ],
            rule.is_open,
            opened is not None and opened.links_only,
            network.turned_away(connection, utc_now()),
        )

    return render(request, await box.read_aside(gather))


async def _page(
    request: Request,
    box: Box,
    me: PersonId,
    *,
    asked: str = "",
    done: str | None = None,
    problem: str | None = None,
    status: int = 200,
) -> Response:
    here = address_of(request)

    def gather(connection: Connection) -> NetworkPage:
        names = people.names(connection)
        rule = network.rule(connection, box.settings)
        opened = network.opened(connection)
        endpoint = tunnel.endpoint(connection)
        return NetworkPage(
            [str(each) for each in rule.networks],
            network.is_declared(connection),
            here,
            local_networks.is_local(connection, here),
            holds((), here),
            listening.doors(network.cards(), rule),
            {str(reason): words for reason, words in REASON_WORDS.items()},
            box.settings.listen_port,
            opened,
            "" if opened is None else names.get(opened.by, "–"),
            second_factors.has_any(connection, me, box.settings.tls),
            [DeviceSeen(each, names.get(each.person_id, "")) for each in tunnel.living(connection)],
            "" if endpoint is None else f"{endpoint[0]}:{endpoint[1]}",
            network.smb_in_tunnel(connection),
            box.settings.front_address,
            box.settings.front_accel == 1,
            asked,
            done,
            problem,
        )

    return render(request, await box.read_aside(gather), status)
