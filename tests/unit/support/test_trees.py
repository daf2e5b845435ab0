"""The trees of the tests hold what they say."""

import os
import shutil

from tests.support import trees


def test_an_odd_tree_holds_every_oddity(tmp_path):
    """One of each kind, names that are not text, and a path longer than PATH_MAX."""
    root = tmp_path / "odd"
    trees.make_odd_tree(root)
    seen = trees.snapshot_of_tree(root)
    assert {each.kind for each in seen.values()} == {"file", "folder", "link", "fifo", "socket"}
    assert {trees.NOT_UTF8, trees.NFC, trees.NFD, trees.NEWLINE} <= set(seen)
    assert trees.NFC != trees.NFD
    assert seen[b"empty"].size == 0
    assert seen[b"loop"].content == b"."
    assert max(len(path) for path in seen) > 4096
    assert (root / "sparse").stat().st_blocks * 512 < seen[b"sparse"].size


def test_two_equal_trees_compare_equal_and_one_changed_byte_does_not(tmp_path):
    """The comparison sees content, mode, time and targets."""
    for name in ("one", "two"):
        trees.make_odd_tree(tmp_path / name)
        os.utime(tmp_path / name, ns=(0, 0))
    one = trees.snapshot_of_tree(tmp_path / "one")
    assert one == trees.snapshot_of_tree(tmp_path / "two")
    path = tmp_path / "two" / "private"
    was = path.stat()
    path.write_bytes(b"secreT")
    os.utime(path, ns=(0, was.st_mtime_ns))
    two = trees.snapshot_of_tree(tmp_path / "two")
    assert {name for name in one if one[name] != two[name]} == {b"private"}
    shutil.rmtree(tmp_path / "two")
