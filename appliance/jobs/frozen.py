"""Why nothing may be removed from a repository just now, from what is stored (beam 6).

Nothing about a freeze is remembered that could be read again: how the last run ended, what the last
proof said and which anomalies are open are facts of their own. ``source.frozen_reason`` is their
echo for the pages; ``settle`` keeps it true (docs/decisions/0062).
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from appliance.db import anomalies, snapshots, sources
from appliance.jobs import clock_watch, readings
from appliance.ledger import proofs
from appliance.model import Outcome, Source
from appliance.policy.retention import FreezeReason, why_frozen
from appliance.policy.status import ProofKind

CLOCK_TOLERANCE: Final = timedelta(hours=1)
#: Kind of the anomalies that vanished archives open, one for each snapshot.
VANISHED: Final = "archive-vanished"


def reasons(
    connection: Connection,
    source: Source,
    *,
    now: datetime,
    archive_list_readable: bool = True,
) -> list[FreezeReason]:
    """Return every reason why nothing may be removed, gravest first; empty: pruning may run.

    Args:
        connection: sees one moment.
        source: of the repository.
        now: aware.
        archive_list_readable: whether the repository's list was read; True when nobody tried.
    """
    newest = snapshots.newest(connection, source.id)
    run = readings.last_run(connection, source)
    open_ones = anomalies.open_ones(connection, source.id)
    return why_frozen(
        last_run_state=None if run is None else run.state,
        last_proof=_last_proof(connection, source),
        open_anomalies=len(open_ones),
        archive_list_readable=archive_list_readable,
        vanished_archives=sum(one.kind == VANISHED for one in open_ones),
        clock_ok=newest is None
        or clock_watch.believed(connection, newest.started_at, snapshot_id=newest.id)
        <= now + CLOCK_TOLERANCE,
    )


def settle(
    connection: Connection,
    source: Source,
    *,
    now: datetime,
    archive_list_readable: bool = True,
) -> list[FreezeReason]:
    """Make ``source.frozen_reason`` say what holds now, inside the caller's write; return the reasons.

    Call it after a person closed an anomaly, and before removing anything.
    """
    found = reasons(connection, source, now=now, archive_list_readable=archive_list_readable)
    if not found:
        sources.thaw(connection, source.id)
    elif source.frozen_reason != found[0].value:
        sources.thaw(connection, source.id)
        sources.freeze(connection, source.id, found[0].value, now=now)
    return found


def _last_proof(connection: Connection, source: Source) -> Outcome | None:
    """Return how the newest snapshot's sample went; a failed count or re-reading fails it."""
    newest = snapshots.newest(connection, source.id)
    if newest is None:
        return None
    sample: Outcome | None = None
    for proof in reversed(proofs.of_snapshot(connection, newest.id)):
        if proof.kind == ProofKind.SAMPLE or proof.outcome is Outcome.FAILED:
            sample = proof.outcome
    for kind in (ProofKind.CHECK, ProofKind.DATA):
        latest = proofs.latest(connection, source.id, kind.value)
        if latest is not None and latest.outcome is Outcome.FAILED:
            return Outcome.FAILED
    return sample
