"""What the kit asks of people: to be confirmed, rehearsed, and its file written again."""

from datetime import UTC, datetime, timedelta

import pytest

from appliance.db import facts, secrets, targets
from appliance.jobs import kit_words
from appliance.jobs.kit_readings import file_written, kit_findings
from appliance.jobs.kit_words import KitPlan
from appliance.policy.findings import Severity
from appliance.replication import kit
from appliance.vault import words

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)


@pytest.fixture
def box(database, box_keys):
    """A box with a kit and one place."""
    with database.write() as connection:
        kit.make(connection, box_keys, now=NOW)
        add(connection, "disque")
    return database


def add(connection, name):
    return targets.add(
        connection, name=name, label=name, kind="directory", place={"disk_id": "a" * 32}, now=NOW
    )


def confirm(database, keys, now=NOW):
    with database.write() as connection:
        sheets = kit.split(connection, keys, needed=1, holders=["Dr Martin"], now=now)
        kit_words.confirm(connection, [" ".join(each.words) for each in sheets], now=now)
    return words.join([" ".join(each.words) for each in sheets])


def found(database, now=NOW):
    with database.read() as connection:
        return [(each.code, each.severity) for each in kit_findings(connection, now)]


def test_without_a_destination_nobody_is_asked_for_a_kit(database, box_keys):
    with database.write() as connection:
        kit.make(connection, box_keys, now=NOW)

    assert found(database) == []


def test_an_unconfirmed_kit_is_said_and_after_a_week_loudly(box):
    """Copies nobody can open are none."""
    assert found(box) == [("kit.not-confirmed", Severity.WARNING)]
    assert found(box, NOW + timedelta(days=7)) == [("kit.not-confirmed", Severity.ALARM)]


def test_the_file_is_asked_for_until_it_was_written_and_again_after_a_change(box, box_keys):
    confirm(box, box_keys)
    assert [code for code, _ in found(box)] == ["kit.file-missing"]
    with box.write() as connection:
        file_written(connection, now=NOW)
    assert found(box) == []
    with box.write() as connection:
        second = add(connection, "second")
    assert [code for code, _ in found(box)] == ["kit.file-old"]
    with box.write() as connection:
        file_written(connection, now=NOW)
        secrets.put_sealed(connection, f"target:{second.id}:key", b"x", now=NOW)
    assert [code for code, _ in found(box)] == ["kit.file-old"]


def test_what_changes_nothing_in_the_file_does_not_ask_for_it(box, box_keys):
    """A timetable of the line is not in the file."""
    confirm(box, box_keys)
    with box.write() as connection:
        file_written(connection, now=NOW)
        targets.change(connection, targets.all_living(connection)[0].id, bandwidth=[{"x": 1}])

    assert found(box) == []


def test_a_rehearsal_is_asked_for_after_a_year_and_typing_ends_it(box, box_keys):
    secret = confirm(box, box_keys)
    with box.write() as connection:
        file_written(connection, now=NOW)
    later = NOW + timedelta(days=365)
    assert found(box, later - timedelta(seconds=1)) == []
    assert found(box, later) == [("kit.rehearsal-due", Severity.WARNING)]
    with box.write() as connection:
        kit_words.confirm_secret(connection, secret, now=later)
    assert found(box, later) == []


def test_a_new_kit_that_waits_and_a_file_of_the_former_are_said(box, box_keys, settings):
    """The second is an alarm: sheets of today that do not open the file of yesterday."""
    old = confirm(box, box_keys)
    with box.write() as connection:
        file_written(connection, now=NOW)
        kit_words.rekey(connection, settings, KitPlan(1, ("Dr Petit",)), former=old, now=NOW)
    assert [code for code, _ in found(box)] == ["kit.next-not-confirmed", "kit.file-old"]
    confirm(box, box_keys)
    assert found(box) == [("kit.file-of-former", Severity.ALARM)]
    with box.write() as connection:
        assert facts.find(connection, "kit.next") is None
        file_written(connection, now=NOW)
    assert found(box) == []
