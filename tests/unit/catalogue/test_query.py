"""Reading a catalogue: folders, histories, samples."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.catalogue import query
from appliance.catalogue.query import Order
from appliance.catalogue.store import Catalogue, of_source
from appliance.errors import CatalogueMissing, NotFound, SnapshotMissing
from appliance.model import EntryKind, SnapshotId
from appliance.settings import Settings
from tests.support.catalogues import a_file, a_folder, a_link, new_catalogue, night_of, write_night

ONE, TWO = SnapshotId(1), SnapshotId(2)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return new_catalogue(tmp_path)


def _names(catalogue: Catalogue, path: bytes = b"home/anna", **how) -> list[str]:
    return [row.name.decode() for row in query.folder(catalogue, ONE, path, **how).rows]


def test_a_folder_is_sorted_as_people_sort(catalogue):
    """Folders first, then names without regard to case and accents, numbers by value."""
    names = ["scan 10.pdf", "Scan 9.pdf", "Éric.txt", "eric.txt", "zèbre", "scan 009.pdf", "A.txt"]
    write_night(
        catalogue,
        1,
        a_folder("home/anna/z folder"),
        *(a_file(f"home/anna/{name}", "x") for name in names),
    )
    assert _names(catalogue) == [
        "z folder",
        "A.txt",
        "eric.txt",
        "Éric.txt",
        "Scan 9.pdf",
        "scan 009.pdf",
        "scan 10.pdf",
        "zèbre",
    ]
    assert _names(catalogue, order=Order.NAME_DOWN)[:2] == ["z folder", "zèbre"]


def test_a_folder_can_be_sorted_by_size_and_time_and_read_in_parts(catalogue):
    """A folder of thousands is read page by page, in the same order on each."""
    write_night(
        catalogue,
        1,
        *(
            a_file(f"home/anna/{n:03}", "x", size=(n * 7) % 100, at=(n * 3) % 100)
            for n in range(90)
        ),
    )
    whole = query.folder(catalogue, ONE, b"home/anna", limit=None, order=Order.SIZE_DOWN)
    assert [row.size for row in whole.rows] == sorted(
        ((n * 7) % 100 for n in range(90)), reverse=True
    )
    part = query.folder(catalogue, ONE, b"home/anna", offset=80, limit=20, order=Order.SIZE_DOWN)
    assert part.rows == whole.rows[80:]
    assert (part.total, part.offset) == (90, 80)
    times = query.folder(catalogue, ONE, b"home/anna", limit=None, order=Order.TIME).rows
    assert [row.mtime_ns for row in times] == sorted(row.mtime_ns for row in times)


def test_folders_above_what_was_asked_for_can_be_walked_through(catalogue):
    """The archive of /home/anna has no item «home», but a person begins at the top."""
    write_night(catalogue, 1, a_folder("home/anna"), a_file("home/anna/a.txt", "x"))
    write_night(catalogue, 2, gone=("home/anna", "home/anna/a.txt"))
    (top,) = query.folder(catalogue, ONE, b"").rows
    assert (top.path, top.kind, top.is_implied) == (b"home", EntryKind.FOLDER, True)
    (anna,) = query.folder(catalogue, ONE, b"home").rows
    assert (anna.path, anna.is_implied) == (b"home/anna", False)
    assert query.folder(catalogue, TWO, b"").rows == []
    with pytest.raises(NotFound):
        query.folder(catalogue, TWO, b"home")


def test_an_empty_folder_is_empty_and_a_missing_one_is_missing(catalogue):
    """«Nothing in it» and «not there» are two answers."""
    write_night(catalogue, 1, a_folder("home/anna"), a_file("home/anna/a.txt", "x"), a_folder("e"))
    assert query.folder(catalogue, ONE, b"e").rows == []
    for path in (b"home/anna/a.txt", b"nowhere", b"home/an"):
        with pytest.raises(NotFound):
            query.folder(catalogue, ONE, path)


def test_an_unknown_snapshot_is_an_error_everywhere(catalogue):
    """A snapshot that was pruned has no content, not an empty one."""
    write_night(catalogue, 2, a_file("a", "x"))
    for asked in (ONE, SnapshotId(3)):
        for question in (
            lambda asked=asked: query.folder(catalogue, asked, b""),
            lambda asked=asked: query.entry(catalogue, asked, b"a"),
            lambda asked=asked: list(query.walk(catalogue, asked)),
            lambda asked=asked: list(query.compare(catalogue, TWO, asked)),
            lambda asked=asked: query.sample(catalogue, asked),
            lambda asked=asked: query.totals(catalogue, asked),
        ):
            with pytest.raises(SnapshotMissing):
                question()


def test_an_entry_comes_back_with_all_it_had(catalogue):
    """Owner, times, link target and chunk ids are what a restore needs."""
    link = a_link("home/anna/link", "../béa")
    named = replace(a_file("home/anna/a", "x"), owner="anna", group=None, gid=None)
    write_night(catalogue, 1, link, named)
    assert query.entry(catalogue, ONE, link.path) == link
    assert query.entry(catalogue, ONE, named.path) == named


def test_a_deleted_file_has_a_history(catalogue):
    """Who looks for a lost file is shown where it was last."""
    for number, content in enumerate(["one", "two", "two", None, "two"], start=1):
        if content is None:
            write_night(catalogue, number, gone=("a",))
        else:
            write_night(catalogue, number, a_file("a", content))
    write_night(catalogue, 6, gone=("a",))
    found = query.history(catalogue, b"a")
    assert [(v.first, v.last, v.is_present) for v in found] == [
        (5, 5, False),
        (2, 3, False),
        (1, 1, False),
    ]
    assert found[-1].entry == a_file("a", "one")


def test_a_sample_is_the_same_for_the_same_seed_and_has_each_kind(catalogue):
    """A proof names what it looked at; a second look can look at the same."""
    write_night(
        catalogue, 1, a_folder("d"), *(a_file(f"d/{n}", f"old {n}", size=n + 1) for n in range(200))
    )
    changed = {f"d/{n}".encode() for n in range(40, 60)}
    write_night(catalogue, 2, *(a_file(p, "new", size=3) for p in sorted(changed)), gone=("d/199",))
    first = query.sample(catalogue, TWO, newest=5, largest=3, old=7, seed=1)
    assert query.sample(catalogue, TWO, newest=5, largest=3, old=7, seed=1) == first
    assert query.sample(catalogue, TWO, newest=5, largest=3, old=7, seed=2) != first
    assert {entry.path for entry in first.newest} < changed
    assert [entry.path for entry in first.largest] == [b"d/198", b"d/197", b"d/196"]
    assert len(first.all) == len({entry.path for entry in first.all}) == 15
    assert all(entry.kind is EntryKind.FILE for entry in first.all)


def test_a_sample_of_few_files_is_all_of_them(catalogue):
    """A small machine is proven by what it has."""
    write_night(catalogue, 1, *(a_file(f"{n}", "x") for n in range(4)))
    write_night(catalogue, 2)
    picked = query.sample(catalogue, TWO, newest=10, largest=2, old=10)
    assert {entry.path for entry in picked.all} == {b"0", b"1", b"2", b"3"}


def test_a_walk_gives_each_folder_before_what_it_holds(catalogue):
    """A restore makes the folder first."""
    paths = ["a", "a/b", "a/b/c", "a/b/c/f", "a-b", "a/b-", "a/b/d"]
    entries = [a_file(p, "x") if p.endswith(("f", "-")) else a_folder(p) for p in paths]
    write_night(catalogue, 1, *entries)
    walked = [entry.path.decode() for entry in query.walk(catalogue, ONE, b"a")]
    assert walked == ["a", "a/b", "a/b-", "a/b/c", "a/b/d", "a/b/c/f"]
    assert [e.path for e in query.walk(catalogue, ONE, b"a/b/c/f")] == [b"a/b/c/f"]
    with pytest.raises(NotFound):
        list(query.walk(catalogue, ONE, b"a/x"))


def test_what_would_be_lost_is_counted_whole_and_named_in_part(catalogue):
    """Before pruning, a person reads which files exist nowhere else."""
    write_night(catalogue, 1, *(a_file(f"d/{n}", "x", size=10) for n in range(30)))
    write_night(catalogue, 2, gone=tuple(f"d/{n}" for n in range(20)))
    lost = query.lost_if_removed(catalogue, [ONE], limit=5)
    assert (lost.files, lost.bytes, len(lost.first)) == (20, 200, 5)
    assert lost.first[0].last == ONE
    assert query.lost_if_removed(catalogue, [TWO]).files == 0
    assert query.lost_if_removed(catalogue, [ONE], [ONE, TWO]).files == 20
    assert query.lost_if_removed(catalogue, [ONE, TWO]).files == 30


def test_a_comparison_goes_both_ways(catalogue):
    """From the newer to the older, what was added is what would be removed."""
    write_night(catalogue, 1, a_file("a", "one"), a_file("b", "one"))
    write_night(catalogue, 2, a_file("a", "two"), a_file("c", "new"), gone=("b",))
    there = {c.path: c.kind.value for c in query.compare(catalogue, ONE, TWO)}
    back = {c.path: c.kind.value for c in query.compare(catalogue, TWO, ONE)}
    assert there == {b"a": "changed", b"b": "removed", b"c": "added"}
    assert back == {b"a": "changed", b"b": "added", b"c": "removed"}


def test_a_question_is_answered_of_one_moment(catalogue):
    """A walk that began before a night's commit does not see it."""
    write_night(catalogue, 1, *(a_file(f"{n}", "one") for n in range(50)))
    walk = query.walk(catalogue, ONE)
    next(walk)
    write_night(catalogue, 2, a_file("1", "two"))
    catalogue.forget([ONE])
    assert sum(1 for _ in walk) == 49


def test_the_catalogue_of_a_source_is_found_by_its_number(settings: Settings):
    """One file per source, in one folder."""
    with pytest.raises(CatalogueMissing):
        of_source(settings, 3)
    made = of_source(settings, 3, create=True)
    write_night(made, 1, a_file("a", "x"))
    assert (settings.catalogues / "3.sqlite").exists()
    assert query.snapshots(of_source(settings, 3))[0].taken_at == night_of(1)
