"""The assistant of the first day: it shows what exists, leads to the page of each step, and back."""

import re
from collections.abc import Callable
from datetime import timedelta
from zoneinfo import ZoneInfo

import pyotp
import pytest
from starlette.testclient import TestClient

from appliance.accounts import links, second_factors
from appliance.clock import utc_now
from appliance.db import facts, practice, sources
from appliance.db.engine import Database
from appliance.disk import access
from appliance.jobs import queue
from appliance.jobs.kinds import CheckMachine, SetUpSource
from appliance.ledger import proofs
from appliance.model import JobState, Outcome, Person, Plan, Role, SourceKind
from appliance.policy.share_rights import ALL, Right
from appliance.settings import Settings
from tests.web.copied import Copied
from tests.web.practice import Practice


def states(client: TestClient) -> dict[str, str]:
    """Return step → its state in words, as the page shows them."""
    page = client.get("/welcome").text
    found = re.findall(
        r'id="step-(\w+)">.*?<span class="badge [\w-]+">(.*?)</span>', page, re.DOTALL
    )
    return dict(found)


def rights(database: Database, person: Person) -> dict[str, frozenset[Right]]:
    with database.read() as connection:
        held = access.held(connection, person, now=utc_now())
    return {each.share.name: each.rights for each in held}


def test_who_makes_the_first_account_is_led_here(anonymous: TestClient, database: Database) -> None:
    """From the link of the console to the seven steps, all of them to do."""
    with database.write() as connection:
        token = links.make_first_link(connection, now=utc_now())
    made = anonymous.post(
        "/first-account",
        data={
            "token": token,
            "name": "Anne Martin",
            "login": "anne.martin",
            "password": "Trois-lampes9",
            "password_again": "Trois-lampes9",
        },
    )
    assert made.headers["location"] == "/welcome"
    found = states(anonymous)
    assert list(found) == ["practice", "factor", "share", "people", "machine", "copy", "kit"]
    assert set(found.values()) == {"to do"}
    page = anonymous.get("/welcome").text
    assert "7 steps are left" in page
    assert re.search(r'<details open id="step-practice">', page)


def test_the_practice_gets_its_name_and_the_next_step_opens(
    owner: TestClient, database: Database
) -> None:
    """A name that cannot be one is refused with words, and what was typed stays."""
    answer = owner.post("/welcome/practice", data={"name": "x", "postal": "1, rue Haute"})
    assert answer.status_code == 422
    assert "A name of 2 to 200 characters." in answer.text
    assert "1, rue Haute" in answer.text

    answer = owner.post(
        "/welcome/practice",
        data={"name": "Cabinet des Lilas", "postal": "1, rue Haute\r\n75001 Paris"},
    )
    assert answer.headers["location"] == "/welcome"
    with database.read() as connection:
        assert practice.name(connection) == "Cabinet des Lilas"
        assert practice.address(connection) == "1, rue Haute\n75001 Paris"
    assert states(owner)["practice"] == "done"
    assert '<details open id="step-factor">' in owner.get("/welcome").text
    with database.write() as connection:
        facts.put(connection, practice.NAME, "", now=utc_now())
    assert states(owner)["practice"] == "to do"


def test_shares_are_made_with_their_rights_and_nights(
    owner: TestClient, database: Database, settings: Settings, person_of: Callable[[Role], Person]
) -> None:
    """Each template opens to whom it says, and to nobody else."""
    answer = owner.post(
        "/welcome/share",
        data={
            "wanted": ["everybody", "accounting", "no-such"],
            "label": "Comptes rendus",
            "who": "doctors",
        },
    )
    assert answer.headers["location"] == "/welcome"
    assert rights(database, person_of(Role.OWNER)) == {
        "whole-practice": ALL,
        "accounting": ALL,
        "comptes-rendus": ALL,
    }
    assert rights(database, person_of(Role.ASSOCIATE)) == {
        "whole-practice": ALL,
        "comptes-rendus": ALL,
    }
    assert rights(database, person_of(Role.SECRETARY)) == {
        "whole-practice": ALL - {Right.SHARE_OUT}
    }
    assert (settings.shares / "comptes-rendus").is_dir()
    with database.read() as connection:
        assert len(queue.newest(connection, kind=SetUpSource.kind)) == 3
    assert states(owner)["share"] == "done"
    page = owner.get("/welcome").text
    assert 'value="accounting"' not in page.split('name="who"')[0]

    again = owner.post("/welcome/share", data={"wanted": ["secretariat", "accounting"]})
    assert again.status_code == 422
    assert "secretariat" not in rights(database, person_of(Role.OWNER))  # all of them or none
    nothing = owner.post("/welcome/share", data={})
    assert nothing.status_code == 422
    assert "At least one share, please." in nothing.text


def test_a_second_factor_made_on_its_own_page_is_seen_here(
    owner: TestClient, database: Database, person_of: Callable[[Role], Person], settings: Settings
) -> None:
    """The way there carries the way back; what counts is the confirmed factor, not the visit."""
    answer = owner.get("/welcome/go/factor")
    assert answer.headers["location"] == "/account/second-factor?next=/welcome"
    assert 'name="next" value="/welcome"' in owner.get(answer.headers["location"]).text
    assert states(owner)["factor"] == "to do"
    owner.post("/account/second-factor/application", data={"next": "/welcome"})
    assert states(owner)["factor"] == "to do"
    with database.read() as connection:
        draft = second_factors.find_draft(connection, person_of(Role.OWNER), settings.tls)
    assert draft is not None
    codes = owner.post(
        "/account/second-factor/application/confirm",
        data={"code": pyotp.TOTP(draft.secret).now(), "next": "/welcome"},
    )
    assert 'href="/welcome"' in codes.text
    assert states(owner)["factor"] == "done"


@pytest.mark.parametrize(
    ("step", "place"),
    [
        ("people", "/people"),
        ("machine", "/sources/new"),
        ("copy", "/copies/add"),
        ("kit", "/kit"),
        ("share", "/shares"),
        ("practice", "/settings"),
    ],
)
def test_every_page_of_a_step_shows_the_way_back(owner: TestClient, step: str, place: str) -> None:
    """The browser carries the step's name until it is back; another page than the step's shows it too."""
    assert owner.get(f"/welcome/go/{step}").headers["location"] == place
    assert "Back to the first steps" in owner.get("/people").text
    assert "Back to the first steps" not in owner.get("/welcome").text
    assert "Back to the first steps" not in owner.get("/people").text
    assert owner.get("/welcome/go/nowhere").status_code == 404


def test_a_machine_is_done_when_bytes_came_back_out_of_it(
    owner: TestClient, database: Database
) -> None:
    """Entered is begun; a snapshot waits for its proof; the proof alone makes it done."""
    with database.write() as connection:
        machine = sources.add(
            connection,
            name="accueil",
            label="Accueil",
            kind=SourceKind.PULLED,
            roots=("/home",),
            now=utc_now(),
        )
    assert states(owner)["machine"] == "to be finished"
    assert owner.get("/welcome/go/machine").headers["location"] == f"/sources/{machine.id}/set-up"
    for outcome, state in ((Outcome.FAILED, "to be finished"), (Outcome.PROVEN, "done")):
        with database.write() as connection:
            proofs.record(
                connection,
                at=utc_now(),
                kind="snapshot.sample",
                outcome=outcome,
                figures={},
                source_id=machine.id,
            )
        assert states(owner)["machine"] == state


@pytest.mark.parametrize("hours_ago", [1, 20])
def test_a_machine_that_was_reached_waits_for_its_night(
    owner: TestClient, database: Database, hours_ago: int
) -> None:
    """The page says when it begins; or that it is under way, for who sets the box up in the evening."""
    begins = utc_now().astimezone(ZoneInfo("Europe/Paris")) - timedelta(hours=hours_ago)
    ends = begins + timedelta(hours=10)
    with database.write() as connection:
        machine = sources.add(
            connection,
            name="accueil",
            label="Accueil",
            kind=SourceKind.PULLED,
            roots=("/home",),
            now=utc_now(),
            plan=Plan(window_start=f"{begins:%H:%M}", window_end=f"{ends:%H:%M}"),
        )
        sources.change(connection, machine.id, host_key="ssh-ed25519 AAAA")
        job = queue.enqueue(connection, CheckMachine(machine.id), now=utc_now())
        queue.claim(connection, runner="tests:1", now=utc_now(), only=job)
    assert states(owner)["machine"] == "to be finished"
    with database.write() as connection:
        queue.finish(connection, job, JobState.SUCCEEDED, now=utc_now(), result={})
    assert states(owner)["machine"] == "waits for the night"
    page = owner.get("/welcome").text
    assert ("Its first night is under way" in page) is (hours_ago == 1)
    assert ("Its first night begins on" in page) is (hours_ago == 20)


def test_a_practice_at_work_has_its_steps_done_without_a_visit(
    owner: TestClient, practice: Practice, copied: Copied
) -> None:
    """A box that was set up by the command line, or before there was an assistant."""
    found = states(owner)
    assert found["machine"] == "done"
    assert found["copy"] == "done"


def test_what_is_put_off_stays_in_sight_and_can_be_taken_up(owner: TestClient) -> None:
    """«Later» is no «done»: it still counts, here and on the page of the status."""
    assert owner.post("/welcome/later", data={"step": "practice"}).status_code == 303
    assert owner.post("/welcome/later", data={"step": "kit"}).status_code == 303
    found = states(owner)
    assert found["practice"] == found["kit"] == "later"
    page = owner.get("/welcome").text
    assert "7 steps are left" in page
    assert '<details open id="step-factor">' in page
    assert "7 steps are left" in owner.get("/status").text
    answer = owner.post("/welcome/later", data={"step": "kit", "again": "1"})
    assert answer.headers["location"] == "/welcome?step=kit"
    assert '<details open id="step-kit">' in owner.get("/welcome?step=kit").text
    assert states(owner)["kit"] == "to do"
    assert owner.post("/welcome/later", data={"step": "other"}).status_code == 404


def test_when_all_is_put_off_nothing_presses(owner: TestClient) -> None:
    """The end of the assistant is not the end of the list."""
    for step in states(owner):
        owner.post("/welcome/later", data={"step": step})
    page = owner.get("/welcome").text
    assert "Nothing is pressing" in page
    assert "<details open id=" not in page
    assert "7 steps are left" in page


def test_the_reminder_can_be_waved_off_for_good(owner: TestClient, database: Database) -> None:
    """It is gone from the status and the documents; the page itself stays."""
    assert "Go on with the first steps" in owner.get("/status").text
    assert "Go on with the first steps" in owner.get("/disk").text
    assert "Go on with the first steps" not in owner.get("/account").text
    assert owner.post("/welcome/close").status_code == 303
    for page in ("/status", "/disk"):
        assert "Go on with the first steps" not in owner.get(page).text
    assert owner.get("/welcome").status_code == 200
    with database.read() as connection:
        assert facts.find(connection, "welcome.closed")


@pytest.mark.parametrize("role", [each for each in Role if each is not Role.OWNER])
def test_nobody_else_is_asked_to_set_the_box_up(
    client_as: Callable[[Role], TestClient], role: Role
) -> None:
    """Not even with the browser of somebody who was on the way."""
    client = client_as(role)
    client.cookies.set("__Host-step", "kit")
    assert client.get("/welcome").status_code == 403
    assert client.post("/welcome/close").status_code == 403
    for page in ("/status", "/disk", "/account"):
        assert "first steps" not in client.get(page).text


def test_a_step_done_is_seen_at_once_on_the_page_of_the_status(
    owner: TestClient, database: Database
) -> None:
    """The number is believed for some seconds, but never past a visit here."""
    assert "7 steps are left" in owner.get("/status").text
    owner.post("/welcome/practice", data={"name": "Cabinet"})
    owner.get("/welcome")
    assert "6 steps are left" in owner.get("/status").text


def test_the_api_says_the_same(owner: TestClient, client_as: Callable[[Role], TestClient]) -> None:
    """How far it is, and what is put off."""
    found = owner.get("/api/v1/first-steps").json()
    assert (found["left"], found["minutes_left"]) == (7, 14)
    assert [each["name"] for each in found["steps"]] == list(states(owner))
    later = owner.put("/api/v1/first-steps/kit/later", json={"is_later": True}).json()
    assert later["steps"][-1]["state"] == "later"
    again = owner.put("/api/v1/first-steps/kit/later", json={"is_later": False}).json()
    assert again["steps"][-1]["state"] == "to-do"
    assert owner.put("/api/v1/first-steps/x/later", json={"is_later": True}).status_code == 404
    assert client_as(Role.ASSOCIATE).get("/api/v1/first-steps").status_code == 403


def test_after_signing_in_the_documents_are_the_first_page(
    client_as: Callable[[Role], TestClient], database: Database, owner: TestClient
) -> None:
    """For everybody with a share, but the technical administrator, who sees how the night went."""
    owner.post("/welcome/share", data={"wanted": ["everybody"]})
    assert owner.get("/").headers["location"] == "/disk"
    for role in (Role.ASSOCIATE, Role.SECRETARY, Role.LOCUM):
        assert client_as(role).get("/").headers["location"] == "/disk", role
    technician = client_as(Role.TECHNICAL_ADMIN).get("/")
    assert technician.status_code == 200
    assert 'class="truth' in technician.text
