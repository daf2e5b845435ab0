"""The quick way to a file leads exactly where the careful one does, or nowhere."""

import os
import random

import pytest

from appliance.disk import cached_open, paths
from appliance.errors import ArmoireError, InvalidInput


@pytest.fixture
def root(tmp_path):
    share = tmp_path / "share"
    (share / "a" / "b").mkdir(parents=True)
    (share / "a" / "b" / "lettre.txt").write_text("Chère consœur")
    (share / "a" / "é\n.txt").write_text("x")
    (tmp_path / "outside.txt").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "lettre.txt").write_text("secret")
    (share / "link.txt").symlink_to(tmp_path / "outside.txt")
    (share / "inner.txt").symlink_to("a/b/lettre.txt")
    (share / "folder").symlink_to(tmp_path / "outside")
    (share / "a" / "up").symlink_to("..")
    (share / ".armoire").mkdir()
    (share / ".armoire" / "part").write_text("half")
    os.mkfifo(share / "pipe")
    return share


def by_thread(root, path):
    """What the careful way says: a content, or an error."""
    try:
        descriptor = paths.open_file(root, path)
    except ArmoireError as error:
        return type(error)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def test_a_file_on_a_known_way_is_opened(root):
    """The usual case; else nothing would be gained."""
    by_thread(root, b"a/b/lettre.txt")  # now the way is in memory
    descriptor = cached_open.open_file(root, b"a/b/lettre.txt")

    assert descriptor is not None
    with os.fdopen(descriptor, "rb") as file:
        assert file.read().decode() == "Chère consœur"


def test_a_descriptor_is_not_left_to_other_programs(root):
    """As the careful way: closed when another program is started."""
    by_thread(root, b"a/b/lettre.txt")
    descriptor = cached_open.open_file(root, b"a/b/lettre.txt")

    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"a",
        b"a/b",
        b"pipe",
        b"link.txt",
        b"inner.txt",
        b"folder/lettre.txt",
        b"a/up/a/b/lettre.txt",
        b"nothing.txt",
        b"a/b/lettre.txt/more",
    ],
)
def test_what_is_no_file_of_the_share_is_left_to_the_careful_way(root, path):
    """Links, folders, pipes, what is missing: no descriptor."""
    by_thread(root, path)

    assert cached_open.open_file(root, path) is None


@pytest.mark.parametrize(
    "path", [b"../outside.txt", b"a/../../outside.txt", b"/etc/passwd", b".armoire/part", b"a//b"]
)
def test_a_path_that_is_none_is_refused_in_the_same_words(root, path):
    """One rule for paths."""
    with pytest.raises(InvalidInput):
        cached_open.open_file(root, path)


def test_invented_paths_never_lead_elsewhere(root):
    """Ten thousand of them: what is opened is what the careful way opens."""
    dice = random.Random(191)
    usual = [b"a", b"b", b"lettre.txt"]
    names = [*usual * 4, b"..", b".", b"", b"link.txt", b"folder", b"up", b"\xff", b".armoire"]
    before = len(os.listdir("/proc/self/fd"))
    opened = 0
    for _ in range(10_000):
        path = b"/".join(dice.choices(names, k=dice.randint(1, 5)))
        try:
            descriptor = cached_open.open_file(root, path)
        except InvalidInput:
            assert by_thread(root, path) is InvalidInput, path
            continue
        if descriptor is not None:
            opened += 1
            with os.fdopen(descriptor, "rb") as file:
                assert file.read() == by_thread(root, path), path

    assert opened > 20
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_exchanged_for_a_link_leads_nowhere(root, tmp_path):
    """Also when it was a folder a moment ago, and known."""
    by_thread(root, b"a/b/lettre.txt")
    (root / "a").rename(root / "was")
    (root / "a").symlink_to(tmp_path / "outside")

    assert cached_open.open_file(root, b"a/lettre.txt") is None
