"""Names that every system can unpack, Windows included."""

import re
import unicodedata
from typing import Final

#: Source: Microsoft, "Naming Files, Paths, and Namespaces".
_FORBIDDEN: Final = re.compile('[<>:"/\\\\|?*\x00-\x1f\x7f]')
_RESERVED: Final = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)", re.IGNORECASE
)
_LONGEST: Final = 200  # characters; Windows takes 255 UTF-16 units, Linux 255 bytes


def safe_name(name: bytes) -> str:
    """Return one part of a path as every system takes it; a name that is not UTF-8 is read as Latin-1."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        text = name.decode("latin-1")
    text = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", text)).rstrip(". ")
    if not text:
        return "_"
    if _RESERVED.match(text):
        text = "_" + text
    return shortened(text, _LONGEST)


def shortened(text: str, longest: int) -> str:
    """Return ``text`` in at most ``longest`` characters and bytes below 240, its extension kept."""
    stem, dot, extension = text.rpartition(".")
    if not stem or len(extension) > 16:
        stem, dot, extension = text, "", ""
    end = dot + extension
    while stem and (
        len(stem + end) > longest or len((stem + end).encode("utf-8", "replace")) > 240
    ):
        stem = stem[:-1]
    return stem + end


class SafePaths:
    """Gives every path one safe path, and no two the same one, even where case does not count."""

    def __init__(self) -> None:
        self._given: dict[bytes, str] = {b"": ""}
        self._taken: set[str] = set()

    def is_top(self, path: bytes) -> None:
        """Take ``path`` for a top: its own name is no part of the safe paths below it."""
        self._given[path] = ""

    def of(self, path: bytes) -> str:
        """Return the safe path of ``path``; the same one when asked again."""
        known = self._given.get(path)
        if known is not None:
            return known
        missing: list[bytes] = []
        here = path
        while here not in self._given:
            missing.append(here)
            here = here.rpartition(b"/")[0]
        for each in reversed(missing):
            parent, _, name = each.rpartition(b"/")
            self._given[each] = self._new(self._given[parent], safe_name(name))
        return self._given[path]

    def _new(self, parent: str, name: str) -> str:
        above = f"{parent}/" if parent else ""
        candidate, number = above + name, 1
        while candidate.casefold() in self._taken:
            number += 1
            stem, dot, extension = name.rpartition(".")
            if not stem:
                stem, dot, extension = name, "", ""
            candidate = f"{above}{stem} ({number}){dot}{extension}"
        self._taken.add(candidate.casefold())
        return candidate
