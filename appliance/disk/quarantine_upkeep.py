"""Nightly order in the quarantine: what a crash left between a file and its row, and what waited too long.

Killed while a file arrives: it lies there without a row, and its sender was never told that it was taken. Killed
while it is accepted: it is in its folder, its row still waits. Killed while it is refused: the row is decided, the
file still there. A file that is in neither place is lost (the nights leave ``.armoire`` out: after a recovery all
that waited are): its row is closed without a decision, and waits again should the file come back.
"""

import hashlib
import os
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, delete, func, select, update

from appliance.db.engine import Database
from appliance.db.schema_disk import link, received_file
from appliance.db.shares import Share
from appliance.disk import bin as bins
from appliance.disk.paths import RESERVED, join, open_file, parent
from appliance.errors import ArmoireError
from appliance.ledger import events

#: A file nobody decided about goes after that, and EXPIRING after whoever asked for it was reminded.
WAITS: Final = timedelta(days=90)
EXPIRING: Final = timedelta(days=14)
#: A file no row knows: its sender was told nothing and may still send it again.
STRAY: Final = timedelta(days=7)
#: What was decided about: the names in it are patients'.
REMEMBERED: Final = timedelta(days=366)
#: What is written down of a file that came back.
FOUND_AGAIN: Final = "link.found-again"
NAMES_LOOKED_AT: Final = 100


def settle(database: Database, share: Share, *, now: datetime) -> int:
    """Bring files and rows together again, and let go what is past its term; return how many files went.

    Nothing goes that arrived in the future: the clock is wrong then (beam 6). Nothing at all is done when what
    waits is missing from a share that is otherwise empty: its disk is not plugged in.
    """
    folder = share.folder / os.fsdecode(RESERVED) / bins.QUARANTINE
    with database.read() as connection:
        rows = connection.execute(
            select(received_file, link.c.path)
            .join(link, link.c.id == received_file.c.link_id)
            .where(link.c.share_id == share.id)
        ).all()
    there = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
    waiting = {row.stored for row in rows if row.decided_at is None}
    if waiting - there and not waiting & there and _is_empty(share):
        return 0
    gone = 0
    kept = set()  # all but what was refused, whatever its row says
    for row in rows:
        is_there = row.stored in there
        is_refused = row.decided_at is not None and row.was_accepted is False
        if not is_refused:
            kept.add(row.stored)
        if is_refused and is_there:  # killed while it was refused
            (folder / row.stored).unlink(missing_ok=True)
            gone += 1
        elif is_there and row.decided_at is not None and row.decided_by is None:
            # It came back, and nobody decided about it: it waits again.
            _settle(
                database, share, row, now, event=FOUND_AGAIN, decided_at=None, was_accepted=None
            )
        elif row.decided_at is None and not is_there:
            # Accepted when its content is where it would have gone, else lost.
            is_in = _was_taken_in(share, row)
            what = "link.settled" if is_in else "link.lost"
            _settle(
                database, share, row, now, event=what, decided_at=now, was_accepted=is_in or None
            )
        elif row.decided_at is None and _is_over(row, now):
            # The row first: a file without one goes a week later, a row without one would wait for ever.
            _settle(
                database, share, row, now, event="link.expired", decided_at=now, was_accepted=False
            )
            (folder / row.stored).unlink(missing_ok=True)
            gone += 1
    oldest_s = (now - STRAY).timestamp()
    for name in there - kept:
        place = folder / name
        with suppress(FileNotFoundError):
            if place.lstat().st_ctime <= oldest_s:
                place.unlink()
                gone += 1
    with database.write() as connection:
        _forget(connection, share, now)
    return gone


def _is_empty(share: Share) -> bool:
    """Return whether a share holds nothing but what is ours: so does the folder a disk is put on."""
    return all(os.fsencode(each.name) == RESERVED for each in share.folder.iterdir())


def _is_over(row: Row[Any], now: datetime) -> bool:
    """Return whether a file waited long enough, and somebody was told in time that it goes."""
    return (
        now - row.received_at >= WAITS
        and row.reminded_at is not None
        and now - row.reminded_at >= EXPIRING
    )


def expiring(connection: Connection, *, now: datetime) -> dict[int, int]:
    """Return how many files wait that go within EXPIRING, by link."""
    query = (
        select(received_file.c.link_id, func.count())
        .where(_is_expiring(now))
        .group_by(received_file.c.link_id)
    )
    return {int(row[0]): int(row[1]) for row in connection.execute(query)}


def note_reminded(connection: Connection, link_id: int, *, now: datetime) -> None:
    """Remember that somebody was told of the files of a link that go soon: none goes before that."""
    connection.execute(
        update(received_file)
        .where(
            received_file.c.link_id == link_id,
            received_file.c.reminded_at.is_(None),
            _is_expiring(now),
        )
        .values(reminded_at=now)
    )


def lost(connection: Connection) -> dict[int, tuple[int, datetime]]:
    """Return how many files were lost, and when that was last found, by link."""
    query = (
        select(
            received_file.c.link_id,
            func.count(),
            func.max(received_file.c.decided_at),
        )
        .where(received_file.c.decided_at.is_not(None), received_file.c.was_accepted.is_(None))
        .group_by(received_file.c.link_id)
    )
    return {int(row[0]): (int(row[1]), row[2]) for row in connection.execute(query)}


def _is_expiring(now: datetime) -> ColumnElement[bool]:
    return received_file.c.decided_at.is_(None) & (
        received_file.c.received_at <= now - WAITS + EXPIRING
    )


def _settle(
    database: Database, share: Share, row: Row[Any], now: datetime, *, event: str, **values: object
) -> None:
    """Change a row that nobody decided about meanwhile, and write down what became of its file."""
    is_open = event != FOUND_AGAIN
    with database.write() as connection:
        if _change(connection, row, is_open=is_open, **values):
            events.record(
                connection,
                at=now,
                event=event,
                subject=f"share:{share.id}",
                link=row.link_id,
                received=row.id,
            )


def _change(connection: Connection, row: Row[Any], *, is_open: bool, **values: object) -> bool:
    """Change a row that nobody decided about meanwhile; return whether it was."""
    undecided = received_file.c.decided_at.is_(None)
    changed = connection.execute(
        update(received_file)
        .where(
            received_file.c.id == row.id,
            received_file.c.decided_by.is_(None),
            undecided if is_open else ~undecided,
        )
        .values(**values)
    )
    return bool(changed.rowcount)


def _was_taken_in(share: Share, row: Row[Any]) -> bool:
    """Return whether the folder it was asked for holds this very content under a name it would have got."""
    above, name = parent(join(row.path, row.name))
    for candidate in bins.free_names(name)[:NAMES_LOOKED_AT]:
        with suppress(ArmoireError):
            descriptor = open_file(share.folder, join(above, candidate))
            with os.fdopen(descriptor, "rb") as file:
                if os.fstat(descriptor).st_size != row.size:
                    continue
                if hashlib.file_digest(file, "sha256").hexdigest() == row.sha256:
                    return True
    return False


def _forget(connection: Connection, share: Share, now: datetime) -> None:
    """Forget rows of files decided about long ago; the ledger keeps what happened."""
    of_share = select(link.c.id).where(link.c.share_id == share.id)
    connection.execute(
        delete(received_file).where(
            received_file.c.decided_at < now - REMEMBERED, received_file.c.link_id.in_(of_share)
        )
    )
