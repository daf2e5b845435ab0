"""A folder of the past, written back: beside what is there, whole or not at all, in one step.

It is made in a draft among the parts and takes its name with one rename, as a copy does: killed on the way, nothing
of it is seen, and whoever goes on with the same draft does not fetch again what is there. A file is in the draft's
tree only when it is whole and on the disk. Before the rename the draft notes which folder it gives away; so a
restore that was killed behind it is not done twice (docs/decisions/0241).
"""

import errno
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from sqlalchemy import Connection

from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk import actions, moves
from appliance.disk import bin as bins
from appliance.disk import restoring_draft as drafts
from appliance.disk.access import Held
from appliance.disk.actions import Doer, demand_room
from appliance.disk.copying import FILE_MODE
from appliance.disk.paths import (
    check_new_name,
    join,
    open_folder,
    open_parent,
    parent,
)
from appliance.errors import (
    FileMissing,
    NameTaken,
    NotAFile,
    NotAFolder,
    NotFound,
    RestoreBusy,
    ShareFull,
    ShareNotWritable,
)
from appliance.ledger import questions
from appliance.packed import unpack_path
from appliance.policy.share_rights import Right

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_CLOSED: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


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


class Watch(Protocol):
    """Who stands beside while a folder comes back."""

    def check(self) -> None:
        """Raise when it should go no further; asked before each file, after each block and right before the end."""
        ...

    def share(self) -> Share:
        """Return the share as it is now: its quota, and what is used of it."""
        ...

    def report(self, size: int, files: int) -> None:
        """Hear how many bytes and files of it there are."""
        ...


@dataclass(frozen=True, slots=True)
class Back:
    """A folder that is back: where, the ledger says (``made_of``)."""

    files: int
    size: int  # bytes


def put_folder(
    database: Database,
    held: Held,
    path: bytes,
    items: Sequence[Item],
    open_item: Callable[[Item], AbstractContextManager[Content]],
    *,
    draft: str,
    snapshot_id: int,
    doer: Doer,
    now: Callable[[], datetime],
    watch: Watch,
) -> Back:
    """Write a folder back at ``path``, or beside it when the name is taken, and return how much it was.

    Safe to call again with the same draft after a crash at any line; of two at once, one is refused. Whatever is
    raised, the draft stays: ``restoring_draft.forget`` removes it.

    Args:
        database: for the ledger.
        held: the share, and the rights of who asks.
        path: where it was; folders above it that went are made again.
        items: everything in it, each folder before what it holds.
        open_item: opens a file of it.
        draft: 32 hexadecimal digits, of this restore alone.
        snapshot_id: for the ledger.
        doer: who.
        now: aware UTC.
        watch: is asked and told.

    Raises:
        NotAllowed, InvalidInput, ShareFull; what ``watch`` and ``open_item`` raise.
        NotAFolder, NotAFile: something else is in the way, in the share or in the draft; links are not followed.
        NotFound: there is nothing in it.
        RestoreBusy: another process is at work on the draft.
        ShareNotWritable: the share's folder is read-only, or for others only.
    """
    held.demand(Right.ADD)
    drafts.check_draft(draft)
    check_new_name(parent(path)[1])
    if not items:
        raise NotFound("folder", path.decode("utf-8", "replace"))
    size, files = sum(each.size for each in items), sum(not each.is_folder for each in items)
    try:
        with drafts.alone(held.share, draft) as place:
            given = drafts.given(place)
            if given is None:
                with drafts.tree(place) as tree:
                    _fill(place, tree, items, open_item, watch)
                    watch.check()
                    given = _give(place, tree, held.share, path)
            _note(database, held.share, path, given, draft, doer, now(),
                  size=size, files=files, snapshot=snapshot_id)  # fmt: skip
    except OSError as error:
        if error.errno in _FULL:
            raise ShareFull(actions.room(held.share)) from error
        if error.errno in _CLOSED:
            raise ShareNotWritable from error
        raise
    return Back(files, size)


def made_of(connection: Connection, share: Share, draft: str) -> bytes | None:
    """Return the path of the folder that came back out of a draft, as the ledger has it; None: none has."""
    known = questions.find_of_draft(connection, share.id, draft)
    return None if known is None else unpack_path(str(known.body["path"]))


def _fill(
    place: int,
    tree: int,
    items: Sequence[Item],
    open_item: Callable[[Item], AbstractContextManager[Content]],
    watch: Watch,
) -> None:
    missing = [each for each in items if not _is_there(tree, each)]
    left = sum(each.size for each in missing)
    size = sum(each.size for each in items) - left
    _demand_room(watch.share(), size, left)
    files = sum(not each.is_folder for each in items)
    files -= sum(not each.is_folder for each in missing)
    for each in missing:
        watch.check()
        if each.is_folder:
            with open_parent(tree, each.path) as (folder, name):
                bins.make_folder(folder, name)
            continue
        _demand_room(watch.share(), size, left)  # others write too, and a quota changes
        with suppress(FileNotFoundError):
            os.unlink(drafts.FILE, dir_fd=place)
        with (
            open_item(each) as opened,
            _written(place, each, opened, watch) as file,
            open_parent(tree, each.path) as (folder, name),
        ):
            if not drafts.is_at(file, place, drafts.FILE):
                raise RestoreBusy
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)  # of another size
            moves.rename(place, drafts.FILE, folder, name)
        left, size, files = left - each.size, size + each.size, files + 1
        watch.report(size, files)
    for each in reversed(items):
        if each.is_folder:
            with open_folder(tree, each.path) as folder:
                os.utime(folder, ns=(each.mtime_ns, each.mtime_ns))
                os.fsync(folder)


def _demand_room(share: Share, fetched: int, left: int) -> None:
    """The disk needs room for what is still to come; the quota, for which drafts do not count, for all of it."""
    demand_room(replace(share, used_bytes=share.used_bytes + fetched), left)


def _is_there(tree: int, item: Item) -> bool:
    try:
        with open_parent(tree, item.path) as (folder, name):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except (FileMissing, FileNotFoundError):
        return False
    if item.is_folder:
        if not stat.S_ISDIR(found.st_mode):
            raise NotAFolder
        return True
    if not stat.S_ISREG(found.st_mode):
        raise NotAFile
    return found.st_size == item.size


@contextmanager
def _written(place: int, item: Item, opened: Content, watch: Watch) -> Iterator[int]:
    """Write a file into the draft; once it is whole and on the disk, yield its descriptor."""
    number = os.open(
        drafts.FILE,
        os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
        FILE_MODE,
        dir_fd=place,
    )
    with os.fdopen(number, "wb") as file:
        os.fchmod(number, FILE_MODE)
        size = 0
        for block in opened.blocks:
            size += file.write(block)
            watch.check()
        file.flush()
        os.utime(number, ns=(item.mtime_ns, item.mtime_ns))
        os.fsync(number)
        if os.fstat(number).st_size != size:
            raise RestoreBusy
        yield number


# --- given away -----------------------------------------------------------------------------


def _give(place: int, tree: int, share: Share, path: bytes) -> int:
    """Give the tree its name, after a note of which it is; return its inode."""
    above, name = parent(path)
    bins.make_folders(share.folder, above)
    if not drafts.is_at(tree, place, drafts.TREE):
        raise RestoreBusy
    inode = os.fstat(tree).st_ino
    number = os.open(
        drafts.GIVEN,
        os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC,
        FILE_MODE,
        dir_fd=place,
    )
    with os.fdopen(number, "wb") as file:
        file.write(json.dumps(inode).encode())
        file.flush()
        os.fsync(number)
    os.fsync(place)
    with open_folder(share.folder, above) as folder:
        _give_name(place, drafts.TREE, folder, bins.free_names(name))
        os.fsync(folder)
    os.fsync(place)
    return inode


def _note(
    database: Database,
    share: Share,
    path: bytes,
    inode: int,
    draft: str,
    doer: Doer,
    now: datetime,
    *,
    size: int,
    **figures: int,
) -> None:
    """Write into the ledger that the folder is back, once."""
    made = _find(share, path, inode)

    def write(connection: Connection) -> None:
        if made_of(connection, share, draft) is not None:
            return  # killed behind this line, the last time
        shares.add_use(connection, share.id, size)
        actions.record(
            connection, "folder.restored", share, made, doer, now, draft=draft, **figures
        )

    with database.write() as connection:
        write(connection)


def _find(share: Share, path: bytes, inode: int) -> bytes:
    """Return what the folder is called now; where it was meant to be, when somebody has moved it since."""
    above, name = parent(path)
    with suppress(OSError), open_folder(share.folder, above) as folder, os.scandir(folder) as found:
        for each in found:
            if each.inode() == inode:
                return join(above, os.fsencode(each.name))
    return join(above, name)


def _give_name(into: int, draft: bytes, folder: int, names: Iterable[bytes]) -> bytes:
    last = b""
    for last in names:
        try:
            moves.rename(into, draft, folder, last)
        except NameTaken:
            continue
        return last
    raise NameTaken(last.decode("utf-8", "replace"))
