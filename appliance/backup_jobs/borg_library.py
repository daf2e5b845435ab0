"""Borg in process: the door to the ``borg_library`` family, the only importers of ``borg``.

Borg's Python classes are no public interface; the version is pinned, and a contract test proves
after a run that plain `borg list`, `check --verify-data`, `extract` and `create` accept what was
written (docs/decisions/0010-borg-in-process.md).

One process opens one repository once: Borg's lock is per process and grants itself a second time.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

from borg.cache import Cache as BorgCache  # noqa: TID251 - the borg_library family
from borg.cache import assert_secure  # noqa: TID251
from borg.crypto.low_level import IntegrityError as LowIntegrityError  # noqa: TID251
from borg.helpers import Manifest, msgpack  # noqa: TID251
from borg.item import ArchiveItem  # noqa: TID251
from borg.repository import Repository as BorgRepository  # noqa: TID251

from appliance.backup_jobs import borg_library_items as items
from appliance.backup_jobs.borg_library_archive import (
    CHECKPOINT_S,
    WHOLE_BYTES,
    Meta,
    NewArchive,
    Saved,
    Stored,
)
from appliance.backup_jobs.borg_library_opening import (
    SEGMENT_BYTES,
    borg_environment,
    break_dead_lock,
    check_identity,
    create_repository,
    export_key,
    mapped,
    no_space,
    unlock,
)
from appliance.backup_jobs.borg_library_previous import PartItem, Previous, PreviousItem
from appliance.backup_jobs.borg_library_reader import Reader, open_reader
from appliance.clock import utc_now
from appliance.errors import (
    AlreadyExists,
    ArchiveListUnreadable,
    ArmoireError,
    NotFound,
    RepositoryDamaged,
    RepositoryLocked,
)
from appliance.model import Entry
from appliance.vault.secret import Secret

__all__ = [
    "CHECKPOINT_S",
    "SEGMENT_BYTES",
    "WHOLE_BYTES",
    "ArchiveInfo",
    "Meta",
    "Mode",
    "NewArchive",
    "PartItem",
    "PreviousItem",
    "Reader",
    "Repository",
    "Saved",
    "Stored",
    "create_repository",
    "export_key",
    "no_space",
    "open_reader",
    "open_repository",
]

CHECKPOINT: Final = ".checkpoint"


class Mode(Enum):
    """What a repository is opened for."""

    READ = "read"  # shared lock
    WRITE = "write"  # exclusive lock


READ: Final = Mode.READ
WRITE: Final = Mode.WRITE


@dataclass(frozen=True, slots=True)
class ArchiveInfo:
    """One archive of a repository."""

    name: str
    id: str  # 64 hex digits
    started_at: datetime  # by the clock of the one who made it
    comment: str

    @property
    def is_checkpoint(self) -> bool:
        """Whether an interrupted run left it: never a snapshot."""
        return CHECKPOINT in self.name


class Repository:
    """An opened repository; made by ``open_repository`` only."""

    def __init__(self, path: Path, borg: Any, manifest: Any, key: Any, home: Path) -> None:  # noqa: ANN401
        self.path = path
        self.id: str = borg.id_str
        self._borg = borg
        self._manifest = manifest
        self._key = key
        self._home = home

    def archives(self, *, checkpoints: bool = False) -> list[ArchiveInfo]:
        """Return the archives, newest first, as they were when the repository was opened.

        Args:
            checkpoints: also what interrupted runs left.

        Raises:
            ArchiveListUnreadable: it cannot be read whole; never an empty list by mistake.
        """
        found = []
        try:
            with mapped(self.path):
                for each in self._manifest.archives.list():
                    if CHECKPOINT in each.name and not checkpoints:
                        continue
                    comment = self._metadata(each.id).get("comment", "")
                    started = each.ts.astimezone(UTC)
                    found.append(ArchiveInfo(each.name, each.id.hex(), started, comment))
        except (ArmoireError, ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
            raise ArchiveListUnreadable(str(self.path), _reason(error)) from error
        return sorted(found, key=lambda each: (each.started_at, each.name), reverse=True)

    def entries(self, archive_id: str) -> Iterator[Entry]:
        """Yield every item of the archive, in its order.

        Raises:
            RepositoryDamaged: part of it is missing or altered; what was yielded is not the whole.
        """
        return items.entries(self.raw_items(archive_id))

    def raw_items(self, archive_id: str) -> Iterator[items.RawItem]:
        """Yield every item as Borg stores it (byte keys), parts in checkpoints included.

        Raises:
            RepositoryDamaged: as ``entries``.
        """
        with mapped(self.path):
            ids = self._metadata(bytes.fromhex(archive_id)).items
        return self._damage_named(items.raw_items(self.fetch(ids)))

    def fetch(self, ids: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the plaintext of each chunk, in order, each verified against its id.

        Raises:
            RepositoryDamaged: a chunk is missing or altered.
        """
        for identity in ids:
            with mapped(self.path):
                plain = self._key.decrypt(identity, self._borg.get(identity))
            yield plain

    @contextmanager
    def new_archive(
        self,
        name: str,
        comment: str = "",
        *,
        previous: str | None = None,
        started_at: datetime | None = None,
        checkpoint_s: float = CHECKPOINT_S,
        lock_wait_s: float = 1.0,
    ) -> Iterator[NewArchive]:
        """Yield an archive to write; what was not saved or checkpointed is undone by leaving.

        Args:
            name: letters, digits, «-»; never a person's.
            comment: stored with it.
            previous: id of the archive that changes are counted from, 64 hex digits. What interrupted
                runs left in checkpoints is known too.
            started_at: aware; now when None.
            checkpoint_s: seconds between two checkpoints.
            lock_wait_s: how long to wait for the cache.

        Raises:
            AlreadyExists: the name is taken.
            RepositoryDamaged: an earlier archive cannot be read whole.
            RepositoryLocked, NoSpace.
        """
        if name in self._manifest.archives:
            raise AlreadyExists("archive", name)
        known = Previous()
        everything = self.archives(checkpoints=True)
        base = next((each for each in everything if each.id == previous), None)
        if previous is not None and base is None:
            raise NotFound("archive", previous)
        if base is not None:
            known.load(self.raw_items(base.id), base.started_at.timestamp(), is_base=True)
        checkpoints = [each for each in reversed(everything) if each.is_checkpoint]
        for each in checkpoints:
            known.load(self.raw_items(each.id), each.started_at.timestamp(), is_base=False)
        with mapped(self.path), borg_environment(self._home):
            cache = BorgCache(self._borg, self._key, self._manifest, lock_wait=lock_wait_s)
        archive: NewArchive | None = None
        try:
            archive = NewArchive(
                self.path,
                self._borg,
                self._manifest,
                self._key,
                cache,
                name=name,
                comment=comment,
                started_at=started_at or utc_now(),
                previous=known,
                checkpoints=[each.name for each in checkpoints],
                checkpoint_s=checkpoint_s,
            )
            yield archive
        finally:
            if archive is not None:
                archive.close()
            with mapped(self.path):
                cache.close()

    def _damage_named(self, source: Iterator[items.RawItem]) -> Iterator[items.RawItem]:
        with mapped(self.path):
            yield from source

    def _metadata(self, archive_id: bytes) -> Any:  # noqa: ANN401 - Borg's own class
        data = self._key.decrypt(archive_id, self._borg.get(archive_id))
        # As Borg itself reads: an archive pushed by an old Borg carries no authentication of its own;
        # the chunk it lies in is authenticated in any case.
        unpacked, _verified, _salt = self._key.unpack_and_verify_archive(
            data, force_tam_not_required=True
        )
        metadata = ArchiveItem(internal_dict=unpacked)
        if metadata.version != 1:
            raise RepositoryDamaged(str(self.path), "an archive of a later version")
        return metadata


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return reason if isinstance(reason, str) else type(error).__name__


_opened: set[Path] = set()
_opened_door = threading.Lock()


@contextmanager
def open_repository(
    path: Path,
    passphrase: Secret,
    home: Path,
    *,
    expected_id: str | None = None,
    mode: Mode = Mode.READ,
    lock_wait_s: float = 1.0,
) -> Iterator[Repository]:
    """Yield the repository at ``path``, locked; what was not committed when an error leaves is undone.

    Args:
        path: the repository.
        passphrase: opens its key; never put into the environment, not kept.
        home: Borg's home on this box (cache, security folder).
        expected_id: 64 hex digits that must be found there.
        mode: READ takes a shared lock, WRITE an exclusive one.
        lock_wait_s: how long to wait for another process, seconds.

    Raises:
        RepositoryMissing: nothing lies there (an empty mount point is no empty repository).
        RepositoryReplaced: another id, or an older state than this box has seen.
        RepositoryLocked: another process works on it, or this one already has it open.
        WrongPassphrase, RepositoryDamaged, ArchiveListUnreadable, NoSpace.
    """
    path = path.absolute()
    check_identity(path, expected_id)
    with alone_in_process(path), _locked(path, mode, lock_wait_s, home) as borg:
        with mapped(path), borg_environment(home):
            manifest, key = _load(borg, path, passphrase)
            assert_secure(borg, manifest, lock_wait_s)
        yield Repository(path, borg, manifest, key, home)


@contextmanager
def alone_in_process(path: Path) -> Iterator[None]:
    """Keep the repository at ``path`` for one user of this process: Borg's lock is per process.

    Raises:
        RepositoryLocked: this process has it open already.
    """
    real = path.resolve()
    with _opened_door:
        if real in _opened:
            raise RepositoryLocked(str(path))
        _opened.add(real)
    try:
        yield
    finally:
        with _opened_door:
            _opened.discard(real)


@contextmanager
def _locked(path: Path, mode: Mode, lock_wait_s: float, home: Path) -> Iterator[Any]:
    with mapped(path), borg_environment(home):
        break_dead_lock(path)
        borg = BorgRepository(
            str(path), exclusive=mode is Mode.WRITE, lock_wait=lock_wait_s
        ).__enter__()
    try:
        yield borg
    except BaseException:
        # Give the space of what was not committed back at once; a full disk needs it most.
        with suppress(Exception):
            if mode is Mode.WRITE:
                borg._rollback(cleanup=borg._active_txn)  # noqa: SLF001 - as Borg's own __exit__
        raise
    finally:
        with mapped(path):
            borg.close()


def _load(borg: Any, path: Path, passphrase: Secret) -> tuple[Any, Any]:  # noqa: ANN401
    try:
        data = borg.get(Manifest.MANIFEST_ID)
    except BorgRepository.ObjectNotFound as error:
        raise ArchiveListUnreadable(str(path), "the list of archives is missing") from error
    except LowIntegrityError as error:
        raise ArchiveListUnreadable(str(path), "stored bytes were altered") from error
    key = unlock(borg, path, passphrase, data)
    try:
        key.init_ciphers(data)
        manifest, _key = Manifest.load(borg, (Manifest.Operation.READ,), key=key)
    except (LowIntegrityError, ValueError, msgpack.UnpackException) as error:
        raise ArchiveListUnreadable(str(path), "stored bytes were altered") from error
    return manifest, key
