"""Emergency access: a reason, some minutes, a notice, a review (SEC-15)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.accounts import emergency, notices, people
from appliance.accounts.upkeep import accounts_upkeep
from appliance.db import shares
from appliance.db.engine import Database
from appliance.disk import access
from appliance.errors import InvalidInput, NotAllowed, NotFound
from appliance.jobs.people_readings import people_findings
from appliance.ledger import chain, events
from appliance.model import Person, Role
from appliance.policy.emergency import may_review, refusal
from appliance.policy.share_rights import ALL, Right

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
REASON = "Patient in the waiting room, Dr Martin cannot be reached"


@pytest.fixture
def add(database: Database) -> Callable[..., Person]:
    """Open an account."""

    def make(login: str, role: Role) -> Person:
        with database.write() as connection:
            return people.add(
                connection,
                login=login,
                name=login.replace(".", " ").title(),
                role=role,
                language="fr",
                password_hash=None,
                now=NOW,
            )

    return make


@pytest.fixture
def anne(add: Callable[..., Person]) -> Person:
    """The owner."""
    return add("anne.martin", Role.OWNER)


@pytest.fixture
def luc(add: Callable[..., Person]) -> Person:
    """An associate."""
    return add("luc.petit", Role.ASSOCIATE)


@pytest.fixture
def share(database: Database, anne: Person, tmp_path: Path) -> int:
    """A share of the owner alone."""
    with database.write() as connection:
        made = shares.add(connection, name="documents", label="Documents", folder=tmp_path, now=NOW)
        shares.grant(connection, made.id, ALL, person_id=anne.id, by=anne.id, now=NOW)
    return made.id


@pytest.fixture
def take(database: Database, share: int) -> Callable[..., emergency.Access]:
    """Take emergency access now."""

    def begin(who: Person, **change: object) -> emergency.Access:
        values = {"share_id": share, "reason": REASON, "now": NOW}
        with database.write() as connection:
            return emergency.begin(connection, who, **(values | change))

    return begin


def rights_at(database: Database, person: Person, now: datetime) -> frozenset[Right]:
    with database.read() as connection:
        held = access.held(connection, person, now=now)
    return held[0].rights if held else frozenset()


def test_it_opens_for_thirty_minutes_to_be_read_only(database, take, luc):
    """And shuts at its minute, without anybody."""
    assert not rights_at(database, luc, NOW)
    take(luc)
    assert rights_at(database, luc, NOW) == {Right.SEE}
    assert rights_at(database, luc, NOW + 30 * MINUTE - timedelta(seconds=1)) == {Right.SEE}
    assert not rights_at(database, luc, NOW + 30 * MINUTE)


@pytest.mark.parametrize("role", [Role.SECRETARY, Role.TECHNICAL_ADMIN])
def test_only_a_health_professional_takes_it(take, add, role):
    """A technician is helped by one, who answers for it."""
    with pytest.raises(NotAllowed):
        take(add("x.y", role))


def test_a_locum_outside_the_term_takes_nothing(take, add):
    """The account is shut, and an emergency does not open it."""
    with pytest.raises(NotAllowed):
        take(add("paul.durand", Role.LOCUM))


@pytest.mark.parametrize("reason", ["", "urgent", "aaaaaaaaaaaaaaa", "   a b      ", "x" * 2000])
def test_it_asks_for_a_reason(take, luc, reason):
    """At least ten letters, and not the same one ten times."""
    with pytest.raises(InvalidInput):
        take(luc, reason=reason)
    assert refusal(Role.OWNER, REASON) is None


def test_who_answers_is_told_at_once_and_the_reason_stays_in_its_place(database, take, anne, luc):
    """It may name a patient: neither in a notice, which may leave the box, nor in the ledger."""
    take(luc)
    with database.read() as connection:
        (notice,) = notices.of_person(connection, anne)
        assert notices.unseen(connection, anne) == 1
        assert notices.of_person(connection, luc) == []
        assert notice.facts["taker"] == luc.name
        assert "waiting room" not in str(notice)
        assert "waiting room" not in str(list(chain.entries(connection)))
        assert chain.verify(connection) == 1


def test_it_is_not_taken_twice_and_ends_when_asked(database, take, luc, anne, add):
    """By the taker, or an owner; to others it is not there."""
    taken = take(luc)
    with pytest.raises(InvalidInput):
        take(luc)
    other = add("claire.roux", Role.SECRETARY)
    with database.write() as connection, pytest.raises(NotFound):
        emergency.stop(connection, taken.id, by=other, now=NOW)
    with database.write() as connection:
        ended = emergency.stop(connection, taken.id, by=luc, now=NOW + 5 * MINUTE)
    assert ended.ended_at == NOW + 5 * MINUTE
    assert not rights_at(database, luc, NOW + 6 * MINUTE)


def test_everything_opened_is_listed_and_nothing_else(database, take, luc, share):
    """What happened before, after, or elsewhere is another story."""
    taken = take(luc)
    for minute, subject in ((-1, share), (5, share), (10, share + 1), (45, share)):
        with database.write() as connection:
            events.record(
                connection, at=NOW + minute * MINUTE, event="file.opened",
                subject=f"share:{subject}", person_id=luc.id, path="eA",
            )  # fmt: skip
    assert accounts_upkeep(database, NOW + 50 * MINUTE) == [luc.id]
    with database.read() as connection:
        found = emergency.opened(connection, taken, now=NOW + 60 * MINUTE)
        assert [each.at for each in found] == [NOW + 5 * MINUTE]
        (ended,) = chain.newest(connection, event="emergency.ended")
        assert ended.body["opened"] == 1
        assert emergency.get(connection, taken.id).ended_at == NOW + 30 * MINUTE


def test_another_owner_reviews_within_a_week_or_it_is_said(database, take, anne, luc, add):
    """Nobody reviews their own while another owner is there."""
    taken = take(anne)
    later = NOW + timedelta(hours=1)
    with database.read() as connection:
        (due,) = people_findings(connection, later)
        (late,) = people_findings(connection, NOW + timedelta(days=7, minutes=1))
        assert people_findings(connection, NOW + timedelta(minutes=10)) == []
    assert (due.code, late.code) == ("emergency.review-due", "emergency.review-overdue")
    eve = add("eve.owner", Role.OWNER)
    for who in (anne, luc):
        with database.write() as connection, pytest.raises(NotAllowed):
            emergency.review(connection, taken.id, "all right", by=who, now=later)
    with database.write() as connection:
        with pytest.raises(InvalidInput):
            emergency.review(connection, taken.id, "", by=eve, now=later)
        with pytest.raises(InvalidInput):
            emergency.review(connection, taken.id, "too early", by=eve, now=NOW)
        done = emergency.review(connection, taken.id, "all right", by=eve, now=later)
        assert done.reviewed_by == eve.id
        assert people_findings(connection, NOW + timedelta(days=30)) == []
        with pytest.raises(InvalidInput):
            emergency.review(connection, taken.id, "again", by=eve, now=later)


def test_an_owner_alone_reviews_their_own():
    """There is nobody else; it is written all the same."""
    assert may_review(1, 1, [1])
    assert not may_review(1, 1, [1, 2])
    assert not may_review(3, 1, [1, 2])


def test_it_lasts_what_the_practice_chose_and_four_hours_at_most(database, take, luc, anne):
    """SEC-15's upper bound."""
    with database.write() as connection:
        with pytest.raises(InvalidInput):
            emergency.set_minutes(connection, 241, by=anne.id, now=NOW)
        emergency.set_minutes(connection, 240, by=anne.id, now=NOW)
    assert take(luc).ends_at == NOW + timedelta(hours=4)
