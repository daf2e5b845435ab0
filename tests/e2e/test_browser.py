"""The road of a person, in a real browser, on a real box behind real TLS."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page

from appliance.accounts import links
from appliance.clock import utc_now
from appliance.db import restore_sheets, workers
from appliance.jobs import queue
from appliance.jobs.kinds import TakeSnapshot
from appliance.model import JobState, Progress, Source
from tests.support.box import Box
from tests.support.browser import at_free_port, listen, listen_for_strangers, need_chromium, served
from tests.support.reading import ReaderProcess

pytestmark = pytest.mark.e2e

PASSWORD = "Vingt2-lampes"
LETTER = "Chère consœur, merci de voir ce patient.\n" * 40


@dataclass
class Site:
    """A served box."""

    box: Box
    source: Source
    address: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A box with two proven nights of a share, its reader, and its server with TLS."""
    need_chromium()
    home = tmp_path_factory.mktemp("e2e")
    folder = home / "partage"
    patient = folder / "Patients" / "Dupont Élise"
    patient.mkdir(parents=True)
    (patient / "courrier cardiologue.txt").write_text(LETTER)
    (patient / "ordonnance.txt").write_text("Paracétamol\n")
    box = Box(home / "data")
    source = box.add_share(folder, name="documents")
    box.night(source)
    (patient / "ordonnance.txt").unlink()
    box.night(source)
    with box.database.write() as connection:
        workers.beat(connection, "e2e:1", now=utc_now())
    settings = at_free_port(box.settings)
    with ReaderProcess(settings), served(settings) as address:
        yield Site(box, source, address)
    box.close()


@pytest.fixture(scope="module")
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A French reader's window, signed in through the one-time link; its console must stay silent."""
    context = browser.new_context(
        ignore_https_errors=True, locale="fr-FR", accept_downloads=True, base_url=site.address
    )
    window = context.new_page()
    said = listen(window, "error", "warning")
    strangers = listen_for_strangers(window, site.address)
    with site.box.database.write() as connection:
        token = links.make_first_link(connection, now=utc_now())
    window.goto(links.address(site.address, token))
    window.wait_for_selector("#new-password")  # the script took the code from behind the «#»
    assert token not in window.url
    window.fill("#name", "Claire Martin")
    window.fill("#new-login", "claire.martin")
    window.fill("#new-password", PASSWORD)
    window.fill("#again", PASSWORD)
    window.click("button.main")
    window.wait_for_url("**/welcome**")  # the first steps are proposed; the tests go their own way
    yield window
    context.close()
    assert said == [], "the console of the browser said something (CSP, script errors)"
    assert strangers == [], "a page asked another host"


def test_after_the_link_the_home_page_says_that_all_is_well(page: Page) -> None:
    """One sentence, green, in French."""
    page.goto("/")

    assert "is-good" in (page.get_attribute(".truth", "class") or "")
    assert "sauvegardé" in page.inner_text(".truth h1")


def test_a_file_is_found_while_typing_opened_and_downloaded(page: Page) -> None:
    """Search, open, download: the bytes are those of the night."""
    page.goto("/search")
    page.type("#q", "cardio", delay=20)
    page.wait_for_selector("#results mark")
    assert "courrier" in page.inner_text("#results")
    with page.expect_download() as waiting:
        page.click("#results a:has-text('télécharger')")

    assert waiting.value.suggested_filename == "courrier cardiologue.txt"
    assert waiting.value.path().read_text() == LETTER


def test_a_deleted_file_is_found_in_the_night_before(page: Page, site: Site) -> None:
    """The snapshot is browsed like a folder, back in time."""
    page.goto(f"/snapshots/{site.box.newest(site.source).id}/browse")
    while page.locator("td.name a:has-text('Dupont Élise')").count() == 0:
        page.locator("td.name a").first.click()
        page.wait_for_load_state()
    page.click("td.name a:has-text('Dupont Élise')")
    page.wait_for_selector("h1:has-text('Dupont Élise')")
    assert page.locator("text=ordonnance.txt").count() == 0
    page.click("text=nuit d’avant")
    page.wait_for_selector("text=ordonnance.txt")

    page.check("tr:has-text('ordonnance.txt') input[name=p]")
    assert page.inner_text("[data-count]") == "1"
    with page.expect_download() as waiting:
        page.click("button[value=zip]")

    assert waiting.value.suggested_filename.endswith(".zip")
    assert waiting.value.path().read_bytes()[:2] == b"PK"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with site.box.database.read() as connection:
            if restore_sheets.newest(connection):
                break
        time.sleep(0.1)
    page.goto("/restores")
    page.wait_for_selector("text=Fiche n°")


def test_a_running_task_moves_by_itself_and_is_stopped(page: Page, site: Site) -> None:
    """The bar grows without a reload; the button stops the task."""
    now = utc_now()
    with site.box.database.write() as connection:
        job = queue.enqueue(connection, TakeSnapshot(site.source.id), now=now)
        queue.claim(connection, runner="e2e", now=now, only=job)
        queue.report(connection, job, Progress("reading", 10, 100, "files", 10), now=now)
    page.goto(f"/jobs/{job}")
    page.wait_for_selector("progress")
    with site.box.database.write() as connection:
        queue.report(connection, job, Progress("reading", 90, 100, "files", 90), now=utc_now())
    page.focus("button:has-text('Arrêter')")
    page.wait_for_selector("progress[value='900']")
    # Whoever works with the keyboard stays where they are while the bar moves.
    assert page.evaluate("document.activeElement.textContent") == "Arrêter"
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("button:has-text('Arrêter')")
    page.wait_for_selector("text=s’arrête")
    with site.box.database.write() as connection:
        queue.finish(connection, job, JobState.CANCELLED, now=utc_now())
    page.wait_for_selector(".badge:has-text('arrêté par une personne')")
    page.wait_for_load_state()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2_500)
    assert [one for one in asked if "/live/" in one] == []


def test_the_chart_is_drawn_and_every_page_fits_a_phone(page: Page, site: Site) -> None:
    """No sideways scrolling at 390 px, in the dark too; uPlot draws under our CSP."""
    page.goto(f"/sources/{site.source.id}")
    page.wait_for_selector("#chart canvas")
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    newest = site.box.newest(site.source).id
    for path in (
        "/", "/sources", f"/sources/{site.source.id}", f"/snapshots/{newest}",
        f"/snapshots/{newest}/browse", "/search?q=courrier", "/jobs", "/ledger", "/restores",
        "/account", "/sources/new", "/copies", "/copies/add", "/kit", "/drills", "/drills/new",
        f"/sources/{site.source.id}/plan",
        f"/sources/{site.source.id}/compare", f"/sources/{site.source.id}/retention",
    ):  # fmt: skip
        page.goto(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{path}: {width}"
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")


def test_everything_works_without_javascript(browser: Browser, page: Page, site: Site) -> None:
    """The same session in a browser that runs no script: search, open a folder, read a task."""
    state = page.context.storage_state()
    context = browser.new_context(
        ignore_https_errors=True,
        java_script_enabled=False,
        storage_state=state,
        base_url=site.address,
    )
    plain = context.new_page()
    plain.goto("/")
    plain.fill("#q", "courrier")
    plain.click("form.search button")
    assert "courrier" in plain.inner_text("#results")
    plain.click("#results small a")
    assert plain.locator("text=courrier cardiologue.txt").count() == 1
    plain.check("tr:has-text('courrier') input[name=p]")
    plain.click("button[value=restore]")
    assert re.search("Restaurer, tel que", plain.inner_text("h1"))
    context.close()


def test_signing_out_closes_every_page(page: Page) -> None:
    """The back button shows nothing of a patient."""
    page.goto("/")
    page.click("text=Se déconnecter")
    page.wait_for_selector("#login")
    page.goto("/search?q=dupont")

    assert "/sign-in" in page.url
