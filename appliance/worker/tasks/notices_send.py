"""The job that takes notices out of the box: one message for each way, with all that waits for it."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from appliance.accounts import deliveries, notice_ways, people
from appliance.accounts.deliveries import Delivery
from appliance.accounts.notice_ways import Way
from appliance.clock import utc_now
from appliance.db import facts, practice, secrets
from appliance.errors import ArmoireError, NotFound
from appliance.jobs import notice_readings
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import SendNotices
from appliance.language import Language, mark
from appliance.model import JobState
from appliance.policy import notices as policy
from appliance.policy.notice_ways import Kind
from appliance.settings import Settings
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal
from appliance.worker import notices_watch, outgoing
from appliance.worker.outgoing import NotSent

_NOT_SENT: Final = mark("A notice could not leave the box; it is tried again.")
_NOT_TRIED: Final = mark("The e-mail server could not be used.")


def run(context: JobContext, _spec: SendNotices) -> JobState:
    """Send what is due; safe to run again at any line: killed after the other side took a message, it is sent again.

    Returns:
        WARNED when one did not leave, else SUCCEEDED.

    Raises:
        JobCancelled: a person stopped it.
    """
    gone = 0
    with context.database.read() as connection:
        waiting = deliveries.due(connection, now=utc_now())
    for way_id, all_of_it in waiting.items():
        context.check()
        now = utc_now()
        try:
            _send(context, way_id, all_of_it, now)
        except NotSent as problem:
            with context.database.write() as connection:
                deliveries.failed(connection, all_of_it, problem.problem, now=now)
            context.note(_NOT_SENT, level="warning", way=way_id, problem=problem.problem)
        except NotFound:  # the way was removed meanwhile, and what waited with it
            continue
        else:
            with context.database.write() as connection:
                deliveries.sent(connection, all_of_it, now=utc_now())
            gone += len(all_of_it)
    _try_mail(context)
    _ping(context)
    context.result.update(sent=gone)
    return JobState.WARNED if context.warnings else JobState.SUCCEEDED


def _send(context: JobContext, way_id: int, waiting: Sequence[Delivery], now: datetime) -> None:
    settings = context.settings
    with context.database.read() as connection:
        way = notice_ways.get(connection, way_id)
        server = notice_ways.mail_server(connection)
        base_url = notice_ways.rules(connection).base_url
        language = _language(connection, way)
        box = str(facts.find(connection, "box.id") or "")
        name = notice_ways.MAIL_SECRET if way.kind is Kind.EMAIL else way.secret
        sealed = secrets.find_sealed(connection, name)
    lines = [
        policy.Line(each.notice.code, each.notice.text, each.notice.facts, each.notice.at)
        for each in waiting
    ]
    message = policy.message(lines, language, ZoneInfo(settings.time_zone), base_url=base_url)
    secret = _opened(name, sealed, settings)
    if way.kind is Kind.EMAIL:
        if server is None:
            raise NotSent("no-server")
        outgoing.send_mail(
            server, secret, way.label, message, message_id=_message_id(box, waiting), now=now
        )
    elif secret is None:
        raise NotSent("not-opened")
    else:
        outgoing.send_by_service(secret, message)


def _try_mail(context: JobContext) -> None:
    """Sign in to the e-mail server when nothing left by it for a week, so that its silence is noticed."""
    name, problem = notice_ways.MAIL_SECRET, None
    with context.database.read() as connection:
        server = notice_ways.mail_server(connection)
        sealed = secrets.find_sealed(connection, name)
        is_due = notice_readings.mail_try_due(connection, utc_now())
    if server is None or not is_due:
        return
    try:
        outgoing.try_mail(server, _opened(name, sealed, context.settings))
    except NotSent as error:
        problem = error.problem
        context.note(_NOT_TRIED, level="warning", problem=problem)
    with context.database.write() as connection:
        notice_readings.mail_tried(connection, problem, now=utc_now())


def _ping(context: JobContext) -> None:
    """Tell the outside monitor when there is a good night that it was not told of."""
    with context.database.read() as connection:
        if not notices_watch.is_ping_due(connection, context.settings, utc_now()):
            return
        sealed = secrets.find_sealed(connection, notice_ways.PING_SECRET)
    problem: str | None = None
    try:
        address = _opened(notice_ways.PING_SECRET, sealed, context.settings)
        if address is None:
            raise NotSent("not-opened")  # noqa: TRY301 - the same end as the others
        outgoing.ping(address)
    except NotSent as error:
        problem = error.problem
        context.note(
            mark("The outside monitor could not be told that all is well."),
            level="warning",
            problem=problem,
        )
    with context.database.write() as connection:
        notice_ways.pinged(connection, now=utc_now(), problem=problem)


def _opened(name: str, sealed: bytes | None, settings: Settings) -> Secret | None:
    if sealed is None:
        return None
    try:
        return unseal(name, sealed, settings.keys)
    except ArmoireError:
        raise NotSent("not-opened") from None


def _language(connection: Connection, way: Way) -> Language:
    if way.person_id is None:
        return practice.language(connection)
    whom = people.get(connection, way.person_id)
    if whom.disabled_at is not None:
        raise NotSent("recipient")  # the account was closed while this waited
    return "en" if whom.language == "en" else "fr"


def _message_id(box: str, waiting: Sequence[Delivery]) -> str:
    text = f"{box}/" + ",".join(str(each.id) for each in waiting)
    return sha256(text.encode()).hexdigest()[:32]
