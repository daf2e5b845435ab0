"""The way in from anywhere as JSON: one's devices, and under which name the practice's router is reached.

A device's keys are in the answer that makes it and nowhere else; for a person's session, no token opens it.
"""

from dataclasses import dataclass, field
from datetime import datetime

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.responses import Response

from appliance.accounts import tunnel
from appliance.policy.roles import Action
from appliance.web.api.account import NOT_KEPT
from appliance.web.deps import TheBox, TheVisitor, Visitor, needs
from appliance.web.pages.tunnel import (
    DeviceLine,
    is_ready,
    make_device,
    put_way_in,
    seen,
    shut_out,
)

router = APIRouter(prefix="/api/v1/devices", tags=["devices"])


@dataclass(frozen=True, slots=True)
class DeviceBody:
    """A device that comes in through the tunnel."""

    id: int
    person_id: int
    owner: str
    is_mine: bool
    label: str
    address: str  # in the tunnel
    created_at: datetime
    ends_at: datetime | None  # it is shut out then
    seen_at: datetime | None  # its last handshake


@dataclass(frozen=True, slots=True)
class DevicesBody:
    """One's devices; to whoever runs the box everybody's."""

    is_ready: bool  # devices can be made
    way_in: str | None  # name or address, and port, of the practice's router
    devices: list[DeviceBody]


@dataclass(frozen=True, slots=True)
class NewDeviceBody:
    """A device to be made."""

    label: str
    ends_at: datetime | None = None  # with its zone


@dataclass(frozen=True, slots=True)
class MadeDeviceBody:
    """A device and its keys, shown this once."""

    device: DeviceBody
    file: str = field(repr=False)  # what WireGuard reads
    picture: str = field(repr=False)  # the same to scan, SVG


@dataclass(frozen=True, slots=True)
class WayInBody:
    """How the practice's router is reached."""

    way_in: str  # «practice.example.org:51820»


@router.get("", name="api-devices")
async def list_devices(box: TheBox, visitor: TheVisitor) -> DevicesBody:
    """Return one's devices; to whoever runs the box everybody's, newest first."""
    return await box.read_aside(lambda c: _devices(c, visitor))


@router.post("", name="api-device-add", status_code=201)
async def add_device(
    response: Response, box: TheBox, visitor: TheVisitor, wanted: NewDeviceBody
) -> MadeDeviceBody:
    """Make a device of one's own.

    Raises:
        InvalidInput: no name, too many, an end that is over, or the way in is not prepared. TunnelFull.
    """
    response.headers.update(NOT_KEPT)
    made = await make_device(box, visitor, wanted.label, ends_at=wanted.ends_at)
    line = DeviceLine(made.device, visitor.person.name, is_mine=True)
    return MadeDeviceBody(_device(line), made.file, made.picture)


@router.post("/{device_id}/revoke", name="api-device-revoke", status_code=204)
async def revoke_device(box: TheBox, visitor: TheVisitor, device_id: int) -> None:
    """Shut a device out: one's own, or anybody's for whoever runs the box.

    Raises:
        NotFound: there is none, or it is another's.
    """
    await box.write(lambda c: shut_out(c, visitor, device_id))


@router.put("/way-in", name="api-devices-way-in", dependencies=[needs(Action.NETWORK_CHANGE)])
async def set_way_in(box: TheBox, visitor: TheVisitor, wanted: WayInBody) -> DevicesBody:
    """Say under which name or address the practice's router is reached.

    Raises:
        InvalidInput.
    """

    def change(connection: Connection) -> DevicesBody:
        put_way_in(connection, visitor, wanted.way_in)
        return _devices(connection, visitor)

    return await box.write(change)


def _devices(connection: Connection, visitor: Visitor) -> DevicesBody:
    found = tunnel.endpoint(connection)
    return DevicesBody(
        is_ready(connection),
        None if found is None else f"{found[0]}:{found[1]}",
        [_device(each) for each in seen(connection, visitor)],
    )


def _device(line: DeviceLine) -> DeviceBody:
    one = line.device
    return DeviceBody(
        one.id,
        one.person_id,
        line.owner,
        line.is_mine,
        one.label,
        one.address,
        one.created_at,
        one.ends_at,
        one.seen_at,
    )
