"""How a computer reaches the shares, and the password that is shown once."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.clock import utc_now
from appliance.db import facts, secrets, shares
from appliance.db.engine import Database
from appliance.disk import smb_passwords
from appliance.jobs import queue
from appliance.ledger import chain
from appliance.model import Person, Role
from appliance.policy.share_rights import ALL, Right
from appliance.settings import Settings
from appliance.vault.unseal import unseal


@pytest.fixture
def share(database: Database, tmp_path: Path, person_of: Callable[[Role], Person]) -> shares.Share:
    """Open to the file explorer; the owner writes, the secretary reads."""
    people = {role: person_of(role) for role in (Role.OWNER, Role.SECRETARY)}
    with database.write() as connection:
        made = shares.add(
            connection, name="letters", label="Courriers", folder=tmp_path, now=utc_now()
        )
        shares.change(connection, made.id, over_smb=True)
        for role, rights in ((Role.OWNER, ALL), (Role.SECRETARY, {Right.SEE})):
            shares.grant(
                connection, made.id, rights, person_id=people[role].id, by=None, now=utc_now()
            )
    return made


@pytest.mark.parametrize(
    ("role", "words"), [(Role.OWNER, "read and write"), (Role.SECRETARY, "read only")]
)
def test_each_person_reads_what_they_can_open_and_how(client_as, share, role, words):
    """Their own shares, their own rights, the address to type."""
    page = client_as(role).get("/connect").text

    assert "\\\\armoire\\letters" in page
    assert "smb://armoire.local/letters" in page
    assert words in page


def test_a_share_that_is_not_open_to_the_explorer_is_not_named(client_as, share, database):
    """Its switch is off."""
    with database.write() as connection:
        shares.change(connection, share.id, over_smb=False)
    page = client_as(Role.OWNER).get("/connect").text

    assert "letters" not in page
    assert "No share of yours" in page


def test_the_technical_administrator_has_no_such_page(client_as, share):
    """No document, no password for documents."""
    assert client_as(Role.TECHNICAL_ADMIN).get("/connect").status_code == 404
    assert client_as(Role.TECHNICAL_ADMIN).post("/connect/password").status_code in {403, 404}


def test_a_password_is_shown_once_and_lies_sealed(
    client_as, share, database: Database, settings: Settings, box_keys, person_of
):
    """The worker alone can open it; the ledger says that it was made, not what it is."""
    client = client_as(Role.SECRETARY)
    answer = client.post("/connect/password")
    found = re.search(r'id="smb-password">([a-z0-9-]+)<', answer.text)
    person = person_of(Role.SECRETARY)

    assert found is not None
    assert answer.headers["cache-control"] == "no-store"
    assert found.group(1) not in client.get("/connect").text
    name = smb_passwords.secret_name(person.id)
    with database.read() as connection:
        sealed = secrets.get_sealed(connection, name)
        waiting = [each.kind for each in queue.waiting(connection)]
        entry = chain.newest(connection, event="smb.password")[0]
    assert unseal(name, sealed, settings.keys).reveal().decode() == found.group(1)
    assert waiting == ["smb.apply"]
    assert entry.actor == f"person:{person.id}"
    assert found.group(1) not in str(entry.body)


def test_a_password_can_be_taken_away(client_as, share, database, settings, box_keys, person_of):
    """An empty one waits for the worker, which removes the former."""
    person = person_of(Role.OWNER)
    with database.write() as connection:
        facts.put(
            connection, smb_passwords.fact_name(person.id), utc_now().isoformat(), now=utc_now()
        )
    client = client_as(Role.OWNER)
    assert "You have one since" in client.get("/connect").text

    assert client.post("/connect/password/remove").headers["location"] == "/connect?after=removed"

    name = smb_passwords.secret_name(person.id)
    with database.read() as connection:
        assert unseal(name, secrets.get_sealed(connection, name), settings.keys).reveal() == b""


def test_two_passwords_are_never_the_same():
    """99 bits."""
    made = {smb_passwords.make() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"([a-z2-9]{4}-){4}[a-z2-9]{4}", each) for each in made)


@pytest.mark.parametrize(
    ("agent", "system"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", "macOS"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "Linux"),
        ("Mozilla/5.0 (Linux; Android 15)", "Telephone and tablet"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X)", "Telephone and tablet"),
    ],
)
def test_the_steps_of_one_s_own_system_are_open(client_as, share, agent, system):
    """The others are one click away."""
    page = client_as(Role.OWNER).get("/connect", headers={"user-agent": agent}).text

    assert re.findall(r"<details open><summary>([^<]+)<", page) == [system]
