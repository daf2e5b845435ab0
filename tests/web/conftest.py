"""A box with people, and a browser's manners without a browser."""

import base64
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import insert
from starlette.testclient import TestClient
from starlette.types import Scope as AsgiScope

from appliance.accounts import app_passwords, passwords, people, sessions
from appliance.accounts.app_passwords import Kind, Scope
from appliance.catalogue.store import of_source
from appliance.clock import utc_now
from appliance.db import facts
from appliance.db.engine import Database, open_database
from appliance.db.schema_people import locum
from appliance.model import Person, Role
from appliance.replication import kit
from appliance.settings import Settings
from appliance.web.app import create_app
from appliance.web.security import COOKIE
from tests.support.reading import ReaderProcess
from tests.web.copied import Copied, fill_copies
from tests.web.practice import Practice, fill

PASSWORD = "Trois-lampes9"


@pytest.fixture(scope="session")
def password_hash() -> str:
    """The hash of PASSWORD, made once: it is slow on purpose."""
    return passwords.make_hash(PASSWORD)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Practice]:
    """A practice written once; each test that asks for it gets a copy."""
    settings = Settings(data=tmp_path_factory.mktemp("practice"))
    opened = open_database(settings.database, create=True)
    practice = fill(opened, settings, utc_now())
    opened.close()
    for source in (practice.machine, practice.server, practice.share):
        of_source(settings, source.id).close()
    with closing(sqlite3.connect(settings.data / "state.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return settings.data, practice


@pytest.fixture(scope="session")
def filled_copies(
    filled: tuple[Path, Practice], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Copied]:
    """The same practice with four copies besides its box, written once."""
    settings = Settings(data=tmp_path_factory.mktemp("copied"))
    shutil.copytree(filled[0], settings.data, dirs_exist_ok=True)
    opened = open_database(settings.database, create=True)
    copied = fill_copies(opened, settings, utc_now())
    opened.close()
    with closing(sqlite3.connect(settings.data / "state.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return settings.data, copied


@pytest.fixture
def copied(filled_copies: tuple[Path, Copied], database: Database) -> Copied:
    """Four copies and their nights."""
    return filled_copies[1]


@pytest.fixture
def database(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Database]:
    """The state database; of the practice when the test asks for one."""
    if "copied" in request.fixturenames:
        data, _ = request.getfixturevalue("filled_copies")
        shutil.copytree(data, settings.data, dirs_exist_ok=True)
    elif "practice" in request.fixturenames:
        data, _ = request.getfixturevalue("filled")
        shutil.copytree(data, settings.data, dirs_exist_ok=True)
    opened = open_database(settings.database, create=True)
    yield opened
    opened.close()


@pytest.fixture
def practice(filled: tuple[Path, Practice], database: Database) -> Practice:
    """Three sources and their nights."""
    return filled[1]


@pytest.fixture
def kit_made(database: Database, box_keys: Path) -> Database:
    """A box whose kit was made, as ``armoire init`` does."""
    with database.write() as connection:
        facts.put(connection, "box.id", "b0", now=utc_now())
        kit.make(connection, box_keys, now=utc_now())
    return database


@pytest.fixture
def reader(settings: Settings, kit_made: Database) -> Iterator[ReaderProcess]:
    """The worker's side of the socket, of a box whose kit was made."""
    with ReaderProcess(settings) as process:
        yield process


@pytest.fixture
def anonymous(settings: Settings, database: Database) -> Iterator[TestClient]:
    """A browser that has not signed in; it follows no redirect."""
    with TestClient(
        create_app(settings, database),
        base_url="https://testserver",
        headers={"sec-fetch-site": "same-origin", "accept-language": "en"},
        follow_redirects=False,
        client=("127.0.0.1", 50_000),  # at the practice: from elsewhere two factors are asked for
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
            made = people.add(
                connection,
                login=f"{role.value}.martin",
                name=f"Claude Martin {role.value}",
                role=role,
                language="en",
                password_hash=password_hash,
                now=utc_now() - timedelta(days=1),
            )
        if role is Role.LOCUM:  # an account that is open during a term only
            _begin_term(database, made, make(Role.OWNER))
        return made

    return make


def _begin_term(database: Database, whom: Person, replaced: Person) -> None:
    with database.write() as connection:
        connection.execute(
            insert(locum).values(
                person_id=whom.id,
                replaces_id=replaced.id,
                sponsor_id=replaced.id,
                starts_at=utc_now() - timedelta(days=1),
                ends_at=utc_now() + timedelta(days=7),
                rights={},
            )
        )


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
def taken_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], list[str]]:
    """Note the paths that a short way (``web.quick_file``, ``web.quick_folder``) answers from now on."""

    def note(way: ModuleType) -> list[str]:
        taken: list[str] = []
        find = way._find

        def noted(scope: AsgiScope, share: str) -> object:
            found = find(scope, share)
            if found is not None:
                taken.append(scope["path"])
            return found

        monkeypatch.setattr(way, "_find", noted)
        return taken

    return note


@pytest.fixture
def owner(client_as: Callable[[Role], TestClient]) -> TestClient:
    """The browser of the practice's owner."""
    return client_as(Role.OWNER)


@pytest.fixture
def token_of(
    database: Database, person_of: Callable[[Role], Person]
) -> Callable[..., dict[str, str]]:
    """Make a secret for the person of a role; return the Authorization header that carries it."""

    def make(role: Role, *scope: Scope, kind: Kind = Kind.API) -> dict[str, str]:
        person = person_of(role)
        with database.write() as connection:
            secret, _ = app_passwords.make(
                connection, person.id, kind=kind, label="a script", scope=scope, now=utc_now()
            )
        if kind is Kind.DAV:
            pair = base64.b64encode(f"{person.login}:{secret}".encode()).decode()
            return {"authorization": f"Basic {pair}"}
        return {"authorization": f"Bearer {secret}"}

    return make


@pytest.fixture
def long_ago(database: Database) -> Callable[[], None]:
    """Make every session's proof an old one: who it is is asked again."""

    def make() -> None:
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE session SET proven_at = NULL")

    return make
