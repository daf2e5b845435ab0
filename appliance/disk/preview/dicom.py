"""DICOM: a frame as a picture through a window, its grey values, where a slice lies in its series, its fields.

For looking at, not for a diagnosis: pictures are made smaller and written with losses.
"""

import gzip
import hashlib
import io
import struct
import warnings
from dataclasses import dataclass
from typing import IO, Any, Final

import gdcm  # noqa: F401 - the decoder of lossless JPEG and JPEG-LS: pydicom finds it once it is loaded
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from appliance.disk.preview.fields import CT_WINDOWS, FIELDS, LONGEST_VALUE, OF_FILE, WHOLE
from appliance.disk.preview.pictures import in_webp
from appliance.disk.preview.protocol import PIXELS, Answer, Do, Wanted
from appliance.disk.preview.refused import Refusal, in_json
from appliance.units import MIB

#: Pixels of one frame; mammography has some 20 million.
MOST_PIXELS: Final = 64_000_000
MOST_FRAMES: Final = 20_000
LARGEST: Final = 1024 * MIB
MOST_WINDOWS: Final = 6
#: Before the grey values: columns, rows, lowest value, step between two of them, 1 when dark is high.
PIXELS_HEAD: Final = struct.Struct("<HHddB3x")
_SERIES_TAGS: Final = (
    "SeriesInstanceUID",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "NumberOfFrames",
    "SOPInstanceUID",
)
#: Samples a colour file is made of, and that are no grey values.
_COLOURS: Final = 3
Grey = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Window:
    name: str
    centre: float
    width: float

    def said(self) -> dict[str, object]:
        return {"name": self.name, "centre": self.centre, "width": self.width}


def may_be_bare(head: bytes) -> bool:
    """Return whether ``head`` begins with an element of group 8, as files of the years before the preamble do."""
    return head[:2] == b"\x08\x00" and head[2:4] < b"\x20\x00"


def make(file: IO[bytes], wanted: Wanted) -> Answer:
    """Answer about a DICOM file.

    Raises:
        Refusal: no picture is in it, it is too large, or compressed in a way nobody here reads.
    """
    warnings.simplefilter("ignore")  # what is not to the letter is shown all the same
    is_words = wanted.do in {Do.INFO, Do.FIELDS}
    if file.seek(0, 2) > LARGEST:
        raise Refusal("large")
    file.seek(0)
    data = pydicom.dcmread(file, stop_before_pixels=is_words, force=True)
    if wanted.do is Do.FIELDS:
        return in_json(_fields(data))
    if "Rows" not in data or "Columns" not in data:
        raise Refusal("kind")
    rows, columns, frames = int(data.Rows), int(data.Columns), _frames(data)
    if not 0 < rows * columns <= MOST_PIXELS:
        raise Refusal("large")
    if wanted.do is Do.INFO:
        return in_json(_info(data, rows, columns, frames))
    if wanted.page >= frames:
        raise Refusal("page")
    if wanted.do is Do.PICTURE:
        return _picture(data, wanted)
    if wanted.do is Do.PIXELS:
        return _pixels(data, wanted)
    raise Refusal("kind")


def brief(file: IO[bytes]) -> dict[str, object]:
    """Return where a slice belongs: its series, hashed, and its place along it."""
    warnings.simplefilter("ignore")
    data = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_SERIES_TAGS))
    series = str(data.get("SeriesInstanceUID", ""))
    return {
        "series": hashlib.blake2s(series.encode(), digest_size=12).hexdigest() if series else "",
        "number": _number(data.get("InstanceNumber")),
        "place": _place(data),
        "frames": _frames(data),
    }


# --- words ----------------------------------------------------------------------------------


def _info(data: Dataset, rows: int, columns: int, frames: int) -> dict[str, object]:
    modality = str(data.get("Modality", ""))[:16]
    is_colour = int(data.get("SamplesPerPixel", 1)) >= _COLOURS or "PaletteColor" in str(
        data.get("PhotometricInterpretation", "")
    ).title().replace(" ", "")
    windows: list[_Window] = []
    if not is_colour:
        windows = _own_windows(data, 0)
        windows += [_Window(*each) for each in CT_WINDOWS] if modality == "CT" else []
    return {
        "kind": "dicom",
        "pages": frames,
        "width": columns,
        "height": rows,
        "modality": modality,
        "is_colour": is_colour,
        "windows": [each.said() for each in windows],
        "whole": WHOLE,
    }


def _fields(data: Dataset) -> list[dict[str, str]]:
    found = []
    for keyword, label in FIELDS.items():
        value = data.get(keyword)
        text = "" if value is None else _words(keyword, value)
        if text:
            found.append({"label": label, "value": text[:LONGEST_VALUE]})
    return found


def _words(keyword: str, value: Any) -> str:  # noqa: ANN401 - whatever a field holds
    text = str(value).strip()
    if keyword.endswith("Name"):
        return " ".join(part for part in text.partition("=")[0].replace("^", " ").split() if part)
    if keyword.endswith("Date") and len(text) == 8 and text.isdigit():
        return f"{text[6:]}/{text[4:6]}/{text[:4]}"
    if keyword.endswith("Time") and text[:4].isdigit():
        return f"{text[:2]}:{text[2:4]}"
    if isinstance(value, pydicom.multival.MultiValue):
        return " × ".join(str(each) for each in value)
    return text


def _frames(data: Dataset) -> int:
    found = _number(data.get("NumberOfFrames"))
    return min(MOST_FRAMES, max(1, int(found or 1)))


def _number(value: Any) -> float | None:  # noqa: ANN401 - whatever a field holds
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _numbers(value: Any) -> list[float]:  # noqa: ANN401 - one number or several
    several = value if isinstance(value, pydicom.multival.MultiValue | list | tuple) else [value]
    return [number for number in map(_number, several) if number is not None]


def _place(data: Dataset) -> float | None:
    """Return how far the slice lies along the direction of its series, mm. Source: PS3.3 C.7.6.2.1.1."""
    position = _numbers(data.get("ImagePositionPatient"))
    direction = _numbers(data.get("ImageOrientationPatient"))
    if len(position) != 3 or len(direction) != 6:
        return None
    across = np.cross(direction[:3], direction[3:])
    return round(float(np.dot(across, position)), 4)


# --- pictures -------------------------------------------------------------------------------


def _functional(data: Dataset, frame: int, name: str) -> Dataset:
    """Return the macro ``name`` of a frame, or the data set itself. Source: PS3.3 C.7.6.16."""
    per_frame = data.get("PerFrameFunctionalGroupsSequence") or []
    groups = [per_frame[frame]] if frame < len(per_frame) else []
    for group in [*groups, *(data.get("SharedFunctionalGroupsSequence") or [])]:
        if group.get(name):
            found: Dataset = group[name].value[0]
            return found
    return data


def _own_windows(data: Dataset, frame: int) -> list[_Window]:
    held = _functional(data, frame, "FrameVOILUTSequence")
    centres, widths = _numbers(held.get("WindowCenter")), _numbers(held.get("WindowWidth"))
    pairs = [each for each in zip(centres, widths, strict=False) if each[1] > 0]
    return [
        _Window(OF_FILE, centre, width)
        for centre, width in list(dict.fromkeys(pairs))[:MOST_WINDOWS]
    ]


def _array(data: Dataset, frame: int) -> NDArray[Any]:
    try:
        return pixel_array(data, index=frame)
    except (NotImplementedError, RuntimeError) as error:
        raise Refusal("codec") from error
    except AttributeError as error:
        raise Refusal("kind") from error  # no pixel data: a report, a plan


def _picture(data: Dataset, wanted: Wanted) -> Answer:
    found = _array(data, wanted.page)
    kind = str(data.get("PhotometricInterpretation", ""))
    if kind == "PALETTE COLOR":
        found = apply_color_lut(found, data)
        if found.dtype != np.uint8:
            found = (found >> 8).astype(np.uint8)
    if found.ndim == _COLOURS:
        if found.dtype != np.uint8:
            found = (found >> max(0, int(data.get("BitsStored", 8)) - 8)).astype(np.uint8)
        return in_webp(Image.fromarray(np.ascontiguousarray(found[..., :3])), wanted.side)
    is_table = "VOILUTSequence" in data and wanted.width is None and not data.get("WindowCenter")
    if is_table:
        found = apply_voi_lut(apply_modality_lut(found, data), data)
        grey = _smaller(found, wanted.side)
    else:
        grey = _grey(data, found, wanted)
    low, high = _range(data, grey, wanted, is_table=is_table)
    seen = np.clip((grey - low) * (255.0 / max(1e-9, high - low)), 0, 255).astype(np.uint8)
    if kind == "MONOCHROME1":
        seen = 255 - seen
    return in_webp(Image.fromarray(seen), wanted.side)


def _grey(data: Dataset, found: NDArray[Any], wanted: Wanted) -> Grey:
    """Return a frame in its real units, already made smaller: averages and a straight line change places."""
    if found.ndim != 2:
        raise Refusal("kind")
    if "ModalityLUTSequence" in data:
        return _smaller(apply_modality_lut(found, data), wanted.side)
    held = _functional(data, wanted.page, "PixelValueTransformationSequence")
    slope = _number(held.get("RescaleSlope")) or 1.0
    shift = _number(held.get("RescaleIntercept")) or 0.0
    smaller = _smaller(found, wanted.side)
    return (
        smaller
        if slope == 1.0 and shift == 0.0
        else smaller * np.float32(slope) + np.float32(shift)
    )


def _smaller(found: NDArray[Any], side: int) -> Grey:
    """Return averages of squares of pixels, so that the longer side is little more than ``side``."""
    times = max(found.shape) // side
    if times < 2:
        return found.astype(np.float32)
    rows, columns = (length // times * times for length in found.shape)
    total = np.zeros((rows // times, columns // times), np.float32)
    for down in range(times):
        for right in range(times):
            total += found[down:rows:times, right:columns:times]
    total /= times * times
    return total


def _range(data: Dataset, grey: Grey, wanted: Wanted, *, is_table: bool) -> tuple[float, float]:
    if wanted.centre is not None and wanted.width is not None and wanted.width > 0:
        return wanted.centre - wanted.width / 2, wanted.centre + wanted.width / 2
    own = [] if is_table else _own_windows(data, wanted.page)
    if own and wanted.width is None:
        return own[0].centre - own[0].width / 2, own[0].centre + own[0].width / 2
    if is_table or wanted.width is not None:  # a width of 0: all there is
        return float(grey.min()), float(grey.max())
    low, high = np.percentile(grey, [0.5, 99.5])
    return float(low), float(high)


def _pixels(data: Dataset, wanted: Wanted) -> Answer:
    """Return grey values for the browser to window: ``PIXELS_HEAD``, then rows of unsigned 16 bit, gzip."""
    grey = _grey(data, _array(data, wanted.page), wanted)
    low, high = float(grey.min()), float(grey.max())
    step = max(1e-9, (high - low) / 65535)
    values = np.round((grey - low) / step).astype("<u2")
    is_dark = str(data.get("PhotometricInterpretation", "")) == "MONOCHROME1"
    head = PIXELS_HEAD.pack(grey.shape[1], grey.shape[0], low, step, is_dark)
    return Answer(PIXELS, gzip.compress(head + values.tobytes(), 1, mtime=0))


def warm() -> None:
    """Read a file of each usual encoding, so that every decoder is there."""
    for syntax in (ExplicitVRLittleEndian, RLELossless):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = UID("1.2.3")
        data.SOPClassUID = SecondaryCaptureImageStorage
        data.PatientName, data.SpecificCharacterSet = "É^a", ["ISO_IR 100", "ISO 2022 IR 87"]
        data.StudyDate, data.InstanceNumber, data.SeriesInstanceUID = "20260101", 1, "1.2"
        data.PixelSpacing, data.WindowCenter, data.WindowWidth = [0.1, 0.1], 10, 10
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 1], [1, 0, 0, 0, 1, 0]
        data.PhotometricInterpretation, data.SamplesPerPixel = "MONOCHROME2", 1
        data.Rows = data.Columns = 4
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.PixelData = bytes(32)
        if syntax is RLELossless:
            data.compress(RLELossless)
        written = io.BytesIO()
        pydicom.dcmwrite(written, data, enforce_file_format=True)
        for do in (Do.INFO, Do.FIELDS, Do.PICTURE, Do.PIXELS):
            written.seek(0)
            make(written, Wanted(do, side=32))
        written.seek(0)
        brief(written)
    for name in ("gdcm", "pillow"):
        __import__(f"pydicom.pixels.decoders.{name}")
