"""Walking a tree over SFTP: listings run ahead, entries come out in one order.

Depth first, names sorted by their bytes, a folder before what is in it: the order does not depend
on the network, so an unchanged tree gives an unchanged item stream. A folder larger than
RUN_ENTRIES is sorted in runs, so memory does not grow with it. Links are never followed.
"""

import stat
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from appliance.backup_jobs import sftp_packets as packets
from appliance.backup_jobs.sftp_packets import Attributes, Malformed
from appliance.backup_jobs.sftp_pipeline import SMALL_COST, Pipeline
from appliance.errors import ProtocolViolation
from appliance.model import ReadEventKind

RUN_ENTRIES: Final = 20_000
_AHEAD_ENTRIES: Final = 20_000
_ANSWER_COST: Final = 16 * 1024  # a READDIR of OpenSSH: at most 100 names


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a tree stops being believed."""

    folder_entries: int = 5_000_000
    depth: int = 400  # folders in folders
    path_bytes: int = 32_768
    name_bytes: int = 1_024  # the longest any file system has is 765
    entries: int = 50_000_000
    file_bytes: int = 16 * 1024**4


class Found(NamedTuple):
    """One entry of the tree."""

    remote: bytes  # path as the server wants it
    stored: bytes  # path as the archive has it
    attributes: Attributes
    long_name: bytes


class Trouble(NamedTuple):
    """Something in the tree that is not an entry."""

    kind: ReadEventKind
    stored: bytes
    reason: str
    #: The folder itself could not be opened, or only the rest of it could not be read.
    whole_folder: bool = False


class Deep(NamedTuple):
    """A folder whose path is too long for its entries to be listed whole."""

    remote: bytes
    stored: bytes


class _Folder:
    __slots__ = (
        "asked",
        "children",
        "closed",
        "collected",
        "count",
        "depth",
        "digest",
        "ended",
        "handle",
        "in_flight",
        "large",
        "name",
        "outer",
        "remote",
        "run",
        "stored",
        "troubles",
        "width",
    )

    def __init__(
        self,
        remote: bytes,
        stored: bytes,
        depth: int,
        name: bytes = b"",
        outer: "_Folder | None" = None,
    ) -> None:
        self.remote = remote
        self.stored = stored
        self.depth = depth
        self.name = name
        self.outer = outer  # the folder it is in
        self.digest = 0  # of its first entries
        self.asked = False
        self.ended = False  # no more will come
        self.closed = False
        self.handle = b""
        self.in_flight = 0
        self.width = 2  # READDIRs at once
        self.count = 0
        self.large = False  # listed in more than one run
        self.collected: list[packets.Name] = []
        self.run: list[packets.Name] = []  # sorted, the next one last
        self.children: dict[bytes, _Folder] = {}
        self.troubles: list[Trouble | Deep] = []


class Walk:
    """The entries of some roots, one after the other."""

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        wanted: Callable[[bytes, bytes], bool],
        on_names: Callable[[bytes, list[bytes]], None],
        limits: Limits,
        circles: bool = False,
        listed_path_bytes: int | None = None,
    ) -> None:
        """Prepare a walk.

        Args:
            pipeline: the session.
            wanted: asked with the stored path and the name of each entry; no is never looked into.
            on_names: told the stored path of a folder and the names in it, a run at a time.
            limits: where it stops.
            circles: whether a folder may really be one that it lies in, as junctions of Windows do,
                which SFTP shows as folders.
            listed_path_bytes: a folder with a longer path is not listed but given out as ``Deep``: a
                server leaves entries beyond its PATH_MAX out of its answers without a word.
                Source: OpenSSH sftp-server.c, process_readdir, «lstat(pathname) == -1: continue».
        """
        self._pipeline = pipeline
        self._wanted = wanted
        self._on_names = on_names
        self._limits = limits
        self._circles = circles
        self._listed_path_bytes = listed_path_bytes or limits.path_bytes
        self._roots: deque[tuple[Found, _Folder | None]] = deque()
        self._stack: list[_Folder] = []
        self._todo: deque[_Folder] = deque()
        self._listing = 0  # folders being listed
        self._ahead = 0  # entries listed and not given out
        self._given = 0
        self.ended = False
        #: Whether the last entry given out is in a folder that was sorted in runs.
        self.in_large_folder = False

    def add_root(self, root: Found) -> None:
        """Add a root; a folder is walked, anything else is given out as it is."""
        folder = _Folder(root.remote, root.stored, 0) if root.attributes.is_folder else None
        self._roots.append((root, folder))
        if folder is not None:
            self._todo.append(folder)
            self._prefetch()

    def next(self, *, wait: bool) -> Found | Trouble | Deep | None:
        """Return the next entry or trouble; None when it is not there yet, or ``ended``.

        Args:
            wait: wait for the network instead of returning None.
        """
        while True:
            if not self._stack:
                if not self._roots:
                    self.ended = True
                    return None
                root, folder = self._roots.popleft()
                if folder is not None:
                    self._stack.append(folder)
                return root
            top = self._stack[-1]
            if top.run:
                return self._give(top, top.run.pop())
            if top.troubles:
                return top.troubles.pop(0)
            if top.ended:
                self._stack.pop()
                continue
            self._ask_on(top)
            if not wait:
                return None
            self._pipeline.pump(0.5)
            if not (top.run or top.ended or top.troubles):
                return None  # so that the caller can look whether to stop

    def _give(self, folder: _Folder, name: packets.Name) -> Found:
        self._ahead -= 1
        self._given += 1
        self.in_large_folder = folder.large
        if self._given > self._limits.entries:
            raise ProtocolViolation(self._pipeline.host, "a tree without end")
        child = folder.children.pop(name.name, None)
        if child is not None:
            self._stack.append(child)
            remote, stored = child.remote, child.stored
        else:
            remote = _join(folder.remote, name.name)
            stored = folder.stored + b"/" + name.name if folder.stored else name.name
        if not self._ahead & 0xFF:
            self._prefetch()
        return Found(remote, stored, name.attributes, name.long_name)

    # --- listing ---

    def _prefetch(self) -> None:
        most = min(64, self._pipeline.most_handles // 4)
        while self._todo and self._listing < most and self._ahead < _AHEAD_ENTRIES:
            folder = self._todo.popleft()
            if not folder.asked:
                self._begin(folder)

    def _ask_on(self, folder: _Folder) -> None:
        if not folder.asked:
            self._begin(folder)
        elif folder.handle and not folder.in_flight and not folder.ended:
            self._more(folder)

    def _begin(self, folder: _Folder) -> None:
        folder.asked = True
        if len(folder.remote) > self._listed_path_bytes:
            folder.troubles.append(Deep(folder.remote, folder.stored))
            folder.ended = True
            return
        self._listing += 1
        self._pipeline.used_bytes += SMALL_COST
        self._pipeline.send(
            packets.OPENDIR, folder.remote, lambda kind, body: self._opened(folder, kind, body)
        )

    def _opened(self, folder: _Folder, kind: int, body: bytes) -> None:
        self._pipeline.used_bytes -= SMALL_COST
        if kind == packets.STATUS:
            code = packets.read_status(body)
            missing = code == packets.NO_SUCH_FILE
            what = ReadEventKind.VANISHED if missing else ReadEventKind.UNREADABLE
            reason = REASONS.get(code, "it cannot be opened")
            folder.troubles.append(Trouble(what, folder.stored, reason, whole_folder=True))
            self._end(folder)
        elif kind == packets.HANDLE:
            folder.handle = packets.read_handle(body)
            self._more(folder)
        else:
            raise Malformed("another answer than a handle")

    def _more(self, folder: _Folder) -> None:
        while folder.in_flight < folder.width:
            folder.in_flight += 1
            self._pipeline.used_bytes += _ANSWER_COST
            self._pipeline.send(
                packets.READDIR, folder.handle, lambda kind, body: self._listed(folder, kind, body)
            )

    def _listed(self, folder: _Folder, kind: int, body: bytes) -> None:
        folder.in_flight -= 1
        self._pipeline.used_bytes -= _ANSWER_COST
        if kind == packets.NAME:
            names = packets.read_names(body)
            if folder.ended:
                return
            folder.count += len(names)
            folder.collected += names
            if not names or folder.count > self._limits.folder_entries:
                folder.troubles.append(
                    Trouble(ReadEventKind.LOOP, folder.stored, "a folder without end")
                )
                self._end(folder)
            elif len(folder.collected) >= RUN_ENTRIES:
                folder.large = True
                if not folder.in_flight:
                    self._seal(folder)  # a full run: the next one is asked for when it is needed
            else:
                folder.width = min(folder.width * 2, 32)
                self._more(folder)
        elif kind == packets.STATUS:
            code = packets.read_status(body)
            if folder.ended:
                return
            if code != packets.EOF:
                folder.troubles.append(
                    Trouble(
                        ReadEventKind.UNREADABLE,
                        folder.stored,
                        "it could be listed in part only",
                        whole_folder=not folder.count,
                    )
                )
            self._end(folder)
        else:
            raise Malformed("another answer than names")

    def _end(self, folder: _Folder) -> None:
        folder.ended = True
        self._listing -= 1
        if folder.handle:
            self._pipeline.send(packets.CLOSE, folder.handle, _ignore)
        self._seal(folder)
        self._prefetch()

    def _seal(self, folder: _Folder) -> None:
        """Sort what was listed so far, put it before what is given out, plan the folders in it."""
        if not folder.collected:
            return
        limits = self._limits
        kept: list[packets.Name] = []
        folder.collected.sort(key=_by_name, reverse=True)
        prefix = folder.stored + b"/" if folder.stored else b""
        if self._circles and not folder.digest:
            folder.digest = _digest(folder.collected)
            if self._is_a_circle(folder):
                self._turn_back(folder)
                return
        self._on_names(folder.stored, [each.name for each in folder.collected])
        folders: list[_Folder] = []
        last = b""
        for each in folder.collected:
            name = each.name
            if name in (b".", b".."):
                continue
            if not name or b"/" in name or b"\0" in name or len(name) > limits.name_bytes:
                reason = (
                    "a name too long"
                    if len(name) > limits.name_bytes
                    else "a name no file can have"
                )
                folder.troubles.append(Trouble(ReadEventKind.NAME_REFUSED, folder.stored, reason))
                continue
            if name == last:
                folder.troubles.append(
                    Trouble(ReadEventKind.NAME_REFUSED, folder.stored, "a name that is there twice")
                )
                continue
            last = name
            stored = prefix + name
            if not self._wanted(stored, name):
                continue
            mode = each.attributes.mode
            if mode is not None and stat.S_ISDIR(mode):
                remote = _join(folder.remote, name)
                if folder.depth >= limits.depth or len(remote) > limits.path_bytes:
                    folder.troubles.append(
                        Trouble(ReadEventKind.LOOP, stored, "folders in folders without end")
                    )
                    continue
                child = _Folder(remote, stored, folder.depth + 1, name, folder)
                folder.children[name] = child
                folders.append(child)
            kept.append(each)
        folder.collected = []
        folder.run = kept + folder.run if folder.run else kept
        self._ahead += len(kept)
        self._todo.extendleft(folders)  # names are sorted backwards, so the first ends up first

    def _is_a_circle(self, folder: _Folder) -> bool:
        """Whether a folder around it has the same name and shows the same entries."""
        outer = folder.outer
        while outer is not None:
            if outer.name == folder.name and outer.digest == folder.digest:
                return True
            outer = outer.outer
        return False

    def _turn_back(self, folder: _Folder) -> None:
        folder.collected = []
        folder.troubles.append(
            Trouble(ReadEventKind.LOOP, folder.stored, "a folder that leads back to one it lies in")
        )
        if not folder.ended:
            self._end(folder)


REASONS: Final = {
    packets.NO_SUCH_FILE: "it was there when its folder was listed",
    packets.PERMISSION_DENIED: "permission denied",
    packets.FAILURE: "the machine could not open it",
}


def _digest(names: list[packets.Name]) -> int:
    # Without the time of access: reading changes it.
    return hash(
        tuple([(n.name, n.attributes.mtime, n.attributes.size, n.attributes.mode) for n in names])
    )


def _by_name(name: packets.Name) -> bytes:
    return name.name


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + name if folder.endswith(b"/") else folder + b"/" + name


def _ignore(_kind: int, _body: bytes) -> None:
    pass
