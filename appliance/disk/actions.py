"""What a person does to files of a share: the right is asked for, the disk is changed, the ledger is written.

Every door (web, API, WebDAV) goes through here. Nothing is ever written over: what a new content replaces goes
to the bin. A name of a file is in the ledger as base64 of its path, where «who opened this» is answered from.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk import bin as bins
from appliance.disk import listing, moves
from appliance.disk.access import Held
from appliance.disk.bin import BinItem
from appliance.disk.copying import copy_into, remove
from appliance.disk.paths import check_new_name, open_parent, parent
from appliance.errors import (
    FileMissing,
    NameTaken,
    NotAFile,
    ShareFull,
)
from appliance.ledger import events
from appliance.model import PersonId
from appliance.packed import pack_path
from appliance.policy.share_rights import Right

#: Left free on the disk of the shares: a database that cannot write is worse than a refused upload.
FREE_FLOOR: Final = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Doer:
    """Who acts, through which door."""

    person_id: PersonId
    door: str  # web · api · dav
    session_id: int | None = None


def make_folder(database: Database, held: Held, path: bytes, *, doer: Doer, now: datetime) -> None:
    """Make a folder; those above it must be there.

    Raises:
        NotAllowed, InvalidInput, FileMissing, NotAFolder, NameTaken.
    """
    held.demand(Right.ADD)
    check_new_name(parent(path)[1])
    with open_parent(held.share.folder, path) as (folder, name):
        try:
            bins.make_folder(folder, name)
        except FileExistsError as error:
            raise NameTaken(name.decode("utf-8", "replace")) from error
    _record(database, "folder.made", held.share, path, doer, now)


def move(
    database: Database,
    held: Held,
    path: bytes,
    to: Held,
    new_path: bytes,
    *,
    doer: Doer,
    now: datetime,
    on_bytes: Callable[[int], None] = lambda _count: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Rename or move a file or a folder, to another share too; never over something.

    Across file systems it is copied, then put into the bin where it was.

    Raises:
        NotAllowed, InvalidInput, FileMissing, NotAFolder, NameTaken, ShareFull, JobCancelled.
    """
    check_new_name(parent(new_path)[1])
    if held.share.id == to.share.id:
        held.demand(Right.CHANGE)
    else:
        held.demand(Right.SEE)  # else what one may not open would be opened where it went
        held.demand(Right.DELETE)
        to.demand(Right.ADD)
    with (
        open_parent(held.share.folder, path) as (folder, name),
        open_parent(to.share.folder, new_path) as (new_folder, new_name),
    ):
        if held.share.id != to.share.id and to.share.quota_bytes is not None:
            demand_room(to.share, bins.measure(folder, name)[0])
        try:
            moves.rename(folder, name, new_folder, new_name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            is_far = True
        else:
            is_far = False
    if is_far:
        copy(
            database, held, path, to, new_path,
            doer=doer, now=now, on_bytes=on_bytes, should_stop=should_stop,
        )  # fmt: skip
        bins.delete(database, held.share, path, person_id=doer.person_id, door=doer.door, now=now)
    _record(
        database,
        "file.moved",
        held.share,
        path,
        doer,
        now,
        to=f"share:{to.share.id}",
        to_path=pack_path(new_path),
    )


def copy(
    database: Database,
    held: Held,
    path: bytes,
    to: Held,
    new_path: bytes,
    *,
    doer: Doer,
    now: datetime,
    on_bytes: Callable[[int], None] = lambda _count: None,
    should_stop: Callable[[], bool] = lambda: False,
    event: str = "file.copied",
) -> None:
    """Copy a file or a whole folder; links and devices in it are left out. There whole, or not at all.

    Raises:
        NotAllowed, InvalidInput, FileMissing, NotAFolder, NotAFile, NameTaken, ShareFull, JobCancelled.
    """
    held.demand(Right.SEE)
    to.demand(Right.ADD)
    check_new_name(parent(new_path)[1])
    parts = bins.own_folder(to.share, bins.PARTS)
    draft = secrets.token_hex(16)
    with open_parent(held.share.folder, path) as (folder, name):
        try:
            entry = listing.entry_of(name, os.stat(name, dir_fd=folder, follow_symlinks=False))
        except FileNotFoundError as error:
            raise FileMissing from error
        if entry.kind not in {"file", "folder"}:
            raise NotAFile
        # Asked before the copy, so that a taken name costs nothing; the rename at its end decides.
        with open_parent(to.share.folder, new_path) as (new_folder, new_name):
            if _is_there(new_folder, new_name):
                raise NameTaken(new_name.decode("utf-8", "replace"))
        size = bins.measure(folder, name)[0] if entry.kind == "folder" else entry.size
        demand_room(to.share, size)
        try:
            with bins.opened(parts) as into:
                copy_into(folder, name, into, draft.encode(), entry.kind, on_bytes, should_stop)
                with open_parent(to.share.folder, new_path) as (new_folder, new_name):
                    moves.rename(into, draft.encode(), new_folder, new_name)
        finally:
            remove(parts / draft)
    with database.write() as connection:
        shares.add_use(connection, to.share.id, size)
        record(
            connection,
            event,
            held.share,
            path,
            doer,
            now,
            to=f"share:{to.share.id}",
            to_path=pack_path(new_path),
        )


def delete(database: Database, held: Held, path: bytes, *, doer: Doer, now: datetime) -> BinItem:
    """Put a file or a folder into the bin.

    Raises:
        NotAllowed, InvalidInput, FileMissing, NotAFolder.
    """
    held.demand(Right.DELETE)
    item = bins.delete(
        database, held.share, path, person_id=doer.person_id, door=doer.door, now=now
    )
    _record(database, "file.deleted", held.share, path, doer, now, files=item.files)
    return item


def put_back(database: Database, held: Held, item_id: int, *, doer: Doer, now: datetime) -> bytes:
    """Take something out of the bin again and return where it is now.

    Raises:
        NotAllowed, NotFound, NotAFolder.
    """
    held.demand(Right.ADD)
    with database.read() as connection:
        item = bins.find(connection, held.share.id, item_id)
    path = bins.put_back(database, held.share, item, now=now)
    _record(database, "file.put-back", held.share, path, doer, now)
    return path


def _is_there(folder: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def demand_room(share: Share, size: int) -> None:
    """Return when ``size`` bytes more fit into the share's disk and leave FREE_FLOOR, and into its quota.

    Raises:
        ShareFull: they do not.
    """
    free = room(share)
    if size > free:
        raise ShareFull(free)


def room(share: Share) -> int:
    """Return how many bytes still fit: into the share's disk, and into its quota as measured last."""
    free = shutil.disk_usage(share.folder).free - FREE_FLOOR
    if share.quota_bytes is not None:
        free = min(free, share.quota_bytes - share.used_bytes)
    return max(0, free)


def record(
    connection: Connection,
    event: str,
    share: Share,
    path: bytes,
    doer: Doer,
    now: datetime,
    **figures: int | str,
) -> None:
    """Write what happened to a file into the ledger, inside the caller's write.

    What was added counts against the quota from now on.
    """
    if event == "file.added" and isinstance(added := figures.get("bytes"), int):
        shares.add_use(connection, share.id, added)
    events.record(
        connection,
        at=now,
        event=event,
        subject=f"share:{share.id}",
        person_id=doer.person_id,
        actor=None,
        door=doer.door,
        path=pack_path(path),
        **figures,
    )


def _record(
    database: Database,
    event: str,
    share: Share,
    path: bytes,
    doer: Doer,
    now: datetime,
    **figures: int | str,
) -> None:
    with database.write() as connection:
        record(connection, event, share, path, doer, now, **figures)
