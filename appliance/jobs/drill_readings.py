"""What is recorded about drills: the same for pages, the home page and the command line."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from appliance.db.schema import generation, proof, target
from appliance.db.targets import TargetId
from appliance.jobs import queue
from appliance.jobs.kinds import RunDrill
from appliance.model import Job, Outcome
from appliance.policy import drills
from appliance.policy.drills import Drill
from appliance.policy.findings import Finding


@dataclass(frozen=True, slots=True)
class PastDrill:
    """A drill that came to a verdict."""

    seq: int  # of its proof
    at: datetime  # when it ended
    outcome: Outcome
    target_id: int | None
    drill: Drill


def of_all(connection: Connection, *, limit: int = 200) -> list[PastDrill]:
    """Return every drill that came to a verdict, newest first."""
    query = (
        select(proof).where(proof.c.kind == drills.PROOF).order_by(proof.c.seq.desc()).limit(limit)
    )
    return [
        PastDrill(
            row.seq,
            row.at,
            Outcome(row.outcome),
            row.target_id,
            drills.from_figures(row.figures),
        )
        for row in connection.execute(query)
    ]


def find(connection: Connection, seq: int) -> PastDrill | None:
    """Return the drill whose proof is entry ``seq`` of the ledger, or None."""
    return next((each for each in of_all(connection, limit=10_000) if each.seq == seq), None)


def active(connection: Connection) -> Job | None:
    """Return the drill that runs or waits, or None; there is one at a time."""
    return next((each for each in queue.waiting(connection) if each.kind == RunDrill.kind), None)


def first_copy(connection: Connection) -> datetime | None:
    """Return when a generation was first published at a living target, or None."""
    found: datetime | None = connection.execute(
        select(generation.c.published_at)
        .join(target, target.c.id == generation.c.target_id)
        .where(generation.c.published_at.is_not(None), target.c.removed_at.is_(None))
        .order_by(generation.c.published_at)
        .limit(1)
    ).scalar()
    return found


def newest_copy(connection: Connection) -> TargetId | None:
    """Return the living target whose published generation is the newest, or None."""
    found = connection.execute(
        select(generation.c.target_id)
        .join(target, target.c.id == generation.c.target_id)
        .where(generation.c.published_at.is_not(None), target.c.removed_at.is_(None))
        .order_by(generation.c.taken_at.desc())
        .limit(1)
    ).scalar()
    return None if found is None else TargetId(found)


def last_right(connection: Connection) -> datetime | None:
    """Return when a drill last made the box again, or None."""
    found: datetime | None = connection.execute(
        select(func.max(proof.c.at)).where(
            proof.c.kind == drills.PROOF, proof.c.outcome == Outcome.PROVEN.value
        )
    ).scalar()
    return found


def drill_findings(connection: Connection, now: datetime) -> list[Finding]:
    """Return what there is to say about drills: the quarterly reminder, and a last one that failed."""
    past = of_all(connection, limit=1)
    return drills.findings(
        last=(past[0].at, past[0].outcome, past[0].drill) if past else None,
        last_right=last_right(connection),
        first_copy=first_copy(connection),
        now=now,
    )
