"""However the coming back of a folder ends, nothing of it stays behind, and nothing else is touched."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.clock import utc_now
from appliance.db import shares
from appliance.disk import bin as bins
from appliance.errors import InvalidInput, ShareFull, ShareMoved, WorkerUnreachable
from appliance.jobs import queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import RestoreFolder, from_json
from appliance.model import Job, JobState, Role
from appliance.worker import job_main
from appliance.worker.tasks import folder_restore
from tests.integration.test_folder_comes_back import (
    Context,
    Site,
    assert_back,
    made_in,
    once_there_are,
    work_while,
)

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with made_in(tmp_path_factory.mktemp("ends")) as made:
        yield made


@pytest.fixture
def site(built: Site) -> Site:
    built.empty()
    return built


def attempt(site: Site, job: Job, happens: Callable[[], object]) -> JobState:
    """Make one attempt as the process of a job does, its end and what follows from it included."""

    def run(context: JobContext, spec: RestoreFolder) -> JobState:
        beside = Context(context.settings, context.database, context.job)
        beside.happens = happens
        return folder_restore.run(beside, spec)

    with site.box.database.write() as connection:
        assert queue.claim(connection, runner="tests", now=utc_now(), only=job.id)
    numbers = (signal.SIGTERM, signal.SIGINT)
    ours = [signal.getsignal(number) for number in numbers]
    try:
        return job_main.run_one(
            site.box.settings, site.box.database, job.id, lambda: {RestoreFolder.kind: run}
        )
    finally:  # a job's process has them for itself
        for number, handler in zip(numbers, ours, strict=True):
            signal.signal(number, handler)


def unreachable() -> None:
    raise WorkerUnreachable


def fault() -> None:
    raise OSError(5, "input/output error")


def waiting(site: Site) -> Job:
    with site.box.database.write() as connection:
        (job,) = queue.waiting(connection)
        queue.hurry(connection, job.id, now=utc_now())
    return job


def parts(site: Site) -> list[str]:
    return os.listdir(bins.own_folder(site.share, bins.PARTS))


@pytest.mark.parametrize("way", ["page", "tasks", "api"])
def test_stopped_between_two_attempts_nothing_stays(site: Site, way: str) -> None:
    """It waits for its next attempt: no process of it is there to tidy, yet what the page says is true at once."""
    job = site.ask()
    assert attempt(site, job, once_there_are(site, 5, unreachable)) is JobState.FAILED
    again = waiting(site)
    assert len(site.drafts()) >= 5
    address = {
        "page": f"/disk/documents/past/{job.id}/stop",
        "tasks": f"/jobs/{again.id}/cancel",
        "api": f"/api/v1/jobs/{again.id}/cancel",
    }[way]
    answer = site.as_role(Role.OWNER).post(address)
    assert answer.status_code in {200, 202, 303}, answer.text
    assert site.job(again.id).state is JobState.CANCELLED
    assert "Nothing of it was written" in site.page(job)
    assert site.visible() == parts(site) == []


def test_after_the_last_attempt_nothing_stays(site: Site) -> None:
    """What was fetched is kept for as long as somebody goes on with it, and no longer."""
    job = site.ask()
    for number in (1, 2, 3):
        assert site.job(job.id).attempt == number
        attempt(site, job, once_there_are(site, number, unreachable))
        if number < 3:
            assert len(site.drafts()) >= number
            job = waiting(site)
    assert site.visible() == parts(site) == []


def test_a_fault_of_the_disk_leaves_nothing(site: Site) -> None:
    """It is not tried again by itself, so nobody would go on."""
    job = site.ask()
    assert attempt(site, job, once_there_are(site, 5, fault)) is JobState.FAILED
    assert site.visible() == parts(site) == []
    with site.box.database.read() as connection:
        assert queue.waiting(connection) == []


@pytest.mark.parametrize("is_relative", [False, True])
def test_a_task_that_names_another_folder_touches_nothing(site: Site, is_relative: bool) -> None:
    """Whoever wrote it into the queue: a draft is 32 digits, or the task fails before anything else."""
    job = site.ask()
    victim = site.box.settings.data / "repositories" / "another"
    victim.mkdir(parents=True, exist_ok=True)
    (victim / "segment").write_text("a backup")
    there = bins.own_folder(site.share, bins.PARTS)
    draft = os.path.relpath(victim, there) if is_relative else str(victim)
    spec = from_json(job.kind, job.spec | {"draft": draft})
    with site.box.database.write() as connection:
        queue.ask_cancel(connection, job.id, now=utc_now())
        number = queue.enqueue(connection, spec, now=utc_now(), person_id=job.person_id)
    assert attempt(site, site.job(number), lambda: None) is JobState.FAILED
    assert site.job(number).error_code == InvalidInput.code
    assert (victim / "segment").read_text() == "a backup"
    assert site.visible() == parts(site) == []
    with site.box.database.write() as connection:
        number = queue.enqueue(connection, spec, now=utc_now(), person_id=job.person_id)
    assert site.client.post(f"/jobs/{number}/cancel").status_code == 303
    assert (victim / "segment").read_text() == "a backup"


def test_a_share_that_moves_meanwhile_gets_the_folder_where_it_lies_now(
    site: Site, tmp_path: Path
) -> None:
    """Neither half in its former place nor anything left there; the next attempt begins anew."""
    job = site.ask()
    before = site.share

    def move(folder: Path) -> None:
        with site.box.database.write() as connection:
            shares.change(connection, before.id, folder=str(folder))

    try:
        ended = attempt(site, job, once_there_are(site, 5, lambda: move(tmp_path)))
        assert ended is JobState.FAILED
        assert site.job(job.id).error_code == ShareMoved.code
        assert site.visible() == parts(site) == []
        assert attempt(site, waiting(site), lambda: None) is JobState.SUCCEEDED
        assert_back(tmp_path / "Patients")
        assert site.visible() == []
    finally:
        move(before.folder)


def test_a_quota_made_smaller_meanwhile_holds(site: Site) -> None:
    """The room is asked for as it is now, not as it was at the beginning."""
    job = site.ask()
    with site.box.database.write() as connection:
        shares.change(connection, site.share.id, used_bytes=0)

    def lower() -> None:
        with site.box.database.write() as connection:
            shares.change(connection, site.share.id, quota_bytes=1_000)

    with pytest.raises(ShareFull):
        work_while(site, job, once_there_are(site, 5, lower))
    assert site.visible() == parts(site) == []


def test_a_process_that_woke_up_late_gives_nothing_away(site: Site) -> None:
    """Its heart stood still, the task was taken from it: it stops by itself and leaves the draft to its successor."""
    job = site.ask()

    def take() -> None:
        with site.box.database.write() as connection:
            queue.interrupt(connection, job.id, now=utc_now())

    assert attempt(site, job, once_there_are(site, 5, take)) is JobState.INTERRUPTED
    assert site.visible() == []
    assert len(site.drafts()) >= 5
    assert attempt(site, waiting(site), lambda: None) is JobState.SUCCEEDED
    assert_back(site.share.folder / "Patients")
