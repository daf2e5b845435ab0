"""People, replacements, emergency access and correspondents' links as JSON: the pages' own rules hold."""

from base64 import urlsafe_b64encode
from datetime import timedelta

import pytest

from appliance.accounts import app_passwords
from appliance.accounts.app_passwords import Kind, Scope
from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.schema_disk import received_file
from appliance.disk import bin as bins
from appliance.ledger import chain
from appliance.model import Role
from appliance.policy.share_rights import ALL, Right

API = "/api/v1"


@pytest.fixture
def share(database, tmp_path):
    folder = tmp_path / "documents"
    (folder / "exam").mkdir(parents=True)
    (folder / "letter.pdf").write_bytes(b"%PDF-1.7 a letter")
    with database.write() as c:
        made = shares.add(c, name="documents", label="Documents", folder=folder, now=utc_now())
        for role, rights in ((Role.OWNER, ALL), (Role.SECRETARY, {Right.SEE})):
            shares.grant(c, made.id, rights, role=role, by=None, now=utc_now())
    return made


@pytest.fixture
def boss(owner, database):
    with database.write() as c:
        c.exec_driver_sql("UPDATE session SET proven_at = created_at")
    return owner


def packed(text):
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


# --- people --------------------------------------------------------------------------------


def test_an_account_is_opened_entered_by_a_link_and_closed(boss, database):
    """The link is in the answer, once; the ledger keeps who did it."""
    made = boss.post(
        f"{API}/people", json={"login": "Luc.Petit", "name": "Luc  Petit", "role": "associate"}
    )
    assert made.status_code == 201
    number = made.json()["id"]
    assert "/link#" in made.json()["url"]
    (line,) = [each for each in boss.get(f"{API}/people").json() if each["id"] == number]
    assert (line["login"], line["name"], line["role"], line["closed_at"]) == (
        "luc.petit",
        "Luc Petit",
        "associate",
        None,
    )
    again = boss.post(f"{API}/people/{number}/link")
    assert again.json()["url"] != made.json()["url"]
    assert boss.post(f"{API}/people/{number}/close").status_code == 204
    assert boss.post(f"{API}/people/{number}/close").status_code == 422
    with database.read() as c:
        for event in ("person.add", "link.made", "person.close"):
            assert len(chain.newest(c, event=event, subject=f"person:{number}")) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"login": "x", "name": "", "role": "associate"}, 422),
        ({"login": "luc.petit", "name": "Luc Petit", "role": "locum"}, 422),
        ({"login": "luc.petit", "name": "Luc Petit", "role": "god"}, 422),
        ({"login": "owner.martin", "name": "Luc Petit", "role": "owner"}, 409),
    ],
)
def test_an_account_that_cannot_be_is_refused(boss, body, status):
    """As on the page."""
    assert boss.post(f"{API}/people", json=body).status_code == status


def test_nobody_closes_their_own_account(boss, person_of):
    """Somebody stays responsible."""
    me = person_of(Role.OWNER).id
    assert boss.post(f"{API}/people/{me}/close").status_code == 422


def test_what_matters_most_asks_who_it_is_and_no_token_opens_it(owner, database, person_of):
    """A browser left open, or a program's token, changes no account."""
    me = person_of(Role.OWNER)
    with database.write() as c:
        c.exec_driver_sql("UPDATE session SET proven_at = NULL")
        secret, _ = app_passwords.make(
            c, me.id, kind=Kind.API, label="x", scope=list(Scope), now=utc_now()
        )
    body = {"login": "luc.petit", "name": "Luc Petit", "role": "associate"}
    answer = owner.post(f"{API}/people", json=body)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "access.proof-needed"
    owner.cookies.clear()
    headers = {"authorization": f"Bearer {secret}"}
    for path in ("people", "locums", "emergency", "access-review"):
        assert owner.get(f"{API}/{path}", headers=headers).status_code == 403, path
    assert owner.get(f"{API}/links", headers=headers).status_code == 200


@pytest.mark.parametrize("role", [Role.SECRETARY, Role.ASSOCIATE, Role.TECHNICAL_ADMIN])
def test_only_an_owner_sees_the_accounts(client_as, role):
    """And reviews them."""
    client = client_as(role)
    assert client.get(f"{API}/people").status_code == 403
    assert client.get(f"{API}/access-review").status_code == 403


def test_a_review_is_signed_when_every_account_was_confirmed(boss, person_of, share):
    """With the digest of just what was seen."""
    person_of(Role.SECRETARY)
    seen = boss.get(f"{API}/access-review").json()
    assert seen["last_at"] is None
    assert seen["accounts"][0]["rights"]
    ids = [each["id"] for each in seen["accounts"]]
    wrong = {"digest": seen["digest"], "confirmed": ids[:1], "name": "Claude Martin"}
    assert boss.post(f"{API}/access-review", json=wrong).status_code == 422
    right = {"digest": seen["digest"], "confirmed": ids, "name": "Claude Martin owner"}
    assert boss.post(f"{API}/access-review", json=right).status_code == 204
    assert boss.get(f"{API}/access-review").json()["last_by"]


# --- replacements and emergency access -----------------------------------------------------


def test_a_replacement_is_prepared_extended_and_ended(boss, person_of, share):
    """Rights are a part of whom they replace; the link is shown once."""
    me, now = person_of(Role.OWNER).id, utc_now()
    body = {
        "name": "Rémi Rempla", "login": "remi.rempla", "rpps": "10001234567", "replaces_id": me,
        "starts_at": now.isoformat(), "ends_at": (now + timedelta(days=3)).isoformat(),
        "rights": {str(share.id): ["see"]},
    }  # fmt: skip
    made = boss.post(f"{API}/locums", json=body)
    assert made.status_code == 201, made.text
    term = made.json()["term"]
    assert "/link#" in made.json()["url"]
    assert (term["is_running"], term["rights"]) == (True, {str(share.id): ["see"]})
    here = f"{API}/locums/{term['id']}"
    later = (now + timedelta(days=5)).isoformat()
    assert boss.post(f"{here}/extend", json={"ends_at": later}).status_code == 200
    assert boss.post(f"{here}/extend", json={"ends_at": "2027-01-01T00:00:00"}).status_code == 422
    assert boss.post(f"{here}/end").json()["is_running"] is False
    assert [each["id"] for each in boss.get(f"{API}/locums").json()] == [term["id"]]
    for rights in ({"x": ["see"]}, {"1": ["fly"]}, {"9999999999": []}):
        assert boss.post(f"{API}/locums", json={**body, "rights": rights}).status_code == 422


def test_an_associate_sees_their_own_replacements_only(client_as, person_of):
    """Another's is not there."""
    person_of(Role.LOCUM)  # of the owner
    client = client_as(Role.ASSOCIATE)
    assert client.get(f"{API}/locums").json() == []
    assert client.get(f"{API}/locums/1").status_code == 404
    assert client.post(f"{API}/locums/1/end").status_code == 404


def test_emergency_access_is_taken_seen_and_reviewed(client_as, person_of, share):
    """An associate takes it with a reason; others than its taker and an owner do not see it."""
    client = client_as(Role.ASSOCIATE)
    short = {"share_id": share.id, "reason": "short"}
    assert client.post(f"{API}/emergency", json=short).status_code == 422
    wanted = {"share_id": share.id, "reason": "Patient in the waiting room, doctor away"}
    made = client.post(f"{API}/emergency", json=wanted)
    assert made.status_code == 201
    here = f"{API}/emergency/{made.json()['id']}"
    assert client.get(here).json()["is_running"] is True
    assert client.post(f"{here}/review", json={"review": "fine"}).status_code == 403
    assert client.post(f"{here}/end").json()["is_running"] is False
    locum = client_as(Role.LOCUM)
    assert locum.get(here).status_code == 404
    assert locum.get(f"{API}/emergency").json() == []
    boss = client_as(Role.OWNER)
    assert len(boss.get(f"{API}/emergency").json()) == 1
    assert boss.post(f"{here}/review", json={"review": "Looked at with Luc."}).status_code == 204
    assert boss.get(here).json()["review"] == "Looked at with Luc."
    assert boss.get(f"{API}/emergency/999").status_code == 404


# --- links ---------------------------------------------------------------------------------


def test_a_link_is_made_listed_and_withdrawn(owner, share):
    """Its address and password are in one answer only."""
    body = {"share": "documents", "p": packed("letter.pdf"), "label": "Dr Petit", "days": 3}
    made = owner.post(f"{API}/links", json=body)
    assert made.status_code == 201
    url, number = made.json()["url"], made.json()["id"]
    assert made.json()["password"]
    (line,) = owner.get(f"{API}/links").json()
    assert (line["state"], line["label"], line["what"]) == (
        "open",
        "Dr Petit",
        "Documents › letter.pdf",
    )
    assert url.rpartition("/")[2] not in str(line)
    assert owner.get(url.removeprefix("https://testserver")).status_code == 200
    for _ in range(2):
        assert owner.post(f"{API}/links/{number}/revoke").status_code == 204
    assert owner.get(f"{API}/links/{number}").json()["state"] == "revoked"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"days": 0}, 422), ({"days": 91}, 422), ({"label": " "}, 422), ({"kind": "take"}, 422),
        ({"p": packed("nothing.pdf")}, 404), ({"p": packed("../x")}, 422), ({"share": "other"}, 404),
        ({"kind": "ask", "p": packed("letter.pdf")}, 404), ({"kind": "ask", "most_uses": 3}, 422),
        ({"kinds": ["programs"]}, 422), ({"most_uses": 0}, 422),
    ],
)  # fmt: skip
def test_a_link_that_may_not_be_is_refused(owner, share, change, status):
    """By the same rules as on the page."""
    body = {"share": "documents", "p": packed("letter.pdf"), "label": "Dr Petit", **change}
    assert owner.post(f"{API}/links", json=body).status_code == status


def test_who_may_not_share_out_makes_no_link_and_sees_no_one_else_s(client_as, share):
    """A secretary who may see."""
    body = {"share": "documents", "p": packed("letter.pdf"), "label": "Dr Petit"}
    number = client_as(Role.OWNER).post(f"{API}/links", json=body).json()["id"]
    client = client_as(Role.SECRETARY)
    assert client.post(f"{API}/links", json=body).status_code == 403
    assert client.get(f"{API}/links?everybody=1").json() == []
    for path in ("", "/received"):
        assert client.get(f"{API}/links/{number}{path}").status_code == 404
    assert client.post(f"{API}/links/{number}/revoke").status_code == 404
    assert client.post(f"{API}/links/{number}/received", json={"do": "refuse"}).status_code == 404
    assert client_as(Role.TECHNICAL_ADMIN).get(f"{API}/links").status_code == 404


def test_what_came_by_a_request_is_accepted_or_refused(owner, share, database):
    """One into its folder, one for good; a second time changes nothing."""
    body = {"share": "documents", "p": packed("exam"), "label": "Dr Petit", "kind": "ask"}
    number = owner.post(f"{API}/links", json=body).json()["id"]
    ids = []
    for name in (b"a.pdf", b"b.pdf"):
        (bins.own_folder(share, bins.QUARANTINE) / name.decode()).write_bytes(b"%PDF-1.7")
        with database.write() as c:
            row = received_file.insert().values(
                link_id=number,
                name=name,
                stored=name.decode(),
                size=8,
                sha256="0" * 64,
                received_at=utc_now(),
            )
            ids.append(c.execute(row).inserted_primary_key[0])
    here = f"{API}/links/{number}/received"
    assert {each["state"] for each in owner.get(here).json()} == {"waiting"}
    assert owner.post(here, json={"do": "accept", "files": ids[:1]}).json() == {"count": 1}
    assert owner.post(here, json={"do": "refuse"}).json() == {"count": 1}
    assert owner.post(here, json={"do": "accept"}).json() == {"count": 0}
    assert (share.folder / "exam" / "a.pdf").exists()
    assert not (share.folder / "exam" / "b.pdf").exists()
    states = {each["name"]: each["state"] for each in owner.get(here).json()}
    assert states == {"a.pdf": "accepted", "b.pdf": "declined"}


# --- shares --------------------------------------------------------------------------------


def test_a_share_is_made_given_rights_on_set_and_closed(boss, database, person_of):
    """Whoever makes it may do all there; each change is in the ledger."""
    made = boss.post(f"{API}/shares", json={"label": "Comptes rendus"})
    assert made.status_code == 201, made.text
    assert made.json()["name"] == "comptes-rendus"
    assert [each["person_id"] for each in made.json()["grants"]] == [person_of(Role.OWNER).id]
    here = f"{API}/shares/comptes-rendus"
    given = boss.post(f"{here}/rights", json={"role": "secretary", "rights": ["see", "add"]})
    assert {"rights": ["add", "see"], "person_id": None, "role": "secretary"} in given.json()[
        "grants"
    ]
    changed = boss.patch(here, json={"bin_days": 60, "over_dav": True, "quota_bytes": 10**9})
    assert (changed.json()["bin_days"], changed.json()["over_dav"]) == (60, True)
    assert boss.patch(here, json={"quota_bytes": 0}).json()["quota_bytes"] is None
    assert boss.get(f"{API}/shares").json()[0]["label"] == "Comptes rendus"
    assert boss.post(f"{here}/close").status_code == 204
    assert boss.get(here).status_code == 404
    with database.read() as c:
        for event in ("share.changed", "share.closed"):
            assert chain.newest(c, event=event)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("", {"label": " "}, 422),
        ("", {"label": "Etc", "folder": "/etc"}, 422),
        ("", {"label": "Documents"}, 409),
        ("/documents/rights", {"rights": ["see"]}, 422),
        ("/documents/rights", {"rights": ["see"], "role": "secretary", "person_id": 1}, 422),
        ("/documents/rights", {"rights": ["fly"], "role": "secretary"}, 422),
        ("/documents/rights", {"rights": ["see"], "role": "god"}, 422),
        ("/documents/rights", {"rights": ["see"], "role": "technical-admin"}, 422),
        ("/documents/rights", {"rights": ["see"], "person_id": 9999}, 404),
        ("/other/rights", {"rights": ["see"], "role": "secretary"}, 404),
    ],
)
def test_what_may_not_be_of_a_share_is_refused(boss, share, path, body, status):
    """By the page's own rules."""
    assert boss.post(f"{API}/shares{path}", json=body).status_code == status


def test_shares_are_made_by_who_may(client_as, share):
    """Not by a secretary, whatever rights they hold on one."""
    client = client_as(Role.SECRETARY)
    assert client.get(f"{API}/shares").status_code == 403
    assert client.post(f"{API}/shares", json={"label": "x"}).status_code == 403
