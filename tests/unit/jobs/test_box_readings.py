"""What the box says about itself."""

import shutil
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from appliance.db import copies, facts, sources, targets, workers
from appliance.jobs import box_readings
from appliance.model import SourceKind

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)


class Usage(NamedTuple):
    """As shutil.disk_usage answers."""

    total: float
    used: float
    free: float


GB = 10**9


@pytest.fixture
def disk(monkeypatch):
    """A disk of 1 TB whose fullness the test sets."""
    state = {"used": 100 * GB}
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda _path: Usage(1000 * GB, state["used"], 1000 * GB - state["used"]),
    )
    return state


def codes(database, settings, now=NOW):
    with database.read() as connection:
        return {each.code for each in box_readings.box_findings(connection, settings, now)}


def beat(database, now=NOW):
    with database.write() as connection:
        workers.beat(connection, "box:1", now=now)


def test_a_silent_worker_is_noticed(database, settings, disk):
    assert "box.worker-silent" in codes(database, settings)
    beat(database)
    assert "box.worker-silent" not in codes(database, settings)
    assert "box.worker-silent" in codes(database, settings, NOW + timedelta(minutes=5))


def test_a_search_that_cannot_watch_a_share_whole_is_told(database, settings, disk):
    """Too many folders for the kernel: people know why a new file is found late."""
    assert "search.blind" not in codes(database, settings)
    for shares, is_told in ([1], True), ([], False):
        with database.write() as connection:
            facts.put(connection, "search.blind", shares, now=NOW)
        assert ("search.blind" in codes(database, settings)) is is_told


def test_a_full_and_a_nearly_full_disk_are_said(database, settings, disk):
    assert not {"box.disk-full", "disk.nearly-full"} & codes(database, settings)
    disk["used"] = 850 * GB
    assert "disk.nearly-full" in codes(database, settings)
    disk["used"] = 999.5 * GB
    assert "box.disk-full" in codes(database, settings)


def test_a_disk_that_fills_is_foretold_from_daily_readings(database, settings, disk):
    for day in range(15):
        disk["used"] = (600 + 10 * day) * GB
        for hour in (0, 1):
            with database.write() as connection:
                box_readings.record_disk(
                    connection, settings, NOW + timedelta(days=day, hours=hour)
                )
    with database.read() as connection:
        assert len(facts.find(connection, box_readings.DISK)) == 15

    assert "disk.full-soon" in codes(database, settings, NOW + timedelta(days=15))


def test_backups_that_are_all_in_one_building_are_said_until_a_generation_lies_elsewhere(
    database, settings, disk
):
    assert "copies.none-elsewhere" in codes(database, settings)
    with database.write() as connection:
        one = targets.add(connection, name="a", label="A", kind="sftp", place={}, now=NOW)
        copies.intend(
            connection, one.id, number=1, taken_at=NOW, sha256="0" * 64, previous="0" * 64,
            objects=[], plain_bytes=0, new_bytes=0,
        )  # fmt: skip
    assert "copies.none-elsewhere" in codes(database, settings)
    with database.write() as connection:
        copies.published(connection, one.id, 1, now=NOW)
    assert "copies.none-elsewhere" not in codes(database, settings)


def test_a_clock_that_went_back_is_said(database, settings, disk):
    with database.write() as connection:
        facts.put(connection, "clock.wrong", {"now": "a", "last": "b"}, now=NOW)
    assert "box.clock-wrong" in codes(database, settings)


def test_clocks_of_machines_are_said_while_the_comparison_is_fresh(database, settings, disk):
    """One that is off is the machine's; two that agree say that the box itself is wrong."""
    offsets = {}
    with database.write() as connection:
        for name in ("accueil", "serveur"):
            offsets[name] = sources.add(
                connection, name=name, label=name, kind=SourceKind.PULLED, roots=("/a",), now=NOW
            ).id

    def compared(name, seconds):
        with database.write() as connection:
            found = {"clock_offset_s": seconds, "clock_at": NOW.isoformat()}
            sources.set_facts(connection, offsets[name], found)

    compared("accueil", 600.0)
    assert "clock.machine" in codes(database, settings)
    compared("serveur", 601.0)
    assert "clock.drift" in codes(database, settings)
    assert "clock.machine" not in codes(database, settings)
    assert not {"clock.drift", "clock.machine"} & codes(database, settings, NOW + timedelta(days=8))
