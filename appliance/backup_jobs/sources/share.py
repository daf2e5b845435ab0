"""A share of the box into an archive: `borg create` on the local tree, the changes from the archive.

Borg's own program keeps extended attributes, ACLs and hard links. Its listing shows names that are
not UTF-8 as «?» and does not show what vanished, so the listing gives counts and events, and what
changed is read from the items of the committed archive (docs/decisions/0061).
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from appliance.backup_jobs import borg as program
from appliance.backup_jobs import borg_library
from appliance.backup_jobs.borg import Borg
from appliance.backup_jobs.borg_events import ArchiveProgress, BorgEvent, FileStatus, LogMessage
from appliance.backup_jobs.recipes import live_database_events
from appliance.backup_jobs.sources import EVENTS_KEPT, Taken
from appliance.catalogue.store import Night
from appliance.errors import BorgFailed, RootUnreadable
from appliance.jobs.context import JobContext
from appliance.model import Entry, EntryKind, ReadEvent, ReadEventKind, Source

_READ: Final = frozenset("AMUCh")
#: What Borg's message ids of unread files mean. Source: borg/helpers/errors.py
_REASONS: Final = {
    "BackupPermissionError": (ReadEventKind.UNREADABLE, "permission denied"),
    "BackupFileNotFoundError": (ReadEventKind.VANISHED, "it was there when its folder was read"),
    "BackupIOError": (ReadEventKind.UNREADABLE, "the disk returned an error"),
    "BackupRaceConditionError": (ReadEventKind.CHANGED_WHILE_READ, "another file took its place"),
}
_OF_FOLDERS: Final = (": dir_open: ", ": scandir: ", ": listdir: ")


@dataclass
class _Listing:
    """What Borg says about each item while it reads. Used by one thread."""

    context: JobContext
    roots: frozenset[str]
    files_seen: int = 0
    events: list[ReadEvent] = field(default_factory=list)
    counts: Counter[ReadEventKind] = field(default_factory=Counter)
    root_failed: str | None = None
    _last: LogMessage | None = None

    def read(self, event: BorgEvent) -> None:
        match event:
            case FileStatus(status="E", path=path):
                self._unread(path)
            case FileStatus(status="C", path=path):
                self.files_seen += 1
                self._add(ReadEventKind.CHANGED_WHILE_READ, path, "it was written to meanwhile")
            case FileStatus(status=status) if status in _READ:
                self.files_seen += 1
            case LogMessage() if event.is_grave:
                self._last = event
            case ArchiveProgress(finished=False):
                self.context.report(event.original_bytes, files=event.files)
            case _:
                pass

    def _unread(self, path: str) -> None:
        last = self._last
        kind, reason = _REASONS.get(
            last.msgid if last else "", (ReadEventKind.UNREADABLE, "it cannot be read")
        )
        if path.rstrip("/") in self.roots:
            self.root_failed = path
        if last is None or not any(words in last.message for words in _OF_FOLDERS):
            self.files_seen += 1
        self._add(kind, path, reason)

    def _add(self, kind: ReadEventKind, path: str, reason: str) -> None:
        self.counts[kind] += 1
        if len(self.events) < EVENTS_KEPT:
            stored = os.fsencode(path).lstrip(b"/")
            self.events.append(ReadEvent(kind, stored, reason))


def take_share(
    source: Source, borg: Borg, night: Night, context: JobContext, *, archive: str, comment: str
) -> Taken:
    """Read a share into ``archive`` and name in ``night`` what changed; the caller commits the night.

    Safe to run again after a crash: Borg keeps a checkpoint at most CHECKPOINT_S old, the night is
    not committed.

    Args:
        source: a share; its roots are folders of the box.
        borg: the program, with the repository; nobody else holds it open.
        night: of the snapshot that will be listed.
        context: progress and stop.
        archive: the new archive's name.
        comment: stored with the archive.

    Raises:
        RootUnreadable: the folder itself cannot be read; no archive is left.
        JobCancelled: no archive was saved.
        BackupError, NoSpace: as ``Borg.call``.
    """
    for root in source.roots:
        _check_root(root)
    listing = _Listing(context, frozenset(root.rstrip("/") for root in source.roots))
    argv = program.create(
        borg.repository, archive, source.roots, comment=comment, excludes=source.excludes
    )
    # Counts of everything the listing showed: 2 µs an item in our process.
    run = borg.call(argv, on_event=listing.read)
    if listing.root_failed is not None:
        borg.call(program.delete(borg.repository, [archive]))
        raise RootUnreadable("it could not be opened", listing.root_failed)
    return _taken(run.stdout, listing, borg, night, archive)


def _check_root(root: str) -> None:
    try:
        with os.scandir(root) as entries:
            next(entries, None)
    except OSError as error:
        raise RootUnreadable(os.strerror(error.errno or 0), root) from error


def _taken(stdout: str, listing: _Listing, borg: Borg, night: Night, archive: str) -> Taken:
    try:
        made = json.loads(stdout)["archive"]
        archive_id = str(made["id"])
        original, new = int(made["stats"]["original_size"]), int(made["stats"]["deduplicated_size"])
    except (ValueError, KeyError, TypeError) as error:
        raise BorgFailed(0, "its statistics cannot be read") from error
    listing.context.step("cataloguing")
    items = changed = vanished = 0
    state = night.state()

    def settled(entries: Iterable[Entry]) -> Iterator[Entry]:
        nonlocal items, changed
        for entry in entries:
            items += 1
            if not state.settles(entry):
                night.put(entry)
                changed += entry.kind is EntryKind.FILE
            yield entry

    with borg_library.open_repository(
        borg.repository, borg.passphrase, borg.home, lock_wait_s=program.LOCK_WAIT_S
    ) as repository:
        databases = live_database_events(settled(repository.entries(archive_id)))
    listing.events += databases
    listing.counts.update(event.kind for event in databases)
    for path in state.left():
        night.gone(path)
        vanished += 1
    return Taken(
        archive=archive,
        archive_id=archive_id,
        files_seen=listing.files_seen,
        items=items,
        original_bytes=original,
        new_bytes=new,
        changed=changed,
        vanished=vanished,
        events=tuple(listing.events),
        event_counts=dict(listing.counts),
    )
