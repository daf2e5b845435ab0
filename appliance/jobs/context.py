"""What a running job may do to the outside: tell how far it is, note, ask whether to stop, queue more."""

import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import TracebackType
from typing import Final, Self

from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import utc_now
from appliance.db.engine import Database
from appliance.errors import AlreadyQueued, JobCancelled
from appliance.jobs import queue
from appliance.jobs.kinds import Spec
from appliance.model import Job, JobId, Progress
from appliance.settings import Settings

REPORT_S: Final = 1.0  # seconds between two stored reports
SPEED_WINDOW_S: Final = 10.0  # seconds over which speed is averaged


@dataclass
class JobContext:
    """Handed to every job. ``with JobContext(...)`` starts its heart, leaving stops it.

    Reports are cheap: call ``report`` as often as you like, one a second is stored.
    """

    settings: Settings
    database: Database
    job: Job
    result: dict[str, object] = field(default_factory=dict)
    warnings: int = 0
    _progress: Progress = field(default_factory=Progress)
    _samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=64))
    _stored_at: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _done: threading.Event = field(default_factory=threading.Event)
    _heart: threading.Thread | None = None

    @property
    def started_at(self) -> datetime:
        """When this attempt began."""
        return self.job.started_at or self.job.queued_at

    @property
    def actor(self) -> str:
        """How the ledger names this job."""
        return f"job:{self.job.id}"

    def __enter__(self) -> Self:
        self._heart = threading.Thread(target=self._beat, name="heart", daemon=True)
        self._heart.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._heart is not None:
            self._heart.join()
        self._store(force=True)

    def step(self, step: str) -> None:
        """Say what is being done now; counts start again at zero."""
        self._progress = Progress(step=step)
        self._samples.clear()
        self._store(force=True)

    def report(
        self,
        done: int,
        total: int | None = None,
        unit: str = "bytes",
        *,
        files: int | None = None,
        step: str | None = None,
    ) -> None:
        """Say how far the job is: ``done`` of ``total`` in ``unit``, and how many files."""
        now = time.monotonic()
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[0][0] > SPEED_WINDOW_S:
            self._samples.popleft()
        first_at, first_done = self._samples[0]
        speed = (done - first_done) / (now - first_at) if now > first_at else 0.0
        self._progress = replace(
            self._progress,
            step=self._progress.step if step is None else step,
            done=done,
            total=total,
            unit=unit,
            files=self._progress.files if files is None else files,
            bytes_per_s=max(speed, 0.0),
        )
        self._store(force=False)

    def note(self, text: str, *, level: str = "info", **facts: object) -> None:
        """Add a line to the job's log: a translatable English template; facts never name a file."""
        if level == "warning":
            self.warnings += 1
        with self.database.write() as connection:
            queue.note(connection, self.job.id, now=utc_now(), level=level, text=text, facts=facts)

    def should_stop(self) -> bool:
        """Return whether a person asked to stop, or the box is stopping."""
        return self._stop.is_set()

    def ask_stop(self) -> None:
        """Stop at the next occasion (SIGTERM)."""
        self._stop.set()

    def check(self) -> None:
        """Raise JobCancelled when the job should stop."""
        if self._stop.is_set():
            raise JobCancelled

    def enqueue(self, spec: Spec, *, not_before: datetime | None = None) -> JobId:
        """Queue work that follows from this job; the same wish waiting already is fine."""
        with self.database.write() as connection:
            try:
                return queue.enqueue(
                    connection,
                    spec,
                    now=utc_now(),
                    not_before=not_before,
                    person_id=self.job.person_id,
                    parent_id=self.job.id,
                )
            except AlreadyQueued as waiting:
                return JobId(waiting.job_id)

    def _beat(self) -> None:
        while not self._done.wait(queue.BEAT_S / 2):
            try:
                with self.database.write() as connection:
                    if queue.beat(connection, self.job.id, now=utc_now()):
                        self._stop.set()
            except SQLAlchemyError:
                continue  # a busy database is no reason to die; silence for SILENT_S is

    def _store(self, *, force: bool) -> None:
        now = time.monotonic()
        if not force and now - self._stored_at < REPORT_S:
            return
        self._stored_at = now
        with self.database.write() as connection:
            queue.report(connection, self.job.id, self._progress, now=utc_now())
