"""Files made to do harm: each ends without a picture, within its memory and its time, and the next one is shown."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from appliance.disk.preview.protocol import Do
from appliance.errors import NotPreviewed
from appliance.settings import Settings
from tests.support import dicoms
from tests.support.preview import PreviewProcess

pytestmark = pytest.mark.integration

#: 512 MiB beyond what is loaded; the parent's pages count as well.
MOST_KIB = 700 * 1024
BROKEN = "it is damaged, or not what its name says"
LARGE = "it is too large to be read safely"
KIND = "files of this kind are not shown"


@pytest.fixture(scope="module")
def preview(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreviewProcess]:
    """One process for all of them: each must find it alive."""
    folder = tmp_path_factory.mktemp("hostile")
    good = folder / "good.png"
    Image.new("RGB", (8, 8)).save(good)
    with PreviewProcess(Settings(data=folder / "data")) as process:
        yield process
        assert process.ask(good).type == "image/webp"
        ended = process.ended()
        assert ended
        assert max(each["rss_kib"] for each in ended) < MOST_KIB
        assert max(each["ms"] for each in ended) < 20_000


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_bomb(side: int, lines: int) -> bytes:
    """A PNG of ``side``² pixels of one colour, ``lines`` of them there: some kilobytes on the disk."""
    deflate = zlib.compressobj(1)
    line = bytes(1 + side * 3)
    rows = b"".join(deflate.compress(line) for _ in range(lines)) + deflate.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def png_text_bomb() -> bytes:
    """A small picture with a comment that inflates to 200 MB."""
    deflate = zlib.compressobj(9)
    text = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(200)) + deflate.flush()
    written = io.BytesIO()
    Image.new("L", (8, 8)).save(written, "PNG")
    plain = written.getvalue()
    return plain[:33] + chunk(b"zTXt", b"Comment\0\0" + text) + plain[33:]


def pdf(page: bytes, more: bytes = b"") -> bytes:
    return (
        b"%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R" + more + b">>endobj\n"
        b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n3 0 obj<</Type/Page/Parent 2 0 R"
        + page
        + b">>endobj\ntrailer<</Root 1 0 R>>\n"
    )


def stream(number: int, data: bytes, facts: bytes = b"") -> bytes:
    return (
        b"%d 0 obj<</Length %d%s>>stream\n" % (number, len(data), facts)
        + data
        + b"\nendstream endobj\n"
    )


def with_streams(page: bytes, *streams: bytes) -> bytes:
    return pdf(page).replace(b"trailer", b"".join(streams) + b"trailer")


def test_a_picture_larger_inside_than_outside(preview, tmp_path):
    """900 million pixels in a megabyte: refused from its head."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png_bomb(30_000, 100))
    assert path.stat().st_size < 1 << 20
    assert preview.refusal(path) == LARGE
    assert preview.refusal(path, Do.INFO) == LARGE
    path.write_bytes(png_bomb(9_000, 9_000))  # 81 million: within the bound, and within the memory
    assert preview.ask(path).type == "image/webp"
    path.write_bytes(png_text_bomb())
    assert preview.refusal(path) in {LARGE, BROKEN}


def test_a_tiff_that_claims_more_than_it_has(preview, tmp_path):
    """A second page far larger than the first, a page that is the page before it, sizes of four thousand million."""
    path = tmp_path / "bomb.tif"
    pages = [Image.new("1", (64, 64)), Image.new("1", (16_000, 16_000))]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="group4")
    assert preview.refusal(path, page=1) == LARGE
    entry = struct.pack("<HHIHH", 256, 4, 1, 0xFFFF, 0xFFFF)
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + struct.pack("<I", 8))
    for do in (Do.INFO, Do.PICTURE):
        assert preview.refusal(path, do) in {BROKEN, LARGE}
    small = tmp_path / "loop.tif"
    Image.new("L", (8, 8)).save(small)
    raw = bytearray(small.read_bytes())
    (first,) = struct.unpack_from("<I", raw, 4)
    (count,) = struct.unpack_from("<H", raw, first)
    struct.pack_into("<I", raw, first + 2 + 12 * count, first)  # the next page is this one
    small.write_bytes(raw)
    assert preview.ask(small, Do.INFO).values()["pages"] == 1


def test_a_pdf_that_never_ends(preview, tmp_path):
    """Forms that call themselves, streams that inflate without end, a tree of pages that is a ring."""
    path = tmp_path / "a.pdf"
    box = b"/MediaBox[0 0 600 800]"
    call = b"/Resources<</XObject<</A 5 0 R>>>>"
    form = stream(5, b"/A Do " * 2000, b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]" + call)
    path.write_bytes(with_streams(box + call + b"/Contents 4 0 R", stream(4, b"/A Do"), form))
    assert_harmless(preview, path)
    inflated = zlib.compress(b"0 0 m 600 800 l S " * (4 << 20), 1)  # 80 MB of lines
    page = box + b"/Contents 4 0 R"
    path.write_bytes(with_streams(page, stream(4, inflated, b"/Filter/FlateDecode")))
    assert path.stat().st_size < 4 << 20
    assert_harmless(preview, path)
    path.write_bytes(pdf(b"/MediaBox[0 0 1e30 1e30]"))
    assert_harmless(preview, path)
    ring = (
        pdf(box)
        .replace(b"/Kids[3 0 R]", b"/Kids[2 0 R 2 0 R 2 0 R]")
        .replace(b"/Count 1", b"/Count 3")
    )
    path.write_bytes(ring)
    assert_harmless(preview, path)
    action = b"/OpenAction<</S/JavaScript/JS(while\\(true\\){app.alert\\(1\\)})>>/AA<</O<</S/Launch/F(/bin/sh)>>>>"
    path.write_bytes(pdf(box, action))
    assert preview.ask(path).type == "image/webp"  # nothing of it was run: a white page


def assert_harmless(preview: PreviewProcess, path: Path) -> None:
    """There is a picture or a refusal, in time."""
    try:
        answer = preview.ask(path)
    except NotPreviewed:
        pass
    else:
        assert answer.type == "image/webp"


def test_a_document_that_inflates_without_end(preview, tmp_path):
    """A gigabyte in a megabyte of docx, entities that grow, a claim of a small size that is a lie."""
    path = tmp_path / "a.docx"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book,
        book.open("word/document.xml", "w") as part,
    ):
        part.write(b"<d>")
        for _ in range(128):
            part.write(b" " * (1 << 20))
        part.write(b"</d>")
    assert path.stat().st_size < 1 << 20
    assert preview.refusal(path, Do.TEXT) == LARGE
    with zipfile.ZipFile(path, "w") as book:
        grows = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
        book.writestr(
            "word/document.xml", f'<!DOCTYPE d [<!ENTITY a0 "ha">{grows}]><d><t>&a11;</t></d>'
        )
    assert preview.refusal(path, Do.TEXT) == BROKEN
    with zipfile.ZipFile(path, "w") as book:
        book.writestr(
            "word/document.xml",
            '<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]><d><t>&a;</t></d>',
        )
    assert preview.refusal(path, Do.TEXT) == BROKEN
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("word/document.xml", "<d>" + "<t>" * 200_000)
    assert preview.refusal(path, Do.TEXT) == BROKEN


def test_a_dicom_file_that_inflates_or_lies(preview, tmp_path):
    """Deflated zeros, rows times columns beyond all memory, frames that are not there, a sequence in itself."""
    data = dicoms.make(dicoms.ramp(8, 8))
    path = dicoms.write(tmp_path / "a.dcm", data)
    head = path.read_bytes()[:132]
    meta_end = 132 + 12 + struct.unpack_from("<I", path.read_bytes(), 140)[0]
    meta = path.read_bytes()[132:meta_end].replace(
        ExplicitVRLittleEndian.encode() + b"\0", DeflatedExplicitVRLittleEndian.encode()
    )
    wanted = struct.pack("<I", len(meta) - 12)
    meta = meta[:8] + wanted + meta[12:]
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
    zeros = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(700)) + deflate.flush()
    path.write_bytes(head + meta + zeros)
    assert path.stat().st_size < 8 << 20
    for do in (Do.INFO, Do.PICTURE, Do.BRIEFS):
        if do is Do.BRIEFS:
            assert_in_no_series(preview, path)
        else:
            assert preview.refusal(path, do) in {LARGE, BROKEN}
    for more in (
        {"Rows": 65535, "Columns": 65535},
        {"NumberOfFrames": "2000000000"},
        {"Rows": 60000},
    ):
        lying = dicoms.make(dicoms.ramp(8, 8), **more)
        dicoms.write(path, lying)
        assert preview.refusal(path, page=3) in {LARGE, BROKEN, KIND, "it has no such page"}
    nested = bytes.fromhex("0800401153510000ffffffff") + bytes.fromhex("feff00e0ffffffff")
    path.write_bytes(dicoms.write(path, data).read_bytes()[:meta_end] + nested * 100_000)
    assert preview.refusal(path) in {BROKEN, LARGE, KIND}
    short = dicoms.make(np.zeros((512, 512), np.uint16))
    short.PixelData = bytes(10)
    dicoms.write(path, short)
    assert preview.refusal(path) in {BROKEN, "it is compressed in a way the box does not read"}


def assert_in_no_series(preview: PreviewProcess, path: Path) -> None:
    try:
        found = preview.ask(path, Do.BRIEFS).values()
    except NotPreviewed:
        return
    assert not found[0] or not found[0]["series"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("letter.pdf", b"<html><script>alert(1)</script>"),
        ("photo.jpg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
        ("photo.png", b"%PDF-1.4\n"),
        ("scan.dcm", b"MZ\x90\0\x03\0\0\0"),
        ("report.docx", b"\xff\xd8\xff\xe0" + bytes(100)),
        ("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(5000)),
        ("photo.webp", b"RIFF\xff\xff\xff\xffWEBPVP8 " + os.urandom(500)),
        ("photo.heic", b"\0\0\0\x18ftypheic" + os.urandom(500)),
        ("letter.pdf", b"%PDF-1.7\n" + os.urandom(5000)),
        ("book.xlsx", b"PK\x05\x06" + os.urandom(500)),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_not_what_its_name_says_is_not_shown(preview, tmp_path, name, content):
    """Dressed up, cut off, or noise behind a true beginning."""
    path = tmp_path / name
    path.write_bytes(content)
    assert preview.refusal(path, Do.PICTURE) == BROKEN


def test_a_program_is_no_text_and_a_script_is_only_words(preview, tmp_path):
    """An SVG or a page is shown as its source, as data; an unknown binary not at all."""
    path = tmp_path / "drawing.svg"
    path.write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    assert preview.refusal(path, Do.PICTURE) == KIND
    assert preview.ask(path, Do.TEXT).type == "application/json"
    (tmp_path / "tool.exe").write_bytes(b"MZ\x90\0" + bytes(300))
    assert preview.refusal(tmp_path / "tool.exe", Do.INFO) == KIND


def test_a_file_that_is_two_things_is_made_anew_as_one(preview, tmp_path):
    """A picture with a page and an archive behind it: nothing behind it reaches the browser."""
    path = tmp_path / "both.png"
    Image.new("RGB", (32, 32), "red").save(path)
    with path.open("ab") as file:
        file.write(b"<html><script>alert('polyglot')</script></html>PK\x03\x04polyglot")
    answer = preview.ask(path)
    assert answer.body[:4] == b"RIFF"
    assert b"polyglot" not in answer.body
    assert len(answer.body) == 8 + struct.unpack_from("<I", answer.body, 4)[0]


def test_every_cut_of_a_good_file_is_harmless(preview, tmp_path):
    """Uploads that broke off, disks that lost their end."""
    Image.effect_noise((200, 200), 60).convert("RGB").save(tmp_path / "whole.jpg")
    dicoms.write(tmp_path / "whole.dcm", dicoms.make(dicoms.ramp(64, 64)))
    for whole in (tmp_path / "whole.jpg", tmp_path / "whole.dcm"):
        raw = whole.read_bytes()
        for part in (0, 3, 140, len(raw) // 3, len(raw) - 2):
            cut = tmp_path / f"cut{whole.suffix}"
            cut.write_bytes(raw[:part])
            assert_harmless(preview, cut)


def test_a_file_that_shrinks_while_it_is_read_is_harmless(preview, tmp_path):
    """A mapped page that is gone kills the child, not the process."""
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf(b"/MediaBox[0 0 90 90]") + b"%" * (1 << 20))
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(descriptor, 20)
        assert preview.refusal(path) == BROKEN
    finally:
        os.close(descriptor)
