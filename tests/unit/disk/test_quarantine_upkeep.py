"""The quarantine is brought in order at night: what a crash left, and what nobody decided about."""

import hashlib
import os
from datetime import timedelta

import pytest

from appliance.accounts import notices, people
from appliance.clock import utc_now
from appliance.db import facts, shares
from appliance.db.schema import person
from appliance.db.schema_disk import link, received_file
from appliance.db.schema_people import notice
from appliance.disk import bin as bins
from appliance.disk import quarantine, quarantine_upkeep
from appliance.disk.quarantine_upkeep import EXPIRING, REMEMBERED, STRAY, WAITS
from appliance.ledger import chain
from appliance.model import PersonId, Role
from appliance.policy.share_rights import ALL
from appliance.worker import notices_arrived, notices_watch

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

    def arrive(stored, *, days=0, decided=None, is_there=True, accepted=None, reminded=None):
        if is_there:
            (bins.own_folder(share, bins.QUARANTINE) / stored).write_bytes(b"x")
        with database.write() as c:
            return c.execute(
                received_file.insert().values(
                    link_id=number, name=b"a.pdf", stored=stored, size=1, sha256=hashlib.sha256(b"x").hexdigest(),
                    received_at=now - days * DAY, was_accepted=accepted,
                    decided_at=None if decided is None else now - decided * DAY,
                    reminded_at=None if reminded is None else now - reminded * DAY,
                )
            ).inserted_primary_key[0]  # fmt: skip

    return arrive


def rows(database):
    with database.read() as c:
        return {row.id: row for row in c.execute(received_file.select())}


def told(database, doctor, code):
    with database.read() as c:
        whom = people.get(c, PersonId(doctor.id))
        return [each.facts["count"] for each in notices.of_person(c, whom) if each.code == code]


def grant(database, share):
    with database.write() as c:
        shares.grant(c, share.id, ALL, role=Role.OWNER, by=None, now=utc_now())


def lying(share):
    return sorted(each.name for each in bins.own_folder(share, bins.QUARANTINE).iterdir())


def test_a_file_that_waits_stays_and_one_that_waited_too_long_goes(database, share, asked):
    """With a line in the ledger that says so; it is nobody's decision."""
    young, old = asked("young", days=89, reminded=20), asked("old", days=90, reminded=14)
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
    moved, second = asked("moved", is_there=False), asked("second", is_there=False)
    (share.folder / "a.pdf").write_bytes(b"y")  # another one of this name and size
    (share.folder / "a (2).pdf").write_bytes(b"x")
    assert quarantine_upkeep.settle(database, share, now=utc_now()) == 0
    assert rows(database)[moved].was_accepted is True
    assert rows(database)[second].was_accepted is True
    with database.read() as c:
        assert len(chain.newest(c, event="link.settled")) == 2


def test_a_file_that_is_nowhere_is_lost_and_not_accepted(database, settings, share, doctor, asked):
    """After a recovery: the nights leave the quarantine out. Who asked for it is told, once."""
    number = asked("waited", is_there=False)
    (share.folder / "a.pdf").write_bytes(b"y")
    for _ in range(2):
        assert quarantine_upkeep.settle(database, share, now=utc_now()) == 0
    found = rows(database)[number]
    assert (found.decided_at is None, found.was_accepted) == (False, None)
    with database.read() as c:
        assert [each.state for each in quarantine.of_link(c, found.link_id)] == ["lost"]
        assert len(chain.newest(c, event="link.lost")) == 1
        assert chain.newest(c, event="link.settled") == []
    for days in (0, 1):
        notices_watch.turn(settings, database, utc_now() + days * DAY)
    assert told(database, doctor, "link.lost") == [1]


def test_a_disk_that_is_not_plugged_in_closes_nothing(database, share, asked):
    """The folder it is put on is there, and empty; ours may have been made in it."""
    number = asked("waits", is_there=False)
    for is_made in (False, True):
        if is_made:
            bins.own_folder(share, bins.QUARANTINE)
        assert quarantine_upkeep.settle(database, share, now=utc_now()) == 0
        assert rows(database)[number].decided_at is None
    assert quarantine_upkeep.settle(database, share, now=utc_now()) == 0


@pytest.mark.parametrize("accepted", [None, True])
def test_a_file_that_comes_back_waits_again(database, share, asked, accepted):
    """Nobody decided about it: it is never removed for what a night thought."""
    number = asked("back", decided=30, accepted=accepted)
    later = utc_now() + STRAY + DAY
    assert quarantine_upkeep.settle(database, share, now=later) == 0
    assert lying(share) == ["back"]
    assert rows(database)[number].decided_at is None


@pytest.mark.parametrize("reminded", [None, 13, -300])
def test_nothing_goes_that_nobody_was_reminded_of_in_time(database, share, asked, reminded):
    """The box was off for months, or its clock was wrong: the two weeks begin with the reminder."""
    asked("old", days=400, reminded=reminded)
    assert quarantine_upkeep.settle(database, share, now=utc_now()) == 0
    assert lying(share) == ["old"]


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
    grant(database, share)
    asked("a", days=WAITS.days - EXPIRING.days)
    asked("b", days=WAITS.days - EXPIRING.days + 1)
    asked("c", days=10)
    now = utc_now()
    with database.write() as c:
        facts.put(c, notices_arrived.ARRIVED, 99, now=now)
    for days in (0, 1, 6, 8):
        notices_watch.turn(settings, database, now + days * DAY)
    assert told(database, doctor, "link.expiring") == [2, 2]
    assert [row.reminded_at is None for row in rows(database).values()] == [False, False, True]


def test_the_practice_is_reminded_of_what_who_left_asked_for(
    database, settings, share, doctor, asked
):
    """A closed account reads nothing: those who run the box are told, and not that the request was theirs."""
    grant(database, share)
    asked("a", days=WAITS.days)
    with database.write() as c:
        c.execute(person.update().where(person.c.id == doctor.id).values(disabled_at=utc_now()))
        facts.put(c, notices_arrived.ARRIVED, 99, now=utc_now())
    notices_watch.turn(settings, database, utc_now())
    with database.read() as c:
        found = c.execute(notice.select().where(notice.c.code == "link.expiring")).all()
    assert [row.person_id for row in found] == [None]
    assert "your request" not in found[0].text
    assert "not here any more" in found[0].text
