"""By which ways notices leave the box, as JSON: one's own ways, and for who runs the box the practice's settings.

What is secret goes in sealed and is in no answer; for a person's session, no token opens it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy import Connection

from appliance.accounts import deliveries, notice_ways
from appliance.clock import utc_now
from appliance.policy import notice_ways as policy
from appliance.policy.notice_ways import SERVICES, Kind, MailServer, Security
from appliance.policy.roles import Action
from appliance.web.api.copies_add import SecretText
from appliance.web.api.notices import WayBody, way_body
from appliance.web.deps import TheBox, TheVisitor, Visitor, needs, proven
from appliance.web.pages.notices_settings import topics_of
from appliance.web.pages.notices_settings_do import (
    drop_way,
    put_mail,
    put_monitor,
    put_topics,
    put_way,
)

router = APIRouter(prefix="/api/v1/notices", tags=["notices"])

Text = Annotated[str, Field(max_length=20_000)]


@dataclass(frozen=True, slots=True)
class NewWayBody:
    """A way to be added."""

    kind: Kind
    to: SecretText = field(repr=False)  # an e-mail's address, or a service's, which is sealed
    topics: list[str]
    is_practice: bool = False  # else one's own


@dataclass(frozen=True, slots=True)
class TopicsBody:
    """What is told by a way."""

    topics: list[str]


@dataclass(frozen=True, slots=True)
class MailBody:
    """The e-mail server; its password is in no answer."""

    server: Text
    port: int
    security: Security
    sender: Text
    user: Text = ""
    ca: Text = ""  # PEM of the authority of its certificate


@dataclass(frozen=True, slots=True)
class WantedMailBody:
    """The e-mail server to be set; an empty password keeps the one that is stored for it."""

    server: MailBody
    password: SecretText = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RulesBody:
    """When notices leave, and where they lead."""

    quiet_from: Annotated[str, Field(pattern=r"^\d\d:\d\d$")]  # «21:00»
    quiet_until: Annotated[str, Field(pattern=r"^\d\d:\d\d$")]
    digest_days: int  # 0: never, 1, 7
    digest_at: Annotated[str, Field(pattern=r"^\d\d:\d\d$")]
    base_url: Text = ""


@dataclass(frozen=True, slots=True)
class MonitorBody:
    """The outside monitor, whose address is sealed."""

    set_at: datetime
    last_at: datetime | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class WantedMonitorBody:
    """The address that is called after a good night."""

    address: SecretText = field(repr=False)  # empty: none


@dataclass(frozen=True, slots=True)
class NoticesSettingsBody:
    """Everything about notices that leave."""

    my_topics: list[str]  # that may be chosen
    runs_it: bool  # what follows is empty to anybody else
    practice_topics: list[str]
    services: list[str]  # what a service's address may begin with
    mail: MailBody | None
    rules: RulesBody | None
    monitor: MonitorBody | None


_SETTING = [needs(Action.SETTINGS_CHANGE), proven()]


@router.get("/settings", name="api-notices-settings")
async def show_settings(box: TheBox, visitor: TheVisitor) -> NoticesSettingsBody:
    """Return what may be chosen, and to who runs the box what the practice chose."""
    return await box.read_aside(lambda c: _settings(c, visitor))


@router.post("/ways", name="api-notices-way-add", status_code=201, dependencies=[proven()])
async def add_way(box: TheBox, visitor: TheVisitor, wanted: NewWayBody) -> WayBody:
    """Add a way of one's own, or of the practice.

    Raises:
        NotFound: services and the practice's ways are for who may change settings. InvalidInput, ProofNeeded.
    """
    made = await put_way(
        box, visitor, wanted.kind, wanted.to, wanted.topics, ours=wanted.is_practice
    )
    return way_body(made, 0)


@router.put("/ways/{way_id}", name="api-notices-way-change")
async def change_way(box: TheBox, visitor: TheVisitor, way_id: int, wanted: TopicsBody) -> WayBody:
    """Choose anew what a way is for.

    Raises:
        NotFound: there is none, or it is another's. InvalidInput.
    """

    def change(connection: Connection) -> WayBody:
        put_topics(connection, visitor, way_id, wanted.topics)
        return way_body(notice_ways.get(connection, way_id), deliveries.waiting(connection, way_id))

    return await box.write(change)


@router.delete(
    "/ways/{way_id}", name="api-notices-way-remove", status_code=204, dependencies=[proven()]
)
async def remove_way(box: TheBox, visitor: TheVisitor, way_id: int) -> None:
    """Remove a way.

    Raises:
        NotFound: there is none, or it is another's. ProofNeeded.
    """
    await box.write(lambda c: drop_way(c, visitor, way_id))


@router.put("/rules", name="api-notices-rules", dependencies=[needs(Action.SETTINGS_CHANGE)])
async def save_rules(box: TheBox, visitor: TheVisitor, wanted: RulesBody) -> NoticesSettingsBody:
    """Say when notices leave, and where they lead.

    Raises:
        InvalidInput.
    """
    rules = policy.check_rules(
        quiet_from=wanted.quiet_from,
        quiet_until=wanted.quiet_until,
        digest_days=str(wanted.digest_days),
        digest_at=wanted.digest_at,
        base_url=wanted.base_url,
    )

    def change(connection: Connection) -> NoticesSettingsBody:
        notice_ways.put_rules(connection, rules, by=visitor.person.id, now=utc_now())
        return _settings(connection, visitor)

    return await box.write(change)


@router.put("/mail", name="api-notices-mail", dependencies=_SETTING)
async def save_mail(
    box: TheBox, visitor: TheVisitor, wanted: WantedMailBody
) -> NoticesSettingsBody:
    """Set the e-mail server; a test of a way by e-mail shows whether it works.

    Raises:
        InvalidInput, ProofNeeded.
    """
    given = wanted.server
    server = policy.check_server(
        server=given.server,
        port=str(given.port),
        security=given.security.value,
        sender=given.sender,
        user=given.user,
        ca=given.ca,
    )
    await put_mail(box, visitor, server, wanted.password)
    return await box.read_aside(lambda c: _settings(c, visitor))


@router.delete("/mail", name="api-notices-mail-remove", status_code=204, dependencies=_SETTING)
async def remove_mail(box: TheBox, visitor: TheVisitor) -> None:
    """Forget the e-mail server and its password."""
    me = visitor.person.id
    await box.write(lambda c: notice_ways.remove_mail_server(c, by=me, now=utc_now()))


@router.put("/monitor", name="api-notices-monitor", dependencies=_SETTING)
async def save_monitor(
    box: TheBox, visitor: TheVisitor, wanted: WantedMonitorBody
) -> NoticesSettingsBody:
    """Set the address that is called after a good night, or none.

    Raises:
        InvalidInput, ProofNeeded.
    """
    await put_monitor(box, visitor, wanted.address)
    return await box.read_aside(lambda c: _settings(c, visitor))


def _settings(connection: Connection, visitor: Visitor) -> NoticesSettingsBody:
    mine = [each.value for each in topics_of(visitor, ours=False)]
    if not visitor.may(Action.SETTINGS_CHANGE):
        return NoticesSettingsBody(mine, False, [], [], None, None, None)
    rules = notice_ways.rules(connection)
    server = notice_ways.mail_server(connection)
    known = notice_ways.ping(connection)
    return NoticesSettingsBody(
        mine,
        True,
        [each.value for each in topics_of(visitor, ours=True)],
        sorted(f"{each}://" for each, one in SERVICES.items() if not one.is_plain),
        None if server is None else _mail(server),
        RulesBody(
            f"{rules.quiet_from:%H:%M}",
            f"{rules.quiet_until:%H:%M}",
            rules.digest_days,
            f"{rules.digest_at:%H:%M}",
            rules.base_url,
        ),
        None
        if known is None
        else MonitorBody(
            datetime.fromisoformat(known["set_at"]),
            datetime.fromisoformat(known["last_at"]) if known.get("last_at") else None,
            known.get("problem"),
        ),
    )


def _mail(server: MailServer) -> MailBody:
    return MailBody(
        server.server, server.port, server.security, server.sender, server.user, server.ca
    )
