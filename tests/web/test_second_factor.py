"""The second factor, as a browser sees it."""

import re
from datetime import timedelta

import pyotp
import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from appliance.accounts import links, people, second_factors
from appliance.clock import utc_now
from appliance.db.schema import person as person_table
from appliance.db.schema import session as session_table
from appliance.model import Role
from appliance.web.security import COOKIE
from tests.web.conftest import PASSWORD

FIRST = "/account/second-factor"


@pytest.fixture
def old(database):
    """Make an account older than its grace."""

    def make(who):
        with database.write() as connection:
            connection.execute(
                update(person_table)
                .where(person_table.c.id == who.id)
                .values(created_at=utc_now() - timedelta(days=60))
            )
        return who

    return make


@pytest.fixture
def outside(anonymous):
    """The same box, seen from the Internet."""
    return TestClient(
        anonymous.app,
        base_url="https://testserver",
        headers={"sec-fetch-site": "same-origin", "accept-language": "en"},
        follow_redirects=False,
        client=("82.64.10.20", 40_000),
    )


def come(client, who, **more):
    return client.post("/sign-in", data={"login": who.login, "password": PASSWORD, **more})


def make_application(client):
    """Make one through the pages; return it and the page of codes."""
    page = client.post(f"{FIRST}/application", data={"next": "/ledger"})
    secret = re.search(r'<pre class="copy">([A-Z2-7]+)</pre>', page.text).group(1)
    app = pyotp.TOTP(secret)
    before = utc_now() - timedelta(seconds=30)  # so that the code of now stays good
    made = client.post(
        f"{FIRST}/application/confirm",
        data={"code": app.at(before), "label": "Pixel", "next": "/ledger"},
    )
    return app, made


def codes_in(page):
    return re.findall(r"(?:[A-Z2-7]{4}-){3}[A-Z2-7]{4}", page.text)


def test_who_runs_the_box_is_led_to_a_second_factor_and_may_come_back_to_it_for_some_days(
    anonymous, person_of
):
    """Grace: the first sign-in shows the page, «later» works, nobody is locked out."""
    who = person_of(Role.OWNER)

    led = come(anonymous, who, next="/ledger")

    assert led.headers["location"] == f"{FIRST}?next=%2Fledger"
    page = anonymous.get(led.headers["location"])
    assert 'href="/ledger"' in page.text
    assert anonymous.get("/ledger").status_code == 200


def test_after_the_grace_nothing_else_is_open_until_one_is_made(anonymous, person_of, old):
    """At the practice it is made at once; then the session is whole, under a new cookie."""
    who = old(person_of(Role.OWNER))
    come(anonymous, who)
    half = anonymous.cookies[COOKIE]

    assert anonymous.get("/ledger").headers["location"].startswith("/sign-in/second")
    assert anonymous.get("/api/v1/sources").json()["error"]["code"] == "access.second-factor-due"
    assert anonymous.get("/sign-in/second").headers["location"] == FIRST
    assert anonymous.get("/account/prove").status_code == 303
    _, made = make_application(anonymous)

    assert made.status_code == 200
    assert len(codes_in(made)) == second_factors.CODES
    assert anonymous.cookies[COOKIE] != half
    assert anonymous.get("/ledger").status_code == 200


def test_the_next_sign_in_asks_for_a_code_and_a_wrong_one_says_so(anonymous, person_of):
    """Then the page that was asked for."""
    who = person_of(Role.OWNER)
    come(anonymous, who)
    app, made = make_application(anonymous)
    code = codes_in(made)[0]
    anonymous.cookies.clear()

    asked = come(anonymous, who, next="/ledger")
    assert asked.headers["location"] == "/sign-in/second?next=%2Fledger"
    assert 'autocomplete="one-time-code"' in anonymous.get(asked.headers["location"]).text
    wrong = anonymous.post("/sign-in/second", data={"code": "000000"})
    assert wrong.status_code == 401
    assert "wrong" in wrong.text
    right = anonymous.post("/sign-in/second", data={"code": app.now(), "next": "/ledger"})
    assert right.headers["location"] == "/ledger"
    assert anonymous.get("/ledger").status_code == 200
    assert anonymous.post("/sign-in/second", data={"code": app.now()}).status_code == 303

    anonymous.cookies.clear()
    come(anonymous, who)
    by_code = anonymous.post("/sign-in/second", data={"code": code})
    assert by_code.headers["location"] == "/"
    assert "9 recovery codes" in anonymous.get(FIRST).text


def test_from_outside_a_password_alone_is_not_enough_and_makes_no_factor(
    outside, anonymous, person_of
):
    """A thief of a password stays outside (SEC-09); at the practice it works."""
    who = person_of(Role.ASSOCIATE)

    refused = come(outside, who)

    assert refused.status_code == 403
    assert "second factor" in refused.text
    assert COOKIE not in outside.cookies
    assert outside.post(f"{FIRST}/application").status_code == 303
    assert come(anonymous, who).headers["location"] == "/"


def test_a_one_time_link_makes_a_second_factor_from_outside(outside, database, person_of):
    """Who is responsible handed it over: it stands in for being at the practice."""
    who = person_of(Role.ASSOCIATE)
    with database.write() as connection:
        token = links.make_link_for(connection, who, utc_now())

    led = outside.post("/link", data={"token": token})
    assert led.headers["location"].startswith(FIRST)
    assert outside.get("/").status_code == 303
    make_application(outside)
    assert outside.get("/account").status_code == 200


def test_a_link_does_not_stand_in_for_a_second_factor_somebody_has(
    anonymous, outside, database, person_of
):
    """A link that was intercepted is not enough."""
    who = person_of(Role.ASSOCIATE)
    come(anonymous, who)
    make_application(anonymous)
    with database.write() as connection:
        token = links.make_link_for(connection, who, utc_now())

    led = outside.post("/link", data={"token": token})

    assert led.headers["location"].startswith("/sign-in/second")
    assert outside.post(f"{FIRST}/application").status_code in {303, 401}
    assert outside.get("/account").status_code == 303


def test_a_cookie_carried_out_of_the_practice_asks_for_the_second_factor(
    anonymous, outside, person_of
):
    """A session of one factor ends at the door."""
    who = person_of(Role.ASSOCIATE)
    come(anonymous, who)
    app, _ = make_application(anonymous)
    assert anonymous.get("/account").status_code == 200
    outside.cookies.set(COOKIE, anonymous.cookies[COOKIE])

    assert outside.get("/account").headers["location"].startswith("/sign-in/second")
    assert anonymous.get("/account").status_code == 303  # it is the same session
    outside.post("/sign-in/second", data={"code": app.now()})
    assert outside.get("/account").status_code == 200


def test_changing_factors_asks_again_who_it_is_after_a_quarter_of_an_hour(
    anonymous, person_of, database
):
    """A browser left open takes no account over; a password, then one goes on."""
    who = person_of(Role.ASSOCIATE)
    come(anonymous, who)
    with database.write() as connection:
        connection.execute(
            update(session_table).values(proven_at=utc_now() - timedelta(minutes=16))
        )

    asked = anonymous.post(
        f"{FIRST}/application", headers={"referer": f"https://testserver{FIRST}"}
    )
    assert asked.headers["location"] == "/account/prove?next=%2Faccount%2Fsecond-factor"
    assert anonymous.get(asked.headers["location"]).status_code == 200
    assert anonymous.post("/account/prove", data={"password": "no"}).status_code == 401
    proven = anonymous.post("/account/prove", data={"password": PASSWORD, "next": FIRST})
    assert proven.headers["location"] == FIRST
    app, _ = make_application(anonymous)
    with database.write() as connection:
        connection.execute(update(session_table).values(proven_at=None))
    assert anonymous.post(f"{FIRST}/codes").status_code == 303
    assert anonymous.post("/account/prove", data={"code": app.now()}).status_code == 303
    assert len(codes_in(anonymous.post(f"{FIRST}/codes"))) == second_factors.CODES


def test_guessing_codes_blocks_like_guessing_passwords(anonymous, person_of, database):
    """Ten, and only a link helps."""
    who = person_of(Role.OWNER)
    come(anonymous, who)
    make_application(anonymous)
    anonymous.cookies.clear()
    come(anonymous, who)
    for _ in range(3):
        assert anonymous.post("/sign-in/second", data={"code": "000000"}).status_code == 401
    assert anonymous.post("/sign-in/second", data={"code": "000000"}).status_code == 429
    with database.read() as connection:
        assert people.find_row(connection, who.login).failures == 3


@pytest.mark.parametrize(
    "answer", ["", "{}", "[]", '{"response":{"clientDataJSON":"e30"}}', "x" * 20_000]
)
def test_a_made_up_passkey_is_refused_without_a_word_more(anonymous, person_of, answer):
    """No such thing reaches a stack trace."""
    person_of(Role.OWNER)
    assert anonymous.post("/sign-in/passkey/options").json()["userVerification"] == "required"
    assert anonymous.post("/sign-in/passkey", data={"answer": answer}).status_code == 401


def test_the_new_browser_of_a_person_is_told_to_them(anonymous, person_of, database):
    """Not the first one; the cookie is kept by nobody else."""
    who = person_of(Role.ASSOCIATE)
    first = come(anonymous, who)
    assert any("__Host-device=" in c for c in first.headers.get_list("set-cookie"))
    anonymous.cookies.clear()
    come(anonymous, who)

    with database.read() as connection:
        from appliance.accounts import notices

        assert [one.code for one in notices.of_person(connection, who)] == ["sign-in.new-device"]
