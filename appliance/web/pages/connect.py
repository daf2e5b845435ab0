"""How the practice's computers reach the disk: addresses, steps for each system, one's own password for it."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.clock import utc_now
from appliance.db import facts
from appliance.disk import access, smb_passwords
from appliance.errors import AlreadyQueued
from appliance.jobs import queue
from appliance.jobs.kinds import SmbApply
from appliance.language import mark
from appliance.policy.roles import Action
from appliance.policy.share_rights import WRITE, Right
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, needs
from appliance.web.render import Page, render

router = APIRouter(
    prefix="/connect", include_in_schema=False, dependencies=[needs(Action.DISK_USE)]
)

#: Facts the worker keeps (worker/tasks/smb_plan.py); the page only reads them.
APPLIED: Final = "smb.applied"
NAME: Final = "smb.name"
USUAL_NAME: Final = "armoire"
#: What a browser says of its system → whose steps are opened first. The order matters: telephones say more.
_SYSTEMS: Final = (
    ("iphone", "phone"),
    ("ipad", "phone"),
    ("android", "phone"),
    ("windows", "windows"),
    ("macintosh", "macos"),
    ("linux", "linux"),
)


@dataclass(frozen=True, slots=True)
class Reached:
    """A share that one may open in the file explorer."""

    name: str
    label: str
    writes: bool
    is_time_machine: bool


@dataclass(frozen=True, slots=True)
class ConnectPage(Page):
    """Everything the page may use."""

    template: ClassVar[str] = "connect.html"
    server: str  # the box's name on the local network
    number: str  # an address it listens on; empty: not known yet
    is_ready: bool  # the worker set the file explorer's access up
    shares: list[Reached]
    dav: bool  # a share is reached by WebDAV
    since: datetime | None  # one has a password since
    waits: bool  # a new one is on its way
    system: str  # windows · macos · linux · phone
    password: str = ""  # shown once
    done: str | None = None


@router.get("", name="connect")
async def show(request: Request, box: TheBox, visitor: TheVisitor, after: str = "") -> Response:
    """Show how one's computer reaches the shares."""
    done = mark("The password was taken away.") if after == "removed" else None
    page = await box.read_aside(lambda c: _page(c, request, visitor, done=done))
    return render(request, page)


@router.post("/password", name="connect-password")
async def make_password(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Make a new password for the file explorer, and show it this once."""
    words = smb_passwords.make()
    await put_password(box, visitor, words)
    page = await box.read_aside(lambda c: _page(c, request, visitor, password=words))
    answer = render(request, page)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@router.post("/password/remove", name="connect-password-remove")
async def remove_password(box: TheBox, visitor: TheVisitor) -> Response:
    """Take the password away: the file explorer asks in vain from now on."""
    await put_password(box, visitor, "")
    return RedirectResponse("/connect?after=removed", 303)


async def put_password(box: Box, visitor: Visitor, words: str) -> None:
    """Leave one's new password for the worker, sealed; an empty one takes the former away."""
    sealed = seal(Secret(words.encode()), box.settings.keys)
    await box.write(lambda c: _ask(c, visitor, sealed))


def _ask(connection: Connection, visitor: Visitor, sealed: bytes) -> None:
    now = utc_now()
    smb_passwords.ask(connection, visitor.person.id, sealed, now=now)
    try:
        queue.enqueue(connection, SmbApply(), now=now, person_id=visitor.person.id)
    except AlreadyQueued:
        return  # it takes this one along


def _page(
    connection: Connection,
    request: Request,
    visitor: TheVisitor,
    *,
    password: str = "",
    done: str | None = None,
) -> ConnectPage:
    person = visitor.person
    held = access.held(connection, person, now=utc_now())
    applied = facts.find(connection, APPLIED)
    addresses = applied.get("addresses") if isinstance(applied, dict) else None
    known = [each for each in addresses or [] if not each.startswith("127.")]
    name = facts.find(connection, NAME)
    return ConnectPage(
        server=name.lower() if isinstance(name, str) else USUAL_NAME,
        number=known[0] if known else "",
        is_ready=isinstance(applied, dict),
        shares=[
            Reached(
                each.share.name,
                each.share.label,
                each.rights >= WRITE,
                each.share.is_time_machine,
            )
            for each in held
            if each.share.over_smb and each.may(Right.SEE)
        ],
        dav=any(each.share.over_dav for each in held),
        since=smb_passwords.since(connection, person.id),
        waits=person.id in smb_passwords.waiting(connection),
        system=_system(request.headers.get("user-agent", "")),
        password=password,
        done=done,
    )


def _system(agent: str) -> str:
    lower = agent.lower()
    return next((system for word, system in _SYSTEMS if word in lower), "windows")
