"""What the TLS door says to a stranger's scanner: the command `armoire serve`, looked at by sslscan."""

import http.client
import socket
import ssl
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.clock import utc_now
from appliance.db.engine import open_database
from appliance.folders import put_file
from appliance.settings import Settings
from appliance.web import acme, tls
from tests.support.armoire import Armoire, end, until
from tests.support.sshd import free_port

pytestmark = pytest.mark.integration
NAME = "cloud.cabinet-martin.fr"
#: Groups of at least 112 bits of strength that ANSSI recommends, or accepts beside them (R11: FFDHE of 2048 bits or more).
SOUND_GROUPS = {
    "x25519", "secp256r1 (NIST P-256)", "x448", "secp384r1 (NIST P-384)", "secp521r1 (NIST P-521)",
    "ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192",
    "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1",
    "brainpoolP256r1tls13", "brainpoolP384r1tls13", "brainpoolP512r1tls13",
}  # fmt: skip


@pytest.fixture(scope="module")
def settings_of_box(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One box for this file."""
    return Settings(data=tmp_path_factory.mktemp("box"))


@pytest.fixture(scope="module")
def port(settings_of_box: Settings) -> Iterator[int]:
    """It is served by the command itself, with a certificate for a public name besides its own."""
    settings = settings_of_box
    open_database(settings.database, create=True).close()
    tls.ensure_certificate(settings)
    put_file(settings.tls / acme.SHOWN, _public_certificate(), 0o600)
    _wish(settings)
    found = free_port()
    process = Armoire(settings.data, ARMOIRE_LISTEN_PORT=str(found)).start("serve")
    try:
        until(lambda: _answers(found) or process.poll() is not None, 60)
        assert process.poll() is None, process.communicate()
        yield found
    finally:
        end(process)


def _wish(settings: Settings) -> None:
    """Without one, the web interface puts a certificate by ACME away."""
    from appliance.db import facts
    from appliance.jobs import certificates
    from appliance.policy.certificate import Way, check_wish

    database = open_database(settings.database)
    wish = check_wish("https://127.0.0.1:1/dir", [NAME], Way.DNS, "", agreed=True)
    with database.write() as connection:
        facts.put(connection, certificates.WISH, wish.to_json(), now=utc_now())
    database.close()


def _public_certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_now() - timedelta(days=1))
        .not_valid_after(utc_now() + timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return acme._pem_of(key) + made.public_bytes(acme.serialization.Encoding.PEM)


def _answers(port: int) -> bool:
    try:
        return _head(port).status == 303
    except OSError:
        return False


def _head(port: int) -> http.client.HTTPResponse:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    line = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    line.request("GET", "/")
    answer = line.getresponse()
    answer.read()
    line.close()
    return answer


@pytest.fixture(scope="module", params=["", NAME], ids=["by its address", "by its public name"])
def scan(request: pytest.FixtureRequest, port: int, tmp_path_factory: pytest.TempPathFactory):
    """What sslscan found, for both certificates the box shows."""
    place: Path = tmp_path_factory.mktemp("scan") / "scan.xml"
    named = [f"--sni-name={request.param}"] if request.param else []
    subprocess.run(
        ["sslscan", "--ipv4", f"--xml={place}", "--show-certificate", *named, f"127.0.0.1:{port}"],
        check=True, capture_output=True, timeout=240,
    )  # fmt: skip
    found = ET.parse(place).getroot().find("ssltest")
    assert found is not None
    return request.param, found


def test_a_scanner_finds_nothing_old_and_nothing_weak(scan) -> None:
    """TLS 1.2 and 1.3, forward secrecy and authenticated encryption only; no compression, no renegotiation (SEC-13)."""
    name, found = scan
    versions = {
        f"{each.get('type')} {each.get('version')}"
        for each in found.iter("protocol")
        if each.get("enabled") == "1"
    }
    assert versions == {"tls 1.2", "tls 1.3"}
    ciphers = [(each.get("sslversion"), str(each.get("cipher"))) for each in found.iter("cipher")]
    assert {version for version, _ in ciphers} == {"TLSv1.2", "TLSv1.3"}
    for version, cipher in ciphers:
        assert "GCM" in cipher or "CHACHA20" in cipher, cipher
        assert version == "TLSv1.3" or cipher.startswith("ECDHE-ECDSA-"), cipher
    assert all(int(each.get("bits", "0")) >= 128 for each in found.iter("cipher"))
    compression = found.find("compression")  # a scanner whose OpenSSL knows none does not ask
    assert compression is None or compression.get("supported") == "0"
    renegotiation = found.find("renegotiation")
    assert renegotiation is not None
    assert renegotiation.get("supported") == "0"
    assert {each.get("vulnerable") for each in found.iter("heartbleed")} == {"0"}
    groups = {str(each.get("name")) for each in found.iter("group")}
    assert groups
    assert groups <= SOUND_GROUPS, groups - SOUND_GROUPS
    assert "x25519" in groups
    shown = next(each for each in found.iter("certificate") if each.get("type") == "short")
    assert shown.findtext("signature-algorithm") == "ecdsa-with-SHA256"
    assert (shown.findtext("altnames") or "").count(NAME) == bool(name)


def test_a_device_that_trusts_the_box_is_shown_a_whole_chain_and_told_to_come_back_safely(
    port: int, settings_of_box: Settings
) -> None:
    """By its address and its local names; HSTS for half a year at least; nothing is compressed by TLS."""
    context = ssl.create_default_context(cafile=str(settings_of_box.tls / "ca.crt"))
    for name in ("127.0.0.1", "localhost", "armoire.local"):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as line,
            context.wrap_socket(line, server_hostname=name) as secured,
        ):
            assert secured.getpeercert()
            assert secured.compression() is None
    with pytest.raises(ssl.SSLCertVerificationError):
        _connect(port, context, "banque.example.org")
    age = dict(
        part.strip().partition("=")[::2]
        for part in _head(port).headers["strict-transport-security"].split(";")
    )["max-age"]
    assert int(age) >= 180 * 86_400


def _connect(port: int, context: ssl.SSLContext, name: str) -> None:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as line,
        context.wrap_socket(line, server_hostname=name),
    ):
        pass
