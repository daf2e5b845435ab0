"""One's own account as JSON: what is one's own is read and changed by oneself, and by no token."""

from datetime import timedelta

import pyotp
import pytest
from starlette.testclient import TestClient

from appliance.accounts import app_passwords, people, second_factors, sessions
from appliance.accounts.app_passwords import Kind, Scope
from appliance.clock import utc_now
from appliance.disk import smb_passwords
from appliance.ledger import chain
from appliance.model import Role
from appliance.web.routes import ROUTERS
from appliance.web.security import COOKIE
from tests.support.passkey_device import PasskeyDevice
from tests.web.conftest import PASSWORD

API = "/api/v1"
OWN = f"{API}/account"
BETTER = "Cinq-tasses-bleues-7"


@pytest.fixture
def me(client_as):
    """A secretary, just signed in."""
    return client_as(Role.SECRETARY)


def code(answer):
    return answer.json()["error"]["code"]


def test_one_reads_who_one_is_and_chooses_a_language(me, person_of):
    """With one's sessions, and what is asked of one."""
    seen = me.get(OWN).json()
    assert (seen["login"], seen["role"], seen["language"]) == (
        "secretary.martin",
        "secretary",
        "en",
    )
    assert seen["id"] == person_of(Role.SECRETARY).id
    assert [each["is_this_one"] for each in seen["sessions"]] == [True]
    assert seen["sessions"][0]["factors"] == ["password"]
    assert me.patch(OWN, json={"language": "fr"}).json()["language"] == "fr"
    assert me.get(OWN).json()["language"] == "fr"
    assert me.patch(OWN, json={"language": "de"}).status_code == 422


def test_a_password_is_changed_with_the_old_one_and_ends_other_sessions(me, database, person_of):
    """A wrong old one counts as a failed sign-in: a browser left open cannot be used to guess it."""
    who = person_of(Role.SECRETARY)
    with database.write() as c:
        sessions.start(c, who.id, now=utc_now(), address="127.0.0.1", user_agent="x")
    wrong = me.post(f"{OWN}/password", json={"current": "guess", "password": BETTER})
    assert (wrong.status_code, "current" in wrong.json()["error"]["message"]) == (422, True)
    with database.read() as c:
        assert people.find_row(c, who.login).failures == 1
    weak = me.post(f"{OWN}/password", json={"current": PASSWORD, "password": "secret"})
    assert (weak.status_code, "password" in weak.json()["error"]["message"]) == (422, True)
    done = me.post(f"{OWN}/password", json={"current": PASSWORD, "password": BETTER})
    assert done.status_code == 200, done.text
    assert len(done.json()["sessions"]) == 1
    assert BETTER not in done.text
    again = me.post("/sign-in", data={"login": who.login, "password": BETTER})
    assert again.headers["location"] == "/"


def test_guessing_the_old_password_locks_the_account_as_at_the_door(me):
    """Neither the page nor the API is a way around the lock."""
    body = {"current": "guess", "password": BETTER}
    answers = [me.post(f"{OWN}/password", json=body).status_code for _ in range(12)]
    assert answers[0] == 422
    assert answers[-1] == 429
    page = me.post("/account/password", data={**body, "password_again": BETTER})
    assert page.status_code == 429


def test_one_ends_ones_own_sessions_only(me, database, person_of):
    """One, all the others, never somebody else's."""
    who, boss = person_of(Role.SECRETARY), person_of(Role.OWNER)
    with database.write() as c:
        for each in (who, who, boss):
            sessions.start(c, each.id, now=utc_now(), address="127.0.0.1", user_agent="x")
        mine = [each.id for each in sessions.living(c, who.id, now=utc_now())]
        (theirs,) = sessions.living(c, boss.id, now=utc_now())
    assert me.post(f"{OWN}/sessions/{theirs.id}/end").status_code == 404
    assert me.post(f"{OWN}/sessions/{mine[0]}/end").status_code == 204
    assert me.post(f"{OWN}/sessions/{mine[0]}/end").status_code == 404
    assert me.post(f"{OWN}/sessions/end").json() == {"count": 1}
    assert len(me.get(OWN).json()["sessions"]) == 1
    with database.read() as c:
        assert sessions.living(c, boss.id, now=utc_now())


def test_an_application_is_made_confirmed_and_removed(me, database, person_of):
    """Its secret and the recovery codes are in one answer each, which nothing keeps."""
    who = person_of(Role.SECRETARY)
    begun = me.post(f"{OWN}/second-factors/application")
    assert (begun.status_code, begun.headers["cache-control"]) == (201, "no-store")
    assert begun.json()["picture"].startswith("<svg")
    assert begun.json()["secret"] in begun.json()["address"]
    assert me.get(f"{OWN}/second-factors").json()["factors"] == []
    app = pyotp.TOTP(begun.json()["secret"])
    first = app.at(utc_now() - timedelta(seconds=30))
    wrong = f"{(int(first) + 1) % 1_000_000:06d}"
    if wrong in {app.at(utc_now() + timedelta(seconds=off)) for off in (-60, -30, 0, 30, 60)}:
        wrong = "abcdef"
    confirm = f"{OWN}/second-factors/application/confirm"
    assert me.post(confirm, json={"code": wrong}).status_code == 401
    done = me.post(confirm, json={"code": app.now(), "label": "Pixel"})
    assert (done.status_code, done.headers["cache-control"]) == (200, "no-store")
    codes = done.json()["recovery_codes"]
    assert len(codes) == second_factors.CODES
    seen = me.get(f"{OWN}/second-factors")
    assert [(each["kind"], each["label"]) for each in seen.json()["factors"]] == [("totp", "Pixel")]
    assert seen.json()["recovery_codes_left"] == second_factors.CODES
    assert begun.json()["secret"] not in seen.text
    fresh = me.post(f"{OWN}/second-factors/codes").json()["recovery_codes"]
    assert set(fresh).isdisjoint(codes)
    number = seen.json()["factors"][0]["id"]
    assert me.delete(f"{OWN}/second-factors/{number}").status_code == 204
    assert me.delete(f"{OWN}/second-factors/{number}").status_code == 404
    assert me.get(f"{OWN}/second-factors").json() == {"factors": [], "recovery_codes_left": 0}
    with database.read() as c:
        said = [str(each.body) for each in chain.newest(c, limit=50, subject=f"person:{who.id}")]
    assert not any(begun.json()["secret"] in each or codes[0] in each for each in said)


def test_a_passkey_is_asked_for_and_a_made_up_one_is_refused(me):
    """The browser's own answer is needed."""
    asked = me.post(f"{OWN}/second-factors/passkey/options")
    assert (asked.status_code, asked.headers["cache-control"]) == (200, "no-store")
    assert asked.json()["rp"]["id"] == "testserver"
    for answer, refused in (
        ("{}", 401),
        ('{"response": {"clientDataJSON": "e30"}}', 401),
        ('{"rawId": "\\ud800", "response": {}}', 422),  # half of a sign
    ):
        made = me.post(
            f"{OWN}/second-factors/passkey",
            content=f'{{"answer": {answer}}}',
            headers={"content-type": "application/json"},
        )
        assert made.status_code == refused, answer
    assert me.post(f"{OWN}/prove/passkey/options").json()["challenge"]
    assert me.post(f"{OWN}/prove/passkey", json={"answer": {}}).status_code == 401


def test_a_passkey_is_made_and_shows_who_one_is(me, long_ago):
    """A device's real answers, each good once; another device's signature is refused."""
    device, other = PasskeyDevice("https://testserver"), PasskeyDevice("https://testserver")
    options = me.post(f"{OWN}/second-factors/passkey/options").json()
    body = {"answer": device.make(options), "label": "Phone"}
    made = me.post(f"{OWN}/second-factors/passkey", json=body)
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    assert len(made.json()["recovery_codes"]) == second_factors.CODES
    assert me.post(f"{OWN}/second-factors/passkey", json=body).status_code == 401
    (factor,) = me.get(f"{OWN}/second-factors").json()["factors"]
    assert (factor["kind"], factor["label"]) == ("passkey", "Phone")
    long_ago()
    strange = other.sign(me.post(f"{OWN}/prove/passkey/options").json())
    assert me.post(f"{OWN}/prove/passkey", json={"answer": strange}).status_code == 401
    assert me.post(f"{OWN}/second-factors/codes").status_code == 403
    answer = {"answer": device.sign(me.post(f"{OWN}/prove/passkey/options").json())}
    assert me.post(f"{OWN}/prove/passkey", json=answer).status_code == 204
    assert me.post(f"{OWN}/prove/passkey", json=answer).status_code == 401
    assert me.post(f"{OWN}/second-factors/codes").status_code == 201


def test_what_matters_asks_again_and_a_password_answers(me, long_ago):
    """As the pages do; a wrong one does not."""
    long_ago()
    for method, path in (
        ("POST", "second-factors/application"),
        ("POST", "second-factors/passkey/options"),
        ("POST", "second-factors/codes"),
        ("DELETE", "second-factors/1"),
    ):
        assert code(me.request(method, f"{OWN}/{path}")) == "access.proof-needed", path
    wanted = {"kind": "api", "label": "x", "scope": ["disk:read"]}
    assert code(me.post(f"{OWN}/tokens", json=wanted)) == "access.proof-needed"
    assert me.post(f"{OWN}/prove", json={"password": "guess"}).status_code == 403
    assert me.post(f"{OWN}/prove", json={"code": "000000"}).status_code == 401
    assert me.post(f"{OWN}/tokens", json=wanted).status_code == 403
    assert me.post(f"{OWN}/prove", json={"password": PASSWORD}).status_code == 204
    assert me.post(f"{OWN}/tokens", json=wanted).status_code == 201


def test_a_token_is_made_shown_once_and_revoked(me, database):
    """It works until then; the list and the ledger never have its secret."""
    made = me.post(
        f"{OWN}/tokens",
        json={"kind": "api", "label": "Scanner", "scope": ["disk:read"], "days": 30},
    )
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    secret, number = made.json()["secret"], made.json()["token"]["id"]
    listed = me.get(f"{OWN}/tokens")
    assert [(each["label"], each["scope"]) for each in listed.json()] == [
        ("Scanner", ["disk:read"])
    ]
    assert secret not in listed.text
    with database.read() as c:
        said = [str(each.body) for each in chain.newest(c, limit=20)]
        assert chain.newest(c, event="app-password.made")
    assert not any(secret in each for each in said)
    assert me.post(f"{OWN}/tokens/{number}/revoke").status_code == 204
    assert me.post(f"{OWN}/tokens/{number}/revoke").status_code == 404
    assert me.get(f"{OWN}/tokens").json() == []


def test_a_token_that_may_not_be_is_refused(me):
    """By the page's own rules."""
    body = {"kind": "api", "label": "x", "scope": ["disk:read"]}
    for change in (
        {"kind": "key"}, {"label": ""}, {"scope": []}, {"scope": ["god"]}, {"days": 0},
        {"days": 5000},
    ):  # fmt: skip
        assert me.post(f"{OWN}/tokens", json=body | change).status_code == 422, change


def test_nobody_makes_or_revokes_what_is_not_theirs(client_as, database, person_of):
    """The technical administrator sees no document: no WebDAV and no file explorer for them."""
    boss = person_of(Role.OWNER)
    with database.write() as c:
        _, made = app_passwords.make(
            c, boss.id, kind=Kind.API, label="x", scope=[Scope.DISK_READ], now=utc_now()
        )
    admin = client_as(Role.TECHNICAL_ADMIN)
    assert admin.post(f"{OWN}/tokens", json={"kind": "dav", "label": "x"}).status_code == 403
    assert admin.post(f"{OWN}/tokens/{made.id}/revoke").status_code == 404
    assert admin.get(f"{OWN}/file-explorer").status_code == 404
    assert admin.post(f"{OWN}/file-explorer").status_code == 404


def test_the_file_explorers_password_is_made_and_taken_away(me, database, box_keys, person_of):
    """It lies sealed for the worker, and is shown once."""
    assert me.get(f"{OWN}/file-explorer").json() == {"since": None, "waits": False}
    made = me.post(f"{OWN}/file-explorer")
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    assert len(made.json()["password"]) == 24
    assert me.get(f"{OWN}/file-explorer").json()["waits"] is True
    with database.read() as c:
        assert person_of(Role.SECRETARY).id in smb_passwords.waiting(c)
    assert me.delete(f"{OWN}/file-explorer").status_code == 200


def test_no_token_of_any_scope_opens_what_is_for_a_session_only(client_as, database, person_of):
    """Every route of these rooms, whatever it is called: 403 before anything is read, and with it no cookie counts."""
    boss = person_of(Role.OWNER)
    with database.write() as c:
        secret, _ = app_passwords.make(
            c, boss.id, kind=Kind.API, label="x", scope=list(Scope), now=utc_now()
        )
    browser = client_as(Role.OWNER)
    program = TestClient(
        browser.app, base_url="https://testserver", client=("127.0.0.1", 4321),
        headers={"authorization": f"Bearer {secret}"}, follow_redirects=False,
    )  # fmt: skip
    assert program.get(f"{API}/links").status_code == 200  # it is a good one
    asked = 0
    for route in (each for router in ROUTERS for each in router.routes):
        if not route.path.startswith(tuple(f"{API}/{room}" for room in ROOMS)):
            continue
        path = route.path.replace("{", "").replace("}", "")
        for name in route.param_convertors:
            path = path.replace(name, "1")
        for method in route.methods - {"HEAD", "OPTIONS"}:
            for cookies in ({}, {COOKIE: browser.cookies[COOKIE]}):
                program.cookies.update(cookies)
                answer = program.request(method, path, json={})
                assert (answer.status_code, code(answer)) == (403, "access.scope"), (method, path)
                program.cookies.clear()
            asked += 1
    assert asked > 20
    with database.read() as c:
        assert second_factors.of_person(c, boss.id) == []
        assert len(app_passwords.living(c, boss.id, now=utc_now())) == 1


ROOMS = ("account", "access", "devices", "notices", "people", "settings", "access-review")
