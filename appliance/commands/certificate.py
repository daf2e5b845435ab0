"""``armoire certificate``: what the web interface shows to browsers."""

from pathlib import Path

import click
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from rich.console import Console

from appliance.clock import utc_now
from appliance.commands.framework import Group, answers
from appliance.commands.session import Answer, Session, when, wrong
from appliance.language import mark
from appliance.web import tls
from appliance.web.pages.trust import authority, fingerprint


@click.group("certificate", cls=Group, help=mark("The certificate of the web interface."))
def certificate() -> None:
    """Hold the commands about the certificate."""


@certificate.command("show", help=mark("Show which certificate is used, and what to compare."))
@answers
def show(session: Session) -> Answer:
    """Show the certificate."""
    path, _ = tls.ensure_certificate(session.settings)
    leaf = x509.load_pem_x509_certificates(path.read_bytes())[0]
    ca = authority(session.settings)
    body = {
        "is_own": ca is None,
        "authority_fingerprint": None if ca is None else fingerprint(ca),
        "fingerprint": leaf.fingerprint(hashes.SHA256()).hex(":").upper(),
        "until": leaf.not_valid_after_utc,
    }

    def tell(out: Console) -> None:
        if ca is not None:
            out.print(
                session.say(mark("Fingerprint of the box's authority, to compare on /trust:"))
            )
            out.print(fingerprint(ca), style="bold")
        out.print(
            session.say(
                mark("The certificate is valid until %(day)s."), day=when(leaf.not_valid_after_utc)
            )
        )

    return Answer(body, tell)


@certificate.command(
    "use",
    help=mark(
        "Use a certificate and key of one's own, as PEM files; renewed ones are taken without a restart.\n\n"
        "CERTIFICATE holds the certificate and those of its issuers, KEY its private key without a password."
    ),
)
@click.argument("certificate_file", metavar="CERTIFICATE", type=click.Path(path_type=Path, exists=True, dir_okay=False))  # fmt: skip
@click.argument("key_file", metavar="KEY", type=click.Path(path_type=Path, exists=True, dir_okay=False))  # fmt: skip
@answers
def use(session: Session, *, certificate_file: Path, key_file: Path) -> Answer:
    """Use one's own certificate."""
    chain, key = certificate_file.read_bytes(), key_file.read_bytes()
    try:
        leaf, *issuers = x509.load_pem_x509_certificates(chain)
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise wrong("certificate", mark("two PEM files: a certificate, and its key without a password.")) from error  # fmt: skip
    forms = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_key().public_bytes(*forms) != private.public_key().public_bytes(*forms):
        raise wrong("key", mark("the key of this certificate: this one is of another."))
    if not leaf.not_valid_before_utc <= utc_now() < leaf.not_valid_after_utc:
        raise wrong("certificate", mark("a certificate that is valid today."))
    for issuer in issuers[:1]:
        try:
            leaf.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise wrong("certificate", mark("the certificate first, then those of its issuers.")) from error  # fmt: skip
    tls.use_own(session.settings, chain, key)

    def tell(out: Console) -> None:
        out.print(
            session.say(
                mark("This certificate is used from now on, until %(day)s; a running box takes it within 10 minutes."),
                day=when(leaf.not_valid_after_utc),
            )
        )  # fmt: skip

    return Answer({"until": leaf.not_valid_after_utc}, tell)


@certificate.command("own", help=mark("Go back to the box's own authority."))
@answers
def own(session: Session) -> Answer:
    """Use the box's own authority again."""
    tls.use_box(session.settings)

    def tell(out: Console) -> None:
        out.print(session.say(mark("The box signs its certificate itself again; devices trust it by way of /trust.")))  # fmt: skip

    return Answer({}, tell)
