"""People: nominative accounts, one per person (domain.md SEC-01)."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from appliance.db.schema import person
from appliance.errors import AlreadyExists, NotAllowed, NotFound
from appliance.language import Language
from appliance.model import Person, PersonId, Role


def add(
    connection: Connection,
    *,
    login: str,
    name: str,
    role: Role,
    language: Language,
    password_hash: str | None,
    now: datetime,
) -> Person:
    """Add an account, inside the caller's write, and return it; ``login`` has been checked.

    Raises:
        AlreadyExists: somebody has this login; a disabled account keeps its own.
    """
    try:
        with connection.begin_nested():
            result = connection.execute(
                insert(person).values(
                    login=login.casefold(),
                    name=name,
                    role=role.value,
                    language=language,
                    password_hash=password_hash,
                    created_at=now,
                )
            )
    except IntegrityError as error:
        raise AlreadyExists("account", login) from error
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    return get(connection, PersonId(result.inserted_primary_key[0]))


def get(connection: Connection, person_id: PersonId) -> Person:
    """Return a person, disabled ones too.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(select(person).where(person.c.id == person_id)).first()
    if row is None:
        raise NotFound("account", str(person_id))
    return from_row(row)


def demand_nominative(connection: Connection, person_id: PersonId) -> None:
    """Let pass who may have ways of their own to come back: passwords, factors, links, devices.

    Raises:
        NotAllowed: it is the account of a sealed envelope, which opens once and leaves nothing behind.
    """
    if get(connection, person_id).role is Role.SEALED_ENVELOPE:
        raise NotAllowed("account.own-ways")


def find_row(connection: Connection, login: str) -> Row[Any] | None:
    """Return the whole row of the living account ``login``, its hash and failures too, or None."""
    return connection.execute(
        select(person).where(person.c.login == login.casefold(), person.c.disabled_at.is_(None))
    ).first()


def get_by_login(connection: Connection, login: str) -> Person:
    """Return who signs in as ``login``.

    Raises:
        NotFound: nobody, or their account is closed.
    """
    row = find_row(connection, login)
    if row is None:
        raise NotFound("account", login)
    return from_row(row)


def everybody(connection: Connection) -> list[Person]:
    """Return every account, by name."""
    return [from_row(row) for row in connection.execute(select(person).order_by(person.c.name))]


def count(connection: Connection) -> int:
    """Return how many accounts there are, disabled ones too."""
    return connection.execute(select(func.count()).select_from(person)).scalar_one()


def names(connection: Connection) -> dict[PersonId, str]:
    """Return the name of everybody by id: what the ledger's actors are shown as."""
    rows = connection.execute(select(person.c.id, person.c.name))
    return {PersonId(row.id): row.name for row in rows}


def set_password(connection: Connection, person_id: PersonId, password_hash: str) -> None:
    """Store a new hash and forget earlier failures.

    Raises:
        NotAllowed: the account may have no way of its own.
    """
    demand_nominative(connection, person_id)
    _change(connection, person_id, password_hash=password_hash, failures=0, locked_until=None)


def rehash(connection: Connection, person_id: PersonId, password_hash: str) -> None:
    """Store the same password under newer parameters."""
    _change(connection, person_id, password_hash=password_hash)


def set_failures(
    connection: Connection, person_id: PersonId, failures: int, locked_until: datetime | None
) -> None:
    """Record how many sign-ins in a row failed, and until when more are refused."""
    _change(connection, person_id, failures=failures, locked_until=locked_until)


def needs_second_factor(connection: Connection, person_id: PersonId) -> bool:
    """Return whether this person shows a second factor wherever they are, whatever their role."""
    return bool(
        connection.execute(
            select(person.c.needs_second_factor).where(person.c.id == person_id)
        ).scalar()
    )


def set_needs_second_factor(connection: Connection, person_id: PersonId, *, needs: bool) -> None:
    """Ask this person for a second factor wherever they are, or no longer."""
    _change(connection, person_id, needs_second_factor=needs)


def set_language(connection: Connection, person_id: PersonId, language: Language) -> None:
    """Set the language of a person's pages."""
    _change(connection, person_id, language=language)


def disable(connection: Connection, person_id: PersonId, *, now: datetime) -> None:
    """Close an account; it is never deleted, for the ledger names it (domain.md SEC-05)."""
    _change(connection, person_id, disabled_at=now)


def from_row(row: Row[Any]) -> Person:
    """Return the person in a row that has the table's columns."""
    return Person(
        id=PersonId(row.id),
        login=row.login,
        name=row.name,
        role=Role(row.role),
        language=row.language,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
    )


def _change(connection: Connection, person_id: PersonId, **values: object) -> None:
    connection.execute(update(person).where(person.c.id == person_id).values(**values))
