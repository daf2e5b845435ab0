"""Programs with a secret of their own: what their scope says, of what their person may do now, and no more."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from appliance.accounts import app_passwords, people, sessions
from appliance.accounts.app_passwords import Kind, Scope
from appliance.clock import utc_now
from appliance.db import shares, sources
from appliance.db.engine import Database
from appliance.ledger import chain
from appliance.model import Role
from appliance.policy.share_rights import ALL, Right
from appliance.settings import Settings
from appliance.web import attempts, token_gate
from appliance.web.app import create_app
from appliance.web.security import COOKIE

DISK = "/api/v1/disk/documents"


@pytest.fixture
def app(settings: Settings, database: Database):
    return create_app(settings, database)


@pytest.fixture
def program(app) -> Iterator[TestClient]:
    """A program on a machine of the practice: it sends none of a browser's headers."""
    with TestClient(
        app, base_url="https://testserver", follow_redirects=False, client=("127.0.0.1", 4321)
    ) as client:
        yield client


@pytest.fixture
def share(database: Database, tmp_path: Path) -> shares.Share:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "letter.txt").write_bytes(b"a letter")
    with database.write() as connection:
        made = shares.add(
            connection, name="documents", label="Documents", folder=folder, now=utc_now()
        )
        shares.change(connection, made.id, over_dav=True)
        for role, rights in ((Role.OWNER, ALL), (Role.SECRETARY, {Right.SEE})):
            shares.grant(connection, made.id, rights, role=role, by=None, now=utc_now())
    return made


def test_a_token_does_what_its_scope_says_and_no_more(program, share, token_of) -> None:
    """Reading does not write, the disk is not the box, and no page is a token's."""
    reading = token_of(Role.OWNER, Scope.DISK_READ)
    writing = token_of(Role.OWNER, Scope.DISK_WRITE)
    state = token_of(Role.OWNER, Scope.STATUS_READ)
    folder = {"path": "bmV3"}
    assert program.get(f"{DISK}/list", headers=reading).json()["n"] == ["letter.txt"]
    opened = program.get("/disk/documents/file?p=bGV0dGVyLnR4dA", headers=reading)
    assert opened.content == b"a letter"
    assert program.post(f"{DISK}/folders", json=folder, headers=reading).status_code == 403
    assert program.post(f"{DISK}/folders", json=folder, headers=writing).status_code == 201
    assert program.get(f"{DISK}/list", headers=writing).status_code == 403
    assert program.get("/api/v1/jobs", headers=state).status_code == 200
    assert program.get(f"{DISK}/list", headers=state).status_code == 403
    for path in ("/", "/account", "/people", "/disk", "/ledger"):
        assert program.get(path, headers=reading).status_code == 403, path


def test_a_token_may_never_more_than_its_person_now(program, share, token_of, database) -> None:
    """The rights are those of the moment, not of the day the token was made."""
    writing = token_of(Role.SECRETARY, Scope.DISK_READ, Scope.DISK_WRITE)
    admin = token_of(Role.TECHNICAL_ADMIN, Scope.DISK_READ)
    assert program.get(f"{DISK}/list", headers=writing).status_code == 200
    refused = program.post(f"{DISK}/folders", json={"path": "bmV3"}, headers=writing)
    assert refused.status_code == 403
    assert program.get(f"{DISK}/list", headers=admin).status_code == 404
    with database.write() as connection:
        shares.grant(connection, share.id, (), role=Role.SECRETARY, by=None, now=utc_now())
    assert program.get(f"{DISK}/list", headers=writing).status_code == 404
    with database.write() as connection:
        row = people.find_row(connection, f"{Role.SECRETARY.value}.martin")
        people.disable(connection, row.id, now=utc_now())
    assert program.get(f"{DISK}/list", headers=writing).status_code == 401


def test_what_a_program_did_says_so_in_the_ledger(program, share, token_of, database) -> None:
    """The door is «api», not «web»: nobody sat there."""
    writing = token_of(Role.OWNER, Scope.DISK_WRITE)
    program.post(f"{DISK}/folders", json={"path": "bmV3"}, headers=writing)
    with database.read() as connection:
        (entry,) = chain.newest(connection, limit=5, event="folder.made")
    assert entry.body["door"] == "api"


def test_a_wrong_secret_is_not_helped_by_a_cookie(
    program, share, token_of, database, person_of
) -> None:
    """A request that names a token is judged by the token alone: no page of another site can borrow a session."""
    doctor = person_of(Role.OWNER)
    with database.write() as connection:
        cookie = sessions.start(
            connection,
            doctor.id,
            now=utc_now(),
            address="127.0.0.1",
            user_agent="tests",
        )
    program.cookies.set(COOKIE, cookie)
    assert program.get(f"{DISK}/list").status_code == 200
    wrong = {"authorization": "Bearer 0000-0000"}
    assert program.get(f"{DISK}/list", headers=wrong).status_code == 401
    assert program.post(f"{DISK}/folders", json={"path": "bmV3"}).status_code == 403
    assert program.request("PROPFIND", "/dav/documents").status_code == 401
    dav = token_of(Role.OWNER, kind=Kind.DAV)
    elsewhere = dav | {"sec-fetch-site": "cross-site"}
    assert (
        program.request("DELETE", "/dav/documents/letter.txt", headers=elsewhere).status_code == 403
    )
    elsewhere = dav | {"origin": "https://example.org"}
    assert (
        program.request("DELETE", "/dav/documents/letter.txt", headers=elsewhere).status_code == 403
    )
    assert (share.folder / "letter.txt").exists()


def test_each_kind_opens_its_own_door_only(program, share, token_of) -> None:
    """A token for figures reads no document, one for documents no figures."""
    metrics = token_of(Role.TECHNICAL_ADMIN, kind=Kind.METRICS)
    api = token_of(Role.OWNER, *Scope)
    assert program.get("/api/v1/status", headers=metrics).status_code == 401
    assert program.get("/metrics", headers=api).status_code == 401
    basic = {"authorization": api["authorization"].replace("Bearer", "Basic")}
    assert program.request("PROPFIND", "/dav/documents", headers=basic).status_code == 401
    answer = program.request("PROPFIND", "/dav/documents")
    assert answer.headers["www-authenticate"].startswith("Basic realm=")


def test_from_outside_the_practice_one_secret_is_not_enough(app, share, token_of) -> None:
    """Two different factors from outside (domain.md SEC-09): a program comes through the tunnel."""
    reading = token_of(Role.OWNER, Scope.DISK_READ)
    with TestClient(app, base_url="https://testserver", client=("203.0.113.7", 4321)) as outside:
        assert outside.get(f"{DISK}/list", headers=reading).status_code == 403
    with TestClient(app, base_url="https://testserver", client=("10.113.77.9", 4321)) as device:
        assert device.get(f"{DISK}/list", headers=reading).status_code == 200


def test_wrong_secrets_are_slowed_by_address(program, app, share, token_of, database) -> None:
    """Thirty, then ten minutes' rest for that address, right or wrong; the ledger says it twice, not thirty times."""
    reading = token_of(Role.OWNER, Scope.DISK_READ)
    for _ in range(attempts.AT_MOST):
        wrong = {"authorization": f"Bearer {app_passwords.make_secret()}"}
        assert program.get(f"{DISK}/list", headers=wrong).status_code == 401
    refused = program.get(f"{DISK}/list", headers=reading)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= attempts.WINDOW_S + 1
    with TestClient(app, base_url="https://testserver", client=("127.0.0.2", 4321)) as other:
        assert other.get(f"{DISK}/list", headers=reading).status_code == 200
    with database.read() as connection:
        told = chain.newest(connection, limit=50, event="app-password.refused")
    assert [each.body["failures"] for each in told] == [attempts.AT_MOST, 1]


def test_every_route_is_closed_to_tokens_until_it_is_given_a_scope(app) -> None:
    """What no line of the table names, no token opens; pages of people are among it."""
    for path in ("/", "/account/tokens", "/people", "/kit", "/api/v1/people", "/sign-in", "/l/abc"):
        for method in ("GET", "POST"):
            assert token_gate.scope_needed(method, path) is None, path


def test_a_secret_is_shown_once_and_revoked_at_once(owner, program, share, database) -> None:
    """Made in a form, copied from one page, good until the button; the ledger keeps no secret."""
    page = owner.post(
        "/account/tokens",
        data={"label": "Finder", "kind": "dav", "days": "90", "scope": "disk:read"},
    )
    secret = re.search(r'id="the-secret">([0-9a-f-]{39})<', page.text)[1]
    assert secret not in owner.get("/account/tokens").text
    pair = base64.b64encode(f"owner.martin:{secret}".encode()).decode()
    headers = {"authorization": f"Basic {pair}", "depth": "1"}
    assert program.request("PROPFIND", "/dav/", headers=headers).status_code == 207
    other = {
        **headers,
        "authorization": "Basic " + base64.b64encode(f"x:{secret}".encode()).decode(),
    }
    assert program.request("PROPFIND", "/dav/", headers=other).status_code == 401
    listed = owner.get("/account/tokens").text
    action = re.search(r"/account/tokens/\d+/revoke", listed)[0]
    assert owner.post(action).status_code == 303
    assert program.request("PROPFIND", "/dav/", headers=headers).status_code == 401
    assert "Finder" not in owner.get("/account/tokens").text
    with database.read() as connection:
        said = [str(each.body) for each in chain.newest(connection, limit=20)]
        made = chain.newest(connection, limit=5, event="app-password.made")
    assert len(made) == 1
    assert not any(secret in each or app_passwords.digest(secret) in each for each in said)


def test_nobody_makes_a_password_that_would_open_nothing(client_as, database) -> None:
    """The technical administrator sees no document, so no WebDAV is offered; nor is it made when asked."""
    admin = client_as(Role.TECHNICAL_ADMIN)
    assert 'value="dav"' not in admin.get("/account/tokens").text
    refused = admin.post("/account/tokens", data={"label": "x", "kind": "dav", "days": "90"})
    assert refused.status_code == 403
    wrong = admin.post("/account/tokens", data={"label": "x", "kind": "api", "days": "90"})
    assert wrong.status_code == 422
    assert 'id="scope-problem"' in wrong.text
    odd = admin.post("/account/tokens", data={"label": "x", "kind": "key", "days": "90"})
    assert odd.status_code == 422
    with database.read() as connection:
        assert app_passwords.living(connection, now=utc_now()) == []


def test_figures_tell_no_name(copied, practice, program, token_of, database) -> None:
    """What Prometheus reads: ages, states and sizes by number; whoever reads it learns no patient and no person."""
    metrics = token_of(Role.TECHNICAL_ADMIN, kind=Kind.METRICS)
    answer = program.get("/metrics", headers=metrics)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [each for each in answer.text.splitlines() if not each.startswith("#")]
    assert all(
        re.fullmatch(r'armoire_\w+(\{(\w+="[\w.\-]*",?)+\})? -?[\d.e+\-]+', each) for each in lines
    ), lines
    names = {re.match(r"\w+", each)[0] for each in lines}
    assert names >= {
        "armoire_info",
        "armoire_jobs",
        "armoire_source_last_good_snapshot_seconds",
        "armoire_copy_last_generation_seconds",
        "armoire_disk_free_bytes",
        "armoire_worker_alive",
    }
    with database.read() as connection:
        labels = [each.label for each in sources.all_living(connection)]
    assert labels
    for each in [*labels, "martin", "Martin"]:
        assert each not in answer.text
