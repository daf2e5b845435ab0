"""What ends by itself among accounts: terms, emergency access. The planner calls it every turn."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, select

from appliance.accounts import emergency, locums
from appliance.db import facts
from appliance.db.engine import Database
from appliance.db.schema import person, session
from appliance.db.schema_people import emergency_access, locum
from appliance.ledger import purge
from appliance.model import PersonId, Role

_PRUNED_AT: Final = "ledger.pruned-at"
_PRUNE_EVERY: Final = timedelta(days=1)


def accounts_upkeep(database: Database, now: datetime) -> list[PersonId]:
    """Tidy up behind what is over and return whose rights changed by it; a write only when something is.

    No door waits for this: each asks what is open at every request.
    """
    _prune_ledger(database, now)
    with database.read() as connection:
        if not _is_something_due(connection, now):
            return []
    with database.write() as connection:
        return [*locums.close_due(connection, now=now), *emergency.end_due(connection, now=now)]


def _prune_ledger(database: Database, now: datetime) -> None:
    """Once a day, remove the entries of the journal that are older than the practice keeps them."""
    with database.read() as connection:
        last = facts.find(connection, _PRUNED_AT)
    if isinstance(last, str) and now - datetime.fromisoformat(last) < _PRUNE_EVERY:
        return
    with database.write() as connection:
        pruned = purge.prune(connection, now=now)
        if pruned is None or pruned.entries < purge.AT_ONCE:  # else the next turn goes on
            facts.put(connection, _PRUNED_AT, now.isoformat(), now=now)


def _is_something_due(connection: Connection, now: datetime) -> bool:
    due = [
        select(locum.c.id).where(locum.c.closed_at.is_(None), locum.c.ends_at <= now),
        select(emergency_access.c.id).where(
            emergency_access.c.ended_at.is_(None), emergency_access.c.ends_at <= now
        ),
        # A locum whose replaced doctor left has no running term: their sessions end too.
        select(session.c.id)
        .join(person, person.c.id == session.c.person_id)
        .where(
            person.c.role == Role.LOCUM.value,
            session.c.revoked_at.is_(None),
            session.c.ends_at > now,
        ),
    ]
    return any(connection.execute(each.limit(1)).first() is not None for each in due)
