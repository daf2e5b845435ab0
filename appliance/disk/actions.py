"""What a person does to files of a share: the right is asked for, the disk is changed, the ledger is written.

Every door (web, API, WebDAV) goes through here. Nothing is ever written over: what a new content replaces goes
to the bin. A name of a file is in the ledger as base64 of its path, where «who opened this» is answered from.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk import bin as bins
from appliance.disk import listing, moves
from appliance.disk.access import Held
from appliance.disk.bin import BinItem
from appliance.disk.listing import Entry
from appliance.disk.paths import check_new_name, open_folder, open_parent, parent
from appliance.errors import (
    ArmoireError,
    FileChanged,
    FileMissing,
    JobCancelled,
    NameTaken,
    NotAFile,
    ShareFull,
)
from appliance.ledger import chain, events
from appliance.model import PersonId
from appliance.packed import pack_path
from appliance.policy.share_rights import Right

FILE_MODE: Final = 0o660
#: Left free on the disk of the shares: a database that cannot write is worse than a refused upload.
FREE_FLOOR: Final = 512 * 1024 * 1024
COPY_BYTES: Final = 8 * 1024 * 1024


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
                _copy(folder, name, into, draft.encode(), entry.kind, on_bytes, should_stop)
                with open_parent(to.share.folder, new_path) as (new_folder, new_name):
                    moves.rename(into, draft.encode(), new_folder, new_name)
        finally:
            _remove(parts / draft)
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


def take_in(
    database: Database,
    held: Held,
    path: bytes,
    part: Path,
    *,
    doer: Doer,
    now: datetime,
    replaces: bool = False,
    expected: str | None = None,
    is_synced: bool = False,
    content_hash: str | None = None,
) -> Entry:
    """Give a whole uploaded file its name, in one step; what it replaces goes to the bin.

    Args:
        database: for the bin and the ledger.
        held: the share and the rights of who uploads.
        path: its name from now on.
        part: the file, in the parts' folder of the same share.
        doer: who.
        now: aware UTC.
        replaces: whether a file of this name may be replaced.
        expected: etag of the file that may be replaced; another one is left alone.
        is_synced: the caller made its bytes durable already.
        content_hash: «blake3:…» or «sha256:…», when it was compared on the way; the ledger keeps it.

    Raises:
        NotAllowed, InvalidInput, FileMissing: the folder went. NotAFolder, NameTaken.
        FileChanged: what is there is not what was looked at.
    """
    if not is_synced:
        sync(part)
    found = _name(database, held, path, part, doer, now, replaces=replaces, expected=expected)
    with open_folder(held.share.folder, parent(path)[0]) as folder:
        os.fsync(folder)
    told = hash_figures(found, content_hash)
    _record(database, "file.added", held.share, path, doer, now, bytes=found.size, **told)
    return found


def hash_figures(entry: Entry, content_hash: str | None) -> dict[str, str]:
    """Return what the ledger keeps of a hash: with the etag of the content it is of, for names are given anew."""
    return {} if content_hash is None else {"hash": content_hash, "etag": entry.etag}


@dataclass(frozen=True, slots=True)
class Arrived:
    """One whole file of a batch, in the parts' folder, its bytes durable."""

    path: bytes
    part: Path
    replaces: bool = False
    content_hash: str | None = None  # compared on the way


def take_in_many(
    database: Database, held: Held, arrived: Sequence[Arrived], *, doer: Doer, now: datetime
) -> list[Entry | ArmoireError]:
    """Give many files their names; return for each its entry, or why it has none: the others go on.

    One write of the ledger and one sync of each folder for all of them (measured-web.md B). Folders on the way
    are made.
    """
    results: list[Entry | ArmoireError] = []
    folders: set[bytes] = set()
    for each in arrived:
        try:
            folder = parent(each.path)[0]
            if folder not in folders:
                held.demand(Right.ADD)
                bins.make_folders(held.share.folder, folder)
                folders.add(folder)
            results.append(
                _name(database, held, each.path, each.part, doer, now, replaces=each.replaces)
            )
        except ArmoireError as error:
            results.append(error)
    for path in folders:
        with suppress(ArmoireError), open_folder(held.share.folder, path) as descriptor:
            os.fsync(descriptor)
    with database.write() as connection:
        chain.append_many(
            connection,
            at=now,
            event="file.added",
            actor=f"person:{doer.person_id}",
            subject=f"share:{held.share.id}",
            bodies=[
                {
                    "door": doer.door,
                    "path": pack_path(one.path),
                    "bytes": result.size,
                    **hash_figures(result, one.content_hash),
                }
                for one, result in zip(arrived, results, strict=True)
                if isinstance(result, Entry)
            ],
        )
    return results


def _name(
    database: Database,
    held: Held,
    path: bytes,
    part: Path,
    doer: Doer,
    now: datetime,
    *,
    replaces: bool,
    expected: str | None = None,
) -> Entry:
    """Give a part its name, in one step."""
    check_new_name(parent(path)[1])
    held.demand(Right.ADD)
    part.chmod(FILE_MODE)
    with (
        open_parent(held.share.folder, path) as (folder, name),
        bins.opened(part.parent) as parts,
    ):
        try:
            moves.rename(parts, os.fsencode(part.name), folder, name)
        except NameTaken:
            if not replaces:
                raise
            _replace(database, held, path, folder, name, parts, part, doer, now, expected)
        return listing.entry_of(name, os.stat(name, dir_fd=folder, follow_symlinks=False))


def _replace(
    database: Database,
    held: Held,
    path: bytes,
    folder: int,
    name: bytes,
    parts: int,
    part: Path,
    doer: Doer,
    now: datetime,
    expected: str | None,
) -> None:
    held.demand(Right.CHANGE)
    before = listing.entry_of(name, os.stat(name, dir_fd=folder, follow_symlinks=False))
    if before.kind != "file":
        raise NameTaken(name.decode("utf-8", "replace"))
    if expected is not None and before.etag != expected:
        raise FileChanged
    with database.write() as connection:
        item = bins.record(
            connection,
            held.share,
            path,
            kind="file",
            size=before.size,
            files=1,
            person_id=doer.person_id,
            door=doer.door,
            now=now,
        )
    stored = item.stored.encode()
    with bins.opened(bins.own_folder(held.share, bins.BIN)) as into:
        # Killed after this line, the new content is in the bin: nothing is lost, and the old one in its place.
        moves.rename(parts, os.fsencode(part.name), into, stored)
        # One step: whoever opens the name meanwhile gets the old content or the new one, whole.
        moves.exchange(into, stored, folder, name)


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


def sync(path: Path) -> None:
    """Make a file's bytes durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def _copy(
    from_folder: int,
    name: bytes,
    to_folder: int,
    new_name: bytes,
    kind: str,
    on_bytes: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> None:
    if kind == "folder":
        bins.make_folder(to_folder, new_name)
        with _folder(from_folder, name) as source, _folder(to_folder, new_name) as target:
            with os.scandir(source) as found:
                inner = [
                    (os.fsencode(each.name), each.is_dir(follow_symlinks=False))
                    for each in found
                    if each.is_dir(follow_symlinks=False) or each.is_file(follow_symlinks=False)
                ]
            for each, is_folder in inner:
                _copy(
                    source,
                    each,
                    target,
                    each,
                    "folder" if is_folder else "file",
                    on_bytes,
                    should_stop,
                )
            _keep_time(source, target)
        return
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=from_folder)
    try:
        target = os.open(
            new_name,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
            FILE_MODE,
            dir_fd=to_folder,
        )
        try:
            os.fchmod(target, FILE_MODE)
            while count := _some(source, target):
                on_bytes(count)
                if should_stop():
                    raise JobCancelled
            _keep_time(source, target)
            os.fsync(target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _some(source: int, target: int) -> int:
    try:
        return os.copy_file_range(source, target, COPY_BYTES)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ShareFull(0) from error
        if error.errno not in {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP}:
            raise
    block = os.read(source, COPY_BYTES)
    view = memoryview(block)
    while view:
        view = view[os.write(target, view) :]
    return len(block)


def _keep_time(source: int, target: int) -> None:
    facts = os.fstat(source)
    os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@contextmanager
def _folder(folder: int, name: bytes) -> Iterator[int]:
    descriptor = os.open(
        name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder
    )
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove(place: Path) -> None:
    with suppress(FileNotFoundError):
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()
