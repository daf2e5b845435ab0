"""What encrypted files look like, from real bytes and real names."""

import io
import zipfile
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.ransomware import (
    INCOMPRESSIBLE_AT,
    KNOWN_RANSOMWARE_SUFFIXES,
    ContentSample,
    appended_suffix,
    has_known_suffix,
    incompressibility,
    is_ransom_note,
    judge_contents,
    last_suffix,
    looks_right,
    pair_renames,
)


def keystream(length: int, seed: bytes = b"key") -> bytes:
    """Bytes as a good cipher makes them, the same at each run."""
    blocks = (
        sha256(seed + number.to_bytes(8, "big")).digest() for number in range(length // 32 + 1)
    )
    return b"".join(blocks)[:length]


LETTER = (
    "Cher confrère, je vous adresse ce jour Madame X pour avis. Bien confraternellement. ".encode()
)


def zipped() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", keystream(4096))
    return held.getvalue()


@pytest.mark.parametrize(
    ("sample", "low", "high"),
    [
        (b"", 0.0, 0.0),
        (bytes(4096), 0.0, 0.02),
        (LETTER * 40, 0.0, 0.2),
        (keystream(4096), INCOMPRESSIBLE_AT, 1.0),
        (keystream(65536), INCOMPRESSIBLE_AT, 1.0),
    ],
)
def test_encrypted_bytes_do_not_compress_and_letters_do(sample, low, high):
    """From 0 to 1, whatever the length."""
    assert low <= incompressibility(sample) <= high


@given(st.binary(max_size=2000))
def test_the_measure_stays_between_nothing_and_one(sample):
    """Short samples too, where zlib adds more than it saves."""
    assert 0.0 <= incompressibility(sample) <= 1.0


HEADS = {
    "a.pdf": b"%PDF-1.7\n",
    "a.PDF": b"\xef\xbb\xbf%PDF-1.4\n",
    "a.jpg": b"\xff\xd8\xff\xe0",
    "a.png": b"\x89PNG\r\n",
    "a.tif": b"II*\0",
    "a.docx": b"PK\x03\x04",
    "a.doc": b"\xd0\xcf\x11\xe0\xa1\xb1",
    "b.doc": b"{\\rtf1",
    "a.dcm": bytes(128) + b"DICM",
    "b.dcm": b"\x08\x00\x05\x00",
    "a.exe": b"MZ\x90",
    "a.txt": LETTER,
    "b.txt": b"\xff\xfeC\0h\0e\0r\0",
    "a.csv": b"nom;pr\xe9nom\r\n" * 20,
}


@pytest.mark.parametrize(("name", "head"), HEADS.items())
def test_a_file_that_begins_as_its_name_says_is_right(name, head):
    """And the same name over encrypted bytes is not."""
    path = b"Dossiers/" + name.encode()

    assert (
        looks_right(path, head + bytes(600) if not name.endswith(("txt", "csv")) else head) is True
    )
    assert looks_right(path, keystream(1024)) is False


@pytest.mark.parametrize("path", [b"a.dat", b"sans-extension", b".bashrc", b"a.sqlite"])
def test_a_name_that_promises_nothing_is_not_judged(path):
    """None, not «wrong»."""
    assert looks_right(path, keystream(1024)) is None


def test_contents_are_counted_and_tiny_files_passed_over():
    """Sampled, incompressible, and those whose beginning is known or wrong."""
    samples = [
        (b"a.pdf", b"%PDF-1.7\n" + LETTER * 20),
        (b"b.pdf", keystream(2048)),
        (b"c.dat", keystream(2048)),
        (b"d.txt", LETTER * 10),
        (b"e.docx", zipped()),
        (b"tiny.pdf", b"no"),
    ]

    assert judge_contents(samples) == ContentSample(
        sampled=5, incompressible=3, headers_known=4, headers_wrong=1
    )
    assert judge_contents([]) == ContentSample()


@pytest.mark.parametrize(
    ("path", "known"),
    [
        (b"Courriers/lettre.pdf.lockbit", True),
        (b"a.DeadBolt", True),
        (b"a.id-1A2B.[mail@host].dharma", True),
        (b"a.akira", True),
        (b"a.pdf", False),
        (b"archive.7z", False),
        (b"encrypted", False),
        (b".locked", False),
        (b"dossier.locked/lettre.pdf", False),
        (b"a.\xff\xfe", False),
    ],
)
def test_only_the_last_extension_of_the_name_counts(path, known):
    """A folder of that name, or a whole name, is nothing."""
    assert has_known_suffix(path) is known


def test_the_list_of_endings_is_lower_case_and_leaves_ordinary_ones_out():
    """A false friend in it would freeze a practice."""
    ordinary = {
        ".7z",
        ".zip",
        ".pdf",
        ".inc",
        ".djvu",
        ".play",
        ".wallet",
        ".xyz",
        ".vault",
        ".bak",
    }

    assert {
        ".deadbolt",
        ".encrypt",
        ".locked",
        ".wncry",
        ".ryuk",
        ".ecc",
    } <= KNOWN_RANSOMWARE_SUFFIXES
    assert not ordinary & KNOWN_RANSOMWARE_SUFFIXES
    assert all(one == one.lower() and one.startswith(".") for one in KNOWN_RANSOMWARE_SUFFIXES)
    assert all(last_suffix(b"x" + one.encode()) == one for one in KNOWN_RANSOMWARE_SUFFIXES)


@pytest.mark.parametrize(
    ("name", "is_note"),
    [
        (b"README_FOR_DECRYPT.txt", True),
        (b"HOW_TO_DECRYPT_FILES.html", True),
        (b"how to recover your files.txt", True),
        (b"Restore-My-Files.txt", True),
        (b"!!!READ_ME.txt", True),
        (b"_readme.txt", True),
        (b"akira_readme.txt", True),
        (b"RECOVER-x8k2q-FILES.txt", True),
        (b"# DECRYPT MY FILES #.txt", True),
        (b"HELP_DECRYPT.PNG", True),
        (b"README.txt", False),
        (b"readme.md", False),
        (b"Mode d'emploi restauration.pdf", False),
        (b"how_to_install.txt", False),
    ],
)
def test_letters_of_known_families_are_recognised_by_name(name, is_note):
    """And an ordinary «read me» is not."""
    assert is_ransom_note(b"Dossiers/" + name) is is_note


def test_a_moved_file_is_paired_with_where_it_went():
    """Same name first, so that a folder moved whole is told file by file."""
    gone = [(b"2025/a", b"1"), (b"2025/b", b"2"), (b"2025/c", b"2"), (b"vide", b""), (b"x", b"9")]
    added = [(b"2026/c", b"2"), (b"2026/z", b"2"), (b"2026/a", b"1"), (b"vide2", b""), (b"y", b"8")]

    assert sorted(pair_renames(gone, added)) == [
        (b"2025/a", b"2026/a"),
        (b"2025/b", b"2026/z"),
        (b"2025/c", b"2026/c"),
    ]


files = st.lists(
    st.tuples(st.binary(min_size=1, max_size=3), st.sampled_from([b"", b"1", b"2", b"3"])),
    unique_by=lambda one: one[0],
    max_size=12,
)


@given(files, files)
def test_renames_use_each_path_once_and_only_for_the_same_content(gone, added):
    """As many pairs as contents allow."""
    pairs = pair_renames(gone, added)
    before, after = dict(gone), dict(added)

    assert len({old for old, _ in pairs}) == len({new for _, new in pairs}) == len(pairs)
    assert all(before[old] == after[new] != b"" for old, new in pairs)
    for content in (b"1", b"2", b"3"):
        possible = min(list(before.values()).count(content), list(after.values()).count(content))
        assert sum(1 for old, _ in pairs if before[old] == content) == possible


def test_one_ending_put_behind_many_names_is_counted():
    """Of an unknown family too; copies that work makes are not."""
    names = [f"Dossiers/{number}.pdf".encode() for number in range(30)]

    assert appended_suffix(names, [name + b".x7q" for name in names[:20]]) == (".x7q", 20)
    assert appended_suffix(names, [name + b".bak" for name in names]) == ("", 0)
    assert appended_suffix(names, [b"Dossiers/other.x7q", b"sans"]) == ("", 0)
    assert appended_suffix(names, [names[0] + b".b", names[1] + b".a"]) == (".a", 1)
