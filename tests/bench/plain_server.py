"""The product's own application on plain HTTP: ``python -m tests.bench.plain_server DATA PORT [front|decided]``.

«front»: it is told that nginx stands before it and sends the files itself. «decided»: small files that need no decision
any more are answered with X-Accel-Redirect, by the product's own short way; no such product exists.

The product itself speaks HTTPS only; the bars of plain HTTP are measured with the same code and the same uvicorn.
"""

import os
import re
import sys
from base64 import urlsafe_b64decode
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from appliance.settings import Settings
from appliance.web import quick_file
from appliance.web.app import create_app
from appliance.web.share_file import ACCEL

FILE = re.compile(r"/disk/([^/]+)/file")
#: Headers that are nginx's.
OF_NGINX = {b"content-length", b"accept-ranges"}


class Decided:
    """Opens what the short way opens, and lets nginx read it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with where it lies, or pass on."""
        match = FILE.fullmatch(scope["path"]) if scope["type"] == "http" else None
        found = None
        if match is not None:
            scope["app"] = self.app
            found = quick_file.open_at_hand(scope, match[1])
        if match is None or found is None:
            await self.app(scope, receive, send)
            return
        descriptor, entry = found
        os.close(descriptor)
        place = urlsafe_b64decode(scope["query_string"].removeprefix(b"p=") + b"==")
        headers = [each for each in quick_file.headers_at_hand(entry) if each[0] not in OF_NGINX]
        headers += [
            (b"x-accel-redirect", f"{ACCEL}{match[1]}/{quote(place)}".encode()),
            (b"content-length", b"0"),  # or nginx hangs up and calls again
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


if __name__ == "__main__":
    mode = sys.argv[3] if len(sys.argv) > 3 else ""
    settings = Settings(data=Path(sys.argv[1]))
    if mode == "front":
        settings = replace(settings, front_address="127.0.0.1", front_accel=1)
    made = create_app(settings)
    uvicorn.run(
        Decided(made) if mode == "decided" else made,
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        proxy_headers=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=30,
    )
