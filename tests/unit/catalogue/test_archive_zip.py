"""Many files of a snapshot as one ZIP of a known length."""

import io
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.catalogue import archive_zip
from appliance.catalogue.archive_zip import Member, plan_zip
from appliance.catalogue.safe_names import SafePaths, safe_name
from appliance.errors import CatalogueDamaged, InvalidInput, NotFound, RepositoryDamaged
from appliance.model import SnapshotId
from tests.support.catalogues import a_file, a_folder, a_link, new_catalogue, write_night

ONE = SnapshotId(1)
PARIS = ZoneInfo("Europe/Paris")


@dataclass
class Opened:
    """What the reader gives."""

    length: int
    blocks: list[bytes]


def opener(contents: dict[bytes, bytes]):
    @contextmanager
    def opened(path: bytes):
        data = contents[path]
        yield Opened(len(data), [data[i : i + 1000] for i in range(0, len(data), 1000)])

    return opened


@pytest.fixture
def contents() -> dict[bytes, bytes]:
    return {
        b"home/anna/Dupont/radio.dcm": bytes(range(256)) * 4_000,
        "home/anna/Dupont/Élodie née.txt".encode(): b"bonjour",
        b"home/anna/Dupont/caf\xe9": b"latin",
        b"home/anna/Dupont/con.txt": b"reserved",
        b"home/anna/Dupont/a:b?.txt": b"forbidden",
        b"home/anna/Dupont/a_b_.txt": b"the same once it is safe",
        b"home/anna/Dupont/A_B_.TXT": b"and without case",
        b"home/anna/Dupont/zero": b"",
        b"home/anna/other.txt": b"other",
        b"home/bea/other.txt": b"the other's other",
    }


@pytest.fixture
def catalogue(tmp_path, contents):
    made = new_catalogue(tmp_path)
    files = [replace(a_file(p, "", size=len(d)), chunks=_chunk(d)) for p, d in contents.items()]
    write_night(
        made,
        1,
        a_folder("home/anna"),
        a_folder("home/anna/Dupont"),
        a_folder("home/anna/Dupont/empty"),
        a_link("home/anna/Dupont/link", "radio.dcm"),
        *files,
    )
    return made


def _chunk(data: bytes) -> bytes:
    return sha256(data).digest() + len(data).to_bytes(4, "little") if data else b""


def _zip(catalogue, contents, *paths: bytes) -> bytes:
    plan = plan_zip(catalogue, ONE, paths, time_zone=PARIS)
    blocks = list(plan.blocks(opener(contents)))
    assert all(len(block) >= archive_zip.BLOCK for block in blocks[:-1])
    whole = b"".join(blocks)
    assert len(whole) == plan.length
    return whole


def test_a_folder_is_one_zip_of_the_length_that_was_said(catalogue, contents):
    """The browser shows how far it is, and what is unpacked is what was backed up."""
    packed = zipfile.ZipFile(io.BytesIO(_zip(catalogue, contents, b"home/anna/Dupont")))
    assert packed.testzip() is None
    assert {name: packed.read(name) for name in packed.namelist() if not name.endswith("/")} == {
        "Dupont/radio.dcm": contents[b"home/anna/Dupont/radio.dcm"],
        "Dupont/Élodie née.txt": b"bonjour",
        "Dupont/café": b"latin",
        "Dupont/_con.txt": b"reserved",
        "Dupont/A_B_.TXT": b"and without case",
        "Dupont/a_b_ (2).txt": b"forbidden",
        "Dupont/a_b_ (3).txt": b"the same once it is safe",
        "Dupont/zero": b"",
    }
    assert {"Dupont/", "Dupont/empty/"} <= set(packed.namelist())
    at = datetime.fromtimestamp(1_700_000_000, PARIS)
    assert packed.getinfo("Dupont/zero").date_time == (*at.timetuple()[:5], at.second // 2 * 2)
    assert packed.getinfo("Dupont/zero").external_attr >> 16 == 0o100640


def test_what_a_link_points_to_is_not_followed_but_counted(catalogue):
    """A link out of a folder must not bring in what was not chosen."""
    plan = plan_zip(catalogue, ONE, [b"home/anna/Dupont"])
    assert (plan.left_out, plan.files) == (1, 8)


def test_chosen_files_of_the_same_name_stay_apart(catalogue, contents):
    """Two patients each have an «other.txt»."""
    whole = _zip(catalogue, contents, b"home/anna/other.txt", b"home/bea/other.txt")
    packed = zipfile.ZipFile(io.BytesIO(whole))
    assert packed.read("other.txt") == b"other"
    assert packed.read("other (2).txt") == b"the other's other"


def test_a_folder_and_a_file_in_it_is_the_folder(catalogue, contents):
    """Nothing is in the ZIP twice."""
    whole = _zip(catalogue, contents, b"home/anna/Dupont/zero", b"home/anna/Dupont")
    assert zipfile.ZipFile(io.BytesIO(whole)).namelist().count("Dupont/zero") == 1
    assert "zero" not in zipfile.ZipFile(io.BytesIO(whole)).namelist()


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unzip_takes_it(tmp_path, catalogue, contents):
    """The command of every Linux and macOS."""
    path = tmp_path / "x.zip"
    path.write_bytes(_zip(catalogue, contents, b"home"))
    done = subprocess.run(["unzip", "-tqq", str(path)], check=False, capture_output=True)
    assert done.returncode == 0, done.stdout


def test_a_file_that_is_not_what_was_listed_cuts_the_stream(catalogue, contents):
    """Half a radiograph must not look like one."""
    shorter = {**contents, b"home/anna/Dupont/radio.dcm": b"short"}
    plan = plan_zip(catalogue, ONE, [b"home/anna/Dupont"])
    with pytest.raises(CatalogueDamaged):
        list(plan.blocks(opener(shorter)))

    @contextmanager
    def damaged(path: bytes):
        def blocks():
            yield contents[path][:10]
            raise RepositoryDamaged("repository:7", "altered")

        yield Opened(len(contents[path]), blocks())

    with pytest.raises(RepositoryDamaged):
        list(plan.blocks(damaged))

    @contextmanager
    def cut(path: bytes):
        yield Opened(len(contents[path]), [contents[path][:-1]])

    with pytest.raises(CatalogueDamaged):
        list(plan.blocks(cut))


def test_nothing_and_what_is_not_there_are_refused(catalogue, monkeypatch):
    """Before the first byte, where it can still be said."""
    with pytest.raises(InvalidInput):
        plan_zip(catalogue, ONE, [])
    with pytest.raises(NotFound):
        plan_zip(catalogue, ONE, [b"home/anna/Dupont", b"nowhere"])
    monkeypatch.setattr(archive_zip, "MOST_MEMBERS", 3)
    with pytest.raises(InvalidInput):
        plan_zip(catalogue, ONE, [b"home"])


def test_files_beyond_4_gib_keep_their_length_and_place(tmp_path, monkeypatch):
    """The 64-bit records, tried with a limit that a test can reach."""
    monkeypatch.setattr(archive_zip, "_MOST_SMALL", 2)
    catalogue = new_catalogue(tmp_path)
    data = {b"d/a": b"x" * 5_000, b"d/b": b"y" * 10, b"d/c": b"z" * 3_000}
    write_night(catalogue, 1, *(replace(a_file(p, ""), chunks=_chunk(d)) for p, d in data.items()))
    plan = plan_zip(catalogue, ONE, [b"d"])
    whole = b"".join(plan.blocks(opener(data)))
    assert len(whole) == plan.length
    assert zipfile.ZipFile(io.BytesIO(whole)).testzip() is None


def test_the_length_of_a_zip_with_a_10_gb_film_is_right():
    """Laid out without being made: offsets and sizes beyond 32 bits."""
    members = [
        Member(b"a", b"a", 10 * 10**9, 0, 0o644),
        Member(b"b", b"b", 5, 0, 0o644),
        Member(b"c", b"c", 2**32 - 1, 0, 0o644),
    ]
    local = sum(30 + 1 + 9 + (20 if m.size >= 2**32 - 1 else 0) for m in members)
    after = 24 + 16 + 24
    central = (46 + 1 + 9 + 4 + 16) + (46 + 1 + 9 + 4 + 8) + (46 + 1 + 9 + 4 + 24)
    end = 56 + 20 + 22
    expected = sum(m.size for m in members) + local + after + central + end
    assert archive_zip.length_of(members) == expected


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        (b"..", "_"),
        (b"NUL", "_NUL"),
        (b"aux.txt", "_aux.txt"),
        (b"auxiliary", "auxiliary"),
        (b"end. ", "end"),
        (b"a\nb\\c", "a_b_c"),
        (b"e\xcc\x81", "é"),
        (b"\xe9t\xe9", "été"),
        (b"x" * 500 + b".pdf", "x" * 196 + ".pdf"),
    ],
)
def test_names_are_such_that_windows_takes_them(name, safe):
    """And no name climbs out of the folder it is unpacked into."""
    assert safe_name(name) == safe


@given(st.lists(st.binary(min_size=1, max_size=6).filter(lambda p: b"//" not in p), max_size=12))
def test_no_two_paths_get_the_same_name(paths):
    """Not even where case does not count; and none is empty, absolute or climbs."""
    safe = SafePaths()
    wanted = {path.strip(b"/") for path in paths} - {b""}
    given_names = {path: safe.of(path) for path in wanted}
    folded = [name.casefold() for name in given_names.values()]
    assert len(set(folded)) == len(folded)
    for name in given_names.values():
        parts = name.split("/")
        assert all(part not in {"", ".", ".."} for part in parts)


def test_the_program_that_reads_zips_of_this_python_takes_it(tmp_path, catalogue, contents):
    """As a person would: unpacked into a folder."""
    path = tmp_path / "x.zip"
    path.write_bytes(_zip(catalogue, contents, b"home/anna/Dupont"))
    out = tmp_path / "out"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(path), str(out)], check=True)
    assert (Path(out) / "Dupont" / "Élodie née.txt").read_bytes() == b"bonjour"
