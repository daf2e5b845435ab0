"""What is stored about the sources, as ``policy.status`` and ``policy.nights`` ask for it.

The home page, the API and ``armoire status`` say the same because they all read through here.
"""

from datetime import datetime

from sqlalchemy import Connection

from appliance.db import anomalies, repositories, snapshots, sources
from appliance.jobs import queue
from appliance.jobs.kinds import ImportPushed, TakeSnapshot
from appliance.ledger import proofs
from appliance.model import Job, JobState, Proof, Snapshot, Source
from appliance.policy.nights import NightRun
from appliance.policy.retention import FreezeReason
from appliance.policy.status import NewestSnapshot, ProofKind, SourceReading

#: Jobs that make a snapshot.
RUNS = (TakeSnapshot.kind, ImportPushed.kind)
_ENDED = (
    JobState.SUCCEEDED,
    JobState.WARNED,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.INTERRUPTED,
)


def of_all(connection: Connection) -> list[SourceReading]:
    """Return the reading of every living source, by label."""
    return [of_source(connection, source) for source in sources.all_living(connection)]


def of_source(connection: Connection, source: Source) -> SourceReading:
    """Return the reading of one source: a handful of indexed point reads."""
    newest = snapshots.newest(connection, source.id)
    run = last_run(connection, source)
    repository = repositories.find(connection, source.id)
    found = [proofs.latest(connection, source.id, kind) for kind in ProofKind]
    return SourceReading(
        source_id=source.id,
        label=source.label,
        kind=source.kind,
        plan=source.plan,
        snapshot=None if newest is None else _newest(newest),
        last_run_state=None if run is None else run.state,
        last_run_error=None if run is None else run.error_code,
        proofs=[proof for proof in found if proof is not None],
        freeze=freeze_reasons(source),
        open_anomalies=len(anomalies.open_ones(connection, source.id)),
        last_seen_at=source.last_seen_at,
        all_read_since=None if repository is None else repository.all_read_since,
    )


def last_run(connection: Connection, source: Source) -> Job | None:
    """Return the newest run of a source that has ended, or None."""
    found = [
        job
        for kind in RUNS
        for job in queue.newest(connection, limit=1, states=_ENDED, source_id=source.id, kind=kind)
    ]
    return max(found, key=lambda job: job.id, default=None)


def freeze_reasons(source: Source) -> list[FreezeReason]:
    """Return what froze a source, as stored with it; a word of a newer program counts as a doubt."""
    if source.frozen_at is None:
        return []
    try:
        return [FreezeReason(source.frozen_reason or "")]
    except ValueError:
        return [FreezeReason.ANOMALY_OPEN]


def nights(
    connection: Connection, source: Source, *, since: datetime
) -> tuple[list[NightRun], list[Proof]]:
    """Return the runs of a source queued after ``since`` and the proofs about them."""
    by_job = {
        snapshot.job_id: snapshot
        for snapshot in snapshots.of_source(connection, source.id, with_removed=True, limit=400)
        if snapshot.job_id is not None
    }
    runs: list[NightRun] = []
    for kind in RUNS:
        for job in queue.newest(connection, limit=400, source_id=source.id, kind=kind, since=since):
            if job.started_at is None:
                continue
            snapshot = by_job.get(job.id)
            if snapshot is None:
                runs.append(NightRun(job.started_at, job.state))
            else:
                runs.append(NightRun(job.started_at, job.state, snapshot.id, snapshot.consistency))
    return runs, proofs.of_source(connection, source.id, since=since, limit=2000)


def _newest(snapshot: Snapshot) -> NewestSnapshot:
    return NewestSnapshot(snapshot.id, snapshot.started_at, snapshot.consistency, snapshot.warnings)
