"""Passwords of programs: WebDAV, the JSON API and metrics, each with a secret of its own (docs/decisions/0173).

A person who signs in with two factors would give both up by typing the sign-in password into a file explorer. A
program gets 128 random bits instead, shown once, stored as SHA-256, with an end, and worth no more than the person's
rights of the moment: an account that is closed, or a locum outside the term, closes them with itself.
"""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from appliance.accounts import people
from appliance.db import terms
from appliance.db.schema import person
from appliance.db.schema_people import app_password
from appliance.errors import InvalidInput, NotFound
from appliance.language import mark
from appliance.model import Person, PersonId, Role
from appliance.policy.share_rights import running_term


class Kind(StrEnum):
    """What a password opens."""

    DAV = "dav"  # the shares, over WebDAV
    API = "api"  # the JSON API, within its scope
    METRICS = "metrics"  # figures about the box, for Prometheus


class Scope(StrEnum):
    """One thing an API token may be good for; the person's rights hold besides."""

    DISK_READ = "disk:read"
    DISK_WRITE = "disk:write"
    SNAPSHOTS_READ = "snapshots:read"
    LINKS = "links"  # links for correspondents, and what came by them
    STATUS_READ = "status:read"  # how the nights went, tasks, copies; no document
    BOX_WRITE = "box:write"  # start a night, cancel a task


SCOPE_TEXTS: Final[dict[Scope, str]] = {
    Scope.DISK_READ: mark("read files of the disk"),
    Scope.DISK_WRITE: mark("add, change and delete files of the disk"),
    Scope.LINKS: mark("make links for correspondents, accept what they send"),
    Scope.SNAPSHOTS_READ: mark("look into snapshots"),
    Scope.STATUS_READ: mark("see how the box is doing"),
    Scope.BOX_WRITE: mark("start and stop tasks"),
}
KIND_TEXTS: Final[dict[Kind, str]] = {
    Kind.DAV: mark("file explorer (WebDAV)"),
    Kind.API: mark("program (API)"),
    Kind.METRICS: mark("monitoring (Prometheus)"),
}
#: A password nobody needs any more ends by itself; rights are reviewed every year anyway (domain.md SEC-05).
USUAL_DAYS: Final = 365
MOST_DAYS: Final = 730
LONGEST_LABEL: Final = 200
MOST_LIVING: Final = 50  # of one person
#: A use is written down once in so long.
TOUCH_EVERY: Final = timedelta(minutes=1)
_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class AppPassword:
    """A password of a program; the secret itself is known to that program alone."""

    id: int
    person_id: PersonId
    kind: Kind
    label: str
    scope: frozenset[Scope]  # of an API token; of the others nothing
    created_at: datetime
    ends_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None

    def may(self, scope: Scope) -> bool:
        """Return whether this token is good for ``scope``."""
        return scope in self.scope

    def lives(self, now: datetime) -> bool:
        """Return whether it was neither revoked nor has come to its end."""
        return self.revoked_at is None and (self.ends_at is None or now < self.ends_at)


def make_secret() -> str:
    """Return 128 random bits as a person can copy them: 32 hex digits in fours."""
    digits = secrets.token_hex(_BYTES)
    return "-".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def digest(secret: str) -> str:
    """Return what is stored of a secret; dashes, spaces and capitals do not matter. It is random: no salt."""
    plain = "".join(each for each in secret if each not in "- \t").lower()
    return hashlib.sha256(plain.encode()).hexdigest()


def make(
    connection: Connection,
    person_id: PersonId,
    *,
    kind: Kind,
    label: str,
    scope: Collection[Scope] = (),
    days: int = USUAL_DAYS,
    now: datetime,
) -> tuple[str, AppPassword]:
    """Make a password inside the caller's write; return the secret, to be shown once, and its row.

    The caller writes the ledger.

    Args:
        connection: of the caller's write.
        person_id: whose rights it carries.
        kind: what it opens.
        label: what the person calls the program.
        scope: of an API token, at least one; of another kind it must be empty.
        days: until it ends, 1 to MOST_DAYS.
        now: aware UTC.

    Raises:
        InvalidInput: no label, no end within MOST_DAYS, a scope that does not fit, or too many already.
        NotAllowed: the account may have no way of its own.
    """
    people.demand_nominative(connection, person_id)
    label = label.strip()
    if not label or len(label) > LONGEST_LABEL or not label.isprintable():
        raise InvalidInput("label", mark("A name for the program, please."))
    if not 1 <= days <= MOST_DAYS:
        raise InvalidInput("days", mark("From one day to two years, please."))
    if (kind is Kind.API) != bool(scope):
        raise InvalidInput("scope", mark("At least one thing it may do, please."))
    if len(living(connection, person_id, now=now)) >= MOST_LIVING:
        raise InvalidInput("label", mark("Too many passwords: revoke those no longer used."))
    secret = make_secret()
    result = connection.execute(
        insert(app_password).values(
            person_id=person_id,
            kind=kind.value,
            label=label,
            secret_hash=digest(secret),
            scope=sorted(each.value for each in scope),
            created_at=now,
            ends_at=now + timedelta(days=days),
        )
    )
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    return secret, get(connection, person_id, int(result.inserted_primary_key[0]))


def find(
    connection: Connection, secret: str, *, kinds: Collection[Kind], now: datetime
) -> tuple[Person, AppPassword] | None:
    """Return whose living password this is, or None: unknown, of another kind, ended, revoked, account shut.

    A locum's is good within the term only, to the minute.
    """
    found = _find(connection, app_password.c.secret_hash == digest(secret), now)
    return found if found is not None and found[1].kind in kinds else None


def holder(connection: Connection, password_id: int, *, now: datetime) -> Person | None:
    """Return whose living password this is, as ``find`` does; for a request that took long."""
    found = _find(connection, app_password.c.id == password_id, now)
    return None if found is None else found[0]


def _find(
    connection: Connection, which: ColumnElement[bool], now: datetime
) -> tuple[Person, AppPassword] | None:
    row = connection.execute(
        select(app_password, *(column.label(f"p_{column.name}") for column in person.c))
        .join(person, person.c.id == app_password.c.person_id)
        .where(which, person.c.disabled_at.is_(None))
    ).first()
    if row is None:
        return None
    found = _row(row)
    if not found.lives(now):
        return None
    holder = Person(
        id=PersonId(row.p_id),
        login=row.p_login,
        name=row.p_name,
        role=Role(row.p_role),
        language=row.p_language,
        created_at=row.p_created_at,
        disabled_at=None,
    )
    if (
        holder.role is Role.LOCUM
        and running_term(terms.of_locum(connection, holder.id), now) is None
    ):
        return None
    return holder, found


def get(connection: Connection, person_id: PersonId, password_id: int) -> AppPassword:
    """Return one of a person's passwords.

    Raises:
        NotFound: this person has no such password.
    """
    row = connection.execute(
        select(app_password).where(
            app_password.c.id == password_id, app_password.c.person_id == person_id
        )
    ).first()
    if row is None:
        raise NotFound("password of a program", str(password_id))
    return _row(row)


def living(
    connection: Connection, person_id: PersonId | None = None, *, now: datetime
) -> list[AppPassword]:
    """Return the passwords that open something, of a person or of everybody, newest first."""
    query = select(app_password).where(app_password.c.revoked_at.is_(None))
    if person_id is not None:
        query = query.where(app_password.c.person_id == person_id)
    rows = connection.execute(query.order_by(app_password.c.id.desc()))
    return [each for each in map(_row, rows) if each.lives(now)]


def touch(connection: Connection, password_id: int, *, now: datetime) -> None:
    """Record a use."""
    connection.execute(
        update(app_password).where(app_password.c.id == password_id).values(used_at=now)
    )


def revoke(
    connection: Connection, person_id: PersonId, password_id: int, *, now: datetime
) -> AppPassword:
    """Revoke one of a person's passwords at once and return it; the caller writes the ledger.

    Raises:
        NotFound: this person has no such password, or it was revoked already.
    """
    changed = connection.execute(
        update(app_password)
        .where(
            app_password.c.id == password_id,
            app_password.c.person_id == person_id,
            app_password.c.revoked_at.is_(None),
        )
        .values(revoked_at=now)
    )
    if changed.rowcount == 0:
        raise NotFound("password of a program", str(password_id))
    return get(connection, person_id, password_id)


def revoke_all(connection: Connection, person_id: PersonId, *, now: datetime) -> int:
    """Revoke every password of a person (account closed, locum gone); return how many there were."""
    return connection.execute(
        update(app_password)
        .where(app_password.c.person_id == person_id, app_password.c.revoked_at.is_(None))
        .values(revoked_at=now)
    ).rowcount


def _row(row: Row[Any]) -> AppPassword:
    known = {each.value for each in Scope}
    return AppPassword(
        id=row.id,
        person_id=PersonId(row.person_id),
        kind=Kind(row.kind),
        label=row.label,
        scope=frozenset(Scope(each) for each in row.scope if each in known),
        created_at=row.created_at,
        ends_at=row.ends_at,
        used_at=row.used_at,
        revoked_at=row.revoked_at,
    )
