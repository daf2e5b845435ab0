"""The way in under /api/v1: what is declared, where the box listens; changes need a proof of who asks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Body, Request
from sqlalchemy import Connection

from appliance.accounts import tunnel
from appliance.clock import utc_now
from appliance.errors import InvalidInput
from appliance.jobs import network
from appliance.language import mark
from appliance.policy import listening
from appliance.policy.roles import Action
from appliance.web.deps import Box, TheBox, TheVisitor, needs, proven
from appliance.web.pages.arrivals import address_of

router = APIRouter(prefix="/api/v1", tags=["network"])


@dataclass(frozen=True, slots=True)
class DoorBody:
    """An address of the box."""

    interface: str
    address: str
    listens: bool
    why: str  # itself · local · tunnel · open · outside · not-declared · no-name · front · setting


@dataclass(frozen=True, slots=True)
class DeviceSeenBody:
    """A device of the tunnel."""

    id: int
    label: str
    person_id: int
    seen_at: datetime | None  # its last handshake


@dataclass(frozen=True, slots=True)
class NetworkBody:
    """The way in."""

    networks: list[str]  # CIDR
    is_declared: bool  # else the networks are those of the box's interfaces
    port: int
    addresses: list[DoorBody]
    opened_at: datetime | None  # to the Internet, by decision
    opened_by: int | None  # a person's id
    opened_for: (
        str | None
    )  # all · links: of correspondents, and no page where somebody could sign in
    front: str | None
    smb_in_tunnel: bool
    devices: list[DeviceSeenBody]


@dataclass(frozen=True, slots=True)
class DeclareBody:
    """A network."""

    network: str  # CIDR, private


@dataclass(frozen=True, slots=True)
class ForgetBody:
    """A network that is to be declared no longer."""

    network: str  # CIDR
    sure: bool = False  # also when the caller is at the practice through it alone


@router.get("/network", name="api-network", dependencies=[needs(Action.NETWORK_CHANGE)])
async def show(box: TheBox) -> NetworkBody:
    """Say what is declared and where the box listens."""
    return await box.read_aside(lambda c: _body(c, box))


@router.post(
    "/network/declare",
    name="api-network-declare",
    dependencies=[needs(Action.NETWORK_CHANGE), proven()],
)
async def declare(
    box: TheBox, visitor: TheVisitor, body: Annotated[DeclareBody, Body()]
) -> NetworkBody:
    """Declare a local network.

    Raises:
        InvalidInput, AlreadyExists, ProofNeeded.
    """
    me = visitor.person.id

    def change(connection: Connection) -> NetworkBody:
        network.declare(connection, body.network, now=utc_now(), by=me)
        return _body(connection, box)

    return await box.write(change)


@router.post(
    "/network/forget",
    name="api-network-forget",
    dependencies=[needs(Action.NETWORK_CHANGE), proven()],
)
async def forget(
    request: Request, box: TheBox, visitor: TheVisitor, body: Annotated[ForgetBody, Body()]
) -> NetworkBody:
    """Declare a local network no longer.

    Raises:
        InvalidInput: it is none, or the caller would be shut out and is not ``sure``. NotFound, ProofNeeded.
    """
    me, peer = visitor.person.id, address_of(request)

    def change(connection: Connection) -> NetworkBody:
        if not body.sure and network.would_shut_out(connection, body.network, peer):
            raise InvalidInput(
                "sure", mark("You are in this network yourself: say that you are sure.")
            )
        network.forget(connection, body.network, now=utc_now(), by=me)
        return _body(connection, box)

    return await box.write(change)


@router.post(
    "/network/close", name="api-network-close", dependencies=[needs(Action.NETWORK_CHANGE)]
)
async def close(box: TheBox, visitor: TheVisitor) -> NetworkBody:
    """Close the box to the Internet; opening it is a person's, on the page."""
    me = visitor.person.id

    def change(connection: Connection) -> NetworkBody:
        network.close(connection, now=utc_now(), by=me)
        return _body(connection, box)

    return await box.write(change)


def _body(connection: Connection, box: Box) -> NetworkBody:
    rule = network.rule(connection, box.settings)
    opened = network.opened(connection)
    return NetworkBody(
        [str(each) for each in rule.networks],
        network.is_declared(connection),
        box.settings.listen_port,
        [
            DoorBody(each.interface, each.address, each.is_bound, each.why.value)
            for each in listening.doors(network.cards(), rule)
        ],
        None if opened is None else opened.at,
        None if opened is None else int(opened.by),
        None if opened is None else "links" if opened.links_only else "all",
        box.settings.front_address or None,
        network.smb_in_tunnel(connection),
        [
            DeviceSeenBody(each.id, each.label, int(each.person_id), each.seen_at)
            for each in tunnel.living(connection)
        ],
    )
