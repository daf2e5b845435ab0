"""Passwords of programs: random, shown once, good for one thing, and never longer than their person."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select

from appliance.accounts import app_passwords, people
from appliance.accounts.app_passwords import Kind, Scope
from appliance.db.engine import Database
from appliance.db.schema_people import app_password, locum
from appliance.errors import InvalidInput, NotFound
from appliance.model import Person, Role

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def person(database: Database) -> Callable[[Role], Person]:
    def add(role: Role) -> Person:
        with database.write() as connection:
            return people.add(
                connection,
                login=f"{role.value}.durand",
                name="Claude Durand",
                role=role,
                language="fr",
                password_hash=None,
                now=NOW - DAY,
            )

    return add


def test_a_secret_is_128_random_bits_and_only_its_hash_is_stored(database, person) -> None:
    """Neither a copy of the database nor a look at it opens a share."""
    doctor = person(Role.OWNER)
    with database.write() as connection:
        secret, made = app_passwords.make(
            connection, doctor.id, kind=Kind.DAV, label="Finder", now=NOW
        )
        other, _ = app_passwords.make(connection, doctor.id, kind=Kind.DAV, label="Finder", now=NOW)
        stored = connection.execute(select(app_password.c.secret_hash)).scalars().all()
    assert len(bytes.fromhex(secret.replace("-", ""))) == 16
    assert secret != other
    assert app_passwords.digest(secret) in stored
    assert not any(secret.replace("-", "") in each for each in stored)
    assert made.ends_at == NOW + timedelta(days=app_passwords.USUAL_DAYS)
    with database.read() as connection:
        typed = secret.replace("-", " ").upper()
        found = app_passwords.find(connection, typed, kinds={Kind.DAV}, now=NOW)
    assert found is not None
    assert (found[0], found[1]) == (doctor, made)


@pytest.mark.parametrize("what", ["another kind", "revoked", "ended", "account", "unknown", "all"])
def test_it_opens_nothing_once_it_is(database, person, what: str) -> None:
    """Each of them at once, at the next request."""
    doctor = person(Role.OWNER)
    with database.write() as connection:
        secret, made = app_passwords.make(
            connection, doctor.id, kind=Kind.DAV, label="Finder", days=3, now=NOW
        )
        find = {"kinds": {Kind.DAV}, "now": NOW + 3 * DAY - timedelta(seconds=1)}
        assert app_passwords.find(connection, secret, **find) is not None
        match what:
            case "another kind":
                find["kinds"] = {Kind.API, Kind.METRICS}
            case "revoked":
                app_passwords.revoke(connection, doctor.id, made.id, now=NOW)
            case "ended":
                find["now"] = NOW + 3 * DAY
            case "account":
                people.disable(connection, doctor.id, now=NOW)
            case "unknown":
                secret = app_passwords.make_secret()
            case "all":
                assert app_passwords.revoke_all(connection, doctor.id, now=NOW) == 1
        assert app_passwords.find(connection, secret, **find) is None


def test_a_locums_works_within_the_term_to_the_minute(database, person) -> None:
    """Nobody has to think of it when the locum goes."""
    doctor, stand_in = person(Role.OWNER), person(Role.LOCUM)
    with database.write() as connection:
        connection.execute(
            insert(locum).values(
                person_id=stand_in.id,
                replaces_id=doctor.id,
                sponsor_id=doctor.id,
                starts_at=NOW,
                ends_at=NOW + 7 * DAY,
                rights={},
            )
        )
        secret, _ = app_passwords.make(
            connection, stand_in.id, kind=Kind.API, label="x", scope=[Scope.DISK_READ], now=NOW
        )
        minute = timedelta(minutes=1)
        opens = [
            app_passwords.find(connection, secret, kinds={Kind.API}, now=at) is not None
            for at in (NOW - minute, NOW, NOW + 7 * DAY - minute, NOW + 7 * DAY)
        ]
    assert opens == [False, True, True, False]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("label", {"label": " "}),
        ("label", {"label": "a\nb"}),
        ("days", {"days": 0}),
        ("days", {"days": app_passwords.MOST_DAYS + 1}),
        ("scope", {"kind": Kind.API}),
        ("scope", {"scope": [Scope.DISK_READ]}),
    ],
)
def test_what_does_not_fit_is_said(database, person, field: str, values: dict) -> None:
    """A label, an end, and a scope where there is one to give."""
    doctor = person(Role.OWNER)
    with pytest.raises(InvalidInput) as raised, database.write() as connection:
        app_passwords.make(
            connection, doctor.id, **({"kind": Kind.DAV, "label": "Finder", "now": NOW} | values)
        )
    assert raised.value.name == field


def test_nobody_revokes_anothers(database, person) -> None:
    """And the number of another's password says nothing about it."""
    doctor, secretary = person(Role.OWNER), person(Role.SECRETARY)
    with database.write() as connection:
        secret, made = app_passwords.make(
            connection, doctor.id, kind=Kind.DAV, label="Finder", now=NOW
        )
    with pytest.raises(NotFound), database.write() as connection:
        app_passwords.revoke(connection, secretary.id, made.id, now=NOW)
    with database.read() as connection:
        assert app_passwords.find(connection, secret, kinds={Kind.DAV}, now=NOW) is not None
        assert app_passwords.living(connection, secretary.id, now=NOW) == []
        assert [each.id for each in app_passwords.living(connection, now=NOW)] == [made.id]
