"""What an envelope made ends with it: links nobody used, sessions that began by them; what stays is named."""

import pytest
from sqlalchemy import update

from appliance.accounts import links, sealed_envelope
from appliance.clock import utc_now
from appliance.db.schema import session
from appliance.ledger import chain
from appliance.model import Role
from appliance.web.security import COOKIE
from tests.web.test_envelope import API, PLACE, come

NEW = {"login": "mallory", "name": "Mallory X", "role": "owner"}


@pytest.fixture
def boss(owner, database):
    """The owner, who showed just now who they are."""
    prove_everybody(database)
    return owner


@pytest.fixture
def paper(boss):
    """Login and code off a fresh envelope."""
    return boss.post(API, json=PLACE).json()


def prove_everybody(database):
    with database.write() as c:
        c.execute(update(session).values(proven_at=session.c.created_at))


def token_of(answer):
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()["url"].split("#")[-1]


def enter(client, token):
    """Follow a link in a browser that is nobody's; return its cookie, or None."""
    client.cookies.clear()
    client.post("/link", data={"token": token})
    return client.cookies.get(COOKIE)


def is_in(client, cookie):
    client.cookies.clear()
    client.cookies.set(COOKIE, cookie)
    return client.get("/account").status_code == 200


HOW = {
    "withdraw": lambda client, _: client.post(f"{API}/withdraw"),
    "reseal": lambda client, _: client.post(API, json=PLACE),
    "close": lambda client, number: client.post(f"/people/{number}/close"),
}


@pytest.mark.parametrize("how", HOW)
def test_links_and_sessions_made_with_it_end_and_what_stays_is_named(
    anonymous, paper, person_of, database, how
):
    """Who broke it open has no way left that only the paper gave; the owner reads whom to look at."""
    secretary, associate = person_of(Role.SECRETARY), person_of(Role.ASSOCIATE)
    mine = anonymous.cookies[COOKIE]
    anonymous.cookies.clear()
    come(anonymous, paper)
    broken = anonymous.cookies[COOKIE]
    unused = token_of(anonymous.post(f"/api/v1/people/{secretary.id}/link"))
    used = token_of(anonymous.post("/api/v1/people", json=NEW))
    begun = enter(anonymous, used)
    assert is_in(anonymous, begun)
    with database.write() as c:
        of_console = links.make_link_for(c, associate, utc_now())
        number = sealed_envelope.get(c).person_id
    anonymous.cookies.clear()
    anonymous.cookies.set(COOKIE, mine)

    assert HOW[how](anonymous, number).status_code in {201, 204, 303}

    page = anonymous.get("/envelope").text
    assert "account made" in page
    assert "Mallory X" in page
    assert "one-time link made" in page
    assert secretary.name in page
    assert is_in(anonymous, mine)
    assert not is_in(anonymous, begun)
    assert not is_in(anonymous, broken)
    assert enter(anonymous, unused) is None
    assert enter(anonymous, of_console) is not None
    with database.read() as c:
        entry = next(
            each
            for each in chain.newest(c, event="envelope.")
            if each.event in {"envelope.withdrawn", "envelope.sealed"}
        )
    assert (entry.body["links"], entry.body["sessions"]) == (1, 1)


@pytest.mark.parametrize("how", ["withdraw", "reseal"])
def test_the_owner_whom_it_let_in_ends_it_and_goes_on(anonymous, paper, person_of, database, how):
    """What it is for: the owner who lost everything comes in by its link, and only their session stays."""
    owner = person_of(Role.OWNER)
    anonymous.cookies.clear()
    come(anonymous, paper)
    other = enter(anonymous, token_of(anonymous.post(f"/api/v1/people/{owner.id}/link")))
    anonymous.cookies.clear()
    with database.write() as c:  # and once more: the second code was wrong, say
        number = sealed_envelope.get(c).person_id
        token = links.make_link_for(c, owner, utc_now(), by=number)
    mine = enter(anonymous, token)
    prove_everybody(database)

    assert HOW[how](anonymous, number).status_code in {201, 204}

    assert is_in(anonymous, mine)
    assert not is_in(anonymous, other)


def test_an_envelope_nobody_opened_ends_without_a_list(boss, paper):
    """There is nobody to look at."""
    assert boss.post(f"{API}/withdraw").status_code == 204
    assert "Who was let in" not in boss.get("/envelope").text
