"""Starting jobs as processes, watching them, and telling the queue when one died.

The same code is the long-lived worker's and, for what it queued itself, the command line's: claims
are conditional updates in the database, so two runners never do the same job.

A job's process outlives its runner on purpose (docs/decisions/0070): it beats by itself, writes its
own end, and holds a lock file while it lives, so a runner that comes later knows whether to wait.
"""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import IO, Final

from appliance.db.engine import Database
from appliance.jobs import queue
from appliance.jobs.kinds import (
    KINDS,
    CheckMachine,
    CheckTarget,
    OnTarget,
    ProbeHostKey,
    RestoreFiles,
    RestoreFolder,
    SendNotices,
    SetUpSource,
    SetUpTarget,
    WakeMachine,
)
from appliance.model import Job, JobId, JobState
from appliance.process import Process, end_group, start
from appliance.settings import PREFIX, Settings
from appliance.worker import locks

JOB_MAIN: Final = (sys.executable, "-m", "appliance.worker.job_main")
#: Kinds a person waits for: they have places of their own beside the long ones.
AWAITED: Final = frozenset(
    spec.kind
    for spec in (
        CheckMachine,
        CheckTarget,
        ProbeHostKey,
        RestoreFiles,
        RestoreFolder,
        SendNotices,
        SetUpSource,
        SetUpTarget,
        WakeMachine,
    )
)
AWAITED_PLACES: Final = 2
#: Work on a copy waits for a line most of the time, a first one for days: nights must not wait for it.
AWAY: Final = frozenset(kind for kind, spec in KINDS.items() if issubclass(spec, OnTarget))
AWAY_PLACES: Final = 2
#: A claimed job has so long to take its lock file before it may be called dead.
STARTING: Final = timedelta(seconds=20)
STOP_GRACE_S: Final = 30.0  # seconds a job has to reach a checkpoint after SIGTERM

_log = logging.getLogger("armoire.runner")


def runner_name() -> str:
    """Return how the queue names this process: «host:pid»."""
    return f"{socket.gethostname()}:{os.getpid()}"


def choose(jobs: Sequence[Job], *, running: Sequence[Job], places: int, now: datetime) -> list[Job]:
    """Return which of the waiting jobs begin now, in order.

    Args:
        jobs: queued ones.
        running: those this runner runs.
        places: how many long jobs run at once; jobs a person waits for have two more, and so has
            work on copies.
        now: aware UTC.
    """
    free = {_Sort.LONG: places, _Sort.AWAITED: AWAITED_PLACES, _Sort.AWAY: AWAY_PLACES}
    for job in running:
        free[_sort(job)] -= 1
    chosen: list[Job] = []
    for job in sorted(jobs, key=lambda each: (each.not_before, each.id)):
        sort = _sort(job)
        if job.not_before <= now and free[sort] > 0:
            free[sort] -= 1
            chosen.append(job)
    return chosen


class _Sort(Enum):
    """Whose places a job takes."""

    LONG = auto()
    AWAITED = auto()
    AWAY = auto()


def _sort(job: Job) -> _Sort:
    if job.kind in AWAITED:
        return _Sort.AWAITED
    return _Sort.AWAY if job.kind in AWAY else _Sort.LONG


@dataclass
class Runner:
    """Runs jobs as child processes. Call ``turn`` about once a second, ``stop`` at the end.

    Args:
        settings: of the box.
        database: open.
        program: what runs one job; ``--data DIR JOB_ID`` is added.
        log: where the jobs' standard error goes; None: to ours.
    """

    settings: Settings
    database: Database
    program: Sequence[str] = JOB_MAIN
    log: IO[bytes] | None = None
    name: str = field(default_factory=runner_name)
    _children: dict[JobId, tuple[Job, Process]] = field(default_factory=dict)

    @property
    def running(self) -> list[JobId]:
        """The jobs whose processes are ours and live, as of the last turn."""
        return list(self._children)

    def turn(self, now: datetime, *, mine: Callable[[Job], bool] = lambda _job: True) -> None:
        """Write the end of what ended, then start what may begin.

        Args:
            now: aware UTC.
            mine: which waiting jobs this runner may take.
        """
        self.reap(now)
        with self.database.read() as connection:
            waiting = queue.waiting(connection)
        busy = {each.lock for each in waiting if each.state is JobState.RUNNING and each.lock}
        free = [
            each
            for each in waiting
            if each.state is JobState.QUEUED and each.lock not in busy and mine(each)
        ]
        ours = [job for job, _process in self._children.values()]
        for wanted in choose(free, running=ours, places=self.settings.worker_jobs, now=now):
            with self.database.write() as connection:
                job = queue.claim(connection, runner=self.name, now=now, only=wanted.id)
            if job is not None:
                self._start(job)

    def reap(self, now: datetime) -> None:
        """Take leave of ended processes; a job that ended without saying so was interrupted."""
        for job_id, (job, process) in list(self._children.items()):
            code = process.poll()
            if code is None:
                continue
            del self._children[job_id]
            with self.database.write() as connection:
                lost = queue.interrupt(connection, job_id, now=now)
            if lost is not None:
                _log.error("job %s %s died (exit code %s)", job_id, job.kind, code)
            locks.of_job(self.settings, job_id).unlink(missing_ok=True)

    def bury(self, now: datetime) -> list[JobId]:
        """Interrupt jobs of this host whose process is gone, and any that fell silent; return them."""
        host = self.name.rsplit(":", 1)[0]
        with self.database.read() as connection:
            others = queue.running_on(connection, host=host, started_before=now - STARTING)
        dead = [
            each
            for each in others
            if each not in self._children and not locks.is_held(locks.of_job(self.settings, each))
        ]
        with self.database.write() as connection:
            lost = [queue.interrupt(connection, each, now=now) for each in dead]
            lost += queue.interrupt_silent(connection, now=now)
        buried = [each.id for each in lost if each is not None]
        for each in buried:
            _log.warning("job %s was interrupted: its process is gone", each)
            locks.of_job(self.settings, each).unlink(missing_ok=True)
        return buried

    def stop(self, *, grace_s: float = STOP_GRACE_S) -> None:
        """Ask our jobs to stop where they can go on later, wait, then end those that do not."""
        for _job, process in self._children.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and any(
            process.poll() is None for _job, process in self._children.values()
        ):
            time.sleep(0.05)
        for _job, process in self._children.values():
            end_group(process, grace_s=1.0)

    def _start(self, job: Job) -> None:
        argv = [*self.program, "--data", str(self.settings.data), str(job.id)]
        self._children[job.id] = (job, start(argv, env=child_environment(), log=self.log))


def child_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what our own processes inherit: our settings, and where the person's home is.

    Two memory arenas instead of eight a core: a push of four connections keeps 7 MB less (docs/decisions/0145).
    """
    return {"MALLOC_ARENA_MAX": "2"} | {
        name: value
        for name, value in environment.items()
        if name.startswith(PREFIX) or name in {"HOME", "LANG", "TZ", "TMPDIR", "USER"}
    }
