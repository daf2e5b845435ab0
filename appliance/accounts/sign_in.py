"""Signing in: the first factor, the lock after failures, what is asked next, and what the ledger keeps.

A right password forgives earlier failures only when nothing more is asked: else who has a password could
guess codes for ever, setting the count back to 0 between two of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Row

from appliance.accounts import (
    devices,
    links,
    locums,
    notices,
    passwords,
    people,
    sealed_envelope,
    second_factors,
    sessions,
    sign_in_rules,
)
from appliance.accounts.sessions import Session
from appliance.db import local_networks
from appliance.db.engine import Database
from appliance.errors import (
    AccountBlocked,
    AccountNotOpen,
    CodeWrong,
    EnvelopeOpened,
    LinkExpired,
    NotSignedIn,
    PasskeyRefused,
    PasswordWrong,
    SecondFactorMissing,
    TooManyAttempts,
)
from appliance.ledger import chain, events
from appliance.model import Person, PersonId, Role
from appliance.policy import second_factor, throttle
from appliance.policy.sealed_envelope import SESSION
from appliance.policy.second_factor import Means, Step

Result = TypeVar("Result")

LOCKED: Final = "session.locked"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session that began, whole or half, and what comes next."""

    token: str
    step: Step
    person: Person
    shut: AccountNotOpen | EnvelopeOpened | None = None  # right, and not let in all the same


def by_password(
    database: Database,
    login: str,
    password: str,
    *,
    address: str,
    user_agent: str,
    now: datetime,
    web_keys: Path,
) -> SignedIn:
    """Begin a session. Takes tens of milliseconds: call it in a thread.

    An unknown login costs the same time and gets the same answer as a wrong password.

    Args:
        database: the state.
        login: as typed.
        password: as typed.
        address: where they are.
        user_agent: the browser's word for itself.
        now: aware.
        web_keys: the folder of the web process's own key.

    Raises:
        NotSignedIn: the login or the password is wrong.
        TooManyAttempts: the account waits after failures; right or wrong, the password is not tried.
        AccountBlocked: after ten failures only a one-time link opens it.
        SecondFactorMissing: from outside, and there is no second factor.
        AccountNotOpen: a locum outside the term; the password was right.
        EnvelopeOpened: the code of a sealed envelope, right and used before.
    """
    with database.read() as connection:
        row = people.find_row(connection, login)
    if row is not None:
        _ask_gate(row, now)
    stored = None if row is None else row.password_hash
    right = passwords.matches(stored, _as_kept(row, password))
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
            started = None
        elif not right:
            _failed(connection, row.id, address=address, now=now)
            started = None
        else:
            if newer is not None:
                people.rehash(connection, PersonId(row.id), newer)
            started = begin(
                connection,
                people.from_row(row),
                factors="password",
                address=address,
                user_agent=user_agent,
                now=now,
                web_keys=web_keys,
            )
    if started is None:
        raise NotSignedIn
    return _let_in(started)


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
    _ask_gate(row, now)
    right = passwords.matches(row.password_hash, _as_kept(row, password))
    with database.write() as connection:
        if right and row.failures:
            people.set_failures(connection, person.id, 0, None)
        if not right:
            _failed(connection, person.id, address="", now=now)
    if not right:
        raise PasswordWrong
    return person


def by_link(
    connection: Connection,
    token: str,
    *,
    address: str,
    user_agent: str,
    now: datetime,
    web_keys: Path,
) -> SignedIn:
    """Use a person's one-time link, inside the caller's write; begin a session.

    It also lifts the lock after failures: who may make links is who may unlock. It stands in for the
    password, not for a second factor somebody has.

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
    started = begin(
        connection,
        person,
        factors="link",
        address=address,
        user_agent=user_agent,
        now=now,
        web_keys=web_keys,
    )
    return _let_in(started)


def by_passkey(
    database: Database,
    check: Callable[[Connection], PersonId],
    *,
    address: str,
    user_agent: str,
    now: datetime,
    web_keys: Path,
) -> SignedIn:
    """Begin a session by a passkey whose device asked its holder: two factors in one gesture.

    A lock after failed passwords does not stop it: a passkey is not guessed, and else anybody could keep
    a person out.

    Args:
        database: the state.
        check: uses the passkey up inside the write and returns whose it is.
        address: where they are.
        user_agent: the browser's word for itself.
        now: aware.
        web_keys: the folder of the web process's own key.

    Raises:
        PasskeyRefused: it is nobody's, or its account was closed.
    """
    with database.write() as connection:
        person = people.get(connection, check(connection))
        if person.disabled_at is not None:
            raise PasskeyRefused
        started = begin(
            connection,
            person,
            factors="passkey+verified",
            address=address,
            user_agent=user_agent,
            now=now,
            web_keys=web_keys,
        )
    return _let_in(started)


def begin(
    connection: Connection,
    person: Person,
    *,
    factors: str,
    address: str,
    user_agent: str,
    now: datetime,
    web_keys: Path,
) -> SignedIn:
    """Begin a session of somebody whose first factor was right, inside the caller's write.

    ``Step.REFUSED`` begins none: the token is empty, and the ledger keeps the refusal.
    """
    try:
        locums.demand_open(connection, person, now=now)
    except AccountNotOpen as shut:
        _refused(
            connection, person, reason="outside-the-term", by=factors, address=address, now=now
        )
        return SignedIn("", Step.REFUSED, person, shut)
    is_local = local_networks.is_local(connection, address)
    step = second_factor.next_step(
        Means(factors),
        required=is_required(connection, person, is_local=is_local),
        has_factor=second_factors.has_any(connection, person.id, web_keys),
        is_local=is_local,
        since=person.created_at,
        now=now,
    )
    if step is Step.REFUSED:
        _refused(
            connection, person, reason="second-factor-missing", by=factors, address=address, now=now
        )
        return SignedIn("", step, person)
    is_envelope = person.role is Role.SEALED_ENVELOPE
    if is_envelope and not sealed_envelope.open_once(connection, person, address=address, now=now):
        _refused(connection, person, reason="envelope-opened", by=factors, address=address, now=now)
        return SignedIn("", Step.REFUSED, person, EnvelopeOpened())
    is_half = step in {Step.ASKED, Step.MAKE}
    if not is_half:
        _forgive(connection, person.id)
    token = sessions.start(
        connection,
        person.id,
        now=now,
        address=address,
        user_agent=user_agent,
        factors=factors,
        is_half=is_half,
        at_most=SESSION if is_envelope else None,
    )
    if not is_half:
        _record_start(connection, person.id, address=address, by=factors, now=now)
    return SignedIn(token, step, person)


def is_required(connection: Connection, person: Person, *, is_local: bool) -> bool:
    """Return whether this person shows a second factor from there."""
    return second_factor.is_required(
        person.role,
        of_person=people.needs_second_factor(connection, person.id),
        of_everyone=sign_in_rules.read(connection).second_factor_for_all,
        is_local=is_local,
    )


def second(
    database: Database,
    person: Person,
    half: Session,
    check: Callable[[Connection], str],
    *,
    now: datetime,
) -> str:
    """Complete a half session by a second factor and return the cookie's new value.

    Args:
        database: the state.
        person: who is at the door.
        half: their session.
        check: uses a code or a passkey up inside the write and returns which it was.
        now: aware.

    Raises:
        CodeWrong, PasskeyRefused: it is none of theirs; it counts as a failed sign-in.
        TooManyAttempts, AccountBlocked: as ``by_password``.
        NotFound: the session was ended in between.
    """

    def whole(connection: Connection) -> str:
        factor = check(connection)
        _forgive(connection, person.id)
        token = sessions.complete(connection, half, factor=factor, now=now)
        _record_start(
            connection, person.id, address=half.address, by=f"{half.factors}+{factor}", now=now
        )
        return token

    return counted(database, person.id, whole, address=half.address, now=now)


def counted(
    database: Database,
    person_id: PersonId,
    change: Callable[[Connection], Result],
    *,
    address: str,
    now: datetime,
) -> Result:
    """Run ``change`` in a write; a wrong code or passkey counts as a failed sign-in.

    Raises:
        CodeWrong, PasskeyRefused: what ``change`` raised.
        TooManyAttempts, AccountBlocked: it is not even tried.
    """
    with database.read() as connection:
        row = people.find_row(connection, people.get(connection, person_id).login)
    if row is None:
        raise NotSignedIn
    _ask_gate(row, now)
    try:
        with database.write() as connection:
            return change(connection)
    except (CodeWrong, PasskeyRefused):
        with database.write() as connection:
            _failed(connection, person_id, address=address, now=now)
        raise


def made_first_factor(
    connection: Connection, person: Person, half: Session, kind: str, *, now: datetime
) -> str:
    """Complete the half session of somebody who has just made their first second factor.

    Returns:
        The cookie's new value.
    """
    _forgive(connection, person.id)
    token = sessions.complete(connection, half, factor=kind, now=now)
    _record_start(connection, person.id, address=half.address, by=f"{half.factors}+{kind}", now=now)
    return token


def _let_in(started: SignedIn) -> SignedIn:
    # Raised once the write is done: the ledger keeps the refusal, the link stays used.
    if started.shut is not None:
        raise started.shut
    if started.step is Step.REFUSED:
        raise SecondFactorMissing
    return started


def _as_kept(row: Row[Any] | None, password: str) -> str:
    """Return what is compared: a code of an envelope is read off paper, a password is what was typed."""
    return sealed_envelope.plain(password) if row is not None and _is_paper(row) else password


def _is_paper(row: Row[Any]) -> bool:
    """Return whether it is an envelope's: its 120 bits are never blocked, for no link would open them again."""
    return bool(row.role == Role.SEALED_ENVELOPE.value)


def _ask_gate(row: Row[Any], now: datetime) -> None:
    gate = throttle.gate(row.failures, row.locked_until, now, blocks=not _is_paper(row))
    if gate.blocked:
        raise AccountBlocked
    if not gate.open:
        raise TooManyAttempts(gate.wait_s)


def _forgive(connection: Connection, person_id: PersonId) -> None:
    people.set_failures(connection, person_id, 0, None)


def _failed(connection: Connection, person_id: PersonId, *, address: str, now: datetime) -> None:
    # Read inside the write: attempts may run side by side.
    row = people.find_row(connection, people.get(connection, person_id).login)
    if row is None:
        return
    failures = row.failures + 1
    until = throttle.locked_until(failures, now, blocks=not _is_paper(row))
    people.set_failures(connection, row.id, failures, until)
    events.record(
        connection,
        at=now,
        event="session.refused",
        subject=f"person:{row.id}",
        address=address,
        failures=failures,
    )
    if until is None and failures < throttle.BLOCKED_AT:
        return
    events.record(connection, at=now, event=LOCKED, subject=f"person:{row.id}", failures=failures)
    today = [
        entry
        for entry in chain.newest(connection, limit=50, subject=f"person:{row.id}", event=LOCKED)
        if now - entry.at < throttle.LOCKS_WITHIN
    ]
    if throttle.alert_due(len(today), failures):
        notices.put(
            connection,
            devices.LOCKS,
            devices.LOCKS_TEXT,
            {"login": row.login, "count": len(today)},
            person_id=None,
            now=now,
        )


def _refused(
    connection: Connection, person: Person, *, reason: str, by: str, address: str, now: datetime
) -> None:
    # What was shown was right: no failure is counted.
    events.record(
        connection,
        at=now,
        event="session.refused",
        subject=f"person:{person.id}",
        address=address,
        by=by,
        reason=reason,
    )


def _record_start(
    connection: Connection, person_id: PersonId, *, address: str, by: str, now: datetime
) -> None:
    events.record(
        connection,
        at=now,
        event="session.start",
        subject=f"person:{person_id}",
        person_id=person_id,
        address=address,
        by=by,
    )
