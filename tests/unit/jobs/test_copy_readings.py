"""What the copies add up to: three, two media, one unplugged, one elsewhere; said once each."""

from datetime import UTC, datetime, timedelta

import pytest

from appliance.db import copies, facts, sources, targets
from appliance.jobs import copy_readings
from appliance.ledger import proofs
from appliance.model import Outcome, SourceKind
from appliance.policy.copies import Missing
from appliance.policy.copy_status import CopyProof
from appliance.policy.status import ProofKind
from appliance.replication.targets.directory import DiskLabel, write_label

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
TAKEN = NOW - timedelta(hours=5)
DISK = "ab" * 16


@pytest.fixture
def box(database):
    """A machine whose newest snapshot is proven, and a kit that was confirmed."""
    with database.write() as connection:
        source = sources.add(
            connection, name="accueil", label="Accueil", kind=SourceKind.PULLED, roots=("/",),
            host="a", user="u", now=NOW,
        )  # fmt: skip
        proofs.record(
            connection, at=TAKEN, kind=ProofKind.SAMPLE, outcome=Outcome.PROVEN, figures={},
            source_id=source.id,
        )  # fmt: skip
        facts.put(connection, "kit.confirmed_at", NOW.isoformat(), now=NOW)
    return database


def add(database, name, kind, place, *, nature="same-practice-elsewhere", taken=TAKEN):
    with database.write() as connection:
        row = targets.add(
            connection, name=name, label=name.title(), kind=kind, place=place, nature=nature,
            now=taken - timedelta(days=1),
        )  # fmt: skip
        copies.intend(
            connection, row.id, number=1, taken_at=taken, sha256="0" * 64, previous="0" * 64,
            objects=[], plain_bytes=5, new_bytes=5,
        )  # fmt: skip
        copies.published(connection, row.id, 1, now=taken)
        for proof_kind in (CopyProof.LISTING, CopyProof.READ_BACK, CopyProof.COMPLETE):
            proofs.record(
                connection, at=taken, kind=proof_kind, outcome=Outcome.PROVEN,
                figures={"generation": 1, "taken_at": taken.isoformat()}, target_id=row.id,
            )  # fmt: skip
    return row


def host(database, **more):
    place = {"host": "h", "user": "u", "host_key": "ssh-ed25519 AAAA"}
    return add(database, "hote", "sftp", place, **more)


def disk(database, folder, **more):
    place = {"disk_id": DISK, "folder": str(folder), "is_removable": True}
    return add(database, "usb", "directory", place, **more)


def indicator(database, settings, now=NOW):
    with database.read() as connection:
        return copy_readings.copies_indicator(connection, settings, now)


def findings(database, settings, now=NOW):
    with database.read() as connection:
        found = copy_readings.copy_findings(connection, settings, now)
    return {each.code: each for each in found}


def test_a_host_and_an_unplugged_disk_are_all_that_is_asked_for(box, settings, tmp_path):
    host(box)
    disk(box, tmp_path / "drawer")

    found = indicator(box, settings)

    assert found.missing == ()
    assert (found.copies, found.has_offsite, found.has_offline) == (4, True, True)
    assert not {code for code in findings(box, settings) if code.startswith("copies.")}


def test_a_disk_that_stays_plugged_in_is_not_offline(box, settings, tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    write_label(folder, DiskLabel(DISK, "box-1", "usb", NOW.date()))
    disk(box, folder)

    assert Missing.OFFLINE in indicator(box, settings).missing
    assert "copies.offline-old" in findings(box, settings)


def test_no_offline_copy_for_7_days_is_said(box, settings, tmp_path):
    host(box, taken=NOW + timedelta(days=7))
    disk(box, tmp_path / "drawer")
    later = NOW + timedelta(days=7)

    assert Missing.OFFLINE not in indicator(box, settings, later - timedelta(hours=6)).missing
    assert "copies.offline-old" in findings(box, settings, later)


def test_a_place_in_the_same_building_is_not_elsewhere(box, settings):
    host(box, nature="same-practice-here")

    assert Missing.OFFSITE in indicator(box, settings).missing
    assert "copies.missing-offsite" in findings(box, settings)


def test_a_copy_that_came_back_wrong_does_not_count(box, settings):
    row = host(box)
    before = indicator(box, settings).copies
    with box.write() as connection:
        proofs.record(
            connection, at=NOW, kind=CopyProof.READ_BACK, outcome=Outcome.FAILED, figures={},
            target_id=row.id,
        )  # fmt: skip

    assert indicator(box, settings).copies == before - 1
    assert Missing.OFFSITE in indicator(box, settings).missing


def test_a_source_that_was_never_proven_is_no_copy_at_home(box, settings):
    host(box)
    before = indicator(box, settings).copies
    with box.write() as connection:
        sources.add(
            connection, name="radio", label="Radio", kind=SourceKind.PULLED, roots=("/",),
            host="r", user="u", now=NOW,
        )  # fmt: skip

    assert indicator(box, settings).copies == before - 1


def test_a_dossier_that_cannot_be_read_lets_nothing_leave(box, settings):
    row = host(box, nature="certified-host")
    with box.write() as connection:
        targets.change(connection, row.id, dossier={"of a newer program": 1})
    with box.read() as connection:
        verdict = copy_readings.verdict_of(targets.get(connection, row.id), settings, NOW)
        assert not verdict.may_send
        assert [
            each.code
            for each in findings(box, settings).values()
            if each.code == "copy.not-allowed"
        ]


def test_a_place_that_cannot_be_read_breaks_no_page(box, settings):
    """A kind of a newer program, after going back to an older one."""
    add(box, "futur", "quantum", {"x": 1})

    assert findings(box, settings)
    indicator(box, settings)
