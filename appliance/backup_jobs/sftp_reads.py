"""Reading many files at once over SFTP, each delivered in order, memory bounded by the window.

A file is read as large as it was announced and one byte more: the byte says whether it grew. After
the last byte its attributes are asked again, in the same breath, so a change meanwhile is seen.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from appliance.backup_jobs import sftp_packets as packets
from appliance.backup_jobs.sftp_packets import Attributes, Malformed
from appliance.backup_jobs.sftp_pipeline import SMALL_COST, Pipeline
from appliance.units import MIB

#: How much is taken between two looks at the line: a look costs two system calls.
_PUMP_BYTES: Final = MIB
#: Room for so much before more is asked for: each write wakes three programs.
_ASK_BYTES: Final = MIB
_OPEN_FOR_READING: Final = packets.FXF_READ.to_bytes(4, "big") + bytes(4)


class FileRead:
    """One file on its way."""

    __slots__ = (
        "_arrived",
        "_asked",
        "_at",
        "_forgotten",
        "_handle",
        "_reads",
        "_ready",
        "_reserved",
        "_stat_sent",
        "after",
        "code",
        "finished",
        "grew",
        "offset",
        "owner",
        "path",
        "size",
    )

    def __init__(self, owner: "Reads", path: bytes, size: int, offset: int) -> None:
        self.owner = owner
        self.path = path
        self.size = size  # as announced
        self.offset = offset  # where reading begins
        self.code: int | None = None  # SFTP status when it could not be read
        self.after: Attributes | None = None  # what it was after the last byte
        self.grew = False
        self.finished = False  # everything that will come has come
        self._handle = b""
        self._asked = offset
        self._at = offset  # next byte to deliver
        self._reads = 0
        self._stat_sent = False
        self._forgotten = False
        self._arrived: dict[int, bytes] = {}
        self._ready: deque[bytes] = deque()
        self._reserved = 0

    # --- for the one who takes ---

    @property
    def has_data(self) -> bool:
        """Whether ``take`` has something."""
        return bool(self._ready)

    @property
    def delivered(self) -> int:
        """Bytes delivered so far, from ``offset``."""
        return self._at - self.offset

    def take(self) -> bytes:
        """Return the next bytes; b"" when nothing is there (yet)."""
        if not self._ready:
            return b""
        data = self._ready.popleft()
        self._release(len(data))
        self.owner.advance()
        return data

    def take_all(self) -> bytes:
        """Return everything that came, once finished."""
        data = self._ready[0] if len(self._ready) == 1 else b"".join(self._ready)
        self._ready.clear()
        self._release(self._reserved)
        return data

    def blocks(self, on_idle: Callable[[], None]) -> Iterator[bytes]:
        """Yield the bytes as they come, until it is finished; ``on_idle`` as ``Pipeline.wait``."""
        pipeline = self.owner.pipeline
        since = 0
        while True:
            while self._ready:
                block = self.take()
                since += len(block)
                yield block
                if since >= _PUMP_BYTES:
                    since = 0
                    pipeline.pump(0)
            if self.finished:
                return
            pipeline.wait(lambda: bool(self._ready) or self.finished, on_idle)

    def forget(self) -> None:
        """Take nothing more; what still comes is thrown away."""
        self._forgotten = True
        self._ready.clear()
        self._arrived.clear()
        self._release(self._reserved)
        self._asked = self.size + 1
        if self._handle and not self.finished:
            self._finish()

    # --- for the one who reads ---

    def start(self) -> None:
        """Open it; the first piece is asked for once it is open."""
        self._reserve(
            min(self.size - self.offset + 1, self.owner.pipeline.read_length) + SMALL_COST
        )
        path = self.path
        self.owner.pipeline.send_made(
            lambda request: packets.packed(
                packets.OPEN, request, packets.string(path), _OPEN_FOR_READING
            ),
            self._opened,
        )

    def _opened(self, kind: int, body: bytes) -> None:
        if kind == packets.STATUS:
            self.code = packets.read_status(body) or packets.FAILURE
            self._asked = self.size + 1
            self._finish()
        elif kind == packets.HANDLE:
            self._handle = packets.read_handle(body)
            if self._forgotten:
                self._finish()
                return
            self.ask(first=True)
            self.owner.advance()
        else:
            raise Malformed("another answer than a handle")

    @property
    def opened(self) -> bool:
        """Whether the server opened it."""
        return bool(self._handle)

    @property
    def all_asked(self) -> bool:
        """Whether nothing is left to ask for."""
        return self._asked > self.size

    def ask(self, *, first: bool = False) -> bool:
        """Ask for the next piece; return whether there was one. The last one closes the file."""
        if self._asked > self.size:
            return False
        pipeline = self.owner.pipeline
        length = min(pipeline.read_length, self.size + 1 - self._asked)
        offset = self._asked
        self._asked += length
        if not first:
            self._reserve(length)
        self._read(offset, length)
        if self._asked > self.size:
            self._ask_attributes()
        return True

    def _ask_attributes(self) -> None:
        if not self._stat_sent:
            self._stat_sent = True
            self.owner.pipeline.send(packets.FSTAT, self._handle, self._stated)

    def _read(self, offset: int, length: int) -> None:
        self._reads += 1
        self.owner.pipeline.send_read(
            self._handle, offset, length, lambda kind, body: self._came(offset, length, kind, body)
        )

    def _came(self, offset: int, length: int, kind: int, body: bytes) -> None:
        self._reads -= 1
        if self._forgotten:
            return
        if kind == packets.DATA:
            data = body
            size = len(data)
            if not 0 < size <= length:
                raise Malformed("more or less data than asked for")
            if size < length and offset + size != self.size and self.code is None:
                self._read(offset + size, length - size)  # a short answer is no end
            if offset == self._at and not self._arrived:
                self._deliver(data)
            else:
                self._arrived[offset] = data
                while self._at in self._arrived:
                    self._deliver(self._arrived.pop(self._at))
        elif kind == packets.STATUS:
            code = packets.read_status(body)
            if code != packets.EOF and self.code is None:
                self.code = code or packets.FAILURE
            # Nothing lies beyond: ask for no more of it, but for what it is now.
            self._asked = self.size + 1
            self._ask_attributes()
        else:
            raise Malformed("another answer than data")
        if not self._reads:
            if self.after is not None:
                self._finish()
            elif not self.all_asked:
                self.owner.advance()

    def _deliver(self, data: bytes) -> None:
        if self._at + len(data) > self.size:
            self.grew = True
            data = data[: self.size - self._at]
        self._at += len(data)
        if data:
            self._ready.append(data)

    def _stated(self, kind: int, body: bytes) -> None:
        if kind == packets.ATTRS:
            self.after = packets.read_attributes(body)
        elif kind == packets.STATUS:
            self.after = Attributes()  # a server that cannot: nothing to compare
        else:
            raise Malformed("another answer than attributes")
        if not self._reads:
            self._finish()

    def _finish(self) -> None:
        if self.finished:
            return
        self.finished = True
        self._arrived.clear()
        if self._handle:
            self.owner.pipeline.send(packets.CLOSE, self._handle, _ignore)
        held = sum(map(len, self._ready)) if self._ready else 0
        self._release(self._reserved - held)
        self.owner.closed(self)

    def _reserve(self, count: int) -> None:
        self._reserved += count
        self.owner.pipeline.used_bytes += count

    def _release(self, count: int) -> None:
        count = min(count, self._reserved)
        self._reserved -= count
        self.owner.pipeline.used_bytes -= count


class Reads:
    """Files being read, in the order in which they are wanted."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._asking: deque[FileRead] = deque()  # opened or about to be, not all asked for
        self._open = 0

    @property
    def has_room(self) -> bool:
        """Whether another file may be begun."""
        return (
            self.pipeline.used_bytes < self.pipeline.window_bytes
            and self._open < self.pipeline.most_handles
            and (not self._asking or self._asking[-1].size < self.pipeline.read_length)
        )

    def begin(self, path: bytes, size: int, offset: int = 0, *, urgent: bool = False) -> FileRead:
        """Begin to read ``path`` from ``offset``, announced as ``size`` bytes long.

        ``urgent``: it is wanted before every other one.
        """
        file = FileRead(self, path, size, offset)
        self._open += 1
        if urgent:
            self._asking.appendleft(file)
        else:
            self._asking.append(file)
        file.start()
        return file

    def advance(self) -> None:
        """Ask for more of the files that are open, the first one first."""
        asking = self._asking
        while asking:
            first = asking[0]
            if not first.all_asked:
                if not first.opened:
                    return
                # The first one always has a piece on its way: nothing can wait for it in vain.
                room = self.pipeline.window_bytes - self.pipeline.used_bytes
                if first._reads and room < _ASK_BYTES:  # noqa: SLF001 - same module
                    return
                while first.ask() and self.pipeline.has_room:
                    pass
            if first.all_asked:
                asking.popleft()

    def closed(self, file: FileRead) -> None:
        """Note that a file is done."""
        self._open -= 1
        if file in self._asking:
            self._asking.remove(file)
            self.advance()


def _ignore(_kind: int, _body: bytes) -> None:
    pass
