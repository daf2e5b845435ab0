"""The settings: what a person who is no specialist chooses, with words for what cannot be; each in the journal."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from html import unescape
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, update
from starlette.testclient import TestClient

from appliance.accounts import people, practice_settings
from appliance.clock import utc_now
from appliance.db import practice, sources
from appliance.db.engine import Database
from appliance.db.schema import session
from appliance.disk import set_up
from appliance.ledger import chain
from appliance.model import PersonId, Role
from appliance.policy.practice_settings import SETTINGS, Group, Value
from appliance.settings import Settings
from appliance.web.app import create_app
from tests.web.practice import Practice


def values(database: Database, settings: Settings) -> dict[str, Value]:
    with database.read() as connection:
        return practice_settings.read(connection, settings)


def told(database: Database) -> list[str]:
    with database.read() as connection:
        return [each.event for each in chain.entries(connection)]


def form_of(page: str, group: str) -> dict[str, str]:
    """Return what a browser would send of a group's form as it stands."""
    form = page.split(f'action="/settings/{group}"')[1].split("</form>", maxsplit=1)[0]
    found = {}
    for tag in re.findall(r"<input[^>]*>", form):
        name = re.search(r'name="([^"]+)"', tag)[1]
        if 'type="checkbox"' in tag:
            if " checked" in tag:
                found[name] = "on"
        else:
            found[name] = unescape(re.search(r'value="([^"]*)"', tag)[1])
    for name, text in re.findall(
        r'<textarea[^>]*name="([^"]+)"[^>]*>(.*?)</textarea>', form, re.DOTALL
    ):
        found[name] = unescape(text)
    for name, options in re.findall(
        r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL
    ):
        found[name] = re.search(r'value="([^"]*)" selected', options)[1]
    return found


def test_every_setting_is_on_the_page_with_its_words(owner: TestClient) -> None:
    """What is in the table is in a form, none is twice."""
    page = owner.get("/settings").text
    for each in SETTINGS:
        assert page.count(f'name="{each.key}"') == 1, each.key
    for group in Group:
        assert f'id="{group.value}"' in page
    links = set(re.findall(r'<li><a href="(/[a-z/]+)">', page))
    assert links >= {"/network", "/certificate", "/notices/settings", "/devices", "/copies", "/kit"}
    for link in links:
        assert owner.get(link).status_code == 200, link
    assert "Europe/Paris" in page
    assert "armoire.toml" in page


@pytest.mark.parametrize("group", list(Group))
def test_a_form_saved_as_it_stands_changes_nothing(
    owner: TestClient, database: Database, settings: Settings, group: Group
) -> None:
    """The page shows what holds, in the way it is read back."""
    before, entries = values(database, settings), told(database)
    answer = owner.post(f"/settings/{group}", data=form_of(owner.get("/settings").text, group))
    assert answer.status_code == 303
    assert values(database, settings) == before
    assert told(database) == entries


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("practice.name", "Cabinet <b>des</b> Lilas", "Cabinet <b>des</b> Lilas"),
        ("practice.address", "1, rue Haute\r\n75001 Paris", "1, rue Haute\n75001 Paris"),
        ("practice.language", "en", "en"),
        ("nights.start", "21:00", "21:00"),
        ("sign-in.second-factor-for-all", "on", True),
        ("sign-in.idle-minutes", "10", 10),
        ("shares.bin-days", "60", 60),
        ("links.longest-days", "30", 30),
        ("links.password", "on", True),
        ("search.dicom", "on", True),
        ("locums.case-copies", "on", True),
        ("emergency.minutes", "20", 20),
        ("ledger.months", "6", 6),
    ],
)
def test_a_change_holds_at_once_and_is_told(
    owner: TestClient, database: Database, settings: Settings, key: str, given: str, value: Value
) -> None:
    """One of each group; nothing else moves, and the page says it was kept."""
    group = next(each.group for each in SETTINGS if each.key == key)
    before, entries = values(database, settings), len(told(database))
    data = form_of(owner.get("/settings").text, group) | {key: given}
    answer = owner.post(f"/settings/{group}", data=data)
    assert answer.headers["location"] == f"/settings?done={group}#{group}"
    assert values(database, settings) == before | {key: value}
    assert len(told(database)) == entries + 1
    page = owner.get(f"/settings?done={group}").text
    assert page.count('<span class="badge is-good" role="status">Kept</span>') == 1
    assert "<b>des</b>" not in page
    assert form_of(page, group).get(key, "no") == given.replace("\r\n", "\n")


def test_who_has_something_of_their_own_is_named(
    owner: TestClient, practice: Practice, database: Database
) -> None:
    """What is chosen here does not reach them: that is said before, not found out after."""
    assert "Of their own:" not in owner.get("/settings").text
    with database.write() as connection:
        plan = replace(practice.machine.plan, window_start="12:00", window_end="14:00")
        sources.change(connection, practice.machine.id, plan=plan)
    page = owner.get("/settings").text
    here = f'<a href="/sources/{practice.machine.id}/plan">Poste accueil</a> (12:00 – 14:00)'
    assert page.count("Of their own:") == 1
    assert here in page


def test_bad_input_is_refused_with_words_and_kept_in_the_form(
    owner: TestClient, database: Database, settings: Settings
) -> None:
    """All of the form or nothing: what was right beside it is not half stored."""
    before = values(database, settings)
    data = form_of(owner.get("/settings").text, "links")
    answer = owner.post(
        "/settings/links", data=data | {"links.longest-days": "91", "links.password": "on"}
    )
    assert answer.status_code == 422
    assert "From 1 to 90 days, please." in answer.text
    shown = form_of(answer.text, "links")
    assert shown["links.longest-days"] == "91"
    assert shown["links.password"] == "on"
    months = owner.post("/settings/ledger", data={"ledger.months": "24", "ledger.reason": ""})
    assert months.status_code == 422
    assert "needs a reason that can be told to the CNIL" in months.text
    assert owner.post("/settings/nowhere", data={}).status_code == 404
    assert values(database, settings) == before


def test_what_weakens_the_door_asks_again_who_it_is(
    owner: TestClient, database: Database, settings: Settings
) -> None:
    """An open screen is no owner; the other groups need no second look."""
    with database.write() as connection:
        connection.execute(update(session).values(proven_at=utc_now() - timedelta(hours=1)))
    before = values(database, settings)
    answer = owner.post("/settings/sign-in", data={"sign-in.idle-minutes": "5"})
    assert answer.headers["location"].startswith("/account/prove")
    refused = owner.patch("/api/v1/settings", json={"values": {"sign-in.idle-minutes": 5}})
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "access.proof-needed"
    assert values(database, settings) == before
    assert owner.post("/settings/practice", data={"practice.name": "Cabinet"}).status_code == 303


def test_a_technical_administrator_reads_what_an_owner_decides(
    client_as: Callable[[Role], TestClient], database: Database, settings: Settings
) -> None:
    """Hours are theirs; links, people, the journal and the bin are shown, not offered."""
    client = client_as(Role.TECHNICAL_ADMIN)
    page = client.get("/settings").text
    for each in SETTINGS:
        is_theirs = each.group in {Group.PRACTICE, Group.NIGHTS}
        assert (f'name="{each.key}"' in page) is is_theirs, each.key
    assert "A practice owner decides this." in page
    before = values(database, settings)
    assert client.post("/settings/nights", data={"nights.start": "22:00"}).status_code == 303
    client.post("/settings/links", data={"links.password": "on"})
    refused = client.patch("/api/v1/settings", json={"values": {"links.password": True}})
    assert refused.status_code == 403
    assert values(database, settings) == before | {"nights.start": "22:00"}


@pytest.mark.parametrize("role", [Role.ASSOCIATE, Role.SECRETARY, Role.LOCUM])
def test_nobody_else_sees_them(client_as: Callable[[Role], TestClient], role: Role) -> None:
    """Nor a way to them."""
    client = client_as(role)
    assert client.get("/settings").status_code == 403
    assert client.get("/api/v1/settings").status_code == 403
    assert 'href="/settings"' not in client.get("/account").text


def test_the_api_says_the_same_and_changes_the_same(
    owner: TestClient, database: Database, settings: Settings
) -> None:
    """All or nothing; a value of another type is not understood as something else."""
    found = owner.get("/api/v1/settings").json()["settings"]
    assert {each["key"]: each["value"] for each in found} == values(database, settings)
    assert [each["key"] for each in found] == [each.key for each in SETTINGS]
    wanted = {"links.password": True, "links.days": 3, "practice.name": "Cabinet"}
    answer = owner.patch("/api/v1/settings", json={"values": wanted})
    assert answer.status_code == 200
    held = {each["key"]: each["value"] for each in answer.json()["settings"]}
    assert {key: held[key] for key in wanted} == wanted
    for bad in ({"links.days": True}, {"no.such": 1}, {"links.days": 91, "practice.name": "Autre"}):
        refused = owner.patch("/api/v1/settings", json={"values": bad})
        assert refused.status_code == 422
        assert refused.json()["error"]["code"] == "input.invalid"
    assert values(database, settings)["practice.name"] == "Cabinet"


def test_a_link_follows_the_practices_rules(
    owner: TestClient, database: Database, settings: Settings
) -> None:
    """The form offers what is allowed, and the box refuses what a form of before still sends."""
    with database.write() as connection:
        made = set_up.make_share(
            connection,
            settings,
            name="docs",
            label="Docs",
            person_id=_me(connection),
            now=utc_now(),
        )
    (made.folder / "note.txt").write_text("a")
    owner.post(
        "/settings/links",
        data={"links.longest-days": "10", "links.days": "4", "links.password": "on"},
    )
    form = owner.get("/links/new?share=docs&p=bm90ZS50eHQ").text
    assert 'name="days" value="4" min="1" max="10"' in form
    assert 'type="checkbox" name="password"' not in form
    sent = {"share": "docs", "p": "bm90ZS50eHQ", "label": "Dr Petit", "days": "4"}
    assert owner.post("/links/new", data=sent).status_code == 422
    assert owner.post("/links/new", data=sent | {"days": "11", "password": "1"}).status_code == 422
    answer = owner.post("/links/new", data=sent | {"password": "1"})
    assert answer.status_code == 200


def test_another_time_zone_holds_with_the_next_page(
    owner: TestClient, database: Database, settings: Settings
) -> None:
    """Every hour on the pages is the new place's; the same process answers."""
    page = owner.get("/settings").text
    assert 'data-zone="Europe/Paris"' in page
    form = form_of(page, "practice") | {
        "practice.name": "Cabinet",
        "practice.time-zone": "America/Martinique",
    }
    assert owner.post("/settings/practice", data=form).status_code == 303
    page = owner.get("/ledger").text
    assert 'data-zone="America/Martinique"' in page
    with database.read() as connection:
        last = next(
            each
            for each in chain.entries(connection)
            if each.body.get("setting") == "practice.time-zone"
        )
    local = last.at.astimezone(ZoneInfo("America/Martinique"))
    assert f"{local:%d/%m/%Y %H:%M}" in page
    assert f"{last.at.astimezone(ZoneInfo('Europe/Paris')):%d/%m/%Y %H:%M}" not in page
    assert values(database, settings)["practice.time-zone"] == "America/Martinique"


def test_a_time_zone_of_the_settings_file_stays_until_another_is_chosen(
    owner: TestClient, database: Database, settings: Settings
) -> None:
    """One that our list does not name is in the form, and goes with it unchanged."""
    elsewhere = replace(settings, time_zone="Europe/Brussels")
    with TestClient(
        create_app(elsewhere, database),
        base_url=str(owner.base_url),
        headers=owner.headers,
        cookies=owner.cookies,
        client=("127.0.0.1", 50_000),
    ) as browser:
        form = form_of(browser.get("/settings").text, "practice")
        assert form["practice.time-zone"] == "Europe/Brussels"
        browser.post("/settings/practice", data=form | {"practice.name": "Cabinet"})
    with database.read() as connection:
        assert practice.name(connection) == "Cabinet"
        assert practice.in_force(connection, elsewhere).time_zone == "Europe/Brussels"
        assert practice.in_force(connection, settings) == settings


def test_new_accounts_speak_the_practices_language(owner: TestClient, database: Database) -> None:
    """The owner reads English; the secretary's first page is French."""
    owner.post("/settings/practice", data={"practice.name": "Cabinet", "practice.language": "fr"})
    assert (
        owner.post(
            "/people", data={"name": "Léa Blanc", "login": "lea.blanc", "role": "secretary"}
        ).status_code
        == 200
    )
    with database.read() as connection:
        row = people.find_row(connection, "lea.blanc")
    assert row is not None
    assert row.language == "fr"


def _me(connection: Connection) -> PersonId:
    row = people.find_row(connection, "owner.martin")
    assert row is not None
    return PersonId(row.id)
