"""One box at a time: the one that took over last writes, all others find out."""

import json
from datetime import UTC, date, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.db import facts
from appliance.errors import ObjectAltered, RepositoryDamaged, TargetIdentityChanged
from appliance.replication import takeover
from appliance.replication.recover_borg import SLOT, SLOTS, jump_nonce
from appliance.replication.targets.directory import DirectoryTarget, DiskLabel, write_label

KEY = Ed25519PrivateKey.generate()
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
TODAY = date(2026, 11, 23)


@pytest.fixture
def target(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    write_label(disk, DiskLabel("d", "box", "Lundi", TODAY))
    return DirectoryTarget(disk, disk_id="d", box_id="box", today=TODAY)


def publish(target, tmp_path, instance, **more):
    return takeover.publish(
        target,
        box_id=more.pop("box_id", "box"),
        instance=instance,
        signing_key=more.pop("key", KEY),
        spool=tmp_path / "spool",
        now=NOW,
    )


def check(target, instance):
    takeover.check_takeover(target, instance, box_id="box", signer=KEY.public_key())


def test_a_place_nobody_took_over_is_open_to_the_first_box(target):
    check(target, None)


def test_after_a_takeover_the_old_box_refuses_and_the_new_one_goes_on(target, tmp_path):
    publish(target, tmp_path, "aa")

    check(target, "aa")
    with pytest.raises(TargetIdentityChanged):
        check(target, None)


def test_a_box_made_from_a_recovered_box_takes_over_from_it_too(target, tmp_path):
    publish(target, tmp_path, "ff")

    second = publish(target, tmp_path, "aa")

    assert second.count == 2
    check(target, "aa")
    for older in ("ff", None):
        with pytest.raises(TargetIdentityChanged):
            check(target, older)


def test_saying_it_twice_is_saying_it_once(target, tmp_path):
    first = publish(target, tmp_path, "aa")

    assert publish(target, tmp_path, "aa") == first
    assert len(list(target.list(takeover.PREFIX))) == 1
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_place_that_was_away_on_the_day_of_the_fire_is_told_at_the_first_push(
    target, tmp_path, database
):
    """Once: afterwards the box that took over later has the word."""
    publish(target, tmp_path, "ff")
    with database.write() as connection:
        facts.put(connection, takeover.INSTANCE, "aa", now=NOW)
        facts.put(connection, takeover.PENDING, ["usb", "sftp"], now=NOW)

    def push() -> None:
        takeover.before_push(
            database,
            target,
            "usb",
            box_id="box",
            signing_key=KEY,
            spool=tmp_path / "spool",
            now=NOW,
        )

    push()
    push()

    check(target, "aa")
    with database.read() as connection:
        assert facts.find(connection, takeover.PENDING) == ["sftp"]
    publish(target, tmp_path, "bb")
    with pytest.raises(TargetIdentityChanged):
        push()


@pytest.mark.parametrize("harm", ["forged", "altered", "renamed", "other-box", "large", "noise"])
def test_a_takeover_nobody_signed_is_named(target, tmp_path, harm):
    place = target.root / "takeover" / "aa"
    match harm:
        case "forged":
            publish(target, tmp_path, "aa", key=Ed25519PrivateKey.generate())
        case "altered":
            publish(target, tmp_path, "aa")
            values = json.loads(place.read_bytes())
            place.write_text(json.dumps({**values, "count": 9}))
        case "renamed":
            publish(target, tmp_path, "aa")
            place.rename(place.with_name("bb"))
        case "other-box":
            publish(target, tmp_path, "aa", box_id="box-2")
        case "large":
            publish(target, tmp_path, "aa")
            place.write_bytes(b"{" * 5_000)
        case "noise":
            publish(target, tmp_path, "aa")
            place.write_bytes(b"[1]")

    with pytest.raises(ObjectAltered):
        check(target, "aa")


def test_the_jump_leaves_what_an_old_box_may_use_and_parts_two_new_ones(tmp_path):
    """At least 2^40 blocks ahead, at most 2^58, and never twice the same place by design."""
    nonce = tmp_path / "nonce"
    nonce.write_text(f"{5:016x}")
    least = jump_nonce(tmp_path, draw=lambda _slots: 0)
    nonce.write_text(f"{5:016x}")
    most = jump_nonce(tmp_path, draw=lambda slots: slots - 1)
    nonce.unlink()
    without = jump_nonce(tmp_path, draw=lambda _slots: 1)

    assert (least.before, least.after) == (5, 5 + SLOT)
    assert most.after == 5 + SLOT * SLOTS < 2**59
    assert without.after == 2 * SLOT
    assert nonce.read_text() == f"{2 * SLOT:016x}"
    for wrong in ("ff" * 8, "not hex"):
        nonce.write_text(wrong)
        with pytest.raises(RepositoryDamaged):
            jump_nonce(tmp_path)
        assert nonce.read_text() == wrong
