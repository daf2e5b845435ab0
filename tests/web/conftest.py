"""A box with people, and a browser's manners without a browser."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from appliance.accounts import passwords, people, sessions
from appliance.clock import utc_now
from appliance.db.engine import Database
from appliance.model import Person, Role
from appliance.settings import Settings
from appliance.web.app import create_app
from appliance.web.security import COOKIE

PASSWORD = "Trois-lampes9"


@pytest.fixture(scope="session")
def password_hash() -> str:
    """The hash of PASSWORD, made once: it is slow on purpose."""
    return passwords.make_hash(PASSWORD)


@pytest.fixture
def anonymous(settings: Settings, database: Database) -> Iterator[TestClient]:
    """A browser that has not signed in; it follows no redirect."""
    with TestClient(
        create_app(settings, database),
        base_url="https://testserver",
        headers={"sec-fetch-site": "same-origin", "accept-language": "en"},
        follow_redirects=False,
    ) as client:
        yield client


@pytest.fixture
def person_of(database: Database, password_hash: str) -> Callable[[Role], Person]:
    """Make, or find, the person of a role."""

    def make(role: Role) -> Person:
        with database.write() as connection:
            row = people.find_row(connection, f"{role.value}.martin")
            if row is not None:
                return people.from_row(row)
            return people.add(
                connection,
                login=f"{role.value}.martin",
                name=f"Claude Martin {role.value}",
                role=role,
                language="en",
                password_hash=password_hash,
                now=utc_now() - timedelta(days=1),
            )

    return make


@pytest.fixture
def client_as(
    anonymous: TestClient, database: Database, person_of: Callable[[Role], Person]
) -> Callable[[Role], TestClient]:
    """The browser, signed in as a person of a role."""

    def sign_in(role: Role) -> TestClient:
        person = person_of(role)
        with database.write() as connection:
            token = sessions.start(
                connection, person.id, now=utc_now(), address="127.0.0.1", user_agent="tests"
            )
        anonymous.cookies.set(COOKIE, token)
        return anonymous

    return sign_in


@pytest.fixture
def owner(client_as: Callable[[Role], TestClient]) -> TestClient:
    """The browser of the practice's owner."""
    return client_as(Role.OWNER)
