"""The process of one job, run in this one."""

import signal
from collections.abc import Iterator

import pytest

from appliance.clock import utc_now
from appliance.db import facts, practice
from appliance.jobs import queue
from appliance.jobs.kinds import TidyDisk
from appliance.model import JobState
from appliance.worker import job_main


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A job takes the signals of its process: here they are given back."""
    kept = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_a_job_begins_with_the_time_zone_the_practice_chose(settings, database):
    """Whatever the settings file said when the worker was started."""
    seen = []

    def note(context, _spec):
        seen.append(context.settings.time_zone)
        return JobState.SUCCEEDED

    for zone in ("", "Indian/Mayotte"):
        with database.write() as connection:
            facts.put(connection, practice.TIME_ZONE, zone, now=utc_now())
            job_id = queue.enqueue(connection, TidyDisk(), now=utc_now())
            queue.claim(connection, runner="test:1", now=utc_now(), only=job_id)
        job_main.run_one(settings, database, job_id, lambda: {TidyDisk.kind: note})

    assert seen == ["Europe/Paris", "Indian/Mayotte"]
