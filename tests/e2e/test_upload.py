"""Sending files from a real browser: nothing is lost, whatever happens on the way."""

import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.browser import DESK, PHONE, listen, need_chromium, picture, too_wide
from tests.support.browser import window as open_window
from tests.support.upload_server import UploadServer

pytestmark = pytest.mark.e2e

LARGE = 24_000_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UploadServer]:
    """A box, a doctor signed in, an empty share."""
    need_chromium()
    made = UploadServer(tmp_path_factory.mktemp("upload"))
    yield made
    made.close()


@pytest.fixture
def page(browser: Browser, site: UploadServer) -> Iterator[Page]:
    """A doctor's window; no script fails in it."""
    window = open_window(browser, site, viewport=DESK)
    said = listen(window)
    window.goto("/disk/documents")
    window.wait_for_selector("[data-upload-ready]")
    yield window
    window.context.close()
    assert said == []


def choose(page: Page, *files: Path, place: int = 0) -> None:
    page.locator("[data-upload] input[type=file]").nth(place).set_input_files(list(files))


def made(folder: Path, name: str, size: int) -> Path:
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(random.Random(name).randbytes(size))
    return place


def ended(page: Page, words: str) -> None:
    expect(page.locator(".sending-title")).to_contain_text(words, timeout=60_000)


class Held:
    """Requests that carry bytes and wait until they are let go; the first so many pass."""

    def __init__(self, page: Page, passing: int = 0) -> None:
        self._page, self._left, self._routes = page, passing, []
        page.context.route(re.compile("/(uploads/[^/?]+|batch.*)$"), self._take)

    def _take(self, route: Route) -> None:
        if route.request.method not in {"PATCH", "POST"} or self._left > 0:
            self._left -= route.request.method in {"PATCH", "POST"}
            route.continue_()
            return
        self._routes.append(route)

    def wait(self, count: int) -> None:
        """Return when so many wait."""
        deadline = time.monotonic() + 30
        while len(self._routes) < count:
            assert time.monotonic() < deadline
            self._page.wait_for_timeout(50)

    def pass_all(self) -> None:
        """Hold nothing that comes; what waits belongs to a page that is gone."""
        self._left = 1 << 30

    def let_go(self) -> None:
        """Let those that wait, and all others, go on."""
        self._left = 1 << 30
        for each in self._routes:
            each.continue_()


def test_many_small_and_a_large_one_arrive_whole(
    page: Page, site: UploadServer, tmp_path: Path
) -> None:
    """Empty ones too, with their times; what the disk shows follows by itself."""
    small = [made(tmp_path, f"scan {place}.pdf", place * 911) for place in range(120)]
    large = made(tmp_path, "radio.dcm", LARGE)
    os.utime(small[3], (1_600_000_000, 1_600_000_000))
    choose(page, *small, large)
    ended(page, "Tout est arrivé. Fichiers envoyés : 121.")
    for each in [*small, large]:
        assert (site.folder / each.name).read_bytes() == each.read_bytes(), each.name
    assert (site.folder / "scan 3.pdf").stat().st_mtime == 1_600_000_000
    page.wait_for_selector(".grid-row .name:has-text('radio.dcm')")
    assert list((site.folder / ".armoire" / "parts").iterdir()) == []
    picture(page, "upload-done-1440")


def test_a_whole_folder_keeps_its_shape(page: Page, site: UploadServer, tmp_path: Path) -> None:
    """Small and large ones in their folders; what a system leaves in folders stays behind."""
    tree = tmp_path / "Examen"
    made(tree, "série 1/coupe 1.dcm", 4000)
    made(tree, "série 1/Thumbs.db", 10)
    made(tree, "série 2/film.avi", 9_000_000)
    choose(page, tree, place=1)
    ended(page, "Fichiers envoyés : 2.")
    found = {
        str(each.relative_to(site.folder)): each.stat().st_size
        for each in (site.folder / "Examen").rglob("*")
        if each.is_file()
    }
    assert found == {
        "Examen/série 1/coupe 1.dcm": 4000,
        "Examen/série 2/film.avi": 9_000_000,
    }


def test_taken_names_are_asked_once_for_all(page: Page, site: UploadServer, tmp_path: Path) -> None:
    """Keep both, replace with the old ones in the bin, or leave out; the very same files are passed over."""
    names = ("a.txt", "b.txt", "c.txt")
    files = [made(tmp_path, name, 100) for name in names]
    (site.folder / "a.txt").write_bytes(b"older a")
    (site.folder / "b.txt").write_bytes(b"older b")
    choose(page, *files)
    expect(page.locator("#clash-title")).to_contain_text("2 fichiers sur 3")
    picture(page, "upload-clash-1440")
    page.click("dialog[open] button:has-text('Garder les deux')")
    ended(page, "Fichiers envoyés : 3.")
    assert (site.folder / "a.txt").read_bytes() == b"older a"
    assert (site.folder / "a (2).txt").read_bytes() == files[0].read_bytes()
    choose(page, *files)
    expect(page.locator("#clash-title")).to_contain_text("2 fichiers sur 3")
    page.click("dialog[open] button:has-text('Remplacer')")
    ended(page, "Fichiers envoyés : 2. Déjà présents, inchangés : 1.")
    assert (site.folder / "b.txt").read_bytes() == files[1].read_bytes()
    kept = [each.read_bytes() for each in (site.folder / ".armoire" / "bin").iterdir()]
    assert sorted(kept) == [b"older a", b"older b"]
    choose(page, *files)
    ended(page, "Déjà présents, inchangés : 3.")


def test_an_upload_goes_on_after_a_reload(page: Page, site: UploadServer, tmp_path: Path) -> None:
    """The page says what was not finished; the same file goes on where it was."""
    large = made(tmp_path, "irm.dcm", LARGE)
    held = Held(page, passing=1)
    choose(page, large)
    held.wait(1)
    expect(page.locator(".sending")).to_contain_text("0 fichiers sur 1")
    picture(page, "upload-running-1440")
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    held.pass_all()
    page.wait_for_selector(".sending-unfinished:has-text('irm.dcm')")
    picture(page, "upload-unfinished-1440")
    began: list[int] = []
    page.on(
        "request",
        lambda request: (
            began.append(int(request.headers["upload-offset"]))
            if request.method == "PATCH"
            else None
        ),
    )
    assert page.evaluate("JSON.stringify(localStorage)").find("irm") == -1
    choose(page, large)
    ended(page, "Tout est arrivé.")
    assert began[0] > 1_000_000
    assert (site.folder / "irm.dcm").read_bytes() == large.read_bytes()
    expect(page.locator(".sending-unfinished")).to_be_hidden()


def test_the_server_may_start_again_meanwhile(
    page: Page, site: UploadServer, tmp_path: Path
) -> None:
    """Large and small ones wait and go on by themselves."""
    large = made(tmp_path, "scanner.dcm", LARGE)
    small = [made(tmp_path, f"page {place}.tif", 300_000) for place in range(60)]
    held = Held(page, passing=2)
    choose(page, large, *small)
    held.wait(2)
    site.kill()
    held.let_go()
    expect(page.locator(".sending")).to_contain_text("Nouvel essai automatique", timeout=60_000)
    site.start()
    ended(page, "Tout est arrivé. Fichiers envoyés : 61.")
    for each in [large, *small]:
        assert (site.folder / each.name).read_bytes() == each.read_bytes(), each.name


def test_cancelling_leaves_nothing_half_done(
    page: Page, site: UploadServer, tmp_path: Path
) -> None:
    """No name appears, and the part goes too."""
    held = Held(page, passing=1)
    choose(page, made(tmp_path, "never.bin", LARGE))
    held.wait(1)
    page.click("text=Annuler")
    ended(page, "Envoi arrêté.")
    deadline = time.monotonic() + 60
    parts = site.folder / ".armoire" / "parts"
    while list(parts.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(parts.iterdir()) == []
    assert not (site.folder / "never.bin").exists()


def test_a_refused_name_takes_no_other_with_it(
    page: Page, site: UploadServer, tmp_path: Path
) -> None:
    """What Windows could not open is said by name; the others arrive."""
    choose(page, made(tmp_path, "what?.txt", 10), made(tmp_path, "good.txt", 10))
    ended(page, "Fichiers envoyés : 1. Non envoyés : 1.")
    expect(page.locator(".sending-problems li")).to_contain_text("what?.txt")
    assert (site.folder / "good.txt").exists()


def test_a_picture_is_pasted_and_a_file_dropped(page: Page, site: UploadServer) -> None:
    """The pasted one gets a name with the time."""
    page.evaluate(
        """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(["pixels"], "image.png", { type: "image/png" }));
          dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        }"""
    )
    ended(page, "Fichiers envoyés : 1.")
    assert len(list(site.folder.glob("Image collée *.png"))) == 1
    page.evaluate(
        """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(["dropped"], "drop.txt"));
          for (const kind of ["dragenter", "dragover", "drop"]) {
            document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
          }
        }"""
    )
    page.wait_for_selector(".grid-row .name:has-text('drop.txt')")
    assert (site.folder / "drop.txt").read_text() == "dropped"


def test_a_phone_offers_its_camera(browser: Browser, site: UploadServer) -> None:
    """And nothing is wider than the screen."""
    window = open_window(browser, site, viewport=PHONE, has_touch=True, is_mobile=True)
    window.goto("/disk/documents")
    window.wait_for_selector("[data-upload-ready]")
    assert window.locator("input[capture=environment]").count() == 1
    expect(window.locator("text=Prendre une photo")).to_be_visible()
    assert too_wide(window) <= 0
    picture(window, "upload-390")
    window.context.close()
