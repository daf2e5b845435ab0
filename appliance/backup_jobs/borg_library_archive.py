"""Writing an archive in process: items in order, contents through Borg's chunker, checkpoints.

Part of the ``borg_library`` family. Items are packed here exactly as `borg create` packs them
(keys sorted), so an unchanged night gives the same item stream and stores nothing new.
Source: borg 1.4.5 archive.py, ChunksProcessor, FilesystemObjectProcessors, Archive.save.
"""

import hashlib
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from borg.archive import Archive as BorgArchive  # noqa: TID251 - the borg_library family
from borg.chunker import get_chunker  # noqa: TID251
from borg.constants import CHUNKER_PARAMS, zeros  # noqa: TID251
from borg.crypto.key import Blake2RepoKey  # noqa: TID251
from borg.helpers.msgpack import mp_Packer  # noqa: TID251

from appliance.backup_jobs.borg_library_opening import mapped
from appliance.backup_jobs.borg_library_previous import Chunk, PartItem, Previous, PreviousItem
from appliance.errors import ArmoireError, InvalidInput
from appliance.language import mark

#: A file up to this size is always one chunk. Source: _chunker.c, chunker_process.
WHOLE_BYTES: Final = 512 * 1024
CHECKPOINT_S: Final = 300.0
_HASHED_AHEAD: Final = 3  # chunks of 2 MiB on average, 8 at most


class Meta(NamedTuple):
    """What is stored about an item besides its content."""

    mode: int  # kind and permissions
    mtime_ns: int
    uid: int = -1  # -1: the source does not say
    gid: int = -1
    owner: bytes | None = None
    group: bytes | None = None


class Stored(NamedTuple):
    """Content that is in the repository and not yet in an item."""

    chunks: list[Chunk]
    size: int
    new_bytes: int  # compressed, what was not there before
    parts: int  # checkpoints that were written while it was read


class Saved(NamedTuple):
    """A committed archive."""

    archive_id: str  # 64 hex digits
    original_bytes: int
    new_bytes: int  # compressed and deduplicated
    items: int


class NewArchive:
    """An archive being written; made by ``Repository.new_archive`` only."""

    def __init__(
        self,
        path: Path,
        repository: Any,  # noqa: ANN401 - Borg's own classes
        manifest: Any,  # noqa: ANN401
        key: Any,  # noqa: ANN401
        cache: Any,  # noqa: ANN401
        *,
        name: str,
        comment: str,
        started_at: datetime,
        previous: Previous,
        checkpoints: list[str],
        checkpoint_s: float,
    ) -> None:
        self._path = path
        self._repository = repository
        self._manifest = manifest
        self._key = key
        self._cache = cache
        self._comment = comment
        self._started_at = started_at.astimezone(UTC).replace(tzinfo=None)
        self._previous = previous
        self._checkpoints = checkpoints
        self._checkpoint_s = checkpoint_s
        self._checkpoint_at = time.monotonic()
        self._archive = BorgArchive(
            repository,
            key,
            manifest,
            name,
            cache=cache,
            create=True,
            chunker_params=CHUNKER_PARAMS,
            start=self._started_at,
            start_monotonic=time.monotonic(),
        )
        self._stats = self._archive.stats
        self._pack: Callable[[object], bytes] = mp_Packer(use_bin_type=False).pack
        self._write = self._archive.items_buffer.buffer.write
        self._chunker = get_chunker(*CHUNKER_PARAMS, seed=key.chunk_seed, sparse=False)
        self._pending = 0  # bytes of items not flushed
        self._id_of = _id_function(key)
        self._hasher = ThreadPoolExecutor(1, "hash")  # its thread starts with the first large file
        self._parts = 0
        self.items = 0
        self.name = name

    # --- what was there before ---

    def previous(self, path: bytes) -> PreviousItem | None:
        """Return the newest earlier item with this path (base archive or checkpoint), seen now."""
        return self._previous.find(path)

    def in_base(self, path: bytes) -> PreviousItem | None:
        """Return the item of the archive that changes are counted from."""
        return self._previous.find_base(path)

    def part(self, path: bytes) -> PartItem | None:
        """Return what an interrupted run kept of a file it could not finish, if it is still here."""
        found = self._previous.parts.get(path)
        if found is None:
            return None
        self._begin()
        index = self._cache.chunks
        return found if all(chunk[0] in index for chunk in found.chunks) else None

    @property
    def previous_bytes(self) -> int:
        """Bytes of all files of the previous archive: an estimate of what comes."""
        return self._previous.base_bytes

    @property
    def has_anything(self) -> bool:
        """Whether a checkpoint would keep something."""
        return self.items > 0 or self._parts > 0

    def vanished(self) -> Iterator[tuple[bytes, bool]]:
        """Yield what the previous archive had and nobody asked for: path, whether it is a file."""
        return self._previous.vanished()

    # --- content ---

    def keep(self, chunks: list[Chunk]) -> Stored | None:
        """Take content that an earlier archive holds; None when the repository lacks part of it."""
        self._begin()
        index = self._cache.chunks
        taken: list[Chunk] = []
        size = stored = 0
        for chunk in chunks:
            try:
                _count, plain_size, stored_size = index.incref(chunk[0])
            except KeyError:
                self.drop(Stored(taken, 0, 0, 0))
                return None
            taken.append((chunk[0], plain_size, stored_size))
            size += plain_size
            stored += stored_size
        stats = self._stats
        stats.osize += size
        stats.csize += stored
        return Stored(taken, size, 0, 0)

    def store_whole(self, data: bytes) -> Stored:
        """Store a small file, at most WHOLE_BYTES long."""
        if not data:
            return Stored([], 0, 0, 0)
        before = self._stats.usize
        with mapped(self._path):
            chunk = self._add_chunk(data)
        return Stored([chunk], len(data), self._stats.usize - before, 0)

    def store(
        self, blocks: Iterable[bytes], path: bytes, meta: Meta, *, prefix: list[Chunk] | None = None
    ) -> Stored:
        """Store what ``blocks`` yields, cut as Borg cuts; checkpoints are written in between.

        When ``blocks`` raises one of our errors (a lost line, a stop), what was stored stays as a
        part of the file, so that a checkpoint keeps it; any other error gives it up. Both go on.

        Args:
            blocks: the bytes from the end of ``prefix`` on.
            path: of the file, for parts.
            meta: of the file, for parts.
            prefix: chunks that are known to be its beginning.
        """
        before = self._stats.usize
        chunks: list[Chunk] = []
        if prefix:
            kept = self.keep(prefix)
            if kept is None:
                raise InvalidInput("prefix", mark("chunks of this repository."))
            chunks = kept.chunks
        parts = 0
        in_parts = 0
        try:
            for identity, data in self._hashed(blocks):
                with mapped(self._path):
                    entry = self._cache.add_chunk(identity, data, self._stats, wait=False)
                chunks.append((entry[0], entry[1], entry[2]))
                if self.checkpoint_due:
                    parts += 1
                    self._add_part(path, meta, chunks[in_parts:], parts)
                    in_parts = len(chunks)
                    self.checkpoint()
        except ArmoireError:
            if len(chunks) > in_parts:
                self._add_part(path, meta, chunks[in_parts:], parts + 1)
            raise
        except BaseException:
            self.drop(Stored(chunks[in_parts:], 0, 0, 0))
            raise
        if parts:
            if chunks[in_parts:]:
                parts += 1
                self._add_part(path, meta, chunks[in_parts:], parts)
            # The parts hold one reference of each chunk, the whole file needs its own.
            index = self._cache.chunks
            for identity, size, stored_size in chunks:
                index.incref(identity)
                self._stats.update(size, stored_size, False, part=True)
            self._stats.nfiles_parts += parts
        return Stored(chunks, sum(each[1] for each in chunks), self._stats.usize - before, parts)

    def _hashed(self, blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Yield the chunks of ``blocks`` with their ids.

        Ids are made on another core, while this one cuts, compresses and encrypts: hashing is the
        half of the work that lets go of the interpreter. Source: hashlib, «releases the GIL».
        """
        waiting: deque[tuple[Future[bytes], bytes]] = deque()
        lost: ArmoireError | None = None
        try:
            for piece in self._chunker.chunkify(_Blocks(blocks)):
                data = zeros[: piece.meta["size"]] if piece.data is None else bytes(piece.data)
                waiting.append((self._hasher.submit(self._id_of, data), data))
                if len(waiting) >= _HASHED_AHEAD:
                    hashed, data = waiting.popleft()
                    yield hashed.result(), data
        except ArmoireError as error:
            lost = error  # what is whole already is worth keeping
        while waiting:
            hashed, data = waiting.popleft()
            yield hashed.result(), data
        if lost is not None:
            raise lost

    def close(self) -> None:
        """End the helper thread."""
        self._hasher.shutdown(cancel_futures=True)

    def drop(self, stored: Stored) -> None:
        """Give up content that no item will hold."""
        with mapped(self._path):
            for identity, _size, _stored in stored.chunks:
                self._cache.chunk_decref(identity, self._stats, wait=False)

    def _add_chunk(self, data: Any) -> Chunk:  # noqa: ANN401 - bytes or a view of the chunker's buffer
        entry = self._cache.add_chunk(self._id_of(data), data, self._stats, wait=False)
        return (entry[0], entry[1], entry[2])

    def _begin(self) -> None:
        if not self._cache.txn_active:
            with mapped(self._path):
                self._cache.begin_txn()

    # --- items ---

    def add_file(self, path: bytes, meta: Meta, stored: Stored) -> None:
        """Add a regular file whose content is stored."""
        self._stats.nfiles += 1
        self._add(
            {
                "chunks": stored.chunks,
                "gid": meta.gid,
                "group": meta.group,
                "hardlink_master": False,
                "mode": meta.mode,
                "mtime": meta.mtime_ns,
                "path": path,
                "size": stored.size,
                "uid": meta.uid,
                "user": meta.owner,
            }
        )

    def add_other(self, path: bytes, meta: Meta, target: bytes | None = None) -> None:
        """Add a folder, or a symbolic link with its target."""
        item: dict[str, object] = {
            "gid": meta.gid,
            "group": meta.group,
            "mode": meta.mode,
            "mtime": meta.mtime_ns,
            "path": path,
        }
        if target is not None:
            item["source"] = target
        item["uid"] = meta.uid
        item["user"] = meta.owner
        self._add(item)

    def _add_part(self, path: bytes, meta: Meta, chunks: list[Chunk], number: int) -> None:
        item: dict[str, object] = {
            "chunks": chunks,
            "gid": meta.gid,
            "group": meta.group,
            "hardlink_master": False,
            "mode": stat.S_IFREG | stat.S_IMODE(meta.mode),
            "mtime": meta.mtime_ns,
            "part": number,
            "path": path + b".borg_part_%d" % number,
            "size": sum(each[1] for each in chunks),
            "uid": meta.uid,
            "user": meta.owner,
        }
        self._add(item)
        self.items -= 1
        self._parts += 1

    def _add(self, item: dict[str, object]) -> None:
        packed = self._pack(item)
        self._write(packed)
        self._pending += len(packed)
        self.items += 1
        if self._pending > self._archive.items_buffer.BUFFER_SIZE:
            with mapped(self._path):
                self._archive.items_buffer.flush()
            self._pending = 0

    # --- committing ---

    @property
    def checkpoint_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() - self._checkpoint_at > self._checkpoint_s

    def checkpoint(self) -> None:
        """Commit what is there as a checkpoint: never listed as a snapshot, used by the next run.

        Raises:
            NoSpace: nothing was committed.
        """
        with mapped(self._path):
            self._archive.write_checkpoint()
        self._pending = 0
        self._checkpoint_at = time.monotonic()

    def save(self) -> Saved:
        """Commit the archive and remove earlier checkpoints, in one transaction.

        Raises:
            NoSpace: nothing was committed.
        """
        self._begin()
        with mapped(self._path):
            for name in self._checkpoints:
                left = BorgArchive(
                    self._repository, self._key, self._manifest, name, cache=self._cache
                )
                left.delete(self._archive.meta_stats)
            self._archive.save(
                comment=self._comment,
                timestamp=self._started_at,
                additional_metadata={"cmdline": ["armoire"]},
            )
        meta = self._archive.meta_stats
        return Saved(
            self._archive.id.hex(),
            self._stats.osize,
            max(self._stats.usize, 0) + max(meta.usize, 0),
            self.items,
        )


def _id_function(key: Any) -> Callable[[bytes], bytes]:  # noqa: ANN401 - Borg's own class
    """Return what makes chunk ids: as ``key.id_hash``, without copying every chunk behind the key."""
    if not isinstance(key, Blake2RepoKey):
        hashed: Callable[[bytes], bytes] = key.id_hash
        return hashed
    # Source: borg 1.4.5 low_level.pyx, blake2b_256: the hash of the key and then the data.
    begun = hashlib.blake2b(key.id_key, digest_size=32)

    def identity(data: bytes) -> bytes:
        state = begun.copy()
        state.update(data)
        return state.digest()

    return identity


class _Blocks:
    """Blocks as the file object that Borg's chunker reads."""

    __slots__ = ("_at", "_block", "_blocks")

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._block = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, b"" at the end only."""
        while self._at >= len(self._block):
            try:
                self._block = next(self._blocks)
            except StopIteration:
                return b""
            self._at = 0
        if self._at == 0 and len(self._block) <= size:
            self._at = len(self._block)
            return self._block
        part = self._block[self._at : self._at + size]
        self._at += len(part)
        return part
