"""What is shown of each kind of file, made by the real process."""

import gzip
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from appliance.disk.preview.dicom import PIXELS_HEAD
from appliance.disk.preview.protocol import PIXELS, WEBP, Do
from appliance.settings import Settings
from tests.support import dicoms
from tests.support.preview import PreviewProcess

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def preview(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreviewProcess]:
    with PreviewProcess(Settings(data=tmp_path_factory.mktemp("preview") / "data")) as process:
        yield process


def seen(preview: PreviewProcess, path: Path, **more: object) -> Image.Image:
    answer = preview.ask(path, **more)
    assert answer.type == WEBP
    return Image.open(io.BytesIO(answer.body))


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "gif", "bmp", "avif"])
def test_a_photograph_is_made_small_and_loses_where_it_was_taken(preview, tmp_path, ending):
    """The colour stays, the size fits, nothing of the camera goes to the browser."""
    path = tmp_path / f"photo.{ending}"
    image = Image.new("RGB", (1600, 800), (200, 30, 40))
    exif = image.getexif()
    exif[0x010F] = "Secret Camera"
    image.save(path, **({"exif": exif} if ending in {"jpg", "webp", "png", "tif"} else {}))
    made = preview.ask(path, side=256)
    small = Image.open(io.BytesIO(made.body)).convert("RGB")
    assert small.size == (256, 128)
    assert np.allclose(small.getpixel((100, 60)), (200, 30, 40), atol=8)
    assert b"Secret" not in made.body
    info = preview.ask(path, Do.INFO).values()
    assert (info["kind"], info["width"], info["height"]) == ("image", 1600, 800)


def test_a_telephone_s_heic_is_shown(preview):
    """Read without an encoder: the file was made once, elsewhere."""
    path = Path(__file__).parents[1] / "data" / "photo.heic"
    assert b"Secret" in path.read_bytes()
    made = preview.ask(path)
    assert b"Secret" not in made.body
    small = Image.open(io.BytesIO(made.body)).convert("RGB")
    assert small.size == (320, 160)
    assert np.allclose(small.getpixel((100, 60)), (200, 30, 40), atol=10)


def test_a_photograph_taken_upright_is_shown_upright(preview, tmp_path):
    """The camera only writes down how it was held."""
    path = tmp_path / "upright.jpg"
    image = Image.new("RGB", (400, 200))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    assert seen(preview, path).size == (200, 400)


def test_every_page_of_a_fax_is_shown(preview, tmp_path):
    """Black and white, fax compression, three pages."""
    path = tmp_path / "fax.tiff"
    pages = [Image.new("1", (800, 1100), each) for each in (1, 0, 1)]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="group4")
    assert preview.ask(path, Do.INFO).values()["pages"] == 3
    assert [seen(preview, path, page=page).convert("L").getpixel((9, 9)) for page in range(3)] == [
        255,
        0,
        255,
    ]
    assert preview.refusal(path, page=3) == "it has no such page"


def test_a_pdf_is_shown_page_by_page_and_its_words_can_be_had(preview, tmp_path):
    """Pictures for people, words for the search."""
    canvas = pytest.importorskip("reportlab.pdfgen.canvas")
    path = tmp_path / "letter.pdf"
    sheet = canvas.Canvas(str(path))
    for number in (1, 2):
        sheet.drawString(100, 700, f"Chère consœur, page {number}")
        sheet.showPage()
    sheet.save()
    info = preview.ask(path, Do.INFO).values()
    assert (info["kind"], info["pages"]) == ("pdf", 2)
    page = seen(preview, path, page=1).convert("L")
    assert max(page.size) == 1024
    assert page.getextrema()[0] < 100  # something is written on it
    assert "consœur, page 2" in preview.ask(path, Do.TEXT).values()["text"]
    assert preview.refusal(path, page=2) == "it has no such page"


@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_text_is_read_in_the_code_it_was_written_in(preview, tmp_path, code):
    """Accents of Windows' old files too."""
    path = tmp_path / "note.txt"
    path.write_bytes(("Œdème à l’épaule\n" * 60).encode(code))
    info = preview.ask(path, Do.INFO).values()
    assert (info["kind"], info["is_cut"]) == ("text", False)
    assert info["text"].startswith("Œdème à l’épaule\n")
    cut = preview.ask(path, Do.TEXT, letters=10).values()
    assert (cut["text"], cut["is_cut"]) == ("Œdème à l’", True)


def test_the_words_of_office_documents_are_shown(preview, tmp_path):
    """docx by its own library; xlsx and odt as their programs write them."""
    docx = pytest.importorskip("docx")
    document = docx.Document()
    document.add_paragraph("Première ligne")
    document.add_table(1, 2).rows[0].cells[1].text = "Cellule"
    document.save(tmp_path / "a.docx")
    text = preview.ask(tmp_path / "a.docx", Do.INFO).values()["text"]
    assert "Première ligne\n" in text
    assert "Cellule" in text
    sheet = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as book:
        book.writestr("xl/workbook.xml", "<workbook/>")
        book.writestr(
            "xl/sharedStrings.xml",
            f"<sst {sheet}><si><t>Nom</t></si><si><r><t>Du</t></r><r><t>pont</t></r></si></sst>",
        )
        book.writestr(
            "xl/worksheets/sheet1.xml",
            f'<worksheet {sheet}><sheetData><row><c t="s"><v>0</v></c><c t="s"><v>1</v></c>'
            "<c><v>42</v></c></row></sheetData></worksheet>",
        )
    assert preview.ask(tmp_path / "a.xlsx", Do.TEXT).values()["text"].split() == [
        "Nom",
        "Dupont",
        "42",
    ]
    with zipfile.ZipFile(tmp_path / "a.odt", "w") as book:
        book.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        book.writestr(
            "content.xml",
            '<o:d xmlns:o="urn:o" xmlns:text="urn:t"><text:p>Un</text:p><text:p>Deux</text:p></o:d>',
        )
    assert preview.ask(tmp_path / "a.odt", Do.TEXT).values()["text"] == "Un\nDeux"


# --- DICOM ----------------------------------------------------------------------------------


def test_a_window_decides_what_is_black_and_white(preview, tmp_path):
    """A ramp through a narrow window: black, grey where its centre is, white."""
    path = dicoms.write(tmp_path / "a.dcm", dicoms.make(dicoms.ramp(64, 256)))
    row = np.asarray(seen(preview, path, centre=2048.0, width=400.0).convert("L"))[32]
    assert row[20] < 10
    assert row[-20] > 245
    assert 100 < row[128] < 156
    whole = np.asarray(seen(preview, path, centre=0.0, width=0.0).convert("L"))[32]
    assert 40 < whole[64] < 90


def test_units_are_those_of_the_file(preview, tmp_path):
    """Rescale first, window after; MONOCHROME1 is light where it is low."""
    data = dicoms.make(
        dicoms.ramp(64, 256),
        RescaleSlope=1,
        RescaleIntercept=-1024,
        WindowCenter=0,
        WindowWidth=100,
    )
    path = dicoms.write(tmp_path / "ct.dcm", data)
    row = np.asarray(seen(preview, path).convert("L"))[32]
    assert row[60] < 10
    assert row[70] > 245
    info = preview.ask(path, Do.INFO).values()
    assert info["windows"][0] == {"name": "As recorded", "centre": 0.0, "width": 100.0}
    data.PhotometricInterpretation = "MONOCHROME1"
    row = np.asarray(seen(preview, dicoms.write(path, data)).convert("L"))[32]
    assert row[60] > 245
    assert row[70] < 10


def test_grey_values_come_exact_enough_to_window_them_in_the_browser(preview, tmp_path):
    """Sixteen bits, in the file's units, an average of squares when they are more than the screen has."""
    values = dicoms.ramp(512, 4096, 0, 4095)
    path = dicoms.write(
        tmp_path / "a.dcm", dicoms.make(values, RescaleSlope=2, RescaleIntercept=-100)
    )
    answer = preview.ask(path, Do.PIXELS)
    assert answer.type == PIXELS
    raw = gzip.decompress(answer.body)
    columns, rows, low, step, is_dark = PIXELS_HEAD.unpack(raw[: PIXELS_HEAD.size])
    assert (columns, rows, is_dark, PIXELS_HEAD.size) == (1024, 128, 0, 24)
    found = np.frombuffer(raw[24:], "<u2").reshape(rows, columns) * step + low
    wanted = values[:128].reshape(128, 1024, 4).mean(axis=2) * 2 - 100
    assert np.abs(found - wanted).max() <= step


@pytest.mark.parametrize("syntax", [RLELossless, DeflatedExplicitVRLittleEndian])
def test_compressed_pictures_are_read(preview, tmp_path, syntax):
    """What devices and archives send."""
    data = dicoms.make(dicoms.ramp(64, 256))
    if syntax == RLELossless:
        data.compress(RLELossless)
    else:
        data.file_meta.TransferSyntaxUID = syntax
    path = dicoms.write(tmp_path / "a.dcm", data)
    row = np.asarray(seen(preview, path, centre=2048.0, width=400.0).convert("L"))[32]
    assert row[20] < 10
    assert row[-20] > 245


def test_files_of_many_makers_are_read(preview):
    """pydicom's own collection: JPEG, lossless JPEG, JPEG-LS, JPEG 2000, RLE, colour, many frames."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    shown = {
        "CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm", "JPEG-LL.dcm", "JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_small_odd.dcm", "examples_palette.dcm", "examples_ybr_color.dcm", "emri_small.dcm",
        "image_dfl.dcm", "liver_1frame.dcm", "MR_small_bigendian.dcm", "SC_rgb_rle_16bit.dcm",
    }  # fmt: skip
    here = {each.name for each in folder.glob("*.dcm")} & shown
    assert len(here) >= 10
    for name in sorted(here):
        assert preview.ask(folder / name).type == WEBP, name
    assert preview.refusal(folder / "rtplan.dcm") == "files of this kind are not shown"


def test_each_frame_of_a_film_is_shown(preview, tmp_path):
    """Ultrasound and angiography: one file, many frames."""
    values = np.stack([np.full((32, 32), each, np.uint16) for each in (0, 1000, 4000)])
    path = dicoms.write(tmp_path / "film.dcm", dicoms.make(values))
    assert preview.ask(path, Do.INFO).values()["pages"] == 3
    shades = [
        seen(preview, path, page=page, centre=2000.0, width=4000.0).convert("L").getpixel((5, 5))
        for page in range(3)
    ]
    assert shades[0] < shades[1] < shades[2]


def test_who_it_is_about_is_only_said_when_asked_for(preview, tmp_path):
    """What goes with every picture names nobody."""
    path = dicoms.write(tmp_path / "a.dcm", dicoms.make(dicoms.ramp(32, 32), AccessionNumber="X9"))
    told = {each["label"]: each["value"] for each in preview.ask(path, Do.FIELDS).values()}
    assert told["Patient"] == "Dupont Émile"
    assert told["Born"] == "03/02/1951"
    for do in (Do.INFO, Do.BRIEFS):
        said = preview.ask(path, do).body.decode()
        assert not any(each in said for each in ("Dupont", "4711", "1951", "X9", "1.2.840"))
    assert "Dupont" not in preview.log
