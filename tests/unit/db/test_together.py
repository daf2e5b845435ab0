"""Many writes share a commit; each happens whole or not at all."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from appliance.clock import utc_now
from appliance.db import facts
from appliance.db.together import Together
from appliance.errors import AlreadyExists
from appliance.ledger import chain, events
from tests.support.armoire import until


def put(name, value=1):
    def change(connection):
        facts.put(connection, name, value, now=utc_now())
        return name

    return change


@pytest.fixture
def commits(database):
    """How many commits there were."""
    counted = []
    event.listen(database.engine, "commit", lambda connection: counted.append(connection))
    return counted


@pytest.fixture
def gathered(database):
    """A writer that is held back until several changes wait."""
    begin = threading.Event()

    class Held:
        together = Together(database.write)

        def run_all(self, changes):
            """Run them at once; return results and errors in order."""

            def hold(_):
                begin.wait(20)

            with ThreadPoolExecutor(len(changes) + 1) as pool:
                first = pool.submit(self.together.run, hold)
                until(self.together._work.locked, every_s=0.005)
                futures = [pool.submit(self.together.run, each) for each in changes]
                until(lambda: len(self.together._waiting) >= len(changes), every_s=0.005)
                begin.set()
                first.result(20)
                return [each.exception(20) or each.result(20) for each in futures]

    return Held()


def test_one_alone_is_a_write_like_any_other(database, commits):
    """Its result comes back, and it is stored."""
    assert database.write_together(put("a")) == "a"
    with database.read() as connection:
        assert facts.find(connection, "a") == 1


def test_those_that_wait_at_once_are_committed_once(database, gathered, commits):
    """Twenty openings wait for the disk once; each has its own answer."""
    before = len(commits)
    found = gathered.run_all([put(f"n{number}") for number in range(20)])

    assert found == [f"n{number}" for number in range(20)]
    assert len(commits) - before == 2  # the one that held them back, and theirs
    with database.read() as connection:
        assert all(facts.find(connection, f"n{number}") == 1 for number in range(20))


def test_one_that_fails_fails_alone(database, gathered):
    """The others are stored, of it nothing; who asked for it is told."""

    def half(connection):
        facts.put(connection, "half", 1, now=utc_now())
        raise AlreadyExists("share", "documents")

    found = gathered.run_all([put("a"), half, put("b")])

    assert [found[0], found[2]] == ["a", "b"]
    assert isinstance(found[1], AlreadyExists)
    with database.read() as connection:
        assert facts.find(connection, "half") is None
        assert facts.find(connection, "b") == 1


def test_when_the_commit_fails_everybody_is_told(database, gathered):
    """Nobody takes for stored what is not."""
    held = []

    def refuse(_):
        if held:
            raise OSError(28, "no space")
        held.append(1)  # the one that holds them back is let through

    event.listen(database.engine, "commit", refuse)
    found = gathered.run_all([put("a"), put("b")])
    event.remove(database.engine, "commit", refuse)

    assert [type(each) for each in found] == [OSError, OSError]
    with database.read() as connection:
        assert facts.find(connection, "a") is None
    assert database.write_together(put("a")) == "a"


@pytest.fixture
def full_after(database):
    """Let the database's file grow by no page: SQLite says «disk is full» as the disk would."""

    def fill(connection):
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    return fill


def test_when_the_disk_is_full_nothing_is_said_to_be_stored(database, gathered, full_after):
    """SQLite then takes back the whole transaction by itself: who was done before is told so too."""

    def too_much(connection):
        full_after(connection)
        facts.put(connection, "large", "x" * 200_000, now=utc_now())

    found = gathered.run_all([put("a"), too_much, put("b")])

    with database.read() as connection:
        kept = [facts.find(connection, name) for name in ("a", "large", "b")]
    assert [isinstance(each, OperationalError) for each in found] == [True, True, True]
    assert kept == [None, None, None]
    assert all("full" in str(each) for each in found), found
    database.engine.dispose()  # with its connections the limit is gone
    assert database.write_together(put("c")) == "c"


def test_the_journal_stays_one_chain(database):
    """A hundred entries from eight threads: none is lost, each names the one before it."""

    def note(number):
        def change(connection):
            return events.record(
                connection, at=utc_now(), event="file.opened", subject="share:1", n=number
            )

        return database.write_together(change).seq

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(note, range(100)))

    assert sorted(numbers) == list(range(1, 101))
    with database.read() as connection:
        assert chain.verify(connection) == 100
