"""Shares and rights in the browser: made by an owner doctor, closed to all others until opened, said in words."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.schema import ledger
from appliance.disk import access
from appliance.jobs import queue
from appliance.jobs.kinds import SetUpSource
from appliance.model import Person, Role
from appliance.policy.share_rights import ALL, Right
from appliance.policy.share_words import rights_words
from appliance.settings import Settings


@pytest.fixture
def made(owner: TestClient) -> str:
    """A share the owner made; its name."""
    answer = owner.post("/shares", data={"label": "Comptes rendus d'été"})
    assert answer.status_code == 303
    return str(answer.headers["location"]).rsplit("/", 1)[1]


def told(database: Database, event: str) -> list[dict[str, object]]:
    with database.read() as connection:
        rows = connection.execute(select(ledger.c.body).where(ledger.c.event == event)).all()
    return [json.loads(row.body) for row in rows]


def may(database: Database, person: Person, name: str) -> frozenset[Right]:
    with database.read() as connection:
        found = access.held(connection, person, now=utc_now())
    return next((each.rights for each in found if each.share.name == name), frozenset())


def test_a_share_begins_with_a_name_a_folder_and_its_nights(
    owner: TestClient, database: Database, settings: Settings, made: str,
    person_of: Callable[[Role], Person],
) -> None:  # fmt: skip
    """One field is enough; only who made it may do anything there."""
    assert made == "comptes-rendus-d-ete"
    assert (settings.shares / made).is_dir()
    assert may(database, person_of(Role.OWNER), made) == ALL
    assert may(database, person_of(Role.ASSOCIATE), made) == frozenset()
    with database.read() as connection:
        jobs = queue.newest(connection, kind=SetUpSource.kind)
    assert len(jobs) == 1
    page = owner.get(f"/shares/{made}").text
    assert (
        "Claude Martin owner (practice owner) may see, add, change, delete and share outside."
        in page
    )
    again = owner.post("/shares", data={"label": "Comptes rendus d'été"})
    assert again.status_code == 422
    assert "name-problem" in again.text


def test_rights_are_given_and_taken_by_ticks(
    owner: TestClient, database: Database, made: str, person_of: Callable[[Role], Person]
) -> None:
    """A role and a person; what was ticked and is not any more is taken away; each change is written down."""
    me, secretary = person_of(Role.OWNER), person_of(Role.SECRETARY)
    mine = [f"person:{me.id}:{right.value}" for right in Right]
    both = ["role:secretary:see", f"person:{secretary.id}:see", f"person:{secretary.id}:add"]
    answer = owner.post(f"/shares/{made}/rights", data={"r": [*mine, *both]})
    assert answer.status_code == 303
    assert may(database, secretary, made) == {Right.SEE, Right.ADD}
    page = owner.get(f"/shares/{made}?saved=1").text
    assert "(medical secretary) may see and add." in page
    assert [each["whom"] for each in told(database, "share.rights")] == [
        "role:secretary",
        f"person:{secretary.id}",
    ]
    owner.post(f"/shares/{made}/rights", data={"r": [*mine, "role:secretary:see"]})
    assert may(database, secretary, made) == {Right.SEE}
    owner.post(f"/shares/{made}/rights", data={"r": mine})
    assert may(database, secretary, made) == frozenset()
    blind = owner.post(f"/shares/{made}/rights", data={"r": [*mine, "role:secretary:delete"]})
    assert blind.status_code == 422
    assert may(database, secretary, made) == frozenset()


def test_doors_bin_and_quota_are_set(owner: TestClient, database: Database, made: str) -> None:
    """A size is typed with a comma too; nonsense changes nothing and is said beside its field."""
    data = {"label": "Lettres", "bin_days": "60", "quota_gb": "1,5", "over_smb": "on",
            "is_time_machine": "on"}  # fmt: skip
    assert owner.post(f"/shares/{made}/settings", data=data).status_code == 303
    with database.read() as connection:
        share = shares.get_by_name(connection, made)
    assert (share.label, share.bin_days, share.quota_bytes) == ("Lettres", 60, 1_500_000_000)
    assert (share.over_smb, share.over_dav, share.is_time_machine) == (True, False, True)
    for field, wrong in (("bin_days", "0"), ("bin_days", "²"), ("quota_gb", "nan"), ("label", " ")):
        answer = owner.post(f"/shares/{made}/settings", data={**data, field: wrong})
        assert answer.status_code == 422
        assert f"{field}-problem" in answer.text
    with database.read() as connection:
        assert shares.get_by_name(connection, made) == share


def test_a_closed_share_keeps_its_files(
    owner: TestClient, database: Database, settings: Settings, made: str,
    person_of: Callable[[Role], Person],
) -> None:  # fmt: skip
    """Every door is shut at once; what lies there stays, and the name is free again."""
    (settings.shares / made / "letter.txt").write_bytes(b"x")
    assert owner.post(f"/shares/{made}/remove").status_code == 303
    assert owner.get(f"/api/v1/disk/{made}/list").status_code == 404
    assert may(database, person_of(Role.OWNER), made) == frozenset()
    assert (settings.shares / made / "letter.txt").read_bytes() == b"x"
    assert owner.post("/shares", data={"label": "x", "name": made}).status_code == 303
    assert (settings.shares / made / "letter.txt").exists()


@pytest.mark.parametrize("role", [each for each in Role if each is not Role.OWNER])
def test_only_an_owner_gives_rights(
    client_as: Callable[[Role], TestClient], database: Database, settings: Settings, role: Role
) -> None:
    """Pages and forms alike."""
    with database.write() as connection:
        shares.add(connection, name="d", label="D", folder=settings.data, now=utc_now())
    client = client_as(role)
    for path in ("/shares", "/shares/d"):
        assert client.get(path).status_code == 403
    for path in ("/shares", "/shares/d/rights", "/shares/d/settings", "/shares/d/remove"):
        assert client.post(path, data={"label": "x"}).status_code == 403


def test_the_disk_is_the_first_page_of_who_works_on_it(
    client_as: Callable[[Role], TestClient], database: Database, settings: Settings
) -> None:
    """With a share, «/» leads to the disk; without one an owner sees the status, a locum the disk that is empty."""
    assert client_as(Role.OWNER).get("/").status_code == 200
    assert client_as(Role.LOCUM).get("/").headers["location"] == "/disk"
    with database.write() as connection:
        share = shares.add(connection, name="d", label="D", folder=settings.data, now=utc_now())
        for role in (Role.OWNER, Role.SECRETARY):
            shares.grant(connection, share.id, {Right.SEE}, role=role, by=None, now=utc_now())
    assert client_as(Role.OWNER).get("/").headers["location"] == "/disk"
    secretary = client_as(Role.SECRETARY)
    assert secretary.get("/").headers["location"] == "/disk"
    assert secretary.get("/disk").headers["location"] == "/disk/d"
    assert secretary.get("/status").status_code == 200
    assert client_as(Role.TECHNICAL_ADMIN).get("/").status_code == 200


def test_rights_are_sentences() -> None:
    """In both languages, in one order."""
    assert rights_words({Right.ADD, Right.SEE}, "en") == "see and add"
    assert rights_words({Right.DELETE, Right.SEE, Right.ADD}, "fr") == "voir, ajouter et supprimer"
    assert rights_words(set(), "fr") == ""
