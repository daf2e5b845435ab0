"""The rules of the practice as JSON: who signs in how, devices of the tunnel, notices that leave the box."""

from datetime import timedelta

import pytest

from appliance.accounts import notice_ways, oidc_providers, second_factors, sessions, tunnel
from appliance.clock import utc_now
from appliance.db import facts, secrets
from appliance.jobs import queue
from appliance.jobs.kinds import SendNotices, TunnelApply
from appliance.ledger import chain
from appliance.model import Role
from appliance.policy.notices import OF_THE_BOX, Topic

API = "/api/v1"
RULES = {
    "idle_minutes": 10,
    "local_hours": 8,
    "remote_hours": 2,
    "second_factor_for_all": True,
}


@pytest.fixture
def way_in(database):
    """The practice's router is known, and the box's key was made."""
    with database.write() as c:
        facts.put(c, tunnel.PUBLIC_KEY, tunnel.make_keys()[1], now=utc_now())
        facts.put(c, tunnel.ENDPOINT, "cabinet.example.org:51820", now=utc_now())


# --- who signs in how ----------------------------------------------------------------------


def test_rules_are_read_and_stored_within_what_is_allowed(owner, database):
    """The same limits as on the page."""
    assert owner.get(f"{API}/access").json()["rules"]["idle_minutes"] == 15
    done = owner.put(f"{API}/access/rules", json=RULES)
    assert (done.status_code, done.json()["rules"]) == (200, RULES)
    assert owner.get(f"{API}/access").json()["rules"] == RULES
    for wrong in ({"idle_minutes": 31}, {"local_hours": 13}, {"remote_hours": 0}):
        assert owner.put(f"{API}/access/rules", json={**RULES, **wrong}).status_code == 422
    assert owner.get(f"{API}/access").json()["rules"] == RULES
    with database.read() as c:
        assert len(chain.newest(c, event="sign-in.rules")) == 1


def test_the_owner_ends_sessions_and_helps_who_lost_their_factor(owner, database, person_of):
    """Everybody's but this one; one's own factors are not forgotten here."""
    me, other = person_of(Role.OWNER), person_of(Role.SECRETARY)
    with database.write() as c:
        second_factors.make_codes(c, other.id, now=utc_now())
        for _ in range(2):
            sessions.start(c, other.id, now=utc_now(), address="127.0.0.1", user_agent="x")
    here = f"{API}/access/people/{other.id}"
    assert owner.post(f"{here}/end").json() == {"count": 2}
    assert owner.post(f"{API}/access/end-all").json() == {"count": 0}
    assert owner.put(f"{here}/second-factor", json={"is_asked": True}).status_code == 204
    lines = {each["id"]: each for each in owner.get(f"{API}/access").json()["people"]}
    assert (lines[other.id]["is_asked"], lines[me.id]["is_always_asked"]) == (True, True)
    assert owner.post(f"{here}/forget-factors").status_code == 204
    with database.read() as c:
        assert second_factors.codes_left(c, other.id) == 0
    assert owner.post(f"{API}/access/people/{me.id}/forget-factors").status_code == 422
    for path in ("end", "forget-factors"):
        assert owner.post(f"{API}/access/people/999/{path}").status_code == 404


def test_pro_sante_connect_is_set_up_from_its_preset_and_an_account_prepared(
    owner, database, settings, person_of
):
    """Its secret goes in and comes out of no answer; an account is found by its RPPS."""
    begun = owner.get(f"{API}/access/presets/new-psc").json()
    assert begun["settings"]["extra"] == {"acr_values": "eidas1"}
    assert begun["redirect_uri"] == "https://testserver/sign-in/outside/back"
    assert owner.get(f"{API}/access/presets/other").status_code == 404
    body = {"settings": {**begun["settings"], "client_id": "cabinet"}, "secret": "shown-never"}
    here = f"{API}/access/services/psc"
    made = owner.put(here, json=body)
    assert (made.status_code, made.json()["has_secret"]) == (200, True)
    again = owner.put(here, json={"settings": {**body["settings"], "name": "PSC"}})
    assert (again.json()["has_secret"], again.json()["settings"]["name"]) == (True, "PSC")
    for answer in (made, again, owner.get(here), owner.get(f"{API}/access/services")):
        assert "shown-never" not in answer.text
    with database.read() as c:
        kept = oidc_providers.get(c, "psc")
    assert oidc_providers.secret_of(kept, settings.tls).reveal() == b"shown-never"
    other = person_of(Role.ASSOCIATE).id
    way = f"{API}/access/people/{other}/services/psc"
    assert owner.put(way, json={"number": "123"}).status_code == 422
    assert owner.put(way, json={"number": "10001234567"}).status_code == 204
    lines = {each["id"]: each for each in owner.get(f"{API}/access").json()["people"]}
    assert lines[other]["prepared"] == {"psc": "10001234567"}
    assert owner.delete(way).status_code == 204
    assert owner.delete(here).status_code == 204
    assert owner.get(here).status_code == 404
    assert owner.put(way, json={"number": "10001234567"}).status_code == 404


def test_a_certificate_for_a_service_is_made_here_and_its_key_shown_to_nobody(owner, database):
    """What is registered there is in the answer: the certificate."""
    begun = owner.get(f"{API}/access/presets/new-psc").json()["settings"]
    wanted = {**begun, "client_id": "cabinet", "authentication": "self_signed_tls_client_auth"}
    body = {"settings": wanted, "makes_pair": True}
    made = owner.put(f"{API}/access/services/psc", json=body)
    assert made.status_code == 200, made.text
    assert made.json()["has_key"] is True
    assert made.json()["certificate_ends"]
    assert "BEGIN CERTIFICATE" in made.json()["settings"]["certificate"]
    assert "PRIVATE" not in made.text


def test_an_address_that_is_none_is_refused(owner):
    """Also one that cannot even be read."""
    begun = owner.get(f"{API}/access/presets/new-psc").json()["settings"]
    for address in ("http://x.example", "https://[", "https://x:port", "x", ""):
        body = {"settings": {**begun, "client_id": "x", "issuer": address}}
        assert owner.put(f"{API}/access/services/psc", json=body).status_code == 422, address


def test_only_an_owner_sees_or_changes_how_people_sign_in(client_as):
    """As on the page."""
    for role in (Role.ASSOCIATE, Role.SECRETARY, Role.TECHNICAL_ADMIN):
        client = client_as(role)
        assert client.get(f"{API}/access").status_code == 403
        assert client.get(f"{API}/access/services").status_code == 403
        assert client.put(f"{API}/access/rules", json=RULES).status_code == 403
        assert client.post(f"{API}/access/end-all").status_code == 403


def test_what_matters_most_asks_who_it_is(owner, long_ago):
    """A browser left open changes no rule and no way a notice goes."""
    long_ago()
    for method, path, body in (
        ("PUT", "access/rules", RULES),
        ("POST", "access/end-all", None),
        ("POST", "access/people/1/forget-factors", None),
        ("DELETE", "access/services/psc", None),
        ("POST", "notices/ways", {"kind": "email", "to": "a@b.fr", "topics": ["nights"]}),
        ("DELETE", "notices/ways/1", None),
        ("DELETE", "notices/mail", None),
        ("PUT", "notices/monitor", {"address": ""}),
    ):
        answer = owner.request(method, f"{API}/{path}", json=body)
        assert answer.status_code == 403, path
        assert answer.json()["error"]["code"] == "access.proof-needed", path


# --- devices -------------------------------------------------------------------------------


def test_a_device_is_made_shown_once_and_shut_out(client_as, database, way_in):
    """Its key is in one answer; the worker is told."""
    client = client_as(Role.SECRETARY)
    ends = utc_now() + timedelta(days=30)
    made = client.post(f"{API}/devices", json={"label": "Phone", "ends_at": ends.isoformat()})
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    body = made.json()
    assert "PrivateKey" in body["file"]
    assert body["picture"].startswith("<svg")
    assert body["device"]["ends_at"].startswith(ends.isoformat()[:19])
    listed = client.get(f"{API}/devices")
    assert [each["label"] for each in listed.json()["devices"]] == ["Phone"]
    assert "PrivateKey" not in listed.text
    with database.read() as c:
        assert queue.newest(c, limit=5, kind=TunnelApply.kind)
        (kept,) = tunnel.living(c)
        assert tunnel.peers(c, now=utc_now())
        assert not tunnel.peers(c, now=ends)
    assert kept.public_key not in body["file"].partition("[Peer]")[0]
    number = body["device"]["id"]
    assert client.post(f"{API}/devices/{number}/revoke").status_code == 204
    assert client.post(f"{API}/devices/{number}/revoke").status_code == 404


def test_a_device_that_may_not_be_is_refused(owner, way_in):
    """No name, an end that is over, an end without its zone."""
    for body in (
        {"label": ""},
        {"label": "x", "ends_at": "2020-01-01T00:00:00Z"},
        {"label": "x", "ends_at": "2999-01-01T00:00:00"},
    ):
        assert owner.post(f"{API}/devices", json=body).status_code == 422, body


def test_anothers_device_is_seen_and_shut_out_by_who_runs_the_box_only(
    client_as, database, person_of, way_in
):
    """To anybody else it is not there."""
    boss = person_of(Role.OWNER)
    with database.write() as c:
        key = tunnel.make_keys()[1]
        made = tunnel.add(c, boss.id, "Laptop", key, by=boss.id, now=utc_now())
    client = client_as(Role.SECRETARY)
    assert client.get(f"{API}/devices").json()["devices"] == []
    assert client.post(f"{API}/devices/{made.id}/revoke").status_code == 404
    new = {"way_in": "other.example.org:51820"}
    assert client.put(f"{API}/devices/way-in", json=new).status_code == 403
    admin = client_as(Role.TECHNICAL_ADMIN)
    assert [each["owner"] for each in admin.get(f"{API}/devices").json()["devices"]] == [boss.name]
    assert admin.put(f"{API}/devices/way-in", json=new).json()["way_in"] == new["way_in"]
    assert admin.put(f"{API}/devices/way-in", json={"way_in": "x y"}).status_code == 422
    assert admin.post(f"{API}/devices/{made.id}/revoke").status_code == 204


def test_no_device_is_made_before_the_way_in_is_prepared(owner):
    """Whoever runs the box comes first."""
    assert owner.get(f"{API}/devices").json()["is_ready"] is False
    assert owner.post(f"{API}/devices", json={"label": "Phone"}).status_code == 422


# --- notices -------------------------------------------------------------------------------


def test_a_way_is_added_changed_tried_and_removed(client_as, database):
    """One's own, by anybody."""
    client = client_as(Role.SECRETARY)
    topics = client.get(f"{API}/notices/settings").json()["my_topics"]
    wanted = {"kind": "email", "to": "zoe@example.org", "topics": topics[:1]}
    made = client.post(f"{API}/notices/ways", json=wanted)
    assert (made.status_code, made.json()["label"]) == (201, "zoe@example.org")
    here = f"{API}/notices/ways/{made.json()['id']}"
    assert client.put(here, json={"topics": topics}).json()["topics"] == sorted(topics)
    assert client.put(here, json={"topics": []}).status_code == 422
    assert client.post(f"{here}/test").status_code == 204
    with database.read() as c:
        assert queue.newest(c, limit=5, kind=SendNotices.kind)
    assert client.delete(here).status_code == 204
    assert client.delete(here).status_code == 404


def test_what_is_the_practices_is_for_who_runs_the_box(client_as, database, person_of, box_keys):
    """A service's address is sealed and in no answer; another's way is not there."""
    url = "ntfys://secret-topic@ntfy.example.org/practice"
    wanted = {"kind": "service", "to": url, "topics": [OF_THE_BOX[0].value], "is_practice": True}
    client = client_as(Role.SECRETARY)
    assert client.post(f"{API}/notices/ways", json=wanted).status_code == 404
    assert client.get(f"{API}/notices/settings").json()["services"] == []
    boss = client_as(Role.OWNER)
    made = boss.post(f"{API}/notices/ways", json=wanted)
    assert made.status_code == 201, made.text
    assert "ntfys://" in boss.get(f"{API}/notices/settings").json()["services"]
    assert "secret-topic" not in made.text + boss.get(f"{API}/notices/ways").text
    with database.read() as c:
        (way,) = notice_ways.living(c, None)
        assert b"secret-topic" not in secrets.find_sealed(c, way.secret)
    client = client_as(Role.SECRETARY)
    assert client.delete(f"{API}/notices/ways/{way.id}").status_code == 404
    topics = [Topic.LOCUM.value]
    changed = client.put(f"{API}/notices/ways/{way.id}", json={"topics": topics})
    assert changed.status_code == 404


def test_the_e_mail_server_and_the_monitor_are_set(owner, database, box_keys):
    """The password stays until another is typed, and is in no answer."""
    server = {
        "server": "smtp.example.org", "port": 465, "security": "tls",
        "sender": "box@example.org", "user": "box",
    }  # fmt: skip
    no_password = owner.put(f"{API}/notices/mail", json={"server": server})
    assert no_password.status_code == 422
    set_ = owner.put(f"{API}/notices/mail", json={"server": server, "password": "mail-secret"})
    assert (set_.status_code, set_.json()["mail"]["server"]) == (200, "smtp.example.org")
    kept = owner.put(f"{API}/notices/mail", json={"server": {**server, "port": 587}})
    assert kept.json()["mail"]["port"] == 587
    assert "mail-secret" not in set_.text + kept.text
    bad = owner.put(f"{API}/notices/mail", json={"server": {**server, "port": 0}})
    assert bad.status_code == 422
    assert owner.delete(f"{API}/notices/mail").status_code == 204
    assert owner.get(f"{API}/notices/settings").json()["mail"] is None
    ping = {"address": "https://monitor.example.org/ping/sealed-away"}
    told = owner.put(f"{API}/notices/monitor", json=ping)
    assert told.json()["monitor"]["set_at"]
    assert "sealed-away" not in told.text
    assert owner.put(f"{API}/notices/monitor", json={"address": "ftp://x"}).status_code == 422
    assert owner.put(f"{API}/notices/monitor", json={"address": ""}).json()["monitor"] is None


def test_when_notices_leave_is_chosen(client_as):
    """By who runs the box."""
    rules = {
        "quiet_from": "20:00", "quiet_until": "06:30", "digest_days": 1, "digest_at": "09:00",
        "base_url": "https://armoire.example.org:8443",
    }  # fmt: skip
    assert client_as(Role.SECRETARY).put(f"{API}/notices/rules", json=rules).status_code == 403
    boss = client_as(Role.OWNER)
    assert boss.put(f"{API}/notices/rules", json=rules).json()["rules"] == rules
    for wrong in ({"quiet_from": "25:00"}, {"digest_days": 2}, {"base_url": "http://x"}):
        assert boss.put(f"{API}/notices/rules", json={**rules, **wrong}).status_code == 422
