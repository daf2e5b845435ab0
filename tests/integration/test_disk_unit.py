"""The unit of a disk that is plugged in: real mounts of a real file system in a file, for root only."""

import os
import pwd
import re
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from appliance.cli import COMMANDS
from appliance.commands import disks
from appliance.replication.targets.directory import DiskLabel, write_label

pytestmark = pytest.mark.integration

UNITS = Path(__file__).parents[2] / "systemd"
UNIT = (UNITS / "armoire-disk@.service").read_text("utf-8")
RULE = (UNITS / "udev" / "99-armoire-disk.rules").read_text("utf-8")
ACCOUNT = pwd.getpwuid(os.geteuid()).pw_name


def run(*argv: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(each) for each in argv], capture_output=True, text=True, check=False, timeout=60
    )


def mount(device: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return run("sh", UNITS / "disk-mount", device, folder, ACCOUNT)


def options_of(folder: Path) -> set[str]:
    lines = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    (line,) = [each for each in lines if each.split()[4] == str(folder)]
    return set(line.split()[5].split(","))


@pytest.fixture
def stick(tmp_path) -> Iterator[str]:
    """A block device with an empty ext4 on it."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    if os.geteuid() != 0 or run("mkfs.ext4", "-q", image).returncode:
        pytest.skip("only root mounts disks")
    made = run("losetup", "-f", "--show", image)
    if made.returncode:
        pytest.skip("no loop devices here")
    device = made.stdout.strip()
    try:
        yield device
    finally:
        run("umount", "-l", tmp_path / "at")
        run("losetup", "-d", device)


def test_the_unit_calls_commands_that_exist_and_always_unmounts():
    """A renamed command would be found on the box only."""
    called = re.findall(r"armoire --data \S+ (\S+) (\S+)", UNIT)

    assert called == [("disk", "plugged"), ("disk", "away")]
    assert COMMANDS["disk"] == "appliance.commands.disks:disk"
    assert {name for _, name in called} <= set(disks.disk.commands)
    assert UNIT.index("ExecStopPost=-+/bin/umount") < UNIT.index("disk away")
    assert "BindsTo=dev-%i.device" in UNIT
    assert re.search(r"^User=armoire-worker$", UNIT, re.MULTILINE)


def test_the_rule_starts_the_unit_for_file_systems_on_usb_disks_only():
    """Not for the box's own disks, nor for what carries no file system."""
    (line,) = [each for each in RULE.splitlines() if each and not each.startswith("#")]

    assert 'ENV{ID_BUS}=="usb"' in line
    assert 'ENV{ID_FS_USAGE}=="filesystem"' in line
    assert 'ENV{SYSTEMD_WANTS}+="armoire-disk@%k.service"' in line


def test_a_disk_without_our_label_is_mounted_for_reading_only(stick, tmp_path):
    """«Nothing was written on it» is true of somebody else's disk."""
    folder = tmp_path / "at"

    assert mount(stick, folder).returncode == 0

    assert {"ro", "nosuid", "nodev", "noexec"} <= options_of(folder)


def test_a_labelled_disk_is_mounted_for_writing_and_nothing_on_it_may_run(stick, tmp_path):
    """Neither programs nor devices nor rights come from a disk."""
    folder = tmp_path / "at"
    folder.mkdir()
    assert run("mount", stick, folder).returncode == 0
    write_label(folder, DiskLabel("ab" * 16, "box-1", "Lundi", date(2026, 11, 23)))
    program = folder / "autorun"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    assert run("umount", folder).returncode == 0

    assert mount(stick, folder).returncode == 0

    assert {"rw", "nosuid", "nodev", "noexec"} <= options_of(folder)
    (folder / "objects").mkdir()
    with pytest.raises(PermissionError):
        run(folder / "autorun")


def test_a_label_that_is_a_link_opens_no_door(stick, tmp_path):
    """A link named like a label could point at a file of the box."""
    folder = tmp_path / "at"
    folder.mkdir()
    assert run("mount", stick, folder).returncode == 0
    (folder / "armoire-disk.toml").symlink_to("/etc/hostname")
    assert run("umount", folder).returncode == 0

    mount(stick, folder)

    assert "ro" in options_of(folder)


def test_what_holds_no_usual_file_system_is_not_mounted(tmp_path):
    """An unknown file system is read by no kernel code of ours."""
    image = tmp_path / "noise"
    image.write_bytes(b"\0" * (1 << 20))

    done = mount(image, tmp_path / "at")

    assert done.returncode != 0
    assert not (tmp_path / "at").exists()
