"""PDF, office and text documents of the demonstration, as bytes that depend on their arguments only."""

import io
import random
import textwrap
import zipfile
from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import Final
from xml.sax.saxutils import escape

from docx import Document
from docx.shared import Pt
from reportlab import rl_config
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from appliance.demo import images, words
from appliance.demo.words import Patient, french

WIDTH, HEIGHT = 595, 842  # A4 in points
#: A zip holds times; ours must not depend on the clock.
ZIP_TIME: Final = (2026, 1, 5, 12, 0, 0)
PLACES: Final = ("NOM", "NAISSANCE", "DATE", "MEDECIN", "TEXTE", "REFERENCE")

rl_config.useA85 = 0  # a JPEG inside a PDF stays as it is


@cache
def _logo() -> ImageReader:
    return ImageReader(io.BytesIO(images.logo()))


def pdf_letter(
    *,
    patient: Patient | None,
    doctor: str,
    day: date,
    title: str,
    lines: Sequence[str],
    reference: str,
) -> bytes:
    """A one-page letter under the practice's letterhead."""
    buffer = io.BytesIO()
    page = Canvas(buffer, pagesize=(WIDTH, HEIGHT), invariant=1, pageCompression=1)
    page.setTitle(title)
    page.setAuthor(doctor)
    page.drawImage(_logo(), 50, HEIGHT - 96, 56, 56)
    page.setFont("Helvetica-Bold", 14)
    page.drawString(120, HEIGHT - 60, words.PRACTICE)
    page.setFont("Helvetica", 9)
    page.drawString(120, HEIGHT - 74, f"{doctor} - 12 rue de l'Écluse, {words.TOWN}")
    page.drawString(120, HEIGHT - 87, "Téléphone 02 61 91 00 12 - RPPS 00000000000 (fictif)")
    page.line(50, HEIGHT - 104, WIDTH - 50, HEIGHT - 104)
    page.setFont("Helvetica", 10)
    page.drawRightString(WIDTH - 50, HEIGHT - 130, f"Saint-Essai-sur-Loire, le {french(day)}")
    if patient is not None:
        page.drawString(50, HEIGHT - 150, f"Concerne : {patient.title} {patient.name}")
        page.drawString(50, HEIGHT - 164, f"Né(e) le {french(patient.born)} - {patient.address}")
        page.drawString(50, HEIGHT - 178, f"NIR {patient.nir} (fictif)")
    page.setFont("Helvetica-Bold", 12)
    page.drawString(50, HEIGHT - 206, title)
    text = page.beginText(50, HEIGHT - 232)
    text.setFont("Times-Roman", 11, leading=15)
    for paragraph in lines:
        for line in textwrap.wrap(paragraph, 96) or [""]:
            text.textLine(line)
        text.textLine("")
    text.textLine(doctor)
    page.drawText(text)
    _footer(page, reference)
    page.showPage()
    page.save()
    return buffer.getvalue()


def pdf_scan(jpeg: bytes, *, title: str, reference: str) -> bytes:
    """A scanned page in a PDF, as a multifunction printer sends it."""
    buffer = io.BytesIO()
    page = Canvas(buffer, pagesize=(WIDTH, HEIGHT), invariant=1, pageCompression=1)
    page.setTitle(title)
    page.drawImage(ImageReader(io.BytesIO(jpeg)), 0, 0, WIDTH, HEIGHT)
    _footer(page, reference)
    page.showPage()
    page.save()
    return buffer.getvalue()


def _footer(page: Canvas, reference: str) -> None:
    page.setFont("Helvetica-Oblique", 7)
    page.drawCentredString(WIDTH / 2, 24, f"{words.GENERATED} Réf. {reference}")


@cache
def _letter_parts() -> tuple[tuple[str, bytes], ...]:
    """A letter made once by python-docx, with places to fill: 1 ms a document instead of 25."""
    made = Document()
    made.core_properties.author = words.PRACTICE
    made.styles["Normal"].font.name = "Calibri"
    made.styles["Normal"].font.size = Pt(11)
    made.add_heading(words.PRACTICE, 1)
    made.add_paragraph("{{MEDECIN}} - 12 rue de l'Écluse, " + words.TOWN)
    made.add_paragraph("Le {{DATE}}")
    made.add_paragraph("Concerne : {{NOM}}, né(e) le {{NAISSANCE}}")
    made.add_paragraph("{{TEXTE}}")
    made.add_paragraph(words.GENERATED + " Réf. {{REFERENCE}}")
    buffer = io.BytesIO()
    made.save(buffer)
    with zipfile.ZipFile(buffer) as archive:
        return tuple((name, archive.read(name)) for name in archive.namelist())


def docx_letter(
    *, name: str, born: str, doctor: str, day: date, lines: Sequence[str], reference: str
) -> bytes:
    """A letter for a word processor."""
    break_line = '</w:t><w:br/><w:br/><w:t xml:space="preserve">'
    values = {
        "NOM": escape(name),
        "NAISSANCE": born,
        "DATE": french(day),
        "MEDECIN": escape(doctor),
        "TEXTE": break_line.join(escape(line) for line in lines),
        "REFERENCE": reference,
    }
    parts = []
    for part, content in _letter_parts():
        filled = content
        if part == "word/document.xml":
            for place in PLACES:
                filled = filled.replace(f"{{{{{place}}}}}".encode(), values[place].encode())
        parts.append((part, filled))
    return _zip(parts)


def xlsx_sheet(name: str, rows: Sequence[Sequence[str | float]]) -> bytes:
    """A workbook of one sheet. Source: ECMA-376 part 1, the smallest set of parts that opens."""
    cells = []
    for number, row in enumerate(rows, 1):
        filled = "".join(
            f"<c><v>{value}</v></c>"
            if isinstance(value, int | float)
            else f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
            for value in row
        )
        cells.append(f'<row r="{number}">{filled}</row>')
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    office = "http://schemas.openxmlformats.org"
    main = f"{office}/spreadsheetml/2006/main"
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    relation = f"{office}/officeDocument/2006/relationships"
    texts = {
        "[Content_Types].xml": f'<Types xmlns="{office}/package/2006/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kinds}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kinds}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{office}/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{relation}/officeDocument" Target="xl/workbook.xml"/>'
        "</Relationships>",
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{relation}"><sheets>'
        f'<sheet name="{escape(name)}" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{office}/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{relation}/worksheet" Target="worksheets/sheet1.xml"/>'
        "</Relationships>",
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{"".join(cells)}'
        "</sheetData></worksheet>",
    }
    return _zip([(part, (head + text).encode()) for part, text in texts.items()])


def _zip(parts: Sequence[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for name, content in parts:
            info = zipfile.ZipInfo(name, ZIP_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def hl7_results(rng: random.Random, patient: Patient, day: date, reference: str) -> bytes:
    """Laboratory results as an HL7 v2.5 ORU^R01 message (segments end with a carriage return)."""
    when = f"{day:%Y%m%d}0930"
    sender, born = "LABO-FICTIF|SAINT-ESSAI|CABINET|MOULIN", f"{patient.born:%Y%m%d}"
    name, sex = f"{patient.surname}^{patient.first_name}", "F" if patient.woman else "M"
    segments = [
        f"MSH|^~\\&|{sender}|{when}||ORU^R01^ORU_R01|{reference}|T|2.5|||||FRA|UNICODE UTF-8",
        f"PID|1||{patient.number:06}^^^DEMO||{name}||{born}|{sex}",
        f"OBR|1|{reference}||BIO^Bilan biologique||{when}",
    ]
    for number, (test, code, unit, low, high, value) in enumerate(words.results(rng), 1):
        flag = "L" if value < low else "H" if value > high else "N"
        segments.append(
            f"OBX|{number}|NM|{code}^{test}^LN||{value}|{unit}|{low}-{high}|{flag}|||F|||{when}"
        )
    segments.append(f"NTE|1||{words.GENERATED}")
    return ("\r".join(segments) + "\r").encode()


def hprim_results(rng: random.Random, patient: Patient, day: date, reference: str) -> bytes:
    """Laboratory results as a HPRIM-Médecin text: twelve lines of heading, then the report, cp1252."""
    lines = [
        reference,
        patient.surname,
        patient.first_name,
        patient.address.split(",")[0],
        "",
        words.TOWN,
        french(patient.born),
        patient.nir,
        reference,
        french(day),
        "LABOFICTIF",
        "CABINETMOULIN",
        "",
        words.GENERATED,
        "",
        *words.result_lines(words.results(rng)),
        "****FIN****",
    ]
    return ("\r\n".join(lines) + "\r\n").encode("cp1252", "replace")


def note(
    rng: random.Random, patient: Patient, days: Sequence[date], encoding: str = "utf-8"
) -> bytes:
    """A patient's note file: one line a consultation."""
    lines = [f"{patient.name} - notes ({words.GENERATED})"]
    lines += [words.note_line(rng, day) for day in sorted(days)]
    return ("\r\n".join(lines) + "\r\n").encode(encoding, "replace")
