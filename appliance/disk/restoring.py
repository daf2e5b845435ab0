"""A folder of the past, written back: beside what is there, whole or not at all, in one step.

It is made in a draft among the parts and takes its name with one rename, as a copy does: killed on the way, nothing
of it is seen, and whoever goes on with the same draft does not fetch again what is there. A file is in the draft's
tree only when it is whole and on the disk. Before the rename the draft notes which folder it gives away; so a
restore that was killed behind it is not done twice (docs/decisions/0241).
"""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import Connection

from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk import actions, moves
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.disk.actions import Doer, demand_room
from appliance.disk.copying import FILE_MODE, remove
from appliance.disk.paths import check_new_name, join, open_folder, open_parent, parent
from appliance.errors import NameTaken, NotFound, ShareFull
from appliance.ledger import questions
from appliance.packed import unpack_path
from appliance.policy.share_rights import Right

#: In a draft: what comes back, the file that is being written, and the note which folder was given away.
_TREE: Final = b"tree"
_FILE: Final = b"file"
_GIVEN: Final = b"given"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


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
        """Raise when it should go no further; asked before each file and after each block."""
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

    Safe to call again with the same draft after a crash at any line. Whatever is raised, the draft stays: ``forget``
    removes it.

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
        NotAllowed, InvalidInput, NotAFolder, ShareFull; what ``watch`` and ``open_item`` raise.
        NotFound: there is nothing in it.
    """
    held.demand(Right.ADD)
    check_new_name(parent(path)[1])
    if not items:
        raise NotFound("folder", path.decode("utf-8", "replace"))
    size, files = sum(each.size for each in items), sum(not each.is_folder for each in items)
    place = bins.own_folder(held.share, bins.PARTS) / draft
    given = _given(place)
    if given is None:
        try:
            _make(place, held, items, open_item, watch)
            given = _give(place, held, path)
        except OSError as error:
            if error.errno in _FULL:
                raise ShareFull(actions.room(held.share)) from error
            raise
    made = _find(held.share, path, given)

    def note(connection: Connection) -> None:
        if made_of(connection, held.share, draft) is not None:
            return  # killed behind this line, the last time
        shares.add_use(connection, held.share.id, size)
        actions.record(
            connection, "folder.restored", held.share, made, doer, now(),
            files=files, snapshot=snapshot_id, draft=draft,
        )  # fmt: skip

    with database.write() as connection:
        note(connection)
    return Back(files, size)


def made_of(connection: Connection, share: Share, draft: str) -> bytes | None:
    """Return the path of the folder that came back out of a draft, as the ledger has it; None: none has."""
    known = questions.find_of_draft(connection, share.id, draft)
    return None if known is None else unpack_path(str(known.body["path"]))


def forget(share: Share, draft: str) -> None:
    """Remove a draft that nobody goes on with; one that was given away keeps its note until the bins are tidied."""
    place = bins.own_folder(share, bins.PARTS) / draft
    if _given(place) is None:
        # The note first: what is left of a removal that was cut must not look as if it had been given away.
        with suppress(FileNotFoundError):
            (place / os.fsdecode(_GIVEN)).unlink()
        remove(place)


def _make(
    place: Path,
    held: Held,
    items: Sequence[Item],
    open_item: Callable[[Item], AbstractContextManager[Content]],
    watch: Watch,
) -> None:
    tree = place / os.fsdecode(_TREE)
    for made in (place, tree):
        if not made.is_dir():
            with bins.opened(made.parent) as folder:
                bins.make_folder(folder, os.fsencode(made.name))
    missing = [each for each in items if not _is_there(tree, each)]
    demand_room(held.share, sum(each.size for each in missing))
    size = sum(each.size for each in items) - sum(each.size for each in missing)
    files = sum(not each.is_folder for each in items)
    files -= sum(not each.is_folder for each in missing)
    with bins.opened(place) as top:
        for each in missing:
            watch.check()
            if each.is_folder:
                with open_parent(tree, each.path) as (folder, name):
                    bins.make_folder(folder, name)
                continue
            demand_room(held.share, each.size)  # others write too
            with suppress(FileNotFoundError):
                os.unlink(_FILE, dir_fd=top)
            with open_item(each) as opened:
                _write(top, each, opened, watch)
            with open_parent(tree, each.path) as (folder, name):
                moves.rename(top, _FILE, folder, name)
            size, files = size + each.size, files + 1
            watch.report(size, files)
    for each in reversed(items):
        if each.is_folder:
            with open_folder(tree, each.path) as folder:
                os.utime(folder, ns=(each.mtime_ns, each.mtime_ns))
                os.fsync(folder)


def _is_there(tree: Path, item: Item) -> bool:
    path = os.path.join(os.fsencode(tree), item.path)  # noqa: PTH118 - bytes
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return item.is_folder or found.st_size == item.size


def _write(top: int, item: Item, opened: Content, watch: Watch) -> None:
    number = os.open(
        _FILE,
        os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
        FILE_MODE,
        dir_fd=top,
    )
    with os.fdopen(number, "wb") as file:
        os.fchmod(number, FILE_MODE)
        for block in opened.blocks:
            file.write(block)
            watch.check()
        file.flush()
        os.utime(number, ns=(item.mtime_ns, item.mtime_ns))
        os.fsync(number)


# --- given away -----------------------------------------------------------------------------


def _give(place: Path, held: Held, path: bytes) -> int:
    """Give the tree its name, after a note of which it is; return its inode."""
    above, name = parent(path)
    bins.make_folders(held.share.folder, above)
    with bins.opened(place) as draft:
        inode = os.stat(_TREE, dir_fd=draft, follow_symlinks=False).st_ino
        number = os.open(
            _GIVEN, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE, dir_fd=draft
        )
        with os.fdopen(number, "wb") as file:
            file.write(json.dumps(inode).encode())
            file.flush()
            os.fsync(number)
        os.fsync(draft)
        with open_folder(held.share.folder, above) as folder:
            _give_name(draft, _TREE, folder, bins.free_names(name))
            os.fsync(folder)
        os.fsync(draft)
    return inode


def _given(place: Path) -> int | None:
    """Return the inode of the folder that a draft gave away; None: it has not."""
    if (place / os.fsdecode(_TREE)).exists():
        return None
    try:
        inode = json.loads((place / os.fsdecode(_GIVEN)).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return inode if isinstance(inode, int) else None


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
