"""Which notice leaves by which way, and how far that is: rows that survive a crash at any line.

A delivery is settled once per notice and way. It counts as sent only after the other side took the message: a box
killed between the two sends it again (at least once; an e-mail then carries the same Message-ID).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from sqlalchemy import Connection, bindparam, func, insert, select, update

from appliance.accounts import notice_ways, notices
from appliance.accounts.notice_ways import Way
from appliance.accounts.notices import Notice
from appliance.db.schema_people import notice_delivery
from appliance.language import mark
from appliance.model import PersonId
from appliance.policy.notices import (
    KEPT,
    TEST,
    Rules,
    first_try,
    next_try,
    topic_of,
    urgency_of,
)

TEST_TEXT: Final = mark("This is a test: notices of the box arrive this way.")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice that is to leave by a way now."""

    id: int
    way_id: int
    attempts: int
    notice: Notice


def is_unspread(connection: Connection, *, now: datetime) -> bool:
    """Return whether a notice is new: one indexed read."""
    table = notices.table
    query = select(table.c.id).where(table.c.spread_at.is_(None), table.c.at >= now - KEPT)
    return connection.execute(query.limit(1)).first() is not None


def spread(connection: Connection, rules: Rules, tz: tzinfo, *, now: datetime) -> int:
    """Settle by which ways each new notice leaves, and when; return how many deliveries that makes."""
    table = notices.table
    query = select(table).where(table.c.spread_at.is_(None), table.c.at >= now - KEPT)
    found = connection.execute(query.order_by(table.c.id).limit(500)).all()
    if not found:
        return 0
    known = notice_ways.everybodys(connection)
    made: list[dict[str, object]] = []
    for row in found:
        one = notices.from_row(row)
        topic = topic_of(one.code)
        if one.facts.get("escalates") and one.person_id is not None:
            # Whatever they chose.
            ways = [each.way for each in known if each.way.person_id == one.person_id]
        else:
            ways = notice_ways.for_notice(known, one.person_id, topic)
        is_grave = one.facts.get("severity") == "alarm"
        urgency = urgency_of(one.code, is_grave=is_grave)
        for way in ways:
            at = first_try(urgency, rules, now, tz, way.worked_at)
            made.append({"notice_id": one.id, "way_id": way.id, "next_at": at})
    if made:
        connection.execute(insert(notice_delivery), made)
    spread_now = [row.id for row in found]
    connection.execute(update(table).where(table.c.id.in_(spread_now)).values(spread_at=now))
    return len(made)


def test(connection: Connection, way: Way, *, by: PersonId | None, now: datetime) -> int:
    """Queue a message that says that this way works, and return its notice's number."""
    whom = way.person_id if by is None else by
    number = notices.put(
        connection, TEST, TEST_TEXT, {}, person_id=whom, now=now, is_seen=True, is_spread=True
    )
    connection.execute(insert(notice_delivery).values(notice_id=number, way_id=way.id, next_at=now))
    return number


def due(connection: Connection, *, now: datetime) -> dict[int, list[Delivery]]:
    """Return what is to leave now, by way, the oldest first."""
    table, rows = notices.table, notice_delivery
    query = (
        select(rows.c.id.label("delivery_id"), rows.c.way_id, rows.c.attempts, table)
        .join(table, table.c.id == rows.c.notice_id)
        .where(rows.c.next_at <= now)
        .order_by(rows.c.id)
        .limit(1000)
    )
    found: dict[int, list[Delivery]] = {}
    for row in connection.execute(query):
        one = Delivery(row.delivery_id, row.way_id, row.attempts, notices.from_row(row))
        found.setdefault(row.way_id, []).append(one)
    return found


def is_due(connection: Connection, *, now: datetime) -> bool:
    """Return whether anything is to leave now: one indexed read."""
    query = select(notice_delivery.c.id).where(notice_delivery.c.next_at <= now).limit(1)
    return connection.execute(query).first() is not None


def sent(connection: Connection, gone: Sequence[Delivery], *, now: datetime) -> None:
    """Record that one message with all of these left by their way."""
    rows = notice_delivery
    connection.execute(
        update(rows)
        .where(rows.c.id.in_([each.id for each in gone]))
        .values(next_at=None, sent_at=now, attempts=rows.c.attempts + 1, problem=None)
    )
    notices.sent(connection, {each.notice.id for each in gone}, now=now)
    for way_id in {each.way_id for each in gone}:  # one
        notice_ways.worked(connection, way_id, now=now)


def failed(
    connection: Connection, kept: Sequence[Delivery], problem: str, *, now: datetime
) -> None:
    """Record that they did not leave, why, and when they are tried again."""
    tries = [(each, next_try(each.attempts + 1, problem, each.notice.at, now)) for each in kept]
    if not tries:
        return
    connection.execute(
        update(notice_delivery)
        .where(notice_delivery.c.id == bindparam("which"))
        .values(
            next_at=bindparam("again"),
            given_up_at=bindparam("given_up"),
            attempts=notice_delivery.c.attempts + 1,
            problem=problem,
        ),
        [
            {"which": each.id, "again": at, "given_up": now if at is None else None}
            for each, at in tries
        ],
    )
    for way_id in {each.way_id for each in kept}:  # one
        notice_ways.failed(connection, way_id, problem, now=now)


@dataclass(frozen=True, slots=True)
class Test:
    """What became of the last test of a way."""

    at: datetime
    sent_at: datetime | None
    problem: str | None  # the last attempt's
    waits: bool


def last_test(connection: Connection, way_id: int) -> Test | None:
    """Return what became of the last test of a way, or None."""
    table, rows = notices.table, notice_delivery
    row = connection.execute(
        select(table.c.at, rows.c.sent_at, rows.c.problem, rows.c.next_at)
        .join(table, table.c.id == rows.c.notice_id)
        .where(rows.c.way_id == way_id, table.c.code == TEST)
        .order_by(rows.c.id.desc())
        .limit(1)
    ).first()
    return None if row is None else Test(row.at, row.sent_at, row.problem, row.next_at is not None)


def waiting(connection: Connection, way_id: int) -> int:
    """Return how many notices wait for this way."""
    query = select(func.count()).select_from(notice_delivery)
    return connection.execute(
        query.where(notice_delivery.c.way_id == way_id, notice_delivery.c.next_at.is_not(None))
    ).scalar_one()
