"""Looking at files in a real browser: pictures, pages, texts, slices; by mouse, keyboard and finger."""

import os
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, expect

from appliance.settings import Settings
from tests.e2e.test_disk import Site, ready, site  # noqa: F401 - the fixture
from tests.support import browser as support
from tests.support import dicoms
from tests.support.browser import DESK, PHONE, listen, too_wide
from tests.support.browser import window as open_window
from tests.support.preview import PreviewProcess

pytestmark = pytest.mark.e2e

SLICES = 8


@pytest.fixture(scope="module")
def shown(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:  # noqa: F811
    """The share with something to look at, and the process that makes pictures of it."""
    folder = site.share / "Imagerie"
    folder.mkdir()
    photo = Image.effect_noise((1200, 800), 40).convert("RGB")
    ImageDraw.Draw(photo).ellipse((300, 200, 900, 600), fill=(190, 60, 40))
    photo.save(folder / "1 photo.jpg")
    (folder / "2 compte rendu.txt").write_text("Chère consœur,\n" * 200)
    (folder / "3 faux.pdf").write_text("<html><script>alert(1)</script>")
    canvas = pytest.importorskip("reportlab.pdfgen.canvas")
    sheet = canvas.Canvas(str(folder / "4 courrier.pdf"))
    for number in (1, 2, 3):
        sheet.setFont("Helvetica", 24)
        sheet.drawString(80, 700, f"Courrier, page {number}")
        sheet.showPage()
    sheet.save()
    (folder / "5 archive.bin").write_bytes(bytes(300))
    scanner = site.share / "Scanner"
    scanner.mkdir()
    grid = np.indices((256, 256)) - 128
    for number in range(SLICES):
        round_ = (grid[0] ** 2 + grid[1] ** 2 < (40 + 10 * number) ** 2) * 900
        body = (grid[0] ** 2 * 1.4 + grid[1] ** 2 < 110**2) * 1000
        data = dicoms.make(
            (body + round_ + grid[1] + 128).astype(np.uint16),
            number=number,
            height_mm=float(number),
            Modality="CT",
            RescaleSlope=1,
            RescaleIntercept=-1024,
            WindowCenter=40,
            WindowWidth=400,
        )
        dicoms.write(scanner / f"coupe {number}.dcm", data)
    with PreviewProcess(Settings(data=site.share.parents[1])):
        yield site


@pytest.fixture
def page(browser: Browser, shown: Site) -> Iterator[Page]:
    """A doctor's window; its console says nothing but that a file was refused."""
    window = open_window(browser, shown, viewport=DESK)
    said = listen(window, "error", "warning", but="415")
    yield window
    window.context.close()
    assert said == []


def picture(page: Page, name: str) -> None:
    if "ARMOIRE_PICTURES" in os.environ:
        page.wait_for_timeout(400)
        support.picture(page, name)


def light(page: Page) -> float:
    """How light the picture is: the mean of what is drawn, 0 to 255."""
    return page.evaluate(
        """() => {
          const shown = document.querySelector(".preview-stage .picture");
          const canvas = document.createElement("canvas"); canvas.width = canvas.height = 64;
          const context = canvas.getContext("2d");
          context.drawImage(shown, 0, 0, 64, 64);
          const data = context.getImageData(0, 0, 64, 64).data;
          let sum = 0; for (let at = 0; at < data.length; at += 4) sum += data[at];
          return sum / (data.length / 4);
        }"""
    )


def test_files_are_turned_like_pages(page: Page, shown: Site) -> None:
    """A click opens, the arrows go on, Escape comes back to where one was; what is no file to look at is left out."""
    ready(page, "/disk/documents?p=SW1hZ2VyaWU")
    page.click("a:has-text('1 photo.jpg')")
    expect(page.locator("#preview-title")).to_have_text("1 photo.jpg")
    page.wait_for_selector(".preview-stage img.picture")
    picture(page, "preview-photo-1440")
    page.keyboard.press("ArrowRight")
    expect(page.locator("pre.preview-text")).to_contain_text("Chère consœur")
    picture(page, "preview-text-1440")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".preview-say[role=alert]")).to_contain_text("ne peut pas être affiché")
    picture(page, "preview-refused-1440")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".preview-stage img.picture")
    expect(page.locator(".preview footer .figures")).to_have_text("1 sur 3")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".preview footer .figures")).to_have_text("2 sur 3")
    picture(page, "preview-pdf-1440")
    expect(page.locator(".preview header button:has-text('›')")).to_be_disabled()
    page.keyboard.press("Escape")
    assert page.locator("dialog.preview[open]").count() == 0
    expect(page.locator("h1")).to_have_text("Imagerie")


def test_nothing_of_a_file_runs(page: Page, shown: Site) -> None:
    """A page that calls itself a letter is refused, and said to be what it is not."""
    ran: list[str] = []
    page.on("dialog", lambda dialog: (ran.append(dialog.message), dialog.dismiss()))
    ready(page, "/disk/documents?p=SW1hZ2VyaWU")
    page.click("a:has-text('3 faux.pdf')")
    expect(page.locator(".preview-say[role=alert]")).to_contain_text("pas ce que dit son nom")
    assert ran == []


def test_slices_are_walked_and_windowed(page: Page, shown: Site) -> None:
    """The wheel walks, dragging changes the light at once, presets too; who it is about only on a click."""
    ready(page, "/disk/documents?p=U2Nhbm5lcg")
    page.click("a:has-text('coupe 3.dcm')")
    expect(page.locator(".preview footer .figures").first).to_have_text(f"4 sur {SLICES}")
    page.wait_for_selector(".preview-stage .picture")
    assert "Dupont" not in page.content()
    page.mouse.move(720, 450)
    page.mouse.wheel(0, 100)
    expect(page.locator(".preview footer .figures").first).to_have_text(f"5 sur {SLICES}")
    before = light(page)
    picture(page, "preview-dicom-1440")
    page.mouse.down()
    page.mouse.move(720, 300, steps=8)
    page.mouse.up()
    page.wait_for_selector(".preview-stage canvas.picture")
    page.wait_for_function("document.querySelector('#preview-window').value === 'hand'")
    page.wait_for_timeout(100)
    assert light(page) > before + 5  # a lower centre: lighter
    picture(page, "preview-dicom-dragged-1440")
    page.select_option("#preview-window", label="Os")
    page.wait_for_timeout(150)
    assert light(page) < before
    page.keyboard.press("Escape")
    ready(page, "/disk/documents?p=U2Nhbm5lcg")
    page.click("a:has-text('coupe 3.dcm')")
    page.click("button:has-text('Patient et examen')")
    expect(page.locator(".preview-fields")).to_contain_text("Dupont Émile")
    picture(page, "preview-fields-1440")


def test_a_finger_swipes_from_file_to_file(browser: Browser, shown: Site) -> None:
    """On a telephone; nothing is wider than the screen."""
    window = open_window(browser, shown, viewport=PHONE, has_touch=True)
    ready(window, "/disk/documents?p=SW1hZ2VyaWU")
    window.tap("a:has-text('1 photo.jpg')")
    window.wait_for_selector(".preview-stage img.picture")
    picture(window, "preview-photo-390")
    line = window.context.new_cdp_session(window)
    for kind, x in (("touchStart", 320), ("touchMove", 200), ("touchMove", 80), ("touchEnd", None)):
        points = [] if x is None else [{"x": x, "y": 420}]
        line.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expect(window.locator("#preview-title")).to_have_text("2 compte rendu.txt")
    window.goto("/disk/documents?p=U2Nhbm5lcg")
    window.wait_for_selector("[data-ready]")
    window.tap("a:has-text('coupe 3.dcm')")
    expect(window.locator(".preview footer .figures").first).to_have_text(f"4 sur {SLICES}")
    picture(window, "preview-dicom-390")
    assert too_wide(window) <= 0
    window.context.close()


def test_without_javascript_a_file_is_looked_at_on_a_page(browser: Browser, shown: Site) -> None:
    """With the next file a link away."""
    window = open_window(browser, shown, java_script_enabled=False)
    window.goto("/preview/documents?p=SW1hZ2VyaWUvMSBwaG90by5qcGc")
    assert window.evaluate("document.images[0].naturalWidth") == 1200
    window.click("a[rel=next]")
    expect(window.locator("pre.preview-text")).to_contain_text("Chère consœur")
    window.context.close()
