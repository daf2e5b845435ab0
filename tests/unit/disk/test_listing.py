"""A folder as people sort it, without what is ours."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from appliance.disk import listing


def names(root: Path, path: bytes = b"") -> list[bytes]:
    return [each.name for each in listing.read(root, path).entries]


def test_a_folder_is_sorted_as_people_sort(tmp_path: Path) -> None:
    """Folders first, «2» before «10», «é» beside «e»; a second look is the same, a change is seen."""
    for name in ("b10", "b2", "Émile", "eric", "a.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "zoo").mkdir()
    (tmp_path / ".armoire").mkdir()
    wanted = [b"zoo", b"a.txt", b"b2", b"b10", "Émile".encode(), b"eric"]
    assert names(tmp_path) == wanted
    assert names(tmp_path) == wanted
    (tmp_path / "b3").write_bytes(b"x")
    assert names(tmp_path) == [b"zoo", b"a.txt", b"b2", b"b3", b"b10", "Émile".encode(), b"eric"]


def test_sizes_are_of_now_even_when_the_order_is_kept(tmp_path: Path) -> None:
    """A file that grew does not change its folder."""
    (tmp_path / "a").write_bytes(b"x")
    assert listing.read(tmp_path, b"").entries[0].size == 1
    (tmp_path / "a").write_bytes(b"xx")
    (found,) = listing.read(tmp_path, b"").entries
    assert found.size == 2
    assert found.etag == listing.entry(tmp_path, b"a").etag


def test_links_pipes_and_odd_names_are_shown_as_what_they_are(tmp_path: Path) -> None:
    """Nothing is left out in silence."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/")
    (tmp_path / os.fsdecode(b"caf\xe9")).write_bytes(b"")
    kinds = {each.name: each.kind for each in listing.read(tmp_path, b"").entries}
    assert kinds == {b"pipe": "other", b"link": "link", b"caf\xe9": "file"}


@given(st.lists(st.text(alphabet="a1é .-20Z", min_size=1, max_size=6), max_size=10))
def test_every_name_has_a_place_in_the_order(texts: list[str]) -> None:
    """Names of any mixture of digits and letters compare without an error."""
    ordered = sorted((each.encode() for each in texts), key=listing.natural_key)
    assert sorted(ordered) == sorted(each.encode() for each in texts)
