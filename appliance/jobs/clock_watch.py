"""A clock that was wrong and is right again: a person says so, and the box goes on.

Records dated in the future otherwise stop every night until time has caught up with them: a battery that
failed for a minute in a year to come would stop the box for years.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select, update

from appliance.db import facts
from appliance.db.schema import job, session, sign_in_link, snapshot
from appliance.ledger import events
from appliance.model import JobState

#: Facts of the planner's watch.
LAST: Final = "clock.last"
WRONG: Final = "clock.wrong"
ACCEPTED: Final = "clock.accepted"
#: No job of ours waits longer for another attempt (``queue.RETRY_S``).
RETRY_AT_MOST: Final = timedelta(hours=2)


def accept(connection: Connection, *, now: datetime, actor: str) -> None:
    """Record that the clock is right at ``now``, whatever older records say; inside the caller's write.

    What the wrong time had planned for the future is brought back: jobs begin, hearts that beat in the
    future count from now, and who signed in then signs in again.
    """
    before = facts.find(connection, LAST)
    newest = {
        "at": now.isoformat(),
        "snapshot": connection.execute(select(func.max(snapshot.c.id))).scalar() or 0,
        "job": connection.execute(select(func.max(job.c.id))).scalar() or 0,
    }
    facts.put(connection, ACCEPTED, newest, now=now)
    facts.put(connection, LAST, now.isoformat(), now=now)
    facts.put(connection, WRONG, None, now=now)
    connection.execute(
        update(job)
        .where(job.c.state == JobState.QUEUED.value, job.c.not_before > now + RETRY_AT_MOST)
        .values(not_before=now)
    )
    connection.execute(
        update(job)
        .where(job.c.state == JobState.RUNNING.value, job.c.beat_at > now)
        .values(beat_at=now)
    )
    for table in (session, sign_in_link):
        ended = {"revoked_at" if table is session else "used_at": now}
        connection.execute(update(table).where(table.c.created_at > now).values(**ended))
    events.record(
        connection, at=now, event="clock.accepted", subject="box", actor=actor, last=str(before)
    )


def believed(
    connection: Connection,
    moment: datetime,
    *,
    snapshot_id: int | None = None,
    job_id: int | None = None,
) -> datetime:
    """Return ``moment``, or for a record made before the clock was accepted at most that time.

    Args:
        connection: sees one moment.
        moment: when a snapshot or a job began, by the clock of then.
        snapshot_id: the snapshot's.
        job_id: the job's.
    """
    found = facts.find(connection, ACCEPTED)
    if not isinstance(found, dict):
        return moment
    older = (snapshot_id is not None and snapshot_id <= int(found["snapshot"])) or (
        job_id is not None and job_id <= int(found["job"])
    )
    return min(moment, datetime.fromisoformat(found["at"])) if older else moment
