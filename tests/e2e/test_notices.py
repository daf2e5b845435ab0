"""The owner sets an e-mail server and an address in a real browser, sends a test, and the message arrives."""

import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance.vault.seal import make_keys
from appliance.worker import service
from tests.support import browser as support
from tests.support import mail
from tests.support.browser import listen, need_chromium, too_wide, window
from tests.support.upload_server import UploadServer

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UploadServer]:
    """A box with its worker, and its owner signed in."""
    need_chromium()
    made = UploadServer(tmp_path_factory.mktemp("notices"))
    make_keys(made.settings.keys)
    with made.database.write() as connection:
        connection.exec_driver_sql("UPDATE person SET role = 'owner'")
        connection.exec_driver_sql("UPDATE session SET proven_at = created_at")
    stop = threading.Event()
    worker = threading.Thread(
        target=service.serve, args=(made.settings,), kwargs={"stop": stop, "reader": None}
    )
    worker.start()
    yield made
    stop.set()
    worker.join(timeout=60)
    made.close()


@pytest.fixture(params=[390, 1440])
def page(browser: Browser, site: UploadServer, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The owner's window; no script fails."""
    opened = window(browser, site, viewport={"width": request.param, "height": 844})
    said = listen(opened, "error", but="422")
    yield opened
    opened.context.close()
    assert said == []


def picture(page: Page, name: str) -> None:
    assert too_wide(page) <= 0
    width = page.viewport_size["width"] if page.viewport_size else 0
    support.picture(page, f"{name}-{width}", whole=True)


def test_an_address_is_set_tried_and_a_message_arrives(page, tmp_path):
    """The page says that the test left without being loaded again."""
    width = page.viewport_size["width"]
    to = f"cabinet-{width}@exemple.fr"
    with mail.MailServer(tmp_path, users={"boitier": "mot de passe é"}) as server:
        page.goto("/notices")
        page.click('a[href="/notices/settings"].button')
        picture(page, "notices-settings-empty")
        page.fill("#mail-server", "127.0.0.1")
        page.select_option("#mail-security", "starttls")
        page.fill("#mail-port", str(server.port))
        page.fill("#mail-user", "boitier")
        page.fill("#mail-password", "mot de passe é")
        page.fill("#mail-sender", "boitier@exemple.fr")
        if not page.is_visible("#mail-ca"):
            page.click("text=Le serveur a un certificat à lui")
        page.fill("#mail-ca", server.ca)
        page.click("section[aria-labelledby=mail-title] button.main")
        expect(page.locator(".note.is-good")).to_contain_text("serveur de courriel est réglé")
        page.fill("#ours-email-email", to)
        page.click("section[aria-labelledby=add-ours] button.main")
        line = page.locator("#ways li", has_text=to)
        line.get_by_role("button", name="Envoyer un essai").click()
        expect(page.locator("#ways li", has_text=to)).to_contain_text(
            "L’essai est parti", timeout=90_000
        )
        picture(page, "notices-settings")
        (each,) = [message for whom, message in server.received if whom == to]
    assert "Ceci est un essai" in each.get_content()


def test_what_is_wrong_is_said_where_it_was_typed(page):
    """And an address that is not allowed is not shown again."""
    page.goto("/notices/settings")
    page.click("text=Un autre service")
    page.fill("#ours-service-url", "exec://touch/secret")
    page.locator("section[aria-labelledby=add-ours] details button").click()
    expect(page.locator("#ours-service-url-problem")).to_contain_text("parmi ceux qui sont permis")
    assert page.input_value("#ours-service-url") == ""
    picture(page, "notices-settings-wrong")
