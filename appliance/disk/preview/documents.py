"""Texts, and the words of office documents; nothing of their look, macros or pictures.

An office document is a zip of XML. It is read a piece at a time up to a bound, whatever sizes it claims, by a
parser that refuses document types: no entity grows, none points outside.
"""

import io
import os
import zipfile
from typing import IO, Final
from xml.parsers import expat

from appliance.disk.preview.protocol import Answer, Do, Wanted
from appliance.disk.preview.refused import Refusal, in_json
from appliance.units import KIB, MIB

#: Inflated bytes read of one document.
MOST_INFLATED: Final = 96 * MIB
MOST_PARTS: Final = 20_000  # entries of the zip
_PIECE: Final = 64 * KIB
_BOMS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
#: Elements that end a line, and those between which there is a gap; local names of the three families.
_LINES: Final = {"p", "br", "row", "h", "table-row", "line-break", "si", "list-item", "page"}
_GAPS: Final = {"tab", "tc", "c", "table-cell"}
_LONGEST_NUMBER: Final = 9
#: Local names whose characters are the document's: of OOXML; everything is, in OpenDocument.
_WORDS: Final = {"t", "v"}
_SHARED: Final = "xl/sharedStrings.xml"


class _Enough(Exception):
    """As many letters as were asked for."""


def looks_like_text(head: bytes) -> bool:
    """Return whether a file that begins so is one of letters."""
    if any(head.startswith(bom) for bom, _ in _BOMS):
        return True
    return not any(each < 32 and each not in b"\t\n\v\f\r\x1b" for each in head)


def make_text(file: IO[bytes], wanted: Wanted) -> Answer:
    """Answer with a text, or its beginning; in the code it seems to be written in."""
    raw = os.pread(file.fileno(), wanted.letters * 2 + 4, 0)
    size = os.fstat(file.fileno()).st_size
    if wanted.do not in {Do.INFO, Do.TEXT}:
        raise Refusal("kind")
    code = next((code for bom, code in _BOMS if raw.startswith(bom)), None)
    text = raw.decode(code or "utf-8", "replace")
    if code is None and text.count("\ufffd") > 1 + len(text) // 1000:
        text = raw.decode("cp1252", "replace")  # what Windows wrote before, and still does
    return in_json(
        {
            "kind": "text",
            "pages": 1,
            "text": text[: wanted.letters],
            "is_cut": size > len(raw) or len(text) > wanted.letters,
        }
    )


def make_office(file: IO[bytes], wanted: Wanted) -> Answer:
    """Answer with the words of a docx, xlsx, pptx, odt, ods or odp.

    Raises:
        Refusal: it is none of them, or larger inside than is read safely.
    """
    if wanted.do not in {Do.INFO, Do.TEXT}:
        raise Refusal("kind")
    with zipfile.ZipFile(file) as held:
        names = held.namelist()
        if len(names) > MOST_PARTS:
            raise Refusal("large")
        chosen = _parts(names)
        if not chosen:
            raise Refusal("kind")
        reader = _Reader(wanted.letters)
        try:
            for name, is_all in chosen:
                with held.open(name) as part:
                    reader.read(part, is_all=is_all, is_shared=name == _SHARED)
        except _Enough:
            pass
        except RuntimeError as error:  # zipfile's word for an encrypted one
            raise Refusal("locked") from error
    text = "".join(reader.parts).strip()
    is_cut = reader.left <= 0
    return in_json({"kind": "office", "pages": 1, "text": text, "is_cut": is_cut})


def _parts(names: list[str]) -> list[tuple[str, bool]]:
    """Return the parts that hold words, each with whether all its characters do."""
    found = set(names)
    if "word/document.xml" in found:
        return [("word/document.xml", False)]
    if "xl/workbook.xml" in found:
        sheets = [each for each in names if each.startswith("xl/worksheets/sheet")]
        shared = [_SHARED] if _SHARED in found else []
        return [(each, False) for each in shared + _ordered(sheets)]
    slides = [each for each in names if each.startswith("ppt/slides/slide")]
    if slides:
        return [(each, False) for each in _ordered(slides)]
    if "content.xml" in found and "mimetype" in found:
        return [("content.xml", True)]
    return []


def _ordered(names: list[str]) -> list[str]:
    return sorted(names, key=lambda each: (len(each), each))


class _Reader:
    """Gathers words from parts of one document, within bounds for all of them together."""

    def __init__(self, letters: int) -> None:
        self.parts: list[str] = []
        self.left = letters
        self._inflated = 0
        self._is_word = 0
        self._is_all = False
        #: A sheet's cells name their words by number: they lie together in a part of their own.
        self._shared: list[str] = []
        self._gathers = False
        self._is_number = False

    def read(self, part: IO[bytes], *, is_all: bool, is_shared: bool = False) -> None:
        self._is_word, self._is_all, self._gathers = 0, is_all, is_shared
        parser = expat.ParserCreate(namespace_separator="}")
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._letters
        parser.StartDoctypeDeclHandler = _no_doctype
        parser.buffer_text = True
        while piece := part.read(_PIECE):
            self._inflated += len(piece)
            if self._inflated > MOST_INFLATED:
                raise Refusal("large")
            parser.Parse(piece, False)
        parser.Parse(b"", True)

    def _begin(self, name: str, facts: dict[str, str]) -> None:
        local = name.rpartition("}")[2]
        if local in _WORDS:
            self._is_word += 1
        if self._gathers:
            if local == "si":
                self._shared.append("")
            return
        if local == "c":
            self._is_number = facts.get("t") == "s"
        if local in _GAPS:
            self._add("\t")
        elif local == "br":
            self._add("\n")

    def _end(self, name: str) -> None:
        local = name.rpartition("}")[2]
        if local in _WORDS:
            self._is_word -= 1
        if local in _LINES and local != "br" and not self._gathers:
            self._add("\n")

    def _letters(self, text: str) -> None:
        if not self._is_all and not self._is_word:
            return
        if self._gathers:
            if self._shared:
                self._shared[-1] += text
            return
        if self._is_number and text.isdecimal() and len(text) < _LONGEST_NUMBER:
            text = self._shared[int(text)] if int(text) < len(self._shared) else ""
        self._add(text)

    def _add(self, text: str) -> None:
        self.parts.append(text[: self.left])
        self.left -= len(text)
        if self.left <= 0:
            raise _Enough


def _no_doctype(*_: object) -> None:
    raise Refusal("broken")


def warm() -> None:
    """Use the codecs and the parser once."""
    for code in ("utf-8", "utf-8-sig", "utf-16", "cp1252", "cp437", "latin-1", "ascii"):
        "é".encode(code, "replace").decode(code, "replace")
    reader = _Reader(10)
    reader.read(io.BytesIO(b"<a><t>x</t></a>"), is_all=False)
