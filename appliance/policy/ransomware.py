"""What encrypted files look like: their bytes, their first bytes, their names.

Nothing here is proof of an attack; ``policy.anomaly`` weighs it against what is usual for a source.
"""

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

#: Last extensions that families gave to what they encrypted, in lower case. Common knowledge from
#: public reports; only those no ordinary program uses (Qlocker's .7z, PLAY's .play, INC's .inc and
#: STOP's .djvu are therefore not here).
KNOWN_RANSOMWARE_SUFFIXES: Final[frozenset[str]] = frozenset(
    [
        ".8base",
        ".abyss",
        ".aesir",
        ".akira",
        ".alphv",
        ".avos",
        ".avos2",
        ".avoslinux",
        ".babuk",
        ".babyk",
        ".basta",
        ".bianlian",
        ".blackbasta",
        ".blackbyte",
        ".blacksuit",
        ".cerber",
        ".cerber2",
        ".cerber3",
        ".ciop",
        ".cl0p",
        ".clop",
        ".conti",
        ".crjoker",
        ".crylock",
        ".cryp1",
        ".crypt",
        ".crypted",
        ".cryptolocker",
        ".crypz",
        ".ctb2",
        ".ctbl",
        ".cts0",
        ".cts1",
        ".deadbolt",
        ".devos",
        ".dharma",
        ".doppeled",
        ".doppelpaymer",
        ".ecc",
        ".egregor",
        ".eking",
        ".enciphered",
        ".encrypt",
        ".encrypted",
        ".encryptedrsa",
        ".ezz",
        ".faust",
        ".gandcrab",
        ".gdcb",
        ".hakbit",
        ".hellokitty",
        ".hive",
        ".karma",
        ".krab",
        ".lechiffre",
        ".lockbit",
        ".locked",
        ".locky",
        ".makop",
        ".maze",
        ".medusa",
        ".medusalocker",
        ".mkp",
        ".monti",
        ".nefilim",
        ".nephilim",
        ".netwalker",
        ".odin",
        ".osiris",
        ".petya",
        ".phobos",
        ".pysa",
        ".qilin",
        ".ragnarok",
        ".ransomhub",
        ".revil",
        ".rhysida",
        ".royal",
        ".royal_w",
        ".ryk",
        ".ryuk",
        ".snatch",
        ".sodinokibi",
        ".suncrypt",
        ".thanos",
        ".wcry",
        ".wncry",
        ".wncryt",
        ".zepto",
        ".zeppelin",
    ]
)

_NOTE: Final = re.compile(
    rb"how[_ -]to[_ -](decrypt|recover|restore)|readme_for_decrypt|restore-my-files|"
    rb"(help|decrypt|recovery?|restore)[_ +-]+(instructions?|your[_ ]files|my[_ ]files|files[_ ]here)|"
    rb"^help_(decrypt|restore|recover)|^# ?decrypt my files|^_readme\.txt$|^@please_read_me@|"
    rb"wanadecryptor|^(ryuk|akira_|conti_|clop|lockbit_)readme\.|^!!!read_me\.txt$|"
    rb"^recover-[a-z0-9]+-files\.txt$|^lockbit_ransomware|^deadbolt",
    re.IGNORECASE,
)

#: Endings that ordinary work appends to many names at once.
_BENIGN_APPENDED: Final = frozenset(
    {b".bak", b".old", b".orig", b".gz", b".bz2", b".xz", b".zst", b".zip", b".1", b".tmp"}
)

#: Fewer bytes say nothing.
SAMPLE_AT_LEAST: Final = 256
#: More bytes say no more.
SAMPLE_AT_MOST: Final = 64 * 1024
#: From this on a sample counts as incompressible; encrypted bytes reach 1.0, text is under 0.6.
INCOMPRESSIBLE_AT: Final = 0.97


def last_suffix(path: bytes) -> str:
    """Return the extension of a path in lower case with its dot, "" if it has none."""
    name = path.rsplit(b"/", 1)[-1]
    stem, dot, suffix = name.rpartition(b".")
    return "." + suffix.decode("utf-8", "replace").lower() if dot and stem else ""


def has_known_suffix(path: bytes) -> bool:
    """Return whether the name ends as a known family's files do."""
    return last_suffix(path) in KNOWN_RANSOMWARE_SUFFIXES


def is_ransom_note(path: bytes) -> bool:
    """Return whether the name is one that known families give their letters."""
    return _NOTE.search(path.rsplit(b"/", 1)[-1]) is not None


def incompressibility(sample: bytes) -> float:
    """Return how little ``sample`` can be compressed: 0.0 (all the same, or empty) to 1.0 (random)."""
    if not sample:
        return 0.0
    return min(1.0, len(zlib.compress(sample, 1)) / len(sample))


# --- first bytes ---------------------------------------------------------------------------

_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_OLE: Final = (b"\xd0\xcf\x11\xe0",)
#: What a file of this name begins with. Source: the formats' own descriptions.
_MAGIC: Final[dict[str, tuple[bytes, ...]]] = {
    ".jpg": (b"\xff\xd8\xff",),
    ".jpeg": (b"\xff\xd8\xff",),
    ".png": (b"\x89PNG",),
    ".gif": (b"GIF8",),
    ".bmp": (b"BM",),
    ".tif": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    ".tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    ".docx": _ZIP + _OLE,  # protected by a password: OLE around it
    ".xlsx": _ZIP + _OLE,
    ".pptx": _ZIP + _OLE,
    ".odt": _ZIP,
    ".ods": _ZIP,
    ".odp": _ZIP,
    ".zip": _ZIP,
    ".doc": (*_OLE, *_ZIP, b"{\\rtf", b"\xdb\xa5"),
    ".xls": (*_OLE, *_ZIP, b"\x09\x08", b"<"),
    ".ppt": (*_OLE, *_ZIP),
    ".msg": _OLE,
    ".rtf": (b"{\\rtf",),
    ".gz": (b"\x1f\x8b",),
    ".7z": (b"7z\xbc\xaf\x27\x1c",),
    ".exe": (b"MZ",),
    ".dll": (b"MZ",),
}
_TEXT: Final = frozenset({".txt", ".csv", ".xml", ".html", ".htm", ".hl7", ".ini", ".log", ".sql"})
_CONTROL: Final = bytes(one for one in range(32) if one not in b"\t\n\r\f\v\x1b\x1c\x1d\x1e")


def looks_right(path: bytes, head: bytes) -> bool | None:
    """Return whether a file begins as its name says; None where nothing is known about the name.

    Args:
        path: of the file.
        head: its first bytes, 1,024 or more where it has them.
    """
    suffix = last_suffix(path)
    if suffix == ".pdf":
        return b"%PDF" in head[:1024]
    if suffix in {".dcm", ".dicom"}:
        return head[128:132] == b"DICM" or head[:2] in {b"\x02\x00", b"\x08\x00"}
    if suffix in _TEXT:
        if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            return True
        controls = len(head) - len(head.translate(None, _CONTROL))
        return controls * 20 <= len(head)  # random bytes have about a tenth
    magic = _MAGIC.get(suffix)
    return None if magic is None else head.startswith(magic)


@dataclass(frozen=True, slots=True)
class ContentSample:
    """What the first bytes of some changed and new files look like."""

    sampled: int = 0
    incompressible: int = 0
    headers_known: int = 0  # of those, files whose name promises something
    headers_wrong: int = 0


def judge_contents(samples: Iterable[tuple[bytes, bytes]]) -> ContentSample:
    """Return the counts for (path, first bytes) of changed and new files; tiny ones are passed over."""
    sampled = incompressible = known = wrong = 0
    for path, head in samples:
        if len(head) < SAMPLE_AT_LEAST:
            continue
        sampled += 1
        incompressible += incompressibility(head[:SAMPLE_AT_MOST]) >= INCOMPRESSIBLE_AT
        right = looks_right(path, head)
        known += right is not None
        wrong += right is False
    return ContentSample(sampled, incompressible, known, wrong)


# --- names that changed --------------------------------------------------------------------


def pair_renames(
    gone: Sequence[tuple[bytes, bytes]], added: Sequence[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    """Return (old path, new path) of files that are elsewhere with the same content.

    Each path is used once. Among files of one content those that kept their name go together first.
    Files without content are never paired: all empty files are alike.

    Args:
        gone: (path, packed chunk ids) of what is no longer there.
        added: (path, packed chunk ids) of what is new.
    """
    waiting: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for path, chunks in gone:
        if chunks:
            waiting[chunks].append(path)
    pairs: list[tuple[bytes, bytes]] = []
    left: list[tuple[bytes, bytes]] = []
    for path, chunks in added:
        olds = waiting.get(chunks, [])
        same_name = next((old for old in olds if _name(old) == _name(path)), None)
        if same_name is None:
            left.append((path, chunks))
        else:
            olds.remove(same_name)
            pairs.append((same_name, path))
    for path, chunks in left:
        olds = waiting.get(chunks, [])
        if olds:
            pairs.append((olds.pop(0), path))
    return pairs


def appended_suffix(gone: Iterable[bytes], added: Iterable[bytes]) -> tuple[str, int]:
    """Return the ending most often put behind the whole name of a file that is gone, and how often.

    ``letter.pdf`` gone and ``letter.pdf.x7q`` new is what encrypting families do, known or not.
    """
    missing = set(gone)
    counts: Counter[bytes] = Counter()
    for path in added:
        stem, dot, suffix = path.rpartition(b".")
        if dot and stem in missing and dot + suffix.lower() not in _BENIGN_APPENDED:
            counts[dot + suffix] += 1
    if not counts:
        return "", 0
    suffix, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return suffix.decode("utf-8", "replace"), count


def _name(path: bytes) -> bytes:
    return path.rsplit(b"/", 1)[-1]
