"""What a machine pushed by itself, read into the catalogue; ``jobs.pushed`` sees cheaply that it did.

The archive was made elsewhere, by a program that may be in somebody else's hands: nothing it says is
believed (dates, names), and an archive that disappeared is an alarm (``reconcile.check_vanished``).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from appliance.backup_jobs.borg_library import ArchiveInfo, Repository
from appliance.backup_jobs.live_databases import LiveDatabases
from appliance.backup_jobs.sources import EVENTS_KEPT, Taken
from appliance.catalogue.night import Night
from appliance.catalogue.rebuild import import_into
from appliance.jobs.context import JobContext
from appliance.model import Entry, EntryKind, ReadEvent, ReadEventKind

#: A machine's clock may be so much ahead of ours; its archive is then dated by ours.
CLOCK_TOLERANCE: Final = timedelta(minutes=5)


def dated(archive: ArchiveInfo, previous: datetime | None, now: datetime) -> datetime:
    """Return when a pushed archive was made, as far as it can be believed.

    The machine says it; but a date in the future, or before the snapshot that came before it, would
    mislead what is kept, so it is then the time it was read here.
    """
    if archive.started_at > now + CLOCK_TOLERANCE:
        return now
    if previous is not None and archive.started_at <= previous:
        return now
    return min(archive.started_at, now)


def import_pushed(
    repository: Repository, night: Night, context: JobContext, *, archive: ArchiveInfo
) -> Taken:
    """Name in ``night`` what is different in ``archive``; the caller commits the night.

    Args:
        repository: opened for reading.
        night: of the snapshot that will be listed.
        context: progress and stop.
        archive: what the machine pushed.

    Raises:
        RepositoryDamaged: part of the archive is missing or altered.
        JobCancelled: a person stopped it.
    """
    seen = _Seen(context)
    import_into(night, seen.all_of(repository.entries(archive.id)))
    events = [*seen.events, *seen.databases.events()]
    counts = seen.counts + Counter(event.kind for event in seen.databases.events())
    return Taken(
        archive=archive.name,
        archive_id=archive.id,
        files_seen=seen.files,
        items=seen.items,
        original_bytes=seen.bytes,
        new_bytes=0,
        changed=0,
        vanished=0,
        events=tuple(events[:EVENTS_KEPT]),
        event_counts=dict(counts),
    )


def with_counts(taken: Taken, *, changed: int, vanished: int, new_bytes: int) -> Taken:
    """Return ``taken`` with what is known once the night is committed."""
    return replace(taken, changed=changed, vanished=vanished, new_bytes=new_bytes)


class _Seen:
    """Counts the items as they pass."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self.items = self.files = self.bytes = 0
        self.events: list[ReadEvent] = []
        self.counts: Counter[ReadEventKind] = Counter()
        self.databases = LiveDatabases()

    def all_of(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        for entry in entries:
            self.items += 1
            if entry.kind is EntryKind.FILE:
                self.files += 1
                self.bytes += entry.size
                self.databases.see(entry.path)
            elif entry.kind is EntryKind.OTHER:
                self.counts[ReadEventKind.SKIPPED_SPECIAL] += 1
            if _is_odd(entry.path):
                # It is listed (the archive holds it), but a person is told: no honest Borg writes it.
                self.counts[ReadEventKind.NAME_REFUSED] += 1
                if len(self.events) < EVENTS_KEPT:
                    odd = ReadEvent(ReadEventKind.NAME_REFUSED, entry.path, "no path of a file")
                    self.events.append(odd)
            if self.items % 1000 == 0:
                self._context.check()
                self._context.report(self.bytes, files=self.files)
            yield entry


def _is_odd(path: bytes) -> bool:
    return path.startswith(b"/") or b"\0" in path or bool({b"..", b""} & set(path.split(b"/")))
