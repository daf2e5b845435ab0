"""What a correspondent's link may be and do: always an end, a kind of files, and no programs (domain.md SEC-13)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from appliance.language import mark
from appliance.units import MIB

GIVE: Final = "give"  # a correspondent takes a file or a folder
ASK: Final = "ask"  # a correspondent sends files, which wait until somebody accepts them
KINDS: Final = frozenset({GIVE, ASK})
DEFAULT_DAYS: Final = 7
LONGEST_DAYS: Final = 90
LONGEST_LABEL: Final = 200
#: Wrong passwords: the wait of ``policy.throttle`` after each, and closed for good after ten.

#: What may be asked for, by the ends of names. Nothing that runs on a computer is among them.
FILE_KINDS: Final[dict[str, frozenset[str]]] = {
    "documents": frozenset(
        ["pdf", "docx", "odt", "rtf", "txt", "csv", "xlsx", "ods", "hl7", "xml"]
    ),
    "pictures": frozenset(["jpg", "jpeg", "png", "tif", "tiff", "heic", "webp", "bmp", "gif"]),
    "dicom": frozenset({"dcm", "dicom", "ima", ""}),  # series often have names without an end
}
KIND_NAMES: Final[dict[str, str]] = {
    "documents": mark("documents (PDF, Word, text)"),
    "pictures": mark("pictures"),
    "dicom": mark("medical images (DICOM)"),
}
LARGEST_FILE: Final = 4096 * MIB
LARGEST_SUM: Final = 20_480 * MIB
MOST_FILES: Final = 5_000
#: Bytes of the beginning of a file by which it is judged.
HEAD: Final = 1024
_ZIPPED: Final = frozenset({"docx", "odt", "xlsx", "ods"})
_BEGINNINGS: Final[dict[str, tuple[bytes, ...]]] = {
    "jpg": (b"\xff\xd8\xff",),
    "jpeg": (b"\xff\xd8\xff",),
    "png": (b"\x89PNG\r\n\x1a\n",),
    "tif": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "gif": (b"GIF87a", b"GIF89a"),
    "bmp": (b"BM",),
    "webp": (b"RIFF",),
    "rtf": (b"{\\rtf",),
    **dict.fromkeys(_ZIPPED, (b"PK\x03\x04",)),
}
_PROGRAMS: Final = (b"MZ", b"\x7fELF", b"#!", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe")
_TEXTS: Final = frozenset({"txt", "csv", "hl7", "xml"})


@dataclass(frozen=True, slots=True)
class Rules:
    """What an «ask» takes."""

    kinds: frozenset[str]  # of FILE_KINDS
    file_bytes: int = LARGEST_FILE
    sum_bytes: int = LARGEST_SUM
    files: int = MOST_FILES

    def stored(self) -> dict[str, Any]:
        """Return what the database holds."""
        return {
            "kinds": sorted(self.kinds),
            "file_bytes": self.file_bytes,
            "sum_bytes": self.sum_bytes,
            "files": self.files,
        }

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Rules":
        """Return the rules in ``stored``; what is not there is as strict as can be."""
        kinds = frozenset(stored.get("kinds", ())) & frozenset(FILE_KINDS)
        return cls(
            kinds,
            min(int(stored.get("file_bytes", LARGEST_FILE)), LARGEST_FILE),
            min(int(stored.get("sum_bytes", LARGEST_SUM)), LARGEST_SUM),
            min(int(stored.get("files", MOST_FILES)), MOST_FILES),
        )

    @property
    def endings(self) -> frozenset[str]:
        """The ends of names that are taken, small letters without the point."""
        return frozenset().union(*(FILE_KINDS[each] for each in self.kinds))


def is_open(
    *,
    created_at: datetime,
    ends_at: datetime,
    revoked_at: datetime | None,
    uses: int,
    most_uses: int | None,
    now: datetime,
    goes_on: bool = False,
) -> bool:
    """Return whether a link is worth anything at ``now``; the rights of its maker are asked for besides.

    Args:
        created_at: when it was made; a link of the future is none: the clock went back.
        ends_at: the first moment that is outside.
        revoked_at: when it was withdrawn.
        uses: downloads or files received so far.
        most_uses: how many there may be; None: any number.
        now: aware UTC.
        goes_on: a download that began is asked for the rest of its bytes: it was counted already.
    """
    if revoked_at is not None or not created_at - timedelta(minutes=5) <= now < ends_at:
        return False
    if now - created_at > timedelta(days=LONGEST_DAYS):
        return False
    return most_uses is None or uses < most_uses or (goes_on and uses == most_uses)


def why_name_not_taken(name: str, size: int, rules: Rules) -> str | None:
    """Return why a file is refused by its name and size, before it is sent; None: it may come."""
    ending = _ending(name)
    if ending not in rules.endings:
        return mark("this kind of file was not asked for")
    if size > rules.file_bytes:
        return mark("it is too large")
    return None


def why_content_not_taken(name: str, head: bytes) -> str | None:
    """Return why a file is refused by its first HEAD bytes; None: it may be laid before somebody.

    A name that says one thing over a content that says another is refused, and a program whatever its name.
    """
    if head.startswith(_PROGRAMS):
        return mark("it is a program")
    ending = _ending(name)
    if ending == "pdf" and b"%PDF-" not in head[:HEAD]:
        return mark("its content is not what its name says")
    if ending in _BEGINNINGS and not head.startswith(_BEGINNINGS[ending]):
        return mark("its content is not what its name says")
    if ending == "webp" and head[8:12] != b"WEBP":
        return mark("its content is not what its name says")
    if ending == "heic" and head[4:8] != b"ftyp":
        return mark("its content is not what its name says")
    if ending in FILE_KINDS["dicom"] and head[128:132] != b"DICM":
        return mark("its content is not what its name says")
    if ending in _TEXTS and b"\0" in head:
        return mark("its content is not what its name says")
    return None


def _ending(name: str) -> str:
    stem, point, ending = name.rpartition("/")[2].rpartition(".")
    # «1.2.840.10008.5.1»: an identifier of DICOM, not an end.
    return ending.casefold() if point and stem and not ending.isdecimal() else ""
