"""What a share contains can be found by its names, as soon as the disk was looked at."""

import os
import shutil
from pathlib import Path

import pytest

from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk.index_excerpt import around
from appliance.disk.index_file import ROOT, Index, path_of
from appliance.disk.index_keep import Keeper
from appliance.disk.index_search import Place, find
from appliance.settings import Settings


@pytest.fixture
def keeper(settings: Settings, share: Share):
    """The index of a share with a few patients' folders."""
    for each in (
        "Dupont Élodie/radio du genou.pdf",
        "Dupont Élodie/courrier 2026.docx",
        "Durand/radio.pdf",
        "Durand/bilan/2026/analyse.txt",
    ):
        file = share.folder / each
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"text of {each}")
    (share.folder / ".armoire" / "bin").mkdir(parents=True)
    (share.folder / ".armoire" / "bin" / "radio thrown away").write_text("x")
    made = Keeper(share, Index(path_of(settings, share.id)))
    made.look_at_all()
    made.settle()
    yield made
    made.index.close()


def names(settings: Settings, share: Share, words: str) -> list[str]:
    return [each.path.decode() for each in find(settings, [share], words).hits]


def rows(keeper: Keeper) -> int:
    return keeper.index.connection.execute("SELECT count(*) FROM entry").fetchone()[0]


def test_a_part_of_a_name_is_enough(settings, share, keeper):
    """Case, accents and order aside; the bin is not searched."""
    assert names(settings, share, "ELODIE") == ["Dupont Élodie"]
    assert sorted(names(settings, share, "adio")) == [
        "Dupont Élodie/radio du genou.pdf",
        "Durand/radio.pdf",
    ]
    assert names(settings, share, "genou radio") == ["Dupont Élodie/radio du genou.pdf"]
    assert names(settings, share, "nothing like it") == []
    assert find(settings, [share], "ra").is_short
    assert not find(settings, [share], "").is_short


def test_a_folder_above_counts(settings, share, keeper):
    """«durand analyse» finds it two folders further down."""
    assert names(settings, share, "durand analyse") == ["Durand/bilan/2026/analyse.txt"]
    assert names(settings, share, "radio dupont") == ["Dupont Élodie/radio du genou.pdf"]
    assert names(settings, share, "durand genou") == []


def test_only_the_shares_given_are_searched(settings, database: Database, share, keeper, tmp_path):
    """Another share's names are in another file; without an index yet a share is named, not empty."""
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "radio of nobody's business").write_text("x")
    with database.write() as connection:
        other = shares.add(connection, name="other", label="Other", folder=folder, now=utc_now())
    assert find(settings, [share, other], "radio").unready == (other,)
    index = Index(path_of(settings, other.id))
    second = Keeper(other, index)
    second.look_at_all()
    second.settle()
    assert len(find(settings, [share, other], "radio").hits) == 3
    assert len(find(settings, [share], "radio").hits) == 2
    index.close()


def test_a_renamed_folder_is_one_row(settings, share, keeper):
    """Everything below it is found at the new place at once, and nowhere else."""
    before = {
        each.id for each in keeper.index.inside(keeper.index.find(ROOT, b"Durand").id).values()
    }
    (share.folder / "Durand").rename(share.folder / "Durand-Petit")
    keeper.look_at(ROOT, b"Durand")
    keeper.look_at(ROOT, b"Durand-Petit")
    keeper.settle()
    assert names(settings, share, "analyse") == ["Durand-Petit/bilan/2026/analyse.txt"]
    row = keeper.index.find(ROOT, b"Durand-Petit")
    assert {each.id for each in keeper.index.inside(row.id).values()} == before


def test_a_folder_renamed_while_nobody_watched(settings, share, keeper):
    """A look at the whole share meets the new name before it misses the old one, or after."""
    (share.folder / "Durand").rename(share.folder / "A Durand")
    (share.folder / "Dupont Élodie").rename(share.folder / "Z Dupont")
    (share.folder / "Z Dupont" / "radio du genou.pdf").rename(share.folder / "Z Dupont" / "a radio")
    keeper.look_at_all()
    keeper.settle()
    assert sorted(names(settings, share, "radio")) == ["A Durand/radio.pdf", "Z Dupont/a radio"]
    assert names(settings, share, "analyse") == ["A Durand/bilan/2026/analyse.txt"]


def test_a_folder_moved_into_another(settings, share, keeper):
    """In whichever order the news come."""
    (share.folder / "Durand" / "bilan").rename(share.folder / "Dupont Élodie" / "bilan")
    keeper.look_at_path("Dupont Élodie".encode(), b"bilan")
    keeper.settle()
    assert names(settings, share, "analyse") == ["Dupont Élodie/bilan/2026/analyse.txt"]
    keeper.look_at_path(b"Durand", b"bilan")
    keeper.settle()
    assert names(settings, share, "analyse") == ["Dupont Élodie/bilan/2026/analyse.txt"]


def test_a_deleted_folder_is_gone_with_all_it_held(settings, share, keeper):
    """From the first commit on; its rows go afterwards."""
    before = rows(keeper)
    shutil.rmtree(share.folder / "Durand")
    keeper.look_at(ROOT, b"Durand")
    keeper.work(slice_s=0)  # the look itself waits
    keeper.settle()
    assert names(settings, share, "radio") == ["Dupont Élodie/radio du genou.pdf"]
    assert rows(keeper) == before - 5
    integrity = "INSERT INTO names (names, rank) VALUES ('integrity-check', 1)"
    keeper.index.connection.execute(integrity)


def test_what_is_only_put_aside_is_not_found(settings, share, keeper):
    """Between the look and the removal nothing of it is shown."""
    row = keeper.index.find(ROOT, b"Durand")
    keeper.index.shelve(row.id)
    assert names(settings, share, "analyse") == []
    assert names(settings, share, "durand") == []


def test_a_folder_that_took_anothers_place_makes_no_loop(settings, share, keeper):
    """The old folder inside a new one of its name: the news of the inside may come first."""
    (share.folder / "Durand").rename(share.folder / "kept")
    (share.folder / "Durand").mkdir()
    (share.folder / "kept").rename(share.folder / "Durand" / "old")
    keeper.look_at_path(b"Durand", b"old")
    keeper.look_at(ROOT, b"Durand")
    keeper.settle()
    assert names(settings, share, "analyse") == ["Durand/old/bilan/2026/analyse.txt"]


def test_hard_links_are_two_names(settings, share, keeper):
    """The second is no move of the first."""
    os.link(share.folder / "Durand" / "radio.pdf", share.folder / "radio bis.pdf")
    keeper.look_at(ROOT, b"radio bis.pdf")
    keeper.settle()
    assert len(names(settings, share, "radio")) == 3


def test_names_that_are_no_text(settings, share, keeper):
    """Bytes that are no UTF-8 are read as Latin-1; links are listed, not followed."""
    (share.folder / "caf\udce9 noir").write_bytes(b"1")
    (share.folder / "way out").symlink_to("/etc")
    keeper.look_at_all()
    keeper.settle()
    assert [each.path for each in find(settings, [share], "café").hits] == [b"caf\xe9 noir"]
    assert [each.kind for each in find(settings, [share], "way out").hits] == ["l"]
    assert names(settings, share, "passwd") == []


def test_a_damaged_index_is_made_again(settings, share, keeper):
    """The disk is the authority."""
    path = path_of(settings, share.id)
    keeper.index.close()
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.write_bytes(b"SQLite format 3\0" + os.urandom(8000))
    assert find(settings, [share], "radio").unready == (share,)
    keeper.index = Index(path)
    assert names(settings, share, "radio") == []
    keeper.look_at_all()
    keeper.settle()
    assert len(names(settings, share, "radio")) == 2


def test_an_unplugged_disk_forgets_nothing(settings, share, keeper):
    """Nothing is destroyed in doubt: the folder of the share is not there, so nothing is known."""
    share.folder.rename(share.folder.with_name("elsewhere"))
    keeper.look_at_all()
    keeper.settle()
    assert len(names(settings, share, "radio")) == 2


def test_texts_are_found_by_words(settings, share, keeper):
    """Whole words, the last one may be begun; what is forgotten is found no more."""
    row = keeper.index.find(keeper.index.find(ROOT, b"Durand").id, b"radio.pdf")
    keeper.index.set_text(row.id, "Le cœur est de taille normale. Pas d’épanchement pleural.")

    def found(words: str) -> list[str]:
        return [
            each.path.decode() for each in find(settings, [share], words, place=Place.TEXTS).hits
        ]

    for words in ("coeur", "COEUR normale", "épanch", "epanchement pleural", "d’épanchement"):
        assert found(words) == ["Durand/radio.pdf"], words
    assert found("panchement") == []
    assert found("normal pleural") == []  # only the last may be begun
    assert found('" OR *') == []
    keeper.index.set_text(row.id, "Autre chose.")
    assert found("coeur") == []
    assert found("autre") == ["Durand/radio.pdf"]
    keeper.index.shelve(row.id)
    assert found("autre") == []
    keeper.settle()
    assert keeper.index.connection.execute("SELECT count(*) FROM page").fetchone() == (0,)


def test_a_snippet_shows_the_words_where_they_stand():
    """Accents and ligatures as written, whatever was typed."""
    text = "Début. " * 40 + "Le Cœur de Mme Élodie est normal. " + "Fin. " * 50
    pieces = around(text, ["coeur", "elodie"])
    assert [each.text for each in pieces if each.is_hit] == ["Cœur", "Élodie"]
    assert pieces[0].text == "…"
    assert sum(len(each.text) for each in pieces) < 260
    assert "".join(each.text for each in around("court", ["absent"])) == "court"
