"""The recovery kit as JSON: the same road as on the page; its words are in no answer and in no log."""

import json
import logging
import re

import pytest

from appliance.accounts.app_passwords import Scope
from appliance.db import facts, secrets
from appliance.jobs import kit_words
from appliance.ledger import chain
from appliance.model import Role
from appliance.replication import kit
from appliance.vault import words
from tests.web.conftest import PASSWORD
from tests.web.printed import TWO_OF_THREE, split

API = "/api/v1/kit"
THREE = {"needed": 2, "holders": ["Dr Martin", "Dr Petit", "Me Roux"]}
ONE = {"needed": 1, "holders": ["Dr Petit"]}


@pytest.fixture
def boss(owner, database):
    """An owner who showed just now who they are."""
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE session SET proven_at = created_at")
    return owner


def typed(client, *sheets):
    return client.post(f"{API}/words", json={"sheets": list(sheets)})


def test_the_road_from_no_kit_to_a_confirmed_one(boss, kit_made, reader, caplog):
    """Chosen, printed with the password, typed from paper; nothing of the words stays anywhere."""
    caplog.set_level(logging.DEBUG)
    before = boss.get(API).json()
    assert (before["is_made"], before["plan"], before["printable"]) == (True, None, [])
    assert "No recovery kit was printed" in before["sentence"]

    chosen = boss.put(f"{API}/holders", json=THREE).json()
    assert (chosen["plan"], chosen["printable"]) == (THREE, THREE["holders"])
    printed = [
        boss.post(f"{API}/sheets/{number}", json={"password": PASSWORD}) for number in (1, 2, 3)
    ]
    for each in printed:
        assert each.status_code == 200
        assert each.headers["cache-control"] == "no-store"
        assert each.headers["content-type"] == "text/html; charset=utf-8"
        assert "script" not in each.headers["content-security-policy"]
    sheets = [
        " ".join(re.findall(r"<li><span>\d+</span>([a-z]+)</li>", each.text)) for each in printed
    ]
    assert [len(each.split()) for each in sheets] == [20, 20, 20]

    confirmed = typed(boss, sheets[2], sheets[0])
    assert (confirmed.status_code, confirmed.json()) == (200, {"what": "confirmed"})
    assert confirmed.headers["cache-control"] == "no-store"

    after = boss.get(API)
    assert after.json()["printable"] == []
    assert after.json()["confirmed_at"] < after.json()["rehearse_by"]
    with kit_made.read() as connection:
        assert secrets.find_sealed(connection, kit.SECRET) is None
        assert secrets.find_sealed(connection, kit.SHEETS) is None
        kept = json.dumps([each.body for each in chain.entries(connection)])
    again = boss.post(f"{API}/sheets/1", json={"password": PASSWORD})
    assert again.status_code == 403
    assert "forgotten" in again.json()["error"]["message"]
    told = reader.stop().decode() + caplog.text + kept + after.text + again.text
    assert not any(word in told for word in sheets[0].split()[4:] if len(word) > 6)
    assert PASSWORD not in told


@pytest.mark.parametrize("document", ["sheets/1", "file"])
def test_without_the_password_nothing_is_printed(boss, kit_made, reader, document, box_keys):
    """The side that has the keys asks for it itself, also of who showed who they are."""
    split(kit_made, box_keys)

    refused = boss.post(f"{API}/{document}", json={"password": "wrong"})

    assert (refused.status_code, refused.json()["error"]["code"]) == (
        403,
        "access.password-wrong",
    )
    assert boss.post(f"{API}/{document}", json={}).status_code == 422


def test_the_kit_file_opens_with_the_words(boss, kit_made, reader, box_keys):
    """And is known to have been written."""
    sheets = split(kit_made, box_keys)
    assert boss.get(API).json()["is_file_fresh"] is False

    answer = boss.post(f"{API}/file", json={"password": PASSWORD})

    assert answer.headers["content-disposition"].startswith('attachment; filename="armoire.kit"')
    assert kit.read_file(answer.content, words.join(sheets[:2])).targets == ()
    assert boss.get(API).json()["is_file_fresh"] is True
    assert boss.post(f"{API}/sheets/9", json={"password": PASSWORD}).status_code == 404


def test_what_is_wrong_with_typed_words_is_said_with_its_place(boss, kit_made, box_keys):
    """Sheet and word, never the word itself; nothing counts."""
    first, second, _ = split(kit_made, box_keys)
    slip = first.split()
    slip[6] = "zzzzqqq"
    wrong = {
        (" ".join(slip), second): ("kit.word-unknown", "Sheet 1: word number 7"),
        (first, first): ("kit.sheet-twice", "Sheet 2"),
        (first,): ("kit.sheet-missing", "2 sheets are needed"),
        (): ("kit.sheet-missing", "1 sheets are needed"),
        (" ".join(first.split()[:-1]), second): ("kit.words-wrong", "Sheet 1"),
    }
    for sheets, (code, said) in wrong.items():
        answer = typed(boss, *sheets)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
        assert said in answer.json()["error"]["message"]
        assert "zzzzqqq" not in answer.text
    other = words.split(words.make_secret(), needed=1, sheets=1)
    assert typed(boss, *other).json()["error"]["code"] == "kit.sheet-of-another-kit"
    assert typed(boss, "x" * 2000).status_code == 422
    assert typed(boss, *["abandon"] * 4).status_code == 422
    assert boss.get(API).json()["confirmed_at"] is None


def test_a_new_kit_takes_the_formers_place_only_once_its_words_are_typed(boss, kit_made, box_keys):
    """Until then a fire finds people with sheets that open."""
    old = split(kit_made, box_keys)
    assert typed(boss, old[0], old[1]).json() == {"what": "confirmed"}
    with kit_made.read() as connection:
        before = facts.find(connection, "kit.recipient")
    without = boss.post(f"{API}/renew", json={"plan": ONE})
    assert (without.status_code, without.json()["error"]["code"]) == (422, "kit.sheet-missing")

    begun = boss.post(f"{API}/renew", json={"plan": ONE, "sheets": [old[2], old[0]]})

    assert begun.status_code == 200
    assert begun.json()["next"]["plan"] == ONE
    assert begun.json()["plan"] == THREE
    with kit_made.read() as connection:
        assert facts.find(connection, "kit.recipient") == before
    (new,) = split(kit_made, box_keys, kit_words.KitPlan(1, ("Dr Petit",)))
    assert typed(boss, new).json() == {"what": "taken-over"}
    assert boss.get(API).json()["former_numbers"] == [words.kit_number(old[0])]


def test_a_new_kit_can_be_given_up_and_lost_words_mean_sending_again(boss, kit_made, box_keys):
    """The former goes on; a second time there is nothing to give up."""
    old = split(kit_made, box_keys)
    typed(boss, old[0], old[1])
    begun = boss.post(f"{API}/renew", json={"plan": THREE, "resend": True}).json()
    assert begun["next"]["is_resent"] is True

    assert boss.post(f"{API}/renew/abandon").json()["next"] is None
    assert boss.post(f"{API}/renew/abandon").status_code == 404
    assert typed(boss, old[1], old[2]).json() == {"what": "rehearsed"}


@pytest.mark.parametrize(
    "plan",
    [
        {"needed": 1, "holders": []},
        {"needed": 2, "holders": ["A", "A", "B"]},
        {"needed": 3, "holders": ["A", "B", "C"]},
        {"needed": 1, "holders": ["A" * 61]},
        {"needed": 1, "holders": ["A"] * 9},
    ],
)
def test_a_choice_that_cannot_be_printed_is_refused(boss, kit_made, plan):
    """By both doors that take one."""
    assert boss.put(f"{API}/holders", json=plan).status_code == 422
    assert boss.post(f"{API}/renew", json={"plan": plan, "resend": True}).status_code == 422


def test_before_a_kit_was_made_there_is_nothing_to_change(boss, box_keys):
    """The page says that the worker makes one."""
    assert boss.get(API).json()["is_made"] is False
    assert boss.put(f"{API}/holders", json=ONE).status_code == 404
    assert boss.post(f"{API}/renew", json={"plan": ONE, "resend": True}).status_code == 404
    (sheet,) = words.split(words.make_secret(), needed=1, sheets=1)
    assert typed(boss, sheet).status_code == 404


CHANGES = [
    ("PUT", "/holders", ONE),
    ("POST", "/sheets/1", {"password": PASSWORD}),
    ("POST", "/file", {"password": PASSWORD}),
    ("POST", "/words", {"sheets": []}),
    ("POST", "/renew", {"plan": ONE, "resend": True}),
    ("POST", "/renew/abandon", None),
]


def test_a_browser_left_open_changes_and_prints_nothing(owner, kit_made):
    """Who they are is shown again first; how it stands may be read."""
    with kit_made.write() as connection:
        connection.exec_driver_sql("UPDATE session SET proven_at = NULL")
    assert owner.get(API).status_code == 200
    for method, path, body in CHANGES:
        answer = owner.request(method, API + path, json=body)
        assert answer.status_code == 403, path
        assert answer.json()["error"]["code"] == "access.proof-needed", path


@pytest.mark.parametrize("role", [Role.ASSOCIATE, Role.SECRETARY, Role.TECHNICAL_ADMIN])
def test_the_kit_is_the_owners(client_as, kit_made, role):
    """Not even how it stands."""
    client = client_as(role)
    assert client.get(API).status_code == 403
    for method, path, body in CHANGES:
        assert client.request(method, API + path, json=body).status_code == 403, path


def test_no_token_opens_the_kit(boss, kit_made, token_of):
    """Whatever its scope."""
    headers = token_of(Role.OWNER, *Scope)
    boss.cookies.clear()
    assert boss.get(API, headers=headers).json()["error"]["code"] == "access.scope"
    for method, path, body in CHANGES:
        answer = boss.request(method, API + path, json=body, headers=headers)
        assert answer.json()["error"]["code"] == "access.scope", path


def test_the_description_names_no_word_and_marks_what_is_secret(owner):
    """Bodies are described; no example could be mistaken for a sheet."""
    described = owner.get("/api/v1/openapi.json").json()
    assert described["components"]["schemas"]["TypedBody"]["properties"]["sheets"]["maxItems"] == 3
    assert TWO_OF_THREE.holders[0] not in json.dumps(described)
