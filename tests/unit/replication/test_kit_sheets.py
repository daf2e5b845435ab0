"""A sheet: one page, twenty words in their order, a code a phone reads, and no other secret."""

import re
import shutil
from datetime import UTC, datetime
from html import unescape
from zoneinfo import ZoneInfo

import pytest

from appliance.process import run
from appliance.replication.kit import Sheet
from appliance.replication.kit_sheets import code_of, sheet_html
from appliance.vault import words
from appliance.vault.secret import Secret

NOW = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
TEXTS = words.split(Secret(bytes(range(16))), needed=2, sheets=3)
SHEET = Sheet(words.kit_number(TEXTS[0]), 2, 2, 3, "Me <Roux> & fils", tuple(TEXTS[1].split()))


def page(language="fr", sheet=SHEET):
    return sheet_html(
        sheet,
        practice="Cabinet «des Lilas»",
        made_at=NOW,
        zone=ZoneInfo("Europe/Paris"),
        language=language,
    ).decode()


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("fr", ["Kit de reprise", "Feuille 2 sur 3", "2 sur 3", "24/11/2026", "testament"]),
        ("en", ["Recovery kit", "Sheet 2 of 3", "2 of 3", "24 November 2026", "a will"]),
    ],
)
def test_a_sheet_says_what_it_is_in_the_readers_language(language, said):
    text = unescape(page(language))

    for each in [*said, SHEET.kit_number, "Me <Roux> & fils", "armoire recover --kit"]:
        assert each in text
    assert "<Roux>" not in page(language)


def test_the_words_stand_in_their_order_with_their_numbers():
    found = re.findall(r"<li><span>(\d+)</span>([a-z]+)</li>", page())

    assert found == [(str(at), word) for at, word in enumerate(SHEET.words, start=1)]


def test_nothing_of_another_sheet_is_on_it_and_it_asks_for_nothing():
    """One page stolen tells one share."""
    text = page()

    for other in (TEXTS[0], TEXTS[2]):
        assert not set(other.split()[4:]) - set(SHEET.words) <= set(re.findall(r"[a-z]+", text))
    assert not re.search(r"<(script|link|img|iframe)|(src|href)=|@import|url\(", text)


def test_a_single_sheet_warns_that_it_opens_everything():
    (text,) = words.split(Secret(bytes(range(16))), needed=1, sheets=1)
    one = Sheet(words.kit_number(text), 1, 1, 1, "Dr Martin", tuple(text.split()))

    assert "ouvre à elle seule" in page(sheet=one)
    assert "ouvre à elle seule" not in page()


def test_the_code_holds_the_words_and_they_open_the_kit(tmp_path):
    """Read by another program than the one that drew it."""
    if shutil.which("zbarimg") is None:
        pytest.skip("no zbarimg here")
    drawn = tmp_path / "code.png"
    code_of(SHEET).save(str(drawn), scale=6, border=4)

    read = run(["zbarimg", "--quiet", "--raw", "--nodbus", str(drawn)], timeout_s=20).stdout

    assert words.clean(read).split() == list(SHEET.words)
    assert words.join([TEXTS[0], read]) == Secret(bytes(range(16)))
