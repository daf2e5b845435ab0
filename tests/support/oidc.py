"""A small OpenID Connect server on 127.0.0.1, over TLS: real signatures, PKCE, codes good once.

It signs everybody in as ``subject`` and does one thing wrong when ``fault`` says so. With ``client_ca`` it has
a second door that lets in nobody without a certificate (RFC 8705), and tokens are had there only.
"""

import contextlib
import hashlib
import json
import secrets
import ssl
import tempfile
import threading
import time
from base64 import urlsafe_b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

from tests.support.authority import make_pair

CLIENT = "armoire-test"
SECRET = "s3cret of the client"
SUBJECT = "810001234567"  # «8» + RPPS
FAULTS = (
    "wrong-signature", "signed-with-the-secret", "not-signed", "wrong-nonce", "no-nonce", "wrong-aud",
    "two-auds", "wrong-iss", "expired", "from-tomorrow", "weak-acr", "userinfo-of-another",
    "userinfo-wrong-signature", "no-subject", "refused", "broken-json", "no-id-token", "endless",
    "redirect",
)  # fmt: skip


class OidcServer:
    """``with OidcServer() as server:`` — then ``server.issuer``, ``server.ca``; ``server.tls_base``, its second door.

    Args:
        client_ca: PEM of the authority of clients' certificates; "" knows none.
        by_certificate: a client is known by its certificate's name alone, and sends no secret.
    """

    def __init__(self, client_ca: str = "", *, by_certificate: bool = False) -> None:
        self.fault = ""
        self.by_certificate = by_certificate
        self.shown: list[str] = []  # names of certificates that came to the second door
        self.subject = SUBJECT
        self.acr = "eidas1"
        self.jwt_userinfo = True
        self.asked: list[dict[str, str]] = []  # what came to /authorize
        self.paths: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self._other = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self._folder = tempfile.TemporaryDirectory()
        self.ca, certificate = _certificate(Path(self._folder.name))
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._answer(self, {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                server._answer(self, _flat(body.decode()))

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trust.load_cert_chain(certificate)
        self._http.socket = trust.wrap_socket(self._http.socket, server_side=True)
        self.base = f"https://127.0.0.1:{self._http.server_address[1]}"
        self.issuer = f"{self.base}/realms/esante-wallet"
        self._doors = [self._http]
        self.tls_base = ""
        if client_ca:
            asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            asking.load_cert_chain(certificate)
            asking.load_verify_locations(cadata=client_ca)
            asking.verify_mode = ssl.CERT_REQUIRED
            door = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            door.handle_error = lambda *_: None  # type: ignore[method-assign]  # who is refused is no news
            # The handshake is the thread's: one who shows nothing holds nobody up.
            door.socket = asking.wrap_socket(
                door.socket, server_side=True, do_handshake_on_connect=False
            )
            self._doors.append(door)
            self.tls_base = f"https://127.0.0.1:{door.server_address[1]}"
        self._threads = [
            threading.Thread(target=each.serve_forever, args=(0.05,)) for each in self._doors
        ]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_why: object) -> None:
        for each in self._doors:
            each.shutdown()
            each.server_close()
        for thread in self._threads:
            thread.join(timeout=10)
        self._folder.cleanup()

    def _is_known(self, request: BaseHTTPRequestHandler) -> bool:
        """Return whether who asks for tokens came by the door they are had at, as the client registered here."""
        if not self.tls_base:
            return True
        line: Any = request.connection
        if line.getsockname()[1] != self._doors[1].server_address[1]:
            return False
        shown = dict(pair for part in line.getpeercert()["subject"] for pair in part)
        self.shown.append(shown["commonName"])
        return bool(shown["commonName"] == CLIENT)

    def _answer(self, request: BaseHTTPRequestHandler, form: dict[str, str]) -> None:
        parts = urlsplit(request.path)
        self.paths.append(parts.path)
        match parts.path:
            case "/authorize":
                self._authorize(request, _flat(parts.query))
            case "/token":
                self._token(request, form)
            case "/userinfo":
                self._userinfo(request)
            case "/certs":
                keys = KeySet([self._key]).as_dict(private=False)
                keys["keys"].append({"kty": "OKP", "crv": "X448", "x": "new", "use": "sig"})
                _send(request, 200, json.dumps(keys), "application/json")
            case "/.well-known/wallet-openid-configuration":
                names: dict[str, Any] = {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.base}/authorize",
                    "token_endpoint": f"{self.base}/token",
                    "jwks_uri": f"{self.base}/certs",
                    "userinfo_endpoint": f"{self.base}/userinfo",
                    "end_session_endpoint": f"{self.base}/logout",
                }
                if self.tls_base:
                    names["mtls_endpoint_aliases"] = {
                        "token_endpoint": f"{self.tls_base}/token",
                        "userinfo_endpoint": f"{self.tls_base}/userinfo",
                    }
                if self.fault == "wrong-iss":
                    names["issuer"] = "https://evil.example"
                _send(request, 200, json.dumps(names), "application/json")
            case "/logout":
                back = _flat(parts.query)["post_logout_redirect_uri"]
                _send(request, 302, "", headers={"location": back})
            case _:
                _send(request, 404, "")

    def _authorize(self, request: BaseHTTPRequestHandler, asked: dict[str, str]) -> None:
        self.asked.append(asked)
        back: dict[str, str] = {"state": asked["state"]}
        if self.fault == "refused":
            back["error"] = "access_denied"
        else:
            code = secrets.token_urlsafe(16)
            self._codes[code] = asked
            back |= {"code": code, "iss": self.issuer}
        joint = f"{asked['redirect_uri']}?{urlencode(back)}"
        _send(request, 302, "", headers={"location": joint})

    def _token(self, request: BaseHTTPRequestHandler, form: dict[str, str]) -> None:
        asked = self._codes.pop(form.get("code", ""), None)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = urlsafe_b64encode(verifier).rstrip(b"=").decode()
        if (
            asked is None
            or form.get("client_id") != CLIENT
            or form.get("client_secret") != (None if self.by_certificate else SECRET)
            or not self._is_known(request)
            or form.get("redirect_uri") != asked["redirect_uri"]
            or asked.get("code_challenge_method") != "S256"
            or challenge != asked.get("code_challenge")
        ):
            _send(request, 400, '{"error":"invalid_grant"}', "application/json")
            return
        if self.fault == "redirect":
            _send(request, 307, "", headers={"location": f"{self.base}/token"})
            return
        if self.fault == "endless":
            _send(request, 200, "x" * 3_000_000, "application/json")
            return
        given: dict[str, object] = {"access_token": "an-access-token", "token_type": "Bearer"}
        if self.fault != "no-id-token":
            given["id_token"] = self._id_token(asked)
        text = "{" if self.fault == "broken-json" else json.dumps(given)
        _send(request, 200, text, "application/json")

    def _id_token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": f"f:1234:{self.subject}",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            "acr": self.acr,
        }
        change: dict[str, dict[str, object]] = {
            "wrong-nonce": {"nonce": "another"},
            "wrong-aud": {"aud": "another-client"},
            "two-auds": {"aud": [CLIENT, "another"], "azp": "another"},
            "wrong-iss": {"iss": "https://evil.example"},
            "expired": {"iat": now - 4000, "exp": now - 3600},
            "from-tomorrow": {"iat": now + 86_400, "exp": now + 90_000},
            "weak-acr": {"acr": "0"},
        }
        claims |= change.get(self.fault, {})
        if self.fault == "no-nonce":
            del claims["nonce"]
        header = {"alg": "RS256", "kid": "one"}
        if self.fault == "signed-with-the-secret":
            key = OctKey.import_key(SECRET.encode().ljust(32))
            return jwt.encode({"alg": "HS256", "kid": "one"}, claims, key, algorithms=["HS256"])
        if self.fault == "not-signed":
            head, body = (
                urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode()
                for each in ({"alg": "none"}, claims)
            )
            return f"{head}.{body}."
        key = self._other if self.fault == "wrong-signature" else self._key
        return jwt.encode(header, claims, key)

    def _userinfo(self, request: BaseHTTPRequestHandler) -> None:
        if request.headers.get("authorization") != "Bearer an-access-token" or not self._is_known(
            request
        ):
            _send(request, 401, "")
            return
        claims: dict[str, object] = {
            "sub": "f:1234:" + ("another" if self.fault == "userinfo-of-another" else self.subject),
            "SubjectNameID": self.subject,
            "preferred_username": self.subject,
            "family_name": "MARTIN",
        }
        if self.fault == "no-subject":
            del claims["SubjectNameID"]
        if not self.jwt_userinfo:
            _send(request, 200, json.dumps(claims), "application/json")
            return
        key = self._other if self.fault == "userinfo-wrong-signature" else self._key
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)
        _send(request, 200, signed, "application/jwt;charset=UTF-8")


def _send(
    request: BaseHTTPRequestHandler,
    status: int,
    text: str,
    kind: str = "text/plain",
    headers: dict[str, str] | None = None,
) -> None:
    body = text.encode()
    request.send_response(status)
    request.send_header("content-type", kind)
    request.send_header("content-length", str(len(body)))
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.end_headers()
    with contextlib.suppress(OSError):  # who was given too much has gone
        request.wfile.write(body)


def _flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


def _certificate(folder: Path) -> tuple[str, Path]:
    """Return an authority as PEM, and a file with the certificate it signed and its key."""
    pem, key = make_pair("tests", days=30, path_length=0)
    path = folder / "server.pem"
    path.write_bytes(pem + key)
    return pem.decode(), path
