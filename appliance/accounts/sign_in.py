"""Signing in: the password, the lock after failures, the session, and what the ledger keeps of it."""

from datetime import datetime

from sqlalchemy import Connection

from appliance.accounts import links, passwords, people, sessions
from appliance.db.engine import Database
from appliance.errors import (
    AccountBlocked,
    LinkExpired,
    NotSignedIn,
    PasswordWrong,
    TooManyAttempts,
)
from appliance.ledger import events
from appliance.model import Person, PersonId
from appliance.policy import throttle


def by_password(
    database: Database, login: str, password: str, *, address: str, user_agent: str, now: datetime
) -> str:
    """Return the cookie of a new session. Takes tens of milliseconds: call it in a thread.

    An unknown login costs the same time and gets the same answer as a wrong password.

    Raises:
        NotSignedIn: the login or the password is wrong.
        TooManyAttempts: the account waits after failures; right or wrong, the password is not tried.
        AccountBlocked: after ten failures only a one-time link opens it.
    """
    with database.read() as connection:
        row = people.find_row(connection, login)
    if row is not None:
        gate = throttle.gate(row.failures, row.locked_until, now)
        if gate.blocked:
            raise AccountBlocked
        if not gate.open:
            raise TooManyAttempts(gate.wait_s)
    stored = None if row is None else row.password_hash
    right = passwords.matches(stored, password)
    newer = (
        passwords.make_hash(password)
        if right and stored and passwords.is_outdated(stored)
        else None
    )
    with database.write() as connection:
        if row is None:
            events.record(
                connection, at=now, event="session.refused", subject="person:", address=address
            )
        elif not right:
            _failed(connection, login, address=address, now=now)
        else:
            person = people.from_row(row)
            if row.failures:
                people.set_failures(connection, person.id, 0, None)
            if newer is not None:
                people.rehash(connection, person.id, newer)
            return _start(connection, person, address=address, user_agent=user_agent, now=now)
    raise NotSignedIn


def again(database: Database, person_id: PersonId, password: str, *, now: datetime) -> Person:
    """Return a signed-in person whose password was asked for once more; call it in a thread.

    A wrong one counts as a failed sign-in.

    Raises:
        PasswordWrong: it is not theirs, or the account was closed.
        TooManyAttempts, AccountBlocked: as ``by_password``.
    """
    with database.read() as connection:
        person = people.get(connection, person_id)
        row = people.find_row(connection, person.login)
    if row is None or person.disabled_at is not None:
        raise PasswordWrong
    gate = throttle.gate(row.failures, row.locked_until, now)
    if gate.blocked:
        raise AccountBlocked
    if not gate.open:
        raise TooManyAttempts(gate.wait_s)
    right = passwords.matches(row.password_hash, password)
    with database.write() as connection:
        if right and row.failures:
            people.set_failures(connection, person.id, 0, None)
        if not right:
            _failed(connection, person.login, address="", now=now)
    if not right:
        raise PasswordWrong
    return person


def by_link(
    connection: Connection, token: str, *, address: str, user_agent: str, now: datetime
) -> str:
    """Use a person's one-time link, inside the caller's write; return the cookie of a new session.

    It also lifts the lock after failures: who may make links is who may unlock.

    Raises:
        LinkExpired: the link is worth nothing, makes a first account, or its account was closed.
    """
    link = links.use(connection, token, now=now)
    if link.person_id is None:
        raise LinkExpired
    person = people.get(connection, link.person_id)
    if person.disabled_at is not None:
        raise LinkExpired
    people.set_failures(connection, person.id, 0, None)
    return _start(connection, person, address=address, user_agent=user_agent, now=now, by="link")


def _failed(connection: Connection, login: str, *, address: str, now: datetime) -> None:
    row = people.find_row(
        connection, login
    )  # again, inside the write: attempts may run side by side
    if row is None:
        return
    failures = row.failures + 1
    people.set_failures(connection, row.id, failures, throttle.locked_until(failures, now))
    events.record(
        connection,
        at=now,
        event="session.refused",
        subject=f"person:{row.id}",
        address=address,
        failures=failures,
    )


def _start(
    connection: Connection,
    person: Person,
    *,
    address: str,
    user_agent: str,
    now: datetime,
    by: str = "password",
) -> str:
    token = sessions.start(connection, person.id, now=now, address=address, user_agent=user_agent)
    events.record(
        connection,
        at=now,
        event="session.start",
        subject=f"person:{person.id}",
        person_id=person.id,
        address=address,
        by=by,
    )
    return token
