"""A certificate and its private key, as PEM: looked at before it is used, or made here."""

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.vault.secret import Secret


def check_pair(chain: bytes, key: Secret, *, now: datetime) -> datetime:
    """Return until when a certificate is good; its key fits, it is valid now, its issuers come in order.

    Args:
        chain: the certificate first, then those of its issuers, if any; PEM.
        key: its private key without a password, PEM.
        now: aware.

    Raises:
        InvalidInput: «certificate» or «key» is something else.
    """
    try:
        leaf, *issuers = x509.load_pem_x509_certificates(chain)
        private = load_pem_private_key(key.reveal(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidInput(
            "certificate", mark("two PEM files: a certificate, and its key without a password.")
        ) from error
    forms = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_key().public_bytes(*forms) != private.public_key().public_bytes(*forms):
        raise InvalidInput("key", mark("the key of this certificate: this one is of another."))
    if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
        raise InvalidInput("certificate", mark("a certificate that is valid today."))
    for issuer in issuers[:1]:
        try:
            leaf.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise InvalidInput(
                "certificate", mark("the certificate first, then those of its issuers.")
            ) from error
    return leaf.not_valid_after_utc


def certificate_ends(chain: str) -> datetime | None:
    """Return until when the first certificate of a PEM text is good; None: there is none."""
    try:
        return x509.load_pem_x509_certificates(chain.encode())[0].not_valid_after_utc
    except ValueError:
        return None


def make_client_pair(name: str, *, now: datetime, days: int) -> tuple[str, Secret]:
    """Return a certificate signed by itself, for a client that is known by it, and its key.

    Source: RFC 8705 §2.2: who registers it knows the key; no authority is asked.

    Args:
        name: the client's, 1 to 64 letters.
        now: aware; good from a day before, for clocks that are behind.
        days: until it ends.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    whose = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(issuer_name=whose, subject_name=whose, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM).decode("ascii"), Secret(pem)
