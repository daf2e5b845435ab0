"""What a wrong clock had planned for the future is brought back when a person accepts the time."""

from datetime import UTC, datetime

from appliance.accounts import people, sessions
from appliance.jobs import clock_watch, kinds, queue
from appliance.model import JobState, Role
from appliance.vault import tokens
from tests.unit.jobs.test_queue import a_source

NOW = datetime(2026, 11, 23, 20, tzinfo=UTC)
THEN = NOW.replace(year=2099)


def test_waiting_jobs_begin_silent_ones_are_noticed_and_sessions_of_that_time_end(database):
    source = a_source(database)
    with database.write() as c:
        person = people.add(
            c, login="anne.martin", name="Anne Martin", role=Role.OWNER, language="fr",
            password_hash=None, now=NOW,
        )  # fmt: skip
        token = sessions.start(c, person.id, now=THEN, address="127.0.0.1", user_agent="x")
        kept = sessions.start(c, person.id, now=NOW, address="127.0.0.1", user_agent="x")
        running = queue.enqueue(c, kinds.TakeSnapshot(source.id), now=THEN)
        queue.claim(c, runner="gone:1", now=THEN)
        queue.enqueue(c, kinds.CheckMachine(source.id), now=THEN)

    with database.write() as c:
        clock_watch.accept(c, now=NOW, actor="command")

    later = NOW.replace(hour=21)
    with database.write() as c:
        assert queue.claim(c, runner="a:1", now=NOW).kind == kinds.CheckMachine.kind
        silent = queue.interrupt_silent(c, now=later)
        assert running in [job.id for job in silent]
        assert queue.get(c, running).state is JobState.INTERRUPTED
    with database.read() as c:
        rows = c.exec_driver_sql("SELECT token_hash, revoked_at FROM session").all()
    revoked = {row.token_hash: row.revoked_at is not None for row in rows}
    assert revoked == {tokens.digest(token): True, tokens.digest(kept): False}


def test_without_an_accepted_time_every_record_is_believed(database):
    with database.read() as c:
        assert clock_watch.believed(c, THEN, snapshot_id=1) == THEN


def test_only_records_made_before_are_doubted(database):
    source = a_source(database)
    with database.write() as c:
        first = queue.enqueue(c, kinds.CheckMachine(source.id), now=THEN)
        clock_watch.accept(c, now=NOW, actor="command")
        assert clock_watch.believed(c, THEN, job_id=first) == NOW
        assert clock_watch.believed(c, THEN, job_id=first + 1) == THEN
