"""Copies and their hosts as JSON: what the pages do, with the pages' own rules; secrets go in and never come out."""

from hashlib import sha256

import pytest

from appliance.accounts.app_passwords import Scope
from appliance.clock import utc_now
from appliance.db import secrets, targets
from appliance.jobs import queue
from appliance.jobs.kinds import CheckTarget, PushCopy, SetUpTarget
from appliance.model import JobState, Role
from appliance.policy.hosting import Nature
from appliance.vault.seal import make_keys
from appliance.web.pages import copies_papers
from tests.web.copied import DISK_ID, HOST_KEY, add_transfer, events, row_of, waiting

API = "/api/v1/copies"
PDF = b"%PDF-1.7\n" + b"x" * 1000
SFTP = {"kind": "sftp", "host": "sftp.neuf.fr", "user": "cabinet"}
BUCKET = {
    "kind": "s3", "endpoint": "https://s3.exemple.fr", "region": "fr-par", "bucket": "cabinet",
    "access_key": "CLE-ACCES", "secret_key": "CLE-SECRETE",
}  # fmt: skip
DISK = {"kind": "directory", "disk_id": DISK_ID}
BOX = {"kind": "box", "host": "10.0.0.2", "sender": "cabinet-1"}


# --- adding ------------------------------------------------------------------------------------


def test_a_host_is_added_its_password_sealed_and_its_preparation_queued(owner, database, settings):
    """As by the assistant; the password is in no answer."""
    make_keys(settings.keys)

    answer = owner.post(
        API,
        json={
            "label": "Nouvel hébergeur", "nature": "certified-host", "distance_km": 300,
            "place": {**SFTP, "password": "Tres-secret-9"},
        },
    )  # fmt: skip

    assert answer.status_code == 201
    body = answer.json()
    assert (body["name"], body["kind"], body["nature"], body["distance_km"]) == (
        "nouvel-hebergeur",
        "sftp",
        "certified-host",
        300,
    )
    assert body["place"]["host"] == "sftp.neuf.fr"
    assert (body["prepared"]["state"], body["is_ready"], body["may_send"]) == (
        "busy",
        False,
        False,
    )
    assert {each["code"] for each in body["remarks"] if each["blocks"]} >= {"hosting.field-missing"}
    again = owner.get(f"{API}/{body['id']}/set-up")
    assert "Tres-secret-9" not in answer.text + again.text
    with database.read() as connection:
        sealed = secrets.find_sealed(connection, f"target:{body['id']}:password")
    assert b"Tres-secret-9" not in sealed
    assert waiting(database, SetUpTarget.kind) == [{"target_id": body["id"]}]
    assert len(events(database, "target.nature-declared")) == 1
    assert "Tres-secret-9" not in str(events(database, "target.added")[0].body)


@pytest.mark.parametrize(("place", "kept"), [(BUCKET, "s3"), (DISK, None), (BOX, None)])
def test_every_kind_of_place_is_added(owner, database, settings, place, kept):
    """The two keys of a bucket are sealed like a password."""
    make_keys(settings.keys)

    answer = owner.post(API, json={"label": "Un endroit", "place": place})

    assert answer.status_code == 201, answer.text
    assert "CLE-" not in answer.text
    assert answer.json()["nature"] is None
    assert answer.json()["remarks"][0]["code"] == "hosting.nature-missing"
    if kept:
        with database.read() as connection:
            sealed = secrets.find_sealed(connection, f"target:{answer.json()['id']}:{kept}")
        assert b"CLE-" not in sealed


@pytest.mark.parametrize(
    ("place", "changes", "said"),
    [
        (SFTP, {"nature": "other"}, "encryption does not change that"),
        (SFTP, {"label": "x"}, "2 to 100"),
        (SFTP, {"distance_km": 99_999}, "Kilometres"),
        ({**SFTP, "host": "a b"}, {}, "name or address"),
        ({**SFTP, "port": 70_000}, {}, "from 1 to 65535"),
        ({**BUCKET, "region": "us-east-1"}, {}, "outside the European Economic Area"),
        ({**BUCKET, "secret_key": " "}, {}, "two keys"),
        ({**DISK, "disk_id": "abc"}, {}, "number on the disk"),
        ({**DISK, "kind": "tape"}, {}, "place"),
        ({"host": "x"}, {}, "place"),
    ],
)
def test_what_the_page_refuses_is_refused_in_the_same_words(
    owner, database, settings, place, changes, said
):
    """The law about who may keep health data first of all; nothing is stored."""
    make_keys(settings.keys)

    answer = owner.post(API, json={"label": "Un endroit", "place": place, **changes})

    assert answer.status_code == 422
    assert said in answer.json()["error"]["message"]
    assert "CLE-" not in answer.text
    with database.read() as connection:
        assert targets.all_living(connection) == []


def test_a_place_is_judged_before_it_is_added(owner, database, copied):
    """All that is wrong at once, and what is worth a thought; nothing is stored."""
    place = {**BUCKET, "bucket": " ", "endpoint": "ftp://x"}
    wanted = {"label": "x", "place": place, "nature": "other", "distance_km": 0}

    body = owner.post(f"{API}/judge", json=wanted).json()

    assert {each["field"] for each in body["problems"]} == {"label", "bucket", "nature"}
    assert "«fr-par» lies in the European Economic Area (FR)." in body["hints"]
    assert any("one fire or flood" in each for each in body["hints"])
    good = owner.post(f"{API}/judge", json={"label": "Un autre", "place": BUCKET}).json()
    assert good["problems"] == []
    with database.read() as connection:
        assert len(targets.all_living(connection)) == 4


def test_a_name_and_a_disk_are_taken_only_once(owner, copied):
    """Two copies on one disk are one."""
    taken = owner.post(API, json={"label": "Disque B", "place": DISK})
    assert "This disk is a copy already." in taken.json()["error"]["message"]
    same = owner.post(API, json={"label": "Hébergeur", "place": SFTP})
    assert same.status_code == 422


def test_a_technical_administrator_adds_a_place_and_declares_nothing(client_as, database, settings):
    """What a place is to the practice binds the practice (HDS-01)."""
    make_keys(settings.keys)
    client = client_as(Role.TECHNICAL_ADMIN)
    wanted = {"label": "Un endroit", "place": SFTP}

    declared = client.post(API, json={**wanted, "nature": "same-practice-here"})
    assert (declared.status_code, declared.json()["error"]["code"]) == (403, "access.not-allowed")

    made = client.post(API, json=wanted)
    assert (made.status_code, made.json()["nature"]) == (201, None)
    nature = client.put(f"{API}/{made.json()['id']}/nature", json={"nature": "certified-host"})
    assert nature.status_code == 403


# --- the assistant -----------------------------------------------------------------------------


def test_the_identity_that_was_shown_is_confirmed_and_no_other(owner, database, copied):
    """Nothing is pinned by looking; the place is tried afterwards."""
    host = copied.host
    offered = HOST_KEY[:-4] + "AAAA"
    with database.write() as connection:
        targets.set_facts(connection, host.id, {"offered_host_key": {"host_key": offered}})
    before = owner.get(f"{API}/{host.id}/set-up").json()
    assert (before["is_confirmed"], before["is_changed"], before["offered_key"]) == (
        True,
        True,
        offered,
    )
    assert before["fingerprint"].startswith("SHA256:")

    wrong = owner.put(f"{API}/{host.id}/host-key", json={"key": HOST_KEY})
    assert (wrong.status_code, row_of(database, "hebergeur").place["host_key"]) == (422, HOST_KEY)
    right = owner.put(f"{API}/{host.id}/host-key", json={"key": offered})

    assert (right.status_code, right.json()["is_changed"]) == (200, False)
    assert row_of(database, "hebergeur").place["host_key"] == offered
    assert waiting(database, CheckTarget.kind) == [{"target_id": host.id}]
    assert len(events(database, "target.host-key-confirmed")) == 1


def test_a_place_is_prepared_again_once_and_what_a_test_found_is_said(owner, database, copied):
    """Line by line, in the reader's words."""
    results = [
        {"check": "a", "outcome": "ok", "text": "Sites %(x)s", "facts": {"x": "deux"}},
        {"check": "b", "outcome": "failed", "text": "Sites %(y)s", "facts": {}},
        "of another version",
    ]
    with database.write() as connection:
        targets.set_facts(connection, copied.host.id, {"check": {"results": results}})

    assert owner.post(f"{API}/{copied.host.id}/prepare").status_code == 202
    assert owner.post(f"{API}/{copied.host.id}/prepare").status_code == 409
    assert waiting(database, SetUpTarget.kind) == [{"target_id": copied.host.id}]
    body = owner.get(f"{API}/{copied.host.id}/set-up").json()
    assert [(each["outcome"], each["text"]) for each in body["checks"]] == [
        ("ok", "Sites deux"),
        ("failed", "Sites %(y)s"),
    ]
    assert body["prepared"] == {"state": "busy", "job_id": body["prepared"]["job_id"]}


# --- changing ----------------------------------------------------------------------------------


def test_what_is_not_named_stays(owner, database, copied):
    """A distance that is not known any more is null."""
    address = f"{API}/{copied.host.id}"

    renamed = owner.patch(address, json={"label": "  Un  autre "}).json()
    assert (renamed["label"], renamed["distance_km"]) == ("Un autre", 220)
    assert owner.patch(address, json={"distance_km": None}).json()["distance_km"] is None
    assert owner.patch(address, json={"distance_km": 12}).json()["label"] == "Un autre"
    for wrong in ({"label": "  "}, {"distance_km": -1}, {"distance_km": 10**30}):
        assert owner.patch(address, json=wrong).status_code == 422, wrong
    assert row_of(database, "hebergeur").distance_km == 12


def test_somebody_else_may_be_declared_and_nothing_is_sent_there(owner, database, copied):
    """As on the page: kept in the journal with whose word it is, and refused by the law."""
    answer = owner.put(f"{API}/{copied.box.id}/nature", json={"nature": "other"})

    assert answer.status_code == 200
    assert answer.json()["may_send"] is False
    assert [each["code"] for each in answer.json()["remarks"]] == ["hosting.other-refused"]
    assert row_of(database, "pasteur").nature == Nature.OTHER
    assert events(database, "target.nature-declared")[-1].body["nature"] == "other"
    assert owner.put(f"{API}/{copied.box.id}/nature", json={"nature": "x"}).status_code == 422


def test_the_timetable_is_set_read_and_freed(owner, copied):
    """In bytes a second; 0 is a pause."""
    address = f"{API}/{copied.host.id}/bandwidth"
    rule = {"bytes_s": 0, "days": [0, 4], "start": "08:00", "end": "19:30"}

    kept = owner.put(address, json={"rules": [rule]})

    assert kept.json()["rules"] == [rule]
    assert owner.get(address).json()["rules"] == [rule]
    assert len(owner.put(address, json={"usual": True}).json()["rules"]) == 2
    freed = owner.put(address, json={}).json()
    assert freed == {"rules": [], "now_bytes_s": None, "next_change": None}


@pytest.mark.parametrize(
    "rule",
    [
        {"bytes_s": 0, "days": list(range(7)), "start": "00:00", "end": "00:00"},
        {"bytes_s": 5, "days": [0], "start": "08:00", "end": "19:00"},
        {"bytes_s": 5000, "days": [], "start": "08:00", "end": "19:00"},
        {"bytes_s": 5000, "days": [9], "start": "08:00", "end": "19:00"},
        {"bytes_s": 5000, "days": [0], "start": "08:00:30", "end": "19:00"},
        {"bytes_s": 5000, "days": [0], "start": "٠٨:٠٠", "end": "19:00"},
    ],
)
def test_a_timetable_that_cannot_be_meant_changes_nothing(owner, database, copied, rule):
    """One by which nothing would ever leave is none."""
    answer = owner.put(f"{API}/{copied.host.id}/bandwidth", json={"rules": [rule]})
    assert answer.status_code == 422
    assert row_of(database, "hebergeur").bandwidth == []


def test_a_copy_is_removed_only_when_its_name_was_typed(owner, database, copied):
    """What is under way is asked to stop; the copy's secrets are forgotten."""
    add_transfer(database, copied.bucket, utc_now())
    address = f"{API}/{copied.bucket.id}"

    assert owner.post(f"{address}/remove", json={"typed": "coffr"}).status_code == 422
    assert owner.get(address).status_code == 200
    assert owner.post(f"{address}/remove", json={"typed": "COFFRE"}).status_code == 204

    assert owner.get(address).status_code == 404
    with database.read() as connection:
        assert secrets.find_sealed(connection, f"target:{copied.bucket.id}:s3") is None
        (job,) = queue.newest(connection, limit=1, kind=PushCopy.kind, states=[JobState.RUNNING])
    assert job.cancel_asked_at is not None


# --- what is known -----------------------------------------------------------------------------


def test_the_evidence_says_what_a_thief_could_do_and_what_a_host_answered(owner, database, copied):
    """Typed, and in words; what is wrong comes with what to do."""
    host = owner.get(f"{API}/{copied.host.id}/evidence").json()
    assert {each["outcome"] for each in host["attempts"]} == {"done"}
    assert all(each["action"] and each["text"] for each in host["attempts"])
    assert host["tampered_at"] is not None
    assert len(host["uploads"]) == 9
    assert host["uploads"][0]["sent_bytes"] == 41_000_000_000
    assert host["bucket"] == []

    bucket = owner.get(f"{API}/{copied.bucket.id}/evidence").json()
    answers = {each["question"]: each for each in bucket["bucket"]}
    assert answers["lock"]["state"] == "ok"
    assert answers["lifecycle"]["state"] == "bad"
    assert answers["encryption"] == {
        **answers["encryption"], "state": "unknown", "answered_at": None
    }  # fmt: skip
    assert bucket["findings"]
    assert {each["target_id"] for each in bucket["findings"]} <= {copied.bucket.id, None}
    assert all(each["code"] and each["text"] and each["action"] for each in bucket["findings"])
    every = owner.get(API).json()["findings"]
    grave = ["alarm", "warning", "notice"]
    assert [each["severity"] for each in every] == sorted(
        (each["severity"] for each in every), key=grave.index
    )
    assert {each["code"] for each in bucket["findings"]} <= {each["code"] for each in every}

    with database.write() as connection:
        targets.set_facts(connection, copied.disk.id, {"disk": {"state": "away"}})
    disk = owner.get(f"{API}/{copied.disk.id}/evidence").json()
    assert disk["disk"]["state"] == "away"
    assert "may be taken away" in disk["disk"]["text"]


# --- the host's dossier ------------------------------------------------------------------------


def test_a_dossier_is_read_with_what_follows_from_it(owner, copied):
    """The fourteen points, the certificate, the documents."""
    body = owner.get(f"{API}/{copied.host.id}/host").json()

    assert (body["is_host"], body["may_send"], body["state"]) == (True, True, "valid")
    assert 600 < body["days_left"] <= 700
    assert body["dossier"]["company"] == "Hébergeur Exemple SAS"
    assert body["dossier"]["sites"] == [{"city": "Roubaix", "country": "FR"}]
    assert [each["state"] for each in body["points"]] == ["present"] * 14
    assert body["papers"] == [{"kind": "certificate", "sha256": "ab" * 32, "is_here": False}]
    empty = owner.get(f"{API}/{copied.box.id}/host").json()
    assert (empty["is_host"], empty["may_send"], empty["state"]) == (False, False, "incomplete")


def test_only_what_is_named_changes_in_a_dossier(owner, database, copied):
    """Points one by one; «» empties a field; a person without a name is nobody."""
    before = row_of(database, "hebergeur").dossier

    answer = owner.patch(
        f"{API}/{copied.host.id}/host",
        json={
            "siren": "", "contract": {"3": "asked"}, "deputy": {},
            "sites": [{"city": "Lyon", "country": "fr"}], "activities": [1, 2],
            "professional": {"name": "Dr Petit", "rpps": "30303030303", "designated_on": "2026-01-02"},
            "subcontractors": [{"name": "Câbles SA", "activities": [1]}],
        },
    )  # fmt: skip

    assert answer.status_code == 200
    body = answer.json()
    assert body["may_send"] is False
    assert {"hosting.activity-6-missing", "hosting.subcontractor-uncertified"} <= {
        each["code"] for each in body["remarks"] if each["blocks"]
    }
    assert body["points"][2]["state"] == "asked"
    assert body["points"][3]["state"] == "present"
    after = row_of(database, "hebergeur").dossier
    assert "siren" not in after
    assert "deputy" not in after
    assert after["sites"] == [{"city": "Lyon", "country": "FR"}]
    assert after["professional"]["name"] == "Dr Petit"
    changed = {
        "siren",
        "contract",
        "deputy",
        "sites",
        "activities",
        "professional",
        "subcontractors",
    }
    kept = {name: value for name, value in before.items() if name not in changed}
    assert {name: after[name] for name in kept} == kept
    told = events(database, "target.dossier-changed")[-1]
    assert set(told.body["fields"]) == changed
    assert "Petit" not in str(told.body)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sites": [{"city": "Lyon", "country": "FRA"}]}, "sites.0.country"),
        ({"siren": "12"}, "siren"),
        ({"expires_on": "demain"}, "expires_on"),
        ({"contract": {"15": "present"}}, "contract.15"),
        ({"activities": [7]}, "activities"),
        ({"professional": {"name": "Dr Petit"}}, "professional.designated_on"),
        ({"version": "v3"}, "version"),
        ({"grace_days": 400}, "grace_days"),
    ],
)
def test_what_cannot_be_meant_in_a_dossier_is_named_and_nothing_is_kept(
    owner, database, copied, changes, field
):
    """Dotted, as in the file of the command line."""
    before = row_of(database, "hebergeur").dossier

    answer = owner.patch(f"{API}/{copied.host.id}/host", json={"company": "Autre", **changes})

    assert answer.status_code == 422
    assert field in answer.json()["error"]["message"]
    assert row_of(database, "hebergeur").dossier == before


def test_a_document_is_kept_with_its_hash_and_comes_back_as_a_download(
    owner, database, settings, copied
):
    """What it holds is foreign: never shown in our name; of another host it is not there."""
    papers = f"{API}/{copied.host.id}/host/papers"
    digest = sha256(PDF).hexdigest()

    kept = owner.post(f"{papers}?kind=contract&sha256={digest}", content=PDF)

    assert (kept.status_code, kept.json()) == (
        201,
        {"kind": "contract", "sha256": digest, "is_here": True},
    )
    back = owner.get(f"{papers}/{digest}")
    assert back.content == PDF
    assert back.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in back.headers["content-security-policy"]
    assert owner.get(f"{API}/{copied.bucket.id}/host/papers/{digest}").status_code == 404
    documents = row_of(database, "hebergeur").dossier["documents"]
    assert documents[-1] == {"kind": "contract", "sha256": digest}
    assert owner.post(f"{papers}?kind=contract", content=PDF).status_code == 201
    assert row_of(database, "hebergeur").dossier["documents"] == documents


@pytest.mark.parametrize(
    ("query", "content"),
    [
        ("kind=contract", b"<html>"),
        ("kind=contract", b""),
        ("kind=novel", PDF),
        ("kind=contract&sha256=" + "ab" * 32, PDF),
        ("kind=contract", b"%PDF-" + bytes(copies_papers.LARGEST)),
    ],
)
def test_what_is_no_paper_or_came_damaged_is_refused(
    owner, database, settings, copied, query, content
):
    """Nothing is written; so of one that is too large."""
    before = row_of(database, "hebergeur").dossier
    answer = owner.post(f"{API}/{copied.host.id}/host/papers?{query}", content=content)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"]
    assert not (settings.data / "dossiers").exists()
    assert row_of(database, "hebergeur").dossier == before


@pytest.mark.parametrize("which", ["designation", "reversibility"])
def test_a_letter_is_one_file_that_needs_nothing_else(owner, copied, which):
    """In French, as the law it quotes; a download that opens anywhere."""
    answer = owner.get(f"{API}/{copied.host.id}/host/letters/{which}")

    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{which}.html"')
    assert '<html lang="fr">' in answer.text
    assert "Hébergeur Exemple SAS" in answer.text
    assert "<style>" in answer.text
    assert "/static/" not in answer.text
    assert owner.get(f"{API}/{copied.host.id}/host/letters/love").status_code == 422


# --- who ---------------------------------------------------------------------------------------

CHANGES = [
    ("POST", "", {"label": "Un endroit", "place": SFTP}, Role.TECHNICAL_ADMIN),
    ("POST", "/judge", {"label": "Un endroit", "place": SFTP}, Role.TECHNICAL_ADMIN),
    ("GET", "/{id}/set-up", None, Role.TECHNICAL_ADMIN),
    ("POST", "/{id}/prepare", None, Role.TECHNICAL_ADMIN),
    ("POST", "/{id}/check", None, Role.TECHNICAL_ADMIN),
    ("POST", "/{id}/tamper", None, Role.TECHNICAL_ADMIN),
    ("PUT", "/{id}/host-key", {"key": "x"}, Role.TECHNICAL_ADMIN),
    ("PATCH", "/{id}", {}, Role.TECHNICAL_ADMIN),
    ("PUT", "/{id}/bandwidth", {}, Role.TECHNICAL_ADMIN),
    ("PUT", "/{id}/nature", {"nature": "certified-host"}, Role.OWNER),
    ("PATCH", "/{id}/host", {}, Role.OWNER),
    ("POST", "/{id}/host/papers?kind=contract", None, Role.OWNER),
    ("POST", "/{id}/remove", {"typed": "x"}, Role.TECHNICAL_ADMIN),
]


@pytest.mark.parametrize("role", [Role.OWNER, Role.ASSOCIATE, Role.SECRETARY, Role.TECHNICAL_ADMIN])
def test_each_role_does_by_the_api_what_it_does_on_the_page(client_as, copied, role):
    """Who may not see the copies is told that they are not there."""
    client = client_as(role)
    for method, path, body, least in CHANGES:
        status = client.request(method, API + path.format(id=copied.host.id), json=body).status_code
        if role in {Role.OWNER, least}:
            assert status in {200, 201, 202, 422}, (method, path)
        else:
            assert status == 403, (method, path)
    sees = 404 if role is Role.SECRETARY else 200
    for path in ("/evidence", "/bandwidth", "/host", "/host/letters/designation"):
        assert client.get(f"{API}/{copied.host.id}{path}").status_code == sees, path


def test_a_token_reads_the_state_and_starts_tasks_and_no_more(owner, copied, token_of):
    """No address, no dossier, nothing that changes where the practice's data go."""
    headers = token_of(Role.OWNER, *Scope)
    owner.cookies.clear()
    one = f"{API}/{copied.host.id}"
    for path in ("", "/generations", "/bandwidth"):
        assert owner.get(one + path, headers=headers).status_code == 200, path
    for path in ("/set-up", "/evidence", "/host", "/host/papers/x", "/host/letters/designation"):
        assert owner.get(one + path, headers=headers).status_code == 403, path
    for path in ("/push", "/verify", "/tamper", "/check"):
        assert owner.post(one + path, headers=headers).status_code == 202, path
    for method, path, body, _ in CHANGES:
        if path in {"/{id}/check", "/{id}/tamper"}:
            continue
        answer = owner.request(
            method, API + path.format(id=copied.host.id), json=body, headers=headers
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "access.scope"), path


def test_what_is_not_there_is_not_found(owner, copied):
    """Whatever is asked of it."""
    bodies = {"host-key": {"key": "x"}, "nature": {"nature": "other"}, "remove": {"typed": "x"}}
    for method, path, _, _ in CHANGES[2:]:
        body = bodies.get(path.rpartition("/")[2], {})
        answer = owner.request(method, API + path.format(id=99), json=body)
        if path.startswith("/{id}/host/papers"):
            answer = owner.post(API + path.format(id=99), content=PDF)
        assert answer.status_code == 404, path
