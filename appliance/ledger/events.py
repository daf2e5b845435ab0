"""Audit events: who did what, when."""

from datetime import datetime

from sqlalchemy import Connection

from appliance.ledger import chain
from appliance.model import LedgerEntry, PersonId

BOX = "box"


def record(
    connection: Connection,
    *,
    at: datetime,
    event: str,
    subject: str,
    person_id: PersonId | None = None,
    actor: str | None = None,
    **body: object,
) -> LedgerEntry:
    """Write that something happened: by a person when ``person_id`` is given, else by ``actor`` or the box."""
    who = f"person:{person_id}" if person_id is not None else (actor or BOX)
    return chain.append(connection, at=at, event=event, actor=who, subject=subject, body=body)
