"""A real browser, a box served to it, and windows that tell what their console said."""

import dataclasses
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from appliance.settings import Settings
from appliance.web.security import COOKIE
from appliance.web.server import make_server
from tests.support.sshd import free_port

CHROMIUM = "/usr/bin/chromium"
#: It talks to nobody but the box, whatever its maker would like it to fetch.
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}


class SignedIn(Protocol):
    """Where somebody is signed in: the box's address and the session's token."""

    @property
    def address(self) -> str:
        """Such as ``https://127.0.0.1:50123``."""

    @property
    def token(self) -> str:
        """What the cookie holds."""


def need_chromium() -> None:
    """Skip the test where Debian's Chromium is not installed."""
    if not Path(CHROMIUM).exists():
        pytest.skip("no Chromium here")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of this test's own; nothing of it is left afterwards."""
    need_chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


def at_free_port(settings: Settings) -> Settings:
    """The same box, to be served at a port nobody else has."""
    return dataclasses.replace(settings, listen_address="127.0.0.1", listen_port=free_port())


def address_of(settings: Settings, host: str = "127.0.0.1") -> str:
    """Where ``settings`` are served."""
    return f"https://{host}:{settings.listen_port}"


@contextmanager
def served(settings: Settings, *, read_only: bool = False) -> Iterator[str]:
    """Serve a box with TLS in a thread of this process; give its address."""
    server = make_server(settings, read_only=read_only)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive(), "the server ended while it started"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    try:
        yield address_of(settings)
    finally:
        server.should_exit = True
        thread.join(timeout=20)


def sign_in(context: BrowserContext, site: SignedIn) -> None:
    """Give a browser the cookie of a session."""
    context.add_cookies(
        [
            {
                "name": COOKIE,
                "value": site.token,
                "url": site.address,
                "secure": True,
                "httpOnly": True,
            }
        ]
    )


def window(browser: Browser, site: SignedIn, **more: object) -> Page:
    """Return a French reader's window in which somebody is signed in; ``more`` is of the context."""
    context = browser.new_context(
        ignore_https_errors=True,
        locale="fr-FR",
        base_url=site.address,
        **more,  # type: ignore[arg-type]
    )
    sign_in(context, site)
    return context.new_page()


def listen(page: Page, *kinds: str, but: str = "") -> list[str]:
    """Return a list that fills with the console's lines of these kinds and with scripts' failures.

    ``kinds``: Chromium's own words (``error``, ``warning``); none: scripts' failures only. ``but``: a
    line with these words is not kept.
    """
    said: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in kinds and not (but and but in message.text):
            said.append(message.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


def listen_for_strangers(page: Page, address: str) -> list[str]:
    """Return a list that fills with every address a page asks that is not the box's."""
    asked: list[str] = []
    page.on(
        "request",
        lambda request: None if request.url.startswith(address) else asked.append(request.url),
    )
    return asked


def too_wide(page: Page) -> int:
    """By how many pixels a page is wider than its window; 0 or less when it fits."""
    page.wait_for_load_state()  # a window that is on its way has no document yet
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def picture(page: Page, name: str, *, whole: bool = False) -> None:
    """Keep what a window looks like, where ARMOIRE_PICTURES names a folder for that."""
    if place := os.environ.get("ARMOIRE_PICTURES"):
        page.screenshot(path=f"{place}/{name}.png", full_page=whole)
