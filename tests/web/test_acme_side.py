"""The web interface's part of a certificate by ACME: killed between any two of its steps, it ends where it should."""

import itertools
import ssl
from contextlib import suppress
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.clock import utc_now
from appliance.db import facts
from appliance.jobs import certificates
from appliance.policy.certificate import Way, check_wish
from appliance.web import acme
from appliance.web.acme import NEXT, SHOWN, AcmeSide, Named

NAMES = ["cloud.cabinet.fr", "*.cabinet.fr"]
AUTHORITY = ec.generate_private_key(ec.SECP256R1())


class Killed(BaseException):
    """The process is gone at this line."""


def sign(database) -> str:
    """What an authority would answer the web's request with."""
    with database.read() as connection:
        request = certificates.mapping(connection, certificates.REQUEST)
    csr = x509.load_pem_x509_csr(request["pem"].encode())
    names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test")]))
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_now() - timedelta(days=1))
        .not_valid_after(utc_now() + timedelta(days=89))
        .add_extension(names.value, critical=True)
        .sign(AUTHORITY, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM).decode()
    with database.write() as connection:
        facts.put(connection, certificates.CHAIN, {"pem": pem}, now=utc_now())
    return pem


@pytest.fixture
def asked(settings, database):
    """A box whose owner asked for a certificate, and which made its request."""
    wish = check_wish("letsencrypt", NAMES, Way.DNS, "", agreed=True)
    settings.tls.mkdir()
    with database.write() as connection:
        certificates.ask(connection, wish, person_id=None, actor="test", now=utc_now())
    AcmeSide(settings, database, lambda: None).turn(utc_now())
    return settings


def is_whole(settings, database, pem: str) -> None:
    """The chain is shown with its own key, the database says so, and the next request has the next key."""
    content = (settings.tls / SHOWN).read_bytes()
    assert pem.encode() in content
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(str(settings.tls / SHOWN))
    with database.read() as connection:
        served = certificates.served(connection)
        request = certificates.mapping(connection, certificates.REQUEST)
    assert served is not None
    assert set(served.names) == set(NAMES)
    assert request["names"] == NAMES
    key = serialization.load_pem_private_key((settings.tls / NEXT).read_bytes(), password=None)
    csr = x509.load_pem_x509_csr(request["pem"].encode())
    assert csr.public_key() == key.public_key()
    leaf = x509.load_pem_x509_certificates(content)[0]
    assert csr.public_key() != leaf.public_key(), "the next certificate has a key of its own"


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("at", range(1, 6))
def test_killed_at_any_step_the_certificate_is_taken_all_the_same(
    asked, database, monkeypatch, at, behind
):
    """Never a key beside another's certificate, never a certificate that came and is forgotten."""
    first = sign(database)
    AcmeSide(asked, database, lambda: None).turn(utc_now())
    is_whole(asked, database, first)
    second = sign(database)
    count = itertools.count(1)

    def dying(real):
        def step(*given, **named):
            number = next(count)
            if number == at and not behind:
                raise Killed
            real(*given, **named)
            if number == at:
                raise Killed

        return step

    with monkeypatch.context() as patch:
        patch.setattr(acme, "put_file", dying(acme.put_file))
        patch.setattr(acme.facts, "put", dying(acme.facts.put))
        patch.setattr(type(asked.tls), "unlink", dying(type(asked.tls).unlink))
        with suppress(Killed):
            AcmeSide(asked, database, lambda: None).turn(utc_now())
    assert next(count) > at, "this step does not exist"
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(str(asked.tls / SHOWN))
    again = AcmeSide(asked, database, lambda: None)
    again.turn(utc_now())
    again.turn(utc_now())
    is_whole(asked, database, second)


def test_a_certificate_for_another_key_is_left_alone(asked, database):
    """It may be of a box that burnt, or of a mistake: what is shown stays, and the request too."""
    good = sign(database)
    side = AcmeSide(asked, database, lambda: None)
    side.turn(utc_now())
    with database.write() as connection:
        request = certificates.mapping(connection, certificates.REQUEST)
        facts.put(connection, certificates.REQUEST, None, now=utc_now())
    (asked.tls / NEXT).unlink()
    side.turn(utc_now())
    with database.write() as connection:
        mine = certificates.mapping(connection, certificates.REQUEST)
        assert mine["pem"] != request["pem"]
        facts.put(connection, certificates.REQUEST, request, now=utc_now())
    sign(database)
    with database.write() as connection:
        facts.put(connection, certificates.REQUEST, mine, now=utc_now())
    side.turn(utc_now())
    is_whole(asked, database, good)


def test_other_names_lead_to_another_request(asked, database):
    """And the certificate of before is shown until the new one is there."""
    good = sign(database)
    side = AcmeSide(asked, database, lambda: None)
    side.turn(utc_now())
    wish = check_wish("letsencrypt", ["autre.cabinet.fr"], Way.DNS, "", agreed=True)
    with database.write() as connection:
        certificates.ask(connection, wish, person_id=None, actor="test", now=utc_now())
    side.turn(utc_now())
    with database.read() as connection:
        assert certificates.mapping(connection, certificates.REQUEST)["names"] == list(wish.names)
        assert certificates.read(connection).is_due(utc_now()) is False, "its job waits already"
    assert good.encode() in (asked.tls / SHOWN).read_bytes()


def test_a_file_that_cannot_be_used_is_not_shown_and_takes_nothing_away(asked, database):
    """A disk that lost a block: the context of before goes on."""
    sign(database)
    AcmeSide(asked, database, lambda: None).turn(utc_now())
    named = Named(asked.tls)

    class Line:
        context = None

    def shown(name):
        line = Line()
        named.choose(line, name, None)
        return line.context

    before = shown("cloud.cabinet.fr")
    assert before is not None
    assert shown("a.cabinet.fr") is before
    assert shown("CLOUD.cabinet.fr") is before
    assert shown("a.b.cabinet.fr") is None
    assert shown("cabinet.fr") is None
    assert shown(None) is None
    (asked.tls / SHOWN).write_bytes((asked.tls / SHOWN).read_bytes()[:200])
    assert named.look() is False
    assert shown("cloud.cabinet.fr") is before
    (asked.tls / SHOWN).unlink()
    assert named.look() is True
    assert shown("cloud.cabinet.fr") is None
