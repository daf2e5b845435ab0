"""The box's own readings, and what they say needs doing: the same for the home page and the command line."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from appliance.db import facts, sources, workers
from appliance.jobs.certificates import certificate_findings
from appliance.jobs.copy_readings import CopyStatus, copy_findings
from appliance.jobs.drill_readings import drill_findings
from appliance.jobs.network import network_findings
from appliance.jobs.notice_readings import notice_findings
from appliance.jobs.people_readings import people_findings
from appliance.language import mark
from appliance.policy.findings import (
    BLIND,
    Finding,
    Severity,
    blind_finding,
    box_drift,
    clock_finding,
    days_until_full,
    disk_finding,
    machine_clock_finding,
)
from appliance.settings import Settings

#: Facts: used and total bytes of the repositories' disk, one reading a day at most, the newest last.
DISK: Final = "disk.readings"
DISK_EVERY: Final = timedelta(hours=20)
DISK_KEPT: Final = 90
#: A clock that was compared longer ago may have been set right since.
CLOCKS_BELIEVED: Final = timedelta(days=7)


def record_disk(connection: Connection, settings: Settings, now: datetime) -> None:
    """Note how full the repositories' disk is, at most once in DISK_EVERY; inside the caller's write."""
    known = _readings(connection)
    if known and now - datetime.fromisoformat(known[-1]["at"]) < DISK_EVERY:
        return
    usage = shutil.disk_usage(_existing(settings.repositories))
    known.append({"at": now.isoformat(), "used": usage.used, "total": usage.total})
    facts.put(connection, DISK, known[-DISK_KEPT:], now=now)


def box_findings(
    connection: Connection,
    settings: Settings,
    now: datetime,
    known: list[CopyStatus] | None = None,
) -> list[Finding]:
    """Return what the box's own readings say needs doing; ``known`` as for ``copy_findings``."""
    found = [_worker(connection, now), _clock(connection), _disk(connection, settings)]
    blind = facts.find(connection, BLIND)
    found.append(blind_finding(len(blind)) if isinstance(blind, list) else None)
    said = [each for each in [*found, *_clocks(connection, now)] if each is not None]
    said += network_findings(connection, settings, now)
    said += copy_findings(connection, settings, now, known=known)
    said += drill_findings(connection, now) + people_findings(connection, now)
    said += notice_findings(connection, now)
    return said + certificate_findings(connection, settings, now)


def _worker(connection: Connection, now: datetime) -> Finding | None:
    if workers.alive(connection, now=now):
        return None
    return Finding(
        "box.worker-silent",
        Severity.ALARM,
        mark("The part of the box that makes the backups is not running."),
        mark("Start it with «armoire run», or restart the box."),
    )


def _clock(connection: Connection) -> Finding | None:
    clock = facts.find(connection, "clock.wrong")
    if not isinstance(clock, dict):
        return None
    return Finding(
        "box.clock-wrong",
        Severity.ALARM,
        mark("The clock of the box went back: it says %(now)s, the last record is of %(last)s."),
        mark(
            "Set the clock right; until then nothing begins and nothing is removed. "
            "If it is right now: «armoire clock accept»."
        ),
        {"now": str(clock.get("now")), "last": str(clock.get("last"))},
    )


def _clocks(connection: Connection, now: datetime) -> list[Finding | None]:
    """What the machines' clocks say, as they were last asked: about the box when they agree."""
    offsets = {}
    for source in sources.all_living(connection):
        known = sources.facts(connection, source.id)
        seconds, at = known.get("clock_offset_s"), known.get("clock_at")
        if not isinstance(seconds, int | float) or not isinstance(at, str):
            continue
        if now - datetime.fromisoformat(at) < CLOCKS_BELIEVED:
            offsets[source.id] = (source.label, timedelta(seconds=seconds))
    drift = box_drift([each for _, each in offsets.values()])
    if drift is not None:
        return [clock_finding(drift)]
    return [machine_clock_finding(number, *each) for number, each in offsets.items()]


def _disk(connection: Connection, settings: Settings) -> Finding | None:
    usage = shutil.disk_usage(_existing(settings.repositories))
    if usage.free < settings.free_bytes_floor:
        return Finding(
            "box.disk-full",
            Severity.ALARM,
            mark("The disk of the backups is full: %(free_bytes)s left."),
            mark("Add a larger disk, or keep fewer snapshots in the plans."),
            {"free_bytes": usage.free},
        )
    readings = [
        (datetime.fromisoformat(each["at"]), float(each["used"]))
        for each in _readings(connection)
        if each["total"] == usage.total  # another disk has another story
    ]
    return disk_finding(usage.used, usage.total, days_until_full(readings, usage.total))


def _readings(connection: Connection) -> list[dict[str, Any]]:
    found = facts.find(connection, DISK)
    return list(found) if isinstance(found, list) else []


def _existing(place: Path) -> Path:
    """The folder itself, or the nearest one above it that is there: its disk is the one to be filled."""
    while not place.exists() and place != place.parent:
        place = place.parent
    return place
