"""A folder as people sort it, without what is ours."""

import os
import time
from pathlib import Path

import pytest
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


def test_a_small_folder_read_a_moment_ago_needs_no_thread(tmp_path: Path) -> None:
    """And shows what it holds now: sizes are asked anew, names are those of the disk."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "2.txt").write_text("xx")
    (tmp_path / "a" / "10.txt").write_text("x")
    assert listing.read_known(tmp_path, b"a") is None  # nobody read it yet

    first = listing.read(tmp_path, b"a")
    assert listing.read_known(tmp_path, b"a") == first

    with (tmp_path / "a" / "2.txt").open("a") as file:
        file.write("more")
    known = listing.read_known(tmp_path, b"a")
    assert known is not None
    assert [each.size for each in known.entries] == [6, 1]

    (tmp_path / "a" / "3.txt").write_text("new")
    assert listing.read_known(tmp_path, b"a") is None  # it changed: in a thread again
    assert len(listing.read(tmp_path, b"a").entries) == 3
    known = listing.read_known(tmp_path, b"a")
    assert known is not None
    assert [each.name for each in known.entries] == [b"2.txt", b"3.txt", b"10.txt"]


def test_what_is_large_or_long_ago_is_left_to_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may have to be asked, and others would wait."""
    for number in range(5):
        (tmp_path / f"{number}").touch()
    listing.read(tmp_path, b"")
    assert listing.read_known(tmp_path, b"") is not None

    monkeypatch.setattr(listing, "SMALL", 4)
    assert listing.read_known(tmp_path, b"") is None
    monkeypatch.setattr(listing, "SMALL", 5)
    monkeypatch.setattr(listing, "LATELY_S", -1.0)
    assert listing.read_known(tmp_path, b"") is None


def test_what_is_ours_is_left_out_of_what_is_known_too(tmp_path: Path) -> None:
    """No door shows the bin's folder."""
    (tmp_path / ".armoire").mkdir()
    (tmp_path / "a.txt").touch()
    listing.read(tmp_path, b"")
    known = listing.read_known(tmp_path, b"")

    assert known is not None
    assert [each.name for each in known.entries] == [b"a.txt"]
    assert listing.read_known(tmp_path, b"nothing") is None


def test_a_large_folder_is_not_read_twice_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that comes or goes is seen at once all the same."""
    monkeypatch.setattr(listing, "LARGE", 3)
    monkeypatch.setattr(listing, "AGAIN_S", 60.0)
    for number in range(4):
        (tmp_path / f"{number}").touch()
    long_ago = 1_700_000_000_000_000_000
    os.utime(tmp_path, ns=(long_ago, long_ago))  # it has been quiet for long
    first = listing.read(tmp_path, b"")
    assert listing.read(tmp_path, b"") is first

    (tmp_path / "5").touch()
    assert len(listing.read(tmp_path, b"").entries) == 5
    (tmp_path / "5").unlink()
    assert len(listing.read(tmp_path, b"").entries) == 4
    just_now = time.time_ns() + 600 * 10**9  # still so on a machine that stops for a moment
    os.utime(tmp_path, ns=(just_now, just_now))  # it changed just now: read each time
    assert listing.read(tmp_path, b"") is not listing.read(tmp_path, b"")

    os.utime(tmp_path, ns=(long_ago, long_ago))
    first = listing.read(tmp_path, b"")
    monkeypatch.setattr(listing, "AGAIN_S", -1.0)
    assert listing.read(tmp_path, b"") is not first
