"""What is recorded about the ways notices leave by: silence is noticed, for a message that does not come says nothing."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select

from appliance.db import facts
from appliance.db.schema import person
from appliance.db.schema_people import notice_way
from appliance.language import mark
from appliance.policy.findings import Finding, Severity
from appliance.policy.notices import PROBLEMS

#: A box nobody is told of is said to be one after its first week.
FIRST_WEEK: Final = timedelta(days=7)
#: What fails for so long is said: a line that is away for some minutes is no news.
SILENT_AFTER: Final = timedelta(hours=1)
#: So long without any message: the e-mail server is tried without one.
TRY_EVERY: Final = timedelta(days=7)

_SET_AGAIN: Final = mark("Look at «Notices that leave the box», mend it and send a test.")


def notice_findings(connection: Connection, now: datetime) -> list[Finding]:
    """Return what there is to say about the ways out."""
    found: list[Finding] = []
    living = connection.execute(
        select(notice_way, person.c.name, person.c.disabled_at)
        .outerjoin(person, person.c.id == notice_way.c.person_id)
        .where(notice_way.c.removed_at.is_(None))
    ).all()
    if not any(row.person_id is None for row in living):
        first = connection.execute(select(func.min(person.c.created_at))).scalar()
        if first is not None and now - first >= FIRST_WEEK:
            found.append(
                Finding(
                    "notices.no-way",
                    Severity.NOTICE,
                    mark("When something is wrong, the box can tell nobody who does not look."),
                    mark("Set an e-mail address under «Notices that leave the box»."),
                )
            )
    for row in living:
        if row.failed_at is None or row.disabled_at is not None:
            continue
        if now - row.failed_at >= SILENT_AFTER:
            found.append(
                Finding(
                    "notices.way-fails",
                    Severity.WARNING,
                    mark("Notices to %(label)s have not left the box for %(silent)s. %(reason)s"),
                    _SET_AGAIN,
                    {
                        "label": row.name or row.label,
                        "silent": now - row.failed_at,
                        "reason": PROBLEMS.get(row.problem, ""),
                        "way": row.id,
                    },
                )
            )
    found += _of_fact(
        connection,
        facts.MAIL_TRIED,
        "notices.mail-server",
        mark("The e-mail server by which notices leave could not be used: %(reason)s"),
    )
    found += _of_fact(
        connection,
        facts.PING,
        "notices.monitor",
        mark("The outside monitor could not be told that all is well: %(reason)s"),
    )
    return found


def mail_try_due(connection: Connection, now: datetime) -> bool:
    """Return whether the e-mail server is tried: nothing left by it for TRY_EVERY."""
    if not isinstance(facts.find(connection, "notices.mail"), dict):
        return False
    tried = facts.find(connection, facts.MAIL_TRIED)
    moments = [datetime.fromisoformat(tried["at"])] if isinstance(tried, dict) else []
    rows = connection.execute(
        select(notice_way.c.worked_at, notice_way.c.failed_at).where(
            notice_way.c.kind == "email", notice_way.c.removed_at.is_(None)
        )
    ).all()
    if not rows:
        return False
    moments += [each for row in rows for each in (row.worked_at, row.failed_at) if each is not None]
    return not moments or now - max(moments) >= TRY_EVERY


def mail_tried(connection: Connection, problem: str | None, *, now: datetime) -> None:
    """Record how trying the e-mail server went."""
    facts.put(connection, facts.MAIL_TRIED, {"at": now.isoformat(), "problem": problem}, now=now)


def _of_fact(connection: Connection, name: str, code: str, text: str) -> list[Finding]:
    known = facts.find(connection, name)
    problem = known.get("problem") if isinstance(known, dict) else None
    if problem is None:
        return []
    return [
        Finding(code, Severity.WARNING, text, _SET_AGAIN, {"reason": PROBLEMS.get(problem, "")})
    ]
