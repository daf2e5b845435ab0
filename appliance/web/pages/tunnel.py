"""The way in from anywhere: one's devices, and how the practice's router must be set.

A device's keys are made for the person, shown once as a code to scan and a file, and stored nowhere.
"""

import io
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar

import segno
from fastapi import APIRouter, Form, Request
from markupsafe import Markup
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import people, tunnel
from appliance.accounts.tunnel import Device
from appliance.clock import utc_now
from appliance.db import facts
from appliance.errors import AlreadyQueued, InvalidInput
from appliance.jobs import queue
from appliance.jobs.kinds import TunnelApply
from appliance.language import explain, mark
from appliance.ledger import events
from appliance.model import PersonId
from appliance.policy import tunnel as policy
from appliance.policy.roles import Action
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """A device and whose it is."""

    device: Device
    owner: str
    is_mine: bool


@dataclass(frozen=True, slots=True)
class DevicesPage(Page):
    """One's devices; whoever runs the box sees all of them, and the router's part."""

    template: ClassVar[str] = "tunnel/devices.html"
    devices: list[DeviceLine]
    endpoint: str
    port: int
    is_ready: bool  # the box's key was made, and the way to it is known
    box_address: str
    box_port: int
    problem: str


@dataclass(frozen=True, slots=True)
class NewDevicePage(Page):
    """A device's keys, shown once."""

    template: ClassVar[str] = "tunnel/device.html"
    label: str
    code: Markup  # SVG
    file: str  # data: address of the file


@router.get("/devices", name="devices")
async def show_devices(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Show one's devices."""
    return await _page(request, box, visitor)


async def _page(
    request: Request, box: TheBox, visitor: TheVisitor, problem: str = "", status: int = 200
) -> Response:
    def gather(connection: Connection) -> DevicesPage:
        endpoint = tunnel.endpoint(connection)
        host = "" if endpoint is None else endpoint[0]
        return DevicesPage(
            seen(connection, visitor),
            host,
            policy.PORT if endpoint is None else endpoint[1],
            is_ready(connection),
            policy.box_address(),
            443 if box.settings.front_address else box.settings.listen_port,
            problem,
        )

    return render(request, await box.read_aside(gather), status)


@router.post("/devices", name="device-add")
async def add_device(
    request: Request, box: TheBox, visitor: TheVisitor, label: Annotated[str, Form()] = ""
) -> Response:
    """Make a device of one's own and show its keys, once.

    Raises:
        TunnelFull: no address is left.
    """
    try:
        made = await make_device(box, visitor, label)
    except InvalidInput as error:
        return await _page(request, box, visitor, explain(error, language_of(request)), 422)
    page = NewDevicePage(
        made.device.label,
        Markup(made.picture),  # noqa: S704 - drawn here
        "data:application/octet-stream;base64," + b64encode(made.file.encode()).decode("ascii"),
    )
    return render(request, page, headers={"cache-control": "no-store"})


@router.post("/devices/{device_id}/revoke", name="device-revoke")
async def revoke_device(box: TheBox, visitor: TheVisitor, device_id: int) -> Response:
    """Shut a device out: one's own, or anybody's for whoever runs the box.

    Raises:
        NotFound: there is none, or it is another's.
    """
    await box.write(lambda c: shut_out(c, visitor, device_id))
    return RedirectResponse("/devices", 303)


@router.post("/devices/way-in", name="tunnel-way-in", dependencies=[needs(Action.NETWORK_CHANGE)])
async def set_way_in(
    request: Request, box: TheBox, visitor: TheVisitor, endpoint: Annotated[str, Form()] = ""
) -> Response:
    """Say under which name or address the practice's router is reached."""
    try:
        await box.write(lambda c: put_way_in(c, visitor, endpoint))
    except InvalidInput as error:
        return await _page(request, box, visitor, explain(error, language_of(request)), 422)
    return RedirectResponse("/devices", 303)


@dataclass(frozen=True, slots=True)
class Made:
    """A new device and its keys, which are stored nowhere."""

    device: Device
    file: str  # what WireGuard reads
    picture: str  # the same to scan, SVG


async def make_device(
    box: Box, visitor: Visitor, label: str, *, ends_at: datetime | None = None
) -> Made:
    """Make a device of one's own; ``ends_at``: it is shut out then.

    Raises:
        InvalidInput: no name, too many, an end that is over, or the way in is not prepared. TunnelFull.
    """
    private, public = tunnel.make_keys()
    now, me = utc_now(), visitor.person.id
    if ends_at is not None and (ends_at.tzinfo is None or ends_at <= now):
        raise InvalidInput("ends_at", mark("A moment to come, with its zone, please."))

    def change(connection: Connection) -> tuple[Device, str, tuple[str, int]]:
        endpoint, key = tunnel.endpoint(connection), facts.find(connection, tunnel.PUBLIC_KEY)
        if endpoint is None or not isinstance(key, str):
            raise InvalidInput(
                "tunnel", mark("Whoever runs the box has to prepare the way in first.")
            )
        made = tunnel.add(connection, me, label, public, by=me, now=now, ends_at=ends_at)
        _apply(connection, me)
        return made, key, endpoint

    made, key, endpoint = await box.write(change)
    text = policy.device_text(private, made.address, key, endpoint)
    drawn = io.BytesIO()
    segno.make(text, error="m").save(drawn, kind="svg", scale=5, xmldecl=False, svgclass="qr")
    return Made(made, text, drawn.getvalue().decode())


def shut_out(connection: Connection, visitor: Visitor, device_id: int) -> None:
    """Shut a device out, inside the caller's write: one's own, or anybody's for whoever runs the box.

    Raises:
        NotFound: there is none, or it is another's.
    """
    me = visitor.person.id
    own_only = None if visitor.may(Action.NETWORK_CHANGE) else me
    tunnel.revoke(connection, device_id, by=me, now=utc_now(), person_id=own_only)
    _apply(connection, me)


def put_way_in(connection: Connection, visitor: Visitor, endpoint: str) -> None:
    """Say under which name or address the practice's router is reached, inside the caller's write.

    Raises:
        InvalidInput.
    """
    host, port = policy.check_endpoint(endpoint)
    now, me = utc_now(), visitor.person.id
    shown = f"[{host}]" if ":" in host else host
    facts.put(connection, tunnel.ENDPOINT, f"{shown}:{port}", now=now)
    events.record(
        connection,
        at=now,
        event="tunnel.way-in",
        subject="box",
        person_id=me,
        actor=None,
        port=port,
    )
    _apply(connection, me)


def seen(connection: Connection, visitor: Visitor) -> list[DeviceLine]:
    """Return one's devices; whoever runs the box sees all of them."""
    names, me = people.names(connection), visitor.person.id
    sees_all = visitor.may(Action.NETWORK_CHANGE)
    return [
        DeviceLine(each, names.get(each.person_id, ""), each.person_id == me)
        for each in tunnel.living(connection)
        if sees_all or each.person_id == me
    ]


def is_ready(connection: Connection) -> bool:
    """Return whether devices can be made: the box's key was made, and the way to it is known."""
    return (
        tunnel.endpoint(connection) is not None
        and facts.find(connection, tunnel.PUBLIC_KEY) is not None
    )


def _apply(connection: Connection, person_id: PersonId) -> None:
    try:
        queue.enqueue(connection, TunnelApply(), now=utc_now(), person_id=person_id)
    except AlreadyQueued:
        return
