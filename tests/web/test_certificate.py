"""The page of the certificate: which one, until when, what to enter, why not."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from appliance.clock import utc_now
from appliance.db import facts, secrets
from appliance.errors import CertificateRefused, PortClosed
from appliance.jobs import certificates, queue
from appliance.jobs.kinds import RenewCertificate
from appliance.ledger import chain
from appliance.model import JobState, Role
from appliance.policy.certificate import Served, Way
from appliance.vault.seal import make_keys
from appliance.vault.unseal import unseal
from appliance.web import metrics, tls
from appliance.web.deps import Box

NAME = "cloud.cabinet-martin.fr"
FORM = {"names": f"{NAME}, www.cabinet-martin.fr", "way": "dns", "email": "", "agreed": "yes"}

KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQtMQ"


@pytest.fixture
def page(owner, settings, database):
    """An owner who has just shown who they are."""
    tls.ensure_certificate(settings)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE session SET proven_at = created_at")
    return owner


def end_job(database, error=None, state=JobState.FAILED):
    now = utc_now()
    with database.write() as connection:
        found = queue.newest(connection, kind=RenewCertificate.kind, limit=1)[0]
        queue.claim(connection, runner="test:1", now=now, only=found.id)
        queue.finish(connection, found.id, state, now=now, error=error)


def test_a_certificate_is_asked_for_and_its_way_is_shown(page, database):
    """The job is queued once; while it runs, nothing else can be asked for."""
    assert "A certificate that every device knows" in page.get("/certificate").text
    assert page.post("/certificate", data=FORM).status_code == 303
    with database.read() as connection:
        wish = certificates.wish(connection)
        waiting = [each.kind for each in queue.waiting(connection)]
    assert wish.names == (NAME, "www.cabinet-martin.fr")
    assert wish.way is Way.DNS
    assert wish.directory.startswith("https://acme-v02.api.letsencrypt.org/")
    assert waiting == ["certificate.renew"]
    text = page.get("/certificate").text
    assert "The box is at it" in text
    assert 'name="names"' not in text
    page.post("/certificate/renew")
    with database.read() as connection:
        assert len(queue.waiting(connection)) == 1


def test_a_record_to_enter_is_shown_whole(page, database):
    """Name and value, and a button that looks at once."""
    page.post("/certificate", data=FORM)
    end_job(database, state=JobState.WARNED)
    order = {
        "url": "x",
        "since": utc_now().isoformat(),
        "records": [{"name": f"_acme-challenge.{NAME}", "value": "abc-DEF_123"}],
    }
    with database.write() as connection:
        facts.put(connection, certificates.ORDER, order, now=utc_now())
    text = page.get("/certificate").text
    assert f"_acme-challenge.{NAME}" in text
    assert "abc-DEF_123" in text
    assert page.post("/certificate/renew", data={"anyway": "yes"}).status_code == 303
    with database.read() as connection:
        assert queue.waiting(connection)[0].spec == {"anyway": True}
    body = page.get("/api/v1/certificate").json()
    assert body["records"] == [{"name": f"_acme-challenge.{NAME}", "value": "abc-DEF_123"}]


def test_why_it_failed_is_said_and_what_is_shown_stays(page, database):
    """In the reader's words, with what to do."""
    now = utc_now()
    page.post("/certificate", data={**FORM, "names": NAME})
    end_job(database, PortClosed(NAME, "refused"))
    known = Served((NAME,), now - timedelta(days=80), now + timedelta(days=10), "Pebble", now)
    with database.write() as connection:
        certificates.keep_served(connection, known, now=now)
    text = page.get("/certificate").text
    assert "cannot reach" in text
    assert "Pebble" in text
    body = page.get("/api/v1/certificate").json()
    assert body["is_shown"] is True
    assert "cannot reach" in body["problem"]
    home = page.get("/status").text
    assert f"The certificate of «{NAME}» could not be renewed" in home.replace("\u202f", " ")
    trust = page.get("/trust", headers={"host": NAME}).text
    assert "There is nothing to do" in trust
    assert "Compare" in page.get("/trust").text, "by its address the box still shows its own"


@pytest.mark.parametrize(
    "change",
    [
        {"agreed": ""},
        {"names": ""},
        {"names": "192.168.1.4"},
        {"names": "armoire.local"},
        {"names": "a..fr"},
        {"names": f"*.{NAME}", "way": "http"},
        {"names": " ".join(f"a{each}.fr" for each in range(21))},
        {"email": "a@b.fr, c@d.fr"},
        {"directory": "http://acme.example.fr/directory"},
        {"directory": "https://u:p@acme.example.fr/directory"},
        {"account": "kid 1", "account_key": KEY},
        {"account": "kid-1"},
        {"account": "kid-1", "account_key": "no key"},
    ],
)
def test_what_no_authority_would_sign_is_refused_before_it_is_asked(page, database, change):
    """Nothing is stored, and what was typed is still there."""
    answer = page.post("/certificate", data={**FORM, **change})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    with database.read() as connection:
        assert certificates.wish(connection) is None
        assert not queue.waiting(connection)


def test_another_authority_is_asked_under_the_account_somebody_has_there(page, database, settings):
    """The key is sealed, shown by no page and written nowhere; it goes when the account does."""
    make_keys(settings.keys)
    form = {**FORM, "directory": "https://acme.example.fr/directory", "account": "kid-1"}
    assert page.post("/certificate", data={**form, "account_key": KEY}).status_code == 303
    with database.read() as connection:
        wish = certificates.wish(connection)
        sealed = secrets.find_sealed(connection, certificates.account_secret(wish))
        told = [each for each in chain.entries(connection) if each.event == "certificate.asked"]
    assert (wish.directory, wish.account) == ("https://acme.example.fr/directory", "kid-1")
    assert unseal(certificates.account_secret(wish), sealed, settings.keys).reveal() == KEY.encode()
    assert KEY not in str(told[0].body)
    end_job(database, CertificateRefused("unauthorized", "no such account"))
    text = page.get("/certificate").text
    assert "acme.example.fr" in text
    assert "account kid-1" in text
    assert KEY not in text

    assert page.post("/certificate", data=form).status_code == 303, "the key of before serves"
    with database.read() as connection:
        assert secrets.find_sealed(connection, certificates.account_secret(wish)) == sealed
    end_job(database, CertificateRefused("unauthorized", "no such account"))
    refused = page.post("/certificate", data={**form, "account": "kid-2"})
    assert refused.status_code == 422
    assert 'value="kid-2"' in refused.text
    page.post("/certificate/give-up")
    with database.read() as connection:
        assert secrets.find_sealed(connection, certificates.account_secret(wish)) is None


def test_a_program_that_watches_learns_how_long_it_is_valid(settings, database):
    """A figure for Prometheus; none where there is no such certificate."""
    now = utc_now()
    box = Box(settings, database)

    def lines() -> list[str]:
        with database.read() as connection:
            text = metrics._page(connection, box, now)
        return [each for each in text.splitlines() if each.startswith("armoire_certificate")]

    assert lines() == []
    with database.write() as connection:
        known = Served((NAME,), now, now + timedelta(seconds=90), "", now)
        certificates.keep_served(connection, known, now=now)
    assert lines() == ["armoire_certificate_left_seconds 90"]


def test_one_that_was_brought_is_told_apart_and_its_end_is_on_the_status_page(page, settings):
    """The box shows it to everybody, and cannot renew it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(utc_now() - timedelta(days=360))
        .not_valid_after(utc_now() + timedelta(days=5))
        .sign(key, hashes.SHA256())
    )
    tls.use_own(settings, made.public_bytes(Encoding.PEM), b"a key")
    assert "The practice brought a certificate of its own" in page.get("/certificate").text
    assert "certificate that the practice brought is valid for" in page.get("/status").text


def test_giving_it_up_ends_everything(page, database):
    """The wish, the order, the answers."""
    page.post("/certificate", data=FORM)
    assert page.post("/certificate/give-up").status_code == 303
    with database.read() as connection:
        assert certificates.wish(connection) is None
    assert page.post("/api/v1/certificate/renew").status_code == 404
    assert page.post("/certificate/renew").status_code == 303
    assert "A certificate that every device knows" in page.get("/certificate").text


@pytest.mark.parametrize("role", [Role.ASSOCIATE, Role.SECRETARY, Role.LOCUM])
def test_it_is_for_whoever_runs_the_box(client_as, role):
    """The others may not even look."""
    visitor = client_as(role)
    assert visitor.get("/certificate").status_code == 403
    assert visitor.post("/certificate/renew").status_code == 403
    assert visitor.get("/api/v1/certificate").status_code == 403


def test_asking_wants_to_know_who_it_is(owner, settings, database):
    """A session left open on a desk is not enough."""
    tls.ensure_certificate(settings)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE session SET proven_at = NULL")
    owner.post("/certificate", data=FORM)
    with database.read() as connection:
        assert certificates.wish(connection) is None
