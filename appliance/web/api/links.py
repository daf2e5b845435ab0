"""Links for correspondents as JSON: list, make, withdraw; what they received, accepted or refused."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection

from appliance.accounts import passwords
from appliance.clock import utc_now
from appliance.db import practice
from appliance.disk import links, quarantine
from appliance.disk.links import Made
from appliance.disk.quarantine import Received
from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.packed import pack_path, unpack_path
from appliance.policy.outside_links import ASK, FILE_KINDS, GIVE, Rules
from appliance.policy.roles import Action
from appliance.web.api.upload import held_by
from appliance.web.deps import TheBox, TheVisitor, aside, needs
from appliance.web.pages.arrivals import origin_of
from appliance.web.pages.links import LinkLine, decide_about, lines_of, mine
from appliance.web.pages.paths import readable

router = APIRouter(prefix="/api/v1/links", tags=["links"], dependencies=[needs(Action.DISK_USE)])

Number = Annotated[int, Query(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class LinkBody:
    """One link; its address and its password are shown when it is made, and never again."""

    id: int
    kind: str  # give · ask
    label: str
    what: str  # share and path, for people
    maker: str
    created_at: datetime
    ends_at: datetime
    state: str  # open · ended · revoked · used-up · no-right
    uses: int
    most_uses: int | None
    has_password: bool
    waiting: int  # files to be decided about


@dataclass(frozen=True, slots=True)
class NewLinkBody:
    """A link to be made."""

    share: str
    label: str  # for whom
    p: str = ""  # base64url of the path in the share
    kind: Literal["give", "ask"] = "give"
    days: int | None = None  # None: as the practice chose
    most_uses: int | None = None  # of a «give»
    has_password: bool = True
    kinds: list[str] = field(default_factory=lambda: sorted(FILE_KINDS))  # of an «ask»


@dataclass(frozen=True, slots=True)
class MadeLinkBody:
    """What is shown this once."""

    id: int
    url: str
    password: str | None
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class ReceivedBody:
    """A file that came by a link."""

    id: int
    name: str
    packed_name: str  # base64url
    size: int
    sha256: str
    received_at: datetime
    state: str  # waiting · accepted · declined · lost
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class DecisionBody:
    """What becomes of files that wait."""

    do: Literal["accept", "refuse"]
    files: list[int] | None = None  # None: all that wait


@dataclass(frozen=True, slots=True)
class DecidedBody:
    """How many were decided about."""

    count: int


@router.get("", name="api-links")
async def list_links(box: TheBox, visitor: TheVisitor, everybody: Number = 0) -> list[LinkBody]:
    """Return one's own links, the newest first; with ``everybody`` all of them, to who may see them."""
    is_all = bool(everybody) and visitor.may(Action.LINKS_SEE_ALL)
    whose = None if is_all else visitor.person.id
    found = await box.read_aside(
        lambda c: lines_of(c, visitor, links.listed(c, person_id=whose), utc_now())
    )
    return [_body(each) for each in found]


@router.post("", name="api-link-make", status_code=201)
async def make_link(
    request: Request, box: TheBox, visitor: TheVisitor, wanted: NewLinkBody
) -> MadeLinkBody:
    """Make a link; its address and its password are in this answer only.

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing, NotAFolder.
    """
    held = await held_by(box, visitor, wanted.share)
    path = unpack_path(wanted.p)
    kinds = frozenset(wanted.kinds)
    if not kinds <= set(FILE_KINDS):
        raise InvalidInput("kinds", mark("documents, pictures or dicom, please."))
    if wanted.kind == ASK and wanted.most_uses is not None:
        raise InvalidInput("most_uses", mark("Only of a link that gives, please."))

    with box.database.read() as connection:
        usual = practice.link_rules(connection).days

    def work() -> Made:
        return links.make(
            box.database,
            held,
            path,
            kind=wanted.kind,
            person_id=visitor.person.id,
            label=wanted.label,
            days=usual if wanted.days is None else wanted.days,
            now=utc_now(),
            hash_password=passwords.make_hash if wanted.has_password else None,
            most_uses=wanted.most_uses if wanted.kind == GIVE else None,
            rules=Rules(kinds) if wanted.kind == ASK else None,
        )

    made = await aside(work)
    url = links.address(origin_of(request), made.token)
    return MadeLinkBody(made.link.id, url, made.password, made.link.ends_at)


@router.get("/{link_id}", name="api-link")
async def show_link(box: TheBox, visitor: TheVisitor, link_id: int) -> LinkBody:
    """Return one link.

    Raises:
        NotFound: there is none, or it is another's.
    """

    def look(connection: Connection) -> LinkLine:
        (line,) = lines_of(connection, visitor, [mine(connection, visitor, link_id)], utc_now())
        return line

    return _body(await box.read_aside(look))


@router.post("/{link_id}/revoke", name="api-link-revoke", status_code=204)
async def revoke_link(box: TheBox, visitor: TheVisitor, link_id: int) -> None:
    """Withdraw a link at once; withdrawing it again changes nothing.

    Raises:
        NotFound: there is none, or it is another's.
    """
    await box.write(
        lambda c: links.revoke(c, mine(c, visitor, link_id), by=visitor.person.id, now=utc_now())
    )


@router.get("/{link_id}/received", name="api-link-received")
async def list_received(box: TheBox, visitor: TheVisitor, link_id: int) -> list[ReceivedBody]:
    """Return what a link received, those that wait first.

    Raises:
        NotFound: there is none, or it is another's.
    """

    def look(connection: Connection) -> list[Received]:
        return quarantine.of_link(connection, mine(connection, visitor, link_id).id)

    return [
        ReceivedBody(
            each.id,
            readable(each.name),
            pack_path(each.name),
            each.size,
            each.sha256,
            each.received_at,
            each.state,
            each.decided_at,
        )
        for each in await box.read_aside(look)
    ]


@router.post("/{link_id}/received", name="api-link-decide")
async def decide(
    box: TheBox, visitor: TheVisitor, link_id: int, wanted: DecisionBody
) -> DecidedBody:
    """Accept files that wait into their folder, or refuse them for good.

    Raises:
        NotFound, NotAllowed, FileMissing, NotAFolder, NameTaken.
    """
    chosen = None if wanted.files is None else set(wanted.files)
    count = await decide_about(box, visitor, link_id, chosen, is_accept=wanted.do == "accept")
    return DecidedBody(count)


def _body(line: LinkLine) -> LinkBody:
    return LinkBody(
        id=line.id,
        kind=line.kind,
        label=line.label,
        what=line.what,
        maker=line.maker,
        created_at=line.created_at,
        ends_at=line.ends_at,
        state=line.state,
        uses=line.uses,
        most_uses=line.most_uses,
        has_password=line.has_password,
        waiting=line.waiting,
    )
