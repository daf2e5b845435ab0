"""The quarantine is brought in order at night: what a crash left, and what nobody decided about."""

import os
from datetime import timedelta

import pytest

from appliance.accounts import notices, people
from appliance.clock import utc_now
from appliance.db.schema_disk import link, received_file
from appliance.disk import bin as bins
from appliance.disk import quarantine_upkeep
from appliance.disk.quarantine_upkeep import EXPIRING, REMEMBERED, STRAY, WAITS
from appliance.ledger import chain
from appliance.model import PersonId
from appliance.worker import notices_watch

DAY = timedelta(days=1)


@pytest.fixture
def asked(database, share, doctor):
    """A request; return how to let a file of it lie in quarantine."""
    now = utc_now()
    with database.write() as c:
        number = c.execute(
            link.insert().values(
                token_hash="x", kind="ask", share_id=share.id, path=b"", person_id=doctor.id,
                label="Dr Petit", created_at=now, ends_at=now + DAY,
            )
        ).inserted_primary_key[0]  # fmt: skip

    def arrive(stored, *, days=0, decided=None, is_there=True, accepted=None):
        if is_there:
            (bins.own_folder(share, bins.QUARANTINE) / stored).write_bytes(b"x")
        with database.write() as c:
            return c.execute(
                received_file.insert().values(
                    link_id=number, name=b"a.pdf", stored=stored, size=1, sha256="0" * 64,
                    received_at=now - days * DAY, was_accepted=accepted,
                    decided_at=None if decided is None else now - decided * DAY,
                )
            ).inserted_primary_key[0]  # fmt: skip

    return arrive


def rows(database):
    with database.read() as c:
        return {row.id: row for row in c.execute(received_file.select())}


def lying(share):
    return sorted(each.name for each in bins.own_folder(share, bins.QUARANTINE).iterdir())


def test_a_file_that_waits_stays_and_one_that_waited_too_long_goes(database, share, asked):
    """With a line in the ledger that says so; it is nobody's decision."""
    young, old = asked("young", days=89), asked("old", days=90)
    assert quarantine_upkeep.settle(database, share, now=utc_now()) == 1
    assert lying(share) == ["young"]
    found = rows(database)
    assert found[young].decided_at is None
    assert (found[old].was_accepted, found[old].decided_by) == (False, None)
    with database.read() as c:
        (said,) = chain.newest(c, event="link.expired")
    assert said.body["received"] == old
    assert "a.pdf" not in str(said.body)


def test_killed_while_it_was_accepted_it_waits_no_longer(database, share, asked):
    """It is in its folder: the row that still waited is closed."""
    moved = asked("moved", is_there=False)
    assert quarantine_upkeep.settle(database, share, now=utc_now()) == 0
    assert rows(database)[moved].was_accepted is True
    with database.read() as c:
        assert len(chain.newest(c, event="link.settled")) == 1


def test_killed_while_it_was_refused_it_goes(database, share, asked):
    """The word was given."""
    asked("refused", decided=1, accepted=False)
    assert quarantine_upkeep.settle(database, share, now=utc_now()) == 1
    assert lying(share) == []


def test_a_file_no_row_knows_goes_after_a_week(database, share, asked):
    """Killed while it arrived: its sender was told nothing and may send it again."""
    stray = bins.own_folder(share, bins.QUARANTINE) / "stray"
    stray.write_bytes(b"x")
    assert quarantine_upkeep.settle(database, share, now=utc_now()) == 0
    assert quarantine_upkeep.settle(database, share, now=utc_now() + STRAY + DAY) == 1
    assert not os.path.lexists(stray)


def test_a_clock_that_went_back_removes_nothing(database, share, asked):
    """What arrived tomorrow is not old today."""
    asked("a", days=-400)
    assert quarantine_upkeep.settle(database, share, now=utc_now()) == 0
    assert lying(share) == ["a"]


def test_another_share_s_files_are_left_alone(database, share, asked, tmp_path):
    """Each share's own quarantine."""
    from appliance.db import shares

    folder = tmp_path / "other"
    folder.mkdir()
    with database.write() as c:
        other = shares.add(c, name="other", label="O", folder=folder, now=utc_now())
    number = asked("mine", days=100)
    assert quarantine_upkeep.settle(database, other, now=utc_now()) == 0
    assert rows(database)[number].decided_at is None


def test_names_of_files_decided_about_are_forgotten_after_a_year(database, share, asked):
    """They are patients' data; the ledger keeps what happened."""
    old = asked("x", days=400, decided=REMEMBERED.days + 1, is_there=False, accepted=True)
    new = asked("y", days=300, decided=300, is_there=False, accepted=True)
    quarantine_upkeep.settle(database, share, now=utc_now())
    assert set(rows(database)) == {new}
    assert old not in rows(database)


def test_who_asked_is_reminded_before_each_week(database, settings, share, doctor, asked):
    """Two weeks before, and once more."""
    asked("a", days=WAITS.days - EXPIRING.days)
    asked("b", days=WAITS.days - EXPIRING.days + 1)
    asked("c", days=10)
    now = utc_now()
    with database.write() as c:
        notices_watch.facts.put(c, notices_watch.ARRIVED, 99, now=now)
    for days in (0, 1, 6, 8):
        notices_watch.turn(settings, database, now + days * DAY)
    with database.read() as c:
        whom = people.get(c, PersonId(doctor.id))
        told = [each for each in notices.of_person(c, whom) if each.code == "link.expiring"]
    assert [each.facts["count"] for each in told] == [2, 2]
