"""From a target's row to a connection: a disk is found by what is written on it, never by its path."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from appliance.db import facts, secrets, targets
from appliance.errors import SecretMissing, SecretUnreadable, TargetRefuses, TargetUnreachable
from appliance.jobs.disks import find_disk
from appliance.policy.place import DirectoryPlace, SftpPlace
from appliance.replication.open_target import (
    Credentials,
    open_place,
    open_target,
    s3_name,
)
from appliance.replication.targets.directory import DirectoryTarget, DiskLabel, write_label
from appliance.replication.targets.s3 import S3Target
from appliance.vault.seal import make_keys, seal
from appliance.vault.secret import Secret

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")
DISK, OTHER = "ab" * 16, "cd" * 16


def mounted(tmp_path, *folders, kind="ext4"):
    """Return a mountinfo file that names ``folders``."""
    path = tmp_path / "mountinfo"
    lines = [
        f"36 35 98:0 / {str(each).replace(' ', chr(92) + '040')} rw,noatime shared:1 - {kind} /dev/sdb1 rw"
        for each in folders
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def a_disk(folder, disk_id=DISK):
    folder.mkdir()
    write_label(folder, DiskLabel(disk_id, "box-1", "USB 1", date(2026, 1, 1)))
    return folder


def test_a_disk_is_found_by_its_label_wherever_it_is_plugged_in(tmp_path):
    other, ours = a_disk(tmp_path / "other", OTHER), a_disk(tmp_path / "a disk")
    (tmp_path / "empty").mkdir()

    mounts = mounted(tmp_path, tmp_path / "empty", other, ours, tmp_path / "gone")

    assert find_disk(DISK, mounts=mounts) == ours
    assert find_disk("ef" * 16, mounts=mounts) is None


def test_a_server_that_may_hang_is_not_asked_for_a_label(tmp_path):
    ours = a_disk(tmp_path / "disk")

    assert find_disk(DISK, mounts=mounted(tmp_path, ours, kind="nfs4")) is None


def test_a_disk_that_is_not_plugged_in_is_unreachable_not_refused(tmp_path):
    """The planner waits for it: nobody has to act."""
    opened = open_place(
        DirectoryPlace(DISK, is_removable=True),
        Credentials(),
        box_id="box-1",
        zone=PARIS,
        now=lambda: NOW,
        mounts=mounted(tmp_path),
    )
    with pytest.raises(TargetUnreachable):
        opened()


def test_a_disk_past_its_last_day_is_refused(tmp_path):
    ours = a_disk(tmp_path / "disk")
    place = DirectoryPlace(DISK, folder=str(ours), expires_on="2026-11-22")

    opened = open_place(place, Credentials(), box_id="box-1", zone=PARIS, now=lambda: NOW)

    with pytest.raises(TargetRefuses):
        opened()


def test_a_host_key_nobody_confirmed_is_not_connected_to(tmp_path):
    opened = open_place(
        SftpPlace("127.0.0.1", "copie", port=1),
        Credentials(password=Secret(b"x")),
        box_id="box-1",
        zone=PARIS,
        now=lambda: NOW,
    )
    with pytest.raises(TargetRefuses) as raised:
        opened()
    assert "host key" in raised.value.reason


def test_a_row_and_its_sealed_keys_make_a_connection(settings, database):
    make_keys(settings.keys)
    with database.write() as connection:
        facts.put(connection, "box.id", "box-1", now=NOW)
        row = targets.add(
            connection,
            name="seau",
            label="Seau",
            kind="s3",
            place={"endpoint": "https://s3.example.org", "region": "fr", "bucket": "b"},
            now=NOW,
        )
        with pytest.raises(SecretMissing):
            open_target(connection, row, settings, now=lambda: NOW)
        keys = Secret(b'{"access_key": "A", "secret_key": "S"}')
        secrets.put_sealed(connection, s3_name(row.id), seal(keys, settings.keys), now=NOW)
        opened = open_target(connection, row, settings, now=lambda: NOW)
    target = opened()
    assert isinstance(target, S3Target)
    assert target.bucket == "b"
    target.close()


def test_unreadable_keys_of_a_bucket_say_nothing_of_themselves(settings, database):
    make_keys(settings.keys)
    with database.write() as connection:
        facts.put(connection, "box.id", "box-1", now=NOW)
        row = targets.add(
            connection,
            name="seau",
            label="Seau",
            kind="s3",
            place={"endpoint": "https://s3.example.org", "region": "fr", "bucket": "b"},
            now=NOW,
        )
        keys = Secret(b'{"access_key": "AKIA", "secret": "very-secret"')
        secrets.put_sealed(connection, s3_name(row.id), seal(keys, settings.keys), now=NOW)
        with pytest.raises(SecretUnreadable) as raised:
            open_target(connection, row, settings, now=lambda: NOW)
    assert "very-secret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_fixed_folder_is_opened_with_its_label_checked(tmp_path):
    ours = a_disk(tmp_path / "disk")
    place = DirectoryPlace(DISK, folder=str(ours))

    opened = open_place(place, Credentials(), box_id="box-1", zone=PARIS, now=lambda: NOW)

    assert isinstance(opened(), DirectoryTarget)
