"""The one door to user files leads nowhere but beneath the share."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.disk import paths
from appliance.errors import DiskError, FileMissing, InvalidInput, NotAFile, NotAFolder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    share = tmp_path / "share"
    (share / "letters" / "2026").mkdir(parents=True)
    (share / "letters" / "march.txt").write_bytes(b"a letter")
    (tmp_path / "secret.txt").write_bytes(b"outside")
    (share / ".armoire").mkdir()
    (share / ".armoire" / "part").write_bytes(b"ours")
    (share / "out").symlink_to(tmp_path)
    (share / "letters" / "out.txt").symlink_to(tmp_path / "secret.txt")
    (share / "letters" / "in.txt").symlink_to("march.txt")
    os.mkfifo(share / "pipe")
    return share


def test_a_file_is_opened(root: Path) -> None:
    """The way that everything takes."""
    descriptor = paths.open_file(root, b"letters/march.txt")
    try:
        assert os.read(descriptor, 100) == b"a letter"
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "path",
    [
        b"../secret.txt",
        b"letters/../../secret.txt",
        b"/etc/passwd",
        b"letters//march.txt",
        b"./letters",
        b"letters/.",
        b"letters\0/x",
        b".armoire/part",
        b".Armoire/part",
        b".armoire",
        b"a/" * 150 + b"a",
        b"x" * 256,
    ],
)
def test_what_is_no_path_of_a_share_is_refused(root: Path, path: bytes) -> None:
    """Refused before the disk is asked, by every one of the three ways in."""
    with pytest.raises(InvalidInput):
        paths.open_file(root, path)
    with pytest.raises(InvalidInput), paths.open_folder(root, path):
        pass
    with pytest.raises(InvalidInput), paths.open_parent(root, path):
        pass


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"out/secret.txt", NotAFolder),
        (b"letters/out.txt", NotAFile),
        (b"letters/in.txt", NotAFile),
        (b"letters", NotAFile),
        (b"letters/march.txt/x", NotAFolder),
        (b"pipe", NotAFile),
        (b"nothing", FileMissing),
        (b"nothing/x", FileMissing),
    ],
)
def test_links_and_devices_are_never_followed(
    root: Path, path: bytes, error: type[DiskError]
) -> None:
    """A link inside the share leads nowhere either, and a pipe does not make the box wait."""
    with pytest.raises(error):
        os.close(paths.open_file(root, path))


def test_a_socket_is_no_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be opened at all is said to be no file."""
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
        with pytest.raises(NotAFile):
            paths.open_file(root, b"socket")


def test_a_folder_exchanged_for_a_link_leads_nowhere(root: Path) -> None:
    """Between the look and the step somebody puts a link where a folder was: the step fails."""
    with paths.open_folder(root, b"letters") as folder:
        os.rename(root / "letters", root / "moved")
        (root / "letters").symlink_to(root.parent)
        # What was opened is still the folder it was.
        assert b"march.txt" in {os.fsencode(each) for each in os.listdir(folder)}
    with pytest.raises(NotAFolder), paths.open_folder(root, b"letters"):
        pass


def test_no_descriptor_is_left_open(root: Path) -> None:
    """Thousands of refusals cost no descriptor."""
    before = len(os.listdir("/proc/self/fd"))
    for path in (b"out/secret.txt", b"letters/out.txt", b"nothing/x", b"pipe", b"letters"):
        for _ in range(50):
            with pytest.raises(DiskError):
                paths.open_file(root, path)
    assert len(os.listdir("/proc/self/fd")) == before


_PIECES = st.sampled_from(
    [b"..", b".", b"", b"letters", b"out", b"out.txt", b".armoire", b"%2e%2e", b"..\\", b"2026",
     b"secret.txt", b"\xff", b"...", b"march.txt", b"\xe2\x80\xae"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=8))
def test_whatever_is_asked_nothing_outside_is_read(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    """Brute force: no mixture of names reads the file beside the share."""
    base = tmp_path_factory.getbasetemp() / "brute"
    share = base / "share"
    if not share.exists():
        (share / "letters" / "2026").mkdir(parents=True)
        (share / "letters" / "march.txt").write_bytes(b"a letter")
        (base / "secret.txt").write_bytes(b"outside")
        (share / "out").symlink_to(base)
        (share / "letters" / "out.txt").symlink_to(base / "secret.txt")
        (share / ".armoire").mkdir()
        (share / ".armoire" / "secret.txt").write_bytes(b"outside")
    try:
        descriptor = paths.open_file(share, b"/".join(pieces))
    except (DiskError, InvalidInput):
        return
    try:
        assert os.read(descriptor, 100) != b"outside"
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "name",
    ["", "a/b", "con", "CON.txt", "lpt1", "a.", "a ", "a:b", "a\tb", "a\u202eb", "..", ".armoire",
     "x" * 256, "é" * 128, 'a"b', "a?"],
)  # fmt: skip
def test_a_name_that_windows_could_not_open_is_refused(name: str) -> None:
    """A file made in the browser is readable in the file explorer too."""
    with pytest.raises(InvalidInput):
        paths.check_new_name(name.encode())


def test_a_name_that_is_no_text_is_refused() -> None:
    """Bytes that are not UTF-8 stay on the disk as they are, but nobody makes new ones."""
    with pytest.raises(InvalidInput):
        paths.check_new_name(b"\xff")


@pytest.mark.parametrize(
    "name", ["Courrier d'Émilie (mars 2026).pdf", "résumé.docx", "a+b & c", ".profile", "日本"]
)
def test_usual_names_are_fine(name: str) -> None:
    """What people write is kept as they wrote it."""
    assert paths.check_new_name(name.encode()) == name.encode()
