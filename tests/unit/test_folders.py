"""A folder is written to by both accounts of the box, whoever made it, with whatever umask."""

import os
import stat
from pathlib import Path

import pytest

from appliance.folders import make_shared


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
