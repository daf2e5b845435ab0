"""Who writes where: two boxes with one identity, disks swapped, a host set back to yesterday, a clock that jumps."""

import hashlib
import os
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from appliance.errors import TargetIdentityChanged, TargetRefuses
from appliance.replication import fetch, push
from appliance.replication.recover_choice import look
from appliance.replication.targets.directory import DirectoryTarget, DiskLabel, write_label
from tests.support.copy_places import (
    BOX,
    IDENTITY,
    KEY,
    KINDS,
    NOW,
    TODAY,
    Practice,
    bring_back,
    generations,
    place_of,
)

pytestmark = [pytest.mark.integration, pytest.mark.fault]


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    server = request.getfixturevalue("s3_server") if request.param == "s3" else None
    with place_of(request.param, tmp_path / "place", server) as one:
        yield one


@pytest.fixture
def disk(tmp_path):
    with place_of("directory", tmp_path / "place") as one:
        yield one


@pytest.fixture
def practice(tmp_path):
    one = Practice(tmp_path / "box")
    one.night()
    return one


def twin_of(practice: Practice, folder) -> Practice:
    """A second box from the first one's disk: same record, same keys."""
    shutil.copytree(practice.folder, folder)
    return Practice(folder)


def test_two_boxes_with_one_identity_stop_the_second_before_its_generation_is_there(
    place, practice, tmp_path
):
    """Whoever publishes first goes on; the other one is told, tonight and every night."""
    practice.push(place.open)
    twin = twin_of(practice, tmp_path / "twin")
    practice.night()
    twin.night()
    practice.push(place.open)

    for _ in range(2):
        with pytest.raises(TargetIdentityChanged):
            twin.push(place.open)

    assert generations(place) == [2, 1]
    assert bring_back(place, 2, tmp_path / "back") == practice.contents()
    assert practice.push(place.open).number == 3


def test_two_boxes_publishing_in_the_same_moment_leave_one_generation_and_tell_the_other(
    place, practice, tmp_path, monkeypatch
):
    """The other box's generation arrives between this one's look and its own."""
    practice.push(place.open)
    twin = twin_of(practice, tmp_path / "twin")
    practice.night()
    real = push.manifests.build

    def slow_build(*arguments, **more):
        built = real(*arguments, **more)
        monkeypatch.setattr(push.manifests, "build", real)
        practice.push(place.open)
        return built

    monkeypatch.setattr(push.manifests, "build", slow_build)
    with pytest.raises(TargetIdentityChanged):
        twin.push(place.open)
    with pytest.raises(TargetIdentityChanged):
        twin.push(place.open)

    assert generations(place) == [2, 1]
    assert bring_back(place, 2, tmp_path / "back") == practice.contents()


def test_disks_swapped_between_two_nights_take_nothing_that_is_not_theirs(disk, practice, tmp_path):
    """Monday's disk lies in the drawer; Tuesday's is mounted where Monday's was."""
    practice.push(disk.open)
    monday = disk.root.rename(tmp_path / "drawer")
    disk.root.mkdir()
    write_label(disk.root, DiskLabel("disk-2", BOX.box_id, "Mardi", TODAY))
    practice.night()

    with pytest.raises(TargetIdentityChanged):
        practice.push(disk.open)
    assert [path.name for path in disk.root.iterdir()] == ["armoire-disk.toml"]

    shutil.rmtree(disk.root)
    monday.rename(disk.root)
    assert practice.push(disk.open).number == 2
    assert bring_back(disk, 2, tmp_path / "back") == practice.contents()


def test_a_disk_past_its_date_takes_nothing_and_is_still_read(disk, practice, tmp_path):
    """Refused by the day: what lies there can still be brought back by whoever opens it on an earlier one."""
    practice.push(disk.open)
    label = DiskLabel("disk-1", BOX.box_id, "Lundi", TODAY, expires=TODAY)
    (disk.root / "armoire-disk.toml").unlink()
    write_label(disk.root, label)
    practice.night()

    with pytest.raises(TargetRefuses):
        practice.push(
            lambda: DirectoryTarget(
                disk.root, disk_id="disk-1", box_id=BOX.box_id, today=TODAY + timedelta(days=1)
            )
        )
    assert generations(disk) == [1]


def test_a_host_set_back_to_yesterday_is_seen_and_never_proposed_as_whole(disk, practice, tmp_path):
    """A host that restores its own backup: tonight's generation names objects that are gone."""
    practice.push(disk.open)
    yesterday = tmp_path / "yesterday"
    shutil.copytree(disk.root, yesterday)
    practice.night()
    practice.push(disk.open)
    shutil.rmtree(disk.root)
    shutil.copytree(yesterday, disk.root)
    target = disk.open()

    seen = fetch.survey(target, signer=KEY.public_key(), box_id=BOX.box_id, kept=(1, 2))
    assert [(fault.number, fault.reason) for fault in seen.faults] == [(2, "missing")]
    practice.night()
    practice.push(disk.open)
    found = look(
        "disque", disk.open(), signer=KEY.public_key(), box_id=BOX.box_id, identity=IDENTITY
    )

    assert [(each.number, bool(each.missing)) for each in found.generations] == [
        (3, True),
        (1, False),
    ]


def test_an_old_manifest_under_tomorrows_name_stops_the_push(disk, practice):
    """A host that replays an old generation as the next one: nothing is written over or after it."""
    practice.push(disk.open)
    practice.night()
    practice.push(disk.open)
    third = disk.root / "generations" / "0000000003"
    third.write_bytes((disk.root / "generations" / "0000000001").read_bytes())
    before = hashlib.sha256(third.read_bytes()).digest()

    seen = fetch.survey(disk.open(), signer=KEY.public_key(), box_id=BOX.box_id, kept=(1, 2))

    assert [(fault.number, fault.reason) for fault in seen.faults] == [(3, "altered")]
    assert [each.header.number for each in seen.generations] == [2, 1]
    assert hashlib.sha256(third.read_bytes()).digest() == before


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=400)])
def test_a_clock_that_jumps_between_two_nights_keeps_the_order_of_generations(
    disk, practice, tmp_path, jump
):
    """The numbers and their hashes are the order, not the clock."""
    practice.push(disk.open)
    practice.night()
    moment = practice.moment
    practice.moment = lambda: push.Moment(
        NOW + jump, moment().folder, moment().files, moment().repositories
    )
    practice.push(disk.open, now=lambda: NOW + jump)
    del practice.moment
    practice.night()
    practice.push(disk.open)

    assert generations(disk) == [3, 2, 1]
    assert bring_back(disk, 3, tmp_path / "back") == practice.contents()


def test_a_compaction_between_two_pushes_and_during_one_takes_nothing_from_the_copy(
    place, practice, tmp_path
):
    """What was frozen is what is sent, whatever Borg throws away meanwhile: the links keep the bytes."""
    practice.push(place.open)
    before = practice.contents()
    practice.night(files=3, drop=2)  # between
    living = tmp_path / "living"
    shutil.copytree(practice.data, living, copy_function=os.link)
    during = practice.contents()

    def compact(_count: int) -> None:
        for path in sorted(living.iterdir())[:2]:
            path.unlink()

    practice.push(place.open, on_bytes=compact)

    assert bring_back(place, 1, tmp_path / "first") == before
    assert bring_back(place, 2, tmp_path / "second") == during
    assert len(list(living.iterdir())) < len(during)


def test_the_time_a_generation_claims_is_the_moment_that_was_frozen(disk, practice):
    """Not when it was published: a push of six hours is a copy of its first second."""
    practice.push(disk.open, now=lambda: datetime(2026, 11, 23, 9, tzinfo=UTC))

    seen = fetch.survey(disk.open(), signer=KEY.public_key(), box_id=BOX.box_id)
    assert seen.generations[0].header.taken_at == NOW
