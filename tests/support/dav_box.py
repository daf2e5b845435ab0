"""A real `armoire serve` with a share open over WebDAV, and the passwords of programs to use it."""

import base64
import http.client
import ssl
import time
from pathlib import Path
from typing import Self

from appliance.accounts import app_passwords, people
from appliance.accounts.app_passwords import Kind, Scope
from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import open_database
from appliance.model import Person, Role
from appliance.policy.share_rights import ALL
from appliance.settings import Settings
from tests.support.armoire import Armoire, end
from tests.support.sshd import free_port


class DavBox:
    """A box of its own in ``place``, serving on 127.0.0.1; use as a context manager."""

    def __init__(self, place: Path) -> None:
        self.settings = Settings(data=place / "data")
        self.settings.data.mkdir()
        self.database = open_database(self.settings.database, create=True)
        self.folder = place / "documents"
        self.folder.mkdir()
        now = utc_now()
        with self.database.write() as connection:
            self.doctor: Person = people.add(
                connection,
                login="anne.martin",
                name="Dr Anne Martin",
                role=Role.OWNER,
                language="en",
                password_hash=None,
                now=now,
            )
            share = shares.add(
                connection, name="documents", label="Documents", folder=self.folder, now=now
            )
            shares.change(connection, share.id, over_dav=True)
            shares.grant(connection, share.id, ALL, role=Role.OWNER, by=None, now=now)
            self.share = shares.get(connection, share.id)
        self.password = self.make(Kind.DAV)
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}/dav/documents/"

    def make(self, kind: Kind, *scope: Scope, person: Person | None = None) -> str:
        """A password of a program."""
        with self.database.write() as connection:
            secret, _ = app_passwords.make(
                connection,
                (person or self.doctor).id,
                kind=kind,
                label="tests",
                scope=scope,
                now=utc_now(),
            )
        return secret

    def __enter__(self) -> Self:
        armoire = Armoire(self.settings.data, ARMOIRE_LISTEN_PORT=str(self.port))
        self.process = armoire.start("serve")
        deadline = time.monotonic() + 60
        while True:
            try:
                assert self.ask("OPTIONS", "/dav/").status == 200
                break
            except OSError:
                assert self.process.poll() is None, self.process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)
        self.database.close()

    def line(self) -> http.client.HTTPSConnection:
        """A connection that trusts the box's own authority without asking: it is on 127.0.0.1."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=60)

    @property
    def credentials(self) -> dict[str, str]:
        pair = base64.b64encode(f"{self.doctor.login}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> "Answer":
        """One request on a connection of its own; «_» in a header's name is «-»."""
        line = self.line()
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            line.request(method, path, body=body, headers=self.credentials | sent)
            answer = line.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            line.close()


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body
