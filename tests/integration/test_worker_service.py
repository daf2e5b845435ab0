"""The long-lived worker: one per data folder, small at rest, and a night survives its death."""

import os
import signal
import time
from contextlib import suppress
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import psutil
import pytest

from appliance.clock import utc_now
from appliance.db import sources, workers
from appliance.db.engine import open_database
from appliance.jobs import queue
from appliance.jobs.kinds import SetUpSource, TakeSnapshot
from appliance.model import BOX_SOURCE, JobState, Plan
from tests.support.armoire import Armoire, end, until

pytestmark = pytest.mark.integration


@pytest.fixture
def armoire(tmp_path):
    """A box with one share, set up without a worker."""
    made = Armoire(tmp_path / "box")
    assert made("init").code == 0
    folder = tmp_path / "partage"
    folder.mkdir()
    for number in range(20):
        (folder / f"lettre {number}.txt").write_text(f"lettre {number} " * 50)
    assert made("share", "add", "partage", folder).code == 0
    database = open_database(f"sqlite:///{made.data / 'state.sqlite'}")
    with database.write() as c:
        # Nights would begin beside these tests, at some hours of the day.
        sources.change(c, BOX_SOURCE, plan=Plan(enabled=False))
        here = datetime.now(tz=ZoneInfo("Europe/Paris"))
        later = Plan(
            window_start=f"{here + timedelta(hours=8):%H:%M}",
            window_end=f"{here + timedelta(hours=9):%H:%M}",
        )
        sources.change(c, sources.get_by_name(c, "partage").id, plan=later)
    database.close()
    return made


@pytest.fixture
def database(armoire):
    opened = open_database(f"sqlite:///{armoire.data / 'state.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def start(armoire, database):
    """Starts a worker and waits until it is known; ends those that still run."""
    started = []

    def begin():
        process = armoire.start("worker")
        started.append(process)
        until(lambda: any(name.endswith(f":{process.pid}") for name in alive(database)))
        return process

    yield begin
    for process in started:
        if process.returncode is None:
            end(process)


def alive(database) -> list[str]:
    with database.read() as c:
        return workers.alive(c, now=utc_now())


def states(database) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with database.read() as c:
        for job in queue.newest(c):
            found.setdefault(job.kind, []).append(job.state.value)
    return found


def test_a_worker_runs_a_night_to_its_proof_and_leaves_no_trace_when_it_ends(
    start, armoire, database
):
    """Queued by anybody, done by the worker; after SIGTERM nothing of it is left."""
    worker = start()
    with database.write() as c:
        queue.enqueue(c, TakeSnapshot(1), now=utc_now())

    until(lambda: states(database).get("repository.prune") == ["succeeded"])
    children = psutil.Process(worker.pid).children(recursive=True)
    assert children  # the reader
    begun = time.monotonic()
    assert end(worker) == 0

    assert time.monotonic() - begun < 30
    assert alive(database) == []
    assert not any(each.is_running() for each in children)
    assert not (armoire.data / "run" / "reader.sock").exists()
    found = states(database)
    assert found["snapshot.take"] == found["snapshot.verify"] == ["succeeded"]


def test_a_second_worker_in_the_same_folder_is_refused(start, armoire):
    """Two planners would be two nights."""
    start()

    second = armoire("worker", timeout_s=30)

    assert second.code == 1
    assert "A worker runs in" in second.err


def test_a_killed_worker_loses_no_job_and_its_place_is_free_at_once(start, armoire, database):
    """kill -9: the job's process goes on and ends by itself; the next worker does not start it twice."""
    worker = start()
    folder = armoire.data.parent / "partage"
    for number in range(60):
        (folder / f"scan {number}.bin").write_bytes(os.urandom(1_000_000))
    with database.write() as c:
        job_id = queue.enqueue(c, TakeSnapshot(1), now=utc_now())

    def state() -> JobState:
        with database.read() as c:
            return queue.get(c, job_id).state

    until(lambda: state() is JobState.RUNNING, every_s=0.02)
    until(lambda: len(psutil.Process(worker.pid).children()) > 1, every_s=0.02)
    readers = psutil.Process(worker.pid).children()
    end(worker, signal.SIGKILL)
    start()

    until(lambda: state() in queue.ENDED)
    until(lambda: "repository.prune" in states(database))
    assert states(database)["snapshot.take"] == ["succeeded"]
    _gone, left = psutil.wait_procs(readers, timeout=20)
    assert left == []  # the first worker’s reader notices that its place is taken, and goes


def test_the_reader_is_started_again_when_it_dies(start, armoire):
    """Somebody opens a file the minute after."""
    worker = start()

    def reader() -> psutil.Process | None:
        for child in psutil.Process(worker.pid).children():
            with suppress(psutil.Error):  # one that just died
                if any("reader_main" in part for part in child.cmdline()):
                    return child
        return None

    until(lambda: reader() is not None)
    first = reader()
    assert first is not None
    first.kill()

    until(lambda: (found := reader()) is not None and found.pid != first.pid)


def test_a_worker_at_rest_is_small_and_quiet(start):
    """Its part of the whole box's 200 MB resident and 1 % of a core (tests/bench measures the box)."""
    worker = psutil.Process(start().pid)
    time.sleep(5)
    family = [worker, *worker.children(recursive=True)]

    def is_quiet() -> bool:  # other tests share these cores; the bench says 0.01
        before = sum(sum(each.cpu_times()[:2]) for each in family)
        time.sleep(5)
        return sum(sum(each.cpu_times()[:2]) for each in family) - before < 5 * 0.02

    until(is_quiet)  # what has to be looked at once at the start takes a slow machine longer
    # Worker, reader, previews and index: pages they share are counted four times here.
    assert sum(each.memory_info().rss for each in family) < 140_000_000


def test_a_night_begins_by_itself_when_its_window_is_open(start, armoire, database):
    """Nobody asked: the planner saw that it was due, and proved it too."""
    here = datetime.now(tz=ZoneInfo("Europe/Paris"))
    window = Plan(
        window_start=f"{here - timedelta(hours=2):%H:%M}",  # an hour that spring skips is past, too
        window_end=f"{here + timedelta(hours=3):%H:%M}",
    )
    with database.write() as c:
        sources.change(c, sources.get_by_name(c, "partage").id, plan=window)
    start()

    until(lambda: states(database).get("repository.prune") == ["succeeded"])

    assert states(database)["snapshot.take"] == ["succeeded"]
    time.sleep(1)
    assert armoire.json("jobs")["jobs"] == []  # once


def test_setting_a_source_up_twice_makes_nothing_twice(armoire, database):
    """The command line without a worker runs the same jobs."""
    with database.write() as c:
        queue.enqueue(c, SetUpSource(1), now=utc_now())

    assert armoire("backup", "partage").code == 0
    assert states(database)["snapshot.take"] == ["succeeded"]
    assert states(database)["source.set-up"] == ["queued", "succeeded"]  # not asked for: left alone
