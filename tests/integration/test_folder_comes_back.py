"""A folder of a share's night comes back as a task: however large, however often its process dies, whole or not at all."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from subprocess import CalledProcessError

import pytest
from starlette.testclient import TestClient

from appliance.accounts import app_passwords
from appliance.accounts.app_passwords import Kind, Scope
from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import open_database
from appliance.db.shares import Share
from appliance.disk import actions
from appliance.disk import bin as bins
from appliance.errors import JobCancelled, NotAllowed, NotFound, ShareFull, WorkerUnreachable
from appliance.jobs import queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import RestoreFolder, from_json
from appliance.model import Job, JobId, JobState, Person, Role, Source
from appliance.packed import pack_path
from appliance.policy.share_rights import ALL, Right
from appliance.web.security import COOKIE
from appliance.worker import job_main
from appliance.worker.runner import AWAITED
from appliance.worker.tasks import folder_restore
from tests.support import share_site, small_disk
from tests.support.box import Box
from tests.support.kill_lines import run_killed
from tests.support.reading import ReaderProcess
from tests.support.web_client import at_the_practice

pytestmark = pytest.mark.integration

LETTERS = 30
ROOMS = ("/appliance/worker/tasks/folder_restore.py", "/appliance/disk/restoring")


@dataclass
class Site:
    """A share with a night behind it; «Patients» was deleted since."""

    box: Box
    share: Share
    source: Source
    people: dict[Role, Person]
    client: TestClient

    def as_role(self, role: Role) -> TestClient:
        with self.box.database.write() as connection:
            token = share_site.start_session(connection, self.people[role])
        self.client.cookies.set(COOKIE, token)
        return self.client

    def ask(self, role: Role = Role.OWNER, path: str = "Patients") -> Job:
        """Ask for a folder on the page; return the task that was made of it."""
        night = self.box.newest(self.source)
        form = {"s": str(night.id), "p": pack_path(path.encode())}
        answer = self.as_role(role).post("/disk/documents/past", data=form)
        assert answer.status_code == 303, answer.text
        found = re.fullmatch(r"/disk/documents/past/(\d+)", answer.headers["location"])
        assert found
        return self.job(int(found[1]))

    def job(self, number: int) -> Job:
        with self.box.database.read() as connection:
            return queue.get(connection, JobId(number))

    def work(self, job: Job) -> JobState:
        """Do it as the worker does; what goes wrong is raised."""
        return self.box.run(from_json(job.kind, job.spec))

    def page(self, job: Job) -> str:
        answer = self.client.get(f"/disk/documents/past/{job.id}")
        assert answer.status_code == 200
        return answer.text

    def drafts(self) -> list[Path]:
        """What a draft holds besides the note of what it gave away."""
        return [
            each
            for each in bins.own_folder(self.share, bins.PARTS).rglob("*")
            if each.is_file() and each.name != "given"
        ]

    def visible(self) -> list[str]:
        return sorted(each.name for each in self.share.folder.iterdir() if each.name[0] != ".")

    def events(self, event: str) -> int:
        with self.box.database.read() as connection:
            count = connection.exec_driver_sql(
                f"SELECT count(*) FROM ledger WHERE event = '{event}'"
            ).scalar()
        return int(count or 0)

    def empty(self) -> None:
        """Begin anew: nothing is back, nothing waits, everybody may again."""
        for each in self.share.folder.iterdir():
            if each.name[0] != ".":
                shutil.rmtree(each)
        shutil.rmtree(bins.own_folder(self.share, bins.PARTS))
        with self.box.database.write() as connection:
            for job in queue.waiting(connection):
                queue.ask_cancel(connection, job.id, now=utc_now())
                queue.finish(connection, job.id, JobState.CANCELLED, now=utc_now())
            shares.change(connection, self.share.id, quota_bytes=None)
            for role, rights in ((Role.OWNER, ALL), (Role.SECRETARY, {Right.SEE, Right.ADD})):
                shares.grant(connection, self.share.id, rights, role=role, by=None, now=utc_now())


def make(home: Path, folder: Path, stack: ExitStack) -> Site:
    (folder / "Patients" / "Dupont" / "empty").mkdir(parents=True)
    for number in range(LETTERS):
        (folder / "Patients" / "Dupont" / f"lettre {number:02}.txt").write_text(f"letter {number}")
    (folder / "Patients" / "film.bin").write_bytes(os.urandom(3 << 20))
    os.utime(folder / "Patients" / "Dupont", (1_700_000_000, 1_700_000_000))
    box = Box(home / "data")
    stack.callback(box.close)
    source = box.add_share(folder, name="documents")
    box.night(source)
    shutil.rmtree(folder / "Patients")
    people = {}
    with box.database.write() as connection:
        people[Role.OWNER] = share_site.add_doctor(connection, name="Anne Martin", language="en")
        share = share_site.add_share(
            connection, box.settings, people[Role.OWNER], label="Documents", folder=folder
        )
        for role in (Role.SECRETARY, Role.ASSOCIATE, Role.TECHNICAL_ADMIN):
            people[role] = share_site.add_person(
                connection, role, f"{role.value}.x", role.value, language="en"
            )
    stack.enter_context(ReaderProcess(box.settings))
    client = stack.enter_context(at_the_practice(box.settings, box.database))
    made = Site(box, share, source, people, client)
    made.empty()
    return made


@contextmanager
def made_in(home: Path) -> Iterator[Site]:
    """A site for a module's tests."""
    with ExitStack() as stack:
        yield make(home, home / "documents", stack)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with made_in(tmp_path_factory.mktemp("back")) as made:
        yield made


@pytest.fixture
def site(built: Site) -> Site:
    built.empty()
    return built


def assert_back(folder: Path) -> None:
    letters = sorted(each.name for each in (folder / "Dupont").iterdir())
    assert letters == ["empty", *(f"lettre {number:02}.txt" for number in range(LETTERS))]
    assert (folder / "Dupont" / "lettre 07.txt").read_text() == "letter 7"
    assert (folder / "film.bin").stat().st_size == 3 << 20
    assert (folder / "Dupont").stat().st_mtime == 1_700_000_000


class Context(JobContext):
    """A running job beside which something happens: when it looks whether to go on, or tells how far it is."""

    happens: Callable[[], object]

    def check(self) -> None:
        self.happens()
        super().check()


def work_while(site: Site, job: Job, happens: Callable[[], object]) -> JobState:
    """Do a task's work with ``happens`` called before each file and each block of it."""
    spec = from_json(job.kind, job.spec)
    assert isinstance(spec, RestoreFolder)
    number = site.box.queue(spec)
    context = Context(site.box.settings, site.box.database, site.job(number))
    context.happens = happens
    try:
        return folder_restore.run(context, spec)
    finally:
        with site.box.database.write() as connection:
            queue.finish(connection, JobId(number), JobState.FAILED, now=utc_now())


def once_there_are(site: Site, letters: int, act: Callable[[], object]) -> Callable[[], None]:
    """Return a call that acts when so many letters are in the draft."""
    done = []

    def look() -> None:
        if not done and sum(each.name.startswith("lettre") for each in site.drafts()) >= letters:
            done.append(True)
            act()

    return look


def test_the_page_asks_the_worker_writes_the_page_says(site: Site) -> None:
    """The request makes a task and nothing else; it is waited for without JavaScript, and leads to the folder."""
    before = site.events("folder.restored")
    job = site.ask()
    assert job.state is JobState.QUEUED
    assert job.kind in AWAITED  # it does not stand behind a night of hours
    assert site.visible() == []
    waiting = site.page(job)
    assert "«Patients» comes back" in waiting
    assert '<noscript><meta http-equiv="refresh"' in waiting
    assert f'action="/disk/documents/past/{job.id}/stop"' in waiting
    assert site.ask().id == job.id  # a second click

    assert site.work(job) is JobState.SUCCEEDED

    assert_back(site.share.folder / "Patients")
    over = site.page(job)
    assert f'href="/disk/documents?p={pack_path(b"Patients")}"' in over
    assert "31 files came back" in over
    assert "refresh" not in over
    assert "it is called" not in over
    assert "/stop" not in over
    live = site.client.get(f"/live/disk/documents/past/{job.id}?pace=1")
    assert live.headers["hx-refresh"] == "true"
    assert site.events("folder.restored") == before + 1
    assert site.drafts() == []
    with site.box.database.read() as connection:
        used = shares.get(connection, site.share.id).used_bytes
    assert used >= 3 << 20


def test_what_is_there_stays_and_the_folder_comes_beside_it(site: Site) -> None:
    """Its name is taken: it gets a number; folders above that went are made again."""
    (site.share.folder / "Patients").mkdir()
    (site.share.folder / "Patients" / "new.txt").write_text("of today")
    site.work(job := site.ask())
    assert_back(site.share.folder / "Patients (2)")
    assert (site.share.folder / "Patients" / "new.txt").read_text() == "of today"
    assert pack_path(b"Patients (2)") in site.page(job)
    assert "it is called «Patients (2)»" in site.page(job)

    site.empty()
    site.work(site.ask(path="Patients/Dupont"))
    assert len(list((site.share.folder / "Patients" / "Dupont").iterdir())) == LETTERS + 1


def test_killed_it_goes_on_where_it_was_and_comes_once(site: Site) -> None:
    """kill -9 in the middle: nothing is seen; the next attempt keeps what is there; the page follows it."""
    job = site.ask()
    settings = site.box.settings

    def work(number: int) -> Callable[[], None]:
        def run() -> None:
            database = open_database(settings.database)
            job_main.run_one(
                settings, database, JobId(number), lambda: {RestoreFolder.kind: folder_restore.run}
            )

        return run

    site.box.queue(from_json(job.kind, job.spec))
    status, _ = run_killed(work(job.id), rooms=ROOMS, at_line=1_700)
    assert status == -9
    assert site.visible() == []
    kept = {each.name: each.stat().st_ino for each in site.drafts() if each.name != "file"}
    assert 3 < len(kept) < LETTERS
    with site.box.database.write() as connection:
        queue.interrupt(connection, job.id, now=utc_now() - timedelta(hours=1))

    again = site.job(job.id + 1)
    assert (again.state, again.spec, again.person_id) == (
        JobState.QUEUED, job.spec, job.person_id,
    )  # fmt: skip
    assert f"/past/{again.id}/stop" in site.page(job)
    assert site.work(again) is JobState.SUCCEEDED
    again = site.job(again.id)
    assert "Patients" not in str(again.result)  # whoever sees tasks sees no name
    assert pack_path(b"Patients") not in str(again.result)

    assert_back(site.share.folder / "Patients")
    inodes = {each.name: each.stat().st_ino for each in site.share.folder.rglob("*")}
    assert kept.items() <= inodes.items()
    assert site.visible() == ["Patients"]
    assert "is back" in site.page(job)


def test_a_full_share_is_said_before_anything_is_fetched(site: Site) -> None:
    """The quota, as for everything that is added."""
    job = site.ask()
    with site.box.database.write() as connection:
        shares.change(connection, site.share.id, quota_bytes=2_000_000)

    with pytest.raises(ShareFull):
        site.work(job)
    assert site.visible() == site.drafts() == []
    assert "not enough room" in site.page(job)


def test_who_may_not_any_more_gets_no_further(site: Site) -> None:
    """The right is taken while files come: nothing of the folder is seen, and no draft stays."""
    job = site.ask(Role.SECRETARY)

    def take() -> None:
        with site.box.database.write() as connection:
            shares.grant(
                connection, site.share.id, {Right.SEE}, role=Role.SECRETARY, by=None, now=utc_now()
            )

    with pytest.raises(NotAllowed):
        work_while(site, job, once_there_are(site, 5, take))
    assert site.visible() == site.drafts() == []


def test_stopped_nothing_of_it_is_left_and_the_box_that_stops_keeps_it(site: Site) -> None:
    """A person's word ends it; a restart of the box does not."""
    job = site.ask()
    running: list[JobContext] = []

    def stop(how: Callable[[], object]) -> None:
        spec = from_json(job.kind, job.spec)
        assert isinstance(spec, RestoreFolder)
        number = site.box.queue(spec)
        context = Context(site.box.settings, site.box.database, site.job(number))

        def ask_stop() -> None:
            how()
            context.ask_stop()

        context.happens = once_there_are(site, 5, ask_stop)
        running.append(context)
        with pytest.raises(JobCancelled):
            folder_restore.run(context, spec)

    stop(lambda: None)
    assert len(site.drafts()) >= 5
    with site.box.database.write() as connection:
        queue.interrupt(connection, job.id, now=utc_now() - timedelta(hours=1))
    job = site.job(job.id + 1)
    address = f"/disk/documents/past/{job.id}/stop"
    stop(lambda: site.as_role(Role.OWNER).post(address))
    assert site.visible() == site.drafts() == []
    with site.box.database.write() as connection:
        queue.finish(connection, job.id, JobState.CANCELLED, now=utc_now())
    assert "Nothing of it was written" in site.page(job)


def test_only_who_asked_or_who_runs_the_box_stops_it(site: Site) -> None:
    """Others who see the share see how far it is; who does not see the share sees nothing."""
    job = site.ask()
    secretary = site.as_role(Role.SECRETARY)
    assert "/stop" not in site.page(job)
    assert secretary.post(f"/disk/documents/past/{job.id}/stop").status_code == 403
    assert site.job(job.id).state is JobState.QUEUED
    theirs = site.as_role(Role.ASSOCIATE)
    assert theirs.get(f"/disk/documents/past/{job.id}").status_code == 404
    assert theirs.get(f"/live/disk/documents/past/{job.id}").status_code == 404

    owner = site.as_role(Role.OWNER)
    assert owner.post(f"/disk/documents/past/{job.id}/stop").status_code == 303
    assert site.job(job.id).state is JobState.CANCELLED


def test_programs_bring_back_what_their_person_may(site: Site) -> None:
    """By a token that may write: a folder as a task to follow and stop, a file at once; one that reads may neither."""
    night = site.box.newest(site.source).id
    folder = {"snapshot_id": night, "path": pack_path(b"Patients")}
    file = {"snapshot_id": night, "path": pack_path(b"Patients/film.bin")}
    with site.box.database.write() as connection:
        secrets = {
            scope: app_passwords.make(
                connection, site.people[Role.OWNER].id, label=scope.value, kind=Kind.API,
                scope={scope}, now=utc_now(),
            )[0]
            for scope in (Scope.DISK_READ, Scope.DISK_WRITE)
        }  # fmt: skip
    site.client.cookies.clear()
    here = "/api/v1/disk/documents"

    def by(scope: Scope) -> dict[str, dict[str, str]]:
        return {"headers": {"authorization": f"Bearer {secrets[scope]}"}}

    for path, body in (("past", folder), ("version", file)):
        refused = site.client.post(f"{here}/{path}", json=body, **by(Scope.DISK_READ))
        assert refused.status_code == 403
    asked = site.client.post(f"{here}/past", json=folder, **by(Scope.DISK_WRITE))
    assert asked.status_code == 202
    number = asked.json()["job"]["id"]
    stopped = site.client.post(f"{here}/past/{number}/stop", **by(Scope.DISK_WRITE)).json()
    assert (stopped["job"]["state"], stopped["path"], stopped["may_stop"]) == (
        "cancelled", None, False,
    )  # fmt: skip
    number = site.client.post(f"{here}/past", json=folder, **by(Scope.DISK_WRITE)).json()["job"][
        "id"
    ]
    site.work(site.job(number))
    told = site.client.get(f"{here}/past/{number}", **by(Scope.DISK_READ)).json()
    assert (told["job"]["state"], told["path"]) == ("succeeded", pack_path(b"Patients"))
    assert told["job"]["result"] == {"files": LETTERS + 1, "bytes": site_size(site)}

    made = site.client.post(f"{here}/version", json=file, **by(Scope.DISK_WRITE))
    assert (made.status_code, made.json()) == (201, {"path": pack_path(b"Patients/film (2).bin")})
    gone = site.client.post(f"{here}/past", json=file, **by(Scope.DISK_WRITE))
    assert gone.status_code == 404


def site_size(site: Site) -> int:
    return sum(
        each.stat().st_size for each in site.share.folder.rglob("Patients/**/*") if each.is_file()
    )


def test_another_tasks_number_shows_nothing(site: Site) -> None:
    """The page is of restores into this share only."""
    with site.box.database.read() as connection:
        other = queue.newest(connection, limit=1, kind="snapshot.take")[0]
    owner = site.as_role(Role.OWNER)
    assert owner.get(f"/disk/documents/past/{other.id}").status_code == 404
    assert owner.post(f"/disk/documents/past/{other.id}/stop").status_code == 404
    assert owner.get("/disk/documents/past/99999").status_code == 404


def test_a_file_or_nothing_is_no_folder(site: Site) -> None:
    """Said at once, and no task is made of it; who may only see asks for nothing."""
    night = str(site.box.newest(site.source).id)
    owner = site.as_role(Role.OWNER)
    for path in (b"Patients/film.bin", b"Nobody"):
        form = {"s": night, "p": pack_path(path)}
        assert owner.post("/disk/documents/past", data=form).status_code == 404
    with site.box.database.write() as connection:
        shares.grant(
            connection, site.share.id, {Right.SEE}, role=Role.SECRETARY, by=None, now=utc_now()
        )
        assert queue.waiting(connection) == []
    form = {"s": night, "p": pack_path(b"Patients")}
    assert site.as_role(Role.SECRETARY).post("/disk/documents/past", data=form).status_code == 403


def test_a_night_of_another_source_is_not_written_into_a_share(site: Site) -> None:
    """Whatever a task says: the night has to be the share's own."""
    job = site.ask()
    other = site.share.folder.parent / "other"
    other.mkdir(exist_ok=True)
    (other / "secret.txt").write_text("another's")
    stranger = site.box.add_share(other, name="other")
    site.box.night(stranger)
    for stated in (site.source, stranger):
        spec = from_json(
            job.kind,
            job.spec | {"snapshot_id": site.box.newest(stranger).id, "source_id": stated.id},
        )
        with site.box.database.write() as connection:
            queue.enqueue(connection, spec, now=utc_now(), person_id=job.person_id)
        with pytest.raises(NotFound):
            site.box.run(spec)
        assert site.visible() == site.drafts() == []


def test_without_a_worker_that_reads_it_is_tried_again(site: Site) -> None:
    """What was fetched stays for the next attempt."""
    job = site.ask()
    place = site.box.settings.reader_socket
    hidden = place.with_name("hidden")

    with pytest.raises(WorkerUnreachable):
        work_while(site, job, once_there_are(site, 5, lambda: place.rename(hidden)))
    hidden.rename(place)
    assert site.visible() == []
    assert len(site.drafts()) >= 5


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others write too: the folder is not seen, and the room it took is given back."""
    monkeypatch.setattr(actions, "FREE_FLOOR", 0)
    folder = tmp_path / "documents"
    with ExitStack() as stack:
        try:
            stack.enter_context(small_disk.mounted(folder, 12_000_000))
        except (CalledProcessError, FileNotFoundError):
            pytest.skip("a disk can be mounted by root only")
        site = make(tmp_path, folder, stack)
        job = site.ask()
        filler = folder / "filler"

        def fill() -> None:
            if not filler.exists() and any(each.name == "file" for each in site.drafts()):
                free = shutil.disk_usage(folder).free
                filler.write_bytes(bytes(max(0, free - 300_000)))

        with pytest.raises(ShareFull):
            work_while(site, job, fill)
        assert site.visible() == ["filler"]
        assert site.drafts() == []
        filler.unlink()
        assert site.work(site.ask()) is JobState.SUCCEEDED
        assert_back(folder / "Patients")
