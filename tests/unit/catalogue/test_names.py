"""Finding a file by words of its name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.catalogue.names import find_names
from appliance.catalogue.words import natural, normalise, normalise_name, split
from appliance.model import SnapshotId
from tests.support.catalogues import a_file, a_folder, new_catalogue, write_night

ONE, TWO = SnapshotId(1), SnapshotId(2)


def _paths(folder: Path, words: str, **how) -> list[str]:
    return [hit.path.decode("latin-1") for hit in find_names(folder, words, **how).hits]


@pytest.fixture
def practice(tmp_path: Path) -> Path:
    """Two sources, two nights."""
    reception, scans = new_catalogue(tmp_path, 1), new_catalogue(tmp_path, 2)
    write_night(
        reception,
        1,
        a_folder("Patients/Dupont Élodie"),
        a_file("Patients/Dupont Élodie/Courrier cœur 2024.pdf".encode(), "x"),
        a_file("Patients/Dupont Élodie/radio thorax.dcm".encode(), "x"),
        a_file("Patients/Martin/radio genou.dcm", "x"),
        a_file("Patients/Martin/ab.txt", "x"),
        a_file(b"Patients/\xc9mile.txt", "x"),
    )
    write_night(scans, 1, a_file("scans/radio 100%_sûr.jpg", "x"))
    write_night(
        reception,
        2,
        a_file("Patients/Martin/radio genou.dcm", "y"),
        gone=("Patients/Martin/ab.txt",),
    )
    return tmp_path


def test_case_accents_and_ligatures_do_not_matter(practice):
    """People type as they speak."""
    for words in ("COEUR", "cœur", "courrier coeur", "2024 Cœur", "oeu"):
        assert _paths(practice, words) == [
            "Patients/Dupont Élodie/Courrier cœur 2024.pdf".encode().decode("latin-1")
        ]
    assert len(_paths(practice, "elodie")) == 1
    assert _paths(practice, "emile") == ["Patients/Émile.txt"]


def test_all_the_words_must_be_there(practice):
    """Each further word narrows."""
    assert len(_paths(practice, "radio")) == 3
    assert _paths(practice, "radio genou") == ["Patients/Martin/radio genou.dcm"]
    assert _paths(practice, "radio coude") == []


def test_a_word_of_the_folder_counts(practice):
    """«dupont radio» is how one looks for a patient's radiograph."""
    (path,) = _paths(practice, "dupont radio")
    assert path.endswith("radio thorax.dcm")


def test_one_and_two_letters_find_too(practice):
    """Too short for the index of three letters is no reason to find nothing."""
    assert _paths(practice, "ab") == ["Patients/Martin/ab.txt"]
    assert "Patients/Martin/radio genou.dcm" in _paths(practice, "g")
    assert _paths(practice, "ra ge") == ["Patients/Martin/radio genou.dcm"]
    assert _paths(practice, "100%_") == ["scans/radio 100%_sûr.jpg".encode().decode("latin-1")]


def test_a_deleted_file_is_found_with_the_nights_that_have_it(practice):
    """The file somebody deleted is the file somebody searches."""
    (hit,) = find_names(practice, "ab.txt").hits
    assert (hit.source_id, hit.first, hit.last, hit.is_present) == (1, ONE, ONE, False)
    (changed,) = find_names(practice, "genou").hits
    assert (changed.first, changed.last, changed.versions, changed.is_present) == (2, 2, 2, True)


def test_newest_versions_come_first(practice):
    """What changed last night is above what lies there since March."""
    assert _paths(practice, "radio")[0] == "Patients/Martin/radio genou.dcm"


def test_a_search_can_be_narrowed_to_a_source_a_snapshot_a_folder(practice):
    """From a folder's page, the search is in that folder."""
    assert len(_paths(practice, "radio", sources=[1])) == 2
    assert _paths(practice, "ab.txt", sources=[1], snapshot=TWO) == []
    assert len(_paths(practice, "ab.txt", sources=[1], snapshot=ONE)) == 1
    assert _paths(practice, "radio", under=b"Patients/Martin") == [
        "Patients/Martin/radio genou.dcm"
    ]
    assert _paths(practice, "radio", under=b"Patients/Mart") == []
    (hit,) = find_names(practice, "genou", sources=[1], snapshot=ONE).hits
    assert (hit.first, hit.last) == (ONE, ONE)


def test_more_than_was_asked_for_is_said(practice):
    """Nobody takes the first fifty for all."""
    found = find_names(practice, "radio", limit=2)
    assert (len(found.hits), found.is_more) == (2, True)
    assert not find_names(practice, "radio", limit=3).is_more
    assert find_names(practice, "  ").hits == []


def test_a_source_that_cannot_be_searched_is_named(practice):
    """«Not found» must not mean «not looked»."""
    (practice / "3.sqlite").write_bytes(
        b"no database at all, but long enough to look like one" * 40
    )
    found = find_names(practice, "radio")
    assert (len(found.hits), found.unreadable) == (3, (3,))


def test_a_box_without_sources_has_nothing_to_find(tmp_path):
    """Before the first night there is no folder of catalogues."""
    assert find_names(tmp_path / "catalogues", "radio").hits == []


@pytest.mark.parametrize("words", ['"', "'", "a\"b c'd", "NEAR(", "radio*", "-radio", "\x00", "𝕳𝖆"])
def test_what_looks_like_a_query_language_is_only_letters(practice, words):
    """Quotes and operators are searched as they are."""
    assert _paths(practice, words) == []


@given(st.text(min_size=1, max_size=12))
def test_normalising_twice_changes_nothing(text):
    """A name and a word meet in the same form, whatever form they came in."""
    once = normalise(text)
    assert normalise(once) == once


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=6))
def test_numbers_in_names_sort_by_value(numbers):
    """Nine comes before ten, however many noughts are in front."""
    names = [f"scan {number}.pdf" for number in numbers]
    assert sorted(names, key=natural) == [f"scan {n}.pdf" for n in sorted(numbers)]
    assert natural("scan 009") == natural("scan 9")


def test_words_are_split_and_said_once():
    """A path pasted from a letter is its words."""
    assert split("Élodie/Radio  radio") == ("elodie", "radio")
    assert normalise_name(b"caf\xe9") == normalise_name("café".encode()) == "cafe"
