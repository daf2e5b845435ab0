"""The page of the network: who may change it, nobody shuts themselves out unawares, and opening is a decision."""

import json
from datetime import timedelta

import pyotp
import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from appliance.accounts import second_factors, tunnel
from appliance.accounts.notices import read_facts, stored_facts
from appliance.clock import utc_now
from appliance.db import local_networks
from appliance.db.schema import ledger
from appliance.db.schema import session as session_table
from appliance.disk import set_up
from appliance.jobs import network
from appliance.jobs.box_readings import box_findings
from appliance.model import Role
from appliance.packed import pack_path


@pytest.fixture
def near(anonymous, database):
    """The box stands in one network; the browser is in it."""
    with database.write() as connection:
        network.declare(connection, "192.168.1.0/24", now=utc_now())
        for each in local_networks.declared(connection):
            if str(each) != "192.168.1.0/24":
                network.forget(connection, str(each), now=utc_now())
    return anonymous


@pytest.fixture
def at_practice(near, monkeypatch):
    """The browser's address is one of the practice, not the box's own."""
    from appliance.web.api import network as api
    from appliance.web.pages import network as page

    for module in (page, api):
        monkeypatch.setattr(module, "address_of", lambda _request: "192.168.1.20")
    return near


def events(database, name):
    with database.read() as connection:
        rows = connection.execute(select(ledger.c.body).where(ledger.c.event == name))
        return [json.loads(row.body) if isinstance(row.body, str) else row.body for row in rows]


def declared(database):
    with database.read() as connection:
        return [str(each) for each in local_networks.declared(connection)]


@pytest.mark.parametrize(
    ("role", "status"),
    [(Role.OWNER, 200), (Role.TECHNICAL_ADMIN, 200), (Role.ASSOCIATE, 403), (Role.SECRETARY, 403), (Role.LOCUM, 403)],
)  # fmt: skip
def test_owner_and_technical_administrator_run_the_network(client_as, role, status):
    """The others have no business there: pages, file and API."""
    client = client_as(role)
    for path in ("/network", "/network/visible", "/network/firewall", "/api/v1/network"):
        assert client.get(path).status_code == status, path
    if status == 403:
        for path in ("declare", "forget", "open", "close", "smb"):
            assert client.post(f"/network/{path}").status_code == 403, path


def test_a_network_is_declared_and_forgotten(owner, at_practice, database):
    """What is no network inside a building is refused in the reader's words; the ledger has both."""
    refused = owner.post("/network/declare", data={"network": "0.0.0.0/0"})
    assert refused.status_code == 422
    assert "inside the building" in refused.text
    assert owner.post("/network/declare", data={"network": "192.168.2.7/24"}).status_code == 303
    assert declared(database) == ["192.168.1.0/24", "192.168.2.0/24"]
    assert owner.post("/network/declare", data={"network": "192.168.2.0/24"}).status_code == 422
    assert owner.post("/network/forget", data={"network": "192.168.2.0/24"}).status_code == 303
    assert declared(database) == ["192.168.1.0/24"]
    assert {"network": "192.168.2.0/24"} in events(database, "network.forgotten")
    page = owner.get("/network").text
    assert "192.168.1.20, is in one of them" in page


def test_nobody_shuts_themselves_out_without_being_told(owner, at_practice, database):
    """The network one is in oneself goes at the second word only."""
    asked = owner.post("/network/forget", data={"network": "192.168.1.0/24"})
    assert asked.status_code == 409
    assert "You are in this network yourself (192.168.1.20)" in asked.text
    assert declared(database) == ["192.168.1.0/24"]
    unusual = owner.post("/network/forget", data={"network": "192.168.1.20/24"})
    assert unusual.status_code == 409  # the same network, written otherwise
    refused = owner.post("/api/v1/network/forget", json={"network": "192.168.1.77/24"})
    assert (refused.status_code, declared(database)) == (422, ["192.168.1.0/24"])
    gone = owner.post("/network/forget", data={"network": "192.168.1.0/24", "sure": "yes"})
    assert gone.status_code == 303
    assert declared(database) == []
    assert "nobody is at the practice" in owner.get("/network").text


def test_a_change_asks_again_who_it_is(owner, at_practice, database):
    """A browser left alone opens nothing; closing is free for who runs the box."""
    with database.write() as connection:
        connection.execute(update(session_table).values(proven_at=utc_now() - timedelta(hours=1)))
    for path, data in (
        ("declare", {"network": "192.168.3.0/24"}),
        ("forget", {"network": "192.168.1.0/24", "sure": "yes"}),
        ("open", {"sure": "yes"}),
        ("smb", {"wanted": "yes"}),
    ):
        answer = owner.post(f"/network/{path}", data=data)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/account/prove"), path
    refused = owner.post("/api/v1/network/declare", json={"network": "192.168.3.0/24"})
    assert refused.json()["error"]["code"] == "access.proof-needed"
    assert declared(database) == ["192.168.1.0/24"]
    assert owner.post("/network/close").headers["location"] == "/network?after=closed"


def test_opening_is_a_decision_with_a_name(owner, at_practice, database, settings, person_of):
    """Warned of what two doctors were fined for, with a second factor, into the ledger, on the home page; closed again."""
    page = owner.get("/network").text
    assert "SAN-2020-014" in page
    assert "Make a second factor for your account first." in page
    assert owner.post("/network/open", data={"sure": "yes"}).status_code == 422
    me = person_of(Role.OWNER)
    with database.write() as connection:
        now = utc_now()
        draft = second_factors.begin_totp(connection, me, settings.tls, now=now)
        second_factors.confirm_totp(
            connection, me, pyotp.TOTP(draft.secret).at(now), settings.tls, label="t", now=now
        )
    assert owner.post("/network/open").status_code == 422
    assert not events(database, "network.opened")

    assert owner.post("/network/open", data={"sure": "yes"}).status_code == 303
    assert events(database, "network.opened") == [{"links_only": True}]
    with database.read() as connection:
        (for_links,) = [
            each
            for each in network.network_findings(connection, settings, utc_now())
            if each.code == "network.open-for-links"
        ]
    assert read_facts(stored_facts(for_links.facts)) == for_links.facts
    assert "Nobody can sign in from there" in owner.get("/network").text
    assert owner.get("/api/v1/network").json()["opened_for"] == "links"
    everything = owner.post("/network/open", data={"sure": "yes", "extent": "all"})
    assert everything.status_code == 303
    shown = owner.get("/network").text
    assert "The box is open to the Internet by decision of Claude Martin owner" in shown
    assert owner.get("/api/v1/network").json()["opened_by"] == int(me.id)
    with database.read() as connection:
        (finding,) = [
            each
            for each in box_findings(connection, settings, utc_now())
            if each.code == "network.open"
        ]
    assert "Claude Martin owner" in finding.words("fr")
    assert read_facts(stored_facts(finding.facts)) == finding.facts

    assert owner.post("/network/close").status_code == 303
    assert len(events(database, "network.closed")) == 1
    with database.read() as connection:
        said = network.network_findings(connection, settings, utc_now())
    assert "network.open" not in {each.code for each in said}


def test_the_self_check_says_what_to_try_and_knows_where_it_is_asked_from(
    owner, at_practice, database, monkeypatch
):
    """From the Internet the answer is there already."""
    with database.write() as connection:
        from appliance.db import facts

        facts.put(connection, tunnel.ENDPOINT, "cabinet.example.org:51999", now=utc_now())
    page = owner.get("/network/visible").text
    assert "As far as the box knows, no" in page
    assert "is-good" not in page  # nobody looked from outside
    assert "https://cabinet.example.org:8443" in page
    assert "51999" in page
    from appliance.web.pages import network as pages

    monkeypatch.setattr(pages, "address_of", lambda _request: "82.64.10.20")
    assert "you are looking at this page from the Internet (82.64.10.20)" in (
        owner.get("/network/visible").text
    )


def test_a_router_that_lets_strangers_through_is_told(owner, at_practice, database, settings):
    """On the home page and on the self-check, for a day; counted, and no address kept."""
    now = utc_now()
    with database.write() as connection:
        network.note_turned_away(connection, 3, now=now - timedelta(hours=2))
        network.note_turned_away(connection, 4, now=now)
    with database.read() as connection:
        (finding,) = [
            each
            for each in network.network_findings(connection, settings, now)
            if each.code == "network.knocking"
        ]
        later = network.network_findings(connection, settings, now + timedelta(days=2))
    assert "7" in finding.words("fr")
    # As a notice, its moment is said as one.
    assert read_facts(stored_facts(finding.facts)) == finding.facts
    assert "network.knocking" not in {each.code for each in later}
    page = owner.get("/network/visible").text
    assert "7 were sent away" in page
    assert "As far as the box knows, no" not in page


def test_the_firewall_comes_as_a_file(owner, at_practice):
    answer = owner.get("/network/firewall")

    assert 'filename="armoire.nft"' in answer.headers["content-disposition"]
    assert "192.168.1.0/24" in answer.text


def test_the_api_says_the_same(owner, at_practice, database):
    """Declared, listened on, and who came through the tunnel."""
    made = owner.post("/api/v1/network/declare", json={"network": "192.168.3.0/24"})
    assert made.status_code == 200
    assert made.json()["networks"] == ["192.168.1.0/24", "192.168.3.0/24"]
    assert (
        owner.post("/api/v1/network/forget", json={"network": "192.168.9.0/24"}).status_code == 404
    )
    body = owner.post("/api/v1/network/forget", json={"network": "192.168.3.0/24"}).json()
    assert body["networks"] == ["192.168.1.0/24"]
    assert {"address": "127.0.0.1", "interface": "lo", "listens": True, "why": "itself"} in (
        body["addresses"]
    )
    assert owner.post("/api/v1/network/close").status_code == 200


def test_the_file_explorer_is_let_into_the_tunnel_by_switch(owner, at_practice, database):
    assert owner.post("/network/smb", data={"wanted": "yes"}).status_code == 303
    with database.read() as connection:
        assert network.smb_in_tunnel(connection)
    owner.post("/network/smb", data={"wanted": "no"})
    with database.read() as connection:
        assert not network.smb_in_tunnel(connection)


def test_open_for_links_strangers_see_nothing_else(anonymous, database, person_of):
    """A correspondent's page, its style, and the language; no sign-in page, no API, no WebDAV."""
    me = person_of(Role.OWNER)
    strange = TestClient(
        anonymous.app,
        base_url="https://testserver",
        headers={"sec-fetch-site": "same-origin", "accept-language": "en"},
        follow_redirects=False,
        client=("82.64.10.20", 40_000),
    )
    with database.write() as connection:
        network.open_to_internet(connection, by=me.id, now=utc_now(), links_only=True)
    closed = (
        "/",
        "/sign-in",
        "/link",
        "/first-account",
        "/trust",
        "/api/v1/status",
        "/dav/",
        "/metrics",
        "/lx",
    )
    for path in closed:
        answer = strange.get(path)
        assert answer.status_code == 403, path
        assert "tunnel" in answer.text
    assert strange.post("/sign-in", data={"login": "x", "password": "y"}).status_code == 403
    assert strange.get("/l/" + "a" * 43).status_code == 410  # a link that is none
    assert strange.get("/healthz").status_code == 200
    assert anonymous.get("/sign-in").status_code == 200
    with database.write() as connection:
        network.open_to_internet(connection, by=me.id, now=utc_now())
    assert strange.get("/sign-in").status_code == 200


def test_whoever_makes_a_link_is_told_when_no_correspondent_can_open_it(
    owner, database, settings, person_of
):
    """A link that nobody can open would be found out by the correspondent."""
    me = person_of(Role.OWNER)
    with database.write() as connection:
        made = set_up.make_share(
            connection, settings, name="documents", label="D", person_id=me.id, now=utc_now()
        )
    (made.folder / "a.txt").write_text("a")
    data = {"share": "documents", "p": pack_path(b"a.txt"), "label": "Dr Petit", "days": "5"}
    assert "this link opens at the practice" in owner.post("/links/new", data=data).text
    with database.write() as connection:
        network.open_to_internet(connection, by=me.id, now=utc_now(), links_only=True)
    assert "this link opens at the practice" not in owner.post("/links/new", data=data).text
