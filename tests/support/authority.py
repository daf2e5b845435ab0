"""A server's certificate at 127.0.0.1, signed by itself: its own authority."""

from collections.abc import Iterable
from datetime import timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from appliance.clock import utc_now


def make_pair(
    whose: str,
    *,
    days: int = 2,
    names: Iterable[str] = (),
    path_length: int | None = None,
    by: tuple[bytes, bytes] | None = None,
) -> tuple[bytes, bytes]:
    """Return a certificate and its key, as PEM.

    Args:
        whose: its name.
        days: until it ends; it began the day before.
        names: of hosts, beside the address.
        path_length: of an authority; None: any.
        by: certificate and key of who signs it; itself without.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, whose)])
    signs, issuer = key, name
    if by is not None:
        issuer = x509.load_pem_x509_certificate(by[0]).subject
        found = load_pem_private_key(by[1], None)
        assert isinstance(found, ec.EllipticCurvePrivateKey)
        signs = found
    now = utc_now()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=path_length), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ip_address("127.0.0.1")), *map(x509.DNSName, names)]
            ),
            critical=False,
        )
        .sign(signs, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM), key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
