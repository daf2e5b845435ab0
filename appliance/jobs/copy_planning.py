"""Which jobs on targets the planner queues: pushes once a night, verifications that nobody else began."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from appliance.db import copies, facts, repositories, snapshots, sources, targets
from appliance.db.targets import TargetRow
from appliance.jobs import disks, queue
from appliance.jobs.copy_readings import place_of, verdict_of
from appliance.jobs.kinds import PushCopy, Spec, VerifyCopy
from appliance.jobs.readings import RUNS
from appliance.model import BOX_SOURCE, Job, JobState, SourceKind
from appliance.policy.copy_due import (
    VERIFY_AFTER,
    CopyNight,
    PushRun,
    SourceNight,
    copy_night,
    push_due,
)
from appliance.policy.place import BoxPlace, DirectoryPlace, Place, SftpPlace
from appliance.settings import Settings

#: Failures after which the same night's copy is tried again by itself.
_AWAY: Final = frozenset(
    {
        "target.unreachable",
        "target.list-unreadable",
        "backup.repository-locked",
        "box.no-space",
    }
)


def copy_wishes(connection: Connection, settings: Settings, now: datetime) -> list[Spec]:
    """Return the pushes and verifications that are due; what waits already is not among them."""
    living = targets.all_living(connection)
    if not living or not _box_is_ready(connection):
        return []
    night = _night(connection, settings, now)
    wishes: list[Spec] = []
    for row in living:
        wishes += _wishes(connection, settings, row, night, now)
    return wishes


def _box_is_ready(connection: Connection) -> bool:
    """A copy without the box's own state could not be made into a box again."""
    return (
        isinstance(facts.find(connection, "kit.recipient"), str)
        and repositories.find(connection, BOX_SOURCE) is not None
        and snapshots.newest(connection, BOX_SOURCE) is not None
    )


def _wishes(
    connection: Connection,
    settings: Settings,
    row: TargetRow,
    night: CopyNight,
    now: datetime,
) -> list[Spec]:
    place = place_of(row)
    if place is None or not _is_set_up(place):
        return []
    if isinstance(place, DirectoryPlace) and not disks.is_plugged_in(place):
        return []  # a disk is asked for when it is there; its lateness is said apart
    lock = PushCopy(row.id).lock
    recent = queue.newest(connection, limit=10, kind=PushCopy.kind, lock=lock)
    waiting = {JobState.QUEUED, JobState.RUNNING}
    if any(each.state in waiting for each in recent):
        return []
    last = next((_run(each) for each in recent if each.started_at is not None), None)
    if verdict_of(row, settings, now).may_send and push_due(
        night, last, known_since=row.created_at, now=now
    ):
        return [PushCopy(row.id)]
    if copies.summary(connection, row.id) is None:
        return []
    checked = queue.newest(connection, limit=1, kind=VerifyCopy.kind, lock=lock)
    if checked and (
        checked[0].state in waiting
        or now - (checked[0].finished_at or checked[0].queued_at) < VERIFY_AFTER
    ):
        return []
    # Nothing may be sent there any more, or the nights fail: what lies there is watched all the same.
    return [VerifyCopy(row.id)]


def _is_set_up(place: Place) -> bool:
    return bool(place.host_key) if isinstance(place, SftpPlace | BoxPlace) else True


def _run(job: Job) -> PushRun:
    return PushRun(
        began_at=job.started_at or job.queued_at,
        ended_at=job.finished_at,
        succeeded=job.state in {JobState.SUCCEEDED, JobState.WARNED},
        may_retry=job.error_code in _AWAY,
    )


def _night(connection: Connection, settings: Settings, now: datetime) -> CopyNight:
    busy = {each.source_id for each in queue.waiting(connection) if each.kind in RUNS}
    nights = []
    for source in sources.all_living(connection):
        if source.kind is SourceKind.PUSHED or not source.plan.enabled:
            continue  # it comes when it comes
        if repositories.find(connection, source.id) is None:
            continue
        newest = snapshots.newest(connection, source.id)
        nights.append(
            SourceNight(
                source.plan,
                is_busy=source.id in busy,
                done_at=None if newest is None else newest.finished_at,
            )
        )
    return copy_night(nights, now, ZoneInfo(settings.time_zone))
