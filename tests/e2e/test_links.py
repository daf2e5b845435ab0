"""A correspondent's link in real browsers: the practice makes it, somebody without an account uses it, on a phone too."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support import browser as support
from tests.support.browser import DESK, listen, need_chromium, too_wide, window
from tests.support.upload_server import UploadServer

pytestmark = pytest.mark.e2e

DICOM = bytes(128) + b"DICM" + bytes(9000)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UploadServer]:
    """A box, a doctor signed in, a share with an exam."""
    need_chromium()
    made = UploadServer(tmp_path_factory.mktemp("links"))
    (made.folder / "Examen" / "Série").mkdir(parents=True)
    (made.folder / "Examen" / "compte rendu.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")
    (made.folder / "Examen" / "Série" / "1.dcm").write_bytes(DICOM)
    yield made
    made.close()


@pytest.fixture
def page(browser: Browser, site: UploadServer) -> Iterator[Page]:
    """The doctor's window."""
    opened = window(browser, site, viewport=DESK)
    yield opened
    opened.context.close()


@pytest.fixture(params=[390, 1440])
def outside(browser: Browser, site: UploadServer, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A correspondent's window, without an account; no script fails and nothing is wider than it."""
    context = browser.new_context(
        ignore_https_errors=True,
        locale="fr-FR",
        base_url=site.address,
        viewport={"width": request.param, "height": 844},
    )
    opened = context.new_page()
    said = listen(opened)
    yield opened
    context.close()
    assert said == []


def picture(page: Page, name: str) -> None:
    assert too_wide(page) <= 0
    width = page.viewport_size["width"] if page.viewport_size else 0
    support.picture(page, f"{name}-{width}", whole=True)


def make(page: Page, kind: str) -> tuple[str, str]:
    page.goto(f"/links/new?kind={kind}&share=documents&p=RXhhbWVu")  # Examen
    page.fill("#label", "Dr Petit, radiologie")
    picture(page, f"links-new-{kind}")
    page.click("button.main")
    picture(page, f"links-made-{kind}")
    return page.inner_text("#the-link"), page.inner_text("#the-password")


def enter(outside: Page, address: str, password: str) -> None:
    outside.goto(address)
    picture(outside, "links-password")
    outside.fill("#password", password)
    outside.click("form.narrow button.main")


def test_a_folder_is_given(page: Page, outside: Page) -> None:
    """With its password; a file and the whole are downloaded; the practice sees it."""
    address, password = make(page, "give")
    enter(outside, address, password)
    expect(outside.locator("h1")).to_have_text("Examen")
    picture(outside, "links-give")
    with outside.expect_download() as caught:
        outside.click("text=compte rendu.pdf")
    assert Path(caught.value.path()).read_bytes().startswith(b"%PDF")
    with outside.expect_download() as caught:
        outside.click("text=Tout télécharger")
    assert caught.value.suggested_filename == "Examen.zip"
    page.goto("/links")
    picture(page, "links-list")
    page.click("tbody tr:first-child a")
    expect(page.locator("main")).to_contain_text("un fichier a été téléchargé")
    picture(page, "links-show-give")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("text=Retirer")
    expect(page.locator("main")).to_contain_text("retiré")
    outside.reload()
    expect(outside.locator("main")).to_contain_text("n’est plus valable")


def test_files_are_asked_for(page: Page, outside: Page, site: UploadServer, tmp_path: Path) -> None:
    """A series and a large file arrive; a program does not; accepted, they are in the folder."""
    address, password = make(page, "ask")
    enter(outside, address, password)
    outside.wait_for_selector("[data-upload-ready]")
    picture(outside, "links-ask")
    width = outside.viewport_size["width"] if outside.viewport_size else 0
    series = []
    for number in range(30):
        series.append(tmp_path / f"coupe {width} {number}.dcm")
        series[-1].write_bytes(DICOM)
    large = tmp_path / f"scanner {width}.dcm"
    large.write_bytes(DICOM + bytes(9_000_000))
    virus = tmp_path / "photo.jpg"
    virus.write_bytes(b"MZ a program")
    outside.locator("[data-upload] input[type=file]").first.set_input_files([*series, large, virus])
    expect(outside.locator(".sending-title")).to_contain_text(
        "Fichiers envoyés : 31. Non envoyés : 1.", timeout=60_000
    )
    expect(outside.locator(".sending-problems")).to_contain_text("c’est un programme")
    picture(outside, "links-ask-done")
    assert not (site.folder / "Examen" / large.name).exists()
    page.goto("/links")
    page.click("tbody tr:first-child a")
    picture(page, "links-show-ask")
    page.check("input[name=all]")
    page.click("text=Accepter les fichiers choisis")
    expect(page.locator("main")).to_contain_text("accepté par Dr Anne Martin")
    for each in [*series, large]:
        assert (site.folder / "Examen" / each.name).read_bytes() == each.read_bytes()
