"""Asking for a drill: what the words stand for is sealed to the box, and the work queued. Opens no secret."""

from datetime import datetime

from sqlalchemy import Connection

from appliance.db import facts, secrets, targets
from appliance.db.engine import Database
from appliance.db.targets import TargetId, TargetRow
from appliance.errors import AlreadyQueued, NotFound, SheetOfAnotherKit
from appliance.jobs import drill_readings, queue
from appliance.jobs.drill_scratch import WORDS
from appliance.jobs.kinds import RunDrill
from appliance.language import mark
from appliance.ledger import events
from appliance.model import JobId, PersonId
from appliance.settings import Settings
from appliance.vault import words
from appliance.vault.seal import seal
from appliance.vault.secret import Secret


def ask(
    database: Database,
    settings: Settings,
    target_id: TargetId,
    secret: Secret,
    *,
    now: datetime,
    person_id: PersonId | None = None,
) -> JobId:
    """Queue a drill from a target and return its job; words and job come together or not at all.

    Args:
        database: opened.
        settings: of the box.
        target_id: where the copy lies.
        secret: what the words of the sheets stand for: ``vault.words.join``.
        now: aware UTC.
        person_id: who asks; None: at the console.

    Raises:
        AlreadyQueued: a drill waits or runs; one at a time.
        NotFound: there is no such target, or no kit was made.
        SheetOfAnotherKit: the words are right, of another kit; nothing was queued.
        KeyMissing: the box has no key.
    """
    sealed = seal(secret, settings.keys)
    with database.write() as connection:
        row = targets.get(connection, target_id)
        running = drill_readings.active(connection)
        if running is not None:
            raise AlreadyQueued(RunDrill.kind, RunDrill.kind, running.id)
        known = facts.find(connection, "kit.recipient")
        if known is None:
            raise NotFound(mark("kit"), "–")
        if words.recipient(secret) != known:
            raise SheetOfAnotherKit(1)
        secrets.put_sealed(connection, WORDS, sealed, now=now)
        job_id = queue.enqueue(connection, RunDrill(row.id), now=now, person_id=person_id)
        events.record(
            connection,
            at=now,
            event="drill.ask",
            subject=f"target:{row.id}",
            person_id=person_id,
            actor="console",
            job=job_id,
        )
    return job_id


def choose(connection: Connection, name: str | None) -> TargetRow:
    """Return the target to exercise from: the one called ``name``, or the one with the newest generation.

    Raises:
        NotFound: there is none of this name, or no target at all.
    """
    if name:
        return targets.get_by_name(connection, name)
    newest = drill_readings.newest_copy(connection)
    if newest is None:
        living = targets.all_living(connection)
        if not living:
            raise NotFound(mark("destination"), "–")
        return living[0]
    return targets.get(connection, newest)
