"""The oldest entries go after the time the practice keeps them, and the chain still verifies.

What goes is summed up in a checkpoint: an entry of its own, ``ledger.pruned``, that names the first and the
last number, how many they were, the digest of the last one (the next entry follows it) and the SHA-256 over
all their digests in order. Whoever kept an old export can prove that it is what was removed; whoever cuts the
ledger without a checkpoint is found by ``chain.verify``. docs/formats/ledger.md.

A proof that still holds is not removed: the newest of its kind about a source, a copy or the whole stays, and
what came after it, unless it is older than three years.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, func, select

from appliance.db import facts
from appliance.db.schema import ledger, proof
from appliance.errors import InvalidInput
from appliance.ledger import events
from appliance.model import Outcome, PersonId
from appliance.policy import ledger_keeping

PRUNED: Final = "ledger.pruned"
#: Fact: {"months": 12, "reason": ""}.
KEEPING: Final = "ledger.keeping"
#: Entries removed in one transaction: the next turn takes more.
AT_ONCE: Final = 20_000
#: Fewer are not worth a checkpoint.
FEWEST: Final = 100


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long the practice keeps its journal."""

    months: int = ledger_keeping.MONTHS
    reason: str = ""  # of more than twelve


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one cut removed."""

    first: int
    last: int
    entries: int
    sha256: str


def keeping(connection: Connection) -> Keeping:
    """Return what the practice chose."""
    found = facts.find(connection, KEEPING)
    if not isinstance(found, dict):
        return Keeping()
    return Keeping(int(found["months"]), str(found.get("reason", "")))


def set_keeping(
    connection: Connection, months: int, reason: str, *, by: PersonId | None, now: datetime
) -> None:
    """Choose how long the journal is kept, and write it down.

    Raises:
        InvalidInput: out of bounds, or longer than a year without a reason.
    """
    wrong = ledger_keeping.problem(months, reason)
    if wrong is not None:
        raise InvalidInput("months", wrong)
    facts.put(connection, KEEPING, {"months": months, "reason": reason.strip()}, now=now)
    events.record(
        connection,
        at=now,
        event="ledger.keeping-set",
        subject="box",
        person_id=by,
        actor=None if by is not None else "console",
        months=months,
        reason=reason.strip() or None,
    )


def prune(connection: Connection, *, now: datetime, fewest: int = FEWEST) -> Pruned | None:
    """Remove what is older than the practice keeps, inside the caller's write; None: nothing was.

    Args:
        connection: of the write.
        now: aware, of a clock that is believed.
        fewest: fewer entries are left for the next time.
    """
    first, newest = connection.execute(select(func.min(ledger.c.seq), func.max(ledger.c.seq))).one()
    if first is None:
        return None
    before = ledger_keeping.keep_from(now, keeping(connection).months)
    young = select(func.min(ledger.c.seq)).where(ledger.c.at >= before)
    holds = select(func.max(proof.c.seq)).where(
        proof.c.outcome == Outcome.PROVEN.value, proof.c.at >= now - ledger_keeping.LONGEST
    )
    holds = holds.group_by(proof.c.kind, proof.c.source_id, proof.c.target_id)
    kept = [each for each in connection.execute(young).scalars() if each is not None]
    kept += [int(each) for each in connection.execute(holds).scalars()]
    last = min(ledger_keeping.last_to_go(kept, first, newest), first + AT_ONCE - 1)
    if last - first + 1 < fewest:
        return None
    gone = ledger.c.seq <= last
    summed = hashlib.sha256()
    last_digest = ""
    count = 0
    rows = select(ledger.c.digest).where(gone).order_by(ledger.c.seq)
    for digest in connection.execute(rows).scalars():
        summed.update(digest.encode())
        last_digest = digest
        count += 1
    connection.execute(delete(proof).where(proof.c.seq <= last))
    connection.execute(delete(ledger).where(gone))
    pruned = Pruned(first, last, count, summed.hexdigest())
    events.record(
        connection,
        at=now,
        event=PRUNED,
        subject="box",
        first=first,
        last=last,
        entries=count,
        last_digest=last_digest,
        sha256=pruned.sha256,
        before=before.isoformat(),
    )
    return pruned
