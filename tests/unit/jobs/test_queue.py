"""A job is claimed once, runs alone on its lock, and is never lost."""

import sqlite3
import threading
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from appliance.db import sources
from appliance.db.engine import open_database
from appliance.errors import AlreadyQueued, InvalidInput, NoSpace, NotFound
from appliance.jobs import kinds, queue
from appliance.jobs.context import JobContext
from appliance.model import JobState, SourceKind

NOW = datetime(2026, 11, 23, 20, tzinfo=UTC)


def a_source(database, name="accueil"):
    with database.write() as connection:
        return sources.add(
            connection,
            name=name,
            label=name.title(),
            kind=SourceKind.PULLED,
            roots=("/home",),
            now=NOW,
        )


@pytest.fixture
def source(database):
    return a_source(database)


def put(database, spec, **more):
    with database.write() as connection:
        return queue.enqueue(connection, spec, now=NOW, **more)


def take(database, now=NOW, **more):
    with database.write() as connection:
        return queue.claim(connection, runner="box:1", now=now, **more)


def test_the_same_wish_waits_only_once(database, source):
    first = put(database, kinds.TakeSnapshot(source.id))

    with pytest.raises(AlreadyQueued) as raised:
        put(database, kinds.TakeSnapshot(source.id))

    assert raised.value.job_id == first


def test_the_database_itself_refuses_a_second_waiting_or_running_job(database, source):
    """Even code that forgets to ask cannot do it."""
    put(database, kinds.TakeSnapshot(source.id))
    put(database, kinds.Prune(source.id))
    copy = "INSERT INTO job SELECT NULL,kind,spec,wish,lock,state,queued_at,not_before,attempt,source_id,person_id,parent_id,runner,started_at,beat_at,finished_at,cancel_asked_at,progress,error_code,error_facts,result FROM job WHERE id=1"
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(text(copy))
    run = f"UPDATE job SET state='running', started_at='{NOW:%Y-%m-%dT%H:%M:%S.%fZ}'"
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(text(run))


def test_one_job_runs_per_repository_and_others_go_on(database, source):
    other = a_source(database, "serveur")
    take_one = put(database, kinds.TakeSnapshot(source.id))
    put(database, kinds.Prune(source.id))
    take_other = put(database, kinds.TakeSnapshot(other.id))

    assert take(database).id == take_one
    assert take(database).id == take_other
    assert take(database) is None


def test_a_job_is_not_claimed_before_its_time(database, source):
    put(database, kinds.TakeSnapshot(source.id), not_before=NOW + timedelta(hours=1))

    assert take(database) is None
    assert take(database, now=NOW + timedelta(hours=1)) is not None


def test_two_workers_never_get_the_same_job(database, settings):
    """Forty jobs, four claimers at once: each job once."""
    for number in range(40):
        put(database, kinds.CheckMachine(a_source(database, f"poste-{number}").id))
    claimed: list[int] = []
    lock = threading.Lock()

    def work():
        own = open_database(settings.database)
        while True:
            with own.write() as connection:
                job = queue.claim(connection, runner="w", now=NOW)
            if job is None:
                break
            with lock:
                claimed.append(job.id)
        own.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert sorted(claimed) == sorted(set(claimed))
    assert len(claimed) == 40


def test_a_silent_job_is_interrupted_and_queued_again(database, source):
    put(database, kinds.TakeSnapshot(source.id))
    job = take(database)

    with database.write() as connection:
        assert queue.interrupt_silent(connection, now=NOW + timedelta(seconds=30)) == []
        ended = queue.interrupt_silent(connection, now=NOW + timedelta(seconds=90))

    assert [each.state for each in ended] == [JobState.INTERRUPTED]
    again = take(database, now=NOW + timedelta(hours=1))
    assert (again.kind, again.attempt) == (job.kind, 2)


def test_a_job_that_kills_its_process_is_not_run_for_ever(database, source):
    put(database, kinds.TakeSnapshot(source.id))
    now = NOW
    runs = 0
    while (job := take(database, now=now)) is not None:
        runs += 1
        now += timedelta(hours=3)
        with database.write() as connection:
            queue.interrupt_silent(connection, now=now)
        now += timedelta(hours=3)

    assert runs == kinds.TakeSnapshot.attempts


def test_a_restore_that_was_cut_is_not_started_again_by_itself(database, source):
    put(database, kinds.RestoreFiles(source.id, 1, ("YQ",), "folder"))
    take(database)

    with database.write() as connection:
        queue.interrupt_silent(connection, now=NOW + timedelta(hours=1))

    assert take(database, now=NOW + timedelta(days=1)) is None


def test_cancelling_a_waiting_job_ends_it_and_asking_a_running_one_stops_its_heart(
    database, source
):
    waiting = put(database, kinds.Prune(source.id))
    with database.write() as connection:
        assert queue.ask_cancel(connection, waiting, now=NOW) is JobState.CANCELLED
    running = put(database, kinds.TakeSnapshot(source.id))
    take(database)
    with database.write() as connection:
        assert not queue.beat(connection, running, now=NOW)
        assert queue.ask_cancel(connection, running, now=NOW) is JobState.RUNNING
        assert queue.beat(connection, running, now=NOW)
    with database.write() as connection, pytest.raises(NotFound):
        queue.ask_cancel(connection, 999, now=NOW)


def test_an_ended_job_stays_ended(database, source):
    """A late process cannot turn an interrupted job into a success."""
    job_id = put(database, kinds.TakeSnapshot(source.id))
    take(database)
    with database.write() as connection:
        queue.interrupt_silent(connection, now=NOW + timedelta(hours=1))
        assert not queue.finish(connection, job_id, JobState.SUCCEEDED, now=NOW)
        assert queue.get(connection, job_id).state is JobState.INTERRUPTED


def test_an_error_is_stored_with_its_facts(database, source):
    job_id = put(database, kinds.TakeSnapshot(source.id))
    take(database)
    with database.write() as connection:
        queue.finish(connection, job_id, JobState.FAILED, now=NOW, error=NoSpace("/srv", 1, 2))
        job = queue.get(connection, job_id)

    assert job.error_code == "box.no-space"
    assert job.error_facts["free_bytes"] == 1


@pytest.mark.parametrize("kind", kinds.KINDS.values(), ids=lambda k: k.kind)
def test_every_spec_survives_the_database(kind):
    values = {
        "source_id": 3,
        "snapshot_id": 4,
        "target_id": 5,
        "paths": ("YQ",),
        "destination": "folder",
        "share_id": 6,
        "path": "YQ",
        "stored": "Yg",
        "draft": "0" * 32,
    }
    spec = kind(**{each.name: values[each.name] for each in fields(kind) if each.name in values})

    assert kinds.from_json(spec.kind, spec.to_json()) == spec


def test_an_unknown_kind_or_field_is_refused():
    with pytest.raises(InvalidInput):
        kinds.from_json("repository.destroy", {})
    with pytest.raises(InvalidInput):
        kinds.from_json("snapshot.take", {"source_id": 1, "force": True})
    with pytest.raises(InvalidInput):
        kinds.from_json("snapshot.take", {})


def test_the_context_beats_reports_and_hears_a_cancel(database, settings, source, monkeypatch):
    monkeypatch.setattr(queue, "BEAT_S", 0.1)
    job_id = put(database, kinds.TakeSnapshot(source.id))
    job = take(database)
    with JobContext(settings, database, job) as context:
        context.step("reading")
        context.report(10, 100, files=3)
        with database.write() as connection:
            queue.ask_cancel(connection, job_id, now=NOW)
        assert context._stop.wait(60)
    with database.read() as connection:
        found = queue.get(connection, job_id).progress

    assert (found.step, found.done, found.total, found.files) == ("reading", 10, 100, 3)


def test_the_state_file_is_plain_sqlite_in_wal(database, settings):
    with sqlite3.connect(settings.data / "state.sqlite") as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    plain.close()
