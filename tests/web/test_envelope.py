"""The sealed envelope: an emergency account on paper, good once, at the practice, told to everybody (SEC-04)."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from appliance.accounts import (
    app_passwords,
    deliveries,
    notice_ways,
    notices,
    people,
    sealed_envelope,
    second_factors,
    sessions,
    sign_in_rules,
    tunnel,
)
from appliance.accounts.app_passwords import Kind
from appliance.accounts.sign_in_rules import Rules
from appliance.clock import utc_now
from appliance.db.schema import session
from appliance.errors import NotAllowed
from appliance.jobs.people_readings import people_findings
from appliance.ledger import chain
from appliance.model import Role
from appliance.policy import notices as notice_policy
from appliance.policy.notice_ways import Kind as WayKind
from appliance.web.security import COOKIE

API = "/api/v1/envelope"
PLACE = {"place": "Coffre du cabinet"}


@pytest.fixture
def boss(owner, database):
    """The owner, who showed just now who they are."""
    with database.write() as c:
        c.exec_driver_sql("UPDATE session SET proven_at = created_at")
    return owner


@pytest.fixture
def paper(boss):
    """Login and code off a fresh envelope; the browser is then nobody's."""
    made = boss.post(API, json=PLACE).json()
    boss.cookies.clear()
    return made


def come(client, paper, **other):
    return client.post(
        "/sign-in", data={"login": paper["login"], "password": paper["code"]} | other
    )


def outside(client):
    """A browser elsewhere; the box is one and the same."""
    return TestClient(
        client.app,
        base_url="https://testserver",
        headers={"sec-fetch-site": "same-origin", "accept-language": "en"},
        follow_redirects=False,
        client=("203.0.113.9", 50_000),
    )


def told(database, person):
    with database.read() as c:
        return [each.code for each in notices.of_person(c, person)]


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_paper_is_shown_once_and_its_code_is_kept_nowhere(boss, database, settings, language):
    """A page to print, in the reader's language, without a script; stored is a hash."""
    boss.post("/language", data={"language": language})
    answer = boss.post("/envelope", data=PLACE)
    code = re.search(r"([A-Z2-7]{4}-){5}[A-Z2-7]{4}", answer.text).group(0)

    assert answer.status_code == 200
    assert f'<html lang="{language}">' in answer.text
    assert "Coffre du cabinet" in answer.text
    assert ("Déconnectez-vous" in answer.text) is (language == "fr")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    page = boss.get("/envelope").text
    assert code not in page
    assert "is-good" not in page  # the box does not see into a safe
    assert code not in boss.get(API).text
    stored = b"".join(path.read_bytes() for path in settings.data.glob("state.sqlite*"))
    assert code.encode() not in stored
    assert code.replace("-", "").encode() not in stored


def test_a_box_has_no_emergency_account_before_somebody_seals_one(boss, database):
    """No account and no password by default (5.2.1.3); two envelopes have nothing in common."""
    assert boss.get(API).json() == []
    with database.read() as c:
        assert [each.role for each in people.everybody(c)] == [Role.OWNER]
    one, other = (boss.post(API, json=PLACE).json() for _ in range(2))

    assert one["login"] != other["login"]
    assert one["code"] != other["code"]
    assert [each["ended_at"] is None for each in boss.get(API).json()] == [True, False]


@pytest.mark.parametrize("typed", [str, str.lower, lambda code: f" {code.replace('-', ' ')} "])
def test_opened_is_used_is_told_and_is_in_the_journal(anonymous, paper, person_of, database, typed):
    """However it is copied off the paper; the second time it opens nothing and says why."""
    owner, technical = person_of(Role.OWNER), person_of(Role.TECHNICAL_ADMIN)
    associate = person_of(Role.ASSOCIATE)

    assert come(anonymous, paper, password=typed(paper["code"])).status_code == 303
    assert anonymous.get("/people").status_code == 200

    for each in (owner, technical):
        assert sealed_envelope.OPENED in told(database, each)
    assert sealed_envelope.OPENED not in told(database, associate)
    with database.read() as c:
        (finding,) = people_findings(c, utc_now())
        entry = next(each for each in chain.newest(c) if each.event == "envelope.opened")
    assert (finding.code, finding.severity) == ("envelope.opened", "alarm")
    assert entry.body["address"] == "127.0.0.1"
    anonymous.cookies.clear()
    again = come(anonymous, paper)
    assert again.status_code == 403
    assert "good once" in again.text
    assert COOKIE not in anonymous.cookies


def test_it_leaves_the_box_at_once_by_every_way(anonymous, paper, person_of, database):
    """By the practice's way and by an owner's own, in quiet hours too, with no name and no address in it."""
    owner, now = person_of(Role.OWNER), utc_now()
    rules = notice_policy.Rules()
    with database.write() as c:
        for whom, topics in ((None, ["account"]), (owner.id, ["locum"])):
            notice_ways.add(
                c, person_id=whom, kind=WayKind.EMAIL, label="a@cabinet-martin.fr",
                topics=topics, by=None, now=now,
            )  # fmt: skip
    come(anonymous, paper)

    with database.write() as c:
        assert deliveries.spread(c, rules, utc_now().tzinfo, now=utc_now()) == 2
        (one, *_) = [each for each in notices.of_person(c, owner)]
    assert notice_policy.urgency_of(one.code, is_grave=False) is notice_policy.Urgency.NOW
    line = notice_policy.Line(one.code, one.text, one.facts, one.at)
    assert "127.0.0.1" not in notice_policy.outside_words(line, "fr", utc_now().tzinfo)


def test_from_outside_the_code_opens_nothing_and_stays_good(anonymous, paper, database):
    """One paper is one factor (SEC-09): the safe is at the practice, and so is its use."""
    with outside(anonymous) as away:
        refused = come(away, paper)
        assert refused.status_code == 403
        assert COOKIE not in away.cookies
    with database.read() as c:
        assert sealed_envelope.get(c).opened_at is None

    assert come(anonymous, paper).status_code == 303
    cookie = anonymous.cookies[COOKIE]
    with outside(anonymous) as away:  # the cookie, carried out
        away.cookies.set(COOKIE, cookie)
        assert away.get("/people").status_code == 303
        made = away.post("/account/second-factor/application")
        assert made.status_code == 403


def test_a_second_factor_for_all_asks_none_of_the_envelope_at_the_practice(
    anonymous, paper, database
):
    """It has none and can make none: the rule would shut the only door left."""
    with database.write() as c:
        sign_in_rules.put(c, Rules(second_factor_for_all=True), by=None, now=utc_now())

    assert come(anonymous, paper).headers["location"] == "/"


def test_wrong_codes_are_slowed_down_as_wrong_passwords_are(anonymous, paper, database):
    """SEC-07 holds for it; the paper is not used up by them."""
    for _ in range(3):
        assert come(anonymous, paper, password="AAAA-AAAA-AAAA").status_code == 401

    assert come(anonymous, paper).status_code == 429
    with database.read() as c:
        assert sealed_envelope.get(c).opened_at is None


def test_ten_slips_of_the_pen_do_not_end_the_paper_and_are_told(
    anonymous, paper, person_of, database
):
    """No link opens it again: it waits, as long as it must, and the right code comes in; owners hear of it."""
    owner, now = person_of(Role.OWNER), utc_now()
    with database.write() as c:
        who = people.get(c, sealed_envelope.get(c).person_id)
        people.set_failures(c, who.id, 9, None)
    assert come(anonymous, paper, password="AAAA-AAAA-AAAA").status_code == 401
    assert come(anonymous, paper).status_code == 429
    assert "sign-in.locks" in told(database, owner)
    with database.write() as c:
        row = people.find_row(c, paper["login"])
        assert timedelta(minutes=59) < row.locked_until - now < timedelta(minutes=90)
        people.set_failures(c, who.id, 10, now)  # the hour went by

    assert come(anonymous, paper).status_code == 303


def test_it_lets_somebody_in_and_does_nothing_else(anonymous, paper, person_of, database):
    """A link for the doctor who lost everything; no document, no rule, no account closed, no new envelope."""
    owner, secretary = person_of(Role.OWNER), person_of(Role.SECRETARY)
    come(anonymous, paper)

    made = anonymous.post(f"/people/{secretary.id}/link")
    assert "/link#" in made.text
    assert (
        anonymous.post(f"/access/{owner.id}/forget-factors", data={"back": "/people"}).headers[
            "location"
        ]
        == "/people"
    )
    assert "/close" not in made.text
    assert f"{paper['login']}" in made.text
    for path in ("/disk", "/search", "/restores"):
        assert anonymous.get(path).status_code in {403, 404}, path
    for path in (f"/people/{owner.id}/close", "/access", "/envelope", "/envelope/withdraw",
                 "/ledger/keeping", "/kit/holders"):  # fmt: skip
        assert anonymous.post(path).status_code == 403, path
    assert anonymous.get("/status").status_code == 200
    assert anonymous.get("/ledger").status_code == 200


def test_it_leaves_no_way_to_come_back(anonymous, paper, database):
    """Neither password, factor, link, device, token nor way of notices outlives its session, which ends within the hour."""
    come(anonymous, paper)
    with database.write() as c:
        who = people.get(c, sealed_envelope.get(c).person_id)
        (begun,) = sessions.living(c, who.id, now=utc_now())
        for make in (
            lambda: people.set_password(c, who.id, "x"),
            lambda: second_factors.begin_totp(c, who, None, now=utc_now()),
            lambda: app_passwords.make(c, who.id, kind=Kind.DAV, label="x", now=utc_now()),
            lambda: tunnel.add(c, who.id, "x", "x", by=who.id, now=utc_now()),
            lambda: notice_ways.add(
                c, person_id=who.id, kind=WayKind.EMAIL, label="a@elsewhere.example",
                topics=["account"], by=who.id, now=utc_now(),
            ),
        ):  # fmt: skip
            with pytest.raises(NotAllowed):
                make()
    assert begun.ends_at - begun.created_at == timedelta(hours=1)
    for path, data in (
        ("/account/password", {"current": paper["code"].replace("-", ""), "password": "Quatre-chaises7",
                               "password_again": "Quatre-chaises7"}),
        (f"/people/{who.id}/link", {}),
    ):  # fmt: skip
        assert anonymous.post(path, data=data).status_code == 403, path


def test_the_code_shows_again_who_it_is_while_its_session_lives(anonymous, paper, database):
    """Letting in asks for a fresh proof; after a quarter of an hour the paper gives it."""
    come(anonymous, paper)
    with database.write() as c:
        c.execute(update(session).values(proven_at=utc_now() - timedelta(minutes=20)))
    new = {"name": "Paul Durand", "login": "paul.durand", "role": "associate"}
    asked = anonymous.post("/people", data=new)
    assert asked.headers["location"].startswith("/account/prove")

    proven = anonymous.post("/account/prove", data={"password": paper["code"], "next": "/people"})

    assert proven.status_code == 303
    assert "/link#" in anonymous.post("/people", data=new).text


@pytest.mark.parametrize("how", ["reseal", "withdraw", "close"])
def test_a_new_one_a_withdrawal_or_closing_the_account_end_it_at_once(
    boss, anonymous, database, how
):
    """Its code, and the session that began with it."""
    owner_cookie = boss.cookies[COOKIE]
    first = boss.post(API, json=PLACE).json()
    boss.cookies.clear()
    come(anonymous, first)
    guest = anonymous.cookies[COOKIE]
    anonymous.cookies.clear()
    anonymous.cookies.set(COOKIE, owner_cookie)
    with database.read() as c:
        number = sealed_envelope.get(c).person_id

    answer = {
        "reseal": lambda: boss.post(API, json=PLACE),
        "withdraw": lambda: boss.post(f"{API}/withdraw"),
        "close": lambda: boss.post(f"/people/{number}/close"),
    }[how]()

    assert answer.status_code in {201, 204, 303}
    with database.read() as c:
        assert people_findings(c, utc_now()) == []
    anonymous.cookies.clear()
    anonymous.cookies.set(COOKIE, guest)
    assert anonymous.get("/people").status_code == 303
    anonymous.cookies.clear()
    assert come(anonymous, first).status_code == 401


def test_who_does_not_say_where_it_is_kept_gets_none(boss, database):
    """A paper nobody can find in an emergency is none."""
    assert boss.post("/envelope", data={"place": " "}).status_code == 422
    assert boss.post(API, json={"place": ""}).status_code == 422
    assert boss.post(API, json={"place": "Coffre \0 du cabinet"}).status_code == 422
    assert boss.get(API).json() == []
    assert boss.post(f"{API}/withdraw").status_code == 404


def test_sealing_asks_for_a_fresh_proof(owner, database):
    """A screen left open makes no emergency account."""
    with database.write() as c:
        c.execute(update(session).values(proven_at=utc_now() - timedelta(minutes=20)))

    assert owner.post("/envelope", data=PLACE).headers["location"].startswith("/account/prove")
    assert owner.post(API, json=PLACE).status_code == 403


@pytest.mark.parametrize("role", [each for each in Role if each is not Role.OWNER])
def test_only_an_owner_seals(client_as, role):
    """Not even the envelope itself."""
    assert client_as(role).get("/envelope").status_code == 403
    assert client_as(role).post(API, json=PLACE).status_code == 403


def test_it_is_looked_at_once_a_year(boss, database):
    """A paper that was forgotten is no way in."""
    boss.post(API, json=PLACE)
    with database.read() as c:
        year = utc_now() + timedelta(days=366)
        codes = [each.code for each in people_findings(c, year)]
        assert "envelope.old" in codes
        assert [each.code for each in people_findings(c, utc_now())] == []
