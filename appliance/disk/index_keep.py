"""Keeps the index of one share like its disk: what is said to have changed is looked at, never believed.

Every source of news (a watcher, a rescan, a person who asks) comes down to «look at this name» or «look at
this folder». Looking twice is harmless, looking late is only late; killed at any line, the next start looks
at everything.
"""

import os
import stat
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from appliance.db.practice import Searched
from appliance.db.shares import Share
from appliance.disk import paths
from appliance.disk.index_file import DONE, GONE, NO_TEXT, ROOT, WAITING, Index, Row
from appliance.disk.index_kinds import may_have_text
from appliance.errors import FileMissing, InvalidInput, NotAFolder

#: Seconds of work before a commit, so that a search sees what was found while a first scan runs.
SLICE_S: Final = 0.25
#: Names of one folder that are looked at one by one; beyond, the folder is read.
ONE_BY_ONE: Final = 500
#: Entries removed for good before something else is looked at.
AT_ONCE: Final = 20_000


@dataclass
class _Looks:
    """What is to be looked at."""

    #: Folder → names; an empty set: the whole folder.
    near: OrderedDict[int, set[bytes]] = field(default_factory=OrderedDict)
    #: Folders whose whole tree is compared.
    deep: deque[int] = field(default_factory=deque)


def _ignore(_folder: int, _descriptor: int) -> None:
    pass


class Keeper:
    """The index of one share, and what of the disk is still to be looked at."""

    def __init__(
        self,
        share: Share,
        index: Index,
        *,
        searched: Searched = Searched(),  # noqa: B008 - frozen
        on_folder: Callable[[int, int], None] = _ignore,
    ) -> None:
        """Keep ``index`` like the folder of ``share``.

        Args:
            share: read anew by the caller when it changes.
            index: open; this is its one writer.
            searched: what is read of documents.
            on_folder: called with each folder's number and a descriptor before it is read: a watcher that
                begins then misses nothing.
        """
        self.share = share
        self.index = index
        self._searched = searched
        self._on_folder = on_folder
        self._looks = _Looks()
        self.changes = 0  # entries added, altered, moved or put aside since the start

    # --- what is said to have changed --------------------------------------------------------

    def look_at_all(self) -> None:
        """Compare the whole share, soon."""
        self._looks.deep.clear()
        self._looks.deep.append(ROOT)

    def look_at(self, folder: int, name: bytes | None = None) -> None:
        """Look at a name in a folder, or at the folder."""
        if folder == ROOT and name is not None and name.lower() == paths.RESERVED:
            return
        known = self._looks.near.get(folder)
        if known is None:
            self._looks.near[folder] = set() if name is None else {name}
        elif name is None or len(known) >= ONE_BY_ONE:
            known.clear()
        elif known:  # else the whole folder is read anyway
            known.add(name)

    def look_at_path(self, folder: bytes, name: bytes | None) -> None:
        """Look at a name in the folder at a path; where the path is not known yet, at what is on the way."""
        at = ROOT
        for each in folder.split(b"/") if folder else ():
            row = self.index.find(at, each)
            if row is None or row.kind != "d":
                self.look_at(at, each)
                return
            at = row.id
        self.look_at(at, name)

    @property
    def is_idle(self) -> bool:
        """Nothing is left to be looked at."""
        return not self._looks.near and not self._looks.deep

    # --- looking ------------------------------------------------------------------------------

    def work(self, slice_s: float = SLICE_S) -> bool:
        """Look for about ``slice_s`` seconds in one transaction; return whether anything was to be done.

        Raises:
            sqlite3.Error: the file is damaged, or the disk is full; the transaction was rolled back.
        """
        if self.is_idle and self.index.shelved() is None:
            return False
        connection = self.index.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            until = time.monotonic() + slice_s
            while time.monotonic() < until:
                if self._looks.near:
                    folder, names = self._looks.near.popitem(last=False)
                    if names:
                        self._look_at_names(folder, names)
                    else:
                        self._look_at_folder(folder, is_deep=False)
                elif self._looks.deep:
                    self._look_at_folder(self._looks.deep.popleft(), is_deep=True)
                elif not self._forget_some():
                    break
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return True

    def settle(self) -> None:
        """Look until nothing is left: for tests, and where somebody waits.

        Raises:
            sqlite3.Error: as ``work``.
        """
        while self.work():
            pass

    def _look_at_names(self, folder: int, names: set[bytes]) -> None:
        path = self.index.way(folder)
        if path is None:
            return
        try:
            with paths.open_folder(self.share.folder, path) as descriptor:
                for name in names:
                    self._look_at_name(folder, descriptor, name)
        except (FileMissing, NotAFolder, InvalidInput):
            self._folder_went(folder)

    def _folder_went(self, folder: int) -> None:
        row = self.index.get(folder)
        # The share itself may be on a disk that is unplugged: nothing is forgotten for that (beam 6).
        if row is not None and folder != ROOT and row.parent != GONE:
            self.look_at(row.parent, row.name)

    def _look_at_name(self, folder: int, descriptor: int, name: bytes) -> None:
        known = self.index.find(folder, name)
        try:
            facts = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except OSError:  # it went, or nobody may look
            if known is not None:
                self.index.shelve(known.id)
                self.changes += 1
            return
        self._compare(folder, name, known, facts)

    def _look_at_folder(self, folder: int, *, is_deep: bool) -> None:
        path = self.index.way(folder)
        if path is None:
            return
        try:
            with paths.open_folder(self.share.folder, path) as descriptor:
                self._on_folder(folder, descriptor)
                self._read(folder, descriptor, is_deep=is_deep)
        except (FileMissing, NotAFolder, InvalidInput):
            self._folder_went(folder)

    def _read(self, folder: int, descriptor: int, *, is_deep: bool) -> None:
        known = self.index.inside(folder)
        with os.scandir(descriptor) as found:
            for each in found:
                name = os.fsencode(each.name)
                if folder == ROOT and name.lower() == paths.RESERVED:
                    continue
                try:
                    facts = each.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # it went while we looked: its row stays in ``known``
                row = known.pop(name, None)
                number = self._compare(folder, name, row, facts)
                if is_deep and row is not None and row.kind == "d" and number == row.id:
                    self._looks.deep.append(number)
        for row in known.values():
            current = self.index.find(folder, row.name)
            if current is None or current.id != row.id:
                continue  # it was met under another name of this folder a moment ago
            self.index.shelve(row.id)
            self.changes += 1

    def _compare(self, folder: int, name: bytes, known: Row | None, facts: os.stat_result) -> int:
        """Make the index say of one name what the disk says; return its number."""
        kind = kind_of(facts.st_mode)
        size = facts.st_size if kind == "f" else 0
        if (
            known is not None
            and known.kind == kind
            and (kind != "d" or known.inode == facts.st_ino)
        ):
            is_same = (known.inode, known.size, known.mtime_ns) == (
                facts.st_ino,
                size,
                facts.st_mtime_ns,
            )
            if is_same or (kind == "d" and known.mtime_ns == facts.st_mtime_ns):
                return known.id
            self.index.alter(
                known.id,
                size=size,
                mtime_ns=facts.st_mtime_ns,
                inode=facts.st_ino,
                text=self._text(name, kind, size),
            )
            self.changes += 1
            return known.id
        if known is not None:
            self.index.shelve(known.id)
        self.changes += 1
        moved = self._moved(folder, kind, size, facts)
        if moved is not None:
            self.index.place(moved.id, folder, name)
            number = moved.id
            if kind == "f" and moved.text != DONE:  # the name may say more now
                self.index.alter(
                    number,
                    size=size,
                    mtime_ns=facts.st_mtime_ns,
                    inode=facts.st_ino,
                    text=self._text(name, kind, size),
                )
        else:
            number = self.index.add(
                folder,
                name,
                kind,
                size=size,
                mtime_ns=facts.st_mtime_ns,
                inode=facts.st_ino,
                text=self._text(name, kind, size),
            )
        if kind == "d":
            # New, or known from elsewhere: inodes are given again, so its contents are compared too.
            self._looks.deep.appendleft(number)
        return number

    def _moved(self, folder: int, kind: str, size: int, facts: os.stat_result) -> Row | None:
        """Return the entry this was before it came here, or None."""
        if kind not in {"d", "f"}:
            return None
        for row in self.index.of_inode(facts.st_ino, kind):
            is_alike = kind == "d" or (row.size, row.mtime_ns) == (size, facts.st_mtime_ns)
            if is_alike and not self._is_still_there(row) and not self._is_above(row.id, folder):
                return row
        return None

    def _is_above(self, entry_id: int, folder: int) -> bool:
        """Return whether ``folder`` is an entry or below it: a loop, made of news that came in disorder."""
        for _ in range(paths.DEEPEST + 1):
            if folder == entry_id:
                return True
            row = self.index.get(folder)
            if row is None or folder == ROOT:
                return False
            folder = row.parent
        return True

    def _is_still_there(self, row: Row) -> bool:
        if row.parent == GONE:
            return False
        path = self.index.way(row.id)
        if path is None:
            return False  # below something that was put aside
        try:
            with paths.open_parent(self.share.folder, path) as (folder, name):
                facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileMissing, NotAFolder, InvalidInput, OSError):
            return False
        return facts.st_ino == row.inode and kind_of(facts.st_mode) == row.kind

    def _text(self, name: bytes, kind: str, size: int) -> int:
        is_text = kind == "f" and may_have_text(name, size, self._searched)
        return WAITING if is_text else NO_TEXT

    def _forget_some(self) -> bool:
        """Remove for good some of what was put aside; return whether there was any."""
        entry_id = self.index.shelved()
        if entry_id is None:
            return False
        for done, each in enumerate(self.index.below(entry_id)):
            if done >= AT_ONCE:
                break  # the deepest went first: what is left still hangs together
            self.index.forget(each)
        return True


def kind_of(mode: int) -> str:
    """Return what a mode says an entry is: d · f · l · o."""
    if stat.S_ISREG(mode):
        return "f"
    return "d" if stat.S_ISDIR(mode) else "l" if stat.S_ISLNK(mode) else "o"
