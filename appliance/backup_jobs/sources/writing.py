"""From items to the archive and to the night: what is written, what changed, what is told."""

import stat
import time
from collections import Counter
from typing import Final, Protocol

from appliance.backup_jobs.borg_library import Meta, NewArchive, PreviousItem, Stored
from appliance.backup_jobs.borg_library_items import pack_chunks
from appliance.backup_jobs.sources import EVENTS_KEPT
from appliance.errors import JobCancelled
from appliance.model import Entry, EntryKind, ReadEvent, ReadEventKind

_REPORT_S: Final = 0.25


class Night(Protocol):
    """Where changes go (``catalogue.store.Night``)."""

    def put(self, entry: Entry) -> None:
        """New, or changed since the previous snapshot."""

    def gone(self, path: bytes) -> None:
        """In the previous snapshot, not in this one."""


class Reporter(Protocol):
    """What is asked of a job's context (``jobs.context.JobContext``)."""

    def report(
        self,
        done: int,
        total: int | None = None,
        unit: str = "bytes",
        *,
        files: int | None = None,
        step: str | None = None,
    ) -> None:
        """Say how far it is."""

    def should_stop(self) -> bool:
        """Return whether to stop."""
        ...


class Writing:
    """Writes items in the order they are given, and counts."""

    def __init__(self, archive: NewArchive, night: Night, context: Reporter) -> None:
        self.archive = archive
        self._night = night
        self._context = context
        self._reported_at = 0.0
        self.done_bytes = 0
        self.files_seen = 0
        self.changed = 0
        self.vanished = 0
        self.events: list[ReadEvent] = []
        self.counts: Counter[ReadEventKind] = Counter()

    # --- items -----------------------------------------------------------------------------

    def add_file(
        self,
        path: bytes,
        meta: Meta,
        stored: Stored,
        previous: PreviousItem | None,
        *,
        kept: bool = False,
    ) -> None:
        """Add a regular file; ``kept``: its content is that of ``previous``."""
        self.archive.add_file(path, meta, stored)
        base = self._base(path, previous)
        same = False
        if base is not None and stat.S_ISREG(base.mode):
            same = (kept and base is previous) or (
                base.size == stored.size
                and [each[0] for each in base.chunks] == [each[0] for each in stored.chunks]
            )
            if same and _same_meta(base, meta):
                return
        self.changed += not same
        self._put(path, EntryKind.FILE, meta, stored.size, chunks=pack_chunks(stored.chunks))

    def add_other(
        self, path: bytes, meta: Meta, target: bytes | None, previous: PreviousItem | None
    ) -> None:
        """Add a folder, or a link with its target."""
        self.archive.add_other(path, meta, target)
        base = self._base(path, previous)
        if base is not None and _same_meta(base, meta) and base.content == (target or b""):
            return
        kind = EntryKind.FOLDER if target is None else EntryKind.LINK
        self._put(path, kind, meta, 0, target=target)

    def lost(self, path: bytes) -> None:
        """Name a path as gone that is not in this archive although the source showed it."""
        base = self.archive.in_base(path)
        if base is not None:
            self._night.gone(path)
            self.vanished += stat.S_ISREG(base.mode)

    def finish(self) -> None:
        """Name what the previous archive had and this one has not."""
        for path, is_file in self.archive.vanished():
            self._night.gone(path)
            self.vanished += is_file
        self.report("saving")

    def _base(self, path: bytes, previous: PreviousItem | None) -> PreviousItem | None:
        if previous is None or previous.in_base:
            return previous
        return self.archive.in_base(path)

    def _put(
        self,
        path: bytes,
        kind: EntryKind,
        meta: Meta,
        size: int,
        *,
        chunks: bytes = b"",
        target: bytes | None = None,
    ) -> None:
        self._night.put(
            Entry(
                path=path,
                kind=kind,
                size=size,
                mtime_ns=meta.mtime_ns,
                mode=meta.mode,
                uid=None if meta.uid < 0 else meta.uid,
                gid=None if meta.gid < 0 else meta.gid,
                owner=None if meta.owner is None else meta.owner.decode("utf-8", "replace"),
                group=None if meta.group is None else meta.group.decode("utf-8", "replace"),
                target=target,
                chunks=chunks,
            )
        )

    # --- telling ---------------------------------------------------------------------------

    def event(self, kind: ReadEventKind, path: bytes, reason: str) -> None:
        """Count something met while reading; ``reason`` holds no path."""
        self.counts[kind] += 1
        if len(self.events) < EVENTS_KEPT:
            self.events.append(ReadEvent(kind, path, reason))

    def idle(self) -> None:
        """Report now and then; cheap.

        Raises:
            JobCancelled: a person asked to stop.
        """
        now = time.monotonic()
        if now - self._reported_at > _REPORT_S:
            self._reported_at = now
            if self._context.should_stop():
                raise JobCancelled
            self.report()

    def report(self, step: str | None = None) -> None:
        """Say how far it is."""
        total = self.archive.previous_bytes or None
        self._context.report(self.done_bytes, total, files=self.files_seen, step=step)


def _same_meta(base: PreviousItem, meta: Meta) -> bool:
    return (
        base.mtime_ns == meta.mtime_ns
        and base.mode == meta.mode
        and base.uid == meta.uid
        and base.gid == meta.gid
    )
