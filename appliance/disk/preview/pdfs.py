"""Pages of PDF, drawn by PDFium without its JavaScript: a picture of a page, or its words."""

import ctypes
import mmap
from typing import IO, Final

import pypdfium2 as pdfium

from appliance.disk.preview.pictures import in_webp
from appliance.disk.preview.protocol import Answer, Do, Wanted
from appliance.disk.preview.refused import Refusal, in_json
from appliance.units import MIB

LARGEST: Final = 1024 * MIB
MOST_PAGES: Final = 5000
#: Points; PDF's own limit of a page's side, 200 inches.
LARGEST_PAGE: Final = 14_400
SMALLEST_PAGE: Final = 1
_PASSWORD: Final = 4  # FPDF_ERR_PASSWORD

#: One of ours, for ``warm``.
_TINY: Final = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 90 90]/Contents 4 0 R/Resources"
    b"<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>endobj\n"
    b"4 0 obj<</Length 31>>stream\nBT /F 20 Tf 9 9 Td (Aa) Tj ET  \nendstream endobj\n"
    b"trailer<</Root 1 0 R>>\n"
)


def make(file: IO[bytes], wanted: Wanted) -> Answer:
    """Answer about a PDF.

    Raises:
        Refusal: it asks for a password, has no such page, is damaged or too large.
    """
    length = file.seek(0, 2)
    if length > LARGEST:
        raise Refusal("large")
    # Mapped, not read: a thousand pages cost what the one shown needs. Private: writing would stay here.
    held = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_COPY)
    return _make((ctypes.c_ubyte * length).from_buffer(held), wanted)


def _make(data: object, wanted: Wanted) -> Answer:
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        reason = "locked" if getattr(error, "err_code", None) == _PASSWORD else "broken"
        raise Refusal(reason) from error
    pages = min(MOST_PAGES, len(document))
    if pages == 0:
        raise Refusal("broken")
    if wanted.do is Do.INFO:
        width, height = document.get_page_size(0)
        return in_json(
            {"kind": "pdf", "pages": pages, "width": round(width), "height": round(height)}
        )
    if wanted.do is Do.TEXT:
        return _words(document, pages, wanted.letters)
    if wanted.do is not Do.PICTURE:
        raise Refusal("kind")
    if wanted.page >= pages:
        raise Refusal("page")
    page = document[wanted.page]
    width, height = page.get_size()
    longer = max(width, height)
    if not SMALLEST_PAGE <= longer <= LARGEST_PAGE or min(width, height) <= 0:
        raise Refusal("large")
    drawn = page.render(
        scale=wanted.side / longer, rev_byteorder=True, may_draw_forms=False, no_smoothpath=False
    )
    return in_webp(drawn.to_pil(), wanted.side)


def _words(document: pdfium.PdfDocument, pages: int, most: int) -> Answer:
    parts: list[str] = []
    left = most
    for number in range(pages):
        if left <= 0:
            break
        part = document[number].get_textpage().get_text_bounded()[:left]
        left -= len(part) + 1
        parts.append(part)
    return in_json({"kind": "pdf", "text": "\n".join(parts), "is_cut": left <= 0})


def warm() -> None:
    """Draw a page and read its words."""
    for do in (Do.PICTURE, Do.TEXT, Do.INFO):
        _make(_TINY, Wanted(do, side=64))
