"""What a folder holds: read in one pass, sorted as people sort («2» before «10»), in columns.

20,000 entries: 13 ms for the names, 64 ms for sizes and times, 71 ms to sort (measured-web.md D); names and
their order are therefore kept while the folder is as it was.
"""

import os
import re
import stat
import threading
import time
import unicodedata
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.disk import cached_open
from appliance.disk.paths import RESERVED, open_folder, open_parent
from appliance.errors import FileMissing
from appliance.units import NS_PER_S

#: Folders whose order is kept in memory.
KEPT: Final = 32
#: A folder with so many entries at most is read without a thread when it was read so lately: some 0.5 ms.
SMALL: Final = 250
LATELY_S: Final = 30.0
#: A folder with so many entries is not read twice within a second.
LARGE: Final = 2_000
LARGEST: Final = 50_000
AGAIN_S: Final = 1.0
_NUMBERS: Final = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder."""

    name: bytes
    kind: str  # file · folder · link · other
    size: int  # bytes; 0 for what is no file
    mtime_ns: int
    inode: int

    @property
    def etag(self) -> str:
        """What changes when the content may have: the same through every door."""
        return f"{self.inode:x}-{self.mtime_ns:x}-{self.size:x}"


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder, folders first, then by name as people sort."""

    entries: tuple[Entry, ...]
    inode: int
    mtime_ns: int


def read(root: Path, path: bytes) -> Listing:
    """Return what the folder at ``path`` of the share at ``root`` holds; what is ours is left out.

    Raises:
        InvalidInput, FileMissing, NotAFolder.
    """
    with open_folder(root, path) as folder:
        facts = os.fstat(folder)
        again = _again(facts)
        return _read(folder, facts, is_top=not path) if again is None else again


def read_known(root: Path, path: bytes) -> Listing | None:
    """Return what ``read`` does, of a small folder that was read a moment ago; None: read it in a thread.

    The way to it is asked for without waiting for a disk (``cached_open``), and what was read so lately is in the
    system's memory: nobody else waits meanwhile.

    Raises:
        InvalidInput.
    """
    folder = cached_open.open_folder(root, path)
    if folder is None:
        return None
    try:
        facts = os.fstat(folder)
        with _door:
            kept = _kept.get((facts.st_dev, facts.st_ino))
        if (
            kept is None
            or kept.mtime_ns != facts.st_mtime_ns
            or len(kept.ranks) > SMALL
            or time.monotonic() - kept.at > LATELY_S
        ):
            return None
        return _read(folder, facts, is_top=not path)
    finally:
        os.close(folder)


def _read(folder: int, facts: os.stat_result, *, is_top: bool) -> Listing:
    entries = []
    with os.scandir(folder) as found:
        for each in found:
            name = os.fsencode(each.name)
            if is_top and name.lower() == RESERVED:
                continue
            try:
                entries.append(entry_of(name, each.stat(follow_symlinks=False)))
            except FileNotFoundError:
                continue  # it went while we looked
    order = _order(facts.st_dev, facts.st_ino, facts.st_mtime_ns, entries)
    listing = Listing(order, facts.st_ino, facts.st_mtime_ns)
    if LARGE <= len(order) <= LARGEST:
        global _last  # noqa: PLW0603 - one, replaced as a whole
        _last = _Last(facts.st_dev, listing, time.monotonic())
    return listing


def _again(facts: os.stat_result) -> Listing | None:
    """Return what a large folder held a moment ago: its page is followed by its columns at once.

    Names are those of the disk, for the folder says when they changed; of a file that is being written the size may
    be a second old.
    """
    global _last  # noqa: PLW0603 - one, replaced as a whole
    last = _last
    if last is None:
        return None
    if time.monotonic() - last.at > AGAIN_S:
        _last = None  # nobody needs its memory
        return None
    is_same = (last.device, last.listing.inode, last.listing.mtime_ns) == (
        facts.st_dev,
        facts.st_ino,
        facts.st_mtime_ns,
    )
    # The system's clock for folders has steps: one that changed just now may have changed twice.
    is_quiet = time.time_ns() - facts.st_mtime_ns > NS_PER_S
    return last.listing if is_same and is_quiet else None


@dataclass(frozen=True, slots=True)
class _Last:
    device: int
    listing: Listing
    at: float


_last: _Last | None = None


def entry(root: Path, path: bytes) -> Entry:
    """Return one entry; for the share itself, a folder without a name.

    Raises:
        InvalidInput, FileMissing, NotAFolder.
    """
    if not path:
        with open_folder(root, path) as folder:
            return entry_of(b"", os.fstat(folder))
    with open_parent(root, path) as (folder, name):
        try:
            return entry_of(name, os.stat(name, dir_fd=folder, follow_symlinks=False))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileMissing from error


def entry_of(name: bytes, facts: os.stat_result) -> Entry:
    """Return the entry that ``facts`` describe."""
    mode = facts.st_mode
    if stat.S_ISREG(mode):
        return Entry(name, "file", facts.st_size, facts.st_mtime_ns, facts.st_ino)
    kind = "folder" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "other"
    return Entry(name, kind, 0, facts.st_mtime_ns, facts.st_ino)


def natural_key(name: bytes) -> tuple[tuple[int, int, str], ...]:
    """Return what ``name`` is sorted by: numbers by value, letters without case and accents."""
    text = name.decode("utf-8", "surrogateescape").casefold()
    if not text.isascii():
        text = "".join(
            each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each)
        )
    return tuple(
        (0, int(each), "") if place % 2 else (1, 0, each)
        for place, each in enumerate(_NUMBERS.split(text))
        if each
    )


# --- the order is kept ----------------------------------------------------------------------


@dataclass(slots=True)
class _Kept:
    mtime_ns: int  # of the folder
    ranks: dict[bytes, int]
    at: float  # when it was read last, on the monotonic clock


_kept: OrderedDict[tuple[int, int], _Kept] = OrderedDict()
_door: Final = threading.Lock()


def _order(device: int, inode: int, mtime_ns: int, entries: list[Entry]) -> tuple[Entry, ...]:
    key = (device, inode)
    now = time.monotonic()
    with _door:
        kept = _kept.get(key)
        if kept is not None:
            _kept.move_to_end(key)
    if kept is not None and kept.mtime_ns == mtime_ns and len(kept.ranks) == len(entries):
        ranks = kept.ranks
        if all(each.name in ranks for each in entries):
            kept.at = now
            return tuple(sorted(entries, key=lambda each: ranks[each.name]))
    ordered = sorted(
        entries, key=lambda each: (each.kind != "folder", natural_key(each.name), each.name)
    )
    with _door:
        _kept[key] = _Kept(mtime_ns, {each.name: rank for rank, each in enumerate(ordered)}, now)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return tuple(ordered)
