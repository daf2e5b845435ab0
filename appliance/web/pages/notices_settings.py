"""Which notices leave the box by which way: one's own, and for who runs the box the practice's."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import Response

from appliance.accounts import deliveries, notice_ways
from appliance.accounts.deliveries import Test
from appliance.accounts.notice_ways import Way
from appliance.clock import utc_now
from appliance.language import mark
from appliance.policy.notice_ways import SECURITY_NAMES, SERVICES, MailServer, Security
from appliance.policy.notices import (
    OF_A_PERSON,
    OF_THE_BOX,
    PROBLEMS,
    TOPIC_NAMES,
    Rules,
    Topic,
)
from appliance.policy.roles import Action
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor
from appliance.web.pages import arrivals
from appliance.web.render import Page, render

router = APIRouter(prefix="/notices/settings", include_in_schema=False)

DONE: Final = {
    "way": mark("This way is set. Send a test to see whether it works."),
    "topics": mark("What is told this way was changed."),
    "removed": mark("This way was removed."),
    "test": mark("The test is on its way: what became of it shows below in a moment."),
    "rules": mark("When notices leave was changed."),
    "mail": mark("The e-mail server is set. Send a test to see whether it works."),
    "monitor": mark("The outside monitor is set."),
    "no-monitor": mark("There is no outside monitor any more."),
    "no-mail": mark("The e-mail server was removed."),
}


@dataclass(frozen=True, slots=True)
class WayLine:
    """One way and how it is."""

    way: Way
    topics: list[tuple[str, str, bool]]  # value, name, whether chosen
    test: Test | None
    problem: str | None  # in words to translate
    test_problem: str | None
    waiting: int

    @property
    def tone(self) -> str:
        """How it stands."""
        if self.way.problem is not None:
            return "is-bad"
        return "is-good" if self.way.worked_at is not None else "is-calm"


@dataclass(frozen=True, slots=True)
class Monitor:
    """The outside monitor: its address is sealed and not shown again."""

    set_at: datetime
    last_at: datetime | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Filled:
    """What somebody typed, when it is shown again."""

    form: str = ""  # which one
    values: tuple[tuple[str, str], ...] = ()

    def get(self, form: str, name: str, usual: object = "") -> str:
        """Return what was typed into a field, or what is stored."""
        if self.form == form:
            return dict(self.values).get(name, "")
        return str(usual)


@dataclass(frozen=True, slots=True)
class NoticesSettingsPage(Page):
    """Everything notices_settings.html may use."""

    template: ClassVar[str] = "notices_settings.html"
    mine: list[WayLine]
    my_topics: list[tuple[str, str]]
    runs_it: bool
    ours: list[WayLine]
    our_topics: list[tuple[str, str]]
    services: list[str]  # what an address may begin with
    mail: MailServer | None
    has_password: bool
    securities: list[tuple[str, str]]
    rules: Rules
    proposed_url: str
    monitor: Monitor | None
    left_at: datetime | None  # the last message, by whichever way
    poll_s: int  # 0: nothing is awaited
    filled: Filled
    done: str | None = None
    problems: tuple[tuple[str, str], ...] = ()


@router.get("", name="notices-settings")
async def show_settings(
    request: Request, box: TheBox, visitor: TheVisitor, after: str = ""
) -> Response:
    """Show by which ways notices leave, and whether they work."""
    return settings_page(request, box, visitor, done=DONE.get(after))


def settings_page(
    request: Request,
    box: Box,
    visitor: Visitor,
    *,
    done: str | None = None,
    problems: tuple[tuple[str, str], ...] = (),
    filled: Filled | None = None,
) -> Response:
    """Return the page; with what was typed when something of it is wrong (422)."""
    with box.database.read() as connection:
        page = _gather(connection, request, visitor, done, problems, filled or Filled())
    return render(request, page, 422 if problems else 200)


def topics_of(visitor: Visitor, *, ours: bool) -> tuple[Topic, ...]:
    """Return what may be chosen for a way: who runs the box also hears of it by a way of their own."""
    if ours:
        return OF_THE_BOX
    both = {*OF_A_PERSON, *OF_THE_BOX} if visitor.may(Action.SETTINGS_CHANGE) else {*OF_A_PERSON}
    if not visitor.may(Action.DISK_USE):
        both -= {Topic.LINKS, Topic.LOCUM}
    return tuple(each for each in Topic if each in both)


def _gather(
    connection: Connection,
    request: Request,
    visitor: Visitor,
    done: str | None,
    problems: tuple[tuple[str, str], ...],
    filled: Filled,
) -> NoticesSettingsPage:
    runs_it = visitor.may(Action.SETTINGS_CHANGE)
    my_topics, our_topics = topics_of(visitor, ours=False), topics_of(visitor, ours=True)
    own = notice_ways.living(connection, visitor.person.id)
    mine = [_line(connection, each, my_topics) for each in own]
    ours: list[WayLine] = []
    monitor = mail = None
    has_password = False
    if runs_it:
        ours = [
            _line(connection, each, our_topics) for each in notice_ways.living(connection, None)
        ]
        mail = notice_ways.mail_server(connection)
        has_password = mail is not None and bool(mail.user)
        monitor = _monitor(notice_ways.ping(connection))
    lines = [*mine, *ours]
    now = utc_now()
    is_awaited = any(
        one.test is not None
        and one.test.sent_at is None
        and (now - one.test.at).total_seconds() < 120
        for one in lines
    )
    return NoticesSettingsPage(
        mine=mine,
        my_topics=[(each.value, TOPIC_NAMES[each]) for each in my_topics],
        runs_it=runs_it,
        ours=ours,
        our_topics=[(each.value, TOPIC_NAMES[each]) for each in our_topics],
        services=sorted(f"{each}://" for each, one in SERVICES.items() if not one.is_plain),
        mail=mail,
        has_password=has_password,
        securities=[(each.value, SECURITY_NAMES[each]) for each in Security],
        rules=notice_ways.rules(connection),
        proposed_url=arrivals.origin_of(request),
        monitor=monitor,
        left_at=max((one.way.worked_at for one in lines if one.way.worked_at), default=None),
        poll_s=2 if is_awaited else 0,
        filled=filled,
        done=done,
        problems=problems,
    )


def _line(connection: Connection, way: Way, allowed: tuple[Topic, ...]) -> WayLine:
    test = deliveries.last_test(connection, way.id)
    return WayLine(
        way,
        [(each.value, TOPIC_NAMES[each], each in way.topics) for each in allowed],
        test,
        None if way.problem is None else PROBLEMS.get(way.problem),
        None if test is None or test.problem is None else PROBLEMS.get(test.problem),
        deliveries.waiting(connection, way.id),
    )


def _monitor(known: dict[str, str] | None) -> Monitor | None:
    if known is None:
        return None
    last, problem = known.get("last_at"), known.get("problem")
    return Monitor(
        datetime.fromisoformat(known["set_at"]),
        None if last is None else datetime.fromisoformat(last),
        None if problem is None else PROBLEMS.get(problem),
    )
