"""What is written into the state that came back while the rest follows."""

from appliance.clock import utc_now
from appliance.db import workers
from appliance.db.engine import open_database
from appliance.jobs import queue
from appliance.model import JobState
from appliance.settings import Settings
from appliance.worker.runner import runner_name


def end_old_jobs(settings: Settings) -> None:
    """End what ran or waited on the box of before: at least the one that saved this state.

    A restore somebody asked for last month must not begin by itself; nights are planned anew.
    """
    database = open_database(settings.database)
    now = utc_now()
    try:
        with database.write() as connection:
            for job in queue.waiting(connection):
                if job.state is JobState.RUNNING:
                    queue.finish(connection, job.id, JobState.INTERRUPTED, now=now)
                else:
                    queue.ask_cancel(connection, job.id, now=now)
    finally:
        database.close()


def beat(settings: Settings) -> None:
    """Say that this process works on the box: nobody is asked to start the worker."""
    database = open_database(settings.database)
    try:
        with database.write() as connection:
            workers.beat(connection, runner_name(), now=utc_now())
    finally:
        database.close()


def leave(settings: Settings) -> None:
    """Say that it has ended."""
    database = open_database(settings.database)
    try:
        with database.write() as connection:
            workers.leave(connection, runner_name())
    finally:
        database.close()
