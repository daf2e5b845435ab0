"""A replacement, from its preparation to its report, as the pages do it (SEC-02)."""

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from starlette.testclient import TestClient

from appliance.accounts import locums, people, sessions
from appliance.accounts.upkeep import accounts_upkeep
from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.ledger import chain
from appliance.model import Person, PersonId, Role
from appliance.policy.share_rights import ALL, Right
from appliance.web.security import COOKIE

PARIS = ZoneInfo("Europe/Paris")


def local(moment):
    return moment.astimezone(PARIS).strftime("%Y-%m-%dT%H:%M")


def packed(name: str) -> str:
    return urlsafe_b64encode(name.encode()).decode().rstrip("=")


@pytest.fixture
def share(database: Database, tmp_path: Path, person_of: Callable[[Role], Person]) -> Share:
    """A share of the owner's."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "Dupont Émile.txt").write_text("a letter")
    owner = person_of(Role.OWNER)
    with database.write() as connection:
        made = shares.add(
            connection, name="documents", label="Documents", folder=folder, now=utc_now()
        )
        shares.grant(connection, made.id, ALL, person_id=owner.id, by=owner.id, now=utc_now())
    return made


@pytest.fixture
def form(share: Share, person_of: Callable[[Role], Person]) -> dict[str, object]:
    """A form filled in well: begins a minute ago, for a week."""
    now = utc_now()
    return {
        "replaces": person_of(Role.OWNER).id,
        "name": "Paul Durand",
        "login": "paul.durand",
        "rpps": "10001234567",
        "starts": local(now - timedelta(minutes=2)),
        "ends": local(now + timedelta(days=7)),
        f"share-{share.id}": ["see"],
    }


def term_of(database, login="paul.durand"):
    with database.read() as connection:
        row = people.find_row(connection, login)
        return locums.of_person(connection, PersonId(row.id))[0]


def as_person(client: TestClient, database: Database, person_id: PersonId) -> TestClient:
    with database.write() as connection:
        token = sessions.start(
            connection, person_id, now=utc_now(), address="127.0.0.1", user_agent="tests"
        )
    return become(client, token)


def become(client: TestClient, token: str) -> TestClient:
    client.cookies.clear()
    client.cookies.set(COOKIE, token)
    return client


def test_a_replacement_is_prepared_opens_is_used_and_ends(owner, database, form, share):
    """One form, one link, documents that can be read; ended by the doctor, all of it is shut at once."""
    answer = owner.post("/locums/new", data=form)
    assert answer.status_code == 200
    token = re.search(r"/link#([\w-]{40,})", answer.text).group(1)
    term = term_of(database)
    assert f"/link#{token}" not in owner.get(f"/locums/{term.id}").text
    mine = owner.cookies[COOKIE]

    owner.cookies.clear()
    assert owner.post("/link", data={"token": token}).status_code == 303
    locum = as_person(owner, database, term.person_id)
    assert locum.get(f"/disk/documents/file?p={packed('Dupont Émile.txt')}").text == "a letter"
    refused = locum.post(
        "/api/v1/disk/documents/delete", json={"items": [packed("Dupont Émile.txt")]}
    ).json()
    assert refused["done"][0]["code"] == "access.not-allowed"
    assert locum.get("/locums").status_code == 403
    theirs = locum.cookies[COOKIE]

    become(owner, mine)
    report = owner.get(f"/locums/{term.id}/report").text
    assert "Dupont Émile.txt" in report
    assert "will grow" in report
    assert owner.post(f"/locums/{term.id}/end").status_code == 303
    assert "is over" in owner.get("/notices").text
    assert "Paul Durand, locum of Claude Martin owner" in owner.get("/ledger").text
    become(locum, theirs)
    assert locum.get("/disk/documents").status_code == 303
    assert locum.get("/api/v1/disk/documents/list").status_code == 401


def test_before_the_term_signing_in_says_from_when(owner, database, form):
    """Neither by the link, which stays good, nor by a password."""
    later = utc_now() + timedelta(days=2)
    answer = owner.post("/locums/new", data=form | {"starts": local(later)})
    token = re.search(r"/link#([\w-]{40,})", answer.text).group(1)
    owner.cookies.clear()
    for _ in range(2):
        refused = owner.post("/link", data={"token": token})
        assert refused.status_code == 403
        assert "begins on" in refused.text
    with database.read() as connection:
        refusals = chain.newest(connection, event="session.start", subject="person:2")
    assert refusals == []


def test_after_the_term_a_right_password_opens_nothing(owner, database, form, password_hash):
    """The minute after: refused, and written down (SEC-02's check)."""
    owner.post("/locums/new", data=form)
    term = term_of(database)
    with database.write() as connection:
        people.set_password(connection, term.person_id, password_hash)
        owner_person = people.get(connection, term.sponsor_id)
        locums.end(connection, term.id, by=owner_person, now=utc_now())
    owner.cookies.clear()
    answer = owner.post("/sign-in", data={"login": "paul.durand", "password": "Trois-lampes9"})
    assert answer.status_code == 403
    assert "during a replacement only" in answer.text
    with database.read() as connection:
        (refused,) = chain.newest(connection, event="session.refused")
        assert refused.body["reason"] == "outside-the-term"


def test_a_wrong_field_changes_nothing(owner, database, form):
    """And the form comes back with what was typed."""
    wrong = [
        {"rpps": "12"},
        {"ends": local(utc_now() + timedelta(days=200))},
        {"ends": ""},
        {"login": "remplacant"},
        {"replaces": "999"},
    ]
    for change in wrong:
        answer = owner.post("/locums/new", data=form | change)
        assert answer.status_code == 422, change
        assert 'value="Paul Durand"' in answer.text
    with database.read() as connection:
        assert people.find_row(connection, "paul.durand") is None
        assert locums.every(connection) == []


def test_an_associate_prepares_their_own_replacement_and_sees_no_other(
    client_as, owner, database, form, share, person_of
):
    """Rights of their own, and nobody else's terms."""
    owner.post("/locums/new", data=form)
    term = term_of(database)
    me = person_of(Role.ASSOCIATE)
    with database.write() as connection:
        shares.grant(connection, share.id, {Right.SEE}, person_id=me.id, by=None, now=utc_now())
    associate = client_as(Role.ASSOCIATE)
    assert associate.get(f"/locums/{term.id}").status_code == 404
    assert associate.post(f"/locums/{term.id}/end").status_code == 404
    assert associate.post("/locums/new", data=form | {"login": "x.y"}).status_code == 403
    own = form | {
        "replaces": me.id,
        "name": "Eve Roux",
        "login": "eve.roux",
        f"share-{share.id}": ["see", "delete"],
    }
    assert associate.post("/locums/new", data=own).status_code == 200
    made = term_of(database, "eve.roux")
    assert made.rights == {share.id: {Right.SEE}}
    assert "Paul Durand" not in associate.get("/locums").text


@pytest.mark.parametrize("role", [Role.SECRETARY, Role.LOCUM, Role.TECHNICAL_ADMIN])
def test_others_prepare_nothing(client_as, role):
    """Nor a technical administrator, who gives nobody sight of a document."""
    client = client_as(role)
    assert client.get("/locums").status_code == 403
    assert client.post("/locums/new").status_code == 403


def test_what_a_locum_may_copy_is_an_owners_word(client_as, database):
    """Not the technical administrator's, who sees no document: neither here nor in the settings."""
    technician = client_as(Role.TECHNICAL_ADMIN)
    data = {"most_days": "90", "case_copies": "on"}
    assert technician.post("/locums/rules", data=data).status_code == 403
    with database.read() as connection:
        assert not locums.rules(connection).case_copies


def test_a_case_copy_is_allowed_by_a_setting_and_always_noted(owner, database, form, share):
    """Into a folder of the replacement, and by this way only."""
    assert owner.post("/locums/new", data=form | {"case_copies": "on"}).status_code == 422
    owner.post("/locums/rules", data={"most_days": "90", "case_copies": "on"})
    owner.post("/locums/new", data=form | {"case_copies": "on"})
    term = term_of(database)
    mine = owner.cookies[COOKIE]
    locum = as_person(owner, database, term.person_id)
    document = packed("Dupont Émile.txt")
    assert "/disk/documents/case-copy" in locum.get("/disk/documents").text
    for _ in range(2):
        copied = locum.post("/disk/documents/case-copy", data={"p": document})
        assert copied.headers["location"] == "/disk/remplacement-paul-durand"
    names = locum.get("/api/v1/disk/remplacement-paul-durand/list").json()["n"]
    assert sorted(names) == ["Dupont Émile (2).txt", "Dupont Émile.txt"]
    refused = locum.post(
        "/api/v1/disk/remplacement-paul-durand/delete", json={"items": [document]}
    ).json()
    assert refused["done"][0]["code"] == "access.not-allowed"
    become(owner, mine)
    with database.read() as connection:
        assert len(chain.newest(connection, event="file.case-copied")) == 2
    assert owner.get(f"/locums/{term.id}/report").text.count("Dupont Émile") == 4


def test_without_the_setting_no_case_is_copied(owner, database, form):
    """A plain locum has no folder of their own."""
    owner.post("/locums/new", data=form)
    locum = as_person(owner, database, term_of(database).person_id)
    answer = locum.post("/disk/documents/case-copy", data={"p": packed("Dupont Émile.txt")})
    assert answer.status_code == 403


def test_who_may_not_see_a_share_reads_no_name_in_a_report(owner, database, form, share):
    """The report of an owner who gave away their own right counts, and names nothing."""
    owner.post("/locums/new", data=form)
    term = term_of(database)
    mine = owner.cookies[COOKIE]
    locum = as_person(owner, database, term.person_id)
    locum.get(f"/disk/documents/file?p={packed('Dupont Émile.txt')}")
    become(owner, mine)
    with database.write() as connection:
        shares.grant(connection, share.id, set(), person_id=term.sponsor_id, by=None, now=utc_now())
    report = owner.get(f"/locums/{term.id}/report").text
    assert "Dupont" not in report
    assert "a document you may not see" in report


def test_the_end_is_moved_by_a_form(owner, database, form):
    """Later within what the practice allows; nothing else."""
    owner.post("/locums/new", data=form)
    term = term_of(database)
    later = utc_now() + timedelta(days=20)
    assert owner.post(f"/locums/{term.id}/extend", data={"ends": local(later)}).status_code == 303
    assert term_of(database).ends_at > term.ends_at
    too_late = owner.post(
        f"/locums/{term.id}/extend", data={"ends": local(later + timedelta(days=200))}
    )
    assert too_late.status_code == 422
    assert accounts_upkeep(database, utc_now()) == []
