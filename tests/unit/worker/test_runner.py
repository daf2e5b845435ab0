"""The runner starts each job in a process of its own and knows when one died."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from appliance.clock import utc_now
from appliance.jobs import queue
from appliance.jobs.kinds import KINDS, CheckMachine, CheckTarget, Prune, PushCopy, TakeSnapshot
from appliance.model import Job, JobId, JobState, SourceId
from appliance.worker import locks
from appliance.worker.runner import Runner, choose
from tests.support import jobs
from tests.support.jobs import Work, diary

END_S = 30.0


@pytest.fixture(autouse=True)
def known_kinds(monkeypatch):
    """The tests' own kind of job, known here as it is in their job process."""
    monkeypatch.setitem(KINDS, Work.kind, Work)


@pytest.fixture
def runner(settings, database) -> Iterator[Runner]:
    """A runner over real job processes, ended with them."""
    made = Runner(settings, database, jobs.PROGRAM, log=open(os.devnull, "wb"))  # noqa: SIM115
    yield made
    made.stop(grace_s=0.1)
    made.log.close()


@pytest.fixture
def put(database):
    """Queues a spec and returns the job's id."""

    def add(spec, **options) -> JobId:
        with database.write() as connection:
            return queue.enqueue(connection, spec, now=utc_now(), **options)

    return add


@pytest.fixture
def look(database):
    """Returns the job as it is now."""

    def get(job_id) -> Job:
        with database.read() as connection:
            return queue.get(connection, job_id)

    return get


def until(runner: Runner, condition) -> None:
    """Let the runner turn until the condition holds."""
    end = time.monotonic() + END_S
    while not condition():
        assert time.monotonic() < end, "it took too long"
        runner.turn(utc_now())
        time.sleep(0.02)


def ended(look, job_id):
    return lambda: look(job_id).state in queue.ENDED


@pytest.mark.parametrize(
    ("how", "state", "code"),
    [
        ("done", JobState.SUCCEEDED, None),
        ("warn", JobState.WARNED, None),
        ("fail", JobState.FAILED, "machine.root-unreadable"),
        ("crash", JobState.FAILED, "job.crashed"),
    ],
)
def test_a_job_ends_as_its_work_did(runner, put, look, how, state, code):
    """The state and the error's code are what the pages show."""
    job_id = put(Work(how))

    until(runner, ended(look, job_id))

    found = look(job_id)
    assert (found.state, found.error_code) == (state, code)
    assert found.result == ({"figures": 3} if code is None else {})


def test_no_file_name_reaches_the_database_or_the_log(settings, database, put, look, tmp_path):
    """Beam 7: an OSError names a file in its text; the log says where it rose instead."""
    with (tmp_path / "log").open("wb") as log:
        runner = Runner(settings, database, jobs.PROGRAM, log=log)
        crash, fail = put(Work("crash")), put(Work("fail"))
        until(runner, lambda: ended(look, crash)() and ended(look, fail)())
        runner.stop()
    written = (tmp_path / "log").read_text("utf-8")

    assert "FileNotFoundError at" in written
    assert "DUPONT" not in written
    assert "DUPONT" not in str(look(crash).error_facts) + str(look(fail).error_facts)


def test_a_retryable_error_is_tried_again_later(runner, database, put, look):
    """A machine that is off for a moment costs a minute, not a night."""
    job_id = put(Work("later"))

    until(runner, ended(look, job_id))

    with database.read() as connection:
        (again,) = queue.waiting(connection)
    assert look(job_id).state is JobState.FAILED
    assert (again.attempt, again.not_before > utc_now()) == (2, True)


def test_a_job_that_dies_is_interrupted_and_queued_again(runner, database, put, look):
    """kill -9 at any line: the runner sees it at once, without waiting for silence."""
    job_id = put(Work("die"))

    until(runner, ended(look, job_id))

    with database.read() as connection:
        (again,) = queue.waiting(connection)
    assert look(job_id).state is JobState.INTERRUPTED
    assert (again.kind, again.attempt) == ("test.work", 2)


def test_a_person_cancels_a_running_job(runner, database, put, look):
    """It stops within a heartbeat and is not tried again."""
    job_id = put(Work("wait"))
    until(runner, lambda: runner.running == [job_id])

    with database.write() as connection:
        queue.ask_cancel(connection, job_id, now=utc_now())
    until(runner, ended(look, job_id))

    with database.read() as connection:
        assert queue.waiting(connection) == []
    assert look(job_id).state is JobState.CANCELLED


def test_stopping_the_box_puts_the_work_back_without_using_up_an_attempt(
    runner, settings, database, put, look
):
    """A restart in the night is nobody's failure: the same work waits, ready at once."""
    job_id = put(Work("wait"))
    until(runner, lambda: len(diary(settings)) == 1)

    runner.stop(grace_s=20)
    runner.reap(utc_now())

    with database.read() as connection:
        (again,) = queue.waiting(connection)
    assert look(job_id).state is JobState.INTERRUPTED
    assert (again.attempt, again.not_before <= utc_now()) == (1, True)


def test_a_deaf_job_is_killed_after_the_grace(runner, settings, put, look):
    """Stopping the box ends whatever happens."""
    job_id = put(Work("deaf"))
    until(runner, lambda: len(diary(settings)) == 1)
    pid = int(diary(settings)[0].split()[-1])

    runner.stop(grace_s=0.2)
    runner.reap(utc_now())

    assert not psutil.pid_exists(pid)
    assert look(job_id).state is JobState.INTERRUPTED


def test_one_lock_is_never_shared_and_other_work_goes_on(runner, settings, put, look):
    """Two jobs about one repository run one after the other; a third about another one beside them."""
    first, second = put(Work("wait", on="repository:1")), put(Work("done", on="repository:1"))
    third = put(Work("done", on="repository:2"))

    until(runner, ended(look, third))

    assert look(first).state is JobState.RUNNING
    assert look(second).state is JobState.QUEUED


def test_work_that_follows_is_done_too_and_knows_its_parent(runner, database, put, look):
    """A snapshot queues its proof: the chain of a night can be followed."""
    job_id = put(Work("follow"))
    until(runner, ended(look, job_id))
    with database.read() as connection:
        (child,) = queue.children(connection, job_id)

    until(runner, ended(look, child.id))

    assert look(child.id).state is JobState.SUCCEEDED


def test_a_runner_takes_only_what_is_its_own(runner, put, look):
    """The command line runs what it queued, not somebody else's night."""
    theirs, mine = put(Work("warn")), put(Work("done"))

    end = time.monotonic() + END_S
    while look(mine).state is not JobState.SUCCEEDED:
        assert time.monotonic() < end
        runner.turn(utc_now(), mine=lambda job: job.id == mine)
        time.sleep(0.02)

    assert look(theirs).state is JobState.QUEUED


def test_a_job_outlives_its_runner_and_a_later_one_leaves_it_alone(
    runner, settings, database, put, look
):
    """A restart of the worker loses no night: the process goes on and writes its own end."""
    job_id = put(Work("wait"))
    until(runner, lambda: len(diary(settings)) == 1)
    later = Runner(settings, database, jobs.PROGRAM)

    assert locks.is_held(locks.of_job(settings, job_id))
    assert later.bury(utc_now() + timedelta(seconds=30)) == []
    assert look(job_id).state is JobState.RUNNING


def test_a_later_runner_buries_a_job_whose_process_is_gone(settings, database, put, look):
    """Power cut, or kill -9 of everything: seen from the lock file, long before silence says so."""
    first = Runner(settings, database, jobs.PROGRAM)
    job_id = put(Work("deaf"))
    until(first, lambda: len(diary(settings)) == 1)
    os.kill(int(diary(settings)[0].split()[-1]), signal.SIGKILL)
    for _job, process in first._children.values():
        process.wait()
    later = Runner(settings, database, jobs.PROGRAM)

    assert later.bury(utc_now()) == []  # it might be starting
    assert later.bury(utc_now() + timedelta(seconds=30)) == [job_id]

    with database.read() as connection:
        waiting = [job.attempt for job in queue.waiting(connection)]
    assert waiting == [2]


def test_nothing_is_removed_while_the_clock_is_behind_the_records(
    runner, settings, database, put, look
):
    """Beam 6: how old a snapshot is cannot be known, so pruning fails with what to do."""
    from appliance.db import facts, sources
    from appliance.model import SourceKind

    now = utc_now()
    with database.write() as connection:
        source = sources.add(
            connection, name="a", label="a", kind=SourceKind.SHARE, roots=("/a",), now=now
        )
        facts.put(connection, "clock.last", (now + timedelta(days=1)).isoformat(), now=now)
    job_id = put(Prune(source.id))

    until(runner, ended(look, job_id))

    assert look(job_id).error_code == "box.clock-wrong"
    assert diary(settings) == []


# --- which job begins: a pure decision ---------------------------------------------------------

NOW = datetime(2026, 3, 12, 22, tzinfo=UTC)


def job(number: int, spec, *, later_s: float = 0) -> Job:
    return Job(
        JobId(number), spec.kind, spec.to_json(), spec.lock, JobState.QUEUED, NOW,
        NOW + timedelta(seconds=later_s), 1,
    )  # fmt: skip


def test_a_person_at_the_screen_need_not_wait_for_the_night():
    """Two long jobs fill the box; a check of a machine still begins."""
    night = [job(n, TakeSnapshot(SourceId(n))) for n in (1, 2)]
    check = job(3, CheckMachine(SourceId(9)))

    assert choose([check, job(4, Prune(SourceId(4)))], running=night, places=2, now=NOW) == [check]


def test_a_first_copy_that_takes_days_keeps_no_night_from_beginning():
    """Work on copies has places of its own, and nights do not keep a copy from leaving either."""
    pushes = [job(n, PushCopy(n)) for n in (1, 2)]
    night, push = job(3, TakeSnapshot(SourceId(3))), job(4, PushCopy(4))

    assert choose([night, push], running=pushes, places=2, now=NOW) == [night]
    nights = [job(n, TakeSnapshot(SourceId(n))) for n in (1, 2)]
    assert choose([night, push], running=nights, places=2, now=NOW) == [push]
    check = job(5, CheckTarget(1))
    assert choose([check], running=[*pushes, *nights], places=2, now=NOW) == [check]


def test_the_oldest_wish_is_first_and_later_ones_wait_for_their_time():
    """Order is by the time from which a job may run, then by its number."""
    early, late = job(5, TakeSnapshot(SourceId(5)), later_s=-60), job(1, TakeSnapshot(SourceId(1)))
    future = job(2, TakeSnapshot(SourceId(2)), later_s=60)

    assert choose([late, early, future], running=[], places=3, now=NOW) == [early, late]
    assert choose([late, early, future], running=[], places=1, now=NOW) == [early]
