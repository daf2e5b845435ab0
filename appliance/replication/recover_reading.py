"""Emergency reading: a document of the newest snapshot straight from a copy, before its repository is back.

The catalogue, which comes with the state, says which chunks a file is made of; the cache brings the segments
that hold them. What opens a repository is passed in: this room does not know Borg.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from struct import Struct
from typing import Final, Protocol

from appliance.errors import NotFound, RepositoryDamaged
from appliance.model import Entry, EntryKind
from appliance.replication.recover_cache import SegmentCache

_CHUNK: Final = Struct("<32sI")


class Chunks(Protocol):
    """What an opened repository gives: ``backup_jobs.borg_library.Reader`` is one."""

    def fetch(self, ids: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the plaintext of each chunk, verified against its id."""
        ...


#: Opens the repository at a folder: source id, folder, ``before_read``. The caller knows passphrase and home.
OpenChunks = Callable[[int, Path, Callable[[int], None]], AbstractContextManager[Chunks]]


class CopyReader:
    """Files out of a copy; safe for several threads."""

    def __init__(
        self,
        cache: SegmentCache,
        open_chunks: OpenChunks,
        *,
        on_first: Callable[[], None] = lambda: None,
    ) -> None:
        """Open nothing yet.

        Args:
            cache: of the generation that is being recovered.
            open_chunks: opens a repository for reading without a lock.
            on_first: called once, when the first document has been read to its end.
        """
        self._cache = cache
        self._open_chunks = open_chunks
        self._on_first = on_first
        self._was_read = False
        self._door = threading.Lock()
        self._stack = ExitStack()
        self._opened: dict[int, Chunks] = {}

    def read(self, source_id: int, entry: Entry) -> Iterator[bytes]:
        """Return the blocks of a file; the first is fetched already, so what cannot be read raises here.

        Args:
            source_id: whose repository.
            entry: of the catalogue.

        Raises:
            NotFound: it is no file, or the generation lacks its repository.
            ObjectMissing, ObjectAltered, TargetUnreachable: no place gives a segment of it.
            ChunkMissing, RepositoryDamaged: the repository does not hold what the catalogue says.
        """
        if entry.kind is not EntryKind.FILE:
            raise NotFound("file", f"of kind {entry.kind.value}")
        blocks = self._blocks(source_id, list(_CHUNK.iter_unpack(entry.chunks)))
        first = next(blocks, None)
        return self._told(first, blocks)

    def close(self) -> None:
        """Close every repository; the cache stays."""
        with self._door:
            self._opened.clear()
            self._stack.close()

    def _told(self, first: bytes | None, rest: Iterator[bytes]) -> Iterator[bytes]:
        if first is not None:
            yield first
            yield from rest
        with self._door:
            told, self._was_read = self._was_read, True
        if not told:
            self._on_first()

    def _blocks(self, source_id: int, chunks: list[tuple[bytes, int]]) -> Iterator[bytes]:
        reader = self._reader(source_id)
        for (_, size), data in zip(chunks, reader.fetch(each for each, _ in chunks), strict=True):
            if len(data) != size:
                raise RepositoryDamaged(f"repository:{source_id}", "a piece has another length")
            yield data

    def _reader(self, source_id: int) -> Chunks:
        with self._door:
            if source_id not in self._opened:
                place = self._cache.repository(source_id)
                hook = self._cache.before_read(source_id)
                self._opened[source_id] = self._stack.enter_context(
                    self._open_chunks(source_id, place, hook)
                )
            return self._opened[source_id]
