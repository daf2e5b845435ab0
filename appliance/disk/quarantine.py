"""What correspondents send: it waits in ``.armoire/quarantine`` until somebody of the practice accepts or refuses it.

No door shows it before: it is in no listing, no search, no share over the network. Its name is the sender's word
and only becomes a path when it is accepted.
"""

import hashlib
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update

from appliance import folders
from appliance.db.engine import Database
from appliance.db.schema_disk import received_file, upload
from appliance.db.shares import Share
from appliance.disk import bin as bins
from appliance.disk import links
from appliance.disk.access import Held
from appliance.disk.actions import Doer, demand_room, record
from appliance.disk.arriving import Arrived, take_in
from appliance.disk.links import Link, Opened
from appliance.disk.listing import Entry, entry_of
from appliance.disk.paths import check_new_name, join, parent, split
from appliance.disk.uploads import Upload, from_row
from appliance.errors import (
    ArmoireError,
    FileMissing,
    FileRefused,
    InvalidInput,
    NameTaken,
    NotFound,
    UploadGone,
)
from appliance.language import mark
from appliance.model import PersonId
from appliance.policy.outside_links import HEAD, why_content_not_taken, why_name_not_taken
from appliance.policy.share_rights import Right
from appliance.units import MIB
from appliance.vault.tokens import digest, make_token

DEEPEST: Final = 20


@dataclass(frozen=True, slots=True)
class Received:
    """A file that a correspondent sent."""

    id: int
    link_id: int
    name: bytes  # the sender's: names with «/» between
    stored: str
    size: int
    sha256: str
    received_at: datetime
    decided_at: datetime | None
    decided_by: PersonId | None
    was_accepted: bool | None

    @property
    def state(self) -> str:
        """Return waiting, accepted, declined or lost."""
        if self.decided_at is None:
            return "waiting"
        return {None: "lost", True: "accepted", False: "declined"}[self.was_accepted]


def begin(database: Database, opened: Opened, name: bytes, size: int, *, now: datetime) -> str:
    """Begin a correspondent's upload and return its token; what can be refused is refused now.

    Raises:
        InvalidInput, FileRefused, ShareFull.
    """
    _check(opened, name, size)
    with database.write() as connection:
        _demand_allowed(connection, opened.link, files=1, size=size)
        demand_room(opened.held.share, size)
        token, part = make_token(), secrets.token_hex(16)
        connection.execute(
            insert(upload).values(
                token_hash=digest(token),
                link_id=opened.link.id,
                share_id=opened.held.share.id,
                path=name,
                part=part,
                size=size,
                replaces=False,
                created_at=now,
                seen_at=now,
            )
        )
    (bins.own_folder(opened.held.share, bins.PARTS) / part).touch(mode=0o600)
    return token


def find(connection: Connection, token: str, one: Link) -> Upload:
    """Return the upload of this link that ``token`` names.

    Raises:
        UploadGone: there is none, or it is another's.
    """
    row = connection.execute(
        select(upload).where(upload.c.token_hash == digest(token), upload.c.link_id == one.id)
    ).first()
    if row is None:
        raise UploadGone
    return from_row(row)


def receive(
    database: Database, opened: Opened, one: Upload, *, address: str, now: datetime
) -> Received:
    """Put a whole upload into quarantine and forget the upload.

    Raises:
        FileRefused: its content is not what its name says; nothing of it is kept.
    """
    part = bins.own_folder(opened.held.share, bins.PARTS) / one.part
    folders.sync(part)
    try:
        return _take(database, opened, one.path, part, address=address, now=now)
    except FileRefused:
        part.unlink(missing_ok=True)
        raise
    finally:
        if not part.exists():
            with database.write() as connection:
                connection.execute(upload.delete().where(upload.c.token_hash == one.token_hash))


def receive_many(
    database: Database, opened: Opened, arrived: Sequence[Arrived], *, address: str, now: datetime
) -> list[Entry | ArmoireError]:
    """Put the files of a batch into quarantine; return for each its entry, or why it was refused."""
    results: list[Entry | ArmoireError] = []
    for each in arrived:
        try:
            facts = each.part.lstat()
            _check(opened, each.path, facts.st_size)
            with database.read() as connection:
                _demand_allowed(connection, opened.link, files=1, size=facts.st_size)
            _take(database, opened, each.path, each.part, address=address, now=now)
            results.append(entry_of(parent(each.path)[1], facts))
        except ArmoireError as error:
            results.append(error)
    return results


def of_link(connection: Connection, link_id: int) -> list[Received]:
    """Return what a link received, those that wait first, then the newest first."""
    query = (
        select(received_file)
        .where(received_file.c.link_id == link_id)
        .order_by(received_file.c.decided_at.is_not(None), received_file.c.id.desc())
        .limit(5000)
    )
    return [_received(row) for row in connection.execute(query)]


def get(connection: Connection, link_id: int, received_id: int) -> Received:
    """Return one file that a link received.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(
        select(received_file).where(
            received_file.c.id == received_id, received_file.c.link_id == link_id
        )
    ).first()
    if row is None:
        raise NotFound("file", str(received_id))
    return _received(row)


def waiting(connection: Connection) -> dict[int, int]:
    """Return how many files wait, by link."""
    query = (
        select(received_file.c.link_id, func.count())
        .where(received_file.c.decided_at.is_(None))
        .group_by(received_file.c.link_id)
    )
    return {int(row[0]): int(row[1]) for row in connection.execute(query)}


def open_received(share: Share, one: Received) -> int:
    """Open a file that waits, for somebody to look at it; the caller closes the descriptor.

    Raises:
        FileMissing: it was decided about.
    """
    try:
        return os.open(_place(share, one), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise FileMissing from error


def accept(
    database: Database, held: Held, link: Link, one: Received, *, doer: Doer, now: datetime
) -> bytes:
    """Put a file into the folder it was asked for and return its path: beside what has its name already.

    Raises:
        NotAllowed, FileMissing: the folder went, or it was decided about. NotAFolder, NameTaken.
    """
    held.demand(Right.ADD)
    place = _place(held.share, one)
    if one.decided_at is not None or not place.exists():
        raise FileMissing
    above, name = parent(join(link.path, one.name))
    bins.make_folders(held.share.folder, above)
    for candidate in bins.free_names(name):
        path = join(above, candidate)
        with suppress(NameTaken):
            take_in(database, held, path, place, doer=doer, now=now)
            break
    else:
        raise NameTaken(name.decode("utf-8", "replace"))
    _decide(database, held.share, link, one, doer, now, was_accepted=True)
    return path


def refuse(
    database: Database, held: Held, link: Link, one: Received, *, doer: Doer, now: datetime
) -> None:
    """Remove a file that waits, for good.

    Raises:
        NotAllowed.
    """
    held.demand(Right.ADD)
    if one.decided_at is not None:
        return
    _decide(database, held.share, link, one, doer, now, was_accepted=False)
    _place(held.share, one).unlink(missing_ok=True)


def _check(opened: Opened, name: bytes, size: int) -> None:
    names = split(name)
    if not 0 < len(names) <= DEEPEST:
        raise InvalidInput("name", mark("A name, please."))
    for each in names:
        check_new_name(each)
    reason = why_name_not_taken(name.decode("utf-8"), size, opened.link.rules)
    if reason is not None:
        raise FileRefused(reason)


def _demand_allowed(connection: Connection, link: Link, *, files: int, size: int) -> None:
    """Return when so much more may come by this link; what is on its way counts."""
    held = connection.execute(
        select(func.count(), func.coalesce(func.sum(received_file.c.size), 0)).where(
            received_file.c.link_id == link.id,
            # What was lost may be sent again.
            received_file.c.decided_at.is_(None) | received_file.c.was_accepted.is_not(None),
        )
    ).one()
    coming = connection.execute(
        select(func.count(), func.coalesce(func.sum(upload.c.size), 0)).where(
            upload.c.link_id == link.id
        )
    ).one()
    if (
        held[0] + coming[0] + files > link.rules.files
        or held[1] + coming[1] + size > link.rules.sum_bytes
    ):
        raise FileRefused(mark("as much as was asked for is there already"))


def _take(
    database: Database, opened: Opened, name: bytes, part: Path, *, address: str, now: datetime
) -> Received:
    share, link = opened.held.share, opened.link
    with part.open("rb") as file:
        head = file.read(HEAD)
        reason = why_content_not_taken(name.decode("utf-8"), head)
        if reason is not None:
            raise FileRefused(reason)
        made = hashlib.sha256(head)
        while block := file.read(4 * MIB):
            made.update(block)
        size = file.tell()
    stored = secrets.token_hex(16)
    folder = bins.own_folder(share, bins.QUARANTINE)
    part.chmod(0o600)
    with database.write() as connection:
        # The row first: a file without one would lie there for ever, a row without one is seen at once.
        result = connection.execute(
            insert(received_file).values(
                link_id=link.id,
                name=name,
                stored=stored,
                size=size,
                sha256=made.hexdigest(),
                received_at=now,
            )
        )
        links.record_access(
            connection,
            opened,
            "link.received",
            join(link.path, name),
            address=address,
            now=now,
            is_use=True,
            size=size,
        )
        part.rename(folder / stored)
        # Durable before the row is: after a power cut, a row without its file would be a file lost.
        folders.sync(folder)
        folders.sync(part.parent)
        assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
        return get(connection, link.id, int(result.inserted_primary_key[0]))


def _decide(
    database: Database,
    share: Share,
    link: Link,
    one: Received,
    doer: Doer,
    now: datetime,
    *,
    was_accepted: bool,
) -> None:
    with database.write() as connection:
        connection.execute(
            update(received_file)
            .where(received_file.c.id == one.id)
            .values(decided_at=now, decided_by=doer.person_id, was_accepted=was_accepted)
        )
        record(
            connection,
            "link.accepted" if was_accepted else "link.declined",
            share,
            join(link.path, one.name),
            doer,
            now,
            link=link.id,
            bytes=one.size,
            sha256=one.sha256,
        )


def _place(share: Share, one: Received) -> Path:
    return bins.own_folder(share, bins.QUARANTINE) / one.stored


def _received(row: Row[Any]) -> Received:
    return Received(
        row.id,
        row.link_id,
        row.name,
        row.stored,
        row.size,
        row.sha256,
        row.received_at,
        row.decided_at,
        None if row.decided_by is None else PersonId(row.decided_by),
        row.was_accepted,
    )
