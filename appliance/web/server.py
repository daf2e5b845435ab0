"""Serving the application: uvicorn with httptools and uvloop, TLS in the same process.

measured-web.md A: as fast as nginx in front, and one program less.
"""

import ssl
from typing import Final

import uvicorn

from appliance.settings import Settings
from appliance.web.app import create_app
from appliance.web.tls import ensure_certificate

#: Seconds open downloads get to end when the box stops.
GRACE_S: Final = 5


def make_server(settings: Settings, *, read_only: bool = False) -> uvicorn.Server:
    """Return a server ready to ``run()`` (or ``await serve()``) at the settings' address and port.

    Set ``should_exit`` to end it. The access log is off: addresses hold what people looked for.

    Raises:
        NotInitialised: the data folder holds no box.
    """
    certificate, key = ensure_certificate(settings)
    config = uvicorn.Config(
        create_app(settings, read_only=read_only),
        host=settings.listen_address,
        port=settings.listen_port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=30,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2  # domain.md SEC-13
    return uvicorn.Server(config)


def run(settings: Settings, *, read_only: bool = False) -> None:
    """Serve until SIGINT or SIGTERM; ``read_only`` while the box is made again from a copy."""
    make_server(settings, read_only=read_only).run()
