"""Job kinds of the tests' own: real functions in a real job process, so the runner is tried as it is.

``python -m tests.support.jobs --data DIR JOB_ID`` is ``appliance.worker.job_main`` with these kinds.
What they did is in ``data/diary``: one line an event.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from appliance.errors import MachineUnreachable, RootUnreadable
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import KINDS, Prune, Spec
from appliance.model import JobState
from appliance.settings import Settings
from appliance.worker import job_main

PROGRAM = (sys.executable, "-m", "tests.support.jobs")


@dataclass(frozen=True, slots=True)
class Work(Spec):
    """Does what ``how`` says: done, warn, fail, later, crash, wait, die, deaf, follow."""

    how: str = "done"
    on: str = ""
    kind: ClassVar[str] = "test.work"
    title: ClassVar[str] = "Test"
    attempts: ClassVar[int] = 3

    @property
    def lock(self) -> str:
        return self.on


def diary(settings: Settings) -> list[str]:
    """What the jobs wrote so far."""
    path = settings.data / "diary"
    return path.read_text("utf-8").splitlines() if path.exists() else []


def _write(settings: Settings, line: str) -> None:
    with (settings.data / "diary").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def work(context: JobContext, spec: Work) -> JobState:
    _write(context.settings, f"{context.job.id} {spec.how} begins {os.getpid()}")
    match spec.how:
        case "warn":
            context.note("something odd", level="warning")
        case "fail":
            raise RootUnreadable("denied", root="/DUPONT Éloïse")
        case "later":
            raise MachineUnreachable("127.0.0.1", 22, "nobody")
        case "crash":
            Path("/nowhere/DUPONT Éloïse").read_bytes()
        case "die":
            os.kill(os.getpid(), 9)
        case "deaf":
            while True:
                time.sleep(1)
        case "wait":
            end = time.monotonic() + 90
            while time.monotonic() < end:
                context.report(1, 10)
                context.check()
                time.sleep(0.02)
        case "follow":
            context.enqueue(Work("done"))
    context.result["figures"] = 3
    _write(context.settings, f"{context.job.id} {spec.how} ends")
    return JobState.SUCCEEDED


def prune(context: JobContext, spec: Prune) -> JobState:
    _write(context.settings, "pruned")
    return JobState.SUCCEEDED


RUNS = {Work.kind: work, Prune.kind: prune}

if __name__ == "__main__":
    KINDS[Work.kind] = Work
    sys.exit(job_main.main(runs=RUNS))
