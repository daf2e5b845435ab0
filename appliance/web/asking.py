"""Work that a person asks for, on a page or through the API: it is queued, and the ledger says who asked."""

from sqlalchemy import Connection

from appliance.clock import utc_now
from appliance.jobs import queue
from appliance.jobs.kinds import Spec
from appliance.ledger import events
from appliance.model import JobId
from appliance.web.deps import Visitor


def ask(
    connection: Connection,
    spec: Spec,
    event: str,
    subject: str,
    visitor: Visitor,
    **said: object,
) -> JobId:
    """Queue ``spec`` inside the caller's write and write down who asked for it; return the job.

    Args:
        connection: of the caller's write.
        spec: what is to be done.
        event: what the ledger calls the asking.
        subject: what it is about: «source:3».
        visitor: who asks.
        said: of the entry, besides the job; a path packed, as every entry about a share has it, never a bare name.

    Raises:
        AlreadyQueued: the same waits already; nothing is written.
    """
    now = utc_now()
    job = queue.enqueue(connection, spec, now=now, person_id=visitor.person.id)
    events.record(
        connection,
        at=now,
        event=event,
        subject=subject,
        person_id=visitor.person.id,
        actor=None,
        job=job,
        **said,
    )
    return job
