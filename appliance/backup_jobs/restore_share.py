"""A share brought back whole after a disaster: its newest snapshot, with rights and extended attributes.

Unlike a restore that a person asks for, everything takes its own name; what has that name already is left
as it is, so that it can be called again after any cut.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.backup_jobs import borg_library, vault_access
from appliance.backup_jobs.borg import LOCK_WAIT_S
from appliance.backup_jobs.borg_library_attributes import FullItem, full_items
from appliance.backup_jobs.borg_library_items import unpack_chunks
from appliance.backup_jobs.restore_places import (
    AlreadyThere,
    CannotPlace,
    LocalPlace,
    Parts,
    safe_parts,
)
from appliance.backup_jobs.sources.roots import root_paths
from appliance.db import repositories, snapshots, sources
from appliance.db.engine import open_database
from appliance.errors import InvalidInput, JobCancelled, NotFound, RepositoryDamaged
from appliance.language import mark
from appliance.model import Entry, EntryKind, SourceId, SourceKind, System
from appliance.settings import Settings


@dataclass
class ShareBack:
    """What came back."""

    files: int = 0  # there and right, those of an earlier call included
    bytes: int = 0  # of those
    folders: int = 0
    links: int = 0
    left_alone: int = 0  # something else had their name
    failed: int = 0  # not read from the snapshot, or not written


def _ignore(_done: ShareBack) -> None:
    pass


def restore_share(
    settings: Settings,
    source_id: int,
    into: Path | None,
    *,
    should_stop: Callable[[], bool],
    on_file: Callable[[ShareBack], None] = _ignore,
) -> ShareBack:
    """Restore the newest snapshot of a share; what has its name taken is left alone.

    Args:
        settings: of the box.
        source_id: a share.
        into: an existing folder that takes what lay in the share; None: the share's own folder, made
            when it is not there.
        should_stop: asked between two items.
        on_file: told what is back, after every file.

    Raises:
        NotFound: no such source, or it has no snapshot.
        InvalidInput: it is no share.
        JobCancelled: ``should_stop`` said so; what came stays, call again.
        RepositoryError, VaultError: nothing more comes.
    """
    number = SourceId(source_id)
    database = open_database(settings.database)
    try:
        with database.read() as connection:
            source = sources.get(connection, number)
            if source.kind is not SourceKind.SHARE:
                raise InvalidInput("source", mark("This is not a share of the box."))
            newest = snapshots.newest(connection, number)
            if newest is None:
                raise NotFound("snapshot", source.name)
            then = snapshots.root(connection, newest.id)  # it may have been moved since
            known = repositories.get(connection, number)
            passphrase = vault_access.repository_passphrase(connection, settings, number)
    finally:
        database.close()
    folder, stored = Path(source.roots[0]), root_paths(then or source.roots[0], System.LINUX)[1]
    if into is None:
        folder.mkdir(parents=True, exist_ok=True)
    base = folder if into is None else into
    with borg_library.open_repository(
        Path(known.path),
        passphrase,
        settings.borg_home,
        expected_id=known.borg_id,
        lock_wait_s=LOCK_WAIT_S,
    ) as repository:
        work = _Work(repository, base, stored, should_stop, on_file)
        work.run(newest.archive_id)
    return work.done


class _Work:
    def __init__(
        self,
        repository: borg_library.Repository,
        base: Path,
        stored: bytes,
        should_stop: Callable[[], bool],
        on_file: Callable[[ShareBack], None],
    ) -> None:
        self._on_file = on_file
        self._repository = repository
        self._base = base
        self._place = LocalPlace(base, replace=False, keep_owner=True, mode_bits=0o3777)
        self._stored = stored
        self._should_stop = should_stop
        self._folders: list[tuple[Parts, FullItem]] = []
        self.done = ShareBack()

    def run(self, archive_id: str) -> None:
        for item in full_items(self._repository, archive_id):
            if self._should_stop():
                raise JobCancelled
            path = item.entry.path
            if path == self._stored or path.startswith(self._stored + b"/"):
                try:
                    self._one(item, safe_parts(path[len(self._stored) :].lstrip(b"/")))
                except AlreadyThere:
                    self.done.left_alone += 1
                except (CannotPlace, RepositoryDamaged):
                    self.done.failed += 1
        # Deepest first, and only now: writing into a folder changes its time.
        for parts, item in sorted(self._folders, key=lambda each: -len(each[0])):
            try:
                self._place.finish_folder(parts, item)
            except (CannotPlace, OSError):
                self.done.failed += 1
        self._place.settle()

    def _one(self, item: FullItem, parts: Parts) -> None:
        entry, place, done = item.entry, self._place, self.done
        match entry.kind:
            case EntryKind.FOLDER:
                place.make_folder(parts)
                self._folders.append((parts, item))
                done.folders += 1
            case EntryKind.LINK:
                if not self._is_back(entry, parts):
                    place.link(parts, entry.target or b"")
                done.links += 1
            case EntryKind.FILE:
                if not (self._is_back(entry, parts) or self._is_joined(item, parts)):
                    ids = [identity for identity, _ in unpack_chunks(entry.chunks)]
                    place.write(parts, item, self._repository.fetch(ids))
                done.files += 1
                done.bytes += entry.size
                self._on_file(done)
            case EntryKind.OTHER:
                pass  # sockets and pipes hold nothing

    def _is_joined(self, item: FullItem, parts: Parts) -> bool:
        """Give the file another name where the snapshot says so and its first name came back."""
        known = item.same_as
        if known is None or not known.startswith(self._stored + b"/"):
            return False
        first = safe_parts(known[len(self._stored) + 1 :])
        if not self._is_back(item.entry, first):
            return False
        try:
            self._place.join(parts, first)
        except AlreadyThere:
            raise
        except CannotPlace:  # a disk without such names: a file of its own
            return False
        return True

    def _is_back(self, entry: Entry, parts: Parts) -> bool:
        """Say whether an earlier call, which was cut, brought this: a file appears whole or not at all."""
        path = os.path.join(os.fsencode(self._base), *parts)  # noqa: PTH118 - bytes
        try:
            if entry.kind is EntryKind.LINK:
                return os.readlink(path) == entry.target  # noqa: PTH115 - bytes
            found = os.lstat(path)
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (entry.size, entry.mtime_ns)
