"""What the worker writes for people who look after the box."""

import os

import pytest

from appliance.settings import Settings
from appliance.worker import log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root leaves files of root behind")
def test_a_log_begun_by_root_is_the_workers_to_go_on_with(tmp_path):
    """«sudo armoire disk label» on a box: the next job writes to the same log."""
    (tmp_path / "log").mkdir()
    os.chown(tmp_path / "log", 65534, 65534)

    with log.file_of(Settings(data=tmp_path), "jobs") as file:
        file.write(b"x")

    assert (tmp_path / "log" / "jobs.log").stat().st_uid == 65534


@pytest.mark.parametrize("way", ["link", "dangling link", "other name", "pipe", "folder's link"])
def test_what_was_put_in_a_logs_place_is_neither_written_nor_given_away(tmp_path, caplog, way):
    """The web interface's account may write in ``log/``; root's commands write their log there."""
    folder, target = tmp_path / "log", tmp_path / "shadow"
    target.write_bytes(b"root's")
    target.chmod(0o600)
    before = target.stat()
    if way == "folder's link":
        (tmp_path / "etc").mkdir()
        folder.symlink_to(tmp_path / "etc")
    else:
        folder.mkdir()
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
    place = folder / "jobs.log"
    match way:
        case "link":
            place.symlink_to(target)
        case "dangling link":
            place.symlink_to(tmp_path / "nologin")
        case "other name":
            place.hardlink_to(target)
        case "pipe":
            os.mkfifo(place)

    with log.file_of(Settings(data=tmp_path), "jobs") as file:
        file.write(b"x")

    after = target.stat()
    assert target.read_bytes() == b"root's"
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert not (tmp_path / "nologin").exists()
    assert not (tmp_path / "etc").exists() or not list((tmp_path / "etc").iterdir())
    assert "log.not-kept jobs" in caplog.text


def test_a_log_is_gone_on_with_and_makes_place_for_a_new_one(tmp_path, monkeypatch):
    """The lines of two commands follow each other; a large one is kept beside."""
    monkeypatch.setattr(log, "ROTATE_BYTES", 3)
    for line in (b"ab", b"cd", b"ef"):
        with log.file_of(Settings(data=tmp_path), "jobs") as file:
            file.write(line)

    assert (tmp_path / "log" / "jobs.log").read_bytes() == b"ef"
    assert (tmp_path / "log" / "jobs.log.1").read_bytes() == b"abcd"
