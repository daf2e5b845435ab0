"""The bin: what was deleted through any door stays so many days, and comes back in one step.

It lies in ``.armoire/bin`` of its own share, so that deleting and putting back are renames. The row is written
before the rename: killed in between, a row without its file is closed at the next ``settle``; the other way
round a file would lie there that nobody finds.
"""

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, select, update

from appliance.db.engine import Database
from appliance.db.schema_disk import bin_item
from appliance.db.shares import Share, ShareId
from appliance.disk import moves
from appliance.disk.listing import entry_of
from appliance.disk.paths import RESERVED, check_new_name, join, open_folder, open_parent, parent
from appliance.errors import FileMissing, NameTaken, NotFound
from appliance.model import PersonId

BIN: Final = "bin"
PARTS: Final = "parts"
QUARANTINE: Final = "quarantine"
#: The share's group may do what its owner may; whose group it is, the set-group bit of the share says.
FOLDER_MODE: Final = 0o770
#: A name is tried with « (2)», « (3)» … up to here.
MOST_NAMES: Final = 1000
#: A row whose file is not there yet may be one whose rename is about to come.
SETTLED_AFTER: Final = timedelta(hours=1)
_STORED: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class BinItem:
    """One thing in the bin."""

    id: int
    share_id: ShareId
    path: bytes  # where it was
    stored: str
    kind: str  # file · folder
    size: int  # bytes, of everything in it
    files: int
    deleted_at: datetime
    person_id: PersonId | None
    door: str


def own_folder(share: Share, name: str) -> Path:
    """Return one of our folders in a share, made when it is not there: ``bin``, ``parts``, ``quarantine``."""
    place = share.folder / os.fsdecode(RESERVED) / name
    if not place.is_dir():
        place.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
        place.mkdir(mode=FOLDER_MODE, exist_ok=True)
    return place


def delete(
    database: Database,
    share: Share,
    path: bytes,
    *,
    person_id: PersonId | None,
    door: str,
    now: datetime,
) -> BinItem:
    """Put a file or a folder into the bin; the caller asked whether the person may, and writes the ledger.

    Raises:
        InvalidInput, FileMissing, NotAFolder.
    """
    bin_folder = own_folder(share, BIN)
    with open_parent(share.folder, path) as (folder, name):
        try:
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError as error:
            raise FileMissing from error
        entry = entry_of(name, facts)
        size, files = (entry.size, 1)
        if entry.kind == "folder":
            size, files = measure(folder, name)
        with database.write() as connection:
            item = record(
                connection,
                share,
                path,
                kind="folder" if entry.kind == "folder" else "file",
                size=size,
                files=files,
                person_id=person_id,
                door=door,
                now=now,
            )
        try:
            with opened(bin_folder) as into:
                moves.rename(folder, name, into, item.stored.encode())
        except BaseException:
            _close(database, [item.id], now)
            raise
    return item


def record(
    connection: Connection,
    share: Share,
    path: bytes,
    *,
    kind: str,
    size: int,
    files: int,
    person_id: PersonId | None,
    door: str,
    now: datetime,
) -> BinItem:
    """Write the row of something that is about to go into the bin, and return it."""
    stored = secrets.token_hex(16)
    result = connection.execute(
        insert(bin_item).values(
            share_id=share.id,
            path=path,
            stored=stored,
            kind=kind,
            size=size,
            files=files,
            deleted_at=now,
            person_id=person_id,
            door=door,
        )
    )
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    return BinItem(
        int(result.inserted_primary_key[0]),
        share.id,
        path,
        stored,
        kind,
        size,
        files,
        now,
        person_id,
        door,
    )


def items(connection: Connection, share_id: ShareId, *, limit: int = 500) -> list[BinItem]:
    """Return what is in the bin of a share, the last deleted first."""
    query = (
        select(bin_item)
        .where(bin_item.c.share_id == share_id, bin_item.c.gone_at.is_(None))
        .order_by(bin_item.c.deleted_at.desc(), bin_item.c.id.desc())
        .limit(limit)
    )
    return [
        BinItem(
            row.id,
            ShareId(row.share_id),
            row.path,
            row.stored,
            row.kind,
            row.size,
            row.files,
            row.deleted_at,
            None if row.person_id is None else PersonId(row.person_id),
            row.door,
        )
        for row in connection.execute(query)
    ]


def find(connection: Connection, share_id: ShareId, item_id: int) -> BinItem:
    """Return one thing in the bin of a share.

    Raises:
        NotFound: it is not there any more.
    """
    for each in items(connection, share_id, limit=1_000_000):
        if each.id == item_id:
            return each
    raise NotFound("bin", str(item_id))


def goes_on(share: Share, item: BinItem) -> datetime:
    """Return when something leaves the bin by itself."""
    return item.deleted_at + timedelta(days=share.bin_days)


def put_back(database: Database, share: Share, item: BinItem, *, now: datetime) -> bytes:
    """Put something back where it was, and return its path: beside it when the name is taken by now.

    Folders that went since are made again.

    Raises:
        NotFound: it is not in the bin any more.
        NotAFolder: a file is where one of its folders was.
    """
    above, name = parent(item.path)
    make_folders(share.folder, above)
    with (
        opened(own_folder(share, BIN)) as from_bin,
        open_folder(share.folder, above) as folder,
    ):
        for candidate in free_names(name):
            try:
                moves.rename(from_bin, item.stored.encode(), folder, candidate)
            except NameTaken:
                continue
            except FileMissing as error:
                raise NotFound("bin", str(item.id)) from error
            break
        else:
            raise NameTaken(name.decode("utf-8", "replace"))
    _close(database, [item.id], now)
    return join(above, candidate)


def remove_for_good(database: Database, share: Share, item: BinItem, *, now: datetime) -> None:
    """Remove something from the bin: it is in earlier snapshots still, and nowhere else."""
    place = own_folder(share, BIN) / item.stored
    with suppress(FileNotFoundError):
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()
    _close(database, [item.id], now)


def settle(database: Database, share: Share, *, now: datetime) -> int:
    """Remove what is past its days, and close rows whose file is gone; return how many things went.

    Nothing is removed whose deletion lies in the future: the clock is wrong then (beam 6). What lies in the bin
    and has no row (the database lost its last write with the power) gets one: it is shown, and goes in its time.
    """
    with database.read() as connection:
        found = items(connection, share.id, limit=1_000_000)
    gone = 0
    folder = own_folder(share, BIN)
    for each in found:
        if now - each.deleted_at >= timedelta(days=share.bin_days):
            remove_for_good(database, share, each, now=now)
            gone += 1
        elif now - each.deleted_at >= SETTLED_AFTER and not os.path.lexists(folder / each.stored):
            _close(database, [each.id], now)
    _adopt(database, share, {each.stored for each in found}, now)
    return gone


def _adopt(database: Database, share: Share, known: set[str], now: datetime) -> None:
    with opened(own_folder(share, BIN)) as folder:
        for name in os.listdir(folder):  # noqa: PTH208 - a descriptor
            if name in known or not _STORED.fullmatch(name):
                continue
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if facts.st_ctime > (now - SETTLED_AFTER).timestamp():
                continue  # it came while we looked
            is_folder = stat.S_ISDIR(facts.st_mode)
            size, files = measure(folder, name.encode()) if is_folder else (facts.st_size, 1)
            with database.write() as connection:
                back = connection.execute(
                    update(bin_item)
                    .where(bin_item.c.share_id == share.id, bin_item.c.stored == name)
                    .values(gone_at=None)
                )
                if not back.rowcount:
                    connection.execute(
                        insert(bin_item).values(
                            share_id=share.id,
                            path=f"armoire-{name[:8]}".encode(),  # where it was is not known any more
                            stored=name,
                            kind="folder" if is_folder else "file",
                            size=size,
                            files=files,
                            deleted_at=now,
                            person_id=None,
                            door="box",
                        )
                    )


def make_folders(root: Path, path: bytes) -> None:
    """Make every folder on the way to ``path`` that is not there.

    Raises:
        InvalidInput: a name that may not be given.
        NotAFolder: a file or a link is in the way.
    """
    made = b""
    for name in path.split(b"/") if path else ():
        made = join(made, name)
        with open_parent(root, made) as (folder, last), suppress(FileExistsError):
            make_folder(folder, check_new_name(last))
    with open_folder(root, path):
        pass


def make_folder(above: int, name: bytes) -> None:
    """Make the folder ``name`` in the opened folder ``above``, with the mode of shares whatever the umask.

    Raises:
        FileExistsError: something has the name.
    """
    os.mkdir(name, FOLDER_MODE, dir_fd=above)  # the set-group bit comes from the folder above
    mode = os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
    if mode & FOLDER_MODE == FOLDER_MODE:
        return
    # A umask of ours took something away; the unit's own does not, and forbids setting the set-group bit.
    descriptor = os.open(
        name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above
    )
    try:
        os.fchmod(descriptor, stat.S_IMODE(mode) | FOLDER_MODE)
    finally:
        os.close(descriptor)


def measure(folder: int, name: bytes) -> tuple[int, int]:
    """Return bytes and files of everything in the folder ``name``; links are counted, not followed."""
    size, files = 0, 0
    for _, _, names, descriptor in os.fwalk(os.fsdecode(name), dir_fd=folder):
        for each in names:
            with suppress(FileNotFoundError):
                size += os.stat(each, dir_fd=descriptor, follow_symlinks=False).st_size
                files += 1
    return size, files


def free_names(name: bytes) -> list[bytes]:
    """Return ``name``, then «name (2)», «name (3)» …: what a second one of this name is called."""
    stem, point, ending = name.rpartition(b".")
    if not stem:
        stem, point, ending = name, b"", b""
    return [name] + [
        b"%s (%d)%s%s" % (stem, number, point, ending) for number in range(2, MOST_NAMES)
    ]


def _close(database: Database, ids: list[int], now: datetime) -> None:
    with database.write() as connection:
        connection.execute(update(bin_item).where(bin_item.c.id.in_(ids)).values(gone_at=now))


@contextmanager
def opened(place: Path) -> Iterator[int]:
    """Open one of our own folders and yield its descriptor."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
