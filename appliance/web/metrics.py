"""Figures about the box for Prometheus, at /metrics, by a token of that kind.

Sources, copies and shares are told by number: their labels may be a person's name. Nothing here is a proof; the
ages are those of the proofs the home page speaks from. Text format 0.0.4 of the Prometheus documentation.
"""

import shutil
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from fastapi import APIRouter
from sqlalchemy import Connection, func, select
from starlette.responses import Response

import appliance
from appliance.clock import utc_now
from appliance.db import shares, sources, workers
from appliance.db.schema import job, session
from appliance.db.schema_disk import bin_item, upload
from appliance.jobs import certificates, readings
from appliance.jobs.copy_readings import copy_statuses
from appliance.policy.roles import Action
from appliance.policy.status import Level, source_status
from appliance.web.deps import Box, TheBox, needs

router = APIRouter(include_in_schema=False)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
#: Jobs that ended are counted over so long.
DAY: Final = timedelta(days=1)
Value = int | float | None
Sample = tuple[dict[str, str], Value]


@router.get("/metrics", name="metrics", dependencies=[needs(Action.STATUS_SEE)])
async def metrics(box: TheBox) -> Response:
    """Return every figure; the door let in nobody but a token of this kind."""
    text = await box.read_aside(lambda connection: _page(connection, box, utc_now()))
    return Response(text, media_type=CONTENT_TYPE)


def _page(connection: Connection, box: Box, now: datetime) -> str:
    lines: list[str] = []

    def add(name: str, what: str, samples: Iterable[Sample], kind: str = "gauge") -> None:
        found = [
            f"armoire_{name}{_labels(labels)} {value}"
            for labels, value in samples
            if value is not None
        ]
        if found:
            lines.extend((f"# HELP armoire_{name} {what}", f"# TYPE armoire_{name} {kind}", *found))

    add("info", "The box's version.", [({"version": appliance.__version__}, 1)])
    alive = bool(workers.alive(connection, now=now))
    add("worker_alive", "Whether the worker answers.", [({}, int(alive))])
    _jobs(connection, now, add)
    _sources(connection, box, now, add)
    _copies(connection, box, now, add)
    _disk(connection, box, add)
    count = connection.execute(
        select(func.count())
        .select_from(session)
        .where(session.c.revoked_at.is_(None), session.c.ends_at > now)
    ).scalar_one()
    add("sessions", "Sessions that have not ended.", [({}, count)])
    shown = certificates.served(connection)
    add(
        "certificate_left_seconds",
        "How long the certificate by ACME is still valid; negative: it has expired.",
        [({}, round((shown.ends - now).total_seconds()))] if shown is not None else [],
    )
    return "\n".join([*lines, ""])


def _jobs(connection: Connection, now: datetime, add: "_Add") -> None:
    states: Counter[tuple[str, str]] = Counter()
    query = select(job.c.kind, job.c.state, func.count()).where(
        job.c.state.in_(["queued", "running"]) | (job.c.finished_at > now - DAY)
    )
    for kind, state, count in connection.execute(query.group_by(job.c.kind, job.c.state)):
        states[kind, state] += count
    add(
        "jobs",
        "Tasks waiting, running, and ended within a day.",
        [({"kind": kind, "state": state}, count) for (kind, state), count in states.items()]
        or [({"kind": "any", "state": "queued"}, 0)],
    )


def _sources(connection: Connection, box: Box, now: datetime, add: "_Add") -> None:
    found = [
        (
            {"source": str(each.id), "kind": each.kind.value},
            source_status(readings.of_source(connection, each), now, box.zone),
        )
        for each in sources.all_living(connection)
    ]
    add(
        "source_last_good_snapshot_seconds",
        "Age of the newest snapshot out of which bytes came back.",
        [(labels, _seconds(status.proof_age)) for labels, status in found],
    )
    add(
        "source_last_snapshot_seconds",
        "Age of the newest snapshot, proven or not.",
        [(labels, _seconds(status.backup_age)) for labels, status in found],
    )
    add(
        "source_level",
        "1 for the word the home page says of a source.",
        [
            ({**labels, "level": level.value}, int(status.level is level))
            for labels, status in found
            for level in Level
        ],
    )


def _copies(connection: Connection, box: Box, now: datetime, add: "_Add") -> None:
    found = [
        ({"copy": str(each.target.id), "kind": each.target.kind}, each)
        for each in copy_statuses(connection, box.settings, now)
    ]
    add(
        "copy_last_generation_seconds",
        "Age of the box's state that the newest generation there holds.",
        [(labels, _seconds(status.lag)) for labels, status in found],
    )
    add(
        "copy_bytes",
        "Plain bytes of the newest generation.",
        [(labels, status.published_bytes) for labels, status in found],
    )
    add(
        "copy_is_proven",
        "Whether proofs say that it is whole.",
        [(labels, int(status.is_green)) for labels, status in found],
    )
    add(
        "copy_forged_objects",
        "Objects somebody else wrote, that nobody looked at yet.",
        [(labels, status.forged) for labels, status in found],
    )


def _disk(connection: Connection, box: Box, add: "_Add") -> None:
    places: list[tuple[dict[str, str], Path]] = [({"disk": "data"}, box.settings.data)]
    places += [({"disk": f"share-{one.id}"}, one.folder) for one in shares.all_living(connection)]
    usage = []
    for labels, place in places:
        try:
            usage.append((labels, shutil.disk_usage(place)))
        except OSError:
            continue  # its disk is not plugged in: the share has no figure then
    add("disk_free_bytes", "Free on the disk.", [(labels, each.free) for labels, each in usage])
    add("disk_total_bytes", "Of the disk.", [(labels, each.total) for labels, each in usage])
    binned = connection.execute(
        select(bin_item.c.share_id, func.sum(bin_item.c.size))
        .where(bin_item.c.gone_at.is_(None))
        .group_by(bin_item.c.share_id)
    )
    add(
        "bin_bytes",
        "In the bin of a share.",
        [({"disk": f"share-{share}"}, int(size)) for share, size in binned],
    )
    count = connection.execute(select(func.count()).select_from(upload)).scalar_one()
    add("uploads", "Uploads under way.", [({}, count)])


class _Add(Protocol):
    """The type of ``add`` above."""

    def __call__(
        self, name: str, what: str, samples: Iterable[Sample], kind: str = "gauge"
    ) -> None:
        """Add a figure."""


def _seconds(age: timedelta | None) -> int | None:
    return None if age is None else int(age.total_seconds())


def _labels(labels: dict[str, str]) -> str:
    """Return labels in braces; every value is a word of ours or a number, so nothing is escaped."""
    return (
        "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
        if labels
        else ""
    )
