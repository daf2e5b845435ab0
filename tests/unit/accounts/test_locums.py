"""A locum's account: from one date to another, a part of the rights of whom they replace (SEC-02)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from appliance.accounts import links, locums, notices, people, sessions
from appliance.accounts.upkeep import accounts_upkeep
from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.schema_disk import link
from appliance.db.schema_people import app_password, tunnel_device
from appliance.disk import access
from appliance.errors import AccountNotOpen, InvalidInput, NotAllowed
from appliance.ledger import chain, events
from appliance.model import Person, Role
from appliance.policy.share_rights import ALL, Right

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


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
                now=NOW - 30 * DAY,
            )

    return make


@pytest.fixture
def anne(add: Callable[..., Person]) -> Person:
    """The doctor who owns the practice."""
    return add("anne.martin", Role.OWNER)


@pytest.fixture
def paul(add: Callable[..., Person]) -> Person:
    """The locum."""
    return add("paul.durand", Role.LOCUM)


@pytest.fixture
def share(database: Database, anne: Person, tmp_path: Path) -> int:
    """A share on which the owner may do everything, and one of nobody's."""
    with database.write() as connection:
        made = shares.add(connection, name="documents", label="Documents", folder=tmp_path, now=NOW)
        shares.grant(connection, made.id, ALL, person_id=anne.id, by=anne.id, now=NOW)
    return made.id


@pytest.fixture
def prepare(
    database: Database, anne: Person, paul: Person, share: int
) -> Callable[..., locums.Term]:
    """Agree on a week from tomorrow on, with sight of the documents."""

    def make(**change: object) -> locums.Term:
        values = {
            "person_id": paul.id,
            "replaces_id": anne.id,
            "by": anne,
            "rpps": "10001234567",
            "starts_at": NOW + DAY,
            "ends_at": NOW + 8 * DAY,
            "wanted": {share: frozenset({Right.SEE, Right.ADD})},
            "now": NOW,
        }
        with database.write() as connection:
            return locums.prepare(connection, **(values | change))

    return make


def rights_at(database: Database, person: Person, now: datetime) -> frozenset[Right]:
    with database.read() as connection:
        held = access.held(connection, person, now=now)
    return held[0].rights if held else frozenset()


@pytest.mark.parametrize(
    ("moment", "is_in"),
    [
        (NOW + DAY - MINUTE, False),
        (NOW + DAY, True),
        (NOW + 8 * DAY - MINUTE, True),
        (NOW + 8 * DAY, False),
        (NOW + 8 * DAY + MINUTE, False),
    ],
)
def test_a_term_opens_and_closes_at_its_minute_without_anybody(
    database, prepare, paul, moment, is_in
):
    """Nothing ran in between: no planner, no page."""
    prepare()
    with database.write() as connection:
        token = sessions.start(connection, paul.id, now=moment, address="127.0.0.1", user_agent="t")
    assert bool(rights_at(database, paul, moment)) is is_in
    with database.read() as connection:
        assert (sessions.find(connection, token, now=moment) is not None) is is_in
        if is_in:
            locums.demand_open(connection, paul, now=moment)
        else:
            with pytest.raises(AccountNotOpen) as refused:
                locums.demand_open(connection, paul, now=moment)
            is_before = moment < NOW + DAY
            assert refused.value.starts_at == (NOW + DAY if is_before else None)


def test_nobody_gives_a_locum_more_than_whom_they_replace_has(database, prepare, paul, share):
    """What was not granted to the doctor, and another doctor's share, is left out silently."""
    term = prepare(wanted={share: ALL, share + 1: ALL})
    assert set(term.rights) == {share}
    with database.write() as connection:
        shares.grant(connection, share, {Right.SEE}, person_id=term.replaces_id, by=None, now=NOW)
    assert rights_at(database, paul, NOW + 2 * DAY) == {Right.SEE}


def test_at_the_end_every_way_in_is_ended_and_the_report_is_told(
    database, prepare, anne, paul, share
):
    """Sessions, app passwords, links to correspondents, devices of the tunnel: at the next turn."""
    prepare()
    middle, end = NOW + 2 * DAY, NOW + 8 * DAY
    with database.write() as connection:
        sessions.start(connection, paul.id, now=end - MINUTE, address="::1", user_agent="t")
        connection.execute(
            insert(app_password).values(
                person_id=paul.id,
                kind="dav",
                label="d",
                secret_hash="a",
                scope=[],
                created_at=middle,
            )
        )
        connection.execute(
            insert(link).values(
                token_hash="b", kind="give", share_id=share, path=b"x", person_id=paul.id,
                label="c", created_at=middle, ends_at=end + DAY,
            )
        )  # fmt: skip
        connection.execute(
            insert(tunnel_device).values(
                person_id=paul.id, label="t", public_key="k", address="10.0.0.2", created_at=middle
            )
        )
        events.record(
            connection, at=middle, event="file.opened", subject=f"share:{share}",
            person_id=paul.id, path="eA",
        )  # fmt: skip
    assert accounts_upkeep(database, end - MINUTE) == []
    assert accounts_upkeep(database, end) == [paul.id]
    assert accounts_upkeep(database, end + MINUTE) == []
    with database.read() as connection:
        for table in (app_password, link, tunnel_device):
            assert connection.execute(select(table.c.revoked_at)).scalar() == end
        assert sessions.living(connection, paul.id, now=end) == []
        (notice,) = notices.of_person(connection, anne)
        assert (notice.code, notice.facts["opened"]) == ("locum.ended", 1)
        assert "locum.ended" in {each.event for each in chain.newest(connection)}
        assert people.get(connection, paul.id).disabled_at is None


def test_whose_doctor_left_is_shut_too(database, prepare, anne, paul):
    """A term hangs on the replaced doctor's account."""
    prepare()
    now = NOW + 2 * DAY
    with database.write() as connection:
        sessions.start(connection, paul.id, now=now, address="::1", user_agent="t")
        assert sessions.living(connection, paul.id, now=now)
        people.disable(connection, anne.id, now=now)
    assert accounts_upkeep(database, now) == [paul.id]
    with database.read() as connection:
        assert sessions.living(connection, paul.id, now=now) == []


def test_a_second_term_that_runs_keeps_the_sessions(database, prepare, paul, add, share):
    """Two terms one after the other: the morning of the second asks nobody to sign in again."""
    prepare()
    prepare(starts_at=NOW + 8 * DAY, ends_at=NOW + 10 * DAY)
    with pytest.raises(InvalidInput):
        prepare(starts_at=NOW + 9 * DAY, ends_at=NOW + 11 * DAY)
    end = NOW + 8 * DAY
    with database.write() as connection:
        sessions.start(connection, paul.id, now=end - MINUTE, address="::1", user_agent="t")
    accounts_upkeep(database, end)
    with database.read() as connection:
        assert len(sessions.living(connection, paul.id, now=end)) == 1


def test_the_sponsor_extends_and_ends_and_the_locum_never(database, prepare, anne, paul, add):
    """Not even with a role changed by mistake; another associate neither."""
    term = prepare()
    other = add("luc.petit", Role.ASSOCIATE)
    now = NOW + 2 * DAY
    for who in (paul, other):
        with database.write() as connection, pytest.raises(NotAllowed):
            locums.extend(connection, term.id, NOW + 20 * DAY, by=who, now=now)
        with database.write() as connection, pytest.raises(NotAllowed):
            locums.end(connection, term.id, by=who, now=now)
    with database.write() as connection:
        longer = locums.extend(connection, term.id, NOW + 20 * DAY, by=anne, now=now)
    assert longer.ends_at == NOW + 20 * DAY
    assert rights_at(database, paul, NOW + 15 * DAY)
    with database.write() as connection:
        ended = locums.end(connection, term.id, by=anne, now=NOW + 15 * DAY)
    assert ended.closed_at == NOW + 15 * DAY
    assert not rights_at(database, paul, NOW + 15 * DAY)
    with database.write() as connection, pytest.raises(InvalidInput):
        locums.extend(connection, term.id, NOW + 30 * DAY, by=anne, now=NOW + 16 * DAY)


@pytest.mark.parametrize(
    "change",
    [
        {"ends_at": NOW + 92 * DAY},
        {"ends_at": NOW},
        {"ends_at": NOW - DAY, "starts_at": NOW - 2 * DAY},
        {"starts_at": NOW + 400 * DAY, "ends_at": NOW + 401 * DAY},
        {"rpps": "123"},
        {"rpps": "1000123456a"},
        {"may_copy_cases": True},
    ],
)
def test_a_term_that_cannot_be_is_refused(prepare, database, change):
    """Longer than the practice allows, in the past, without a number."""
    with pytest.raises(InvalidInput):
        prepare(**change)
    with database.read() as connection:
        assert locums.every(connection) == []


def test_an_associate_prepares_their_own_replacement_only(prepare, add, anne, paul):
    """An owner any doctor's; a secretary nobody's."""
    luc = add("luc.petit", Role.ASSOCIATE)
    claire = add("claire.roux", Role.SECRETARY)
    with pytest.raises(NotAllowed):
        prepare(by=luc)
    with pytest.raises(NotAllowed):
        prepare(by=claire)
    with pytest.raises(InvalidInput):
        prepare(replaces_id=claire.id)
    assert prepare(by=luc, replaces_id=luc.id).sponsor_id == luc.id


def test_the_ledger_says_whom_somebody_replaced_at_that_moment(database, prepare, paul, anne):
    """«Paul Durand, remplaçant de Anne Martin», and not outside the term."""
    prepare()
    with database.read() as connection:
        actors = locums.Actors(connection)
    assert actors.replaced(paul.id, NOW + 2 * DAY) == anne.name
    assert actors.replaced(paul.id, NOW) is None
    assert actors.replaced(anne.id, NOW + 2 * DAY) is None


def test_the_link_of_a_locum_lives_until_the_term_has_begun(database, paul):
    """Prepared a week ahead, used on the first morning."""
    with database.write() as connection:
        token = links.make_link_for(connection, paul, NOW, ends_at=NOW + 8 * DAY)
        assert links.check(connection, token, now=NOW + 7 * DAY).person_id == paul.id


def test_what_the_practice_chose_is_kept_within_bounds(database, anne):
    """From 1 to 366 days."""
    with database.write() as connection:
        assert locums.rules(connection) == locums.Rules(90, False)
        locums.set_rules(connection, locums.Rules(30, True), by=anne.id, now=NOW)
        assert locums.rules(connection) == locums.Rules(30, True)
        with pytest.raises(InvalidInput):
            locums.set_rules(connection, locums.Rules(500), by=anne.id, now=NOW)
