"""Which files have a text that is searched: decided by the name alone, so that a scan opens none."""

from typing import Final

from appliance.db.practice import Searched
from appliance.units import MIB

#: Larger files are not read for their text: a scanned book has none, an archive is no document.
LARGEST: Final = 64 * MIB
LARGEST_PLAIN: Final = 4 * MIB
PLAIN: Final = frozenset({"txt", "md", "csv", "tsv", "log", "hl7", "hpr", "xml", "json", "rtf"})
OFFICE: Final = frozenset({"docx", "xlsx", "pptx", "odt", "ods", "odp"})
PDF: Final = frozenset({"pdf"})
DICOM: Final = frozenset({"dcm", "dicom"})


def ending(name: bytes) -> str:
    """Return what stands behind the last point of a name, in small letters; "" when nothing does."""
    _, point, last = name.rpartition(b".")
    return last.decode("latin-1").lower() if point else ""


def may_have_text(name: bytes, size: int, wanted: Searched) -> bool:
    """Return whether a file of this name is worth being read for its text, as the practice chose."""
    if size == 0 or name.startswith((b"~$", b".~lock")):
        return False
    end = ending(name)
    if end in DICOM:
        return wanted.dicom and size <= LARGEST
    if not wanted.texts:
        return False
    if end in PLAIN:
        return size <= LARGEST_PLAIN
    return (end in PDF or end in OFFICE) and size <= LARGEST
