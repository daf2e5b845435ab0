"""Documents during a recovery: from the copy while a repository is not back, from the repository after."""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from appliance.backup_jobs.reader import RepositoryPlace, SnapshotFile, SnapshotReader
from appliance.catalogue.reader_protocol import Request
from appliance.clock import utc_now
from appliance.commands.recover_board import Board
from appliance.db.engine import Database, open_database
from appliance.errors import ArmoireError, NotFound
from appliance.model import BOX_SOURCE, SourceId
from appliance.replication.recover import note_first_readable
from appliance.replication.recover_cache import Place, SegmentCache
from appliance.replication.recover_choice import Look, Proposal
from appliance.replication.recover_polite import Gate, Urgent
from appliance.replication.target import Target
from appliance.settings import Settings
from appliance.units import GIB, MIB
from appliance.vault.secret import Secret
from appliance.worker.reader_socket import ReaderSocket

#: Of segments kept for documents: a tenth of what is free, between these.
SMALLEST_CACHE: Final = 256 * MIB
LARGEST_CACHE: Final = 4 * GIB
FOLDER: Final = ".recovery-cache"


@dataclass(frozen=True, slots=True)
class _Sent:
    """A file on its way; as ``worker.reader_socket.FileToSend``."""

    size: int
    mtime_ns: int
    offset: int
    length: int
    blocks: Iterator[bytes]


class RecoveryReader:
    """Listens on the reader's socket of the box that is being made."""

    def __init__(
        self,
        settings: Settings,
        board: Board,
        *,
        plan: Proposal | None,
        looks: Sequence[Look],
        open_target: Mapping[str, Callable[[], Target]],
        identity: Secret | None,
        gate: Gate,
    ) -> None:
        """Listen.

        Args:
            settings: of the new box; its state is in place.
            board: counts documents.
            plan: the generation; None when every repository is back.
            looks: what places showed: they stand in for each other.
            open_target: name of each place → a connection.
            identity: of the sheets; needed with ``plan``.
            gate: documents go first.
        """
        self._settings = settings
        self._board = board
        self._door = threading.Lock()
        self._back: frozenset[int] = frozenset()
        self._opened: Database | None = None
        self._cache: SegmentCache | None = None
        self._folder = settings.data / FOLDER
        self._is_over = threading.Event()
        if plan is not None and identity is not None:
            free = shutil.disk_usage(settings.data).free
            limit = min(LARGEST_CACHE, max(SMALLEST_CACHE, free // 10))
            places = _places(plan, looks, open_target, gate)
            self._cache = SegmentCache(places, identity, self._folder, limit)
        self._known = (
            frozenset()
            if plan is None
            else frozenset(each.source_id for each in plan.manifest.repositories)
        )
        self._files = SnapshotReader(settings, self._database, find_place=self._find_place)
        self._socket = ReaderSocket(settings.reader_socket, self.open)
        self._threads = [threading.Thread(target=self._socket.serve, daemon=True)]
        if self._cache is not None:
            order = [each.source_id for each in board.status.repositories]
            self._threads.append(
                threading.Thread(target=self._warm, args=(order,), name="warm", daemon=True)
            )
        for thread in self._threads:
            thread.start()

    def back(self, sources: frozenset[int]) -> None:
        """Read these sources from their own repositories from now on."""
        with self._door:
            fresh, self._back = sources - self._back, sources
        for source_id in fresh:
            self._files.forget(SourceId(source_id))
            shutil.rmtree(self._folder / str(source_id), ignore_errors=True)

    def open(self, request: Request) -> _Sent:
        """Open what a request asks for; as ``backup_jobs.reader.SnapshotReader.open``."""
        if request.source_id == BOX_SOURCE:
            raise NotFound("source", str(request.source_id))  # accounts and secrets: for nobody
        found = self._files.open(
            request.source_id,
            request.snapshot_id,
            request.path,
            request.offset,
            request.length,
        )
        return _Sent(found.size, found.mtime_ns, found.offset, found.length, self._told(found))

    def close(self) -> None:
        """Stop listening and forget what was cached."""
        self._is_over.set()
        self._socket.close()
        self._files.close()
        if self._cache is not None:
            self._cache.close()
        for thread in self._threads:
            thread.join(timeout=5.0)
        if self._opened is not None:
            self._opened.close()
        if self._cache is not None and self._known <= self._back | {BOX_SOURCE}:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _told(self, found: SnapshotFile) -> Iterator[bytes]:
        yield from found.blocks
        if found.length and self._board.document_read() == 1:
            now = utc_now()
            note_first_readable(self._settings.data, now)
            if self._board.status.readable_at is None:
                self._board.change(readable_at=now)

    def _database(self) -> Database:
        with self._door:
            if self._opened is None:
                self._opened = open_database(self._settings.database)
            return self._opened

    def _find_place(self, source_id: SourceId) -> RepositoryPlace | None:
        with self._door:
            is_back = source_id in self._back
        if is_back or self._cache is None:
            return None
        return RepositoryPlace(
            self._cache.repository(source_id), self._cache.before_read(source_id)
        )

    def _warm(self, order: Sequence[int]) -> None:
        """Bring the lists of repositories before somebody asks: the first document then needs one object."""
        for source_id in order:
            if self._is_over.is_set():
                return
            if source_id != BOX_SOURCE and source_id not in self._back:
                with suppress(ArmoireError, OSError):
                    self._files.warm(SourceId(source_id))


def _places(
    plan: Proposal,
    looks: Sequence[Look],
    open_target: Mapping[str, Callable[[], Target]],
    gate: Gate,
) -> list[Place]:
    """Return the generation's place first, then the others that could be opened."""

    def urgent(name: str) -> Target:
        return Urgent(open_target[name](), gate)

    others = [
        Place(partial(urgent, look.target), looked.manifest)
        for look in looks
        for looked in look.generations
        if looked.manifest is not None
        and (look.target, looked.number) != (plan.target, plan.number)
    ]
    return [Place(partial(urgent, plan.target), plan.manifest), *others]
