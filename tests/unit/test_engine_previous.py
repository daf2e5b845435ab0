"""What earlier archives hold: found by path, seen once, nothing forgotten."""

import stat

from hypothesis import given
from hypothesis import strategies as st

from appliance.backup_jobs.borg_library_items import entries, pack_chunks, unpack_chunks
from appliance.backup_jobs.borg_library_previous import Previous

REGULAR = stat.S_IFREG | 0o644
CHUNK = (b"\1" * 32, 100, 60)
OTHER = (b"\2" * 32, 50, 40)


def item(path: bytes, mtime: int = 1, chunks=(CHUNK,), **more) -> dict:
    """A file as Borg stores it."""
    return {b"path": path, b"mtime": mtime, b"mode": REGULAR, b"chunks": chunks, **more}


@given(st.dictionaries(st.binary(min_size=1, max_size=40), st.integers(0, 2**62), max_size=60))
def test_every_item_is_found_with_what_it_was(files):
    """Any bytes as a path; what is asked for is not reported as vanished."""
    previous = Previous()
    previous.load([item(path, mtime) for path, mtime in files.items()], 7.0, is_base=True)
    half = list(files)[::2]
    for path in half:
        found = previous.find(path)
        assert found is not None
        assert (found.mtime_ns, found.size, found.chunks) == (files[path], 100, [CHUNK])
        assert not found.again
        assert previous.find(path).again
    assert {path for path, _is_file in previous.vanished()} == set(files) - set(half)


def test_paths_with_one_hash_stay_apart(monkeypatch):
    """Two paths may share a hash: both are found, and neither for the other."""
    import appliance.backup_jobs.borg_library_previous as module

    monkeypatch.setattr(module, "hash", lambda path: len(path), raising=False)
    previous = Previous()
    previous.load([item(b"aa", 1), item(b"bb", 2), item(b"cc", 3)], 7.0, is_base=True)
    assert previous.find(b"bb").mtime_ns == 2
    assert previous.find(b"aa").mtime_ns == 1
    assert previous.find(b"dd") is None
    assert [path for path, _ in previous.vanished()] == [b"cc"]


def test_a_checkpoint_stands_for_the_base_and_the_base_is_still_known():
    """Content comes from the newest, changes are counted from the base."""
    previous = Previous()
    previous.load([item(b"a", 1), item(b"gone", 1)], 7.0, is_base=True)
    previous.load([item(b"a", 2, (OTHER,)), item(b"new", 2)], 9.0, is_base=False)
    found = previous.find(b"a")
    assert (found.mtime_ns, found.in_base, found.taken_s, found.chunks) == (2, False, 9.0, [OTHER])
    base = previous.find_base(b"a")
    assert (base.mtime_ns, base.in_base) == (1, True)
    assert previous.find_base(b"new") is None
    assert [path for path, _ in previous.vanished()] == [b"gone"]


def test_parts_of_an_unfinished_file_make_its_beginning():
    """In their order; a gap makes them worthless; a finished file needs none."""

    def part(path: bytes, number: int, chunk) -> dict:
        return item(path + b".borg_part_%d" % number, 5, (chunk,), part=None) | {b"part": number}

    previous = Previous()
    previous.load(
        [
            part(b"big", 1, CHUNK),
            part(b"big", 2, OTHER),
            part(b"gap", 2, OTHER),
            part(b"done", 1, CHUNK),
            item(b"done", 5, (CHUNK, OTHER)),
        ],
        9.0,
        is_base=False,
    )
    assert previous.parts[b"big"].chunks == (CHUNK, OTHER)
    assert previous.parts[b"big"].size == 150
    assert set(previous.parts) == {b"big"}
    assert previous.find(b"done").size == 150


def test_a_hard_link_has_the_content_of_the_file_it_stands_for():
    """Borg stores it once; for a person both are files."""
    items = [item(b"one", hardlink_master=True), item(b"two", chunks=())]
    items[0][b"hardlink_master"] = True
    items[1][b"source"] = b"one"
    first, second = entries(items)
    assert first.chunks == second.chunks == pack_chunks([CHUNK])
    assert (second.size, second.target) == (100, None)
    assert unpack_chunks(second.chunks) == [CHUNK[:2]]
    previous = Previous()
    previous.load(items, 1.0, is_base=True)
    assert previous.find(b"two").chunks == [CHUNK]
    assert previous.base_bytes == 200
