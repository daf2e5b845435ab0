"""The password asked for once more, of somebody who is signed in."""

from datetime import UTC, datetime, timedelta

import pytest

from appliance.accounts import passwords, people, sign_in
from appliance.errors import AccountBlocked, PasswordWrong, TooManyAttempts
from appliance.ledger import chain
from appliance.model import Role

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
PASSWORD = "Trois-lampes9"


@pytest.fixture
def person(database):
    with database.write() as connection:
        return people.add(
            connection,
            login="claire.martin",
            name="Claire Martin",
            role=Role.OWNER,
            language="fr",
            password_hash=passwords.make_hash(PASSWORD),
            now=NOW,
        )


def failures(database):
    with database.read() as connection:
        return people.find_row(connection, "claire.martin").failures


def test_the_right_password_gives_the_person_and_forgives_failures(database, person):
    with pytest.raises(PasswordWrong):
        sign_in.again(database, person.id, "wrong", now=NOW)
    assert failures(database) == 1
    later = NOW + timedelta(hours=1)
    assert sign_in.again(database, person.id, PASSWORD, now=later) == person
    assert failures(database) == 0


def test_guessing_here_is_slowed_and_stopped_like_signing_in(database, person):
    """An open browser is no place to try passwords."""
    at, said = NOW, set()
    for _ in range(30):
        try:
            sign_in.again(database, person.id, "wrong", now=at)
        except (PasswordWrong, TooManyAttempts, AccountBlocked) as error:
            said.add(type(error))
            if isinstance(error, TooManyAttempts):
                at += timedelta(seconds=error.wait_s + 1)
    assert said == {PasswordWrong, TooManyAttempts, AccountBlocked}
    with pytest.raises(AccountBlocked):
        sign_in.again(database, person.id, PASSWORD, now=at)
    with database.read() as connection:
        assert chain.newest(connection, limit=1)[0].event == "session.locked"


def test_a_closed_account_opens_nothing(database, person):
    with database.write() as connection:
        people.disable(connection, person.id, now=NOW)

    with pytest.raises(PasswordWrong):
        sign_in.again(database, person.id, PASSWORD, now=NOW)
