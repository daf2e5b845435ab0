"""Uploads that survive a lost line, a reload and a restart: how far one is, is what lies on the disk.

A part lies in ``.armoire/parts`` of its share; the row says what it will be. Its address is 256 random bits of
which the row holds the SHA-256. Whole, checked and durable, it takes its name in one step (``arriving.take_in``).
"""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from blake3 import blake3
from sqlalchemy import Connection, Row, delete, insert, select, update

from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.schema_disk import upload
from appliance.db.shares import Share, ShareId
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.disk.actions import Doer, demand_room
from appliance.disk.arriving import take_in
from appliance.disk.listing import Entry
from appliance.disk.paths import check_new_name, open_parent, parent
from appliance.errors import (
    FileChanged,
    InvalidInput,
    NameTaken,
    UploadBusy,
    UploadDamaged,
    UploadGone,
)
from appliance.language import mark
from appliance.model import PersonId
from appliance.policy.share_rights import Right
from appliance.vault.tokens import digest, make_token

#: An upload that nobody went on with is forgotten after so long.
KEPT: Final = timedelta(days=7)
LARGEST: Final = 4 * 1024**4
HASHES: Final[dict[str, Callable[[], Any]]] = {"blake3": blake3, "sha256": sha256}
MOST_SHOWN: Final = 200
_READ: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload on its way."""

    token_hash: str
    person_id: PersonId | None
    share_id: ShareId
    path: bytes
    part: str
    size: int
    replaces: bool
    mtime_ns: int | None
    wanted_hash: str | None  # «blake3:…»


def begin(
    database: Database,
    held: Held,
    path: bytes,
    size: int,
    *,
    doer: Doer,
    now: datetime,
    replaces: bool = False,
    mtime_ns: int | None = None,
    wanted_hash: str | None = None,
    makes_folders: bool = False,
) -> str:
    """Begin an upload and return its token; everything that can be refused is refused now.

    ``makes_folders``: those on the way that are not there are made.

    Raises:
        NotAllowed, InvalidInput, FileMissing, NotAFolder, NameTaken, ShareFull.
    """
    held.demand(Right.ADD)
    if replaces:
        held.demand(Right.CHANGE)
    if not 0 <= size <= LARGEST:
        raise InvalidInput("size", mark("A size in bytes, please."))
    check_new_name(parent(path)[1])
    if wanted_hash is not None:
        check_hash(wanted_hash)
    if makes_folders:
        bins.make_folders(held.share.folder, parent(path)[0])
    with open_parent(held.share.folder, path) as (folder, name), suppress(FileNotFoundError):
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not replaces:
            raise NameTaken(name.decode("utf-8", "replace"))
    demand_room(held.share, size)
    token, part = make_token(), secrets.token_hex(16)
    with database.write() as connection:
        connection.execute(
            insert(upload).values(
                token_hash=digest(token),
                person_id=doer.person_id,
                share_id=held.share.id,
                path=path,
                part=part,
                size=size,
                replaces=replaces,
                mtime_ns=mtime_ns,
                wanted_hash=wanted_hash,
                created_at=now,
                seen_at=now,
            )
        )
    place = bins.own_folder(held.share, bins.PARTS) / part
    place.touch(mode=0o600)
    return token


def find(connection: Connection, token: str, person_id: PersonId) -> Upload:
    """Return the upload of this person that ``token`` names.

    Raises:
        UploadGone: there is none, or it is another's.
    """
    row = connection.execute(select(upload).where(upload.c.token_hash == digest(token))).first()
    if row is None or row.person_id != person_id:
        raise UploadGone
    return from_row(row)


def unfinished(connection: Connection, person_id: PersonId, share: Share) -> list[Upload]:
    """Return the uploads of a person into a share that did not end, the newest first."""
    query = (
        select(upload)
        .where(upload.c.person_id == person_id, upload.c.share_id == share.id)
        .order_by(upload.c.created_at.desc())
        .limit(MOST_SHOWN)
    )
    return [from_row(row) for row in connection.execute(query)]


def offset(share: Share, one: Upload) -> int:
    """Return how many bytes have arrived.

    Raises:
        UploadGone: the part is not there any more.
    """
    try:
        return _place(share, one).stat().st_size
    except FileNotFoundError as error:
        raise UploadGone from error


class Writing:
    """The part of an upload, open for its next bytes; not safe for two threads."""

    def __init__(self, descriptor: int, one: Upload, at: int) -> None:
        self._descriptor = descriptor
        self._upload = one
        self.offset = at

    def write(self, data: bytes) -> None:
        """Append ``data``.

        Raises:
            InvalidInput: more than was announced; nothing of it is kept.
            OSError: ENOSPC among others; what arrived stays.
        """
        if self.offset + len(data) > self._upload.size:
            raise InvalidInput("size", mark("More arrived than was announced."))
        view = memoryview(data)
        while view:
            count = os.write(self._descriptor, view)
            self.offset += count
            view = view[count:]

    def rewind(self, to: int) -> None:
        """Forget what was written after the offset ``to``: it was not what was sent."""
        os.ftruncate(self._descriptor, to)
        self.offset = to


@contextmanager
def writing(share: Share, one: Upload, at: int) -> Iterator[Writing]:
    """Open the part of an upload at the offset ``at``, alone.

    Raises:
        UploadGone: the part is not there any more.
        UploadBusy: another request writes it.
        FileChanged: it is not at this offset: ask again where it is.
    """
    try:
        descriptor = os.open(_place(share, one), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise UploadGone from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UploadBusy from error
        if os.fstat(descriptor).st_size != at:
            raise FileChanged
        yield Writing(descriptor, one, at)
    finally:
        os.close(descriptor)


def finish(
    database: Database,
    held: Held,
    one: Upload,
    *,
    doer: Doer,
    now: datetime,
    known_hash: str | None = None,
) -> Entry:
    """Check a whole upload, give it its name and forget it.

    Args:
        database: of the box.
        held: the share, with the rights of now.
        one: whose last byte arrived.
        doer: who.
        now: aware UTC.
        known_hash: of all bytes, when the caller hashed them on the way; else they are read again.

    Raises:
        UploadDamaged: it is not what was announced; it is forgotten.
        NotAllowed, FileMissing, NotAFolder, NameTaken: it stays, and may be finished under another name.
    """
    place = _place(held.share, one)
    if one.wanted_hash is not None:
        kind = one.wanted_hash.partition(":")[0]
        found = known_hash or hash_of(place, kind)
        if not secrets.compare_digest(found, one.wanted_hash):
            forget(database, held.share, one)
            raise UploadDamaged
    if one.mtime_ns is not None:
        os.utime(place, ns=(one.mtime_ns, one.mtime_ns))
    made = take_in(
        database,
        held,
        one.path,
        place,
        doer=doer,
        now=now,
        replaces=one.replaces,
        content_hash=one.wanted_hash,
    )
    _forget_row(database, one)
    return made


def put(
    database: Database,
    held: Held,
    path: bytes,
    size: int,
    blocks: Iterable[bytes],
    *,
    doer: Doer,
    now: datetime,
    replaces: bool = False,
    mtime_ns: int | None = None,
) -> Entry:
    """Write a whole file whose bytes are at hand, as an upload in one go: there whole, or not at all.

    Raises:
        As ``begin``, ``Writing.write`` and ``finish``, and what ``blocks`` raises; nothing is left of it.
    """
    token = begin(
        database,
        held,
        path,
        size,
        doer=doer,
        now=now,
        replaces=replaces,
        mtime_ns=mtime_ns,
    )
    with database.read() as connection:
        one = find(connection, token, doer.person_id)
    try:
        with writing(held.share, one, 0) as part:
            for block in blocks:
                part.write(block)
        return finish(database, held, one, doer=doer, now=now)
    except BaseException:
        forget(database, held.share, one)
        raise


def rename(database: Database, one: Upload, path: bytes, *, replaces: bool) -> None:
    """Let an upload become another name: the answer to a clash found at its end.

    Raises:
        InvalidInput.
    """
    check_new_name(parent(path)[1])
    with database.write() as connection:
        connection.execute(
            update(upload)
            .where(upload.c.token_hash == one.token_hash)
            .values(path=path, replaces=replaces)
        )


def seen(database: Database, one: Upload, *, now: datetime) -> None:
    """Note that somebody goes on with an upload."""
    with database.write() as connection:
        connection.execute(
            update(upload).where(upload.c.token_hash == one.token_hash).values(seen_at=now)
        )


def forget(database: Database, share: Share, one: Upload) -> None:
    """Give an upload up."""
    _place(share, one).unlink(missing_ok=True)
    _forget_row(database, one)


def settle(database: Database, share: Share, *, now: datetime) -> int:
    """Forget uploads nobody went on with for KEPT, and parts that no row knows; return how many went."""
    with database.read() as connection:
        rows = connection.execute(select(upload).where(upload.c.share_id == share.id)).all()
    known, gone = set(), 0
    for row in rows:
        one = from_row(row)
        if now - row.seen_at >= KEPT:
            forget(database, share, one)
            gone += 1
        else:
            known.add(one.part)
    oldest_s = (now - KEPT).timestamp()
    for place in bins.own_folder(share, bins.PARTS).iterdir():
        with suppress(OSError):
            if place.name not in known and place.lstat().st_ctime <= oldest_s and place.is_file():
                place.unlink()
                gone += 1
    return gone


def check_hash(text: str) -> str:
    """Return «blake3:…» or «sha256:…» with 64 hex digits.

    Raises:
        InvalidInput: it is none.
    """
    kind, _, digits = text.partition(":")
    if kind not in HASHES or len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise InvalidInput("hash", mark("blake3 or sha256 with 64 hexadecimal digits."))
    return text


def hash_of(place: Path, kind: str) -> str:
    """Return «kind:hex» of a file's bytes."""
    made = HASHES[kind]()
    with place.open("rb") as file:
        while block := file.read(_READ):
            made.update(block)
    return f"{kind}:{made.hexdigest()}"


def share_of(connection: Connection, one: Upload) -> Share:
    """Return the share an upload goes to.

    Raises:
        NotFound: it was removed meanwhile.
    """
    return shares.get(connection, one.share_id)


def _place(share: Share, one: Upload) -> Path:
    return bins.own_folder(share, bins.PARTS) / one.part


def _forget_row(database: Database, one: Upload) -> None:
    with database.write() as connection:
        connection.execute(delete(upload).where(upload.c.token_hash == one.token_hash))


def from_row(row: Row[Any]) -> Upload:
    """Return the upload in a row of the table."""
    return Upload(
        row.token_hash,
        None if row.person_id is None else PersonId(row.person_id),
        ShareId(row.share_id),
        row.path,
        row.part,
        row.size,
        row.replaces,
        row.mtime_ns,
        row.wanted_hash,
    )
