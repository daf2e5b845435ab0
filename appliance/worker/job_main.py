"""The process in which one job runs: ``python -m appliance.worker.job_main --data DIR JOB_ID``.

Borg's lock is per process, so every job that opens a repository has a process of its own. The job
was claimed by a runner before; here it is done, and its end written, whatever the end is.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psutil
from sqlalchemy import Connection

from appliance.clock import utc_now
from appliance.db import facts, practice
from appliance.db.engine import Database, open_database
from appliance.errors import (
    AlreadyQueued,
    ArmoireError,
    ClockWrong,
    InvalidInput,
    JobCancelled,
    JobCrashed,
)
from appliance.jobs import queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import (
    KINDS,
    CheckRepository,
    Prune,
    PushCopy,
    TakeSnapshot,
    VerifyCopy,
    VerifySnapshot,
    from_json,
)
from appliance.model import Job, JobId, JobState
from appliance.policy.timetable import CLOCK_TOLERANCE
from appliance.settings import Settings, load
from appliance.worker import locks, log

Run = Callable[[JobContext, Any], JobState]

#: Kinds that nobody waits for in front of a screen: they leave processor and disk to the others.
QUIET: Final = frozenset(
    spec.kind
    for spec in (TakeSnapshot, VerifySnapshot, CheckRepository, Prune, PushCopy, VerifyCopy)
)
NICE: Final = 10
#: Exit codes, for the runner's log only: the outcome is in the database.
EXIT: Final = {JobState.SUCCEEDED: 0, JobState.WARNED: 0}

_log = logging.getLogger("armoire.job")


def main(argv: Sequence[str] | None = None, runs: Mapping[str, Run] | None = None) -> int:
    """Run one claimed job and return the exit code of the process.

    Args:
        argv: ``--data DIR JOB_ID``.
        runs: what does the work, by kind; the registry of the house by default.
    """
    parser = argparse.ArgumentParser(prog="armoire-job")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("job_id", type=int)
    given = parser.parse_args(argv)
    settings = load(given.data)
    log.set_up(settings.log_level)
    job_id = JobId(given.job_id)
    with locks.hold(locks.of_job(settings, job_id)) as is_mine:
        if not is_mine:
            _log.error("job %s runs in another process already", job_id)
            return 1
        database = open_database(settings.database)
        try:
            state = run_one(settings, database, job_id, _registry if runs is None else lambda: runs)
        finally:
            database.close()
            locks.of_job(settings, job_id).unlink(missing_ok=True)
    return EXIT.get(state, 1)


def _registry() -> Mapping[str, Run]:
    # Late: it imports Borg, and a mistake in there must end as a failed job, not as a silent one.
    from appliance.worker import wiring  # noqa: PLC0415

    return wiring.runs()


def run_one(
    settings: Settings,
    database: Database,
    job_id: JobId,
    runs: Callable[[], Mapping[str, Run]],
) -> JobState:
    """Do the claimed job and write its end; return the state it ended in.

    A retryable error queues the same work for later. When the box is stopping, the job goes back to
    the queue as it was; when a person asked to stop it, it is cancelled.
    """
    with database.read() as connection:
        job = queue.get(connection, job_id)
        settings = practice.in_force(connection, settings)
    if job.state is not JobState.RUNNING:
        _log.error("job %s is not claimed (%s)", job_id, job.state.value)
        return job.state
    context = JobContext(settings, database, job)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: context.ask_stop())
    if job.kind in QUIET:
        _be_quiet()
    _log.info("job %s %s begins", job_id, job.kind)
    error: ArmoireError | None = None
    try:
        with context:
            state = _do(context, runs())
        if state is JobState.SUCCEEDED and context.warnings:
            state = JobState.WARNED
    except JobCancelled:
        state = JobState.CANCELLED
    except ArmoireError as raised:
        state, error = JobState.FAILED, raised
        _log.warning("job %s failed: %s", job_id, raised)
    except Exception as raised:  # noqa: BLE001 - the last door: a mistake of ours is a failed job
        state, error = JobState.FAILED, JobCrashed(type(raised).__name__)
        _log.error("job %s crashed: %s", job_id, log.where(raised))
    return _end(database, context, state, error)


def _do(context: JobContext, runs: Mapping[str, Run]) -> JobState:
    spec = from_json(context.job.kind, context.job.spec)
    if isinstance(spec, Prune):
        refuse_a_wrong_clock(context.database, utc_now())
    run = runs.get(spec.kind)
    if run is None:
        raise InvalidInput("kind", f"nothing here does {spec.kind}")
    return run(context, spec)


def refuse_a_wrong_clock(database: Database, now: datetime) -> None:
    """Return when ``now`` is not before the newest moment this box has recorded.

    Raises:
        ClockWrong: it is: what is old enough to go cannot be known (beam 6).
    """
    with database.read() as connection:
        last = facts.find(connection, "clock.last")
    if isinstance(last, str) and now < datetime.fromisoformat(last) - CLOCK_TOLERANCE:
        raise ClockWrong(now.isoformat(timespec="seconds"), last)


def _end(
    database: Database, context: JobContext, state: JobState, error: ArmoireError | None
) -> JobState:
    now = utc_now()
    with database.write() as connection:
        job = queue.get(connection, context.job.id)
        stopping = state is JobState.CANCELLED and job.cancel_asked_at is None
        if stopping:
            state = JobState.INTERRUPTED
        if not queue.finish(connection, job.id, state, now=now, result=context.result, error=error):
            _log.warning("job %s had been ended by another", job.id)
            return queue.get(connection, job.id).state
        if stopping and KINDS[job.kind].restarts:
            _put_back(connection, job, now)
        elif error is not None and error.retryable:
            queue.retry_later(connection, job, now=now)
    _log.info("job %s %s: %s", job.id, job.kind, state.value)
    return state


def _put_back(connection: Connection, job: Job, now: datetime) -> None:
    """Queue the same work at once: stopping the box is nobody's failure and uses up no attempt."""
    try:
        queue.enqueue(
            connection,
            from_json(job.kind, job.spec),
            now=now,
            person_id=job.person_id,
            parent_id=job.parent_id,
            attempt=job.attempt,
        )
    except AlreadyQueued:
        return


def _be_quiet() -> None:
    try:
        os.nice(NICE)
        psutil.Process().ionice(psutil.IOPRIO_CLASS_BE, 7)
    except (OSError, psutil.Error):
        _log.debug("priorities cannot be set here")


if __name__ == "__main__":
    sys.exit(main())
