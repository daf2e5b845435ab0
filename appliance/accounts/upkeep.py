"""What ends by itself among accounts: terms, emergency access. The planner calls it every turn."""

from datetime import datetime

from sqlalchemy import Connection, select

from appliance.accounts import emergency, locums
from appliance.db.engine import Database
from appliance.db.schema import person, session
from appliance.db.schema_people import emergency_access, locum
from appliance.model import PersonId, Role


def accounts_upkeep(database: Database, now: datetime) -> list[PersonId]:
    """Tidy up behind what is over and return whose rights changed by it; a write only when something is.

    No door waits for this: each asks what is open at every request.
    """
    with database.read() as connection:
        if not _is_something_due(connection, now):
            return []
    with database.write() as connection:
        return [*locums.close_due(connection, now=now), *emergency.end_due(connection, now=now)]


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
