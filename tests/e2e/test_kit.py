"""The kit from the first click to the last word, in a real browser, with a sheet printed to paper."""

import base64
import hashlib
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import BrowserContext, Page, sync_playwright

from appliance.accounts import links, people
from appliance.clock import utc_now
from appliance.db import facts, workers
from appliance.model import Role
from appliance.replication import kit
from appliance.vault import words
from tests.support.box import Box
from tests.support.browser import ARGUMENTS, CHROMIUM, at_free_port, listen, need_chromium, served
from tests.support.reading import ReaderProcess

pytestmark = pytest.mark.e2e

PASSWORD = "Vingt2-lampes"
HOLDERS = ("Dr Claire Martin", "Dr Hugo Petit", "Me Roux, notaire")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Box, str]]:
    """A served box whose kit was made, with its reader."""
    need_chromium()
    box = Box(tmp_path / "data")
    settings = at_free_port(box.settings)
    with box.database.write() as connection:
        workers.beat(connection, "e2e:1", now=utc_now())
        facts.put(connection, "practice.name", "Cabinet des Lilas", now=utc_now())
        kit.make(connection, settings.keys, now=utc_now())
    with ReaderProcess(settings), served(settings) as address:
        yield box, address
    box.close()


def pin_of(address: str) -> str:
    """Return what makes Chromium trust this server: it caches nothing of one it does not."""
    host, port = address.removeprefix("https://").split(":")
    served = x509.load_pem_x509_certificate(
        ssl.get_server_certificate((host, int(port))).encode("ascii")
    )
    public = served.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(public).digest()).decode("ascii")


def enter(context: BrowserContext, box: Box, address: str) -> Page:
    """Sign the owner in through a one-time link and give her a password."""
    with box.database.write() as connection:
        person = people.add(
            connection,
            login="claire.martin",
            name="Dr Claire Martin",
            role=Role.OWNER,
            language="fr",
            password_hash=None,
            now=utc_now(),
        )
        token = links.make_link_for(connection, person, utc_now())
    page = context.new_page()
    page.goto(links.address(address, token))
    page.wait_for_url("**/account**")  # a second factor is asked for first: later is fine
    page.goto(f"{address}/account?after=link")
    page.fill("#password", PASSWORD)
    page.fill("#again", PASSWORD)
    page.click("button.main")
    page.wait_for_url("**/account?after=password")
    return page


def paper(sheet: Page, folder: Path) -> list[str]:
    """Print a sheet as Chromium does and read the paper: the words, by their places and by the code."""
    printed = folder / "sheet.pdf"
    # A window is given while it is still empty, and prints as an empty page: its end must be there.
    sheet.wait_for_selector("footer", state="attached")
    sheet.wait_for_load_state("load")
    sheet.pdf(path=printed, prefer_css_page_size=True)
    facts_of = subprocess.run(["pdfinfo", printed], capture_output=True, text=True, check=True)
    assert re.search(r"^Pages: +1$", facts_of.stdout, re.MULTILINE)
    assert "(A4)" in facts_of.stdout
    subprocess.run(["pdftoppm", "-r", "150", "-png", printed, folder / "sheet"], check=True)
    read = subprocess.run(
        ["zbarimg", "--quiet", "--raw", "--nodbus", folder / "sheet-1.png"],
        capture_output=True,
        text=True,
        check=True,
    )
    seen = subprocess.run(["pdftotext", "-layout", printed, "-"], capture_output=True, text=True)
    placed = {int(at): word for at, word in re.findall(r"\b(\d{1,2}) +([a-z]{4,8})\b", seen.stdout)}
    found = words.clean(read.stdout).split()
    assert [placed[at] for at in range(1, 21)] == found
    assert "Ctrl+P" not in seen.stdout
    return found


@pytest.mark.skipif(
    not all(shutil.which(each) for each in ("zbarimg", "pdftoppm")), reason="no zbar or poppler"
)
def test_a_kit_is_chosen_printed_read_from_paper_typed_and_forgotten(site, tmp_path: Path) -> None:
    """And the browser keeps nothing of the words on its disk."""
    box, address = site
    profile = tmp_path / "profile"
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            args=[*ARGUMENTS, f"--ignore-certificate-errors-spki-list={pin_of(address)}"],
            locale="fr-FR",
            base_url=address,
        )
        page = enter(context, box, address)
        said = listen(page, "error", but="422")
        page.goto("/kit")
        assert "is-bad" in (page.get_attribute(".truth", "class") or "")
        page.check("input[name=needed][value='2']")
        for at, name in enumerate(HOLDERS, start=1):
            page.fill(f"#holder-{at}", name)
        page.click("text=Garder ce choix")
        page.fill("#print-password", PASSWORD)
        sheets = []
        for name in (HOLDERS[2], HOLDERS[0]):
            with context.expect_page() as opened:
                page.click(f"text=Imprimer la feuille de {name}")
            sheets.append(paper(opened.value, tmp_path))
            opened.value.close()

        page.goto("/kit/words")
        page.fill("#sheet1-1", " ".join(sheets[0]).upper() + " ")  # a scanner
        assert page.input_value("#sheet1-20") == sheets[0][19]
        for at, word in enumerate(sheets[1], start=1):
            page.fill(f"#sheet2-{at}", word[:4] if at != 6 else "zz" + word)
        page.click("text=Vérifier les mots")
        page.wait_for_selector("#sheet2-6-problem")
        assert page.locator(".problem").count() == 1
        page.fill("#sheet2-6", sheets[1][5])
        page.click("text=Vérifier les mots")
        page.wait_for_url("**/kit?after=confirmed")

        assert "is-good" in (page.get_attribute(".truth", "class") or "")
        assert page.locator("text=Imprimer la feuille").count() == 0
        context.close()
    assert said == []
    traces = [f"</span>{sheets[0][5]}</li>", " ".join(sheets[0][4:7]), f'value="{sheets[1][7]}"']
    kept_files = [path for path in profile.rglob("*") if path.is_file()]
    # What may be kept is found there, so what is not found is not kept.
    assert any(b"--- the recovery kit ---" in path.read_bytes() for path in kept_files)
    for kept in kept_files:
        data = kept.read_bytes()
        for trace in traces:
            assert trace.encode() not in data, kept.name
            assert trace.upper().encode() not in data, kept.name
