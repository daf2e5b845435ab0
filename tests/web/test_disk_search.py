"""The search over the shares: what one may see, and nothing of the rest."""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk.index_file import ROOT, Index, path_of
from appliance.disk.index_keep import Keeper
from appliance.model import Person, Role
from appliance.policy.share_rights import ALL, Right
from appliance.settings import Settings

FILES = {
    "documents": ("Dupont Élodie/radio <b>du genou.txt", "Durand/courrier.txt"),
    "imagerie": ("Dupont Élodie/radio du coude.txt",),
}


def packed(path: str) -> str:
    return urlsafe_b64encode(path.encode()).decode().rstrip("=")


@pytest.fixture
def searched(
    settings: Settings, database: Database, tmp_path: Path, person_of: Callable[[Role], Person]
) -> dict[str, Share]:
    """Two shares, listed: the owner sees both; the secretary one, and may only add to the other."""
    made = {}
    for name, files in FILES.items():
        folder = tmp_path / name
        for each in files:
            (folder / each).parent.mkdir(parents=True, exist_ok=True)
            (folder / each).write_text("x")
        with database.write() as connection:
            made[name] = shares.add(
                connection, name=name, label=name.title(), folder=folder, now=utc_now()
            )
            shares.grant(connection, made[name].id, ALL, role=Role.OWNER, by=None, now=utc_now())
        keeper = Keeper(made[name], Index(path_of(settings, made[name].id)))
        keeper.look_at_all()
        keeper.settle()
        for row in keeper.index.inside(
            keeper.index.find(ROOT, "Dupont Élodie".encode()).id
        ).values():
            keeper.index.set_text(row.id, f"Scintigraphie <i>normale</i>, voir {name}.")
        keeper.index.close()
    with database.write() as connection:
        for name, right in (("documents", Right.SEE), ("imagerie", Right.ADD)):
            shares.grant(
                connection, made[name].id, {right}, role=Role.SECRETARY, by=None, now=utc_now()
            )
    return made


def test_names_and_texts_of_every_share_one_sees(owner: TestClient, searched):
    """With where they lie, and the words marked, as text and never as HTML."""
    page = owner.get("/disk/search", params={"q": "radio elodie"}).text
    assert page.count('class="hit"') == 2
    assert "<mark>radio</mark> &lt;b&gt;du genou.txt" in page
    assert "<b>du" not in page
    page = owner.get("/disk/search", params={"q": "scintigraphie"}).text
    assert page.count("<mark>Scintigraphie</mark> &lt;i&gt;normale") == 2
    found = owner.get("/api/v1/disk/search", params={"q": "radio"}).json()
    assert sorted(each["share"] for each in found["names"]) == ["documents", "imagerie"]
    assert {each["path"] for each in found["names"]} >= {packed(FILES["imagerie"][0])}
    one = owner.get("/api/v1/disk/search", params={"q": "radio", "share": "imagerie"}).json()
    assert [each["name"] for each in one["names"]] == ["radio du coude.txt"]


def test_a_share_one_may_not_see_is_not_searched(client_as: Callable[[Role], TestClient], searched):
    """The right to add is none to see; asking for that share by name is as asking for none."""
    client = client_as(Role.SECRETARY)
    for query in ("radio", "scintigraphie", "coude"):
        found = client.get("/api/v1/disk/search", params={"q": query}).json()
        assert {each["share"] for each in found["names"] + found["texts"]} <= {"documents"}
        page = client.get("/disk/search", params={"q": query, "share": "imagerie"}).text
        assert "coude" not in page.replace('value="coude"', "")
        assert "imagerie" not in page.lower()
    answer = client.get("/api/v1/disk/search", params={"q": "radio", "share": "imagerie"})
    assert answer.status_code == 404


def test_a_right_that_ends_ends_the_search(
    client_as: Callable[[Role], TestClient], database: Database, searched
):
    """With the next letter."""
    client = client_as(Role.SECRETARY)
    assert client.get("/api/v1/disk/search", params={"q": "radio"}).json()["names"]
    with database.write() as connection:
        shares.grant(
            connection, searched["documents"].id, (), role=Role.SECRETARY, by=None, now=utc_now()
        )
    assert client.get("/api/v1/disk/search", params={"q": "radio"}).json()["names"] == []


def test_the_technical_administrator_has_no_search(
    client_as: Callable[[Role], TestClient], searched
):
    """There is nothing they may see."""
    client = client_as(Role.TECHNICAL_ADMIN)
    assert client.get("/disk/search", params={"q": "radio"}).status_code in {403, 404}
    assert client.get("/api/v1/disk/search", params={"q": "radio"}).status_code in {403, 404}


def test_the_box_over_a_folder_gets_a_part_of_a_page(owner: TestClient, searched):
    """A few, and the way to all of them; what is too short says so."""
    folder = owner.get("/disk/documents").text
    assert 'hx-get="/disk/search?few=1"' in folder
    asked = {"hx-request": "true"}
    few = owner.get("/disk/search", params={"q": "radio", "few": 1}, headers=asked).text
    assert "<html" not in few
    assert 'data-open data-share="documents"' in few
    short = owner.get("/disk/search", params={"q": "ra", "few": 1}, headers=asked).text
    assert "Three letters" in short
    assert owner.get("/disk/search", params={"q": "", "few": 1}, headers=asked).text.strip() == ""
    nothing = owner.get("/disk/search", params={"q": "zzzz"}, headers=asked).text
    assert "Nothing is called so" in nothing


def test_a_share_that_is_not_listed_yet_is_named(owner: TestClient, searched, settings: Settings):
    """Its silence is not taken for emptiness."""
    path_of(settings, searched["imagerie"].id).unlink()
    page = owner.get("/disk/search", params={"q": "radio"}).text
    assert "not searched: Imagerie" in page
    assert "genou" in page
    found = owner.get("/api/v1/disk/search", params={"q": "radio"}).json()
    assert found["unready"] == ["imagerie"]


@pytest.mark.parametrize(
    "query", ['"', "' OR 1=1 --", "a*b" * 90, "((((", "\0\0\0 radio", "é" * 300, "…---"]
)
def test_whatever_is_typed_is_only_looked_for(owner: TestClient, searched, query: str):
    """No query of SQLite can be made out of a search line."""
    assert owner.get("/api/v1/disk/search", params={"q": query}).status_code == 200
    assert owner.get("/disk/search", params={"q": query}).status_code == 200
