"""The past in a real browser: looked at over the page, deleted files where they were, what is known of a file."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, expect

from appliance.clock import utc_now
from appliance.db import shares
from appliance.jobs import queue
from appliance.jobs.kinds import RestoreFolder, from_json
from appliance.model import Role
from appliance.packed import pack_path
from appliance.policy.share_rights import Right
from tests.support import share_site
from tests.support.box import Box
from tests.support.browser import (
    DESK,
    PHONE,
    at_free_port,
    listen,
    need_chromium,
    picture,
    served,
    too_wide,
)
from tests.support.browser import window as open_window
from tests.support.preview import PreviewProcess
from tests.support.reading import ReaderProcess

pytestmark = pytest.mark.e2e


@dataclass
class Site:
    """A share with two nights behind it."""

    address: str
    token: str
    folder: Path
    source_id: int
    nights: list[int]  # oldest first
    box: Box

    def work(self) -> None:
        """Do what the worker would do with the newest restore of a folder."""
        with self.box.database.read() as connection:
            (asked,) = queue.newest(connection, limit=1, kind=RestoreFolder.kind)
        self.box.run(from_json(asked.kind, asked.spec))

    def stored(self, name: str) -> str:
        return pack_path(f"{self.folder}/{name}".lstrip("/").encode())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need_chromium()
    home = tmp_path_factory.mktemp("past")
    folder = home / "documents"
    (folder / "Courriers").mkdir(parents=True)

    def photo(colour: str) -> None:
        image = Image.new("RGB", (900, 600), colour)
        ImageDraw.Draw(image).ellipse((300, 150, 600, 450), fill="white")
        image.save(folder / "radio.png")

    photo("firebrick")
    (folder / "Courriers" / "lettre.txt").write_text("Chère consœur,\nla première version.\n" * 12)
    (folder / "Courriers" / "ancien.txt").write_text("supprimé depuis")
    box = Box(home / "data")
    source = box.add_share(folder, name="documents")
    nights = [box.night(source).id]
    photo("steelblue")
    (folder / "Courriers" / "lettre.txt").write_text("Chère consœur,\nla seconde.\n")
    (folder / "Courriers" / "ancien.txt").unlink()
    nights.append(box.night(source).id)
    with box.database.write() as connection:
        doctor = share_site.add_doctor(connection)
        share_site.add_person(connection, Role.SECRETARY, "lea.petit", "Léa Petit")
        share = share_site.add_share(connection, box.settings, doctor, folder=folder)
        shares.grant(connection, share.id, {Right.SEE}, role=Role.SECRETARY, by=None, now=utc_now())
        token = share_site.start_session(connection, doctor)
    settings = at_free_port(box.settings)
    with ExitStack() as stack:
        stack.enter_context(ReaderProcess(settings))
        stack.enter_context(PreviewProcess(settings))
        address = stack.enter_context(served(settings))
        yield Site(address, token, folder, source.id, nights, box)
    box.close()


@pytest.fixture(params=["desk", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, site: Site) -> Iterator[Page]:
    """A doctor's window; no script fails in it."""
    size = DESK if request.param == "desk" else PHONE
    window = open_window(browser, site, viewport=size)
    said = listen(window, "error")
    yield window
    window.context.close()
    assert said == []


def width(page: Page) -> int:
    return int(page.evaluate("innerWidth"))


@pytest.mark.parametrize("whose", ["share", "machine"])
def test_versions_are_looked_at_over_the_page(page: Page, site: Site, whose: str) -> None:
    """Each version its own words, one beside the other with the keys; a share's and a machine's page alike."""
    if whose == "share":
        page.goto(f"/disk/documents/versions?p={pack_path(b'Courriers/lettre.txt')}")
    else:
        page.goto(f"/sources/{site.source_id}/history?p={site.stored('Courriers/lettre.txt')}")
    expect(page.locator("#versions-title")).to_contain_text("2 versions")
    assert too_wide(page) <= 0
    picture(page, f"versions-{whose}-{width(page)}", whole=True)
    page.locator("a:has-text('Voir')").first.click()
    expect(page.locator("dialog.preview[open] .preview-text")).to_contain_text("la seconde")
    page.keyboard.press("ArrowRight")
    expect(page.locator("dialog.preview[open] .preview-text")).to_contain_text("première version")
    picture(page, f"versions-look-{whose}-{width(page)}")
    page.keyboard.press("Escape")
    expect(page.locator("dialog.preview[open]")).to_have_count(0)


def test_a_picture_of_a_night_is_shown_over_its_folder(page: Page, site: Site) -> None:
    """Out of the snapshot's page and out of the share's past."""
    for address in (
        f"/disk/documents/past?s={site.nights[0]}",
        f"/snapshots/{site.nights[0]}/browse?p={pack_path(str(site.folder).lstrip('/').encode())}",
    ):
        page.goto(address)
        page.click("a:has-text('radio.png')")
        shown = page.locator("dialog.preview[open] img.picture")
        expect(shown).to_be_visible(timeout=30_000)
        corner = shown.evaluate(
            """(image) => {
              const canvas = document.createElement("canvas"); canvas.width = canvas.height = 1;
              const pen = canvas.getContext("2d"); pen.drawImage(image, 5, 5, 1, 1, 0, 0, 1, 1);
              return [...pen.getImageData(0, 0, 1, 1).data];
            }"""
        )
        assert corner[0] > 150 > corner[2]  # the red one of the first night
        picture(page, f"past-look-{width(page)}")
        page.keyboard.press("Escape")


def test_a_deleted_file_is_found_where_it_was_and_put_back(page: Page, site: Site) -> None:
    """From the folder of today, in four clicks."""
    page.goto(f"/disk/documents?p={pack_path(b'Courriers')}")
    page.wait_for_selector("[data-disk][data-ready]")
    page.click("a:has-text('Fichiers supprimés')")
    row = page.locator("tr", has_text="ancien.txt")
    expect(row).to_be_visible()
    assert too_wide(page) <= 0
    picture(page, f"deleted-{width(page)}", whole=True)
    row.locator("a:has-text('versions')").click()
    page.click("button:has-text('Remettre')")
    page.wait_for_selector(".grid-row .name:has-text('ancien.txt')")
    assert (site.folder / "Courriers" / "ancien.txt").read_text() == "supprimé depuis"
    (site.folder / "Courriers" / "ancien.txt").unlink()
    page.goto(f"/snapshots/{site.nights[1]}/browse?p={site.stored('Courriers')}")
    page.click("a:has-text('Fichiers supprimés')")
    expect(page.locator("#deleted tr", has_text="ancien.txt")).to_be_visible()
    picture(page, f"deleted-machine-{width(page)}", whole=True)


def test_a_folder_comes_back_while_its_page_looks_on(page: Page, site: Site) -> None:
    """Asked for in one click; the page says by itself when it is there, and leads to it."""
    page.goto(f"/disk/documents/past?s={site.nights[0]}&p={pack_path(b'Courriers')}")
    page.click("button:has-text('Restaurer ce dossier')")
    expect(page.locator("h1")).to_contain_text("revient")
    expect(page.locator("button:has-text('Arrêter')")).to_be_visible()
    assert too_wide(page) <= 0
    picture(page, f"folder-waits-{width(page)}", whole=True)
    site.work()
    expect(page.locator("h1")).to_contain_text("est revenu", timeout=60_000)
    expect(page.locator("#restoring")).to_contain_text("Courriers (2)")
    assert too_wide(page) <= 0
    picture(page, f"folder-back-{width(page)}", whole=True)
    page.click("a:has-text('Ouvrir le dossier')")
    expect(page.locator(".grid-row .name:has-text('ancien.txt')")).to_be_visible()
    shutil.rmtree(site.folder / "Courriers (2)")


def test_a_folder_comes_back_without_javascript(browser: Browser, site: Site) -> None:
    """The page fetches itself again until it is there."""
    page = open_window(browser, site, java_script_enabled=False)
    page.goto(f"/disk/documents/past?s={site.nights[0]}&p={pack_path(b'Courriers')}")
    page.click("button:has-text('Restaurer ce dossier')")
    expect(page.locator("h1")).to_contain_text("revient")
    site.work()
    expect(page.locator("h1")).to_contain_text("est revenu", timeout=60_000)
    page.click("a:has-text('Ouvrir le dossier')")
    expect(page.locator("td.name", has_text="ancien.txt")).to_be_visible()
    page.context.close()
    shutil.rmtree(site.folder / "Courriers (2)")


def test_details_say_who_touched_it_and_who_can_see_it(page: Page, site: Site) -> None:
    """Over the folder, by the menu; the fingerprint is worked out when asked for."""
    page.goto(f"/disk/documents?p={pack_path(b'Courriers')}")
    page.wait_for_selector("[data-disk][data-ready]")
    row = page.locator(".grid-row", has_text="lettre.txt")
    row.locator(".more").click()
    page.click(".context-menu button:has-text('Détails')")
    dialog = page.locator("dialog.disk-dialog[open]")
    expect(dialog).to_contain_text("Léa Petit")
    expect(dialog).to_contain_text("Qui peut le voir")
    expect(dialog.locator("a.button")).to_contain_text("(2)")
    dialog.locator("button:has-text('La calculer')").click()
    expect(dialog.locator("code", has_text="blake3:")).to_be_visible()
    assert too_wide(page) <= 0
    picture(page, f"details-{width(page)}")
    dialog.locator("a:has-text('Tout ce qu’en dit le journal')").click()
    expect(page.locator("h1")).to_contain_text("Qui a ouvert ce document")
