"""What comes from outside and cannot be: half a sign, a number without end."""

import json

import pytest

from appliance.db import sources
from appliance.model import Role

JSON = {"content-type": "application/json"}
HALF = "Poste \ud800 1"


@pytest.fixture
def boss(owner, database):
    """An owner who showed just now who they are."""
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE session SET proven_at = created_at")
    return owner


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/people", {"login": "abc.def", "name": HALF, "role": "secretary"}),
        ("POST", "/sources", {"label": HALF, "kind": "share", "folder": "/srv"}),
        ("POST", "/shares", {"label": HALF, "name": "", "folder": ""}),
        ("POST", "/envelope", {"place": HALF}),
        ("POST", "/account/prove", {"password": HALF}),
        ("POST", "/account/tokens", {"kind": "api", "label": "a", "scope": [HALF]}),
        ("PATCH", "/sources/1/plan", {"excludes": [HALF]}),  # kept in a JSON column
        ("PATCH", "/sources/1/plan", {HALF: "x", "label": "Poste"}),
    ],
)
@pytest.mark.parametrize("is_escaped", [True, False])
def test_half_a_sign_is_refused_in_words_and_kept_nowhere(
    practice, boss, database, method, path, body, is_escaped
):
    r"""Python reads «\ud800» out of JSON, and raw bytes of it; no column, no page and no log can write it."""
    sent = json.dumps(body, ensure_ascii=is_escaped).encode("utf-8", "surrogatepass")
    with database.read() as connection:
        before = sources.all_living(connection)

    answer = boss.request(method, f"/api/v1{path}", content=sent, headers=JSON)

    assert answer.status_code == 422
    assert "half of a sign" in answer.json()["error"]["message"]
    with database.read() as connection:
        assert sources.all_living(connection) == before
    assert boss.get(f"/api/v1/sources/{practice.machine.id}/plan").status_code == 200


def test_the_refusal_is_in_the_readers_language(anonymous, client_as):
    """As every other one."""
    client = client_as(Role.OWNER)
    client.post("/language", data={"language": "fr"})

    answer = client.post("/api/v1/account/prove", content=b'{"password": "\\udc00"}', headers=JSON)

    assert answer.status_code == 422
    assert "moitié d’un caractère" in answer.json()["error"]["message"]


def test_half_a_sign_of_our_own_is_no_mistake_of_the_readers(practice, owner, database, caplog):
    """Were one stored all the same, the page says that the box is wrong, and the log where."""
    with database.write() as c:
        c.exec_driver_sql("UPDATE source SET excludes = ?", (r'["\ud800"]',))

    assert owner.get(f"/sources/{practice.machine.id}/plan").status_code == 500
    assert "web.unforeseen kind=UnicodeEncodeError" in caplog.text


@pytest.mark.parametrize("number", [1 << 53, 1 << 63, 10**30])
def test_an_offset_without_end_is_refused(practice, owner, number):
    """422 and no mistake of ours; one behind the end is an empty list."""
    snapshot = practice.snapshots[practice.machine.id][-1]
    path = f"/api/v1/snapshots/{snapshot}/folder"

    assert owner.get(path, params={"offset": number}).status_code == 422
    behind = owner.get(path, params={"offset": (1 << 53) - 1})
    assert (behind.status_code, behind.json()["name"]) == (200, [])
