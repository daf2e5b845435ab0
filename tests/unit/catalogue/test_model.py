"""The catalogue against a model: dictionaries, one per snapshot, that cannot be wrong."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.catalogue import query
from appliance.catalogue.rebuild import canonical_dump, import_archive, rebuild
from appliance.catalogue.store import Catalogue
from appliance.errors import NotFound
from appliance.model import Entry, EntryKind, SnapshotId
from tests.support.catalogues import a_file, a_folder, new_catalogue, night_of

Tree = dict[bytes, Entry]

# Few paths and few contents: things must come back, be the same again, change kind.
PATHS = [b"a", b"a/b", b"a/b/c", b"a-b", b"a/\xe9", b"z/y/x", b"z/y/w"]
ENTRIES = [
    *(a_file(p, c) for p in PATHS for c in ("one", "two", "")),
    *(a_folder(p) for p in PATHS),
    replace(a_file(PATHS[1], "one"), owner=None, uid=None),
]
trees = st.lists(st.sampled_from(ENTRIES), max_size=8).map(lambda es: {e.path: e for e in es})
nights = st.lists(
    st.one_of(trees, st.sets(st.integers(1, 9), min_size=1, max_size=4)), min_size=1, max_size=9
)


def _write(catalogue: Catalogue, snapshot: int, before: Tree, after: Tree, dice: random.Random):
    """One night as the engine names it: changes only, in any order, with a little noise."""
    changed = [entry for path, entry in after.items() if before.get(path) != entry]
    same = [entry for path, entry in after.items() if before.get(path) == entry]
    noise = dice.sample(same, len(same) // 2)
    dice.shuffle(changed)
    with catalogue.night(SnapshotId(snapshot), night_of(snapshot)) as night:
        for entry in changed + noise:
            night.put(entry)
        for path in before.keys() - after.keys():
            night.gone(path)
        night.commit()


def _check(catalogue: Catalogue, kept: dict[int, Tree]) -> None:
    assert catalogue.known_snapshots() == sorted(kept, reverse=True)
    for snapshot, tree in kept.items():
        at = SnapshotId(snapshot)
        walked = list(query.walk(catalogue, at))
        assert {e.path: e for e in walked} == tree
        assert len(walked) == len(tree)
        held = query.totals(catalogue, at)
        files = [e for e in tree.values() if e.kind is EntryKind.FILE]
        assert (held.files, held.bytes) == (len(files), sum(e.size for e in files))
        assert held.folders == len(tree) - len(files)
        for path in PATHS:
            _check_path(catalogue, at, path, tree)
        top = {path.partition(b"/")[0] for path in tree}
        assert {row.path for row in query.folder(catalogue, at, b"").rows} == top
        for other, then in kept.items():
            changes = list(query.compare(catalogue, at, SnapshotId(other)))
            assert {c.path: (c.before, c.after) for c in changes} == {
                path: (tree.get(path), then.get(path))
                for path in tree.keys() | then.keys()
                if tree.get(path) != then.get(path)
            }


def _check_path(catalogue: Catalogue, at: SnapshotId, path: bytes, tree: Tree) -> None:
    try:
        found = query.entry(catalogue, at, path)
    except NotFound:
        assert path not in tree
    else:
        assert found == tree[path]
    below = {p: e for p, e in tree.items() if p == path or p.startswith(path + b"/")}
    try:
        walked = list(query.walk(catalogue, at, path))
    except NotFound:
        assert not below
    else:
        assert {e.path: e for e in walked} == below


def _check_histories(catalogue: Catalogue, kept: dict[int, Tree]) -> None:
    for path in PATHS:
        runs: list[tuple[Entry, int, int]] = []
        last: Entry | None = None
        for snapshot, tree in sorted(kept.items()):
            here = tree.get(path)
            if here is not None and here == last:
                runs[-1] = (here, runs[-1][1], snapshot)
            elif here is not None:
                runs.append((here, snapshot, snapshot))
            last = here
        try:
            found = query.history(catalogue, path)
        except NotFound:
            assert not runs
        else:
            assert [(v.entry, v.first, v.last) for v in found] == runs[::-1]
            assert found[0].is_present == (found[0].last == max(kept))


def _check_lost(catalogue: Catalogue, kept: dict[int, Tree], removed: set[int]) -> None:
    def files(snapshots: Sequence[int]) -> set[bytes]:
        return {e.path for s in snapshots for e in kept[s].values() if e.kind is EntryKind.FILE}

    gone = [s for s in kept if s in removed]
    stay = [s for s in kept if s not in removed]
    lost = query.lost_if_removed(catalogue, [SnapshotId(s) for s in gone])
    expected = files(gone) - files(stay)
    assert lost.files == len(expected)
    assert {v.entry.path for v in lost.first} == expected


@given(nights, st.integers(0, 1000), st.booleans())
@settings(max_examples=120)
def test_the_catalogue_says_what_the_archives_hold(steps, seed, by_import):
    """Nights, prunings and imports in any order: every question is answered as by the archives."""
    dice = random.Random(seed)
    with TemporaryDirectory() as folder:
        catalogue = new_catalogue(Path(folder))
        kept: dict[int, Tree] = {}
        newest = 0
        for step in steps:
            if isinstance(step, set):
                _check_lost(catalogue, kept, step)
                catalogue.forget([SnapshotId(each) for each in step])
                kept = {s: tree for s, tree in kept.items() if s not in step}
                continue
            newest += 1
            before = kept[max(kept)] if kept else {}
            if by_import:
                entries = list(step.values())
                dice.shuffle(entries)
                import_archive(catalogue, SnapshotId(newest), night_of(newest), entries)
            else:
                _write(catalogue, newest, before, step, dice)
            kept[newest] = step
        _check(catalogue, kept)
        _check_histories(catalogue, kept)
        other = Path(folder) / "8.sqlite"
        rebuild(other, ((SnapshotId(s), night_of(s), t.values()) for s, t in sorted(kept.items())))
        assert canonical_dump(other) == canonical_dump(catalogue.path)
        with catalogue.writing() as connection:  # the index of names holds what the names say
            connection.execute("DELETE FROM names WHERE 0")
        catalogue.close()
