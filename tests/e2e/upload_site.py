"""A served box with an empty share, that can be stopped and started again at the same address."""

import dataclasses
import os
import socket
import subprocess
import time
from pathlib import Path

from playwright.sync_api import Browser, Page

from appliance.accounts import people, sessions
from appliance.clock import utc_now
from appliance.db.engine import Database, open_database
from appliance.db.shares import Share
from appliance.disk import set_up
from appliance.model import Person, Role
from appliance.settings import Settings
from tests.support.armoire import PROGRAM, ROOT

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]


class UploadSite:
    """A doctor, a share «documents», a server."""

    def __init__(self, place: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.settings = dataclasses.replace(Settings(data=place / "data"), listen_port=port)
        self.settings.data.mkdir()
        self.database: Database = open_database(self.settings.database, create=True)
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
                connection, self.doctor.id, now=now, address="127.0.0.1", user_agent="e2e"
            )
        self.start()

    @property
    def folder(self) -> Path:
        """The share on the disk."""
        return self.share.folder

    def start(self) -> None:
        """Serve, in a process of its own."""
        environment = {
            "PATH": os.environ["PATH"],
            "ARMOIRE_DATA": str(self.settings.data),
            "ARMOIRE_LISTEN_PORT": str(self.settings.listen_port),
        }
        self._server = subprocess.Popen([*PROGRAM, "serve"], env=environment, cwd=ROOT)
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.settings.listen_port)) == 0:
                    return
            assert self._server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill it, cutting what is on its way."""
        self._server.kill()
        self._server.wait()

    def close(self) -> None:
        """End."""
        self.stop()
        self.database.close()

    def window(self, browser: Browser, **more: object) -> Page:
        """Return a window in which the doctor is signed in."""
        context = browser.new_context(
            ignore_https_errors=True, locale="fr-FR", base_url=self.address, **more
        )
        context.add_cookies(
            [
                {
                    "name": "__Host-sid",
                    "value": self.token,
                    "url": self.address,
                    "secure": True,
                    "httpOnly": True,
                }
            ]
        )
        return context.new_page()
