"""The queue in the database: every change of a job's state is here, each one conditional UPDATE.

queued → running → succeeded | warned | failed | cancelled; a running job whose heart stopped is
``interrupted``, and queued again when its kind says so. The indexes of ``db.schema`` keep one running
job per lock and one waiting job per wish, whatever this code does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Row,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from appliance.db.schema import job, job_note
from appliance.errors import AlreadyQueued, ArmoireError, NotFound
from appliance.jobs.kinds import KINDS, Spec, from_json
from appliance.model import Job, JobId, JobState, PersonId, Progress, SourceId

#: A running job beats at least so often; after SILENT_S without a beat it is interrupted.
BEAT_S: Final = 5.0  # seconds
SILENT_S: Final = 60.0  # seconds
#: Seconds before another attempt, by attempt.
RETRY_S: Final = (60, 600, 3600)
ENDED: Final = (
    JobState.SUCCEEDED,
    JobState.WARNED,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.INTERRUPTED,
)


def enqueue(
    connection: Connection,
    spec: Spec,
    *,
    now: datetime,
    not_before: datetime | None = None,
    person_id: PersonId | None = None,
    parent_id: JobId | None = None,
    attempt: int = 1,
) -> JobId:
    """Add a job and return its id, inside the caller's write transaction.

    Raises:
        AlreadyQueued: the same wish waits already; nothing is added.
    """
    waiting = connection.execute(
        select(job.c.id).where(job.c.wish == spec.wish, job.c.state == JobState.QUEUED.value)
    ).scalar()
    if waiting is not None:
        raise AlreadyQueued(spec.kind, spec.wish, waiting)
    result = connection.execute(
        insert(job).values(
            kind=spec.kind,
            spec=spec.to_json(),
            wish=spec.wish,
            lock=spec.lock,
            state=JobState.QUEUED.value,
            queued_at=now,
            not_before=not_before or now,
            attempt=attempt,
            source_id=spec.source,
            person_id=person_id,
            parent_id=parent_id,
            progress=asdict(Progress()),
            error_facts={},
            result={},
        )
    )
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    return JobId(result.inserted_primary_key[0])


def claim(
    connection: Connection, *, runner: str, now: datetime, only: JobId | None = None
) -> Job | None:
    """Take the oldest waiting job whose lock is free and return it running, or None.

    Args:
        connection: inside ``Database.write()``.
        runner: who runs it: «host:pid».
        now: aware UTC.
        only: claim this job or nothing.
    """
    running = job.alias("running")
    lock_is_free = or_(
        job.c.lock == "",
        ~exists().where(running.c.state == JobState.RUNNING.value, running.c.lock == job.c.lock),
    )
    wanted = and_(job.c.state == JobState.QUEUED.value, job.c.not_before <= now, lock_is_free)
    query = select(job.c.id).where(wanted).order_by(job.c.not_before, job.c.id).limit(1)
    if only is not None:
        query = query.where(job.c.id == only)
    found = connection.execute(query).scalar()
    if found is None:
        return None
    try:
        with connection.begin_nested():
            changed = connection.execute(
                update(job)
                .where(job.c.id == found, job.c.state == JobState.QUEUED.value)
                .values(state=JobState.RUNNING.value, runner=runner, started_at=now, beat_at=now)
            )
    except IntegrityError:
        return None  # another worker took the same lock in this moment
    return get(connection, JobId(found)) if changed.rowcount == 1 else None


def beat(connection: Connection, job_id: JobId, *, now: datetime) -> bool:
    """Say that the job is alive; return whether a person asked to stop it (or it was taken away)."""
    changed = connection.execute(
        update(job)
        .where(job.c.id == job_id, job.c.state == JobState.RUNNING.value)
        .values(beat_at=now)
    )
    if changed.rowcount == 0:
        return True
    asked = connection.execute(select(job.c.cancel_asked_at).where(job.c.id == job_id)).scalar()
    return asked is not None


def report(connection: Connection, job_id: JobId, progress: Progress, *, now: datetime) -> None:
    """Store how far the job is; call at most once a second."""
    connection.execute(
        update(job)
        .where(job.c.id == job_id, job.c.state == JobState.RUNNING.value)
        .values(progress=asdict(progress), beat_at=now)
    )


def note(
    connection: Connection,
    job_id: JobId,
    *,
    now: datetime,
    level: str,
    text: str,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Add a line to the job's log: a translatable English template and its facts, never a file name."""
    connection.execute(
        insert(job_note).values(
            job_id=job_id, at=now, level=level, text=text, facts=dict(facts or {})
        )
    )


def finish(
    connection: Connection,
    job_id: JobId,
    state: JobState,
    *,
    now: datetime,
    result: Mapping[str, object] | None = None,
    error: ArmoireError | None = None,
) -> bool:
    """End a running job; return False when it was not running any more (its end was already written)."""
    changed = connection.execute(
        update(job)
        .where(job.c.id == job_id, job.c.state == JobState.RUNNING.value)
        .values(
            state=state.value,
            finished_at=now,
            result=dict(result or {}),
            error_code=error.code if error else None,
            error_facts=_plain(error.loggable) if error else {},
        )
    )
    return changed.rowcount == 1


def retry_later(connection: Connection, ended: Job, *, now: datetime) -> JobId | None:
    """Queue the same work again when its kind allows another attempt; return the new job's id or None."""
    spec = from_json(ended.kind, ended.spec)
    if ended.attempt >= spec.attempts:
        return None
    wait = RETRY_S[min(ended.attempt - 1, len(RETRY_S) - 1)]
    try:
        return enqueue(
            connection,
            spec,
            now=now,
            not_before=now + timedelta(seconds=wait),
            person_id=ended.person_id,
            parent_id=ended.parent_id,
            attempt=ended.attempt + 1,
        )
    except AlreadyQueued as waiting:
        return JobId(waiting.job_id)


def ask_cancel(connection: Connection, job_id: JobId, *, now: datetime) -> JobState:
    """Cancel a waiting job at once, ask a running one to stop; return the state it has now.

    Raises:
        NotFound: there is no such job.
    """
    changed = connection.execute(
        update(job)
        .where(job.c.id == job_id, job.c.state == JobState.QUEUED.value)
        .values(state=JobState.CANCELLED.value, finished_at=now, cancel_asked_at=now)
    )
    if changed.rowcount == 0:
        connection.execute(
            update(job)
            .where(job.c.id == job_id, job.c.state == JobState.RUNNING.value)
            .values(cancel_asked_at=now)
        )
    return get(connection, job_id).state


def interrupt_silent(
    connection: Connection, *, now: datetime, runner: str | None = None
) -> list[Job]:
    """Mark running jobs whose heart stopped as interrupted, queue again those that restart; return them.

    Args:
        connection: inside ``Database.write()``.
        now: aware UTC.
        runner: also those of this runner, however fresh their beat: it just died, and we know.
    """
    silent = job.c.beat_at < now - timedelta(seconds=SILENT_S)
    if runner is not None:
        silent = or_(silent, job.c.runner == runner)
    ids = connection.execute(
        select(job.c.id).where(job.c.state == JobState.RUNNING.value, silent)
    ).scalars()
    ended = [interrupt(connection, JobId(each), now=now) for each in ids.all()]
    return [one for one in ended if one is not None]


def interrupt(connection: Connection, job_id: JobId, *, now: datetime) -> Job | None:
    """Mark a running job as interrupted: its process is gone. Queue it again when its kind restarts.

    Returns:
        The job as it ended, or None when it was not running any more.
    """
    changed = connection.execute(
        update(job)
        .where(job.c.id == job_id, job.c.state == JobState.RUNNING.value)
        .values(state=JobState.INTERRUPTED.value, finished_at=now)
    )
    if changed.rowcount == 0:
        return None
    one = get(connection, job_id)
    kind = KINDS.get(one.kind)
    if kind is not None and kind.restarts and one.cancel_asked_at is None:
        # A job that kills its process every time must not do so for ever.
        retry_later(connection, one, now=now)
    return one


def hurry(connection: Connection, job_id: JobId, *, now: datetime) -> None:
    """Let a waiting job begin now: a person asks for what would be tried later anyway."""
    connection.execute(
        update(job)
        .where(job.c.id == job_id, job.c.state == JobState.QUEUED.value, job.c.not_before > now)
        .values(not_before=now)
    )


def get(connection: Connection, job_id: JobId) -> Job:
    """Return a job.

    Raises:
        NotFound: there is no such job.
    """
    row = connection.execute(select(job).where(job.c.id == job_id)).first()
    if row is None:
        raise NotFound("job", str(job_id))
    return _job(row)


def newest(
    connection: Connection,
    *,
    limit: int = 50,
    states: Sequence[JobState] = (),
    source_id: SourceId | None = None,
    kind: str | None = None,
    before_id: int | None = None,
    since: datetime | None = None,
    lock: str | None = None,
) -> list[Job]:
    """Return jobs newest first."""
    query: Select[Any] = select(job).order_by(job.c.id.desc()).limit(limit)
    if states:
        query = query.where(job.c.state.in_([state.value for state in states]))
    if source_id is not None:
        query = query.where(job.c.source_id == source_id)
    if kind is not None:
        query = query.where(job.c.kind == kind)
    if before_id is not None:
        query = query.where(job.c.id < before_id)
    if since is not None:
        query = query.where(job.c.queued_at >= since)
    if lock is not None:
        query = query.where(job.c.lock == lock)
    return [_job(row) for row in connection.execute(query)]


def waiting(connection: Connection) -> list[Job]:
    """Return queued and running jobs, oldest first."""
    query = select(job).where(job.c.state.in_(["queued", "running"])).order_by(job.c.id)
    return [_job(row) for row in connection.execute(query)]


def children(connection: Connection, job_id: JobId) -> list[Job]:
    """Return the jobs that this job queued, oldest first."""
    return [
        _job(row)
        for row in connection.execute(
            select(job).where(job.c.parent_id == job_id).order_by(job.c.id)
        )
    ]


def family(connection: Connection, roots: Sequence[JobId]) -> list[Job]:
    """Return these jobs and all that followed from them, oldest first."""
    known: set[int] = set()
    level: list[int] = list(roots)
    while level:
        known.update(level)
        found = connection.execute(select(job.c.id).where(job.c.parent_id.in_(level))).scalars()
        level = [each for each in found if each not in known]
    query = select(job).where(job.c.id.in_(known)).order_by(job.c.id)
    return [_job(row) for row in connection.execute(query)]


def notes(connection: Connection, job_id: JobId, *, after_id: int = 0) -> list[Row[Any]]:
    """Return the job's notes (id, at, level, text, facts), oldest first."""
    return list(
        connection.execute(
            select(job_note)
            .where(job_note.c.job_id == job_id, job_note.c.id > after_id)
            .order_by(job_note.c.id)
        )
    )


def forget_old(connection: Connection, *, before: datetime) -> int:
    """Delete the notes of jobs that ended before ``before``; the jobs stay. Return how many notes."""
    old = select(job.c.id).where(job.c.finished_at < before)
    return connection.execute(delete(job_note).where(job_note.c.job_id.in_(old))).rowcount


def running_on(connection: Connection, *, host: str, started_before: datetime) -> list[JobId]:
    """Return the running jobs that runners of ``host`` claimed before ``started_before``, oldest first."""
    return [
        JobId(row.id)
        for row in connection.execute(
            select(job.c.id, job.c.runner)
            .where(job.c.state == JobState.RUNNING.value, job.c.started_at < started_before)
            .order_by(job.c.id)
        )
        if (row.runner or "").rsplit(":", 1)[0] == host
    ]


def count_running(connection: Connection) -> int:
    """Return how many jobs run."""
    return connection.execute(
        select(func.count()).select_from(job).where(job.c.state == JobState.RUNNING.value)
    ).scalar_one()


def _plain(facts: Mapping[str, object]) -> dict[str, object]:
    return {
        name: value if isinstance(value, int | float | str | bool | None) else str(value)
        for name, value in facts.items()
    }


def _job(row: Row[Any]) -> Job:
    return Job(
        id=JobId(row.id),
        kind=row.kind,
        spec=row.spec,
        lock=row.lock,
        state=JobState(row.state),
        queued_at=row.queued_at,
        not_before=row.not_before,
        attempt=row.attempt,
        source_id=row.source_id,
        person_id=row.person_id,
        parent_id=row.parent_id,
        started_at=row.started_at,
        beat_at=row.beat_at,
        finished_at=row.finished_at,
        cancel_asked_at=row.cancel_asked_at,
        progress=Progress(**row.progress),
        error_code=row.error_code,
        error_facts=row.error_facts,
        result=row.result,
    )
