"""The web interface's part of a certificate by ACME: it makes the key, answers by HTTP, shows what came.

``tls/acme-next.key`` belongs to the request that the worker takes to the authority; ``tls/acme.pem`` is a key with
its chain, in one file so that no moment pairs one with another's. docs/decisions/0187.
"""

import errno
import logging
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import utc_now
from appliance.db import facts
from appliance.db.engine import Database
from appliance.errors import ArmoireError
from appliance.folders import put_file
from appliance.jobs import certificates
from appliance.language import mark
from appliance.policy.certificate import Served, Wish
from appliance.settings import Settings
from appliance.web.acme_listener import AcmeListener, listen
from appliance.web.tls import harden

log = logging.getLogger(__name__)

SHOWN: Final = "acme.pem"
NEXT: Final = "acme-next.key"
_PROBLEMS: Final = {
    errno.EADDRINUSE: mark("another program has taken it"),
    errno.EACCES: mark("this account has no right to it"),
}
#: Seconds between two looks at what the worker wrote.
LOOK_S: Final = 2.0


class Named:
    """The certificate by ACME, for who asks for one of its names (SNI)."""

    def __init__(self, folder: Path) -> None:
        self._place = folder / SHOWN
        self._known = b""
        self._shown: tuple[ssl.SSLContext, frozenset[str]] | None = None
        self.look()

    def look(self) -> bool:
        """Take what lies there now; return whether it is another than before."""
        try:
            content = self._place.read_bytes()
        except OSError:
            content = b""
        if content == self._known:
            return False
        shown = None
        if content:
            try:
                leaf = x509.load_pem_x509_certificates(content)[0]
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(str(self._place))
            except (OSError, ValueError) as error:
                log.error("tls.acme-unusable %s", type(error).__name__)  # noqa: TRY400 - no content
                return False
            harden(context)
            shown = context, frozenset(names_of(leaf))
        self._known, self._shown = content, shown
        return True

    def choose(
        self, line: ssl.SSLSocket | ssl.SSLObject, name: str | None, _context: ssl.SSLContext
    ) -> None:
        """Show it when its name is asked for; called by OpenSSL within a handshake."""
        shown = self._shown
        if shown is None or not name:
            return
        asked = name.lower()
        if asked in shown[1] or "*." + asked.partition(".")[2] in shown[1]:
            line.context = shown[0]


class AcmeSide:
    """Looks from time to time at what the worker asks of the web interface; call ``watch`` in a thread."""

    def __init__(
        self, settings: Settings, database: Database, when_new: Callable[[], object]
    ) -> None:
        self._settings = settings
        self._database = database  # whoever opened it closes it
        self._when_new = when_new
        self._stop = threading.Event()
        self._listener: AcmeListener | None = None
        self._requested = ""  # the request known to belong to the key that lies there
        self._seen_chain = ""
        self._is_checked = False

    def watch(self, every_s: float = LOOK_S) -> None:
        """Look until ``end``; nothing that fails here ends it."""
        while not self._stop.wait(every_s):
            try:
                self.turn(utc_now())
            except (ArmoireError, SQLAlchemyError, OSError, ValueError) as error:
                log.error("acme.turn %s", type(error).__name__)  # noqa: TRY400 - no key in a log
        self._close()

    def end(self) -> None:
        """Stop looking."""
        self._stop.set()

    def turn(self, now: datetime) -> None:
        """Do what there is to do; safe to run again after a kill at any line."""
        wish = self._database.recall("certificate.wish", certificates.wish)
        if wish is None:  # most boxes
            self._forget(now)
            self._close()
            return
        with self._database.read() as connection:
            request = certificates.mapping(connection, certificates.REQUEST)
            chain = certificates.mapping(connection, certificates.CHAIN)
            answers = certificates.mapping(connection, certificates.ANSWERS)
        if not self._is_checked:
            self._check_shown(now)
        self._take(str(chain.get("pem", "")), now)
        self._request(wish, request, now)
        self._answer(answers, now)

    # --- the key and what belongs to it ------------------------------------------------------

    def _request(self, wish: Wish, request: object, now: datetime) -> None:
        """Make a key and a signing request for the next certificate, when there is none for these names."""
        place = self._settings.tls / NEXT
        known = request if isinstance(request, dict) else {}
        pem = str(known.get("pem", ""))
        if known.get("names") == list(wish.names) and place.exists():
            if pem == self._requested:
                return
            if _public(_key(place)) == _public_of_request(pem):
                self._requested = pem
                return
        key = ec.generate_private_key(ec.SECP256R1())
        made = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in wish.names]),
                critical=True,
            )
            .sign(key, hashes.SHA256())
        )
        put_file(place, _pem_of(key), 0o600)
        pem = made.public_bytes(serialization.Encoding.PEM).decode("ascii")
        with self._database.write() as connection:
            content = {"names": list(wish.names), "pem": pem}
            facts.put(connection, certificates.REQUEST, content, now=now)
        self._requested = pem

    def _take(self, chain: str, now: datetime) -> None:
        """Show a chain that belongs to our key; one that does not is left alone."""
        if not chain or chain == self._seen_chain:
            return
        place = self._settings.tls / NEXT
        leaf = x509.load_pem_x509_certificates(chain.encode("ascii"))[0]
        with suppress(FileNotFoundError, ValueError, TypeError):
            key = _key(place)
            if _public(key) == leaf.public_key().public_bytes(*_PUBLIC):
                put_file(self._settings.tls / SHOWN, _pem_of(key) + chain.encode("ascii"), 0o600)
                self._keep(leaf, now)
                place.unlink()
                log.info("acme.taken")
                self._when_new()
        self._seen_chain = chain

    def _check_shown(self, now: datetime) -> None:
        """Say what is shown: after a recovery it may be other than what the database says."""
        leaf = None
        with suppress(OSError, ValueError):
            found = (self._settings.tls / SHOWN).read_bytes()
            leaf = x509.load_pem_x509_certificates(found)[0]
        with self._database.read() as connection:
            said = certificates.served(connection)
        if (said.ends if said else None) != (leaf.not_valid_after_utc if leaf else None):
            self._keep(leaf, now)
        self._is_checked = True

    def _keep(self, leaf: x509.Certificate | None, now: datetime) -> None:
        with self._database.write() as connection:
            certificates.keep_served(
                connection, None if leaf is None else served(leaf, now), now=now
            )

    def _forget(self, now: datetime) -> None:
        place = self._settings.tls / SHOWN
        if not place.exists():
            return
        place.unlink()
        (self._settings.tls / NEXT).unlink(missing_ok=True)
        self._requested = self._seen_chain = ""
        self._keep(None, now)
        self._when_new()

    # --- answering by HTTP -------------------------------------------------------------------

    def _answer(self, wanted: object, now: datetime) -> None:
        """Listen while the authority may ask, and only then."""
        known = wanted if isinstance(wanted, dict) else {}
        answers = known.get("answers") or {}
        if not answers or now >= datetime.fromisoformat(str(known["until"])):
            self._close()
            return
        if self._listener is not None and self._listener.answers == answers:
            return
        problem = ""
        if self._listener is None:
            try:
                self._listener = listen(self._settings)
            except OSError as error:
                problem = _PROBLEMS.get(error.errno or 0, error.strerror or type(error).__name__)
        if self._listener is not None:
            self._listener.answers = dict(answers)
        said = {"for": sorted(answers), "problem": problem}
        with self._database.write() as connection:
            if certificates.mapping(connection, certificates.LISTENING) != said:
                facts.put(connection, certificates.LISTENING, said, now=now)

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.end()
            self._listener = None


def served(leaf: x509.Certificate, now: datetime) -> Served:
    """Return what is said of a certificate that is shown."""
    issuer = leaf.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    issuer = issuer or leaf.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Served(
        tuple(names_of(leaf)),
        leaf.not_valid_before_utc,
        leaf.not_valid_after_utc,
        str(issuer[0].value) if issuer else "",
        now,
    )


def names_of(leaf: x509.Certificate) -> list[str]:
    """Return the DNS names a certificate is for, in lower case."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in found.get_values_for_type(x509.DNSName)]


_PUBLIC: Final = (
    serialization.Encoding.DER,
    serialization.PublicFormat.SubjectPublicKeyInfo,
)


def _key(place: Path) -> ec.EllipticCurvePrivateKey:
    found = serialization.load_pem_private_key(place.read_bytes(), password=None)
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise TypeError("another kind of key")
    return found


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(*_PUBLIC)


def _public_of_request(pem: str) -> bytes:
    return x509.load_pem_x509_csr(pem.encode("ascii")).public_key().public_bytes(*_PUBLIC)


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
