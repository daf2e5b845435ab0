"""Second factors in a real browser: an application's codes, and a passkey of a virtual device."""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect

from appliance.accounts import passwords, people
from appliance.clock import utc_now
from appliance.model import Person, Role
from tests.support import browser as support
from tests.support.box import Box
from tests.support.browser import DESK, PHONE, address_of, at_free_port, need_chromium, served

pytestmark = pytest.mark.e2e

PASSWORD = "Vingt2-lampes"


@dataclass
class Site:
    """A served box."""

    box: Box
    address: str  # by its name: a passkey is of a name
    owner: Person


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A box with an owner, behind real TLS."""
    need_chromium()
    box = Box(tmp_path_factory.mktemp("e2e-sign-in") / "data")
    with box.database.write() as connection:
        owner = people.add(
            connection,
            login="claire.martin",
            name="Claire Martin",
            role=Role.OWNER,
            language="fr",
            password_hash=passwords.make_hash(PASSWORD),
            now=utc_now(),
        )
    settings = at_free_port(box.settings)
    with served(settings):
        yield Site(box, address_of(settings, "localhost"), owner)
    box.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A French reader's window whose console must stay silent."""
    context = browser.new_context(
        ignore_https_errors=True, locale="fr-FR", base_url=site.address,
        viewport=DESK,
    )  # fmt: skip
    window = context.new_page()
    said: list[str] = []
    window.on("pageerror", lambda error: said.append(str(error)))
    window.on(
        "console",
        lambda message: said.append(message.text) if "Content Security" in message.text else None,
    )
    yield window
    assert said == []
    context.close()


def picture(page: Page, name: str) -> None:
    """Keep what it looks like at both widths, where a folder was given for that."""
    for size in (DESK, PHONE) if "ARMOIRE_PICTURES" in os.environ else ():
        page.set_viewport_size(size)
        support.picture(page, f"{name}-{size['width']}", whole=True)


def by_password(page: Page) -> None:
    page.goto("/sign-in")
    page.get_by_label("Votre identifiant").fill("claire.martin")
    page.get_by_label("Votre mot de passe").fill(PASSWORD)
    page.get_by_role("button", name="Se connecter", exact=True).click()


def test_a_passkey_is_made_then_it_is_the_whole_sign_in_and_then_the_second_factor(
    page: Page, site: Site
) -> None:
    """A device that asks its holder is two factors; nothing was typed."""
    device = page.context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    device.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
                "hasUserVerification": True, "isUserVerified": True,
                "automaticPresenceSimulation": True,
            }
        },
    )  # fmt: skip
    by_password(page)
    expect(page).to_have_url(re.compile("/account/second-factor"))
    picture(page, "factors-empty")
    page.get_by_label("Son nom, pour vous").fill("Ordinateur du bureau")
    page.get_by_role("button", name="Ajouter une clé d’accès").click()
    expect(page.get_by_role("heading", name="Vos codes de secours")).to_be_visible()
    picture(page, "codes")
    page.goto("/account/second-factor")
    expect(page.get_by_text("Ordinateur du bureau")).to_be_visible()
    picture(page, "factors")

    page.get_by_role("button", name="Se déconnecter").first.click()
    page.goto("/sign-in?next=/account")
    picture(page, "sign-in")
    page.get_by_role("button", name="Se connecter avec une clé d’accès").click()
    expect(page).to_have_url(f"{site.address}/account")

    page.get_by_role("button", name="Se déconnecter").first.click()
    by_password(page)
    expect(page).to_have_url(re.compile("/sign-in/second"))
    picture(page, "second-passkey")
    page.get_by_role("button", name="Utiliser une clé d’accès").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)
    page.goto("/account/prove?next=/account")
    picture(page, "prove")
    page.get_by_role("button", name="Utiliser une clé d’accès").click()
    expect(page).to_have_url(f"{site.address}/account")


def test_an_application_is_scanned_and_asked_for(page: Page, site: Site) -> None:
    """The picture holds the secret; the next sign-in asks for six digits."""
    from appliance.accounts import second_factors

    with site.box.database.write() as connection:
        second_factors.remove_all(connection, site.owner.id, by=None, now=utc_now())
    by_password(page)
    page.get_by_role("button", name="Ajouter une application").click()
    expect(page.get_by_role("img", name="Code à scanner avec le téléphone")).to_be_visible()
    picture(page, "application")
    page.get_by_text("Impossible de le scanner ?").click()
    app = pyotp.TOTP(page.locator("pre.copy").inner_text().strip())
    page.get_by_label("Code", exact=True).fill("000000")
    page.get_by_role("button", name="Mettre en service").click()
    expect(page.get_by_role("alert")).to_contain_text("faux")
    page.get_by_label("Code", exact=True).fill(app.now())
    page.get_by_role("button", name="Mettre en service").click()
    expect(page.get_by_role("heading", name="Vos codes de secours")).to_be_visible()
    page.get_by_role("link", name="Je les ai conservés, continuer").click()

    page.context.clear_cookies()
    by_password(page)
    expect(page.get_by_role("heading", name="Second facteur")).to_be_visible()
    picture(page, "second")
    # A code is good once: that of the step after, which counts already.
    page.get_by_label("Le code de votre application").fill(
        app.generate_otp(int(time.time()) // 30 + 1)
    )
    page.get_by_role("button", name="Continuer").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)
    page.goto("/account")
    picture(page, "account")
    expect(page.get_by_role("heading", name="Claire Martin")).to_be_visible()
