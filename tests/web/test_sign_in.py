"""Signing in, as a browser sees it."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from appliance.accounts import links, people
from appliance.clock import utc_now
from appliance.db.schema import session
from appliance.ledger import chain
from appliance.model import Role
from appliance.web.security import COOKIE
from tests.web.conftest import PASSWORD


def test_a_right_password_opens_a_session_that_no_script_and_no_other_host_can_read(
    anonymous, person_of
):
    """The cookie is __Host-, Secure, HttpOnly, SameSite; then the home page answers."""
    person = person_of(Role.OWNER)

    answer = anonymous.post("/sign-in", data={"login": person.login, "password": PASSWORD})

    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert part in cookie
    assert anonymous.get("/").status_code == 200


def test_a_monitor_that_asks_for_no_body_finds_the_door(anonymous):
    """From the address people type, by HEAD: there, and no 405 that would look like a fault."""
    sent_on = anonymous.head("/")
    answer = anonymous.head(sent_on.headers["location"])

    assert (sent_on.status_code, answer.status_code) == (303, 200)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_a_wrong_login_and_a_wrong_password_get_the_same_answer(anonymous, person_of):
    """Nobody learns from the box which logins exist."""
    person = person_of(Role.OWNER)

    wrong = anonymous.post("/sign-in", data={"login": person.login, "password": "no"})
    unknown = anonymous.post("/sign-in", data={"login": "nobody.atall", "password": "no"})

    assert wrong.status_code == unknown.status_code == 401
    assert wrong.text.replace(person.login, "") == unknown.text.replace("nobody.atall", "")


def test_three_failures_cost_a_minute_even_for_the_right_password(anonymous, person_of):
    """Guessing is slowed down (SEC-07)."""
    person = person_of(Role.OWNER)
    for _ in range(3):
        anonymous.post("/sign-in", data={"login": person.login, "password": "no"})

    answer = anonymous.post("/sign-in", data={"login": person.login, "password": PASSWORD})

    assert answer.status_code == 429


def test_ten_failures_block_until_a_link_is_used(anonymous, person_of, database):
    """Waiting does not help then; who may make links is who may unlock."""
    person = person_of(Role.SECRETARY)
    with database.write() as connection:
        people.set_failures(connection, person.id, 10, None)
        token = links.make_link_for(connection, person, utc_now())

    blocked = anonymous.post("/sign-in", data={"login": person.login, "password": PASSWORD})
    by_link = anonymous.post("/link", data={"token": token})
    after = anonymous.post("/sign-in", data={"login": person.login, "password": PASSWORD})

    assert blocked.status_code == 429
    assert by_link.status_code == 303
    assert after.status_code == 303


def test_signing_out_ends_the_session_on_the_server(owner):
    """A copied cookie is worth nothing afterwards."""
    token = owner.cookies[COOKIE]
    assert owner.post("/sign-out").status_code == 303
    owner.cookies.set(COOKIE, token)

    assert owner.get("/").headers["location"] == "/sign-in"


@pytest.mark.parametrize(
    ("column", "past"), [("seen_at", timedelta(minutes=16)), ("ends_at", timedelta(seconds=1))]
)
def test_an_idle_or_old_session_has_ended(owner, database, column, past):
    """Ended by the server's clock, not by the browser."""
    with database.write() as connection:
        connection.execute(update(session).values({column: utc_now() - past}))

    assert owner.get("/").status_code == 303


def test_a_polled_fragment_does_not_keep_a_session_alive(owner, database):
    """Nobody clicked: a page left open on a desk must end by itself."""
    then = utc_now() - timedelta(minutes=10)
    with database.write() as connection:
        connection.execute(update(session).values(seen_at=then))

    owner.get("/live/nothing")
    with database.read() as connection:
        seen = connection.execute(session.select()).one().seen_at
    assert seen == then
    owner.get("/account")
    with database.read() as connection:
        assert connection.execute(session.select()).one().seen_at > then


def test_the_first_account_is_made_through_the_one_time_link(anonymous, database):
    """No default password: the link, a name of a person, a good password; then the link is used up."""
    with database.write() as connection:
        token = links.make_first_link(connection, now=utc_now())

    form = anonymous.post("/link", data={"token": token})
    made = anonymous.post(
        "/first-account",
        data={
            "token": token,
            "name": "Claire Martin",
            "login": "claire.martin",
            "password": "Vingt2-lampes",
            "password_again": "Vingt2-lampes",
        },
    )

    assert form.status_code == 200
    assert made.status_code == 303
    assert anonymous.get("/").status_code == 200
    with database.read() as connection:
        assert people.find_row(connection, "claire.martin").role == Role.OWNER.value
        assert [entry.event for entry in chain.newest(connection)] == ["person.add"]
    anonymous.cookies.clear()
    assert anonymous.post("/link", data={"token": token}).status_code == 410


@pytest.mark.parametrize(
    "change",
    [
        {"login": "secretariat"},
        {"login": "cabinet2"},
        {"login": "Été"},
        {"name": " "},
        {"password": "court1A"},
        {"password": "claire.martin2A"},
        {"password_again": "autre chose 2A"},
    ],
)
def test_a_first_account_that_is_nobodys_or_easy_to_guess_is_refused_and_the_link_stays_good(
    anonymous, database, change
):
    """SEC-01, SEC-06: the form comes back with a sentence, nothing is written."""
    with database.write() as connection:
        token = links.make_first_link(connection, now=utc_now())
    values = {
        "token": token,
        "name": "Claire Martin",
        "login": "claire.martin",
        "password": "Vingt2-lampes",
        "password_again": "Vingt2-lampes",
    } | change

    answer = anonymous.post("/first-account", data=values)

    assert answer.status_code == 422
    assert 'class="problem"' in answer.text
    with database.read() as connection:
        assert people.count(connection) == 0
        links.check(connection, token, now=utc_now())


def test_changing_the_password_asks_for_the_old_one_and_ends_the_other_sessions(
    owner, database, person_of
):
    """A browser left open cannot take the account over."""
    new = {"password": "Quatre-chaises7", "password_again": "Quatre-chaises7"}

    assert owner.post("/account/password", data={"current": "no", **new}).status_code == 422
    assert owner.post("/account/password", data={"current": PASSWORD, **new}).status_code == 303
    login = {"login": person_of(Role.OWNER).login}
    assert owner.post("/sign-in", data={**login, "password": PASSWORD}).status_code == 401
    assert owner.post("/sign-in", data={**login, "password": "Quatre-chaises7"}).status_code == 303


@pytest.mark.parametrize("next_page", ["//evil.example", "/\\evil.example", "https://evil.example"])
def test_signing_in_never_leads_to_another_site(anonymous, person_of, next_page):
    """No open redirect."""
    data = {"login": person_of(Role.ASSOCIATE).login, "password": PASSWORD, "next": next_page}

    assert anonymous.post("/sign-in", data=data).headers["location"] == "/"


def test_one_password_tried_on_everybody_makes_the_address_wait(anonymous):
    """Thirty unknown logins from one address: the thirty-first is not even looked at."""
    for number in range(30):
        anonymous.post("/sign-in", data={"login": f"nobody{number}", "password": "no"})

    answer = anonymous.post("/sign-in", data={"login": "nobody99", "password": "no"})

    assert answer.status_code == 429
    assert "Wait" in answer.text


def test_a_novel_as_a_password_is_refused_without_being_hashed(anonymous, person_of, database):
    """And a form of many megabytes is not even read."""
    login = person_of(Role.OWNER).login
    assert (
        anonymous.post("/sign-in", data={"login": login, "password": "x" * 5_000}).status_code
        == 401
    )
    with database.read() as connection:
        assert people.find_row(connection, login).failures == 0
    huge = anonymous.post("/sign-in", data={"login": login, "password": "x" * 5_000_000})
    assert huge.status_code == 413
