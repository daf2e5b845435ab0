"""Browsers a person signed in with before: a sign-in from another one is told to them (SEC-07, SEC-09).

A browser carries a random mark in a cookie of its own; the SHA-256 of it is stored for each person. A
browser that forgets its cookies is new again: told once too often rather than not at all.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, insert, select, update

from appliance.accounts import notices
from appliance.db.schema_people import known_device
from appliance.language import mark
from appliance.ledger import events
from appliance.model import PersonId
from appliance.vault import tokens

NEW_DEVICE: Final = "sign-in.new-device"
NEW_DEVICE_TEXT: Final = mark(
    "Somebody signed in to your account from a new browser (%(browser)s, %(address)s)."
    " If it was not you, change your password and end that session."
)
LOCKS: Final = "sign-in.locks"
LOCKS_TEXT: Final = mark(
    "The account %(login)s was locked %(count)s times today after failed sign-ins."
)
_BROWSERS: Final = (
    ("Edg/", "Edge"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def recognise(
    connection: Connection,
    person_id: PersonId,
    carried: str | None,
    *,
    address: str,
    user_agent: str,
    now: datetime,
) -> str:
    """Remember this browser inside the caller's write; tell the person when it is new to them.

    The very first one of a person is told to nobody. Return the mark its cookie shall carry.
    """
    if carried:
        changed = connection.execute(
            update(known_device)
            .where(
                known_device.c.person_id == person_id,
                known_device.c.mark_hash == tokens.digest(carried),
            )
            .values(seen_at=now, user_agent=user_agent[:300])
        )
        if changed.rowcount:
            return carried
    is_first = (
        connection.execute(
            select(func.count())
            .select_from(known_device)
            .where(known_device.c.person_id == person_id)
        ).scalar_one()
        == 0
    )
    # A browser two people share keeps its mark: each of them knows it.
    carried = carried if carried and len(carried) == len(tokens.make_token()) else None
    made = carried or tokens.make_token()
    connection.execute(
        insert(known_device).values(
            person_id=person_id,
            mark_hash=tokens.digest(made),
            user_agent=user_agent[:300],
            first_seen_at=now,
            seen_at=now,
        )
    )
    if not is_first:
        notices.put(
            connection,
            NEW_DEVICE,
            NEW_DEVICE_TEXT,
            {"browser": browser_of(user_agent), "address": address[:64]},
            person_id=person_id,
            now=now,
        )
        events.record(
            connection,
            at=now,
            event="session.new-device",
            subject=f"person:{person_id}",
            person_id=person_id,
            address=address,
        )
    return made


def browser_of(user_agent: str) -> str:
    """Return «Firefox, Windows»; «?» for what is not known."""
    found = [
        next((name for part, name in known if part in user_agent), "?")
        for known in (_BROWSERS, _SYSTEMS)
    ]
    return ", ".join(found)
