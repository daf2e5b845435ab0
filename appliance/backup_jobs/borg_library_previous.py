"""What earlier archives hold, compact in memory: asked once for every file of a night.

Part of the ``borg_library`` family. About 250 bytes an item of average path length, so a million
files stay far under the bar. What an interrupted run left in a checkpoint is here too, so that it
is not sent again.
"""

import stat
from array import array
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final, NamedTuple

from appliance.backup_jobs.borg_library_items import RawItem, whole_number

Chunk = tuple[bytes, int, int]  # id, size, stored size

# mtime, size, mode, uid, gid, length of the path, length of what follows, origin
_HEAD: Final = Struct("<qQIqqIIB")
_CHUNK: Final = Struct("<32sII")


class PreviousItem(NamedTuple):
    """One item as an earlier archive holds it."""

    mtime_ns: int
    size: int
    mode: int  # kind and permissions
    uid: int
    gid: int
    taken_s: float  # since the epoch: when the run that read it began
    in_base: bool  # whether it is from the archive that changes are counted from
    again: bool  # whether somebody asked for it before
    content: bytes  # packed chunks of a file, target of a link

    @property
    def chunks(self) -> list[Chunk]:
        """The chunks of a file: id, size, stored size."""
        return list(_CHUNK.iter_unpack(self.content))


class PartItem(NamedTuple):
    """The beginning of a file that an interrupted run could not finish."""

    mtime_ns: int
    taken_s: float
    chunks: tuple[Chunk, ...]

    @property
    def size(self) -> int:
        """Bytes that need not be read again."""
        return sum(each[1] for each in self.chunks)


class Previous:
    """Items of earlier archives by path; a later one stands for an earlier one."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}  # hash of the path → number
        self._same_hash: dict[bytes, int] = {}
        self._records = bytearray()
        self._offsets = array("Q")
        self._seen = bytearray()
        self._origins: list[tuple[float, bool]] = []
        self._base: dict[int, int] = {}  # number → number of the base item it stands for
        self.parts: dict[bytes, PartItem] = {}
        self.base_bytes = 0

    def __len__(self) -> int:
        return len(self._offsets)

    def load(self, items: Iterable[RawItem], taken_s: float, *, is_base: bool) -> None:
        """Take the items of one archive; the base first, checkpoints after it, oldest first.

        Args:
            items: as ``Repository.raw_items`` yields them.
            taken_s: when the run that made them began, seconds since the epoch.
            is_base: whether what is not seen again counts as vanished.
        """
        origin = len(self._origins)
        self._origins.append((taken_s, is_base))
        masters: dict[bytes, tuple[int, bytes]] = {}
        started: dict[bytes, list[tuple[int, tuple[Chunk, ...], int]]] = {}
        for item in items:
            path = item[b"path"]
            part = item.get(b"part")
            mtime_ns = whole_number(item[b"mtime"])
            if part is not None:
                whole = path[: path.rfind(b".borg_part_")]
                started.setdefault(whole, []).append((part, item.get(b"chunks", ()), mtime_ns))
                continue
            mode = item[b"mode"]
            content = b""
            size = 0
            if stat.S_ISREG(mode):
                source = item.get(b"source")
                if source is not None:
                    size, content = masters.get(source, (0, b""))
                else:
                    listed = item.get(b"chunks", ())
                    content = b"".join([_CHUNK.pack(*each) for each in listed])
                    size = sum([each[1] for each in listed])
                    if item.get(b"hardlink_master"):
                        masters[path] = (size, content)
                started.pop(path, None)  # its parts are part of it
                if is_base:
                    self.base_bytes += size
            elif stat.S_ISLNK(mode):
                content = item.get(b"source", b"")
                size = len(content)
            self._add(path, mtime_ns, size, mode, item, origin, content)
        for path, pieces in started.items():
            pieces.sort(key=lambda each: each[0])
            if [each[0] for each in pieces] == list(range(1, len(pieces) + 1)):
                chunks = tuple(chunk for each in pieces for chunk in each[1])
                self.parts[path] = PartItem(pieces[0][2], taken_s, chunks)

    def _add(
        self,
        path: bytes,
        mtime_ns: int,
        size: int,
        mode: int,
        item: RawItem,
        origin: int,
        content: bytes,
    ) -> None:
        number = len(self._offsets)
        known = self._number(path)
        self._offsets.append(len(self._records))
        self._seen.append(0)
        self._records += _HEAD.pack(
            mtime_ns,
            size,
            mode,
            item.get(b"uid", -1),
            item.get(b"gid", -1),
            len(path),
            len(content),
            origin,
        )
        self._records += path
        self._records += content
        if known is not None:
            self._base[number] = self._base.get(known, known)
        digest = hash(path)
        if (known is None and digest in self._numbers) or path in self._same_hash:
            self._same_hash[path] = number
        else:
            self._numbers[digest] = number

    def _number(self, path: bytes) -> int | None:
        number = self._numbers.get(hash(path))
        if number is None:
            return None
        if self._path(number) == path:
            return number
        return self._same_hash.get(path)

    def _path(self, number: int) -> bytes:
        at = self._offsets[number]
        size = _HEAD.unpack_from(self._records, at)[5]
        at += _HEAD.size
        return bytes(self._records[at : at + size])

    def find(self, path: bytes) -> PreviousItem | None:
        """Return the newest item with this path and mark it as seen."""
        number = self._numbers.get(hash(path))
        if number is None:
            return None
        records = self._records
        at = self._offsets[number]
        mtime_ns, size, mode, uid, gid, path_size, content_size, origin = _HEAD.unpack_from(
            records, at
        )
        at += _HEAD.size
        if records[at : at + path_size] != path:
            other = self._same_hash.get(path)
            if other is None:
                return None
            return self._of(other)
        again = bool(self._seen[number])
        self._seen[number] = 1
        at += path_size
        taken_s, is_base = self._origins[origin]
        return PreviousItem(
            mtime_ns,
            size,
            mode,
            uid,
            gid,
            taken_s,
            is_base,
            again,
            bytes(records[at : at + content_size]),
        )

    def find_base(self, path: bytes) -> PreviousItem | None:
        """Return the item of the base archive, also when a checkpoint's stands for it."""
        number = self._number(path)
        if number is None:
            return None
        found = self._of(self._base.get(number, number))
        return found if found.in_base else None

    def _of(self, number: int) -> PreviousItem:
        again = bool(self._seen[number])
        self._seen[number] = 1
        at = self._offsets[number]
        mtime_ns, size, mode, uid, gid, path_size, content_size, origin = _HEAD.unpack_from(
            self._records, at
        )
        at += _HEAD.size + path_size
        taken_s, is_base = self._origins[origin]
        content = bytes(self._records[at : at + content_size])
        return PreviousItem(mtime_ns, size, mode, uid, gid, taken_s, is_base, again, content)

    def vanished(self) -> Iterator[tuple[bytes, bool]]:
        """Yield the paths of the base archive that nobody asked for, and whether each is a file."""
        seen = self._seen
        for number, base in self._base.items():
            if seen[number]:
                seen[base] = 1
        for number in range(len(self._offsets)):
            if not seen[number]:
                _mtime, _size, mode, _u, _g, _p, _c, origin = _HEAD.unpack_from(
                    self._records, self._offsets[number]
                )
                if self._origins[origin][1]:
                    yield self._path(number), stat.S_ISREG(mode)
