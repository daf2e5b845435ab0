"""A folder is written to by both accounts of the box, whoever made it, with whatever umask."""

import os
import stat
from pathlib import Path

import pytest

from appliance import folders
from appliance.folders import make_shared, put_file


@pytest.fixture(params=[0o007, 0o022, 0o077])
def umask(request: pytest.FixtureRequest):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def test_the_group_writes_whatever_the_umask(umask, tmp_path: Path):
    """A share made through sudo is written to by the web as well."""
    tmp_path.chmod(0o2770)

    make_shared(tmp_path / "share")

    assert mode(tmp_path / "share") == 0o2770


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path):
    """Somebody gave it these rights."""
    (tmp_path / "share").mkdir(mode=0o750)

    make_shared(tmp_path / "share")

    assert mode(tmp_path / "share") == 0o750


def test_no_bit_is_set_that_the_units_forbid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With the units' umask nothing is changed after the folder was made (RestrictSUIDSGID refuses it)."""
    tmp_path.chmod(0o2770)
    before = os.umask(0o007)
    try:
        monkeypatch.setattr(os, "fchmod", lambda *_: pytest.fail("a mode was changed"))
        make_shared(tmp_path / "share")
    finally:
        os.umask(before)
    assert mode(tmp_path / "share") == 0o2770


def test_a_file_is_put_in_place_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A disk that refuses at the last moment leaves what was there; the next try is not in its way."""
    place = tmp_path / "own.key"
    put_file(place, b"first", 0o600)

    def refuse(_descriptor: int) -> None:
        raise OSError(5, "the disk")

    with monkeypatch.context() as patch:
        patch.setattr(folders.os, "fsync", refuse)
        with pytest.raises(OSError, match="the disk"):
            put_file(place, b"second", 0o600)
    assert place.read_bytes() == b"first"

    put_file(place, b"third", 0o600)
    assert place.read_bytes() == b"third"
    assert mode(place) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["own.key"]
