"""What the box tells a person, and what it notes down about them."""

from appliance.accounts import notices
from appliance.clock import utc_now
from appliance.db import facts
from appliance.ledger import chain
from appliance.model import Role


def put(database, person_id, **facts_):
    with database.write() as connection:
        return notices.put(
            connection,
            "emergency.begun",
            "%(taker)s took emergency access to «%(share)s», until %(ends_at)s. Review it within 7 days.",
            {"taker": "Luc Petit", "share": "X-rays <b>", "ends_at": utc_now(), **facts_},
            person_id=person_id,
            now=utc_now(),
        )


def test_a_bell_counts_what_is_new_until_it_was_seen(owner, database, person_of):
    """On every page; a notice of somebody else is not one's own."""
    me, other = person_of(Role.OWNER), person_of(Role.SECRETARY)
    number = put(database, me.id, href="/emergency/1")
    put(database, other.id)
    put(database, None)
    assert "2 new notices" in owner.get("/account").text
    page = owner.get("/notices").text
    assert "Luc Petit took emergency access to «X-rays &lt;b&gt;»" in page
    assert 'href="/emergency/1"' in page
    owner.post("/notices/seen", data={"notice": number})
    assert "1 new notice" in owner.get("/account").text
    owner.post("/notices/seen")
    assert "new notice" not in owner.get("/account").text
    with database.read() as connection:
        assert notices.unseen(connection, other) == 1


def test_an_address_that_leads_elsewhere_is_no_link(owner, database, person_of):
    """A notice leads to a page of the box only."""
    for href in ("//evil.example/x", "https://evil.example", "javascript:alert(1)"):
        put(database, person_of(Role.OWNER).id, href=href)
    page = owner.get("/notices").text
    assert "evil" not in page
    assert "javascript" not in page


def test_the_secretary_is_not_told_what_those_are_who_run_the_box(client_as, database):
    """A notice to nobody is for owners and technical administrators."""
    put(database, None)
    assert "new notice" not in client_as(Role.SECRETARY).get("/account").text
    assert "1 new notice" in client_as(Role.TECHNICAL_ADMIN).get("/account").text


def test_everybody_is_told_once_what_the_box_notes_down(client_as, database, person_of):
    """At the first sign-in, until read; the ledger says when (SEC-14, CNIL)."""
    client = client_as(Role.SECRETARY)
    assert "Read what it notes down" in client.get("/account").text
    page = client.get("/information").text
    assert "12 months" in page
    assert "CNIL" in page
    assert client.post("/information").status_code == 303
    client.post("/information")
    assert "Read what it notes down" not in client.get("/account").text
    me = person_of(Role.SECRETARY)
    with database.read() as connection:
        assert facts.find(connection, f"informed.{me.id}")
        assert len(chain.newest(connection, event="person.informed")) == 1
