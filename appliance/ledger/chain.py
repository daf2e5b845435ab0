"""The chain: every entry names the digest of the one before it, so nothing can be changed unseen.

The digest is SHA-256 over the UTF-8 text ``seq|at|event|actor|subject|body|previous`` where ``body``
is canonical JSON (sorted keys, no spaces). docs/formats/ledger.md says how to check it without us.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select

from appliance.db.schema import ledger
from appliance.errors import LedgerBroken
from appliance.model import LedgerEntry

GENESIS: Final = "0" * 64


def append(
    connection: Connection,
    *,
    at: datetime,
    event: str,
    actor: str,
    subject: str,
    body: Mapping[str, object],
) -> LedgerEntry:
    """Add an entry inside the caller's write transaction and return it.

    Args:
        connection: inside ``Database.write()``: the entry and what it tells of are committed together.
        at: aware UTC.
        event: ``noun.verb``.
        actor: «person:3», «box», «job:12».
        subject: «source:3», «snapshot:17».
        body: figures and ids; never a file name in clear (beam 7).
    """
    seq, previous = _newest(connection)
    row = _row(seq + 1, previous, at=at, event=event, actor=actor, subject=subject, body=body)
    connection.execute(insert(ledger), row)
    return LedgerEntry(**{**row, "body": json.loads(row["body"])})


def append_many(
    connection: Connection,
    *,
    at: datetime,
    event: str,
    actor: str,
    subject: str,
    bodies: Sequence[Mapping[str, object]],
) -> None:
    """Add entries that differ by their body only, in one statement: a batch of files is 400 of them."""
    if not bodies:
        return
    seq, previous = _newest(connection)
    rows = []
    for body in bodies:
        seq += 1
        row = _row(seq, previous, at=at, event=event, actor=actor, subject=subject, body=body)
        rows.append(row)
        previous = row["digest"]
    connection.execute(insert(ledger), rows)


def _newest(connection: Connection) -> tuple[int, str]:
    """Return number and digest of the last entry; 0 and the genesis of an empty chain."""
    last = connection.execute(
        select(ledger.c.seq, ledger.c.digest).order_by(ledger.c.seq.desc()).limit(1)
    ).first()
    return (last.seq, last.digest) if last else (0, GENESIS)


def _row(
    seq: int,
    previous: str,
    *,
    at: datetime,
    event: str,
    actor: str,
    subject: str,
    body: Mapping[str, object],
) -> dict[str, Any]:
    """Return an entry as it is stored, chained to the one before it."""
    text = json.dumps(dict(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {
        "seq": seq,
        "at": at,
        "event": event,
        "actor": actor,
        "subject": subject,
        "body": text,
        "previous": previous,
        "digest": _digest(seq, at, event, actor, subject, text, previous),
    }


def verify(connection: Connection) -> int:
    """Walk the whole chain and return how many entries it holds.

    Raises:
        LedgerBroken: an entry is missing, was altered, or does not follow the one before it.
    """
    expected_seq: int | None = None
    previous: str | None = None
    count = 0
    cut = _cut(connection)
    for row in connection.execute(select(ledger).order_by(ledger.c.seq)).yield_per(1000):
        # ``purge`` cuts the oldest entries and leaves a checkpoint; a gap is never allowed.
        if expected_seq is None and row.seq != 1 and cut != (row.seq - 1, row.previous):
            raise LedgerBroken(row.seq, "the entries before it were removed without a checkpoint")
        if expected_seq is not None and row.seq != expected_seq:
            raise LedgerBroken(row.seq, f"entry {expected_seq} is missing")
        if previous is not None and row.previous != previous:
            raise LedgerBroken(row.seq, "it does not follow the entry before it")
        if expected_seq is None and row.seq == 1 and row.previous != GENESIS:
            raise LedgerBroken(row.seq, "the first entry has a past")
        found = _digest(row.seq, row.at, row.event, row.actor, row.subject, row.body, row.previous)
        if found != row.digest:
            raise LedgerBroken(row.seq, "its content was altered")
        expected_seq, previous = row.seq + 1, row.digest
        count += 1
    return count


def newest(
    connection: Connection,
    *,
    limit: int = 100,
    before_seq: int | None = None,
    subject: str | None = None,
    event: str | None = None,
    actor: str | None = None,
) -> list[LedgerEntry]:
    """Return entries newest first, older than ``before_seq`` when given."""
    query = select(ledger).order_by(ledger.c.seq.desc()).limit(limit)
    if before_seq is not None:
        query = query.where(ledger.c.seq < before_seq)
    if subject is not None:
        query = query.where(ledger.c.subject == subject)
    if event is not None:
        query = query.where(ledger.c.event.startswith(event))
    if actor is not None:
        query = query.where(ledger.c.actor == actor)
    return [to_entry(row) for row in connection.execute(query)]


def length(connection: Connection) -> int:
    """Return how many entries there are."""
    return connection.execute(select(func.count()).select_from(ledger)).scalar_one()


def entries(connection: Connection) -> Iterator[LedgerEntry]:
    """Yield every entry, oldest first."""
    for row in connection.execute(select(ledger).order_by(ledger.c.seq)).yield_per(1000):
        yield to_entry(row)


def _cut(connection: Connection) -> tuple[int, str] | None:
    """Return number and digest of the last entry that the newest checkpoint says it removed, or None."""
    body = connection.execute(
        select(ledger.c.body)
        .where(ledger.c.event == "ledger.pruned")
        .order_by(ledger.c.seq.desc())
        .limit(1)
    ).scalar()
    if body is None:
        return None
    found = json.loads(body)
    return int(found["last"]), str(found["last_digest"])


def to_entry(row: Row[Any]) -> LedgerEntry:
    """Return the entry in a row that has the table's columns."""
    return LedgerEntry(
        row.seq,
        row.at,
        row.event,
        row.actor,
        row.subject,
        json.loads(row.body),
        row.previous,
        row.digest,
    )


def _digest(
    seq: int, at: datetime, event: str, actor: str, subject: str, body: str, previous: str
) -> str:
    moment = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    text = "|".join((str(seq), moment, event, actor, subject, body, previous))
    return hashlib.sha256(text.encode()).hexdigest()
