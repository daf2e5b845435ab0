"""What a person decides about objects that somebody else wrote in the box's name."""

from datetime import datetime

from sqlalchemy import Connection

from appliance.db import forged, targets
from appliance.db.targets import TargetId
from appliance.ledger import events
from appliance.model import PersonId


def accept(
    connection: Connection, target_id: TargetId, *, person: PersonId | None, now: datetime
) -> int:
    """Record that a person looked at the forged objects of a target, and that no other box uses it; return how many.

    They stay forged for ever: left aside, never read as ours. From now on old generations are removed again.

    Args:
        connection: inside ``Database.write()``.
        target_id: where they lie.
        person: who decided; None: at the console of the box.
        now: aware UTC.

    Raises:
        NotFound: there is no such target.
    """
    row = targets.get(connection, target_id)
    waiting = [each for each in forged.of_target(connection, row.id) if each.passed_over_at is None]
    if waiting:
        forged.pass_over(connection, [each.id for each in waiting], now=now)
        events.record(
            connection,
            at=now,
            event="copy.forged-accepted",
            subject=f"target:{row.id}",
            person_id=person,
            objects=[each.name for each in waiting],
        )
    return len(waiting)
