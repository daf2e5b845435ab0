"""The people of the practice, as the owner opens and closes their accounts."""

import re

import pytest

from appliance.accounts import people
from appliance.ledger import chain
from appliance.model import Role

NEW = {"name": "Paul Durand", "login": "paul.durand", "role": "secretary"}


def token_in(text):
    return re.search(r"/link#([\w-]{40,})", text).group(1)


def test_a_new_account_is_entered_through_its_link_which_is_shown_once(owner, database):
    """No password travels: the person chooses one."""
    answer = owner.post("/people", data=NEW)
    token = token_in(answer.text)

    assert answer.status_code == 200
    assert "/link#" not in owner.get("/people").text
    owner.cookies.clear()
    assert owner.post("/link", data={"token": token}).headers["location"].startswith("/account")
    chosen = {"password": "Quatre-chaises7", "password_again": "Quatre-chaises7"}
    assert owner.post("/account/password", data=chosen).status_code == 303
    assert owner.get("/people").status_code == 403
    assert owner.get("/").status_code == 200
    with database.read() as connection:
        assert people.find_row(connection, "paul.durand").role == Role.SECRETARY.value
        assert token not in str(list(chain.entries(connection)))


@pytest.mark.parametrize(
    "change", [{"login": "secretariat"}, {"name": ""}, {"role": "locum"}, {"role": "root"}]
)
def test_a_shared_account_or_an_unknown_right_is_refused(owner, database, change):
    """Nothing is written (SEC-01)."""
    assert owner.post("/people", data=NEW | change).status_code == 422
    with database.read() as connection:
        assert people.count(connection) == 1


def test_a_login_that_is_taken_is_said_to_be(owner):
    """A closed account keeps its login: the journal names it."""
    owner.post("/people", data=NEW)
    again = owner.post("/people", data=NEW)

    assert again.status_code == 422
    assert "already" in again.text


def test_closing_an_account_ends_its_sessions_and_nobody_closes_their_own(
    owner, database, person_of
):
    """At once, not at the next sign-in."""
    secretary = person_of(Role.SECRETARY)
    me = person_of(Role.OWNER)

    assert owner.post(f"/people/{secretary.id}/close").status_code == 303
    assert owner.post(f"/people/{me.id}/close").status_code == 422
    assert owner.post(f"/people/{secretary.id}/link").status_code == 422

    with database.read() as connection:
        assert people.get(connection, secretary.id).disabled_at is not None
        assert people.get(connection, me.id).disabled_at is None


@pytest.mark.parametrize("role", [Role.ASSOCIATE, Role.SECRETARY, Role.TECHNICAL_ADMIN])
def test_only_the_owner_opens_accounts(client_as, database, role):
    """And nobody makes themselves a link to another's account."""
    client = client_as(role)

    assert client.post("/people", data=NEW).status_code == 403
    assert client.post("/people/1/link").status_code == 403
