"""Every door at which files of snapshots are asked for, tried on the box's own state: none opens.

It holds password hashes and sealed secrets. The same doors are tried on a share, where they do open: a
door that is new, or that is no longer tried, fails here.
"""

import io
import json
import re
from base64 import urlsafe_b64encode
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta

import pytest
from fastapi.routing import APIRoute

from appliance import cli
from appliance.accounts import people, sessions
from appliance.clock import utc_now
from appliance.db import sources
from appliance.errors import ArmoireError, NotFound
from appliance.jobs import queue
from appliance.jobs.kinds import RestoreFiles, SetUpSource
from appliance.model import BOX_SOURCE, Role
from appliance.packed import pack_path
from appliance.web.routes import ROUTERS
from appliance.web.security import COOKIE
from appliance.worker import box_source
from tests.support.box import Box
from tests.support.reading import ReaderProcess
from tests.support.web_client import at_the_practice

pytestmark = pytest.mark.integration

#: Names that only the box's own state has, and that no page has a reason to say.
NAMES = (b"box.key.age", b"state.json", b"state/copy")
SHARED = b"Ordonnance Dupont.txt"


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    data = tmp_path_factory.mktemp("box")
    folder = data / "partage"
    folder.mkdir()
    (folder / SHARED.decode()).write_text("amoxicilline")
    made = Box(data / "data")
    made.share = made.add_share(folder)
    box_source.ensure(made.settings, made.database, utc_now())
    made.run(SetUpSource(BOX_SOURCE))
    with made.database.read() as connection:
        made.own = sources.get(connection, BOX_SOURCE)
    made.night(made.share)
    for _ in range(2):
        made.night(made.own)
    with made.open(made.own) as repository:
        entries = list(repository.entries(made.newest(made.own).archive_id))
    made.own_paths = [each.path for each in entries]
    assert any(path.endswith(b"box.key.age") for path in made.own_paths)
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(box):
    with (
        ReaderProcess(box.settings),
        at_the_practice(box.settings, box.database) as client,
    ):
        yield client


def sign_in(box, browser, role):
    now = utc_now()
    with box.database.write() as connection:
        row = people.find_row(connection, role.value)
        person = (
            people.from_row(row)
            if row
            else people.add(
                connection, login=role.value, name="N", role=role, language="en",
                password_hash="x", now=now - timedelta(days=1),
            )
        )  # fmt: skip
        token = sessions.start(
            connection, person.id, now=now, address="127.0.0.1", user_agent="tests"
        )
    browser.cookies.set(COOKIE, token)


def plain(answer):
    """What a person reads: a page marks the words that were searched for inside a name."""
    return re.sub(rb"</?mark[^>]*>", b"", answer.content)


def answers(box, browser, source, path):
    """Ask every route that takes a source or a snapshot, and the searches; yield what came back."""
    newest = box.newest(source).id
    packed = pack_path(path)
    oldest = box.snapshots(source)[-1].id
    query = {
        "p": packed, "source": str(source.id), "a": str(oldest), "b": str(newest), "at": "0",
        "snapshot": str(newest), "order": "name", "all": "1", "offset": "0",
    }  # fmt: skip
    form = {**query, "picked": packed, "do": "zip", "to": "browser", "what": "nothing"}
    for route in (each for router in ROUTERS for each in router.routes):
        if not isinstance(route, APIRoute):
            continue
        if not re.search(r"\{(source|snapshot)_id", route.path) and "search" not in route.path:
            continue
        where = re.sub(r"\{source_id[^}]*\}", str(source.id), route.path)
        where = re.sub(r"\{snapshot_id[^}]*\}", str(newest), where)
        where = re.sub(r"\{[^}]+\}", "1", where)
        for words in ("state", "key", "ordonnance"):
            for method in route.methods - {"HEAD", "OPTIONS"}:
                if method == "GET":
                    answer = browser.get(where, params={**query, "q": words})
                else:
                    answer = browser.request(method, where, data=form, params={"p": packed})
                yield f"{method} {route.path}", answer


@pytest.mark.parametrize("role", [Role.OWNER, Role.ASSOCIATE, Role.TECHNICAL_ADMIN])
def test_no_page_and_no_call_of_the_api_says_a_name_or_gives_a_byte(box, browser, role):
    """Whoever asks, whatever they ask for: a file, a folder, a history, a comparison, a zip."""
    sign_in(box, browser, role)
    secret = next(path for path in box.own_paths if path.endswith(b"state.json"))
    tried = 0
    for path in (b"", secret, secret.rpartition(b"/")[0]):
        for door, answer in answers(box, browser, box.own, path):
            tried += 1
            body = plain(answer)
            assert not any(name in body for name in NAMES), door
            assert b'"program": "armoire' not in body, door  # what is in state.json
            assert not any(
                urlsafe_b64encode(one).rstrip(b"=") in body
                for one in box.own_paths
                if one not in {path, b""}
            ), door
            assert answer.status_code < 500, (door, answer.status_code)
    assert tried > 60


def test_the_same_doors_open_on_a_share(box, browser):
    """Otherwise the test above would prove nothing."""
    sign_in(box, browser, Role.OWNER)
    with box.open(box.share) as repository:
        path = next(
            one.path
            for one in repository.entries(box.newest(box.share).archive_id)
            if one.path.endswith(SHARED)
        )
    named = {
        door
        for where in (path, path.rpartition(b"/")[0])
        for door, answer in answers(box, browser, box.share, where)
        if SHARED in plain(answer) or b"amoxicilline" in answer.content
    }
    assert {
        "GET /snapshots/{snapshot_id}/browse",
        "GET /snapshots/{snapshot_id}/file",
        "GET /search",
        "GET /api/v1/search",
        "GET /api/v1/snapshots/{snapshot_id}/folder",
    } <= named


def test_its_nights_are_shown(box, browser):
    """When it was taken and that it was proven is everybody's business who sees sources."""
    sign_in(box, browser, Role.OWNER)
    page = browser.get("/sources/0").text
    assert "Boîtier" in page
    assert f"/snapshots/{box.newest(box.own).id}" in page
    assert "/browse" not in page
    assert browser.get("/sources/0/plan").status_code == 200
    assert browser.get(f"/snapshots/{box.newest(box.own).id}").status_code == 200
    assert browser.get("/sources").status_code == 200
    assert "Boîtier" in browser.get("/").text
    listed = browser.get("/api/v1/sources/0/snapshots").json()
    assert [each["id"] for each in listed] == [one.id for one in box.snapshots(box.own)]


def test_its_plan_may_change_but_not_what_is_backed_up(box, browser):
    """Neither folders nor exceptions, and it is never switched off."""
    sign_in(box, browser, Role.OWNER)
    form = {
        "window_start": "21:00", "window_end": "05:00", "weekdays": ["1", "2"], "label": "Boîtier",
        "roots": "/etc", "excludes": "*.sqlite", "within_days": "10", "daily": "5", "weekly": "4",
        "monthly": "3", "yearly": "0", "pdma_hours": "24", "dmia_hours": "24",
        "verify_data_every_days": "31",
    }  # fmt: skip
    assert browser.post("/sources/0/plan", data=form).status_code == 303
    now = box.source(box.own)
    assert now.plan.window_start == "21:00"
    assert (now.roots, now.excludes, now.plan.enabled) == ((), (), True)


def test_the_reader_gives_none_of_its_files(box):
    """The socket is the last door: it asks no page what may be shown."""
    with ReaderProcess(box.settings) as reader:
        for path in box.own_paths:
            with pytest.raises(NotFound):
                reader.read(0, box.newest(box.own).id, path)


@pytest.mark.parametrize("destination", ["folder", "share", "machine"])
def test_no_restore_brings_one_back(box, tmp_path, destination):
    """A job that was queued somehow is refused by the one who would do it."""
    with pytest.raises(ArmoireError):
        box.run(
            RestoreFiles(
                BOX_SOURCE,
                box.newest(box.own).id,
                tuple(pack_path(one) for one in box.own_paths),
                destination,
                place=pack_path(str(tmp_path).encode()),
                share_id=int(box.share.id),
            )
        )
    assert list(tmp_path.iterdir()) == []
    with box.database.read() as connection:
        jobs = queue.newest(connection, kind=RestoreFiles.kind, limit=1)
    assert jobs[0].error_code == "input.not-found"


def test_no_command_says_a_name_or_gives_a_byte(box, tmp_path, monkeypatch):
    """«ls», «cat», «find», «diff», «restore», «prune --dry-run»; listing its snapshots works."""
    monkeypatch.setattr("os.umask", lambda _mask: 0o022)
    name, newest = box.own.name, box.newest(box.own).id
    oldest = box.snapshots(box.own)[-1].id
    secret = "/" + next(path for path in box.own_paths if path.endswith(b"state.json")).decode()

    def run(*argv):
        out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = cli.run([*argv, "--data", str(box.settings.data)])
        out.flush()
        return code, out.buffer.getvalue(), err.getvalue().encode()

    into = tmp_path / "into"
    for argv in (
        ("ls", name),
        ("ls", f"{name}@{newest}:{secret.rpartition('/')[0]}"),
        ("cat", f"{name}@{newest}:{secret}"),
        ("find", "state"),
        ("find", "key", "--source", name),
        ("diff", name, str(oldest), str(newest)),
        ("restore", f"{name}@{newest}:{secret}", "--to", str(into)),
        ("prune", name, "--dry-run"),
    ):
        for form in (argv, (*argv, "--json")):
            code, out, err = run(*form)
            assert not any(each in out + err.replace(secret.encode(), b"") for each in NAMES), argv
            assert code != 0 or argv[0] == "find", argv
    assert not into.exists()
    code, out, _ = run("snapshots", name, "--json")
    assert code == 0
    assert json.loads(out)["snapshots"][0]["id"] == newest
