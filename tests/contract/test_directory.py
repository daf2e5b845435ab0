"""A directory target: the contract, and what only a disk can do wrong."""

import os
import subprocess
from datetime import date

import pytest

from appliance.errors import TargetIdentityChanged, TargetRefuses, TargetUnreachable
from appliance.replication.targets.directory import (
    DirectoryTarget,
    DiskLabel,
    find_label,
    write_label,
)
from tests.contract.target_contract import Place, TargetContract, content, sealed

TODAY = date(2026, 11, 23)
LABEL = DiskLabel("disk-1", "box-1", "Disque lundi", date(2026, 1, 1), date(2031, 1, 1))


@pytest.fixture
def disk(tmp_path):
    root = tmp_path / "mnt"
    root.mkdir()
    write_label(root, LABEL)
    return root


def opened(root, **more):
    return DirectoryTarget(root, **{"disk_id": "disk-1", "box_id": "box-1", "today": TODAY, **more})


class TestDirectory(TargetContract):
    @pytest.fixture
    def place(self, disk, tmp_path):
        away = tmp_path / "away"

        def cut():
            if disk.exists() and not away.exists():
                disk.rename(away)
                disk.mkdir()  # the mount point stays, empty

        def restore():
            disk.rmdir()
            away.rename(disk)

        return Place(lambda: opened(disk), cut, restore)


def test_an_unlabelled_another_or_somebody_elses_disk_is_refused(disk, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TargetIdentityChanged):
        opened(empty)
    with pytest.raises(TargetIdentityChanged):
        opened(disk, disk_id="disk-2")
    with pytest.raises(TargetIdentityChanged):
        opened(disk, box_id="box-2")
    with pytest.raises(TargetUnreachable):
        opened(tmp_path / "nowhere")
    assert list(empty.iterdir()) == []


def test_an_expired_disk_is_refused(disk):
    opened(disk, today=date(2031, 1, 1))
    with pytest.raises(TargetRefuses):
        opened(disk, today=date(2031, 1, 2))


def test_a_disk_is_labelled_once(disk):
    write_label(disk, LABEL)
    with pytest.raises(TargetIdentityChanged):
        write_label(disk, DiskLabel("disk-9", "box-1", "x", TODAY))
    assert find_label(disk) == LABEL


def test_a_damaged_label_is_not_an_unlabelled_disk(disk):
    (disk / "armoire-disk.toml").write_text("disk_id = ")

    with pytest.raises(TargetIdentityChanged):
        opened(disk)


def test_disks_swapped_between_two_operations_are_noticed(disk, tmp_path):
    target = opened(disk)
    target.create("objects/one", sealed(tmp_path, b"one"))
    (disk / "armoire-disk.toml").unlink()

    with pytest.raises(TargetUnreachable):
        target.create("objects/two", sealed(tmp_path, b"two"))


def test_a_persons_own_files_on_the_disk_are_left_alone(disk, tmp_path):
    (disk / "Photos été").mkdir()
    (disk / "Photos été" / "a.jpg").write_bytes(b"x")
    (disk / "lien").symlink_to("/etc")
    target = opened(disk)
    target.create("objects/one", sealed(tmp_path, b"one"))

    assert [info.name for info in target.list()] == ["objects/one"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full_says_so_and_keeps_what_it_had(tmp_path):
    """A real file system of 3 MB."""
    from appliance.errors import TargetFull

    root = tmp_path / "small"
    root.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", root], check=False
    ).returncode:
        pytest.fail("could not mount a small disk as root")
    try:
        write_label(root, LABEL)
        target = opened(root)
        target.create("objects/one", sealed(tmp_path, b"one"))
        with pytest.raises(TargetFull):
            target.create("objects/big", sealed(tmp_path, bytes(5_000_000)))
        assert content(target, "objects/one") == b"one"
        assert [info.name for info in target.list()] == ["objects/one"]
        assert target.free_bytes() > 2_000_000
    finally:
        subprocess.run(["umount", root], check=True)


def test_a_file_system_without_links_is_written_too(disk, tmp_path, monkeypatch):
    """USB disks are often exFAT: no hard links there."""

    def no_links(*_a, **_k):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    target = opened(disk)
    target.create("objects/one", sealed(tmp_path, b"one"))

    assert content(target, "objects/one") == b"one"


def test_what_a_killed_writer_left_is_not_listed_and_goes_after_a_day(disk, tmp_path):
    target = opened(disk)
    target.create("objects/one", sealed(tmp_path, b"one"))
    for name, age in ((".two.aa.part", 0), (".two.bb.part", 2 * 86_400)):
        left = disk / "objects" / name
        left.write_bytes(b"half")
        os.utime(left, (left.stat().st_mtime - age,) * 2)

    assert [info.name for info in target.list()] == ["objects/one"]
    assert sorted(path.name for path in (disk / "objects").iterdir()) == [".two.aa.part", "one"]
