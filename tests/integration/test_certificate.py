"""The certificate is renewed without a restart, one's own is taken, and the page that asks for trust is right."""

import plistlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from starlette.testclient import TestClient

from appliance.cli import main
from appliance.clock import utc_now
from appliance.db.engine import open_database
from appliance.settings import Settings
from appliance.web import tls
from appliance.web.app import create_app
from appliance.web.pages.trust import authority, fingerprint
from appliance.web.server import Renewal, make_server
from tests.support.browser import at_free_port

pytestmark = pytest.mark.integration


def pair(name: str, days: int = 90) -> tuple[bytes, bytes]:
    """A certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = utc_now()
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=100))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM), key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A box that listens on a free port."""
    made = at_free_port(Settings(data=tmp_path / "data"))
    made.data.mkdir()
    open_database(made.database, create=True).close()
    return made


@pytest.fixture
def renewal(settings: Settings) -> Iterator[Renewal]:
    """The server, running, and what looks at its certificate."""
    server = make_server(settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 90
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert server.config.ssl is not None
    yield Renewal(settings, server.config.ssl)
    server.should_exit = True
    thread.join(timeout=20)


def shown(settings: Settings, least: ssl.TLSVersion | None = None) -> x509.Certificate:
    """What a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if least is not None:
        context.maximum_version = least
    with (
        socket.create_connection(("127.0.0.1", settings.listen_port), timeout=10) as line,
        context.wrap_socket(line) as secured,
    ):
        found = secured.getpeercert(binary_form=True)
        assert found is not None
        return x509.load_der_x509_certificate(found)


def test_a_new_certificate_is_taken_without_a_restart(settings: Settings, renewal: Renewal) -> None:
    """Connections to come get it; one that is damaged or does not fit leaves the old one in place."""
    before = shown(settings)
    assert renewal.look() is False
    tls.use_own(settings, *pair("practice"))
    assert renewal.look() is True
    assert shown(settings).subject.rfc4514_string() == "CN=practice"
    (settings.tls / "own.key").write_bytes(pair("other")[1])
    assert renewal.look() is False
    assert shown(settings).subject.rfc4514_string() == "CN=practice"
    tls.use_box(settings)
    assert renewal.look() is True
    assert shown(settings) == before


def test_old_versions_of_tls_are_refused(settings: Settings, renewal: Renewal) -> None:
    """1.2 and newer only (SEC-13)."""
    assert shown(settings, ssl.TLSVersion.TLSv1_2)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"), pytest.raises((ssl.SSLError, OSError)):
        shown(settings, ssl.TLSVersion.TLSv1_1)


def test_ones_own_certificate_is_checked_before_it_is_used(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of another key, expired, no certificate: refused, and nothing is changed."""
    good, bad = pair("practice"), pair("old", days=-1)
    names = [tmp_path / "a.pem", tmp_path / "b.pem"]

    def run(*words: str) -> int:
        try:
            return main(["--data", str(settings.data), *words])
        except SystemExit as end:
            return int(end.code or 0)

    def use(certificate: bytes, key: bytes) -> int:
        names[0].write_bytes(certificate)
        names[1].write_bytes(key)
        return run("certificate", "use", *map(str, names))

    assert use(good[0], bad[1]) == 2
    assert use(*bad) == 2
    assert use(b"nonsense", b"nonsense") == 2
    assert not (settings.tls / "own.crt").exists()
    assert use(*good) == 0
    assert (settings.tls / "own.key").stat().st_mode & 0o777 == 0o600
    assert run("certificate", "own") == 0
    assert not (settings.tls / "own.crt").exists()
    capsys.readouterr()
    assert run("certificate", "show", "--json") == 0
    ca = authority(settings)
    assert ca is not None
    assert fingerprint(ca) in capsys.readouterr().out


def test_the_page_that_asks_for_trust_shows_what_to_compare(settings: Settings) -> None:
    """Without signing in; the profile and the file hold the same authority; no key is ever sent."""
    tls.ensure_certificate(settings)
    ca = authority(settings)
    assert ca is not None
    database = open_database(settings.database)
    with TestClient(create_app(settings, database), base_url="https://testserver") as client:
        page = client.get("/trust", headers={"accept-language": "fr"}).text
        assert fingerprint(ca) in page
        assert "Faire confiance" in page
        assert x509.load_der_x509_certificate(client.get("/trust/armoire.crt").content) == ca
        profile = client.get("/trust/armoire.mobileconfig").content
        inner = plistlib.loads(profile)["PayloadContent"][0]
        assert x509.load_der_x509_certificate(inner["PayloadContent"]) == ca
        assert b"PRIVATE" not in profile
        tls.use_own(settings, *pair("practice"))
        assert fingerprint(ca) not in client.get("/trust").text
        assert client.get("/trust/armoire.crt").status_code == 404
    database.close()
