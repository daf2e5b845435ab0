"""What was read is remembered until anybody, in any process, writes."""

import subprocess
import sys
import threading

import pytest

from appliance.clock import utc_now
from appliance.db import facts
from appliance.db.engine import open_database


class Looks:
    """Counts how often the database was really read."""

    def __init__(self, database):
        self.database = database
        self.count = 0

    def __call__(self, connection):
        self.count += 1
        return facts.find(connection, "what")

    def recall(self, key="key"):
        return self.database.recall(key, self)


@pytest.fixture
def looks(database):
    return Looks(database)


def write(database, value):
    with database.write() as connection:
        facts.put(connection, "what", value, now=utc_now())


def test_what_nobody_changed_is_read_once(looks):
    """The second request costs no query."""
    write(looks.database, "a")

    assert [looks.recall() for _ in range(5)] == ["a"] * 5
    assert looks.count == 1


def test_a_commit_is_seen_by_the_next_request(looks):
    """Whatever it was about: nobody has to know who depends on what."""
    for value in ("a", "b", None, "c"):
        write(looks.database, value)
        assert looks.recall() == value
        assert looks.recall() == value
    assert looks.count == 4


def test_a_commit_of_another_process_is_seen_too(looks):
    """The worker, or a command, ends a session: the web knows with the next request."""
    write(looks.database, "a")
    assert looks.recall() == "a"
    code = (
        "import sys\n"
        "from appliance.clock import utc_now\n"
        "from appliance.db import facts\n"
        "from appliance.db.engine import open_database\n"
        "d = open_database(sys.argv[1])\n"
        "with d.write() as c: facts.put(c, 'what', 'of another', now=utc_now())\n"
    )
    url = looks.database.engine.url.render_as_string(hide_password=False)
    subprocess.run([sys.executable, "-c", code, url], check=True, timeout=60)

    assert looks.recall() == "of another"


def test_what_was_rolled_back_changes_nothing(looks):
    """Only what was committed counts."""
    write(looks.database, "a")
    assert looks.recall() == "a"
    with pytest.raises(ZeroDivisionError), looks.database.write() as connection:
        facts.put(connection, "what", "never", now=utc_now())
        raise ZeroDivisionError

    assert looks.recall() == "a"


def test_an_error_is_not_remembered(looks):
    """A look that failed is made again."""

    def fail(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        looks.database.recall("key", fail)
    assert looks.recall() is None
    assert looks.count == 1


def test_keys_are_kept_apart_and_not_without_end(looks, monkeypatch):
    """Somebody who invents cookies fills no memory."""
    monkeypatch.setattr("appliance.db.memory.MOST", 10)
    for number in range(25):
        assert looks.database.recall(number, lambda _, n=number: n * 2) == number * 2

    assert len(looks.database._memory._kept) <= 10


def test_while_others_write_no_thread_ever_sees_an_older_value(looks):
    """What was read before a commit is never taken for what is there after it."""
    write(looks.database, 0)
    wrong = []
    done = threading.Event()
    floor = [0]

    def read():
        while not done.is_set():
            least = floor[0]
            seen = looks.database.recall("n", lambda c: facts.find(c, "what"))
            if seen < least:
                wrong.append((seen, least))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for each in readers:
        each.start()
    for number in range(1, 40):
        write(looks.database, number)
        floor[0] = number
    done.set()
    for each in readers:
        each.join()

    assert wrong == []


def test_what_was_read_before_the_file_was_opened_again_is_not_taken_for_new(looks):
    """SQLite begins its count anew with each opening: an older reading must not come back under its number."""
    write(looks.database, "old")

    def slow(connection):
        seen = facts.find(connection, "what")
        write(looks.database, "new")
        looks.database._memory.close()  # as after an error in another thread
        looks.database.moment()
        return seen

    assert looks.database.recall("key", slow) == "old"
    assert looks.recall() == "new"


def test_a_database_that_cannot_be_watched_is_read_as_ever(looks, tmp_path):
    """Slower, never wrong."""
    write(looks.database, "a")
    looks.database._memory._path = tmp_path / "not there"

    assert [looks.recall(), looks.recall()] == ["a", "a"]
    assert looks.count == 2


def test_a_closed_database_remembers_nothing(tmp_path):
    """No file stays open behind it."""
    database = open_database(f"sqlite:///{tmp_path}/state.sqlite", create=True)
    database.recall("key", lambda _: 1)
    database.close()

    assert database._memory._connection is None
    assert database._memory._kept == {}


def test_a_request_that_began_before_a_commit_hides_it_from_nobody(looks):
    """Its readings are of its beginning, or newer; what it reads late is not kept for those who come after."""
    write(looks.database, "a")
    early = looks.database.moment()
    assert early.recall("key", looks) == "a"
    write(looks.database, "b")

    assert early.recall("key", looks) in {"a", "b"}
    assert looks.recall() == "b"
    assert early.recall("key", looks) == "b"
    write(looks.database, "c")
    assert early.recall("another", looks) == "c"
    write(looks.database, "d")
    assert looks.recall("another") == "d"


def test_a_request_asks_once_whether_somebody_committed(looks):
    """However many readings it needs."""
    write(looks.database, "a")
    of_this = looks.database.moment()
    assert [of_this.recall("key", looks) for _ in range(3)] == ["a"] * 3
    assert looks.count == 1
    write(looks.database, "b")
    assert of_this.recall("key", looks) == "a"  # of its moment
    assert looks.database.moment().recall("key", looks) == "b"
