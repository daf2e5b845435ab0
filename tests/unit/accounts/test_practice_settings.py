"""What the practice chose is what every room goes by, at once, and the journal says who chose it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from appliance.accounts import emergency, locums, people, practice_settings, sign_in_rules
from appliance.db import practice, shares, sources
from appliance.db.engine import Database
from appliance.disk import set_up
from appliance.errors import InvalidInput, NotAllowed
from appliance.ledger import chain, purge
from appliance.model import Person, PersonId, Plan, Role, SourceKind
from appliance.policy.roles import may
from appliance.settings import Settings

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)

Change = Callable[..., list[str]]


@pytest.fixture
def anne(database: Database) -> Person:
    with database.write() as connection:
        return people.add(
            connection,
            login="anne.martin",
            name="Anne Martin",
            role=Role.OWNER,
            language="fr",
            password_hash=None,
            now=NOW - timedelta(days=1),
        )


@pytest.fixture
def change(database: Database, settings: Settings, anne: Person) -> Change:
    def make(wanted: Mapping[str, object], *, role: Role = Role.OWNER) -> list[str]:
        with database.write() as connection:
            return practice_settings.change(
                connection,
                settings,
                wanted,
                may=lambda action: may(role, action),
                person_id=anne.id,
                now=NOW,
            )

    return make


def told(database: Database) -> list[tuple[str, str, dict[str, object]]]:
    with database.read() as connection:
        return [(each.event, each.actor, dict(each.body)) for each in chain.entries(connection)]


def test_every_choice_reaches_the_room_that_goes_by_it(
    database: Database, settings: Settings, change: Change
) -> None:
    """One value of each kind, read where the work is done."""
    wanted = {
        "practice.name": "Cabinet des Lilas",
        "practice.address": "1, rue Haute\n75001 Paris",
        "practice.language": "en",
        "practice.time-zone": "Indian/Reunion",
        "nights.start": "21:30",
        "nights.end": "05:00",
        "sign-in.second-factor-for-all": True,
        "sign-in.idle-minutes": 10,
        "sign-in.local-hours": 8,
        "sign-in.remote-hours": 2,
        "shares.bin-days": 60,
        "links.longest-days": 30,
        "links.days": 3,
        "links.password": True,
        "search.texts": False,
        "search.dicom": True,
        "locums.case-copies": True,
        "locums.most-days": 30,
        "emergency.minutes": 15,
        "ledger.months": 24,
        "ledger.reason": "Contentieux en cours",
    }
    assert sorted(change(wanted)) == sorted(wanted)
    with database.read() as connection:
        assert practice_settings.read(connection, settings) == wanted
        assert practice.name(connection) == "Cabinet des Lilas"
        assert practice.address(connection).splitlines() == ["1, rue Haute", "75001 Paris"]
        assert practice.language(connection) == "en"
        assert practice.in_force(connection, settings).time_zone == "Indian/Reunion"
        assert practice.usual_plan(connection) == replace(
            Plan(), window_start="21:30", window_end="05:00"
        )
        rules = sign_in_rules.read(connection)
        assert (rules.idle_minutes, rules.second_factor_for_all) == (10, True)
        assert practice.bin_days(connection) == 60
        assert practice.link_rules(connection) == practice.LinkRules(30, 3, needs_password=True)
        assert practice.searched(connection, practice.Searched()) == practice.Searched(
            texts=False, dicom=True
        )
        assert locums.rules(connection) == locums.Rules(30, case_copies=True)
        assert emergency.minutes(connection) == 15
        assert purge.keeping(connection) == purge.Keeping(24, "Contentieux en cours")
    assert len(told(database)) == 13  # four of the practice, two of the search, seven groups
    assert change(wanted) == []
    assert len(told(database)) == 13


def test_nothing_is_stored_when_one_value_is_wrong(
    database: Database, settings: Settings, change: Change
) -> None:
    """All of it, or nothing; and the journal says nothing either."""
    with pytest.raises(InvalidInput) as raised:
        change({"practice.name": "Cabinet", "links.days": 91})
    assert raised.value.name == "links.days"
    with pytest.raises(InvalidInput):
        change({"no.such": 1})
    with pytest.raises(InvalidInput):
        change({"ledger.months": 24})
    with database.read() as connection:
        assert practice.name(connection) == ""
    assert told(database) == []


def test_a_technical_administrator_changes_no_right_of_people(
    database: Database, change: Change
) -> None:
    """The hours of the night are theirs; how people sign in, links, shares and the journal are not."""
    assert change({"nights.start": "22:00"}, role=Role.TECHNICAL_ADMIN) == ["nights.start"]
    for key, value in {
        "sign-in.idle-minutes": 5,
        "shares.bin-days": 1,
        "links.password": True,
        "search.dicom": True,
        "locums.case-copies": True,
        "emergency.minutes": 240,
        "ledger.months": 6,
    }.items():
        with pytest.raises(NotAllowed):
            change({key: value}, role=Role.TECHNICAL_ADMIN)
    # What stays as it is may come along: a form sends all its fields.
    assert change({"shares.bin-days": 30}, role=Role.TECHNICAL_ADMIN) == []


def test_hours_of_ones_own_stay_when_the_usual_ones_move(
    database: Database, change: Change
) -> None:
    """A machine that was given other hours keeps them; one added later gets the new ones."""
    with database.write() as connection:
        usual, own = (
            sources.add(
                connection,
                name=name,
                label=name,
                kind=SourceKind.PULLED,
                roots=("/srv",),
                now=NOW,
                plan=plan,
            )
            for name, plan in (("usual", None), ("own", Plan(window_start="12:00")))
        )
    change({"nights.start": "23:00", "nights.end": "05:30"})
    with database.write() as connection:
        later = sources.add(
            connection, name="later", label="L", kind=SourceKind.PULLED, roots=("/srv",), now=NOW
        )
        windows = {
            each.name: (each.plan.window_start, each.plan.window_end)
            for each in sources.all_living(connection)
        }
    assert windows == {
        usual.name: ("23:00", "05:30"),
        own.name: ("12:00", "06:00"),
        later.name: ("23:00", "05:30"),
    }
    assert told(database)[-1][2] == {"setting": "nights", "value": "23:00-05:30", "sources": 1}


def test_a_share_with_a_number_of_its_own_keeps_it(
    database: Database, settings: Settings, change: Change
) -> None:
    """The bin of the others follows, and of those to come."""
    settings.shares.mkdir(parents=True)

    def add(name: str) -> None:
        with database.write() as connection:
            set_up.make_share(connection, settings, name=name, label=name, person_id=None, now=NOW)

    add("usual")
    add("own")
    with database.write() as connection:
        shares.change(connection, shares.get_by_name(connection, "own").id, bin_days=90)
    change({"shares.bin-days": "45"})
    add("later")
    with database.read() as connection:
        days = {each.name: each.bin_days for each in shares.all_living(connection)}
    assert days == {"usual": 45, "own": 90, "later": 45}


def test_a_shorter_longest_link_lowers_what_is_proposed(
    database: Database, settings: Settings, change: Change
) -> None:
    """Nobody has to change two numbers for one wish."""
    assert set(change({"links.longest-days": 3})) == {"links.longest-days", "links.days"}
    with database.read() as connection:
        assert practice_settings.read(connection, settings)["links.days"] == 3


def test_at_the_console_it_is_the_console_that_did_it(
    database: Database, settings: Settings
) -> None:
    """Every store knows how to say it."""
    with database.write() as connection:
        practice_settings.change(
            connection,
            settings,
            {
                "practice.name": "Cabinet",
                "sign-in.idle-minutes": 10,
                "locums.most-days": 10,
                "emergency.minutes": 10,
                "ledger.months": 6,
                "links.days": 1,
            },
            may=lambda _action: True,
            person_id=None,
            now=NOW,
        )
    assert {actor for _, actor, _ in told(database)} == {"console"}
    assert PersonId(0) not in {body.get("person_id") for _, _, body in told(database)}
