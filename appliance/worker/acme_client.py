"""Speaking to a certificate authority by ACME (RFC 8555): the only importer of the library ``acme``.

Foreign exceptions end here: an authority's «no» becomes the error whose words say what to do.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from acme import challenges, client, errors, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWKEC
from josepy.util import ComparableECKey

from appliance import __version__
from appliance.clock import utc_now
from appliance.errors import (
    AnswerWrong,
    ArmoireError,
    AuthorityAccountMissing,
    AuthorityLimits,
    AuthorityUnreachable,
    CertificateRefused,
    NameNotResolved,
    PortClosed,
    RecordMissing,
    SecretUnreadable,
    TermsNotAgreed,
)
from appliance.policy.certificate import Way, Wish
from appliance.vault.secret import Secret

logging.getLogger("acme").setLevel(logging.WARNING)  # it tells whole messages otherwise

TIMEOUT_S: Final = 45
#: An authority may call a nonce spent once in a while; it gives another with its refusal.
NONCE_TRIES: Final = 8
#: Characters of an authority's own words that are kept.
DETAIL_CHARACTERS: Final = 300
_VALID: Final = "valid"
_PENDING: Final = "pending"


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to show whose a name is."""

    name: str  # without «*.»
    url: str  # of the authorisation
    status: str  # of the challenge: pending · processing · valid · invalid
    token: str
    answer: str  # what HTTP shall say (key authorisation)
    record: str  # what the TXT record shall say
    body: messages.ChallengeBody


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it is at the authority now."""

    url: str
    status: str  # pending · ready · processing · valid · invalid
    resource: messages.OrderResource


class _Network(client.ClientNetwork):
    """Knows how long the authority asked to wait, and has more patience with nonces than once; HTTPS only."""

    wait_s = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the library's
        super().__init__(*args, **kwargs)
        # Whoever named the directory chose nothing that it leads to. Source: RFC 8555 section 6.1.
        self.session.adapters.pop("http://", None)

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - the library's
        answer = super()._send_request(method, url, *args, **kwargs)
        self.wait_s = _seconds(answer.headers.get("Retry-After", ""))
        return answer

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - the library's
        for left in reversed(range(NONCE_TRIES)):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce" or not left:
                    raise
        raise AssertionError


class _Client(client.ClientV2):
    def fetch(self, url: str) -> requests.Response:
        """Return a resource of ours."""
        return self._post_as_get(url)

    def authorisation(self, url: str) -> messages.AuthorizationResource:
        """Return an authorisation as it is now."""
        return self._authzr_from_response(self._post_as_get(url), uri=url)


class Exchange:
    """A conversation with one authority, under an account of the box. Made by ``open_exchange``."""

    def __init__(self, wish: Wish, speaker: _Client, network: _Network, key: JWKEC) -> None:
        self._way = wish.way
        self._client, self._network, self._key = speaker, network, key
        self._host = urlsplit(wish.directory).hostname or ""

    def new_order(self, csr_pem: str) -> Order:
        """Return a new order for the names of a request."""
        with self._words(""):
            return _order(self._client.new_order(csr_pem.encode("ascii")))

    def order(self, url: str, csr_pem: str) -> Order | None:
        """Return an order of before; None when the authority knows it no more."""
        with self._words(""):
            try:
                body = messages.Order.from_json(self._client.fetch(url).json())
                found = [self._client.authorisation(each) for each in body.authorizations]
            except messages.Error as error:
                if error.code in {"malformed", "unauthorized", "accountDoesNotExist"}:
                    return None
                raise
            except errors.ClientError:
                return None  # a 404 without words
            return _order(
                messages.OrderResource(
                    body=body, uri=url, authorizations=found, csr_pem=csr_pem.encode("ascii")
                )
            )

    def challenges(self, order: Order) -> list[Challenge]:
        """Return what has still to be shown, one for each name.

        Raises:
            CertificateRefused: the authority does not offer the way that was asked for.
        """
        kind = challenges.DNS01 if self._way is Way.DNS else challenges.HTTP01
        found = []
        for authorisation in order.resource.authorizations:
            if authorisation.body.status.name == _VALID:
                continue
            name = str(authorisation.body.identifier.value)
            body = next(
                (each for each in authorisation.body.challenges if isinstance(each.chall, kind)),
                None,
            )
            if body is None:
                raise CertificateRefused("unsupported", f"{name}: {kind.typ}")
            answer = body.chall.key_authorization(self._key)
            record = (
                body.chall.validation(self._key) if isinstance(body.chall, challenges.DNS01) else ""
            )
            token = str(body.chall.encode("token"))
            found.append(
                Challenge(name, authorisation.uri, body.status.name, token, answer, record, body)
            )
        return found

    def answer(self, challenge: Challenge) -> None:
        """Tell the authority that it may look now."""
        with self._words(challenge.name):
            self._client.answer_challenge(challenge.body, challenge.body.response(self._key))

    def is_valid(self, challenge: Challenge) -> bool:
        """Return whether the authority has seen it; False: it is still at it.

        Raises:
            ArmoireError: it looked, and says what it saw instead.
        """
        with self._words(challenge.name):
            found = self._client.authorisation(challenge.url)
        status = found.body.status.name
        if status in {_PENDING, "processing"}:
            return False
        if status == _VALID:
            return True
        said = [each.error for each in found.body.challenges if each.error is not None]
        raise self._problem(said[0] if said else None, challenge.name)

    def finalise(self, order: Order) -> Order:
        """Ask for the certificate of an order that is ready."""
        with self._words(""):
            return _order(self._client.begin_finalization(order.resource).update(uri=order.url))

    def chain(self, order: Order) -> str:
        """Return the certificate and its issuers, as PEM."""
        with self._words(""):
            return self._client.fetch(str(order.resource.body.certificate)).text

    def refused(self, order: Order) -> ArmoireError:
        """Return why an order is invalid."""
        return self._problem(order.resource.body.error, "")

    @contextmanager
    def _words(self, name: str) -> Iterator[None]:
        with _ends_here(self._host):
            try:
                yield
            except messages.Error as error:
                raise self._problem(error, name) from error

    def _problem(self, error: messages.Error | None, name: str) -> ArmoireError:
        return problem(error, name, self._way, self._network.wait_s)


def problem(error: messages.Error | None, name: str, way: Way, wait_s: int) -> ArmoireError:
    """Return the error of ours for a problem of the authority's. Source: RFC 8555 section 6.7."""
    if error is None:
        return CertificateRefused("unknown", "–")
    detail = (error.detail or error.title or "–")[:DETAIL_CHARACTERS]
    kind = str(error.typ or "").rpartition(":")[2]
    if error.subproblems and kind in {"compound", "malformed"}:
        return problem(error.subproblems[0], name, way, wait_s)
    identifier = getattr(error, "identifier", None)
    name = name or (str(identifier.value) if identifier is not None else "")
    match kind:
        case "rateLimited":
            return AuthorityLimits(detail, wait_s)
        case "dns" | "connection" if way is Way.HTTP and (kind == "dns" or "resolve" in detail):
            return NameNotResolved(name, detail)
        case "dns":
            return RecordMissing(name, detail)
        case "connection" | "tls":
            return PortClosed(name, detail)
        case "unauthorized" | "incorrectResponse" if way is Way.DNS and "No TXT" in detail:
            return RecordMissing(name, detail)
        case "unauthorized" | "incorrectResponse":
            return AnswerWrong(name, detail)
        case _:
            return CertificateRefused(kind or "unknown", detail)


def make_account_key() -> Secret:
    """Return a new key for an account at an authority (PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Secret(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def open_exchange(
    wish: Wish, account: Secret, ca_bundle: str, bound: Secret | None = None
) -> Exchange:
    """Return a conversation under the account of a key, which is made at the authority when it has none.

    Args:
        wish: of whom what is asked.
        account: of ``make_account_key``.
        bound: key of the account ``wish.account`` that somebody has there: ours is bound to it (RFC 8555 7.3.4).
        ca_bundle: PEM file of authorities to trust for the conversation itself; empty: the usual ones.

    Raises:
        AuthorityUnreachable: it does not answer, or not in ACME.
        TermsNotAgreed: nobody agreed to its terms.
        AuthorityAccountMissing: it serves only who has an account there, and none was named.
        CertificateRefused, AuthorityLimits: it wants no account for us.
    """
    host = urlsplit(wish.directory).hostname or ""
    loaded = serialization.load_pem_private_key(account.reveal(), password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise SecretUnreadable("acme")
    key = JWKEC(key=ComparableECKey(loaded))
    trusted: Any = ca_bundle or True  # requests takes a path here, whatever the library's type says
    network = _Network(
        key, alg=ES256, verify_ssl=trusted, timeout=TIMEOUT_S,
        user_agent=f"armoire/{__version__} acme-python",
    )  # fmt: skip
    with _ends_here(host):
        try:
            directory = messages.Directory.from_json(network.get(wish.directory).json())
            speaker = _Client(directory, network)
            terms = getattr(directory.meta, "terms_of_service", None)
            if terms and not wish.has_agreed:
                raise TermsNotAgreed(str(terms)[:DETAIL_CHARACTERS])
            binding = None if bound is None else _binding(key, wish, bound, directory)
            _sign_in(speaker, network, wish, binding)
        except messages.Error as error:
            if error.code == "externalAccountRequired":
                raise AuthorityAccountMissing from error
            if error.code == "rateLimited" or not wish.account:
                raise problem(error, "", wish.way, network.wait_s) from error
            detail = (error.detail or "–")[:DETAIL_CHARACTERS]
            raise CertificateRefused(error.code or "unknown", detail) from error
    return Exchange(wish, speaker, network, key)


def _sign_in(
    speaker: _Client, network: _Network, wish: Wish, binding: dict[str, Any] | None
) -> None:
    if binding is not None and _knows_us(speaker, network):
        return  # some keys serve once only
    asked = messages.NewRegistration.from_data(
        email=wish.email or None, terms_of_service_agreed=True, external_account_binding=binding
    )
    try:
        speaker.new_account(asked)
    except errors.ConflictError as known:
        _go_on(network, known.location)


def _binding(
    key: JWKEC, wish: Wish, bound: Secret, directory: messages.Directory
) -> dict[str, Any]:
    """Return what says that our key is the account's. Source: RFC 8555 section 7.3.4."""
    return messages.ExternalAccountBinding.from_data(
        key.public_key(), wish.account, bound.reveal().decode("ascii"), directory
    )


def _knows_us(speaker: _Client, network: _Network) -> bool:
    """Return whether the authority has an account of our key, and go on under it."""
    try:
        speaker.new_account(messages.NewRegistration(only_return_existing=True))
    except errors.ConflictError as known:
        _go_on(network, known.location)
        return True
    except messages.Error as error:
        if error.code in {"accountDoesNotExist", "externalAccountRequired"}:
            return False
        raise
    return True


def _go_on(network: _Network, location: str) -> None:
    network.account = messages.RegistrationResource(body=messages.Registration(), uri=location)


def _order(resource: messages.OrderResource) -> Order:
    return Order(str(resource.uri), str(resource.body.status.name), resource)


@contextmanager
def _ends_here(host: str) -> Iterator[None]:
    """Turn what the libraries raise into «the authority does not answer»; our own errors pass."""
    try:
        yield
    except messages.Error:
        raise
    except requests.exceptions.SSLError as error:
        raise AuthorityUnreachable(host, "TLS") from error
    except requests.RequestException as error:
        raise AuthorityUnreachable(host, type(error).__name__) from error
    except (errors.Error, JoseError, ValueError, KeyError, AttributeError) as error:
        raise AuthorityUnreachable(host, "ACME") from error


def _seconds(header: str) -> int:
    """Return the seconds of a Retry-After header, 0 without one; a day at most."""
    if not header:
        return 0
    if header.strip().isdigit():
        return min(int(header), 86_400)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return 0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(0, round((until - utc_now()).total_seconds())), 86_400)
