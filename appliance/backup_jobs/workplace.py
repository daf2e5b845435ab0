"""What a job on a repository has at hand, and what must be true before it writes."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from appliance.backup_jobs import borg_library, vault_access
from appliance.backup_jobs.borg import LOCK_WAIT_S, Borg
from appliance.backup_jobs.ssh import Endpoint
from appliance.catalogue import store
from appliance.db import facts, repositories, snapshots, sources
from appliance.errors import ClockWrong, InvalidInput, NoSpace
from appliance.jobs import clock_watch
from appliance.jobs.context import JobContext
from appliance.language import mark
from appliance.model import Repository, SnapshotId, Source, SourceId, SourceKind
from appliance.vault.secret import Secret

#: The clock may be so much behind the newest record: it was set right by a little.
CLOCK_TOLERANCE: Final = timedelta(hours=1)
_NEWEST_ID: Final = "snapshot.newest-id"


@dataclass(frozen=True, slots=True)
class Workplace:
    """One source, its repository and what opens it."""

    context: JobContext
    source: Source
    repository: Repository
    passphrase: Secret

    @property
    def path(self) -> Path:
        """Where the repository lies."""
        return Path(self.repository.path)

    @property
    def catalogue_path(self) -> Path:
        """Where the catalogue lies; the box's own is where no page and no command looks."""
        settings, source = self.context.settings, self.source
        if source.kind is SourceKind.BOX:
            return settings.state / f"{source.id}.sqlite"
        return store.path_of(settings, source.id)

    def told(self, path: bytes) -> bytes:
        """Return a file's path as it may be recorded: what the box keeps about itself is never named."""
        return b"" if self.source.kind is SourceKind.BOX else path

    def catalogue(self, *, create: bool = False) -> store.Catalogue:
        """Return the catalogue of the source.

        Raises:
            CatalogueMissing, CatalogueDamaged.
        """
        return store.opened(self.catalogue_path, create=create)

    @contextmanager
    def open(
        self, mode: borg_library.Mode = borg_library.Mode.READ
    ) -> Iterator[borg_library.Repository]:
        """Yield the repository opened in this process.

        Raises:
            What ``borg_library.open_repository`` raises.
        """
        with borg_library.open_repository(
            self.path,
            self.passphrase,
            self.context.settings.borg_home,
            expected_id=self.repository.borg_id,
            mode=mode,
            lock_wait_s=LOCK_WAIT_S,
        ) as opened:
            yield opened

    def borg(self) -> Borg:
        """Return the `borg` program for this repository; it stops when the job should."""
        context = self.context
        return Borg(self.path, self.passphrase, context.settings.borg_home, context.should_stop)


def workplace(context: JobContext, source_id: SourceId) -> Workplace:
    """Return the workplace of a source.

    Raises:
        NotFound: the source was removed, or its repository never made.
        SecretMissing, KeyMissing, SecretUnreadable: the repository cannot be opened.
    """
    with context.database.read() as connection:
        source = sources.get(connection, source_id)
        repository = repositories.get(connection, source_id)
        passphrase = vault_access.repository_passphrase(connection, context.settings, source_id)
    return Workplace(context, source, repository, passphrase)


def endpoint(place: Workplace) -> Endpoint:
    """Return how the box is let in on the machine of a pulled source.

    Raises:
        InvalidInput: the source has no address.
        SecretMissing, KeyMissing, SecretUnreadable: its key cannot be had.
    """
    source, context = place.source, place.context
    if source.host is None or source.user is None:
        raise InvalidInput("host", mark("This source has no machine."))
    with context.database.read() as connection:
        key = vault_access.machine_key(connection, context.settings, source.id)
    return Endpoint(source.host, source.port, source.user, source.host_key, key)


def check_space(place: Workplace) -> None:
    """Return when there is room for a night on every disk it writes to.

    Raises:
        NoSpace: less than ``settings.free_bytes_floor`` is free.
    """
    settings = place.context.settings
    for folder in (place.path, settings.data):
        # A missing folder is an unplugged disk; opening the repository says so in its own words.
        if folder.exists():
            free = shutil.disk_usage(folder).free
            if free < settings.free_bytes_floor:
                raise NoSpace(str(folder), free, settings.free_bytes_floor)


def check_clock(connection: Connection, source_id: SourceId, now: datetime) -> None:
    """Return when no snapshot of the source is dated after ``now``.

    Raises:
        ClockWrong: the newest is, by more than CLOCK_TOLERANCE.
    """
    newest = snapshots.newest(connection, source_id)
    if newest is None:
        return
    began = clock_watch.believed(connection, newest.started_at, snapshot_id=newest.id)
    if began > now + CLOCK_TOLERANCE:
        raise ClockWrong(now.isoformat(timespec="seconds"), began.isoformat(timespec="seconds"))


def reserve_snapshot_id(connection: Connection, now: datetime) -> SnapshotId:
    """Return an id never given out before, larger than all of them; kept even when the night fails.

    The id is needed long before the row: two nights of two sources run at the same time.
    """
    reserved = facts.find(connection, _NEWEST_ID)
    newest = max(snapshots.next_id(connection) - 1, reserved if isinstance(reserved, int) else 0)
    facts.put(connection, _NEWEST_ID, newest + 1, now=now)
    return SnapshotId(newest + 1)


def size_on_disk(folder: Path) -> int:
    """Return the bytes of every file below ``folder``."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - many
            except FileNotFoundError:
                continue  # a segment that is being replaced
    return total
