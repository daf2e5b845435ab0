"""A catalogue made again from the archives."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from appliance.catalogue import query
from appliance.catalogue.names import find_names
from appliance.catalogue.rebuild import canonical_dump, canonical_lines, import_archive, rebuild
from appliance.catalogue.store import Catalogue
from appliance.errors import ArchiveListUnreadable, CatalogueBusy, NightOutOfOrder
from appliance.model import Entry, SnapshotId
from tests.support.catalogues import (
    a_file,
    a_folder,
    a_link,
    new_catalogue,
    night_of,
    write_night,
)

Tree = dict[bytes, Entry]
ROOT = Path(__file__).parents[3]


def _tree(*entries: Entry) -> Tree:
    return {entry.path: entry for entry in entries}


def _archives(trees: dict[int, Tree]):
    return (
        (SnapshotId(number), night_of(number), list(tree.values()))
        for number, tree in sorted(trees.items())
    )


@pytest.fixture
def trees() -> dict[int, Tree]:
    """Four archives, in which things come, change, go and come back."""
    base = [a_folder("d"), *(a_file(f"d/{n}", f"{n}") for n in range(50)), a_link("l", "d/1")]
    return {
        1: _tree(*base),
        2: _tree(*base[:40], a_file("d/1", "changed"), a_file("d/é", "new")),
        3: _tree(*base, a_file("d/e/f", "x")),
        5: _tree(*base[10:]),
    }


@pytest.fixture
def catalogue(tmp_path: Path, trees: dict[int, Tree]) -> Catalogue:
    """Written night by night, changes only."""
    made = new_catalogue(tmp_path)
    before: Tree = {}
    for number, tree in sorted(trees.items()):
        write_night(
            made,
            number,
            *(entry for path, entry in tree.items() if before.get(path) != entry),
            gone=tuple(path.decode() for path in before.keys() - tree.keys()),
        )
        before = tree
    return made


@pytest.mark.parametrize("pruned", [(), (1,), (2,), (2, 3), (1, 5), (5,), (1, 2, 3, 5)])
def test_a_rebuilt_catalogue_says_the_same(tmp_path, catalogue, trees, pruned):
    """The repository alone is enough, whatever was pruned meanwhile."""
    catalogue.forget([SnapshotId(each) for each in pruned])
    rest = {number: tree for number, tree in trees.items() if number not in pruned}
    again = tmp_path / "rebuilt" / "7.sqlite"
    again.parent.mkdir()
    assert rebuild(again, _archives(rest)) == len(rest)
    assert sorted(os.listdir(again.parent)) == ["7.sqlite"]
    assert list(canonical_lines(again)) == list(canonical_lines(catalogue.path))


def test_a_difference_is_seen(tmp_path, catalogue, trees):
    """The comparison of the tests above can fail."""
    tree = dict(trees[5])
    tree[b"d/20"] = a_file("d/20", "20", at=1)
    again = tmp_path / "8.sqlite"
    rebuild(again, _archives({**trees, 5: tree}))
    assert canonical_dump(again) != canonical_dump(catalogue.path)


def test_half_a_listing_replaces_nothing(catalogue):
    """An archive that cannot be read to its end is an error, not an emptier archive."""
    before = canonical_dump(catalogue.path)

    def broken():
        yield a_file("d/1", "1")
        raise ArchiveListUnreadable("repositories/7", "cut")

    with pytest.raises(ArchiveListUnreadable):
        rebuild(catalogue.path, [(SnapshotId(1), night_of(1), broken())])
    with pytest.raises(ArchiveListUnreadable):
        import_archive(catalogue, SnapshotId(9), night_of(9), broken())
    assert canonical_dump(catalogue.path) == before
    assert [each for each in os.listdir(catalogue.path.parent) if "rebuild" in each] == []


@pytest.mark.parametrize("size", [0, 100, 30_000])
def test_a_damaged_catalogue_is_made_again(catalogue, trees, size):
    """Damage of the list costs time, nothing else; the damaged file is kept aside."""
    good = canonical_dump(catalogue.path)
    write_night(catalogue, 6, a_file("only here", "x"))
    catalogue.close()
    catalogue.path.write_bytes(os.urandom(size))
    rebuild(catalogue.path, _archives(trees))
    assert canonical_dump(catalogue.path) == good
    assert catalogue.path.with_name("7.sqlite.damaged").stat().st_size == size
    assert write_night(catalogue, 6, a_file("x", "y")).added == 1


def test_people_go_on_reading_while_it_is_made_again(catalogue, trees):
    """A walk that began in the old list ends in the old list; the next one is in the new."""
    walk = query.walk(catalogue, SnapshotId(5))
    next(walk)
    rebuild(catalogue.path, _archives({5: _tree(a_file("other", "x"))}))
    assert sum(1 for _ in walk) == len(trees[5]) - 1
    assert {each.partition("-")[0] for each in os.listdir(catalogue.path.parent)} == {"7.sqlite"}
    assert [entry.path for entry in query.walk(catalogue, SnapshotId(5))] == [b"other"]
    assert len(find_names(catalogue.path.parent, "other").hits) == 1


def test_a_night_during_a_rebuild_is_not_lost(catalogue, trees):
    """The rebuild gives way: it did not see the archive of that night."""

    def archives():
        yield from _archives(trees)
        write_night(catalogue, 6, a_file("during", "x"))

    with pytest.raises(CatalogueBusy):
        rebuild(catalogue.path, archives())
    assert query.entry(catalogue, SnapshotId(6), b"during").size == 1


def test_archives_out_of_order_are_refused(tmp_path, trees):
    """A snapshot's versions would have the wrong nights."""
    with pytest.raises(NightOutOfOrder):
        rebuild(tmp_path / "9.sqlite", reversed(list(_archives(trees))))
    assert not (tmp_path / "9.sqlite").exists()


def test_an_import_counts_like_a_night(catalogue, trees):
    """A machine that pushed shows the same figures as one that was pulled."""
    tree = {path: entry for path, entry in trees[5].items() if path != b"l"}
    tree[b"d/20"] = a_file("d/20", "other")
    tree[b"new/folder/f"] = a_file("new/folder/f", "x")
    counts = import_archive(catalogue, SnapshotId(6), night_of(6), reversed(list(tree.values())))
    assert (counts.added, counts.changed, counts.gone, counts.unchanged) == (1, 1, 1, 0)


def test_readers_of_every_thread_agree(catalogue):
    """The web answers from several threads at once."""
    answers: list[int] = []
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(20):
                answers.append(query.folder(catalogue, SnapshotId(3), b"d").total)
        except BaseException as error:  # a thread's failure must reach the test
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for each in threads:
        each.start()
    for number in range(6, 12):
        write_night(catalogue, number, a_file(f"d/{number}", "later"))
    for each in threads:
        each.join()
    assert not failures
    assert set(answers) == {51}


_KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
from appliance.catalogue.rebuild import rebuild
from appliance.catalogue.store import Catalogue
from appliance.model import SnapshotId
from tests.support.catalogues import a_file, night_of
path, verb, delay = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
archives = [
    (SnapshotId(n), night_of(n), [a_file(f"d/{k}", f"{n} {k % (n + 1)}") for k in range(2_000)])
    for n in (2, 3)
]
print("ready", flush=True)
kill = lambda: (time.sleep(delay), os.kill(os.getpid(), signal.SIGKILL))
threading.Thread(target=kill, daemon=True).start()
if verb == "rebuild":
    rebuild(path, archives)
else:
    Catalogue.open(path).forget([SnapshotId(1), SnapshotId(3)])
print("done", flush=True)
"""


@pytest.mark.fault
@pytest.mark.parametrize("verb", ["rebuild", "forget"])
def test_kill_9_while_it_is_made_again_or_pruned_leaves_the_old_or_the_new(tmp_path, verb):
    """Whole, either way; and the next one finds nothing in its way."""
    path = tmp_path / "7.sqlite"
    dumps: dict[str, str] = {}
    seen: set[str] = set()
    for delay in (None, 0.0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3):
        for each in tmp_path.glob("7.sqlite*"):
            each.unlink()
        made = new_catalogue(tmp_path)
        for number in (1, 2, 3):
            write_night(made, number, *(a_file(f"d/{k}", f"{number}") for k in range(2_000)))
        made.close()
        dumps["old"] = canonical_dump(path)
        ended = subprocess.run(
            [sys.executable, "-c", _KILLED, str(path), verb, str(60 if delay is None else delay)],
            check=False,
            capture_output=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=60,
        )
        if delay is None:  # once to its end: what «new» is
            assert ended.stdout.endswith(b"done\n")
            dumps["new"] = canonical_dump(path)
            assert dumps["new"] != dumps["old"]
            continue
        after = canonical_dump(path)
        assert after in dumps.values()
        seen.add("old" if after == dumps["old"] else "new")
        if verb == "forget":
            made.forget([SnapshotId(1), SnapshotId(3)])
            assert canonical_dump(path) == dumps["new"]
        else:
            rebuild(path, [(SnapshotId(2), night_of(2), [a_file("x", "y")])])
            assert {each.partition("-")[0] for each in os.listdir(tmp_path)} == {"7.sqlite"}
        assert write_night(made, 9, a_file("later", "x")).added == 1
    assert "old" in seen
