"""A bad day before a real S3 gateway: an HTTP proxy that answers 503, cuts, lies in lists, or is behind.

Requests and answers pass whole; the gateway sees the Host that was signed. One thread a connection.
"""

import http.client
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import unquote, urlsplit

_BUSY = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
_VERSION = re.compile(rb"<Version>.*?</Version>", re.DOTALL)
_KEY = re.compile(rb"<Key>(.*?)</Key>")


@dataclass
class Weather:
    """What the day is like; may be changed while it lasts."""

    busy: float = 0.0  # part of the requests that is answered 503
    cut: float = 0.0  # part of the requests whose answer is cut off, after the gateway did its work
    behind_s: float = 0.0  # seconds until a list shows what was written
    omits: Callable[[str], bool] = lambda _key: False  # from lists
    repeats: bool = False  # every entry of a list twice
    chance: random.Random = field(default_factory=lambda: random.Random(53))


class Storm:
    """Stands before a gateway's port; use as a context manager and connect to ``port``."""

    def __init__(self, target_port: int) -> None:
        self.weather = Weather()
        self.answered_busy = self.was_cut = self.requests = 0
        self.written: dict[str, float] = {}
        storm = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_any(self) -> None:
                storm.pass_on(self, target_port)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_any

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)

    def pass_on(self, handler: BaseHTTPRequestHandler, target_port: int) -> None:
        weather = self.weather
        self.requests += 1
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if weather.chance.random() < weather.busy:
            self.answered_busy += 1
            self._answer(handler, 503, [("Content-Type", "application/xml")], _BUSY)
            return
        line = http.client.HTTPConnection("127.0.0.1", target_port, timeout=30)
        try:
            line.putrequest(
                handler.command, handler.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in handler.headers.items():
                if name.lower() != "expect":
                    line.putheader(name, value)
            line.endheaders(body)
            answer = line.getresponse()
            data = answer.read()
            headers = [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() not in {"content-length", "connection", "transfer-encoding"}
            ]
        finally:
            line.close()
        data = self._seen(handler.command, handler.path, answer.status, data)
        if weather.chance.random() < weather.cut:
            self.was_cut += 1
            handler.close_connection = True
            return  # the gateway did it; nobody hears of it
        self._answer(handler, answer.status, headers, data, answer.getheader("Content-Length"))

    def _seen(self, method: str, path: str, status: int, data: bytes) -> bytes:
        asked = urlsplit(path)
        key = unquote(asked.path).partition("/")[2].partition("/")[2]
        if method in {"PUT", "POST"} and status == 200 and key:
            self.written.setdefault(key, time.monotonic())
        if method != "GET" or "versions" not in asked.query or status != 200:
            return data

        def shown(match: re.Match[bytes]) -> bytes:
            found = _KEY.search(match[0])
            name = unquote(found[1].decode()) if found else ""
            late = time.monotonic() - self.written.get(name, 0.0) < self.weather.behind_s
            if late or self.weather.omits(name):
                return b""
            return match[0] * (2 if self.weather.repeats else 1)

        return _VERSION.sub(shown, data)

    @staticmethod
    def _answer(
        handler: BaseHTTPRequestHandler,
        status: int,
        headers: list[tuple[str, str]],
        data: bytes,
        length: str | None = None,
    ) -> None:
        handler.send_response_only(status)
        for name, value in headers:
            handler.send_header(name, value)
        is_head = handler.command == "HEAD"
        handler.send_header("Content-Length", (length or "0") if is_head else str(len(data)))
        handler.end_headers()
        if not is_head:
            handler.wfile.write(data)
