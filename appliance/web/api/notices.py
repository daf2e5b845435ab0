"""Notices as JSON: what one was told, and by which ways it leaves the box."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, Request
from sqlalchemy import Connection

from appliance.accounts import deliveries, notice_ways, notices
from appliance.accounts.notice_ways import Way
from appliance.clock import utc_now
from appliance.policy.roles import Action
from appliance.web.deps import TheBox, TheVisitor
from appliance.web.pages.notices import said
from appliance.web.pages.notices_settings_do import send_test
from appliance.web.render import words_of

router = APIRouter(prefix="/api/v1/notices", tags=["notices"])


@dataclass(frozen=True, slots=True)
class NoticeBody:
    """One thing one was told."""

    id: int
    code: str  # stable
    at: datetime
    text: str  # in the reader's language
    facts: dict[str, str | int | float | bool | None]
    href: str | None
    seen_at: datetime | None
    sent_at: datetime | None  # it left the box, by whichever way


@dataclass(frozen=True, slots=True)
class SeenBody:
    """Which notice was seen."""

    notice: int | None = None  # None: all of them


@dataclass(frozen=True, slots=True)
class CountBody:
    """How many were new."""

    count: int


@dataclass(frozen=True, slots=True)
class WayBody:
    """One way out; what is sealed of it is shown to nobody."""

    id: int
    is_practice: bool
    kind: str  # email · service
    label: str
    topics: list[str]
    worked_at: datetime | None
    failed_at: datetime | None
    problem: str | None
    waiting: int


@router.get("", name="api-notices")
async def list_notices(request: Request, box: TheBox, visitor: TheVisitor) -> list[NoticeBody]:
    """Return what one was told, the newest first."""
    words = words_of(request)
    found = await box.read_aside(lambda c: notices.of_person(c, visitor.person))
    bodies = []
    for each in found:
        line = said(each, words)
        facts = {name: _plain(value) for name, value in each.facts.items()}
        bodies.append(
            NoticeBody(
                each.id, each.code, each.at, line.text, facts, line.href, each.seen_at, each.sent_at
            )
        )
    return bodies


@router.post("/seen", name="api-notices-seen")
async def see_notices(box: TheBox, visitor: TheVisitor, seen: SeenBody) -> CountBody:
    """Mark one of one's notices, or all, as seen."""
    now = utc_now()
    count = await box.write(lambda c: notices.see(c, visitor.person, seen.notice, now=now))
    return CountBody(count)


@router.get("/ways", name="api-notices-ways")
async def list_ways(box: TheBox, visitor: TheVisitor) -> list[WayBody]:
    """Return one's own ways, and to who may change settings the practice's."""

    def look(connection: Connection) -> list[WayBody]:
        found = list(notice_ways.living(connection, visitor.person.id))
        if visitor.may(Action.SETTINGS_CHANGE):
            found += notice_ways.living(connection, None)
        return [way_body(each, deliveries.waiting(connection, each.id)) for each in found]

    return await box.read_aside(look)


@router.post("/ways/{way_id}/test", name="api-notices-way-test", status_code=204)
async def test_way(box: TheBox, visitor: TheVisitor, way_id: int) -> None:
    """Send a test by one way.

    Raises:
        NotFound: there is none, or it is another's.
    """
    await box.write(lambda c: send_test(c, visitor, way_id, utc_now()))


def way_body(way: Way, waiting: int) -> WayBody:
    """Return a way as the API shows it."""
    return WayBody(
        way.id,
        way.person_id is None,
        way.kind.value,
        way.label,
        sorted(way.topics),
        way.worked_at,
        way.failed_at,
        way.problem,
        waiting,
    )


def _plain(value: object) -> str | int | float | bool | None:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
