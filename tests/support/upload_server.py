"""A box with a share, served by a process of its own that may be killed and started again at the same address."""

import dataclasses
import os
import socket
import ssl
import subprocess
import time
from http.client import HTTPSConnection
from pathlib import Path

from appliance.accounts import people, sessions
from appliance.clock import utc_now
from appliance.db.engine import Database, open_database
from appliance.db.shares import Share
from appliance.disk import set_up
from appliance.model import Person, Role
from appliance.settings import Settings
from tests.support.armoire import PROGRAM, ROOT
from tests.support.sshd import free_port

TUS = {"tus-resumable": "1.0.0"}
PART = TUS | {"content-type": "application/offset+octet-stream"}


class UploadServer:
    """A doctor, a share «documents», a server."""

    def __init__(self, place: Path) -> None:
        port = free_port()
        self.settings = dataclasses.replace(
            Settings(data=place / "data"), listen_address="127.0.0.1", listen_port=port
        )
        self.settings.data.mkdir()
        self.database: Database = open_database(self.settings.database, create=True)
        self.port = port
        self.address = f"https://127.0.0.1:{port}"
        now = utc_now()
        with self.database.write() as connection:
            self.doctor: Person = people.add(
                connection,
                login="anne.martin",
                name="Dr Anne Martin",
                role=Role.OWNER,
                language="fr",
                password_hash=None,
                now=now,
            )
            self.share: Share = set_up.make_share(
                connection,
                self.settings,
                name="documents",
                label="Documents du cabinet",
                person_id=self.doctor.id,
                now=now,
            )
            self.token = sessions.start(
                connection, self.doctor.id, now=now, address="127.0.0.1", user_agent="tests"
            )
        self.start()

    @property
    def folder(self) -> Path:
        """The share on the disk."""
        return self.share.folder

    @property
    def headers(self) -> dict[str, str]:
        """What a signed-in browser sends."""
        return {"cookie": f"__Host-sid={self.token}", "sec-fetch-site": "same-origin"}

    def connection(self, timeout_s: float = 60) -> HTTPSConnection:
        """Return a new connection; its certificate is the box's own."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return HTTPSConnection("127.0.0.1", self.port, timeout=timeout_s, context=context)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of one request on a connection of its own."""
        connection = self.connection()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, self.headers | named)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def start(self) -> None:
        """Serve, in a process of its own."""
        environment = {
            "PATH": os.environ["PATH"],
            "ARMOIRE_DATA": str(self.settings.data),
            "ARMOIRE_LISTEN_ADDRESS": "127.0.0.1",
            "ARMOIRE_LISTEN_PORT": str(self.port),
        }
        self._server = subprocess.Popen([*PROGRAM, "serve"], env=environment, cwd=ROOT)
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it, cutting what is on its way."""
        self._server.kill()
        self._server.wait()

    def close(self) -> None:
        """End."""
        self.kill()
        self.database.close()
