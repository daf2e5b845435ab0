"""Following jobs to their end in a terminal; without a living worker, running them here.

What is shown comes from the database, so it is the same whoever runs the job. The same runner code
does the work here: claims are conditional, so a worker that starts meanwhile takes nothing twice.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.table import Column
from rich.text import Text
from sqlalchemy.exc import OperationalError

from appliance.clock import utc_now
from appliance.commands.session import ExitCode, Session
from appliance.db import snapshots, sources, workers
from appliance.errors import AlreadyQueued, RecoveryUnfinished
from appliance.jobs import queue, recovery_status
from appliance.jobs.kinds import KINDS, Spec, TakeSnapshot
from appliance.jobs.steps import STEP_NAMES
from appliance.language import Language, explain_stored, mark, translate, translate_count
from appliance.model import Job, JobId, JobState
from appliance.policy.estimate import ProgressSample, estimate
from appliance.policy.wording import in_language, size_words
from appliance.worker import locks, log
from appliance.worker.runner import JOB_MAIN, Runner, runner_name

POLL_S: Final = 0.25  # seconds
BURY_S: Final = 10.0
FAILURES_BORNE: Final = 10  # of the database, in a row
WARNINGS_SHOWN: Final = 5
SAMPLES_KEPT: Final = 240  # a minute of looks

STATES: Final = {
    JobState.QUEUED: mark("waiting"),
    JobState.RUNNING: mark("running"),
    JobState.SUCCEEDED: mark("done"),
    JobState.WARNED: mark("done, with warnings"),
    JobState.FAILED: mark("failed"),
    JobState.CANCELLED: mark("stopped"),
    JobState.INTERRUPTED: mark("interrupted"),
}
SIGNS: Final = {
    JobState.SUCCEEDED: ("✓", "green"),
    JobState.WARNED: ("!", "yellow"),
    JobState.FAILED: ("✗", "red"),
    JobState.CANCELLED: ("–", "yellow"),
    JobState.INTERRUPTED: ("–", "yellow"),
}


def enqueue(session: Session, spec: Spec) -> JobId:
    """Queue a wish now and return its job; one that waits already is brought forward instead.

    Raises:
        RecoveryUnfinished: the box is being made again: nothing begins before it is whole.
    """
    if recovery_status.is_unfinished(session.settings):
        raise RecoveryUnfinished(str(session.settings.data))
    now = utc_now()
    with session.database.write() as connection:
        try:
            return queue.enqueue(connection, spec, now=now)
        except AlreadyQueued as waiting:
            job_id = JobId(waiting.job_id)
            queue.hurry(connection, job_id, now=now)
            return job_id


def exit_code_of(jobs: Sequence[Job]) -> ExitCode:
    """Return what a family of jobs means for the caller: the worst of them."""
    states = {each.state for each in jobs}
    if states - {JobState.SUCCEEDED, JobState.WARNED}:
        return ExitCode.FAILED
    return ExitCode.WARNED if JobState.WARNED in states else ExitCode.DONE


def has_worker(session: Session) -> bool:
    """Return whether a worker is alive for this box: its beat is fresh, and if it is ours, it lives."""
    with session.database.read() as connection:
        names = workers.alive(connection, now=utc_now())
    host = runner_name().rsplit(":", 1)[0]
    elsewhere = [each for each in names if each.rsplit(":", 1)[0] != host]
    # One that was killed a moment ago beat a moment ago too; its lock it cannot keep.
    return bool(elsewhere) or (bool(names) and locks.is_held(locks.of_worker(session.settings)))


def follow(
    session: Session,
    roots: Sequence[JobId],
    *,
    program: Sequence[str] = JOB_MAIN,
) -> list[Job]:
    """Wait until these jobs and all that follows from them have ended; return them, oldest first.

    With a living worker this only watches. Without one, or when it falls silent, the jobs run here:
    only these and what follows from them. Ctrl-C stops what runs here, and leaves alone what a
    worker runs.

    Raises:
        KeyboardInterrupt: a person stopped it; what ran here was asked to stop and has.
    """
    if not roots:
        return []
    with log.file_of(session.settings, "jobs") as file, _Board(session) as board:
        runner = Runner(session.settings, session.database, program, log=file)
        bury_at, failures = float("-inf"), 0
        try:
            while True:
                try:
                    jobs = _look(session, roots)
                    board.show(jobs)
                    if all(each.state in queue.ENDED for each in jobs):
                        return jobs
                    if runner.running or not has_worker(session):
                        if time.monotonic() - bury_at >= BURY_S:
                            runner.bury(utc_now())
                            bury_at = time.monotonic()
                        runner.turn(utc_now(), mine=_member_of({each.id for each in jobs}))
                    failures = 0
                except OperationalError:
                    # A busy or full disk passes, and the jobs go on meanwhile; a broken one does not.
                    failures += 1
                    if failures >= FAILURES_BORNE:
                        raise
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            _stop(session, runner, roots)
            raise
        finally:
            runner.stop(grace_s=1.0)
            runner.reap(utc_now())


def _look(session: Session, roots: Sequence[JobId]) -> list[Job]:
    with session.database.read() as connection:
        return queue.family(connection, roots)


def _member_of(ids: set[JobId]) -> Callable[[Job], bool]:
    return lambda job: job.id in ids or job.parent_id in ids


def _stop(session: Session, runner: Runner, roots: Sequence[JobId]) -> None:
    if not runner.running:
        session.tell(
            mark(
                "The worker goes on with this. «armoire job cancel ID» stops it; see «armoire jobs»."
            )
        )
        return
    session.tell(mark("Stopping where it can go on later…"))
    with session.database.write() as connection:
        for each in queue.family(connection, roots):
            if each.state not in queue.ENDED:
                queue.ask_cancel(connection, each.id, now=utc_now())
    runner.stop()


# --- what is seen ------------------------------------------------------------------------------


@dataclass
class _Seen:
    """What the board knows of one job."""

    task: TaskID
    step: str = ""
    samples: list[ProgressSample] = field(default_factory=list)


class _Amount(ProgressColumn):
    """Files, bytes, speed and time left, as far as each is known."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        return Text(str(task.fields.get("amount", "")), style="dim")


class _Board:
    """Bars while jobs run, one lasting line for each that ended."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            _Amount(),
            console=session.err,
            transient=True,
            disable=not session.err.is_terminal,
        )
        self._seen: dict[JobId, _Seen] = {}
        self._told: set[tuple[JobId, JobState]] = set()
        self._labels: dict[int, str] = {}
        self._usual: dict[int, int] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        with self._session.database.read() as connection:
            self._labels = {each.id: each.name for each in sources.all_living(connection)}
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def show(self, jobs: Sequence[Job]) -> None:
        """Bring the screen up to date."""
        for job in jobs:
            if job.state is JobState.RUNNING:
                self._show_running(job)
            elif job.state in SIGNS:
                self._show_ended(job)

    def _title(self, job: Job) -> str:
        kind = KINDS.get(job.kind)
        title = self._session.say(kind.title) if kind else job.kind
        label = None if job.source_id is None else self._labels.get(job.source_id)
        return f"{label} · {title}" if label else title

    def _usual_bytes(self, job: Job) -> int | None:
        """Return what a source held the last time, while a job that reads it knows no better."""
        reads = job.kind == TakeSnapshot.kind and job.progress.step == "reading"
        if not reads or job.progress.unit != "bytes" or job.source_id is None:
            return None
        if job.source_id not in self._usual:
            with self._session.database.read() as connection:
                newest = snapshots.newest(connection, job.source_id)
            self._usual[job.source_id] = newest.original_bytes if newest else 0
        return self._usual[job.source_id] or None

    def _step(self, step: str) -> str:
        return self._session.say(STEP_NAMES.get(step, step))

    def _show_running(self, job: Job) -> None:
        seen = self._seen.get(job.id)
        if seen is None:
            seen = _Seen(self._progress.add_task(self._title(job), total=None, amount=""))
            self._seen[job.id] = seen
            self._tell_once(job, f"… {self._title(job)}")
        progress = job.progress
        if progress.step != seen.step:
            seen.step = progress.step
            seen.samples.clear()
        now_s = time.monotonic()
        seen.samples.append(ProgressSample(now_s, progress.done))
        if len(seen.samples) > SAMPLES_KEPT:
            del seen.samples[1 : len(seen.samples) - SAMPLES_KEPT]
        total = progress.total or self._usual_bytes(job)
        known = estimate(seen.samples, total, now_s)
        self._progress.update(
            seen.task,
            description=f"{self._title(job)} · {self._step(seen.step)}",
            total=total,
            completed=progress.done,
            amount=amount_words(job, known.per_s, known.remaining_s, self._session.language),
        )

    def _show_ended(self, job: Job) -> None:
        seen = self._seen.pop(job.id, None)
        if seen is not None:
            self._progress.remove_task(seen.task)
        sign, colour = SIGNS[job.state]
        line = f"{sign} {self._title(job)}: {self._session.say(STATES[job.state])}"
        if job.started_at is not None and job.finished_at is not None:
            line += f" ({seconds_words(job.started_at, job.finished_at)})"
        if job.error_code:
            line += f"\n  {error_words(job, self._session)}"
        elif job.state is JobState.WARNED and (job.id, job.state) not in self._told:
            line += "".join(f"\n  {each}" for each in warnings_of(job, self._session))
        self._tell_once(job, line, style=colour)

    def _tell_once(self, job: Job, line: str, style: str | None = None) -> None:
        if (job.id, job.state) in self._told:
            return
        self._told.add((job.id, job.state))
        if job.state is JobState.RUNNING and self._session.err.is_terminal:
            return  # its bar says so
        self._progress.console.print(line, style=style)


def amount_words(job: Job, per_s: float, remaining_s: float | None, language: Language) -> str:
    """Return «1 234 files · 1.2 GB · 45 MB/s · 12 s left», as far as each is known."""
    progress = job.progress
    parts: list[str] = []
    if progress.files:
        parts.append(
            translate_count(
                mark("%(count)s file"), mark("%(count)s files"), progress.files, language
            )
        )
    if progress.unit == "bytes":
        if progress.done:
            parts.append(size_words(progress.done, language))
        if per_s > 0:
            parts.append(f"{size_words(per_s, language)}/s")
    elif progress.done:
        whole = f" / {progress.total}" if progress.total else ""
        parts.append(f"{progress.done}{whole} {translate(progress.unit, language)}")
    if remaining_s is not None and remaining_s >= 1:
        minutes, seconds = divmod(int(remaining_s), 60)
        left = f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
        parts.append(translate(mark("%(time)s left"), language, time=left))
    return " · ".join(parts)


def seconds_words(start: datetime, end: datetime) -> str:
    """Return how long it took: «0.4 s», «12 s», «3 min 05 s»."""
    seconds = max(0.0, (end - start).total_seconds())
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def warnings_of(job: Job, session: Session) -> list[str]:
    """Return what a job warned of, in the reader's language, the first few."""
    with session.database.read() as connection:
        rows = queue.notes(connection, job.id)
    return [
        session.say(each.text, **in_language(each.facts, session.language))
        for each in rows
        if each.level != "info"
    ][:WARNINGS_SHOWN]


def error_words(job: Job, session: Session) -> str:
    """Return what a person may be told about the error a job ended with."""
    return explain_stored(job.error_code or "", job.error_facts, session.language)
