"""The demonstration's documents: deterministic, distinct, and what their names say."""

import io
import random
import zipfile
from collections import Counter

import pydicom
import pytest
from docx import Document
from PIL import Image

from appliance.demo import documents, words
from tests.support.trees import snapshot_of_tree


@pytest.fixture(scope="module")
def practice(tmp_path_factory):
    """A practice of 30 patients, and what filling it said."""
    root = tmp_path_factory.mktemp("practice")
    said = []
    filled = documents.fill_practice(
        root, seed=7, patients=30, on_progress=lambda *each: said.append(each)
    )
    return root, filled, said


def of_suffix(root, suffix):
    found = sorted(root.rglob(f"*{suffix}"))
    assert found, f"no {suffix}"
    return found


def files_of(tree):
    return {path: seen for path, seen in tree.items() if seen.kind == "file"}


def test_same_seed_same_bytes_and_times(practice, tmp_path):
    """Two fills with one seed are equal down to the nanosecond; another seed is not."""
    root, _, _ = practice
    documents.fill_practice(tmp_path / "again", seed=7, patients=30)
    documents.fill_practice(tmp_path / "other", seed=8, patients=30)
    first = files_of(snapshot_of_tree(root))
    assert files_of(snapshot_of_tree(tmp_path / "again")) == first
    assert files_of(snapshot_of_tree(tmp_path / "other")) != first


def test_counts_are_those_on_the_disk_and_every_file_is_distinct(practice):
    """``Filled`` counts what is there, progress ends at the total, no two files are the same."""
    root, filled, said = practice
    found = files_of(snapshot_of_tree(root))
    assert (filled.files, filled.bytes) == (len(found), sum(each.size for each in found.values()))
    assert 400 < filled.files < 900
    assert said[-1] == (filled.files, filled.files)
    assert said == sorted(said)
    assert Counter(each.content for each in found.values()).most_common(1)[0][1] == 1


def test_folders_are_deep_accented_and_one_patients_each(practice):
    """«Patients/D/DUPONT Éloïse 1957-03-12/Courriers/2026/…», and an empty folder."""
    root, _, _ = practice
    patients = [each for each in root.glob("Patients/*/*") if each.is_dir()]
    assert len(patients) == 30
    assert any(not each.name.isascii() for each in patients)
    assert list((root / "À classer").iterdir()) == []
    assert max(len(each.relative_to(root).parts) for each in root.rglob("*")) >= 6


def test_letters_are_pdf_and_scans_are_jpeg(practice):
    """Each PDF is whole, each JPEG opens as an A4 page."""
    root, _, _ = practice
    for path in of_suffix(root, ".pdf"):
        content = path.read_bytes()
        assert content.startswith(b"%PDF-1.")
        assert content.rstrip().endswith(b"%%EOF")
        assert b"/Type /Page" in content
    for path in of_suffix(root, ".jpg"):
        with Image.open(path) as picture:
            picture.load()
            assert (picture.format, picture.size) == ("JPEG", (744, 1052))


def test_dicom_images_are_read_by_pydicom_with_their_pixels(practice):
    """CR, US and CT; a scanner's slices share their series and nothing else."""
    root, _, _ = practice
    images = [pydicom.dcmread(path) for path in of_suffix(root, ".dcm")]
    assert all(each.ImageComments == words.GENERATED for each in images)
    assert all(each.pixel_array.shape == (each.Rows, each.Columns) for each in images)
    assert len({each.SOPInstanceUID for each in images}) == len(images)
    assert {each.Modality for each in images} >= {"CR", "US"}
    patient = words.invent_patient(random.Random(1), 1)
    day = words.LAST_DAY
    one, two = (
        pydicom.dcmread(io.BytesIO(documents.images.ct_slice(5, patient, day, number)))
        for number in range(2)
    )
    assert one.SeriesInstanceUID == two.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.PixelData != two.PixelData


def test_office_files_open_and_say_they_were_generated(practice):
    """Certificates open in python-docx, workbooks are whole zips with a sheet."""
    root, _, _ = practice
    for path in of_suffix(root, ".docx"):
        text = "\n".join(each.text for each in Document(str(path)).paragraphs)
        assert words.GENERATED in text
        assert "{{" not in text
    for path in of_suffix(root, ".xlsx"):
        with zipfile.ZipFile(path) as book:
            assert book.testzip() is None
            assert b"<sheetData><row" in book.read("xl/worksheets/sheet1.xml")


def test_laboratory_results_are_hl7_and_hprim(practice):
    """HL7 segments end with a carriage return; HPRIM-Médecin starts with twelve lines and ends with FIN."""
    root, _, _ = practice
    for path in of_suffix(root, ".hl7"):
        segments = path.read_bytes().decode().split("\r")
        assert [each[:3] for each in segments[:4]] == ["MSH", "PID", "OBR", "OBX"]
    for path in of_suffix(root, ".hpr"):
        assert path.read_bytes().decode("cp1252").rstrip().endswith("****FIN****")


def test_the_secretary_and_the_share_are_filled_too(tmp_path):
    """A Windows profile with caches, and a share with scans; both deterministic."""
    for fill, some in (
        (documents.fill_secretary, "Users/Secrétariat/AppData/Local/Temp/00000000.tmp"),
        (documents.fill_share, "Protocoles/Qualité/Hygiène des mains.docx"),
    ):
        filled = fill(tmp_path / fill.__name__, seed=3)
        assert (tmp_path / fill.__name__ / some).exists()
        assert 200 < filled.files < 400
        fill(tmp_path / "again" / fill.__name__, seed=3)
        assert files_of(snapshot_of_tree(tmp_path / fill.__name__)) == files_of(
            snapshot_of_tree(tmp_path / "again" / fill.__name__)
        )


def test_a_day_of_work_touches_what_it_says(tmp_path):
    """Added, changed, renamed and removed are what a comparison finds; the rest is untouched."""
    documents.fill_practice(tmp_path, seed=1, patients=20)
    before = files_of(snapshot_of_tree(tmp_path))
    day = documents.change_a_day(tmp_path, seed=1)
    after = files_of(snapshot_of_tree(tmp_path))
    gone = {path: before[path] for path in before.keys() - after.keys()}
    new = {path: after[path] for path in after.keys() - before.keys()}
    contents = {each.content for each in gone.values()}
    renamed = [path for path, each in new.items() if each.content in contents]
    assert len(renamed) == day.renamed
    assert len(gone) == day.renamed + day.removed
    assert len(new) == day.added + day.renamed
    assert day.changed == sum(
        before[path].content != after[path].content for path in before.keys() & after.keys()
    )
    assert min(day.added, day.changed, day.renamed, day.removed) >= 1
    assert day.added + day.changed < len(before) / 10
    again = documents.change_a_day(tmp_path, seed=2)
    assert again.added >= day.added
    assert len(files_of(snapshot_of_tree(tmp_path))) == len(after) + again.added - again.removed


def test_the_same_day_is_the_same_work(tmp_path):
    """Two equal trees stay equal through the same day (but for the moment it was written)."""
    results = []
    for name in ("one", "two"):
        documents.fill_share(tmp_path / name, seed=1)
        documents.change_a_day(tmp_path / name, seed=4)
        tree = files_of(snapshot_of_tree(tmp_path / name))
        results.append({path: each.content for path, each in tree.items()})
    assert results[0] == results[1]


def test_database_statements_are_deterministic_and_quoted():
    """Several thousand rows, the same each time, with apostrophes doubled."""
    first, again = [], []
    rows = documents.seed_database(first.append)
    documents.seed_database(again.append)
    assert first == again
    assert rows > 5_000
    text = "\n".join(first)
    assert "D''ARTIGNY" in text


def test_every_patient_folder_is_one_patients_alone():
    """Ten thousand invented patients have ten thousand folders."""
    rng = random.Random(1)
    assert len({words.invent_patient(rng, number).folder for number in range(10_000)}) == 10_000


def test_scanned_pages_are_written_with_french_letters():
    """The font draws each accent and ligature, not the box of a missing glyph."""
    font = documents.images._font(20)
    missing = bytes(font.getmask("\U0010ffff"))
    for letter in "éèêëàâçîïôûùœÉÇÀ€µ":
        assert bytes(font.getmask(letter)) != missing, letter
