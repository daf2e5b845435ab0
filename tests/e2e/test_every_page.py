"""Every page of the box, those to come included: it opens, fits, says nothing on the console and bars nobody.

axe-core (tests/data/axe) looks at each page on a phone and on a desk, in the light and in the dark.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from playwright.sync_api import Browser, BrowserContext, Page

from appliance.settings import Settings
from tests.support.browser import DESK, PHONE, listen, listen_for_strangers, need_chromium, too_wide
from tests.support.filled_box import FilledBox, filled, page_routes

pytestmark = pytest.mark.e2e

AXE = Path(__file__).parents[1] / "data" / "axe" / "axe.min.js"
#: Seen by people without a session; by those who owe their second factor.
OUTSIDE = {"sign-in", "link", "link_open"}
HALF = {"sign-in-second"}
PAGES = page_routes()

LOOK = """async (rules) => {
  for (const each of document.querySelectorAll("details")) each.open = true;
  const options = rules ? { runOnly: rules } : {};
  const found = await axe.run(document, { ...options, resultTypes: ["violations"] });
  return found.violations.flatMap((rule) => rule.nodes.map((node) =>
    `${rule.id} (${rule.impact}): ${node.target.join(" ")}: ${node.failureSummary}`));
}"""


@dataclass
class Windows:
    """A window of each kind of visitor."""

    site: FilledBox
    owner: Page
    half: Page
    outside: Page

    def of(self, name: str) -> Page:
        """Return the window in which a route of this name is looked at."""
        if name in OUTSIDE:
            return self.outside
        return self.half if name in HALF else self.owner


def _context(browser: Browser, site: FilledBox, token: str | None) -> BrowserContext:
    context = browser.new_context(
        ignore_https_errors=True, locale="fr-FR", base_url=site.address, reduced_motion="reduce"
    )
    context.add_init_script(path=AXE)  # past the pages' own rules on scripts, which stay in force
    if token is not None:
        context.add_cookies(
            [{"name": "__Host-sid", "value": token, "url": site.address, "secure": True}]
        )
    return context


@pytest.fixture(scope="module")
def windows(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Windows]:
    """One filled box, and those who look at it."""
    need_chromium()
    with filled(Settings(data=tmp_path_factory.mktemp("every") / "data")) as site:
        contexts = [_context(browser, site, each) for each in (site.token, site.half_token, None)]
        yield Windows(site, *(each.new_page() for each in contexts))
        for each in contexts:
            each.close()


def barred(page: Page) -> list[str]:
    """Return what axe has against a page, at both widths, in the light and in the dark."""
    found: list[str] = []
    for size in (PHONE, DESK):
        page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            # Only colours differ in the dark.
            rules = None if scheme == "light" else ["color-contrast"]
            found += [f"{size['width']} {scheme}: {one}" for one in page.evaluate(LOOK, rules)]
    return found


def look_at(page: Page, site: FilledBox, address: str, status: int = 200) -> None:
    """Open an address and expect a page that works, fits and bars nobody."""
    said = listen(page, "error", "warning", but=str(status) if status != 200 else "")
    strangers = listen_for_strangers(page, site.address)
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="light")
    answer = page.goto(address)
    assert answer is not None
    assert answer.status == status, "give it an example in tests/support/filled_box.py"
    assert answer.headers["content-type"].startswith("text/html"), (
        "no page: add it to NO_PAGE there"
    )
    if page.locator("[data-disk]").count():
        page.wait_for_selector("[data-disk][data-ready]")
    assert page.get_attribute("html", "lang") == "fr"
    assert too_wide(page) <= 0
    assert barred(page) == []
    assert said == []
    assert strangers == []


@pytest.mark.parametrize("route", PAGES, ids=lambda route: route.name)
def test_every_page_bars_nobody(windows: Windows, route: APIRoute) -> None:
    """No violation of any weight, no line on the console, nothing wider than a phone."""
    page = windows.of(route.name)
    look_at(page, windows.site, windows.site.example(route))


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/nowhere", 404),
        ("/copies/add?kind=sftp", 200),
        ("/copies/add?kind=s3", 200),
        ("/copies/add?kind=directory", 200),
        ("/copies/add?kind=box", 200),
        ("/links/new?kind=ask&share=documents&p=Q291cnJpZXJz", 200),
        ("/disk/documents?p=Q29tcHRhYmlsaXTDqQ", 200),  # an empty folder
        ("/search?q=introuvable", 200),
        ("/disk/search?q=introuvable", 200),
        ("/access/services/new-psc", 200),
        ("/ledger/account?person=1&since=2020-01-01", 200),
        ("/jobs?page=9999", 200),
    ],
)
def test_other_faces_of_pages_bar_nobody(windows: Windows, address: str, status: int) -> None:
    """Empty lists, refusals, the kinds of a form."""
    look_at(windows.owner, windows.site, address, status)


@pytest.mark.parametrize("link", ["given", "asked", "worthless"])
def test_a_correspondent_is_barred_by_nothing(windows: Windows, link: str) -> None:
    """The password, the files that are asked for, the link that is worth nothing any more."""
    address = "/l/" + "x" * 43 if link == "worthless" else getattr(windows.site, link)
    look_at(windows.outside, windows.site, address, 410 if link == "worthless" else 200)


def test_what_opens_over_a_folder_bars_nobody(windows: Windows) -> None:
    """The menu, the dialogs, a file that is looked at."""
    page = windows.owner
    page.set_viewport_size(DESK)
    page.emulate_media(color_scheme="light")

    def opened() -> None:
        page.goto("/disk/documents")
        page.wait_for_selector("[data-disk][data-ready]")

    opened()
    page.click(".grid-row:has-text('Ordonnance 3.txt') .tick")
    assert barred(page) == []
    page.click(".strip .do-more")
    page.wait_for_selector(".context-menu")
    assert barred(page) == []
    page.click("[role=menuitem]:has-text('Détails')")
    page.wait_for_selector(".disk-dialog[open]")
    assert barred(page) == []
    for control in (".strip .do-rename", ".strip .do-move"):
        opened()
        page.click(".grid-row:has-text('Ordonnance 3.txt') .tick")
        page.click(control)
        page.wait_for_selector(".disk-dialog[open]")
        assert barred(page) == []
    opened()
    page.click("a:has-text('Ordonnance 3.txt')")
    page.wait_for_selector("pre.preview-text")
    assert barred(page) == []


def test_the_first_thing_the_keyboard_reaches_is_the_way_past_the_menu(windows: Windows) -> None:
    """It shows when it is reached and brings to the content."""
    page = windows.owner
    page.set_viewport_size(DESK)
    page.goto("/sources")
    page.keyboard.press("Tab")
    link = page.locator("a.skip")
    assert link.evaluate("each => each === document.activeElement")
    box = link.bounding_box()
    assert box is not None
    assert box["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


#: Every control that can be seen and used, as a path of numbers; those of a group of radios count once.
CONTROLS = """() => {
  const found = new Map();
  const all = "a[href], button, input, select, textarea, summary, [tabindex]";
  for (const each of document.querySelectorAll(all)) {
    if (each.tabIndex < 0 || each.disabled || !each.checkVisibility({ visibilityProperty: true })) continue;
    if (each.closest("[aria-hidden=true], [inert]")) continue;
    const name = each.type === "radio" ? `radio ${each.name}` : `${each.tagName} ${found.size}`;
    each.dataset.walked = name;
    found.set(name, each.outerHTML.slice(0, 120));
  }
  return [...found];
}"""
HERE = """() => {
  const each = document.activeElement;
  const style = getComputedStyle(each);
  const is_shown = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2)
    || each.closest(".map a") !== null;
  return [each.dataset.walked ?? null, is_shown, each.outerHTML.slice(0, 120)];
}"""


@pytest.mark.parametrize(
    "address",
    ["/disk/documents", "/shares/documents", "/copies", "/copies/hebergeur", "/account/tokens", "/people"],
)  # fmt: skip
def test_the_keyboard_reaches_everything_and_shows_where_it_is(
    windows: Windows, address: str
) -> None:
    """Tab after Tab, every control that can be seen, each with a line around it."""
    page = windows.owner
    page.set_viewport_size(DESK)
    page.goto(address)
    if page.locator("[data-disk]").count():
        page.wait_for_selector("[data-disk][data-ready]")
    wanted = dict(page.evaluate(CONTROLS))
    assert len(wanted) > 12
    unseen: list[str] = []
    for _ in range(len(wanted) + 60):  # the parts of a date or a time are stops of their own
        if not wanted:
            break
        page.keyboard.press("Tab")
        name, is_shown, text = page.evaluate(HERE)
        wanted.pop(name, None)
        if name is not None and not is_shown:
            unseen.append(text)
    assert list(wanted.values()) == [], "not reached"
    assert unseen == [], "reached, and nobody sees it"
