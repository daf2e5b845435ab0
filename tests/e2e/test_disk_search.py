"""The search in a real browser, over indexes kept by the real process: typed, walked, opened where one is."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance.process import end_group, start
from appliance.settings import Settings
from appliance.worker.service import INDEX_MAIN, PREVIEW_MAIN, child_environment
from tests.support import share_site
from tests.support.browser import (
    at_free_port,
    listen,
    need_chromium,
    picture,
    served,
    too_wide,
    window,
)

pytestmark = pytest.mark.e2e

FILES = {
    "Durand Paul/radio du genou 2026.txt": "Genou droit : pas d’épanchement. Contrôle dans six mois.",
    "Durand Paul/ordonnance.txt": "Paracétamol 1 g, trois fois par jour.",
    "Dupont Élodie/radio du thorax.txt": "Cœur de taille normale, pas d’épanchement pleural.",
    "Dupont Élodie/courrier.txt": "Chère consœur, merci de votre avis pour Mme Dupont.",
    "Dupont Élodie/2026/scanner.dcm": "x",
}


@dataclass
class Site:
    """A served box with a share."""

    share: Path
    address: str
    token: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A box, a doctor signed in, a share, and the processes that list it and read its texts."""
    need_chromium()
    settings = at_free_port(Settings(data=tmp_path_factory.mktemp("search") / "data"))
    settings.run.mkdir(parents=True)
    made = share_site.make(settings)
    share = made.share
    for name, text in FILES.items():
        (share.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (share.folder / name).write_text(text)
    beside = [
        start([*program, "--data", str(settings.data)], env=child_environment())
        for program in (PREVIEW_MAIN, INDEX_MAIN)
    ]
    with served(settings) as address:
        yield Site(share.folder, address, made.token)
    for each in beside:
        each.terminate()
        end_group(each, grace_s=5)
    made.database.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A doctor's window; its console must stay silent."""
    opened = window(browser, site, viewport={"width": 1440, "height": 900})
    said = listen(opened, "error", "warning")
    yield opened
    opened.context.close()
    assert said == []


def listed(page: Page, query: str, count: int) -> None:
    """Wait until the index knows so many files with a word in the text."""
    until = time.monotonic() + 40
    while True:
        answer = page.request.get(f"/api/v1/disk/search?q={query}").json()
        if len(answer["texts"]) + len(answer["names"]) >= count:
            return
        assert time.monotonic() < until, answer
        time.sleep(0.1)


def test_typing_in_a_folder_finds_and_opens_in_place(page: Page, site: Site) -> None:
    """Names and texts while one types; arrows walk, Escape shuts, Enter looks at the file over the page."""
    listed(page, "epanchement", 2)
    page.goto("/disk/documents")
    page.wait_for_selector("[data-disk][data-ready]")
    page.keyboard.press("Control+k")
    expect(page.locator("#disk-q")).to_be_focused()
    page.keyboard.type("durand radio")
    expect(page.locator("#disk-found a.hit")).to_have_count(1)
    expect(page.locator("#disk-found mark").first).to_have_text("radio")
    page.fill("#disk-q", "épanchement")
    expect(page.locator("#disk-found a.hit")).to_have_count(2)
    expect(page.locator("#disk-found mark").first).to_have_text("épanchement")
    picture(page, "search-box-1440", whole=True)
    page.keyboard.press("ArrowDown")
    expect(page.locator("#disk-found a.hit").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#disk-found a.hit")).to_have_count(0)
    expect(page.locator("#disk-q")).to_be_focused()
    page.fill("#disk-q", "courrier")
    expect(page.locator("#disk-found a.hit")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("dialog.preview[open]")).to_contain_text("Chère consœur")
    assert page.url.endswith("/disk/documents")
    page.keyboard.press("Escape")


def test_the_page_of_the_search(page: Page, site: Site) -> None:
    """Both sections, the way to the folder; a file that comes or goes is followed without a reload of the box."""
    listed(page, "epanchement", 2)
    page.goto("/disk/search")
    page.fill("#disk-q", "radio")
    expect(page.locator("#disk-results a.hit")).to_have_count(2)
    picture(page, "search-page-1440", whole=True)
    (site.share / "Durand Paul" / "radio de contrôle.dcm").write_bytes(b"1")
    listed(page, "radio", 3)
    page.fill("#disk-q", "radio d")
    expect(page.locator("#disk-results a.hit")).to_have_count(3)
    (site.share / "Durand Paul" / "radio de contrôle.dcm").unlink()
    (site.share / "Durand Paul").rename(site.share / "Durand Pauline")
    page.get_by_role("link", name="Dupont Élodie").first.click()
    expect(page.locator("h1")).to_have_text("Dupont Élodie")


def test_a_phone_and_no_script(browser: Browser, site: Site) -> None:
    """Nothing is wider than the window; without JavaScript the form and the links do it."""
    phone = window(browser, site, viewport={"width": 390, "height": 844})
    phone.goto("/disk/documents")
    phone.wait_for_selector("[data-disk][data-ready]")
    phone.fill("#disk-q", "radio")
    expect(phone.locator("#disk-found a.hit").first).to_be_visible()
    picture(phone, "search-box-390", whole=True)
    wide = phone.evaluate(
        """[...document.querySelectorAll(".disk-search, .disk-search *")]
        .filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
        .map((each) => each.tagName + "." + each.className)"""
    )
    assert wide == []
    assert too_wide(phone) <= 0
    phone.goto("/disk/search?q=epanchement")
    expect(phone.locator("#disk-results a.hit")).to_have_count(2)
    assert too_wide(phone) <= 0
    picture(phone, "search-page-390", whole=True)
    phone.context.close()
    plain = window(
        browser, site, java_script_enabled=False, viewport={"width": 1440, "height": 900}
    )
    plain.goto("/disk/documents")
    plain.fill("#disk-q", "courrier")
    plain.keyboard.press("Enter")
    expect(plain.locator("#disk-results a.hit")).to_have_count(1)
    plain.context.close()
