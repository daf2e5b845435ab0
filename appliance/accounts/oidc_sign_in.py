"""From what a service said to an account that was prepared for it: none is ever made here.

The service proves who somebody is, not that they may come in (domain.md §6.2). The owner prepares: «the
account of Claire Martin, RPPS 10001234567». The first sign-in whose subject shows that number binds the
subject; from then on the subject alone counts, so that a number given again opens nothing.
"""

import hmac
import re
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, select, update

from appliance.accounts import people, sign_in
from appliance.accounts.oidc import Said
from appliance.accounts.oidc_providers import Provider
from appliance.accounts.sign_in import SignedIn
from appliance.db.schema_people import outside_identity
from appliance.errors import InvalidInput, OutsideRefused
from appliance.language import mark
from appliance.ledger import events
from appliance.model import Person, PersonId

_NOBODY: Final = mark(
    "no account here was prepared for you. Ask the person responsible for the box."
)
_RPPS: Final = re.compile(r"[0-9]{11}")


def prepare(
    connection: Connection,
    person: Person,
    provider: Provider,
    expected: str,
    *,
    by: PersonId,
    now: datetime,
) -> None:
    """Prepare an account for a service inside the caller's write; an older preparation ends.

    Args:
        connection: of the write.
        person: whose account.
        provider: the service.
        expected: what its subject must show: an RPPS for Pro Santé Connect, else the subject itself.
        by: who prepares.
        now: aware.

    Raises:
        InvalidInput: it is no RPPS, empty, or another account was prepared for it.
        NotAllowed: the account may have no way of its own.
    """
    people.demand_nominative(connection, person.id)
    text = "".join(expected.split())
    if provider.subject_prefix and not _RPPS.fullmatch(text):
        raise InvalidInput("rpps", mark("An RPPS number has 11 digits."))
    if not 0 < len(text) <= 200:
        raise InvalidInput("rpps", mark("It is needed."))
    taken = connection.execute(
        select(outside_identity.c.person_id).where(
            outside_identity.c.issuer == provider.issuer,
            outside_identity.c.expected == text,
            outside_identity.c.removed_at.is_(None),
            outside_identity.c.person_id != person.id,
        )
    ).first()
    if taken is not None:
        raise InvalidInput("rpps", mark("Another account was prepared for this number."))
    forget(connection, person.id, provider, by=by, now=now)
    connection.execute(
        insert(outside_identity).values(
            person_id=person.id,
            issuer=provider.issuer,
            subject="",
            expected=text,
            created_at=now,
        )
    )
    _record(connection, "oidc.prepare", person.id, provider, by, now)


def forget(
    connection: Connection, person_id: PersonId, provider: Provider, *, by: PersonId, now: datetime
) -> None:
    """End a person's way in through a service; it is fine when there is none."""
    ended = connection.execute(
        update(outside_identity)
        .where(
            outside_identity.c.person_id == person_id,
            outside_identity.c.issuer == provider.issuer,
            outside_identity.c.removed_at.is_(None),
        )
        .values(removed_at=now)
    )
    if ended.rowcount:
        _record(connection, "oidc.forget", person_id, provider, by, now)


def prepared(connection: Connection, provider: Provider) -> dict[PersonId, str]:
    """Return who may come through this service: person → the number that was prepared."""
    rows = connection.execute(
        select(outside_identity.c.person_id, outside_identity.c.expected).where(
            outside_identity.c.issuer == provider.issuer, outside_identity.c.removed_at.is_(None)
        )
    )
    return {PersonId(row.person_id): row.expected for row in rows}


def come_in(
    connection: Connection,
    provider: Provider,
    said: Said,
    *,
    address: str,
    user_agent: str,
    now: datetime,
    web_keys: Path,
) -> SignedIn | None:
    """Begin the session of whom the service named, inside the caller's write.

    Returns:
        None: no account was prepared for them, or it is closed; the ledger keeps the refusal.
    """
    person = _find(connection, provider, said, now=now)
    if person is None or person.disabled_at is not None:
        events.record(
            connection,
            at=now,
            event="session.refused",
            subject="person:" if person is None else f"person:{person.id}",
            address=address,
            by="oidc",
            provider=provider.id,
        )
        return None
    # A level of assurance that was asked for and shown is the service's own two factors.
    factors = f"oidc+{provider.acr}" if provider.acr else "oidc"
    return sign_in.begin(
        connection,
        person,
        factors=factors,
        address=address,
        user_agent=user_agent,
        now=now,
        web_keys=web_keys,
    )


def nobody() -> OutsideRefused:
    """Return the refusal of who has no account prepared."""
    return OutsideRefused(_NOBODY)


def _find(
    connection: Connection, provider: Provider, said: Said, *, now: datetime
) -> Person | None:
    rows = connection.execute(
        select(outside_identity).where(
            outside_identity.c.issuer == provider.issuer, outside_identity.c.removed_at.is_(None)
        )
    ).all()
    number = provider.number_of(said.subject)
    for row in rows:
        is_bound = row.subject != ""
        fits = (
            hmac.compare_digest(row.subject.encode(), said.subject.encode())
            if is_bound
            else bool(number) and hmac.compare_digest(row.expected.encode(), number.encode())
        )
        if fits:
            connection.execute(
                update(outside_identity)
                .where(outside_identity.c.id == row.id)
                .values(subject=said.subject, used_at=now)
            )
            return people.get(connection, PersonId(row.person_id))
    return None


def _record(
    connection: Connection,
    event: str,
    person_id: PersonId,
    provider: Provider,
    by: PersonId,
    now: datetime,
) -> None:
    events.record(
        connection,
        at=now,
        event=event,
        subject=f"person:{person_id}",
        person_id=by,
        provider=provider.id,
    )
