"""A drill over a real SFTP host: an account that may only read is enough; a line that is cut proves nothing."""

import random
import signal
import time

import pytest

from appliance.clock import utc_now
from appliance.db import secrets, targets
from appliance.jobs import drill_asking, drill_readings, drill_scratch
from appliance.jobs.kinds import RunDrill
from appliance.model import JobState, Outcome
from appliance.vault import words
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from tests.support.copied_box import tree_of
from tests.support.delay import DelayProxy
from tests.support.drilled_box import DrilledBox
from tests.support.sshd import SshServer, make_key

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    made = DrilledBox(tmp_path_factory.mktemp("box"))
    made.work()
    made.push()
    made.close()
    return made


@pytest.fixture
def box(pushed, tmp_path):
    copy = pushed.copy_to(tmp_path / "box")
    yield copy
    copy.close()


@pytest.fixture
def host(box, tmp_path):
    """A host that lets nobody write, with the box's key in."""
    public = make_key(tmp_path / "id")
    with SshServer(config="ForceCommand internal-sftp -R") as server:
        server.authorize(public)
        name = f"target:{box.target.id}:key"
        sealed = seal(Secret((tmp_path / "id").read_bytes()), box.settings.keys)
        with box.database.write() as connection:
            secrets.put_sealed(connection, name, sealed, now=utc_now())
        move(box, server, server.port)
        yield server


def move(box, server, port) -> None:
    """Say that the copy is reached by this port."""
    place = {
        "host": server.host,
        "port": port,
        "user": server.user,
        "folder": str(box.disk),
        "host_key": server.host_key,
        "connections": 2,
    }
    with box.database.write() as connection:
        targets.change(connection, box.target.id, kind="sftp", place=place)


def begin(box):
    secret = words.join([box.words])
    drill_asking.ask(box.database, box.settings, box.target.id, secret, now=utc_now())
    return box.start(RunDrill(box.target.id))


def drill(box):
    job_id, process = begin(box)
    process.wait(120)
    return box.job(job_id)


def verdicts(box):
    with box.database.read() as connection:
        return [each.outcome for each in drill_readings.of_all(connection)]


def nothing_left(box) -> bool:
    with box.database.read() as connection:
        there = secrets.find_sealed(connection, drill_scratch.WORDS) is not None
    return not there and not (box.settings.data / "drill").exists()


def test_an_account_that_may_only_read_is_enough(box, host):
    """Which also shows that a drill writes nothing there."""
    before = tree_of(box.disk)

    job = drill(box)

    assert job.state is JobState.SUCCEEDED, job
    assert verdicts(box) == [Outcome.PROVEN]
    assert tree_of(box.disk) == before
    assert nothing_left(box)


def test_a_cut_line_is_said_proves_nothing_and_leaves_nothing(box, host):
    """Half-way through the repositories."""
    whole = sum(path.stat().st_size for path in (box.disk / "objects").rglob("*") if path.is_file())
    with DelayProxy(host.port, rtt_ms=0.1, cut_after_bytes=whole // 3) as line:
        move(box, host, line.port)
        job = drill(box)

    assert (job.state, job.error_code) == (JobState.FAILED, "target.unreachable")
    assert verdicts(box) == []
    assert nothing_left(box)


def test_a_host_that_goes_away_for_good_is_said(box, host):
    job_id, process = begin(box)
    limit = time.monotonic() + 90
    while not (box.settings.data / "drill" / "box").exists() and time.monotonic() < limit:
        time.sleep(0.005)
    host.stop_process()
    host.cut_sessions()
    process.wait(120)

    job = box.job(job_id)
    assert job.state is JobState.FAILED
    assert str(job.error_code).startswith("target."), job.error_code
    assert verdicts(box) == []
    assert nothing_left(box)


def test_killed_over_the_line_it_leaves_nothing_here_and_nothing_there(box, host):
    """Sessions at the host end, too."""
    dice, before = random.Random(7), tree_of(box.disk)
    for _ in range(2):
        _, process = begin(box)
        limit = time.monotonic() + 90
        while not (box.settings.data / "drill").exists() and time.monotonic() < limit:
            time.sleep(0.005)
        time.sleep(dice.uniform(0.05, 0.9))
        process.send_signal(signal.SIGKILL)
        process.wait()
        box.interrupt_all()
        drill_scratch.sweep(box.settings, box.database)
        assert nothing_left(box)
    assert tree_of(box.disk) == before
    assert drill(box).state is JobState.SUCCEEDED
