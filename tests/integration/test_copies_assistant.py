"""The assistant of the pages and the jobs behind it, on a real SFTP host: what one writes the other reads."""

import re

import pytest
from starlette.testclient import TestClient

from appliance.accounts import people, sessions
from appliance.clock import utc_now
from appliance.db import targets
from appliance.jobs import queue
from appliance.jobs.kinds import CheckTarget, SetUpTarget, TamperCopy
from appliance.model import JobState, Role
from appliance.policy.place import fingerprint
from appliance.web.app import create_app
from appliance.web.security import COOKIE
from tests.support.sender import Sender
from tests.support.sshd import SshServer

pytestmark = pytest.mark.integration


@pytest.fixture
def box(tmp_path):
    """A box without a worker: the test runs its jobs."""
    one = Sender(tmp_path / "box")
    yield one
    one.close()


@pytest.fixture
def owner(box):
    """The owner's browser."""
    now = utc_now()
    with box.database.write() as connection:
        person = people.add(
            connection, login="claire.martin", name="Claire Martin", role=Role.OWNER,
            language="en", password_hash=None, now=now,
        )  # fmt: skip
        token = sessions.start(
            connection, person.id, now=now, address="127.0.0.1", user_agent="tests"
        )
    with TestClient(
        create_app(box.settings, box.database),
        base_url="https://testserver",
        headers={"sec-fetch-site": "same-origin"},
        follow_redirects=False,
        client=("127.0.0.1", 50_000),  # at the practice
    ) as client:
        client.cookies.set(COOKIE, token)
        yield client


def wanted(box, kind):
    """Take the waiting jobs of a kind off the list: the test runs them itself."""
    with box.database.write() as connection:
        found = [
            job
            for job in queue.waiting(connection)
            if job.kind == kind and job.state is JobState.QUEUED
        ]
        for job in found:
            queue.ask_cancel(connection, job.id, now=utc_now())
    return len(found)


def test_from_the_form_to_a_tested_place(box, owner, tmp_path):
    """Added, prepared, let in, confirmed, tested, and seen not to be immutable: each step by its page."""
    (tmp_path / "host").mkdir()
    with SshServer(config="ForceCommand internal-sftp") as host:
        answer = owner.post(
            "/copies/add",
            data={
                "kind": "sftp", "label": "Second cabinet", "host": host.host, "user": host.user,
                "port": str(host.port), "folder": str(tmp_path / "host"),
                "nature": "same-practice-elsewhere", "distance_km": "12",
            },
        )  # fmt: skip
        page = answer.headers["location"]
        assert page == "/copies/second-cabinet/set-up"
        assert wanted(box, SetUpTarget.kind) == 1
        with box.database.read() as connection:
            row = targets.get_by_name(connection, "second-cabinet")
        assert box.run(SetUpTarget(row.id)) is JobState.SUCCEEDED

        shown = owner.get(page).text
        assert fingerprint(host.host_key) in shown
        key = re.search(r'id="key-line">([^<]+)</pre>', shown).group(1)
        host.authorize(key)
        offered = re.search(r'name="key" value="([^"]+)"', shown).group(1)
        assert owner.post(
            "/copies/second-cabinet/host-key", data={"key": offered}
        ).status_code == 303  # fmt: skip
        assert wanted(box, CheckTarget.kind) == 1
        assert box.run(CheckTarget(row.id)) is JobState.SUCCEEDED

        shown = owner.get(page).text
        checks = re.findall(r'<ul class="checks">(.*?)</ul>', shown, re.DOTALL)[0]
        assert checks.count("<li") >= 3
        assert "is-bad" not in checks
        assert "Send the first copy" in shown

        assert box.run(TamperCopy(row.id)) is JobState.SUCCEEDED
        shown = owner.get("/copies/second-cabinet").text
        assert "Not immutable: this place can be emptied with our key." in shown
        assert "<strong>it worked</strong>" in shown


def test_the_same_road_by_the_json_api(box, owner, tmp_path):
    """What a program sends, the worker's jobs read; what they find, it is told: typed, on the same real host."""
    (tmp_path / "host").mkdir()
    with SshServer(config="ForceCommand internal-sftp") as host:
        made = owner.post(
            "/api/v1/copies",
            json={
                "label": "Second cabinet", "nature": "same-practice-elsewhere", "distance_km": 12,
                "place": {
                    "kind": "sftp", "host": host.host, "user": host.user, "port": host.port,
                    "folder": str(tmp_path / "host"),
                },
            },
        ).json()  # fmt: skip
        here = f"/api/v1/copies/{made['id']}"
        assert (made["may_send"], made["is_ready"], wanted(box, SetUpTarget.kind)) == (
            True,
            False,
            1,
        )
        assert box.run(SetUpTarget(made["id"])) is JobState.SUCCEEDED

        shown = owner.get(f"{here}/set-up").json()
        assert shown["fingerprint"] == fingerprint(host.host_key)
        host.authorize(shown["public_key"])
        pinned = owner.put(f"{here}/host-key", json={"key": shown["offered_key"]}).json()
        assert (pinned["is_confirmed"], pinned["offered_key"], pinned["is_ready"]) == (
            True,
            "",
            True,
        )
        assert wanted(box, CheckTarget.kind) == 1
        assert box.run(CheckTarget(made["id"])) is JobState.SUCCEEDED
        checks = owner.get(f"{here}/set-up").json()["checks"]
        assert len(checks) >= 3
        assert {each["outcome"] for each in checks} <= {"ok", "warning", "skipped"}

        assert box.run(TamperCopy(made["id"])) is JobState.SUCCEEDED
        found = owner.get(f"{here}/evidence").json()
        assert "done" in {each["outcome"] for each in found["attempts"]}
        assert owner.get(here).json()["is_immutable"] is False
