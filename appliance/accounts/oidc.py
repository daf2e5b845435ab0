"""OpenID Connect, as a client: the authorization code flow with PKCE, state and nonce; nothing less.

One service's word is: this browser belongs to that subject. Whether the subject may come in is decided by
``oidc_sign_in``: an account is never made by it.
Source: OpenID Connect Core 1.0 §3.1; RFC 7636; RFC 8705; RFC 9700; domain.md §6.1 and §6.2.
"""

import hashlib
import hmac
import secrets
import ssl
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

import httpx2
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from appliance.accounts.oidc_providers import BY_CERTIFICATE, Provider
from appliance.errors import OutsideRefused
from appliance.language import mark
from appliance.vault.secret import Secret
from appliance.vault.secret_file import secret_file

#: Somebody who has not come back from the service by then begins again.
WAITS_S: Final = 600.0
WAITING_AT_MOST: Final = 1_000
TIMEOUT_S: Final = 10.0
ANSWER_BYTES_AT_MOST: Final = 1_000_000
#: Seconds a clock may be off.
LEEWAY_S: Final = 60
#: Only signatures of a key pair: with «none» or a shared secret anybody could sign.
ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
)

_UNREACHABLE: Final = mark("it does not answer. Try again in a minute, or use your password.")
_NOT_KNOWN: Final = mark(
    "it does not take the certificate of this box. Tell the person responsible for the box, or use your password."
)
_UNSOUND: Final = mark("its answer does not hold. Try again, or use your password.")
_STRANGER: Final = mark("its answer belongs to another attempt. Begin again.")
_REFUSED: Final = mark("it did not sign you in. Try again, or use your password.")
_WEAK: Final = mark("you did not sign in there with the card it asks for.")


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody sent to a service who has not come back."""

    provider_id: str
    nonce: str
    verifier: str
    browser: str  # hash of the mark its cookie carries
    next: str
    ends: float  # monotonic


@dataclass(frozen=True, slots=True)
class Said:
    """What a service said of somebody, checked."""

    subject: str
    acr: str
    id_token: str  # for signing out there


class Waitings:
    """Those who have not come back, in memory."""

    def __init__(self) -> None:
        self._all: dict[str, Waiting] = {}
        self._lock = threading.Lock()

    def add(self, waiting: Waiting) -> str:
        """Remember one and return its state."""
        state = secrets.token_urlsafe(32)
        with self._lock:
            if len(self._all) >= WAITING_AT_MOST:
                del self._all[next(iter(self._all))]  # the oldest
            self._all[state] = waiting
        return state

    def take(self, state: str, browser: str) -> Waiting:
        """Return the one of this state, once, in the browser that began it.

        Raises:
            OutsideRefused: unknown, used, too old, or begun in another browser.
        """
        with self._lock:
            found = self._all.pop(state, None)
        if (
            found is None
            or found.ends <= time.monotonic()
            or not hmac.compare_digest(found.browser, mark_of(browser))
        ):
            raise OutsideRefused(_STRANGER)
        return found


def mark_of(browser: str) -> str:
    """Return what is remembered of a browser's cookie."""
    return hashlib.sha256(browser.encode()).hexdigest()


def begin(
    provider: Provider, waitings: Waitings, *, redirect: str, browser: str, next_page: str
) -> str:
    """Return the address to send the browser to.

    Args:
        provider: the service, its addresses known (``located``).
        waitings: those on their way.
        redirect: where it sends back to; registered there, exactly.
        browser: the mark of the cookie that must come back too.
        next_page: where to go afterwards.
    """
    nonce, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    state = waitings.add(
        Waiting(
            provider.id,
            nonce,
            verifier,
            mark_of(browser),
            next_page,
            time.monotonic() + WAITS_S,
        )
    )
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect,
        "scope": provider.scope,
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge.decode("ascii"),
        "code_challenge_method": "S256",
        **dict(provider.extra),
    }
    joint = "&" if "?" in provider.authorize else "?"
    return provider.authorize + joint + urlencode(asked)


def located(provider: Provider, key: Secret | None = None) -> Provider:
    """Return the service with its addresses, read from its discovery document where one is named.

    Args:
        provider: it.
        key: of its client certificate, if it has one.

    Raises:
        OutsideRefused: it does not answer, is another issuer, or names an address that is not HTTPS.
    """
    if not provider.discovery:
        return provider
    with _client(provider, key) as client:
        found = _json(_ask(client, "GET", provider.discovery))
    aliases = found.get("mtls_endpoint_aliases")
    if provider.certificate and isinstance(aliases, dict):
        # RFC 8705 §5: where certificates are asked for; browsers are sent to the usual addresses.
        found |= {
            name: aliases[name]
            for name in ("token_endpoint", "userinfo_endpoint")
            if isinstance(aliases.get(name), str)
        }
    names = {
        "authorize": "authorization_endpoint",
        "token": "token_endpoint",
        "keys": "jwks_uri",
        "userinfo": "userinfo_endpoint",
        "logout": "end_session_endpoint",
    }
    read = {
        ours: str(found.get(theirs) or "") or getattr(provider, ours)
        for ours, theirs in names.items()
    }
    if found.get("issuer") != provider.issuer or not all(
        value == "" or value.startswith("https://") for value in read.values()
    ):
        raise OutsideRefused(_UNSOUND)
    return replace(
        provider,
        authorize=read["authorize"],
        token=read["token"],
        keys=read["keys"],
        userinfo=read["userinfo"],
        logout=read["logout"],
    )


def finish(
    provider: Provider,
    secret: Secret | None,
    waiting: Waiting,
    answer: Mapping[str, str],
    *,
    redirect: str,
    now: float,
    key: Secret | None = None,
) -> Said:
    """Exchange the code and return what the service says, checked. Slow: call it in a thread.

    Args:
        provider: located.
        secret: the client's, None for a public client.
        waiting: as ``Waitings.take`` gave it.
        answer: the query the browser came back with.
        redirect: as in ``begin``.
        now: seconds since 1970.
        key: of its client certificate, if it has one.

    Raises:
        OutsideRefused: the service refused, or its answer does not hold: signature, issuer, audience, nonce,
            dates, the level of assurance.
    """
    if answer.get("error") or not answer.get("code"):
        raise OutsideRefused(_REFUSED)
    if answer.get("iss", provider.issuer) != provider.issuer:  # RFC 9207
        raise OutsideRefused(_UNSOUND)
    form = {
        "grant_type": "authorization_code",
        "code": answer["code"],
        "redirect_uri": redirect,
        "client_id": provider.client_id,
        "code_verifier": waiting.verifier,
    }
    # One way of being known, not two (RFC 6749 §2.3): with a certificate the name is enough.
    if secret is not None and provider.authentication not in BY_CERTIFICATE:
        form["client_secret"] = secret.reveal().decode()
    with _client(provider, key) as client:
        given = _json(_ask(client, "POST", provider.token, data=form))
        id_token, access = given.get("id_token"), given.get("access_token")
        if not isinstance(id_token, str):
            raise OutsideRefused(_UNSOUND)
        keys = _key_set(client, provider)
        claims = _checked(id_token, keys, provider, now)
        if not hmac.compare_digest(str(claims.get("nonce", "")), waiting.nonce):
            raise OutsideRefused(_STRANGER)
        more: Mapping[str, Any] = {}
        if provider.userinfo and isinstance(access, str):
            more = _userinfo(client, provider, keys, access, now)
            if more.get("sub") != claims.get("sub"):
                raise OutsideRefused(_UNSOUND)  # Core §5.3.2: else another's could be put in
    acr = str(claims.get("acr", ""))
    if provider.acr and acr != provider.acr:
        raise OutsideRefused(_WEAK)
    subject = claims.get(provider.subject_claim, more.get(provider.subject_claim))
    if not isinstance(subject, str) or not 0 < len(subject) <= 200:
        raise OutsideRefused(_UNSOUND)
    return Said(subject, acr, id_token)


def logout_address(provider: Provider, id_token: str, *, back: str) -> str | None:
    """Return where a browser ends its session at the service; None: it offers no such thing."""
    if not provider.logout:
        return None
    asked = {"post_logout_redirect_uri": back, "client_id": provider.client_id}
    if id_token:
        asked["id_token_hint"] = id_token
    return f"{provider.logout}?{urlencode(asked)}"


def _checked(token: str, keys: KeySet, provider: Provider, now: float) -> dict[str, Any]:
    try:
        made = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
        jwt.JWTClaimsRegistry(
            now=int(now),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": provider.issuer},
            aud={"essential": True, "value": provider.client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        ).validate(made.claims)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise OutsideRefused(_UNSOUND) from error
    claims = dict(made.claims)
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != provider.client_id:
        raise OutsideRefused(_UNSOUND)
    return claims


def _userinfo(
    client: httpx2.Client, provider: Provider, keys: KeySet, access: str, now: float
) -> Mapping[str, Any]:
    answer = _ask(client, "GET", provider.userinfo, headers={"authorization": f"Bearer {access}"})
    if not answer.headers.get("content-type", "").startswith("application/jwt"):
        return _json(answer)
    try:
        made = jwt.decode(answer.text.strip(), keys, algorithms=list(ALGORITHMS))
        jwt.JWTClaimsRegistry(now=int(now), leeway=LEEWAY_S).validate(made.claims)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise OutsideRefused(_UNSOUND) from error
    claims = dict(made.claims)
    if claims.get("iss", provider.issuer) != provider.issuer:
        raise OutsideRefused(_UNSOUND)
    return claims


def _key_set(client: httpx2.Client, provider: Provider) -> KeySet:
    found = _json(_ask(client, "GET", provider.keys))
    # Keys of kinds we do not know are no reason to refuse those we do.
    known = [
        each
        for each in found.get("keys", [])
        if isinstance(each, dict) and each.get("kty") in {"RSA", "EC"} and each.get("use") != "enc"
    ]
    try:
        return KeySet.import_key_set({"keys": known})
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise OutsideRefused(_UNSOUND) from error


def _client(provider: Provider, key: Secret | None) -> httpx2.Client:
    trust = ssl.create_default_context(cadata=provider.ca or None)
    trust.minimum_version = ssl.TLSVersion.TLSv1_2
    if provider.certificate:
        if key is None:  # a box that burnt: its key was sealed to the former one
            raise OutsideRefused(_NOT_KNOWN)
        pair = Secret(provider.certificate.encode() + b"\n" + key.reveal())
        try:
            with secret_file(pair) as path:  # in memory: OpenSSL reads a key from a path only
                trust.load_cert_chain(path)
        except ssl.SSLError as error:  # too weak for OpenSSL
            raise OutsideRefused(_NOT_KNOWN) from error
    # Of the environment nothing is taken: a proxy would see the codes. No redirect is followed.
    return httpx2.Client(verify=trust, timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)


def _ask(
    client: httpx2.Client,
    method: str,
    address: str,
    *,
    data: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx2.Response:
    try:
        with client.stream(method, address, data=data, headers=headers) as answer:
            body = b""
            for part in answer.iter_bytes():
                body += part
                if len(body) > ANSWER_BYTES_AT_MOST:
                    raise OutsideRefused(_UNSOUND)
            # The code, the token and the names stay out of every log: nothing of the answer is kept.
            whole = httpx2.Response(answer.status_code, headers=_plain(answer), content=body)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise OutsideRefused(_NOT_KNOWN if _is_about_us(error) else _UNREACHABLE) from error
    if whole.status_code != 200:
        raise OutsideRefused(_REFUSED if method == "POST" else _UNREACHABLE)
    return whole


def _is_about_us(error: BaseException | None) -> bool:
    """Return whether the other side ended the line because of our certificate, or for want of one.

    Source: RFC 8446 §6.2: alerts 42 to 49 and 116 are what a server says of a client's certificate.
    """
    while error is not None:
        reason = getattr(error, "reason", None)
        if isinstance(error, ssl.SSLError) and isinstance(reason, str) and "_ALERT_" in reason:
            return "CERTIFICATE" in reason or "UNKNOWN_CA" in reason
        error = error.__cause__ or error.__context__
    return False


def _plain(answer: httpx2.Response) -> dict[str, str]:
    return {"content-type": answer.headers.get("content-type", "")}


def _json(answer: httpx2.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError as error:
        raise OutsideRefused(_UNSOUND) from error
    if not isinstance(found, dict):
        raise OutsideRefused(_UNSOUND)
    return found
