"""What the box tells by itself: findings that begin and end, terms, files that arrived, that all is well.

The planner calls ``turn`` every 30 seconds. Decisions are ``policy.notices`` and ``policy.notices_findings``; here
readings are fetched, notices written, and a job wished for when something is to leave.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from appliance.accounts import deliveries, notice_ways, notices, people
from appliance.db import facts
from appliance.db.engine import Database
from appliance.db.schema import proof
from appliance.db.schema_people import locum, notice_way
from appliance.jobs import notice_readings, queue, readings
from appliance.jobs.box_readings import box_findings
from appliance.jobs.kinds import SendNotices, Spec
from appliance.language import mark
from appliance.model import JobState, Outcome, PersonId, SourceId
from appliance.policy import notices_findings
from appliance.policy.findings import Finding, Severity
from appliance.policy.notices import (
    DIGEST_UNWELL,
    DIGEST_WELL,
    Topic,
    digest_due,
    ping_due,
)
from appliance.policy.notices_findings import Change, Known
from appliance.policy.status import Level, SourceStatus, home_level, needs_doing, source_status
from appliance.settings import Settings
from appliance.worker import notices_arrived

#: Facts: what was there at the last look, and when that was; terms told of.
KNOWN: Final = "notices.findings"
LOOKED: Final = "notices.looked"
TERMS: Final = "notices.terms"
DIGEST: Final = "notices.digest"

LOOK_EVERY: Final = timedelta(minutes=10)
#: A term that begins or ends within that is told.
SOON: Final = timedelta(hours=48)
FAILED_AGAIN: Final = timedelta(minutes=5)
PING_AGAIN: Final = timedelta(minutes=5)
FORGOTTEN_AFTER: Final = timedelta(days=90)

_STARTS_TEXT: Final = mark("The replacement of %(replaced)s by %(locum)s begins on %(starts_at)s.")
_ENDS_TEXT: Final = mark(
    "The replacement of %(replaced)s by %(locum)s ends on %(ends_at)s: extend it if it must go on."
)
_WELL_TEXT: Final = mark(
    "All is well: the backups of %(sources)s sources are proven, the oldest proof is of %(proven_at)s."
)
_UNWELL_TEXT: Final = mark(
    "The box needs somebody: %(todo)s things to do; %(proven)s of %(sources)s sources are proven."
)


def turn(settings: Settings, database: Database, now: datetime) -> list[Spec]:
    """Write the notices that are due, settle how they leave; return the job that sends, if there is anything."""
    zone = ZoneInfo(settings.time_zone)
    with database.read() as connection:
        is_look = _is_look_due(connection, now)
        arrived = notices_arrived.arrivals(connection, now)
    is_word = False
    if is_look:
        with database.read() as connection:
            statuses, findings = _read(connection, settings, now)
            is_word = is_ping_due(connection, settings, now, known=(statuses, findings))
            is_word = is_word or notice_readings.mail_try_due(connection, now)
        with database.write() as connection:
            _tell_findings(connection, findings, now)
            _tell_terms(connection, now)
            notices_arrived.tell_expiring(connection, now)
            notices_arrived.tell_lost(connection, now)
            _tell_digest(connection, zone, statuses, findings, now)
            notice_ways.forget_old(connection, before=now - FORGOTTEN_AFTER)
            facts.put(connection, LOOKED, now.isoformat(), now=now)
    if arrived:
        with database.write() as connection:
            notices_arrived.tell_arrivals(connection, arrived, now)
    with database.read() as connection:
        is_new = deliveries.is_unspread(connection, now=now)
    if is_new:
        with database.write() as connection:
            deliveries.spread(connection, notice_ways.rules(connection), zone, now=now)
    with database.read() as connection:
        is_due = deliveries.is_due(connection, now=now) and not _has_just_failed(connection, now)
    return [SendNotices()] if is_due or is_word else []


def _has_just_failed(connection: Connection, now: datetime) -> bool:
    """Return whether the job that sends ended before it could say what went wrong: it is left alone for a while."""
    found = queue.newest(connection, kind=SendNotices.kind, limit=1)
    failed = {JobState.FAILED, JobState.INTERRUPTED}
    return bool(found) and found[0].state in failed and now - found[0].queued_at < FAILED_AGAIN


# --- findings ------------------------------------------------------------------------------


def _is_look_due(connection: Connection, now: datetime) -> bool:
    last = facts.find(connection, LOOKED)
    # A moment in the future is of a clock that was wrong.
    return not isinstance(last, str) or not (
        timedelta(0) <= now - datetime.fromisoformat(last) < LOOK_EVERY
    )


def _read(
    connection: Connection, settings: Settings, now: datetime
) -> tuple[list[SourceStatus], list[Finding]]:
    zone = ZoneInfo(settings.time_zone)
    statuses = [source_status(each, now, zone) for each in readings.of_all(connection)]
    found = needs_doing(statuses, box_findings(connection, settings, now))
    # It is the worker that asks: at its start its first beat may not be written yet.
    return statuses, [each for each in found if each.code != "box.worker-silent"]


def _tell_findings(connection: Connection, findings: Sequence[Finding], now: datetime) -> None:
    stored = facts.find(connection, KNOWN)
    known = {key: _known(each) for key, each in stored.items()} if isinstance(stored, dict) else {}
    changes, after = notices_findings.look(known, findings, now)
    for each in changes:
        _tell_change(connection, each, now)
    fresh = {key: _stored(each) for key, each in after.items()}
    if fresh != stored:
        facts.put(connection, KNOWN, fresh, now=now)


def _tell_change(connection: Connection, change: Change, now: datetime) -> None:
    finding = change.finding
    told = {
        **finding.facts,
        "finding": finding.code,
        "severity": finding.severity.value,
        "href": "/status",
    }
    # No bell: the page of the state shows findings as they are now.
    notices.put(connection, change.code, finding.text, told, person_id=None, now=now, is_seen=True)
    if change.escalates:
        for each in notices.who_run_the_box(connection):
            notices.put(
                connection,
                change.code,
                finding.text,
                {**told, "escalates": True},
                person_id=each,
                now=now,
            )


def _stored(one: Known) -> dict[str, Any]:
    finding = one.finding
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "text": finding.text,
        "facts": notices.stored_facts(finding.facts),
        "source": finding.source_id,
        "since": one.since.isoformat(),
        "told": None if one.told_at is None else one.told_at.isoformat(),
        "missed": one.missed,
    }


def _known(stored: Mapping[str, Any]) -> Known:
    source = stored["source"]
    finding = Finding(
        stored["code"],
        Severity(stored["severity"]),
        stored["text"],
        "",
        notices.read_facts(stored["facts"]),
        None if source is None else SourceId(source),
    )
    told = stored["told"]
    return Known(
        finding,
        datetime.fromisoformat(stored["since"]),
        None if told is None else datetime.fromisoformat(told),
        stored["missed"],
    )


# --- people --------------------------------------------------------------------------------


def _tell_terms(connection: Connection, now: datetime) -> None:
    """Tell of terms that begin or end soon, each once; one that was extended is told of anew."""
    stored = facts.find(connection, TERMS)
    told = dict(stored) if isinstance(stored, dict) else {}
    before = dict(told)
    names = people.names(connection)
    soon = select(locum).where(locum.c.closed_at.is_(None), locum.c.ends_at > now)
    for row in connection.execute(soon.order_by(locum.c.id)):
        whom = [PersonId(each) for each in dict.fromkeys((row.sponsor_id, row.replaces_id))]
        said = {
            "replaced": names.get(PersonId(row.replaces_id), "?"),
            "locum": names.get(PersonId(row.person_id), "?"),
            "href": f"/locums/{row.id}",
        }
        key = f"{row.id}:starts:{row.starts_at.isoformat()}"
        if now < row.starts_at <= now + SOON and key not in told:
            facts_ = {**said, "starts_at": row.starts_at}
            notices.put_all(connection, "locum.starts-soon", _STARTS_TEXT, facts_, whom, now=now)
            told[key] = row.ends_at.isoformat()
        key = f"{row.id}:ends:{row.ends_at.isoformat()}"
        # A term of a day is told at its beginning; its end is no news then.
        is_long = row.ends_at - row.starts_at > SOON
        if is_long and row.starts_at <= now and row.ends_at <= now + SOON and key not in told:
            facts_ = {**said, "ends_at": row.ends_at}
            whom.append(PersonId(row.person_id))
            notices.put_all(connection, "locum.ends-soon", _ENDS_TEXT, facts_, whom, now=now)
            told[key] = row.ends_at.isoformat()
    kept = {key: end for key, end in told.items() if datetime.fromisoformat(end) > now}
    if kept != before:
        facts.put(connection, TERMS, kept, now=now)


# --- «all is well» -------------------------------------------------------------------------


def _tell_digest(
    connection: Connection,
    zone: ZoneInfo,
    statuses: Sequence[SourceStatus],
    findings: Sequence[Finding],
    now: datetime,
) -> None:
    stored = facts.find(connection, DIGEST)
    last = datetime.fromisoformat(stored) if isinstance(stored, str) else None
    rows = connection.execute(
        select(notice_way.c.created_at, notice_way.c.topics).where(
            notice_way.c.removed_at.is_(None)
        )
    )
    since = min((row.created_at for row in rows if Topic.DIGEST in row.topics), default=None)
    if not digest_due(notice_ways.rules(connection), now, zone, last, since):
        return
    proven = [each.proven_at for each in statuses if each.is_green and each.proven_at is not None]
    grave = [each for each in findings if each.severity is not Severity.NOTICE]
    is_well = bool(statuses) and len(proven) == len(statuses) and not grave
    counted = {"sources": len(statuses), "proven": len(proven), "href": "/status"}
    if is_well:
        told: dict[str, object] = {**counted, "proven_at": min(proven)}
        notices.put(
            connection, DIGEST_WELL, _WELL_TEXT, told, person_id=None, now=now, is_seen=True
        )
    else:
        told = {**counted, "todo": len(grave)}
        notices.put(
            connection, DIGEST_UNWELL, _UNWELL_TEXT, told, person_id=None, now=now, is_seen=True
        )
    facts.put(connection, DIGEST, now.isoformat(), now=now)


def is_ping_due(
    connection: Connection,
    settings: Settings,
    now: datetime,
    *,
    known: tuple[Sequence[SourceStatus], Sequence[Finding]] | None = None,
) -> bool:
    """Return whether the outside monitor is to be told now that a good night is behind us."""
    ping = notice_ways.ping(connection)
    if ping is None:
        return False
    tried = ping.get("tried_at")
    if tried is not None and now - datetime.fromisoformat(tried) < PING_AGAIN:
        return False
    newest = connection.execute(
        select(func.max(proof.c.at)).where(
            proof.c.kind == "snapshot.sample", proof.c.outcome == Outcome.PROVEN.value
        )
    ).scalar()
    last = ping.get("last_at")
    if not ping_due(
        proven_at=newest, last=None if last is None else datetime.fromisoformat(last), now=now
    ):
        return False
    statuses, findings = known if known is not None else _read(connection, settings, now)
    return home_level(statuses) is Level.PROVEN and not any(
        each.severity is Severity.ALARM for each in findings
    )
