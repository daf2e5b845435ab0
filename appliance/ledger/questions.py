"""What the ledger answers: who opened this document, what did this account do.

A document's name is in the ledger as base64 of its path (beam 7), so the question is asked by path; what
happened to a folder above it is part of the answer.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, Select, or_, select

from appliance.db.schema import ledger
from appliance.ledger.chain import to_entry
from appliance.model import LedgerEntry, PersonId
from appliance.packed import pack_path

#: What is done to a folder is done to everything in it.
_OF_FOLDERS: Final = frozenset(
    {
        "file.zipped",
        "file.series-opened",
        "file.moved",
        "file.copied",
        "file.case-copied",
        "file.deleted",
        "file.put-back",
        "folder.moved",
        "folder.deleted",
        "folder.restored",
    }
)


def about_file(
    connection: Connection,
    share_id: int,
    path: bytes,
    *,
    limit: int = 200,
    since: datetime | None = None,
) -> list[LedgerEntry]:
    """Return what happened to a document of a share, or to a folder above it, the newest first.

    Args:
        connection: any.
        share_id: of ``db.shares``.
        path: relative to the share, as the disk holds it.
        limit: at most so many.
        since: not older than this; None: as far back as the ledger goes.
    """
    own = pack_path(path)
    above = {pack_path(each) for each in _folders_above(path)}
    anywhere: list[ColumnElement[bool]] = [
        ledger.c.body.contains(f'"{name}":"{each}"', autoescape=True)
        for each in {own, *above}
        for name in ("path", "to_path")
    ]
    query = (
        select(ledger)
        .where(ledger.c.event >= "f", ledger.c.event < "g")  # file.… and folder.…, by the index
        .where(or_(ledger.c.subject == f"share:{share_id}", ledger.c.body.contains(f'"to":"share:{share_id}"')))
        .where(or_(*anywhere))
        .order_by(ledger.c.seq.desc())
    )  # fmt: skip
    if since is not None:
        query = query.where(ledger.c.at >= since)
    found = []
    for row in connection.execute(query).yield_per(200):
        entry = to_entry(row)
        paths = {entry.body.get("path"), entry.body.get("to_path")}
        if own in paths or entry.event in _OF_FOLDERS:
            found.append(entry)
        if len(found) == limit:
            break
    return found


def hash_of(connection: Connection, share_id: int, etag: str) -> str | None:
    """Return the hash that was compared when a content arrived on a share, whatever it is called by now; or None."""
    query = (
        select(ledger.c.body)
        .where(ledger.c.event == "file.added", ledger.c.subject == f"share:{share_id}")
        .where(ledger.c.body.contains(f'"etag":"{etag}"', autoescape=True))
        .order_by(ledger.c.seq.desc())
        .limit(1)
    )
    body = connection.execute(query).scalar_one_or_none()
    found = json.loads(body).get("hash") if body else None
    return found if isinstance(found, str) else None


def about_snapshots_file(
    connection: Connection, tokens: Mapping[str, str], events: Collection[str], *, limit: int = 200
) -> list[LedgerEntry]:
    """Return what was done to a file of snapshots, the newest first.

    Args:
        connection: any.
        tokens: subject of each night → what its entries call the file, for no name is in them.
        events: their names.
        limit: at most so many.
    """
    query = select(ledger).where(ledger.c.event.in_(list(events))).order_by(ledger.c.seq.desc())
    found = []
    for row in connection.execute(query).yield_per(500):
        token = tokens.get(row.subject)
        if token is None or token not in row.body:
            continue
        entry = to_entry(row)
        if entry.body.get("file") == token:
            found.append(entry)
        if len(found) == limit:
            break
    return found


def of_person(
    connection: Connection,
    person_id: PersonId,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    events: str = "",
    limit: int | None = None,
) -> Iterator[LedgerEntry]:
    """Yield what an account did, the newest first.

    Args:
        connection: kept open while the entries are read.
        person_id: whose.
        since: from this moment on.
        until: before this moment.
        events: beginning of their name, such as ``file.``.
        limit: at most so many; None: all of them.
    """
    query: Select[tuple[object, ...]] = (
        select(ledger).where(ledger.c.actor == f"person:{person_id}").order_by(ledger.c.seq.desc())
    )
    if since is not None:
        query = query.where(ledger.c.at >= since)
    if until is not None:
        query = query.where(ledger.c.at < until)
    if events:
        query = query.where(ledger.c.event.startswith(events, autoescape=True))
    if limit is not None:
        query = query.limit(limit)
    for row in connection.execute(query).yield_per(500):
        yield to_entry(row)


def path_of(entry: LedgerEntry, name: str = "path") -> str | None:
    """Return a path an entry speaks of, packed as URLs carry it, or None."""
    value = entry.body.get(name)
    return value if isinstance(value, str) else None


def without_names(entry: LedgerEntry, seen: Collection[int]) -> dict[str, object]:
    """Return an entry's body without the names of documents on shares the reader does not see.

    Args:
        entry: any.
        seen: ids of the shares whose names the reader may know.
    """
    shown = dict(entry.body)
    for name, share in (("path", entry.subject), ("to_path", str(entry.body.get("to", "")))):
        noun, _, number = share.partition(":")
        if noun != "share" or not number.isdecimal() or int(number) not in seen:
            shown.pop(name, None)
    return shown


def as_json(entry: LedgerEntry) -> str:
    """Return an entry's body as canonical JSON, as the digest covers it."""
    return json.dumps(entry.body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _folders_above(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(len(parts))]


def find_of_draft(connection: Connection, share_id: int, draft: str) -> LedgerEntry | None:
    """Return the entry of a folder that came back out of this draft (``disk.restoring``), or None."""
    query = (
        select(ledger)
        .where(ledger.c.event == "folder.restored", ledger.c.subject == f"share:{share_id}")
        .where(ledger.c.body.contains(f'"draft":"{draft}"', autoescape=True))
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else to_entry(row)
