"""Nightly order in the quarantine: what a crash left between a file and its row, and what waited too long.

Killed while a file arrives: it lies there without a row, and its sender was never told that it was taken. Killed
while it is accepted: it is in its folder, its row still waits. Killed while it is refused: the row is decided, the
file still there.
"""

import os
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, select, update

from appliance.db.engine import Database
from appliance.db.schema_disk import link, received_file
from appliance.db.shares import Share
from appliance.disk import bin as bins
from appliance.ledger import events

#: A file nobody decided about goes after that; whoever asked for it is reminded before (see ``EXPIRING``).
WAITS: Final = timedelta(days=90)
EXPIRING: Final = timedelta(days=14)
#: A file no row knows: its sender was told nothing and may still send it again.
STRAY: Final = timedelta(days=7)
#: What was decided about: the names in it are patients'.
REMEMBERED: Final = timedelta(days=366)


def settle(database: Database, share: Share, *, now: datetime) -> int:
    """Bring files and rows together again, and let go what is past its term; return how many files went.

    Nothing goes that arrived in the future: the clock is wrong then (beam 6).
    """
    folder = bins.own_folder(share, bins.QUARANTINE)
    gone = 0
    with database.read() as connection:
        rows = connection.execute(
            select(received_file)
            .join(link, link.c.id == received_file.c.link_id)
            .where(link.c.share_id == share.id)
        ).all()
    known = set()
    for row in rows:
        place = folder / row.stored
        is_there = os.path.lexists(place)
        if row.decided_at is not None:
            if is_there:  # killed while it was refused: an accepted one was moved away
                place.unlink()
                gone += 1
            continue
        known.add(row.stored)
        if not is_there:
            _close(database, share, row.id, row.link_id, "link.settled", was_accepted=True, now=now)
        elif now - row.received_at >= WAITS:
            # The row first: a file without one goes a week later, a row without one would wait for ever.
            _close(
                database, share, row.id, row.link_id, "link.expired", was_accepted=False, now=now
            )
            place.unlink()
            gone += 1
    oldest_s = (now - STRAY).timestamp()
    for place in folder.iterdir():
        with suppress(FileNotFoundError):
            if place.name not in known and place.lstat().st_ctime <= oldest_s:
                place.unlink()
                gone += 1
    with database.write() as connection:
        _forget(connection, share, now)
    return gone


def expiring(connection: Connection, *, now: datetime) -> dict[int, int]:
    """Return how many files wait that go within EXPIRING, by link."""
    query = select(received_file.c.link_id).where(
        received_file.c.decided_at.is_(None), received_file.c.received_at <= now - WAITS + EXPIRING
    )
    found: dict[int, int] = {}
    for row in connection.execute(query):
        found[row.link_id] = found.get(row.link_id, 0) + 1
    return found


def _close(
    database: Database,
    share: Share,
    received_id: int,
    link_id: int,
    event: str,
    *,
    was_accepted: bool,
    now: datetime,
) -> None:
    with database.write() as connection:
        changed = connection.execute(
            update(received_file)
            .where(received_file.c.id == received_id, received_file.c.decided_at.is_(None))
            .values(decided_at=now, was_accepted=was_accepted)
        )
        if changed.rowcount:
            events.record(
                connection,
                at=now,
                event=event,
                subject=f"share:{share.id}",
                link=link_id,
                received=received_id,
            )


def _forget(connection: Connection, share: Share, now: datetime) -> None:
    """Forget rows of files decided about long ago; the ledger keeps what happened."""
    of_share = select(link.c.id).where(link.c.share_id == share.id)
    connection.execute(
        delete(received_file).where(
            received_file.c.decided_at < now - REMEMBERED, received_file.c.link_id.in_(of_share)
        )
    )
