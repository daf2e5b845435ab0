"""A real e-mail server on 127.0.0.1: TLS by an authority of its own, users, and manners told by the test."""

import email
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from tests.support.authority import make_pair


@dataclass
class MailServer:
    """Takes messages; ``with MailServer(folder) as server`` starts it at a free port.

    Args:
        folder: of the test.
        security: tls, starttls or none.
        users: name → password; empty: nobody signs in.
        refused: recipients it does not know.
        answers: recipient → what it says instead.
        busy: it asks to come back later.
    """

    folder: Path
    security: str = "starttls"
    users: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    answers: dict[str, str] = field(default_factory=dict)
    busy: bool = False
    port: int = 0
    received: list[tuple[str, EmailMessage]] = field(default_factory=list)  # recipient, message
    ca: str = ""  # PEM of the authority of its certificate
    _controller: Any = None

    def __enter__(self) -> Self:
        context = self._certificate()
        is_tls = self.security == "tls"
        self._controller = _Listener(
            self,
            hostname="127.0.0.1",
            port=self.port,
            ssl_context=context if is_tls else None,
            tls_context=context if self.security == "starttls" else None,
        )
        self._controller.start()
        self.port = self._controller.server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_why: object) -> None:
        self._controller.stop()

    # --- aiosmtpd's own names ---

    async def handle_RCPT(
        self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self.busy:
            return "451 4.3.0 come back later"
        if address in self.answers:
            return self.answers[address]
        if address in self.refused:
            return f"550 5.1.1 no mailbox {address} here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        message = email.message_from_bytes(envelope.content, policy=default)
        for each in envelope.rcpt_tos:
            self.received.append((each, message))
        return "250 taken"

    def authenticate(
        self, server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        is_right = isinstance(data, LoginPassword) and (
            self.users.get(data.login.decode()) == data.password.decode()
        )
        return AuthResult(success=is_right, handled=False)

    def _certificate(self) -> ssl.SSLContext:
        place = self.folder / "mail.pem"
        if not place.exists():
            self.ca = make_certificate(place)
        else:
            self.ca = place.read_text().partition("-----BEGIN PRIVATE")[0]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(place)
        return context


class _Listener(Controller):
    """Knows its port only once it listens, and speaks as ``MailServer`` says."""

    def __init__(self, of: MailServer, **how: Any) -> None:
        self.tls_context = how.pop("tls_context")
        self.of = of
        super().__init__(of, **how)

    def factory(self) -> SMTP:
        with warnings.catch_warnings():
            # It does not see that a line which is TLS from the first byte is one.
            warnings.simplefilter("ignore", UserWarning)
            return SMTP(
                self.handler,
                authenticator=self.of.authenticate,
                auth_required=bool(self.of.users),
                auth_require_tls=self.of.security != "tls",
                tls_context=self.tls_context,
                require_starttls=self.tls_context is not None,
                enable_SMTPUTF8=True,
            )

    def _trigger_server(self) -> None:
        """Port 0 is a free one: it is known now, and the greeting asks for it."""
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


def make_certificate(place: Path, *, days: int = 2) -> str:
    """Write key and certificate of 127.0.0.1, signed by itself, into ``place``; return the certificate."""
    pem, key = make_pair("mail of a test", days=days)
    place.write_bytes(pem + key)
    return pem.decode()


@contextmanager
def web_hook() -> Iterator[tuple[int, list[tuple[str, bytes]], list[int]]]:
    """Serve HTTP at a free port: yield it, what came (path, body), and the answers to give (the last stays)."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    came: list[tuple[str, bytes]] = []
    answers: list[int] = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            came.append((self.path, body))
            self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
            self.send_header("content-length", "0")
            if 300 <= answers[0] < 400:
                self.send_header("location", "/elsewhere")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1], came, answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
