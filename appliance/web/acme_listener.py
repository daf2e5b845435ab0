"""The small door a certificate authority knocks at: open while an order runs, and only for its question.

One path of RFC 8555 section 8.3 is answered; whatever else is asked for, and however, is not there.
"""

import errno
import ipaddress
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from appliance.settings import Settings

PREFIX: Final = "/.well-known/acme-challenge/"
#: Seconds somebody gets to ask.
PATIENCE_S: Final = 10
#: Visitors at once: an authority sends a handful; a flood is turned away.
AT_ONCE: Final = 32


class _Visit(BaseHTTPRequestHandler):
    timeout = PATIENCE_S
    server: "AcmeListener"

    def do_GET(self) -> None:
        found = None
        if self.path.startswith(PREFIX):
            found = self.server.answers.get(self.path.removeprefix(PREFIX))
        self._send(404 if found is None else 200, (found or "").encode("ascii"))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Say of whatever is not understood that it is not there."""
        del code, message, explain
        self._send(404, b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the library's own
        """Say nothing: addresses of strangers are nobody's business here."""

    def _send(self, status: int, body: bytes) -> None:
        self.close_connection = True
        if getattr(self, "request_version", "") == "HTTP/0.9":
            return  # nobody who matters
        self.send_response_only(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


class AcmeListener(ThreadingHTTPServer):
    """Answers with ``answers`` (token → key authorisation) until ``end``."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily) -> None:
        self.address_family = family
        self.answers: dict[str, str] = {}
        self._room = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(address, _Visit)
        threading.Thread(target=self.serve_forever, name="acme-answers", daemon=True).start()

    def server_bind(self) -> None:
        """Take IPv4 on an IPv6 socket too."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's own: it asks the DNS for this machine's name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the library's
        """Turn away whoever comes when too many are there."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the library's
        """Make room again afterwards."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the library's
        """Say nothing of a line that was cut."""

    def end(self) -> None:
        """Close the door."""
        self.shutdown()
        self.server_close()


def listen(settings: Settings) -> AcmeListener:
    """Return a listener on the settings' port: at every address, for the authority's comes from anywhere.

    A box that listens to itself alone (a front in the same machine, a test) does so here too.

    Raises:
        OSError: the port is taken, or not this account's to take.
    """
    try:
        is_own = ipaddress.ip_address(settings.listen_address).is_loopback
    except ValueError:
        is_own = False
    if is_own:
        return AcmeListener(("127.0.0.1", settings.acme_http_port), socket.AF_INET)
    try:
        return AcmeListener(("::", settings.acme_http_port), socket.AF_INET6)
    except OSError as error:
        if socket.has_ipv6 and error.errno not in {
            errno.EAFNOSUPPORT,
            errno.EADDRNOTAVAIL,
        }:  # no IPv6 on this machine
            raise
        return AcmeListener(("0.0.0.0", settings.acme_http_port), socket.AF_INET)  # noqa: S104 - see above
