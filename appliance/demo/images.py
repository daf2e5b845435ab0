"""Scanned pages and medical images of the demonstration: pixels drawn here, of nobody."""

import io
import random
import textwrap
from datetime import date
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import reportlab
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from appliance.demo import words
from appliance.demo.words import Patient, french

PAGE: Final = (744, 1052)  # A4 at 90 dots per inch
BACKGROUNDS: Final = 10

CR_STORAGE: Final = UID("1.2.840.10008.5.1.4.1.1.1")
CT_STORAGE: Final = UID("1.2.840.10008.5.1.4.1.1.2")
US_STORAGE: Final = UID("1.2.840.10008.5.1.4.1.1.6.1")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # The one inside reportlab: it has French letters (Pillow's own has none), and it is always there.
    return ImageFont.truetype(str(Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"), size)


@cache
def logo() -> bytes:
    """The letterhead's picture, a JPEG of a few KB."""
    picture = Image.new("RGB", (220, 220), (244, 248, 252))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((20, 20, 200, 200), outline=(38, 98, 156), width=14)
    for angle in range(0, 360, 45):
        draw.pieslice((40, 40, 180, 180), angle, angle + 18, fill=(86, 152, 206))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


@cache
def _background(number: int) -> Image.Image:
    """An old letter as a scanner sees it: paper noise, a shadow at the fold, lines of text."""
    rng = np.random.default_rng(1_000 + number)
    width, height = PAGE
    paper = rng.normal(236, 3.0, (height, width))
    paper -= 14 * np.exp(-(((np.arange(height) - height * 0.49) / 9) ** 2))[:, None]
    page = Image.fromarray(np.clip(paper, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(page)
    own = random.Random(number)  # noqa: S311 - a picture, not a secret
    draw.text(
        (70, 60), own.choice(("Centre hospitalier fictif", "Clinique de l'Écluse")), 40, _font(24)
    )
    for line in range(24):
        text = " ".join((own.choice(words.EXAMINATION), own.choice(words.CONCLUSIONS)))
        draw.text(
            (70, 330 + line * 26),
            textwrap.shorten(text, own.randint(48, 72), placeholder=""),
            own.randint(45, 90),
            _font(15),
        )
    draw.text((70, PAGE[1] - 40), words.GENERATED, 120, _font(12))
    return page.rotate(own.uniform(-0.6, 0.6), fillcolor=232)


def scan(rng: random.Random, patient: Patient | None, day: date, reference: str) -> bytes:
    """A scanned page as a JPEG of about 60 KB."""
    page = _background(rng.randrange(BACKGROUNDS)).copy()
    draw = ImageDraw.Draw(page)
    x = 70 + rng.randint(-6, 6)
    if patient is not None:
        draw.text((x, 130), f"{patient.title} {patient.name}", 30, _font(20))
        draw.text((x, 160), f"né(e) le {french(patient.born)}", 45, _font(16))
    draw.text((x, 200), f"Le {french(day)} - dossier {reference}", 45, _font(16))
    draw.text((x, 240), rng.choice(words.CONCLUSIONS), 50, _font(15))
    draw.text((x, 270), rng.choice(words.EXAMINATION), 50, _font(15))
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=rng.randint(52, 60), dpi=(90, 90))
    return buffer.getvalue()


def uid(rng: random.Random) -> UID:
    """A unique identifier under the root kept for UUIDs. Source: DICOM PS3.5 annex B.2."""
    return UID(f"2.25.{rng.getrandbits(122)}")


@cache
def _thorax(size: int) -> NDArray[np.float64]:
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = np.exp(-((x / 0.9) ** 8) - ((y - 0.2) / 1.25) ** 8) * 1900
    lungs = np.zeros_like(body)
    for side in (-0.42, 0.42):
        lungs += np.exp(-((((x - side) / 0.3) ** 2 + ((y + 0.02) / 0.62) ** 2) ** 3))
    body -= 1250 * lungs
    body += 170 * lungs * np.maximum(0, np.cos((y + 0.35 * x**2) * 30)) ** 2  # ribs
    body += 600 * np.exp(-((x / 0.09) ** 4))  # spine
    body += 500 * np.exp(-((((x - 0.14) / 0.3) ** 2 + ((y - 0.25) / 0.28) ** 2) ** 2))  # heart
    return np.asarray(body)


@cache
def _fan(height: int, width: int) -> NDArray[np.float64]:
    y, x = np.mgrid[0 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.asarray((np.abs(x) < y * 0.8 + 0.08) * (0.35 + 0.4 * np.sin(9 * y + 2 * x) ** 2))


def chest_x_ray(rng: random.Random, patient: Patient, day: date) -> bytes:
    """A computed radiography of 400×400 pixels of 12 bits (DICOM CR, about 320 KB)."""
    size = 400
    noise = np.random.default_rng(rng.getrandbits(64)).normal(0, 12, (size, size))
    pixels = np.clip(_thorax(size) * rng.uniform(0.9, 1.1) + 600 + noise, 0, 4095)
    made = _dicom(patient, day, CR_STORAGE, "CR", "Radiographie du thorax de face", rng)
    made.BodyPartExamined = "CHEST"
    made.ViewPosition = "PA"
    return _with_pixels(made, pixels.astype(np.uint16), 12)


def ultrasound(rng: random.Random, patient: Patient, day: date) -> bytes:
    """An ultrasound of 512×384 pixels of 8 bits (DICOM US, about 197 KB)."""
    height, width = 384, 512
    speckle = np.random.default_rng(rng.getrandbits(64)).rayleigh(70, (height, width))
    pixels = np.clip(_fan(height, width) * speckle * 1.6, 0, 255)
    made = _dicom(patient, day, US_STORAGE, "US", "Échographie abdominale", rng)
    return _with_pixels(made, pixels.astype(np.uint8), 8)


def ct_slice(seed: int, patient: Patient, day: date, number: int) -> bytes:
    """Slice ``number`` (0 or more) of a scanner series, 160×160 pixels (DICOM CT, about 52 KB).

    Slices of the same ``seed`` are one series: they share study, series and frame of reference.
    """
    size = 160
    whole = random.Random(seed)  # noqa: S311 - a picture, not a secret
    study, series, frame = uid(whole), uid(whole), uid(whole)
    rng = random.Random(seed + number + 1)  # noqa: S311 - a picture, not a secret
    noise = np.random.default_rng(rng.getrandbits(64)).normal(0, 9, (size, size))
    pixels = np.clip(_thorax(size) * (0.6 + number / 16) + noise, 0, 4095)
    made = _dicom(patient, day, CT_STORAGE, "CT", "Scanner thoracique", rng)
    made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = study, series, frame
    made.InstanceNumber = number + 1
    made.ImagePositionPatient = [-160.0, -160.0, number * 5.0]
    made.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    made.PixelSpacing = [2.0, 2.0]
    made.SliceThickness = 5.0
    made.RescaleIntercept, made.RescaleSlope = -1024.0, 1.0
    return _with_pixels(made, pixels.astype(np.uint16), 12)


def _dicom(
    patient: Patient, day: date, storage: UID, modality: str, label: str, rng: random.Random
) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = storage
    meta.MediaStorageSOPInstanceUID = uid(rng)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID("2.25.302043790172249692526321623266752743501")
    made = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = storage, meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID = uid(rng), uid(rng)
    made.StudyDate = made.SeriesDate = made.ContentDate = f"{day:%Y%m%d}"
    made.StudyTime = made.ContentTime = "093000"
    made.Modality = modality
    made.Manufacturer = "Fictif"
    made.InstitutionName = words.PRACTICE
    made.ReferringPhysicianName = "GÉRAULT^Hélène"
    made.StudyDescription = label
    made.ImageComments = words.GENERATED
    made.PatientName = f"{patient.surname}^{patient.first_name}"
    made.PatientID = f"DEMO{patient.number:06}"
    made.PatientBirthDate = f"{patient.born:%Y%m%d}"
    made.PatientSex = "F" if patient.woman else "M"
    made.StudyID = made.AccessionNumber = ""
    made.SeriesNumber = made.InstanceNumber = 1
    return made


def _with_pixels(made: FileDataset, pixels: NDArray[np.generic], bits: int) -> bytes:
    made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.BitsAllocated = 8 if bits <= 8 else 16
    made.BitsStored, made.HighBit = bits, bits - 1
    made.PixelRepresentation = 0
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OB" if bits <= 8 else "OW"
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
