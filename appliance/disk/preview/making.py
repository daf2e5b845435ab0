"""From an open file to an answer: what it is is read from its first bytes, never from its name.

Everything here runs in a child that can only compute. A file that says one thing by its name and another by
its bytes is not shown: that is how harm is dressed up.
"""

import gc
import os
from collections.abc import Callable
from enum import StrEnum
from typing import IO, Final

import numpy as np
from PIL import Image

from appliance.disk.preview import dicom, documents, pdfs, pictures
from appliance.disk.preview.protocol import Answer, Do, Wanted, pack_refusal
from appliance.disk.preview.refused import Refusal, in_json

_HEAD: Final = 4096  # bytes
_IMAGES: Final[tuple[tuple[int, bytes], ...]] = (
    (0, b"\xff\xd8\xff"),
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (0, b"II+\0"),
    (0, b"GIF8"),
    (0, b"BM"),
    (8, b"WEBP"),
)
#: Brands of ISO files that are still pictures (HEIC, AVIF).
_HEIF: Final = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif"}
_NAMED: Final = {
    "pdf": "pdf",
    **dict.fromkeys(
        ("jpg", "jpeg", "png", "webp", "tif", "tiff", "gif", "bmp", "heic", "heif"), "image"
    ),
    **dict.fromkeys(("docx", "xlsx", "pptx", "odt", "ods", "odp"), "office"),
    **dict.fromkeys(("dcm", "dicom", "ima"), "dicom"),
}


class Kind(StrEnum):
    """What a file is."""

    IMAGE = "image"
    PDF = "pdf"
    OFFICE = "office"
    DICOM = "dicom"
    TEXT = "text"


def kind_of(head: bytes, ending: str) -> Kind:
    """Return what a file is that begins with ``head`` (4 KiB of it).

    Raises:
        Refusal: none of those shown, or not what its name says.
    """
    found = _by_bytes(head)
    said = _NAMED.get(ending)
    if found is None and said == "dicom" and dicom.may_be_bare(head):
        found = Kind.DICOM
    if found is None:
        if said is not None:
            raise Refusal("broken")
        if not documents.looks_like_text(head):
            raise Refusal("kind")
        return Kind.TEXT
    if said is not None and said != found.value:
        raise Refusal("broken")
    return found


def _by_bytes(head: bytes) -> Kind | None:
    if head[128:132] == b"DICM":
        return Kind.DICOM
    if any(head[place : place + len(magic)] == magic for place, magic in _IMAGES) or (
        head[4:8] == b"ftyp" and head[8:12] in _HEIF
    ):
        return Kind.IMAGE
    if b"%PDF-" in head[:1024]:
        return Kind.PDF
    if head[:4] == b"PK\x03\x04":
        return Kind.OFFICE
    return None


def packed(wanted: Wanted, files: list[int]) -> bytes:
    """Return the frames that answer ``wanted``, or say why there is nothing to see."""
    try:
        return _made(wanted, files).pack()
    except Refusal as refusal:
        return pack_refusal(refusal.reason)
    except (MemoryError, OverflowError, Image.DecompressionBombError):
        return pack_refusal("large")
    except Exception:  # noqa: BLE001 - a decoder on foreign bytes may raise anything; its text stays here
        return pack_refusal("broken")


def _made(wanted: Wanted, files: list[int]) -> Answer:
    if wanted.do is Do.BRIEFS:
        return in_json([_brief(each) for each in files])
    with os.fdopen(files[0], "rb") as file:
        kind = kind_of(os.pread(files[0], _HEAD, 0), wanted.ending)
        return _MAKERS[kind](file, wanted)


def _brief(descriptor: int) -> dict[str, object] | None:
    try:
        if os.pread(descriptor, 4, 128) != b"DICM":
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return dicom.brief(file)
    except Exception:  # noqa: BLE001 - a damaged slice is no reason to show none
        return None


_MAKERS: Final[dict[Kind, Callable[[IO[bytes], Wanted], Answer]]] = {
    Kind.IMAGE: pictures.make,
    Kind.PDF: pdfs.make,
    Kind.OFFICE: documents.make_office,
    Kind.DICOM: dicom.make,
    Kind.TEXT: documents.make_text,
}


def warm() -> None:
    """Use every decoder once on a picture of our own: what they load late they could not load locked in."""
    pictures.warm()
    pdfs.warm()
    documents.warm()
    dicom.warm()
    np.percentile(np.zeros(4), [1, 99])
    gc.collect()
    gc.freeze()  # children share these pages for as long as nobody counts their objects
