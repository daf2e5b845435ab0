"""Folders dropped by a hand, pictures pasted and taken, and a disk that has no room: in a real browser."""

import base64
import io
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from appliance.db import shares
from appliance.db.engine import Database, open_database
from appliance.db.shares import Share
from appliance.disk import actions
from appliance.settings import Settings
from tests.e2e.test_upload import Held
from tests.support import share_site, small_disk
from tests.support.browser import DESK, PHONE, at_free_port, listen, need_chromium, picture, served
from tests.support.browser import window as open_window

pytestmark = pytest.mark.e2e

MB = 1_000_000


@dataclass
class Site:
    """A served box with two shares: one with room, one on a small disk of its own when it could be mounted."""

    database: Database
    share: Share
    small: Share | None
    address: str
    token: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A doctor is signed in; the floor that is kept free elsewhere would leave a small disk no room at all."""
    need_chromium()
    home = tmp_path_factory.mktemp("drop")
    settings = at_free_port(Settings(data=home / "data"))
    settings.data.mkdir()
    database = open_database(settings.database, create=True)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(actions, "FREE_FLOOR", 0)
        folder: Path | None = home / "small"
        try:
            stack.enter_context(small_disk.mounted(home / "small", 40 * MB))
        except (CalledProcessError, FileNotFoundError):
            folder = None
        with database.write() as connection:
            doctor = share_site.add_doctor(connection)

            def share(name: str, folder: Path | None = None) -> Share:
                return share_site.add_share(
                    connection, settings, doctor, name=name, label=name.title(), folder=folder
                )

            wide = share("documents")
            small = share("petit", folder) if folder else None
            token = share_site.start_session(connection, doctor)
        yield Site(database, wide, small, stack.enter_context(served(settings)), token)
    database.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A doctor's window; no script fails in it."""
    window = open_window(browser, site, viewport=DESK)
    said = listen(window)
    ready(window, "/disk/documents")
    yield window
    window.context.close()
    assert said == []


def ready(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("[data-upload-ready]")
    page.wait_for_selector("[data-disk][data-ready]")


def made(place: Path, size: int) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(random.Random(str(place.name)).randbytes(size))
    return place


def drop(page: Page, *places: Path) -> None:
    """Drop files and folders of the computer, as a hand does: the browser reads them itself."""
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(each) for each in places], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 700, "y": 500, "data": data})
    expect(page.locator("body.dropping")).to_be_attached()
    devtools.send("Input.dispatchDragEvent", {"type": "drop", "x": 700, "y": 500, "data": data})
    devtools.detach()


def ended(page: Page, words: str) -> None:
    expect(page.locator(".sending-title")).to_contain_text(words, timeout=60_000)


def test_a_folder_dropped_by_hand_keeps_its_shape(page: Page, site: Site, tmp_path: Path) -> None:
    """Folders in folders, an empty one, a large file and a single one beside: all in one drop."""
    tree = tmp_path / "Dossier Émile"
    for number in range(130):  # more than one answer of the browser's folder reader holds
        made(tree / "série 1" / f"coupe {number:03}.dcm", 700 + number)
    made(tree / "série 2" / "profonde" / "film.avi", 9 * MB)
    (tree / "vide" / "encore vide").mkdir(parents=True)
    made(tree / "série 1" / ".DS_Store", 10)
    single = made(tmp_path / "seul.txt", 40)
    drop(page, tree, single)
    ended(page, "Tout est arrivé. Fichiers envoyés : 132.")
    folder = site.share.folder
    expect(page.locator(".grid-row .name", has_text="Dossier Émile")).to_be_visible()
    found = {
        str(each.relative_to(folder)): each.read_bytes()
        for each in folder.rglob("*")
        if each.is_file() and ".armoire" not in each.parts
    }
    assert found == {
        **{
            str(each.relative_to(tmp_path)): each.read_bytes()
            for each in tree.rglob("*")
            if each.is_file() and each.name != ".DS_Store"
        },
        "seul.txt": single.read_bytes(),
    }
    assert (folder / "Dossier Émile" / "vide" / "encore vide").is_dir()
    picture(page, "drop-1440")


def test_a_folder_dropped_again_changes_nothing(page: Page, site: Site, tmp_path: Path) -> None:
    """The same files are passed over; one that changed is asked about."""
    tree = tmp_path / "Encore"
    one, two = made(tree / "un.txt", 50), made(tree / "deux.txt", 60)
    drop(page, tree)
    ended(page, "Fichiers envoyés : 2.")
    one.write_bytes(b"changed")
    drop(page, tree)
    expect(page.locator("#clash-title")).to_contain_text("1 fichier")
    page.click("dialog[open] button:has-text('Remplacer')")
    ended(page, "Fichiers envoyés : 1. Déjà présents, inchangés : 1.")
    assert (site.share.folder / "Encore" / "un.txt").read_bytes() == b"changed"
    assert (site.share.folder / "Encore" / "deux.txt").read_bytes() == two.read_bytes()


def test_a_picture_is_pasted_out_of_the_clipboard(page: Page, site: Site) -> None:
    """As a screenshot is: by the browser's own clipboard and its own keys; it gets a name with the time."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "green").save(buffer, "PNG")
    page.evaluate(
        """async (coded) => {
          const bytes = Uint8Array.from(atob(coded), (each) => each.charCodeAt(0));
          await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) })]);
        }""",
        base64.b64encode(buffer.getvalue()).decode(),
    )
    page.locator(".grid").focus()
    page.keyboard.press("Control+v")
    ended(page, "Fichiers envoyés : 1.")
    (found,) = site.share.folder.glob("Image collée *.png")
    assert Image.open(found).getpixel((10, 10))[:3] == (0, 128, 0)


def test_a_phone_s_camera_sends_what_it_took(browser: Browser, site: Site, tmp_path: Path) -> None:
    """The camera is asked for, of the back; what comes out of it arrives."""
    window = open_window(browser, site, viewport=PHONE, has_touch=True, is_mobile=True)
    ready(window, "/disk/documents")
    with window.expect_file_chooser() as asked:
        window.tap("text=Prendre une photo")
    element = asked.value.element
    assert element.get_attribute("capture") == "environment"
    assert element.get_attribute("accept") == "image/*"
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (300, 400), "blue").save(photo)
    asked.value.set_files(photo)
    ended(window, "Fichiers envoyés : 1.")
    assert (site.share.folder / "photo.jpg").read_bytes() == photo.read_bytes()
    picture(window, "camera-390")
    window.context.close()


@pytest.fixture
def small(site: Site) -> Share:
    """The share on a disk of 40 MB."""
    if site.small is None:
        pytest.skip("a disk can be mounted by root only")
    return site.small


def test_no_room_is_said_before_anything_is_sent(
    page: Page, site: Site, small: Share, tmp_path: Path
) -> None:
    """On the disk, or in the share's quota: how large, how much room, and nothing went."""
    ready(page, "/disk/petit")
    sent: list[str] = []
    page.on(
        "request",
        lambda request: sent.append(request.url) if request.method in {"PATCH", "PUT"} else None,
    )
    drop(page, made(tmp_path / "trop.bin", 60 * MB))
    ended(page, "Ces fichiers font 60 Mo et il reste")
    ended(page, "Rien n’a été envoyé.")
    picture(page, "no-room-1440")
    page.click(".sending button:has-text('Fermer')")
    with site.database.write() as connection:
        shares.change(connection, small.id, quota_bytes=5 * MB)
    try:
        drop(page, made(tmp_path / "quota.bin", 6 * MB))
        ended(page, "Ces fichiers font 6 Mo et il reste 5 Mo.")
    finally:
        with site.database.write() as connection:
            shares.change(connection, small.id, quota_bytes=None)
    assert sent == []
    assert [each.name for each in small.folder.iterdir() if each.name != ".armoire"] == []


def test_a_disk_that_fills_up_meanwhile_is_said_and_the_upload_goes_on(
    page: Page, small: Share, tmp_path: Path
) -> None:
    """What arrived is kept; with room again one click sends the rest."""
    ready(page, "/disk/petit")
    held = Held(page, passing=1)
    large = made(tmp_path / "irm.dcm", 24 * MB)
    drop(page, large)
    held.wait(1)
    with small_disk.nearly_full(small.folder, 2 * MB):
        held.let_go()
        expect(page.locator(".sending.is-bad")).to_contain_text(
            "Le disque est plein", timeout=60_000
        )
        picture(page, "disk-full-1440")
        assert not (small.folder / "irm.dcm").exists()
    page.click(".sending button:has-text('Reprendre')")
    ended(page, "Tout est arrivé. Fichiers envoyés : 1.")
    assert (small.folder / "irm.dcm").read_bytes() == large.read_bytes()
