"""One reading of a machine: from the entries of a walk to the items of an archive, in order.

Reading runs ahead of writing as far as the window allows; items are written in the order of the walk.
"""

import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from appliance.backup_jobs import sftp_packets as packets
from appliance.backup_jobs.borg_library import WHOLE_BYTES, Meta, PreviousItem, Stored
from appliance.backup_jobs.borg_library_patterns import Excludes
from appliance.backup_jobs.sftp import SftpClient, SftpRefused
from appliance.backup_jobs.sftp_packets import Attributes
from appliance.backup_jobs.sftp_pipeline import SMALL_COST, Pipeline
from appliance.backup_jobs.sftp_reads import FileRead, Reads
from appliance.backup_jobs.sftp_walk import REASONS, Deep, Found, Limits, Trouble, Walk
from appliance.backup_jobs.sources import Stream
from appliance.backup_jobs.sources.deep_reading import DeepReading, RunCommand
from appliance.backup_jobs.sources.defaults import DEFAULT_EXCLUDES, is_legacy_junction
from appliance.backup_jobs.sources.roots import resolved
from appliance.backup_jobs.sources.writing import Writing
from appliance.errors import RootUnreadable
from appliance.model import ReadEventKind, Source, System
from appliance.policy.live_databases import ENGINE_NAMES, detect_live_database
from appliance.units import MIB, NS_PER_S

#: SFTP tells whole seconds, and FAT on a machine every second one.
RACY_S: Final = 3.0
#: A larger file that changed while it was read is not read a second time.
RETRY_BYTES: Final = 256 * MIB
#: PATH_MAX less the longest name. Windows' own server has no such limit.
_LISTED_PATH_BYTES: Final = {System.LINUX: 4095 - 256, System.MACOS: 1023 - 256}
_PENDING: Final = 4_000  # items waiting for their turn
_REPORT_S: Final = 0.25
_LATEST_S: Final = 2**31 - 2 * 86_400  # what Borg stores; see SUPPORT_32BIT_PLATFORMS there
_SUSPECT_ENDINGS: Final = frozenset({b".ibd", b".mdf", b".ldf", b".fic", b".dbf"})
_SUSPECT_NAMES: Final = frozenset({b"pg_version", b"ibdata1"})


@dataclass(frozen=True, slots=True)
class PullOptions:
    """How a source is read."""

    limits: Limits = field(default_factory=Limits)
    racy_s: float = RACY_S
    #: How far the machine's clock is behind the box's, in seconds; widens the racy window.
    clock_behind_s: float = 0.0
    default_excludes: bool = True
    checkpoint_s: float = 300.0
    live_databases: bool = True  # warn of raw copies; off where a shadow makes them whole


class _ReadFailed(Exception):
    """The machine refused in the middle of a file."""


class _Item:
    """An entry whose turn has not come: waits for the network, or for the ones before it."""

    __slots__ = (
        "attempt",
        "deep",
        "found",
        "meta",
        "prefix",
        "previous",
        "read",
        "stored",
        "target",
        "waits",
    )

    def __init__(self, found: Found, meta: Meta, previous: PreviousItem | None) -> None:
        self.found = found
        self.meta = meta
        self.previous = previous
        self.read: FileRead | None = None
        self.stored: Stored | None = None  # content that an earlier archive held
        self.attempt = 1
        self.prefix: list[tuple[bytes, int, int]] = []
        self.deep: Deep | None = None  # a folder to read in another way
        self.waits = False  # for what a link points to
        self.target: bytes | None = None


class Reading:
    """Reads a source once: ``streams``, then ``roots``; what it finds goes to ``out``."""

    def __init__(
        self,
        source: Source,
        out: Writing,
        options: PullOptions,
        run_command: RunCommand | None = None,
    ) -> None:
        self._source = source
        self._out = out
        self._archive = out.archive
        self._options = options
        self._run_command = run_command
        self._racy_s = options.racy_s + max(0.0, options.clock_behind_s)
        defaults = DEFAULT_EXCLUDES[source.system] if options.default_excludes else ()
        excludes = Excludes(
            (*defaults, *source.excludes), ignore_case=source.system is System.WINDOWS
        )
        self._excluded: Callable[[bytes, bytes], bool] = excludes.match
        self._names_of: dict[tuple[int, int], tuple[bytes | None, bytes | None]] = {}
        self._pending: deque[_Item] = deque()
        self._new_here: set[int] = set()  # hashes of paths that could come a second time
        self._roots: dict[bytes, str] = {}
        self._pipeline: Pipeline
        self._reads: Reads
        self._walk: Walk

    # --- what goes in ----------------------------------------------------------------------

    def streams(self, streams: Iterable[Stream]) -> None:
        """Read what recipes make.

        Raises:
            RecipeFailed: a program behind one failed.
        """
        for stream in streams:
            self._out.report("dumping")
            meta = Meta(stat.S_IFREG | 0o600, int(time.time()) * NS_PER_S, 0, 0)
            previous = self._archive.previous(stream.path)
            stored = self._archive.store(self._counted(stream.open()), stream.path, meta)
            self._out.files_seen += 1
            self._new_here.add(hash(stream.path))
            self._out.add_file(stream.path, meta, stored, previous)

    def _counted(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self._out.done_bytes += len(block)
            self._out.idle()
            yield block

    def roots(
        self, pipeline: Pipeline, roots: Sequence[str], stored_as: Mapping[str, str] | None
    ) -> None:
        """Read everything under ``roots``.

        Raises:
            RootUnreadable, ConnectionLost, ProtocolViolation, JobCancelled.
        """
        self._pipeline = pipeline
        self._reads = Reads(pipeline)
        self._walk = Walk(
            pipeline,
            wanted=lambda stored, name: not self._excluded(stored, name),
            on_names=self._look_at_names,
            limits=self._options.limits,
            circles=self._source.system is System.WINDOWS,
            listed_path_bytes=_LISTED_PATH_BYTES.get(self._source.system),
        )
        self._out.report("reading")
        for root in resolved(SftpClient(pipeline), roots, self._source.system, stored_as):
            self._roots[root.stored] = root.stored.decode("utf-8", "replace")
            self._walk.add_root(root)
        while True:
            self._fill()
            if self._pending:
                self._advance()
            elif self._walk.ended:
                return
            self._out.idle()
            if self._archive.checkpoint_due:
                self._archive.checkpoint()

    # --- from the walk ---------------------------------------------------------------------

    def _fill(self) -> None:
        """Take entries from the walk as long as there is room to read ahead."""
        pending = self._pending
        count = 0
        while len(pending) < _PENDING and (not pending or self._reads.has_room):
            found = self._walk.next(wait=not pending)
            if found is None:
                return
            if isinstance(found, Trouble):
                self._trouble(found)
            elif isinstance(found, Deep):
                item = _Item(Found(found.remote, found.stored, Attributes(), b""), Meta(0, 0), None)
                item.deep = found
                self._pending.append(item)
            else:
                self._consider(found)
            count += 1
            if not count & 0xFF:
                self._out.idle()
                self._pipeline.pump(0)
                if self._archive.checkpoint_due:
                    return

    def _trouble(self, trouble: Trouble) -> None:
        if trouble.whole_folder and trouble.stored in self._roots:
            raise RootUnreadable(trouble.reason, "/" + self._roots[trouble.stored])
        if (
            self._source.system is System.WINDOWS
            and trouble.whole_folder
            and trouble.kind is ReadEventKind.UNREADABLE
            and is_legacy_junction(trouble.stored)
        ):
            return  # nothing of its own is behind it; a warning every night would hide the real ones
        self._out.event(trouble.kind, trouble.stored, trouble.reason)

    def _look_at_names(self, folder: bytes, names: list[bytes]) -> None:
        if not self._options.live_databases:
            return
        suspects = [
            name
            for name in names
            if name[-4:].lower() in _SUSPECT_ENDINGS or name.lower() in _SUSPECT_NAMES
        ]
        if suspects:
            engine = detect_live_database([name.decode("utf-8", "replace") for name in suspects])
            if engine is not None:
                self._out.event(ReadEventKind.LIVE_DATABASE, folder, ENGINE_NAMES[engine])

    def _consider(self, found: Found) -> None:
        stored_path = found.stored
        if not stored_path:
            return  # the top of the whole tree has no name
        attributes = found.attributes
        mode = attributes.mode
        if mode is None:
            attributes = self._ask_again(found)
            mode = attributes.mode
            if mode is None:
                return
        previous = self._archive.previous(stored_path)
        if self._came_before(stored_path, previous):
            self._out.event(ReadEventKind.NAME_REFUSED, stored_path, "a name that is there twice")
            return
        meta = self._meta(found, attributes, mode)
        kind = stat.S_IFMT(mode)
        item = _Item(found, meta, previous)
        if kind == stat.S_IFREG:
            self._consider_file(item, attributes)
        elif kind == stat.S_IFDIR:
            self._queue(item)
        elif kind == stat.S_IFLNK:
            self._consider_link(item, attributes)
        else:
            self._out.event(ReadEventKind.SKIPPED_SPECIAL, stored_path, "socket, device or pipe")
            self._out.lost(stored_path)

    def _came_before(self, path: bytes, previous: PreviousItem | None) -> bool:
        if previous is not None:
            return previous.again
        if self._walk.in_large_folder or self._new_here:
            digest = hash(path)
            if digest in self._new_here:
                return True
            if self._walk.in_large_folder:
                self._new_here.add(digest)
        return False

    def _ask_again(self, found: Found) -> Attributes:
        try:
            return SftpClient(self._pipeline).lstat(found.remote)
        except SftpRefused as error:
            self._out.event(ReadEventKind.UNREADABLE, found.stored, str(error))
            return Attributes()

    def _meta(self, found: Found, attributes: Attributes, mode: int) -> Meta:
        uid = -1 if attributes.uid is None else attributes.uid
        gid = -1 if attributes.gid is None else attributes.gid
        names = self._names_of.get((uid, gid))
        if names is None:
            names = _owner_names(found.long_name, self._source.system)
            if found.long_name:
                self._names_of[uid, gid] = names
        mtime = attributes.mtime or 0
        return Meta(mode, min(mtime, _LATEST_S) * NS_PER_S, uid, gid, names[0], names[1])

    def _consider_file(self, item: _Item, attributes: Attributes) -> None:
        self._out.files_seen += 1
        size = attributes.size or 0
        previous = item.previous
        if previous is not None and self._is_unchanged(previous, attributes, size):
            item.stored = self._archive.keep(previous.chunks)
            if item.stored is not None:
                self._out.done_bytes += size
                self._queue(item)
                return
        if size > self._options.limits.file_bytes:
            self._out.event(ReadEventKind.TOO_LARGE, item.found.stored, "larger than any disk")
            self._out.lost(item.found.stored)
            return
        offset = self._known_beginning(item, attributes, size) if size > WHOLE_BYTES else 0
        item.read = self._reads.begin(item.found.remote, size, offset)
        self._pending.append(item)

    def _is_unchanged(self, previous: PreviousItem, attributes: Attributes, size: int) -> bool:
        mtime = attributes.mtime
        return (
            mtime is not None
            and previous.size == size
            and previous.mtime_ns // NS_PER_S == min(mtime, _LATEST_S)
            and mtime + self._racy_s < previous.taken_s
            and stat.S_ISREG(previous.mode)
        )

    def _known_beginning(self, item: _Item, attributes: Attributes, size: int) -> int:
        """Return how much of the file an interrupted run has kept."""
        part = self._archive.part(item.found.stored)
        if (
            part is None
            or attributes.mtime is None
            or part.mtime_ns != item.meta.mtime_ns
            or part.size > size
            or attributes.mtime + self._racy_s >= part.taken_s
        ):
            return 0
        item.prefix = list(part.chunks)
        self._out.done_bytes += part.size
        return part.size

    def _consider_link(self, item: _Item, attributes: Attributes) -> None:
        found, previous = item.found, item.previous
        if not found.remote:
            item.target = found.long_name  # a root reached by a link, read under its real name
        elif (
            previous is not None
            and stat.S_ISLNK(previous.mode)
            and previous.mtime_ns == item.meta.mtime_ns
            and previous.size == attributes.size
            and (attributes.mtime or 0) + self._racy_s < previous.taken_s
        ):
            item.target = previous.content
        else:
            item.waits = True
            self._pipeline.used_bytes += SMALL_COST
            self._pipeline.send(
                packets.READLINK, found.remote, lambda kind, body: self._linked(item, kind, body)
            )
            self._pending.append(item)
            return
        self._queue(item)

    def _linked(self, item: _Item, kind: int, body: bytes) -> None:
        self._pipeline.used_bytes -= SMALL_COST
        item.waits = False
        if kind == packets.NAME:
            names = packets.read_names(body)
            if len(names) == 1 and names[0].name and b"\0" not in names[0].name:
                item.target = names[0].name

    def _queue(self, item: _Item) -> None:
        if self._pending:
            self._pending.append(item)
        else:
            self._write(item)

    # --- into the archive ------------------------------------------------------------------

    def _advance(self) -> None:
        """Write the first item, or wait a little for it."""
        item = self._pending[0]
        read = item.read
        if item.waits:
            self._pipeline.pump(0.5)
            return
        if item.deep is not None:
            self._pending.popleft()
            DeepReading(item.deep, self._out, self._excluded, _LATEST_S).run(self._run_command)
        elif read is None:
            self._pending.popleft()
            self._write(item)
        elif read.size > WHOLE_BYTES:
            self._pending.popleft()
            self._read_large(item, read)
        elif read.finished:
            self._pending.popleft()
            self._read_small(item, read)
            self._pipeline.pump(0)
        else:
            self._pipeline.pump(0.5)

    def _write(self, item: _Item) -> None:
        path = item.found.stored
        kind = stat.S_IFMT(item.meta.mode)
        if kind == stat.S_IFREG:
            assert item.stored is not None  # noqa: S101 - only kept files come here
            self._out.add_file(path, item.meta, item.stored, item.previous, kept=True)
        elif kind == stat.S_IFLNK and item.target is None:
            self._out.event(
                ReadEventKind.VANISHED, path, "a link that cannot be followed by its text"
            )
            self._out.lost(path)
        else:
            self._out.add_other(path, item.meta, item.target, item.previous)

    def _read_small(self, item: _Item, read: FileRead) -> None:
        if read.code is not None:
            self._unread(item, read.code)
            return
        data = read.take_all()
        self._out.done_bytes += len(data)
        if self._changed_meanwhile(item, read):
            return
        self._out.add_file(
            item.found.stored, item.meta, self._archive.store_whole(data), item.previous
        )

    def _read_large(self, item: _Item, read: FileRead) -> None:
        path = item.found.stored
        try:
            stored = self._archive.store(
                self._blocks(read), path, item.meta, prefix=item.prefix or None
            )
        except _ReadFailed:
            self._unread(item, read.code or packets.FAILURE)
            return
        if self._changed_meanwhile(item, read):
            self._archive.drop(stored)
            return
        self._out.add_file(path, item.meta, stored, item.previous)

    def _blocks(self, read: FileRead) -> Iterator[bytes]:
        for block in read.blocks(self._out.idle):
            self._out.done_bytes += len(block)
            self._out.idle()
            yield block
        if read.code is not None:
            raise _ReadFailed

    def _changed_meanwhile(self, item: _Item, read: FileRead) -> bool:
        """Return True when the file changed and is read a second time; note when it still does."""
        after = read.after or Attributes()
        whole = read.delivered == read.size - read.offset and not read.grew
        same_time = after.mtime is None or (
            min(after.mtime, _LATEST_S) * NS_PER_S == item.meta.mtime_ns
        )
        if whole and same_time and after.size in {None, read.size}:
            return False
        path = item.found.stored
        size = read.size if after.size is None else after.size
        if item.attempt == 1 and size <= RETRY_BYTES:
            item.attempt = 2
            mtime = item.meta.mtime_ns if after.mtime is None else after.mtime * NS_PER_S
            item.meta = item.meta._replace(mtime_ns=min(mtime, _LATEST_S * NS_PER_S))
            item.prefix = []
            item.read = self._reads.begin(item.found.remote, size, urgent=True)
            self._pending.appendleft(item)
            return True
        if read.grew and size > 2 * read.size + MIB:
            self._out.event(
                ReadEventKind.TOO_LARGE, path, "it grew while it was read; its beginning is kept"
            )
        elif whole:
            self._out.event(ReadEventKind.CHANGED_WHILE_READ, path, "it was written to meanwhile")
        else:
            self._out.event(
                ReadEventKind.CHANGED_WHILE_READ, path, "its size was another than announced"
            )
        # The time from before the reading is stored, so the next night reads it again.
        return False

    def _unread(self, item: _Item, code: int) -> None:
        missing = code == packets.NO_SUCH_FILE
        kind = ReadEventKind.VANISHED if missing else ReadEventKind.UNREADABLE
        self._out.event(kind, item.found.stored, REASONS.get(code, "it cannot be read"))
        self._out.lost(item.found.stored)


def _owner_names(long_name: bytes, system: System) -> tuple[bytes | None, bytes | None]:
    """Return owner and group out of a line like `ls -l`; None where it is not like that."""
    if system is System.WINDOWS or long_name[:1] not in b"-dlbcps" or not long_name:
        return None, None
    parts = long_name.split(None, 4)
    if len(parts) < 5 or not parts[1].isdigit() or len(parts[2]) > 64 or len(parts[3]) > 64:
        return None, None
    names = [None if part.isdigit() else part for part in parts[2:4]]
    return names[0], names[1]
