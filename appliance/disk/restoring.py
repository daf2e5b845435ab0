"""A folder of the past, written back: beside what is there, whole or not at all, in one step.

It is made among the parts and takes its name with one rename, as a copy does: killed on the way, nothing of it
is seen. Larger ones are a restore's business (a job); somebody waits for this one.
"""

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from appliance.db import shares
from appliance.db.engine import Database
from appliance.disk import actions, moves
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.disk.actions import Doer, demand_room
from appliance.disk.copying import FILE_MODE, remove
from appliance.disk.paths import check_new_name, join, open_folder, open_parent, parent
from appliance.errors import InvalidInput, NameTaken, NotFound
from appliance.language import mark
from appliance.policy.share_rights import Right
from appliance.units import GIB

#: What is written back while somebody waits.
MOST_FILES: Final = 5_000
MOST_BYTES: Final = 4 * GIB


@dataclass(frozen=True, slots=True)
class Item:
    """One thing in the folder that comes back."""

    path: bytes  # below it
    is_folder: bool
    size: int  # bytes
    mtime_ns: int


class Content(Protocol):
    """The bytes of a file, being read."""

    @property
    def blocks(self) -> Iterator[bytes]:
        """Those bytes, once."""
        ...


def put_folder(
    database: Database,
    held: Held,
    path: bytes,
    items: Sequence[Item],
    open_item: Callable[[Item], AbstractContextManager[Content]],
    *,
    snapshot_id: int,
    doer: Doer,
    now: datetime,
) -> bytes:
    """Write a folder back at ``path``, or beside it when the name is taken, and return where it is now.

    Args:
        database: for the ledger.
        held: the share, and the rights of who asks.
        path: where it was; folders above it that went are made again.
        items: everything in it, each folder before what it holds.
        open_item: opens a file of it.
        snapshot_id: for the ledger.
        doer: who.
        now: aware UTC.

    Raises:
        NotAllowed, InvalidInput, NotAFolder, ShareFull.
        InvalidInput: more than MOST_FILES files or MOST_BYTES bytes.
        NotFound: there is nothing in it.
    """
    held.demand(Right.ADD)
    check_new_name(parent(path)[1])
    size = sum(each.size for each in items)
    if not items:
        raise NotFound("folder", path.decode("utf-8", "replace"))
    if len(items) > MOST_FILES or size > MOST_BYTES:
        raise InvalidInput(
            "folder", mark("less than 5,000 files and 4 GB; a restore brings larger ones back.")
        )
    demand_room(held.share, size)
    parts = bins.own_folder(held.share, bins.PARTS)
    draft = secrets.token_hex(16)
    try:
        with bins.opened(parts) as into:
            bins.make_folder(into, draft.encode())
        _fill(parts / draft, items, open_item)
        above, name = parent(path)
        bins.make_folders(held.share.folder, above)
        with bins.opened(parts) as into, open_folder(held.share.folder, above) as folder:
            taken = _give_name(into, draft.encode(), folder, bins.free_names(name))
            os.fsync(folder)
    finally:
        remove(parts / draft)
    made = join(above, taken)
    with database.write() as connection:
        shares.add_use(connection, held.share.id, size)
        actions.record(
            connection,
            "folder.restored",
            held.share,
            made,
            doer,
            now,
            files=sum(not each.is_folder for each in items),
            snapshot=snapshot_id,
        )
    return made


def _give_name(into: int, draft: bytes, folder: int, names: Iterable[bytes]) -> bytes:
    last = b""
    for last in names:
        try:
            moves.rename(into, draft, folder, last)
        except NameTaken:
            continue
        return last
    raise NameTaken(last.decode("utf-8", "replace"))


def _fill(
    top: Path,
    items: Sequence[Item],
    open_item: Callable[[Item], AbstractContextManager[Content]],
) -> None:
    for each in items:
        with open_parent(top, each.path) as (folder, name):
            if each.is_folder:
                bins.make_folder(folder, name)
                continue
            number = os.open(
                name,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                FILE_MODE,
                dir_fd=folder,
            )
            with os.fdopen(number, "wb") as file, open_item(each) as opened:
                os.fchmod(number, FILE_MODE)
                for block in opened.blocks:
                    file.write(block)
                file.flush()
                os.utime(number, ns=(each.mtime_ns, each.mtime_ns))
                os.fsync(number)
    for each in reversed(items):
        if each.is_folder:
            with open_folder(top, each.path) as folder:
                os.utime(folder, ns=(each.mtime_ns, each.mtime_ns))
