"""Many files of a snapshot as one ZIP whose length is known before its first byte.

Stored, not compressed: medical files are compressed already, and a length lets the browser show how
far it is. Written here (docs/decisions/0025): the members' dates are kept, no name reaches a log, and
a file that is not what was listed cuts the stream. Source: PKWARE APPNOTE 6.3.9.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, tzinfo
from itertools import chain
from struct import Struct
from typing import Final, Protocol
from zlib import crc32
from zoneinfo import ZoneInfo

from appliance.catalogue import query
from appliance.catalogue.reader_client import open_file
from appliance.catalogue.safe_names import SafePaths
from appliance.catalogue.store import Catalogue, of_source
from appliance.clock import from_epoch
from appliance.errors import CatalogueDamaged, InvalidInput
from appliance.language import mark
from appliance.model import Entry, EntryKind, SnapshotId, SourceId
from appliance.settings import Settings
from appliance.units import KIB, NS_PER_S

#: Blocks are joined to at least this: the cost of a web server is by block.
BLOCK: Final = 256 * KIB
MOST_MEMBERS: Final = 200_000

_CHUNK: Final = Struct("<32sI")
_LOCAL: Final = Struct("<IHHHHHIIIHH")
_CENTRAL: Final = Struct("<IHHHHHHIIIHHHHHII")
_END: Final = Struct("<IHHHHIIH")
_END64: Final = Struct("<IQHHIIQQQQ")
_LOCATOR64: Final = Struct("<IIQI")
_TIME: Final = Struct("<HHBi")  # extended timestamp, 0x5455
_LIMIT: Final = 0xFFFFFFFF
_MOST_SMALL: Final = 0xFFFF
_FLAGS: Final = 0x0808  # sizes and checksum follow the data; names are UTF-8
_UNIX: Final = 3 << 8


class Content(Protocol):
    """The bytes of a member, being read."""

    @property
    def blocks(self) -> Iterator[bytes]:
        """Those bytes, once."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """One file or folder of the ZIP."""

    path: bytes  # in the snapshot
    name: bytes  # in the ZIP, UTF-8; a folder's ends with «/»
    size: int
    mtime_ns: int
    mode: int


@dataclass(frozen=True, slots=True)
class ZipPlan:
    """What the ZIP will hold, and how long it will be."""

    source_id: SourceId
    members: tuple[Member, ...]
    length: int  # bytes of the whole ZIP
    files: int
    file_bytes: int  # of the files
    left_out: int  # links and special files
    time_zone: tzinfo

    def blocks(
        self, open_member: Callable[[bytes], AbstractContextManager[Content]]
    ) -> Iterator[bytes]:
        """Yield the ZIP, exactly ``length`` bytes, in blocks of 256 KiB or more but for the last.

        Args:
            open_member: opens a path of the snapshot.

        Raises:
            CatalogueDamaged: a file has another length than the catalogue says.
            What ``open_member`` and its blocks raise. After an error the ZIP is not whole: the
            connection must be cut, so that nobody takes it for whole.
        """
        pending: list[bytes] = []
        size = 0
        for part in self._parts(open_member):
            pending.append(part)
            size += len(part)
            if size >= BLOCK:
                yield b"".join(pending)
                pending.clear()
                size = 0
        yield b"".join(pending)

    def _parts(
        self, open_member: Callable[[bytes], AbstractContextManager[Content]]
    ) -> Iterator[bytes]:
        central: list[bytes] = []
        position = 0
        for member in self.members:
            start = position
            head = _local_header(member, self.time_zone)
            yield head
            checksum = 0
            if member.size:
                got = 0
                with open_member(member.path) as file:
                    for block in file.blocks:
                        checksum = crc32(block, checksum)
                        got += len(block)
                        yield block
                if got != member.size:
                    raise CatalogueDamaged(self.source_id, "a file has another length")
            tail = _descriptor(member, checksum)
            yield tail
            position += len(head) + member.size + len(tail)
            central.append(_central_header(member, checksum, start, self.time_zone))
        directory = b"".join(central)
        yield directory
        yield _end(len(central), len(directory), position)


def plan_zip(
    catalogue: Catalogue,
    snapshot_id: SnapshotId,
    paths: Sequence[bytes],
    *,
    time_zone: tzinfo = UTC,
) -> ZipPlan:
    """Return the plan of a ZIP of files and folders of a snapshot, folders with all they hold.

    A path's name in the ZIP begins with its own last part: ``home/anna/Dupont`` is ``Dupont/…``.
    Links and special files are left out and counted.

    Args:
        catalogue: of the source.
        snapshot_id: that shows the paths.
        paths: of files and folders; what is below a folder need not be named again.
        time_zone: of the practice: dates inside a ZIP have no zone.

    Raises:
        SnapshotMissing: the catalogue does not know the snapshot.
        NotFound: a path is not in it.
        InvalidInput: there are more than 200,000 members, or none.
    """
    names = SafePaths()
    seen: set[bytes] = set()
    members: list[Member] = []
    left_out = 0
    for number, path in enumerate(_highest(paths)):
        # Two chosen paths may end with the same name: each has a top of its own.
        above = path.rpartition(b"/")[0]
        cut = len(above) + 1 if above else 0
        top = str(number).encode() + b"/"
        names.is_top(top[:-1])
        for entry in query.walk(catalogue, snapshot_id, path):
            if entry.path in seen:
                continue
            seen.add(entry.path)
            if entry.kind not in {EntryKind.FILE, EntryKind.FOLDER}:
                left_out += 1
                continue
            members.append(_member(entry, names.of(top + entry.path[cut:])))
            if len(members) > MOST_MEMBERS:
                raise InvalidInput("paths", mark("These are too many files for one ZIP."))
    if not members:
        raise InvalidInput("paths", mark("Choose at least one file or folder."))
    sizes = [member.size for member in members]
    files = sum(1 for member in members if not member.name.endswith(b"/"))
    return ZipPlan(
        catalogue.source_id,
        tuple(members),
        length_of(members),
        files,
        sum(sizes),
        left_out,
        time_zone,
    )


def zip_of_snapshot(
    settings: Settings, source_id: SourceId, snapshot_id: SnapshotId, paths: Sequence[bytes]
) -> tuple[ZipPlan, Iterator[bytes]]:
    """Return the plan of a ZIP and its blocks, read through the worker; the first one is read already.

    So a worker that does not answer is an error, and no ZIP that ends before its promised length.

    Raises:
        CatalogueMissing, CatalogueDamaged; and as ``plan_zip``, ``ZipPlan.blocks``, ``open_file``.
    """
    plan = plan_zip(
        of_source(settings, source_id),
        snapshot_id,
        paths,
        time_zone=ZoneInfo(settings.time_zone),
    )
    blocks = plan.blocks(lambda path: open_file(settings, source_id, snapshot_id, path))
    return plan, chain([next(blocks)], blocks)


def _highest(paths: Sequence[bytes]) -> list[bytes]:
    """Return the paths, each once, without those that lie below another one."""
    chosen = dict.fromkeys(each.strip(b"/") for each in paths)
    return [path for path in chosen if not any(above in chosen for above in _above(path))]


def _above(path: bytes) -> Iterator[bytes]:
    while path:
        path = path.rpartition(b"/")[0]
        yield path


def _member(entry: Entry, name: str) -> Member:
    is_folder = entry.kind is EntryKind.FOLDER
    size = sum(each for _, each in _CHUNK.iter_unpack(entry.chunks))
    packed = (name + "/" if is_folder else name).encode("utf-8", "replace")
    return Member(entry.path, packed, size, entry.mtime_ns, entry.mode)


# --- the format ------------------------------------------------------------------------------


def _is_large(member: Member) -> bool:
    return member.size >= _LIMIT


def _extra(member: Member) -> bytes:
    seconds = member.mtime_ns // NS_PER_S
    return _TIME.pack(0x5455, 5, 1, seconds) if -(2**31) <= seconds < 2**31 else b""


def _dos(member: Member, zone: tzinfo) -> tuple[int, int]:
    seconds = min(max(member.mtime_ns // NS_PER_S, 315_532_800 + 86_400), 4_354_732_800)
    at = from_epoch(seconds).astimezone(zone)
    year = min(max(at.year, 1980), 2107)
    return (
        at.hour << 11 | at.minute << 5 | at.second // 2,
        (year - 1980) << 9 | at.month << 5 | at.day,
    )


def _local_header(member: Member, zone: tzinfo) -> bytes:
    extra = _extra(member)
    size = 0
    if _is_large(member):
        # Says that the sizes after the data have 64 bits.
        extra += Struct("<HHQQ").pack(1, 16, 0, 0)
        size = _LIMIT
    version = 45 if _is_large(member) else 20
    time, date = _dos(member, zone)
    return (
        _LOCAL.pack(
            0x04034B50, version, _FLAGS, 0, time, date, 0, size, size, len(member.name), len(extra)
        )
        + member.name
        + extra
    )


def _descriptor(member: Member, checksum: int) -> bytes:
    layout = "<IIQQ" if _is_large(member) else "<IIII"
    return Struct(layout).pack(0x08074B50, checksum, member.size, member.size)


def _central_header(member: Member, checksum: int, start: int, zone: tzinfo) -> bytes:
    large: list[int] = []
    size, offset = member.size, start
    if _is_large(member):
        large += [size, size]
        size = _LIMIT
    if start >= _LIMIT:
        large.append(start)
        offset = _LIMIT
    extra = _extra(member)
    if large:
        extra += Struct(f"<HH{len(large)}Q").pack(1, 8 * len(large), *large)
    time, date = _dos(member, zone)
    version = 45 if large else 20
    is_folder = member.name.endswith(b"/")
    kind = 0o040000 if is_folder else 0o100000
    attributes = (kind | member.mode & 0o777) << 16 | (0x10 if is_folder else 0)
    return (
        _CENTRAL.pack(
            0x02014B50,
            _UNIX | version,
            version,
            _FLAGS,
            0,
            time,
            date,
            checksum,
            size,
            size,
            len(member.name),
            len(extra),
            0,
            0,
            0,
            attributes,
            offset,
        )
        + member.name
        + extra
    )


def _end(count: int, size: int, start: int) -> bytes:
    end = b""
    if count >= _MOST_SMALL or size >= _LIMIT or start >= _LIMIT:
        end = _END64.pack(
            0x06064B50, _END64.size - 12, _UNIX | 45, 45, 0, 0, count, count, size, start
        ) + _LOCATOR64.pack(0x07064B50, 0, start + size, 1)
    few = min(count, _MOST_SMALL)
    return end + _END.pack(0x06054B50, 0, 0, few, few, min(size, _LIMIT), min(start, _LIMIT), 0)


def length_of(members: Sequence[Member]) -> int:
    """Return the bytes of a whole ZIP of ``members``."""
    position = directory = 0
    for member in members:
        directory += len(_central_header(member, 0, position, UTC))
        position += len(_local_header(member, UTC)) + member.size + len(_descriptor(member, 0))
    return position + directory + len(_end(len(members), directory, position))
