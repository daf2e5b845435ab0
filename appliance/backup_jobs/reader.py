"""One file out of a snapshot: only its chunks are read, from repositories held open.

The catalogue says which chunks a file is made of; ``borg_library``'s reader fetches them without a
lock, so a backup, a pruning or a compaction may run meanwhile. Borg is imported when the first file
is asked for: a box at rest does not carry it.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Final

from appliance.backup_jobs.vault_access import repository_passphrase
from appliance.catalogue import query
from appliance.catalogue.store import at_path, path_of
from appliance.db import repositories
from appliance.db.engine import Database
from appliance.errors import ChunkMissing, InvalidInput, NotFound, RepositoryDamaged
from appliance.language import mark
from appliance.model import Entry, EntryKind, SnapshotId, SourceId
from appliance.settings import Settings
from appliance.units import MIB, MINUTE_S

if TYPE_CHECKING:
    from appliance.backup_jobs.borg_library import Reader

CACHE_BYTES: Final = 16 * MIB
MOST_OPEN: Final = 8
IDLE_S: Final = 10 * MINUTE_S

_CHUNK: Final = Struct("<32sI")
_log = logging.getLogger("armoire.reader")


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A file of a snapshot, ready to be read."""

    size: int  # of the whole file, bytes
    mtime_ns: int
    offset: int
    length: int  # bytes that ``blocks`` gives
    blocks: Iterator[bytes]  # a chunk's part each, at most 8 MiB


@dataclass(frozen=True, slots=True)
class RepositoryPlace:
    """Where a repository lies, and what brings a segment there before it is read."""

    path: Path
    before_read: Callable[[int], None] | None = None


@dataclass(slots=True)
class _Held:
    """One open repository and who uses it."""

    reader: "Reader"
    stack: ExitStack
    used_at: float
    users: int = 0
    is_dropped: bool = False


@dataclass(slots=True)
class _Chunks:
    """The last chunks read: a browser that jumps in a film asks for the same one again."""

    room: int
    kept: OrderedDict[tuple[int, bytes], bytes] = field(default_factory=OrderedDict)
    size: int = 0
    door: threading.Lock = field(default_factory=threading.Lock)

    def find(self, key: tuple[int, bytes]) -> bytes | None:
        with self.door:
            data = self.kept.get(key)
            if data is not None:
                self.kept.move_to_end(key)
            return data

    def add(self, key: tuple[int, bytes], data: bytes) -> None:
        with self.door:
            if key in self.kept or len(data) > self.room:
                return
            self.kept[key] = data
            self.size += len(data)
            while self.size > self.room:
                _, old = self.kept.popitem(last=False)
                self.size -= len(old)

    def clear(self) -> None:
        with self.door:
            self.kept.clear()
            self.size = 0


class SnapshotReader:
    """Reads files out of snapshots of every source; safe for several threads."""

    def __init__(
        self,
        settings: Settings,
        database: Callable[[], Database],
        *,
        cache_bytes: int = CACHE_BYTES,
        most_open: int = MOST_OPEN,
        find_place: "Callable[[SourceId], RepositoryPlace | None]" = lambda _source_id: None,
    ) -> None:
        """Open nothing yet.

        Args:
            settings: of the box.
            database: gives the opened state database; called at the first use of a source.
            cache_bytes: of plain chunks kept in memory, for all sources together.
            most_open: repositories held open; the one used longest ago is closed.
            find_place: says where a repository lies that is not at its own place, and what brings its
                segments there: a recovery reads it from a copy; None: at its own place.
        """
        self._settings = settings
        self._database = database
        self._find_place = find_place
        self._chunks = _Chunks(cache_bytes)
        self._most_open = most_open
        self._held: OrderedDict[SourceId, _Held] = OrderedDict()
        self._door = threading.Lock()

    def open(
        self,
        source_id: SourceId,
        snapshot_id: SnapshotId,
        path: bytes,
        offset: int = 0,
        length: int | None = None,
    ) -> SnapshotFile:
        """Return the file ``path`` of a snapshot, from ``offset`` on; its first block is fetched already.

        Raises:
            NotFound: no regular file of that path is in the snapshot, or the source has no repository.
            SnapshotMissing, CatalogueMissing, CatalogueDamaged: of the lookup.
            InvalidInput: ``offset`` is behind the end.
            ChunkMissing: the snapshot was removed at this moment.
            RepositoryMissing, RepositoryReplaced, RepositoryDamaged, WrongPassphrase.
            SecretMissing, SecretUnreadable, KeyMissing: the vault does not open the repository.
        """
        entry = self._entry(source_id, snapshot_id, path)
        chunks = list(_CHUNK.iter_unpack(entry.chunks))
        size = sum(each for _, each in chunks)
        if offset > size:
            raise InvalidInput("offset", mark("The file is shorter than that."))
        wanted = size - offset if length is None else min(length, size - offset)
        blocks = self._blocks(source_id, snapshot_id, entry, offset, wanted)
        # What cannot be read at all is an error before the answer begins, not in its middle.
        first = next(blocks, None)
        return SnapshotFile(size, entry.mtime_ns, offset, wanted, _joined(first, blocks))

    def read(
        self,
        source_id: SourceId,
        snapshot_id: SnapshotId,
        path: bytes,
        offset: int = 0,
        length: int | None = None,
    ) -> Iterator[bytes]:
        """Yield the bytes of a file of a snapshot; as ``open``."""
        return self.open(source_id, snapshot_id, path, offset, length).blocks

    def drop_idle(self, idle_s: float = IDLE_S) -> int:
        """Close repositories nobody asked for in ``idle_s`` seconds; return how many stay open."""
        limit = time.monotonic() - idle_s
        with self._door:
            for source_id, held in list(self._held.items()):
                if held.users == 0 and held.used_at <= limit:
                    self._drop(source_id)
            left = len(self._held)
        if not left:
            self._chunks.clear()
        return left

    def warm(self, source_id: SourceId) -> None:
        """Open the repository of a source before a file of it is asked for; raises as ``open``."""
        with self._using(source_id):
            pass

    def forget(self, source_id: SourceId) -> None:
        """Close a repository, so that the next file of it is read where it lies then."""
        with self._door:
            if source_id in self._held:
                self._drop(source_id)

    def close(self) -> None:
        """Close every repository; those in use are closed by their last user."""
        with self._door:
            for source_id in list(self._held):
                self._drop(source_id)
        self._chunks.clear()

    # --- one file ------------------------------------------------------------------------------

    def _entry(self, source_id: SourceId, snapshot_id: SnapshotId, path: bytes) -> Entry:
        catalogue = at_path(path_of(self._settings, source_id))
        entry = query.entry(catalogue, snapshot_id, path)
        if entry.kind is not EntryKind.FILE:
            raise NotFound("file", path.decode("utf-8", "replace"))
        return entry

    def _blocks(
        self,
        source_id: SourceId,
        snapshot_id: SnapshotId,
        entry: Entry,
        offset: int,
        wanted: int,
    ) -> Iterator[bytes]:
        position = 0  # of the chunk at hand in the file
        end = offset + wanted
        for identity, size in _CHUNK.iter_unpack(entry.chunks):
            if position >= end:
                return
            if position + size > offset:
                data = self._chunk(source_id, snapshot_id, entry, identity)
                if len(data) != size:
                    raise RepositoryDamaged(f"repository:{source_id}", "a piece has another length")
                start, stop = max(offset - position, 0), min(end - position, size)
                yield data if (start, stop) == (0, size) else data[start:stop]
            position += size

    def _chunk(
        self, source_id: SourceId, snapshot_id: SnapshotId, entry: Entry, identity: bytes
    ) -> bytes:
        key = (int(source_id), identity)
        data = self._chunks.find(key)
        if data is not None:
            return data
        try:
            try:
                data = self._fetch(source_id, identity)
            except ChunkMissing:
                # Removed or moved a moment ago. Open the newest state of the repository, once, and
                # ask the catalogue whether it still says what it said.
                with self._door:
                    if source_id in self._held:
                        self._drop(source_id)
                if self._entry(source_id, snapshot_id, entry.path).chunks != entry.chunks:
                    raise
                data = self._fetch(source_id, identity)
        except RepositoryDamaged as error:
            # Ids only; the figures for the ledger come from the check that follows.
            _log.error(
                "source %s snapshot %s chunk %s: %s",
                source_id,
                snapshot_id,
                identity.hex(),
                error.reason,
            )
            raise
        self._chunks.add(key, data)
        return data

    def _fetch(self, source_id: SourceId, identity: bytes) -> bytes:
        with self._using(source_id) as reader:
            (data,) = reader.fetch([identity])
        return data

    # --- open repositories ---------------------------------------------------------------------

    @contextmanager
    def _using(self, source_id: SourceId) -> "Iterator[Reader]":
        with self._door:
            held = self._held.get(source_id)
            if held is None:
                held = self._hold(source_id)
            self._held.move_to_end(source_id)
            held.users += 1
        try:
            yield held.reader
        finally:
            with self._door:
                held.users -= 1
                held.used_at = time.monotonic()
                if held.is_dropped and not held.users:
                    held.stack.close()

    def _hold(self, source_id: SourceId) -> _Held:
        from appliance.backup_jobs.borg_library import open_reader  # noqa: PLC0415 - heavy

        with self._database().read() as connection:
            repository = repositories.get(connection, source_id)
            passphrase = repository_passphrase(connection, self._settings, source_id)
        place = self._find_place(source_id) or RepositoryPlace(Path(repository.path))
        with ExitStack() as stack:
            reader = stack.enter_context(
                open_reader(
                    place.path,
                    passphrase,
                    self._settings.borg_home,
                    repository.borg_id,
                    before_read=place.before_read,
                )
            )
            held = _Held(reader, stack.pop_all(), time.monotonic())
        self._held[source_id] = held
        while len(self._held) > self._most_open:
            self._drop(next(iter(self._held)))
        return held

    def _drop(self, source_id: SourceId) -> None:
        held = self._held.pop(source_id)
        held.is_dropped = True
        if not held.users:
            held.stack.close()


def _joined(first: bytes | None, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first is not None:
        yield first
        yield from rest
