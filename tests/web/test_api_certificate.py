"""The certificate as JSON: asked for, proven, given up, brought, and back to the box's own; no key comes out."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from appliance.accounts import app_passwords
from appliance.accounts.app_passwords import Kind, Scope
from appliance.clock import utc_now
from appliance.db import facts, secrets
from appliance.errors import PortClosed
from appliance.jobs import certificates, queue
from appliance.ledger import chain
from appliance.model import JobState, Role
from appliance.policy.certificate import Way
from appliance.vault.seal import make_keys
from appliance.vault.unseal import unseal
from appliance.web import tls
from tests.support.authority import make_pair
from tests.web.test_certificate import KEY, NAME, end_job

API = "/api/v1/certificate"
WISH = {"names": [NAME, "www.cabinet-martin.fr"], "has_agreed": True}
CHANGES = (("POST", ""), ("POST", "/give-up"), ("PUT", "/own"), ("DELETE", "/own"))


@pytest.fixture
def api(owner, settings, database):
    """An owner who has just shown who they are."""
    tls.ensure_certificate(settings)
    make_keys(settings.keys)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE session SET proven_at = created_at")
    return owner


def state(database, settings):
    """All that a refused request must leave as it was."""
    with database.read() as connection:
        return (
            certificates.wish(connection),
            [each.spec for each in queue.waiting(connection)],
            [each.event for each in chain.entries(connection) if "certificate" in each.event],
            {each.name: each.read_bytes() for each in settings.tls.iterdir()},
        )


def as_body(pair):
    """Two PEM files as they are sent."""
    return {"certificate": pair[0].decode(), "key": pair[1].decode()}


def test_one_is_asked_for_and_the_record_to_set_is_read_there(api, database):
    """The same wish and task as by the page; then «I have set them», with or without a look."""
    answer = api.post(API, json={**WISH, "email": "it@cabinet-martin.fr"})
    assert answer.status_code == 202
    body = answer.json()
    assert (body["names"], body["way"]) == (WISH["names"], "dns")
    assert (body["is_busy"], body["job_state"]) == (True, "queued")
    assert (body["email"], body["account"]) == ("it@cabinet-martin.fr", "")
    with database.read() as connection:
        assert certificates.wish(connection).has_agreed
        assert [each.kind for each in queue.waiting(connection)] == ["certificate.renew"]
        assert len(chain.newest(connection, event="certificate.asked")) == 1
    end_job(database, state=JobState.WARNED)
    record = {"name": f"_acme-challenge.{NAME}", "value": "abc-DEF_123"}
    order = {"url": "x", "since": utc_now().isoformat(), "records": [record]}
    with database.write() as connection:
        facts.put(connection, certificates.ORDER, order, now=utc_now())
    body = api.get(API).json()
    assert (body["records"], body["is_busy"], body["job_state"]) == ([record], False, "warned")
    assert body["records_since"]
    assert body["tried_at"]
    for sent, anyway in ((None, False), ({"anyway": True}, True)):
        assert api.post(f"{API}/renew", json=sent).status_code == 202
        with database.read() as connection:
            assert queue.waiting(connection)[0].spec == {"anyway": anyway}
        end_job(database, PortClosed(NAME, "refused"))
    assert "cannot reach" in api.get(API).json()["problem"]


def test_the_key_of_an_account_goes_in_sealed_and_comes_out_of_nothing(api, database, settings):
    """Bound to an account elsewhere, and forgotten with it."""
    wanted = {**WISH, "directory": "https://acme.example.fr/directory", "account": "kid-1"}
    answers = [api.post(API, json={**wanted, "way": "http", "account_key": KEY}), api.get(API)]
    answers.append(api.get("/api/v1/jobs"))
    answers.append(api.get("/api/v1/ledger"))
    with database.read() as connection:
        wish = certificates.wish(connection)
        sealed = secrets.find_sealed(connection, certificates.account_secret(wish))
    assert (wish.way, wish.directory, wish.account) == (Way.HTTP, wanted["directory"], "kid-1")
    assert unseal(certificates.account_secret(wish), sealed, settings.keys).reveal() == KEY.encode()
    assert all(each.status_code < 300 and KEY not in each.text for each in answers)
    assert api.post(API, json=wanted).status_code == 202, "the key of before serves"
    given_up = api.post(f"{API}/give-up")
    assert (given_up.status_code, given_up.json()["names"]) == (200, [])
    with database.read() as connection:
        assert secrets.find_sealed(connection, certificates.account_secret(wish)) is None
        assert len(chain.newest(connection, event="certificate.given-up")) == 1
    assert api.post(f"{API}/give-up").status_code == 404
    assert api.post(f"{API}/renew").status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"has_agreed": False},
        {"names": []},
        {"names": ["192.168.1.4"]},
        {"names": [f"*.{NAME}"], "way": "http"},
        {"names": [f"a{each}.fr" for each in range(21)]},
        {"way": "post"},
        {"email": "a@b.fr, c@d.fr"},
        {"directory": "http://acme.example.fr/directory"},
        {"directory": "https://[acme"},
        {"directory": "https://acme.example.fr:port/"},
        {"account": "kid-1"},
        {"account": "kid-1", "account_key": "no key"},
        {"account": "kid-1", "account_key": "x" * 20_001},
    ],
)
def test_what_no_authority_would_sign_changes_nothing(api, database, settings, change):
    """Refused before anything is asked, and what was typed is not said again."""
    before = state(database, settings)
    answer = api.post(API, json={**WISH, **change})
    assert answer.status_code == 422
    assert change.get("account_key", "\0") not in answer.text
    assert state(database, settings) == before


def test_the_page_refuses_an_address_that_cannot_be_read(api):
    """A bracket that is not closed is an input, not a failure."""
    form = {"names": NAME, "agreed": "yes", "directory": "https://[acme"}
    assert api.post("/certificate", data=form).status_code == 422


def test_the_practices_own_is_put_in_place_and_taken_away(api, database, settings):
    """What the web interface shows from then on; the key is for its eyes only."""
    pair = make_pair("practice", names=[NAME])
    answer = api.put(f"{API}/own", json=as_body(pair))
    assert answer.status_code == 200
    ends = x509.load_pem_x509_certificate(pair[0]).not_valid_after_utc
    assert answer.json()["brought_until"] == ends.isoformat().replace("+00:00", "Z")
    shown, key = tls.ensure_certificate(settings)
    assert (shown.read_bytes(), key.read_bytes()) == pair
    assert key.stat().st_mode & 0o777 == 0o600
    for each in (answer, api.get(API), api.get("/api/v1/ledger"), api.get("/certificate")):
        assert each.status_code == 200
        assert "PRIVATE KEY" not in each.text
    api.post(API, json=WISH)
    back = api.delete(f"{API}/own")
    assert (back.status_code, back.json()["brought_until"], back.json()["names"]) == (200, None, [])
    assert tls.ensure_certificate(settings)[0].name == "box.crt"
    assert not (settings.tls / "own.key").exists()
    assert api.delete(f"{API}/own").status_code == 200, "it is so already"
    with database.read() as connection:
        told = [each.event for each in chain.entries(connection) if "certificate" in each.event]
    assert told == [
        "certificate.brought", "certificate.asked", "certificate.put-away", "certificate.given-up",
    ]  # fmt: skip


def weak_pair():
    """One that a web server's library refuses: no web interface would start with it."""
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "practice")])
    now = utc_now()
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .sign(key, hashes.SHA256())
    )
    form = PrivateFormat.PKCS8
    return made.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, form, NoEncryption())


def test_no_pair_that_would_keep_the_box_from_starting_is_taken(api, database, settings):
    """Another's key, none at all, one that is over, one that is too weak: what is shown stays."""
    good = make_pair("practice")
    assert api.put(f"{API}/own", json=as_body(good)).status_code == 200
    before = state(database, settings)
    other = make_pair("other")
    wrong = (
        (good[0], other[1]),
        (b"certificate", b"key"),
        (good[0], b""),
        make_pair("old", days=0),
        weak_pair(),
        (good[0], good[1] + b"x" * 20_000),
    )
    for each in wrong:
        answer = api.put(f"{API}/own", json=as_body(each))
        assert answer.status_code == 422, each[0][:20]
        assert "PRIVATE KEY" not in answer.text
    assert state(database, settings) == before


@pytest.mark.parametrize("role", [Role.ASSOCIATE, Role.SECRETARY, Role.LOCUM])
def test_only_whoever_runs_the_box_may(client_as, database, settings, role):
    """The others change nothing, and may not look."""
    tls.ensure_certificate(settings)
    visitor = client_as(role)
    before = state(database, settings)
    for method, path in (*CHANGES, ("GET", ""), ("POST", "/renew")):
        assert visitor.request(method, API + path, json={}).status_code == 403, path
    assert state(database, settings) == before


def test_a_change_wants_to_know_who_it_is(owner, database, settings):
    """A session left open on a desk is not enough, and no token is."""
    tls.ensure_certificate(settings)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE session SET proven_at = NULL")
    before = state(database, settings)
    sent = {"": WISH, "/own": as_body(make_pair("practice"))}
    for method, path in CHANGES:
        answer = owner.request(method, API + path, json=sent.get(path))
        assert answer.json()["error"]["code"] == "access.proof-needed", path
    assert state(database, settings) == before


def test_a_token_reads_it_and_no_more(anonymous, database, settings, person_of):
    """Whatever it is good for."""
    tls.ensure_certificate(settings)
    me = person_of(Role.OWNER).id
    with database.write() as connection:
        token, _ = app_passwords.make(
            connection, me, kind=Kind.API, label="programs", scope=Scope, now=utc_now()
        )
    sent = {"Authorization": f"Bearer {token}"}
    assert anonymous.get(API, headers=sent).status_code == 200
    for method, path in (*CHANGES, ("POST", "/renew")):
        answer = anonymous.request(method, API + path, headers=sent, json=WISH)
        assert answer.json()["error"]["code"] == "access.scope", path
