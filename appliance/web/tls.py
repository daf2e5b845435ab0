"""The certificate of the web interface: a small authority of the box's own, and a leaf it signs.

A practice installs ``ca.crt`` once on its machines; the leaf is renewed without anybody noticing.
The authority may sign for private addresses and local names only (name constraints), so trusting it
gives nobody the power to imitate a bank.
"""

import ipaddress
import socket
import ssl
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance import interfaces
from appliance.clock import utc_now
from appliance.folders import put_file
from appliance.settings import Settings

CA_LIFE: Final = timedelta(days=3650)
#: Browsers refuse leaves that live longer than 398 days.
LEAF_LIFE: Final = timedelta(days=397)
RENEW_BEFORE: Final = timedelta(days=60)
SKEW: Final = timedelta(hours=24)  # a machine whose clock is behind must not refuse a new leaf

_PERMITTED_NETWORKS: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "100.64.0.0/10",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)
_PERMITTED_DOMAINS: Final = ("localhost", "local", "lan", "home.arpa", "internal")

#: Forward secrecy and authenticated encryption only. Source: ANSSI, «Recommandations de sécurité relatives à TLS» v1.2, R9 to R11.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"

Name = x509.DNSName | x509.IPAddress

#: Two threads that make a leaf at once would leave the key of one beside the certificate of the other.
_making: Final = threading.Lock()


def harden(context: ssl.SSLContext) -> None:
    """Let a server's context speak what is sound today, and nothing older (domain.md SEC-13)."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= (
        ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    )


def ensure_certificate(settings: Settings, *, now: datetime | None = None) -> tuple[Path, Path]:
    """Return the paths of certificate and key, made or renewed when needed.

    A pair that somebody put there as ``own.crt`` and ``own.key`` is used as it is.
    """
    with _making:
        return _ensure(settings, now or utc_now())


def _ensure(settings: Settings, now: datetime) -> tuple[Path, Path]:
    folder = settings.tls
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = folder / "own.crt", folder / "own.key"
    if all(path.exists() for path in own):
        return own
    certificate, key = folder / "box.crt", folder / "box.key"
    ca, ca_key = _ensure_authority(folder, now)
    wanted = [name for name in names(settings.listen_address) if _permits(ca, name)]
    if not _is_good(certificate, key, ca, wanted, now):
        _make_leaf(certificate, key, ca, ca_key, wanted, now)
    return certificate, key


def use_own(settings: Settings, certificate: bytes, key: bytes) -> None:
    """Put a pair that was checked in place; the key first, so that no moment pairs it with another's."""
    settings.tls.mkdir(mode=0o700, parents=True, exist_ok=True)
    (settings.tls / "own.crt").unlink(missing_ok=True)
    put_file(settings.tls / "own.key", key, 0o600)
    put_file(settings.tls / "own.crt", certificate, 0o644)


def use_box(settings: Settings) -> None:
    """Take away the pair that somebody put there."""
    for name in ("own.crt", "own.key"):
        (settings.tls / name).unlink(missing_ok=True)


def names(listen_address: str) -> list[Name]:
    """Return the names and addresses under which the box may be reached from inside."""
    host = socket.gethostname().split(".")[0].lower() or "armoire"
    domains = {"localhost", host, f"{host}.local", "armoire.local"}
    addresses = {"127.0.0.1", "::1", listen_address}
    addresses.update(each.address.partition("%")[0] for each in interfaces.addresses())
    found: list[Name] = [x509.DNSName(domain) for domain in sorted(domains)]
    for text in sorted(addresses):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        if any(address in network for network in _PERMITTED_NETWORKS):
            found.append(x509.IPAddress(address))
    return found


def _ensure_authority(
    folder: Path, now: datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    path, key_path = folder / "ca.crt", folder / "ca.key"
    if path.exists() and key_path.exists():
        found = x509.load_pem_x509_certificate(path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        # Kept under another name of the machine too: devices trust it, and after a fire the box has a new name.
        if (
            isinstance(key, ec.EllipticCurvePrivateKey)
            and found.not_valid_after_utc > now + LEAF_LIFE
        ):
            return found, key
    key = ec.generate_private_key(ec.SECP256R1())
    host = socket.gethostname().split(".")[0].lower() or "armoire"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Armoire, {host}"[:64])])
    subtrees: list[x509.GeneralName] = [
        x509.DNSName(domain) for domain in sorted({*_PERMITTED_DOMAINS, host})
    ]
    subtrees.extend(x509.IPAddress(network) for network in _PERMITTED_NETWORKS)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.NameConstraints(permitted_subtrees=subtrees, excluded_subtrees=None),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    put_file(key_path, _pem(key), 0o600)
    put_file(path, made.public_bytes(serialization.Encoding.PEM), 0o644)
    return made, key


def _permits(ca: x509.Certificate, name: Name) -> bool:
    """Return whether the authority may sign for a name: one name too many makes a leaf worthless."""
    if not isinstance(name, x509.DNSName):
        return True  # ``names`` gives private addresses only, and the authority permits those
    constraints = ca.extensions.get_extension_for_class(x509.NameConstraints).value
    return any(
        name.value == each.value or name.value.endswith("." + each.value)
        for each in constraints.permitted_subtrees or []
        if isinstance(each, x509.DNSName)
    )


def _is_good(
    path: Path, key_path: Path, ca: x509.Certificate, wanted: list[Name], now: datetime
) -> bool:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())[0]
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    if key.public_key() != found.public_key():
        return False  # written by two at once, or cut off between the two: no server starts with it
    known = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    try:
        found.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return (
        found.not_valid_before_utc <= now
        and found.not_valid_after_utc > now + RENEW_BEFORE
        and all(name in known for name in wanted)
    )


def _make_leaf(
    path: Path,
    key_path: Path,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    wanted: list[Name],
    now: datetime,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Armoire")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(wanted), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    put_file(key_path, _pem(key), 0o600)
    put_file(path, made.public_bytes(pem) + ca.public_bytes(pem), 0o644)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
