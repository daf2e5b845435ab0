"""Serving the application: uvicorn with httptools and uvloop, TLS in the same process.

measured-web.md A: as fast as nginx in front, and one program less.
"""

import logging
import ssl
import threading
from dataclasses import replace
from pathlib import Path
from typing import Final

import uvicorn

from appliance.clock import utc_now
from appliance.db import local_networks
from appliance.jobs import network
from appliance.policy.listening import Card, Rule
from appliance.settings import Settings
from appliance.web.acme import AcmeSide, Named
from appliance.web.app import create_app
from appliance.web.deps import Box
from appliance.web.doors import Doors, Server
from appliance.web.tls import ensure_certificate, harden

log = logging.getLogger(__name__)

#: Seconds between two looks at the certificate: a new one is used without a restart.
LOOK_S: Final = 600.0
#: Seconds open downloads get to end when the box stops.
GRACE_S: Final = 5


def make_server(settings: Settings, *, read_only: bool = False) -> Server:
    """Return a server ready to ``run()`` (or ``await serve()``) where the practice's rule lets it listen.

    Set ``should_exit`` to end it. The access log is off: addresses hold what people looked for.

    Raises:
        NotInitialised: the data folder holds no box.
    """
    certificate, key = ensure_certificate(settings)
    app = create_app(settings, read_only=read_only)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        # uvicorn would believe 127.0.0.1 whatever it says of its visitors; ``web.front`` asks the settings.
        proxy_headers=False,
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=30,
    )
    config.load()
    if config.ssl is not None:
        harden(config.ssl)
    box: Box = app.state.box

    def look() -> tuple[Rule, list[Card]]:
        rule = network.recall(box.database, settings)
        if read_only:  # the declared networks came out of a copy: this may be another building
            rule = replace(rule, networks=(*rule.networks, *local_networks.of_the_box()))
        return rule, network.cards()

    def note(count: int) -> None:
        with box.database.write() as connection:
            network.note_turned_away(connection, count, now=utc_now())

    server = Server(config, Doors(settings.listen_port, config.backlog, look), box.database)
    if not read_only:
        server.on_turned_away = note
    return server


class Renewal:
    """Looks at the certificate from time to time and takes a new one for the connections to come.

    The box's own leaf is renewed on the way; one's own files are taken as they are. Who asks for a name of the
    certificate by ACME is shown that one: the names and addresses inside the practice stay the box's. What cannot
    be read stays out: the old certificate goes on.
    """

    def __init__(self, settings: Settings, context: ssl.SSLContext) -> None:
        self._settings = settings
        self._context = context
        self._named = Named(settings.tls)
        context.sni_callback = self._named.choose
        self._known = self._content()
        self._looking = threading.Lock()  # three threads look: ``watch``, the doors, ACME
        self._stop = threading.Event()

    def look(self) -> bool:
        """Take the certificate that is there now; return whether it is a new one."""
        with self._looking:
            return self._look()

    def _look(self) -> bool:
        is_new = self._named.look()
        try:
            now = self._content()
            if now == self._known:
                return is_new
            self._context.load_cert_chain(*map(str, ensure_certificate(self._settings)))
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            log.error("tls.not-renewed %s", type(error).__name__)  # noqa: TRY400 - no file's content
            return is_new
        self._known = now
        log.info("tls.renewed")
        return True

    def watch(self, every_s: float = LOOK_S) -> None:
        """Look until ``end``."""
        while not self._stop.wait(every_s):
            self.look()

    def end(self) -> None:
        """Stop looking."""
        self._stop.set()

    def _content(self) -> tuple[bytes, bytes]:
        certificate, key = ensure_certificate(self._settings)
        return Path(certificate).read_bytes(), Path(key).read_bytes()


def run(settings: Settings, *, read_only: bool = False) -> None:
    """Serve until SIGINT or SIGTERM; ``read_only`` while the box is made again from a copy."""
    server = make_server(settings, read_only=read_only)
    renewal = None
    if server.config.ssl is not None:
        renewal = Renewal(settings, server.config.ssl)
        server.on_new = renewal.look  # the certificate names the addresses
        threading.Thread(target=renewal.watch, name="certificate", daemon=True).start()
    side = None
    if renewal is not None and not read_only:
        side = AcmeSide(settings, server.database, renewal.look)
    if side is not None:
        threading.Thread(target=side.watch, name="acme", daemon=True).start()
    try:
        server.run()
    finally:
        if renewal is not None:
            renewal.end()
        if side is not None:
            side.end()
