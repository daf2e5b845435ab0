"""An SFTP server without SSH, in a thread, that can lie: for what no real server would send.

It serves a tree given by a function from paths to nodes, so a tree may be endless or have a million
entries without being built. ``bend`` may change, add to or withhold any reply.
"""

import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from appliance.backup_jobs import sftp_packets as packets
from appliance.backup_jobs.sftp_pipeline import Pipeline, PlainTransport


@dataclass
class Node:
    """A file, a folder or a link of the tree."""

    mode: int
    size: int = 0
    mtime: int = 1_700_000_000
    read: Callable[[int, int], bytes] | None = None  # offset, length
    names: Callable[[], Iterator[tuple[bytes, "Node"]]] | None = None
    target: bytes = b""
    after: "Node | None" = None  # what FSTAT says
    refused: int = 0  # status of OPEN and OPENDIR


def file(data: bytes, **more: object) -> Node:
    """A file that is what it says."""
    return Node(
        stat.S_IFREG | 0o644,
        len(data),
        read=lambda offset, length: data[offset : offset + length],
        **more,  # type: ignore[arg-type]
    )


def folder(**more: object) -> Node:
    """A folder without entries unless ``names`` is given."""
    return Node(stat.S_IFDIR | 0o755, **more)  # type: ignore[arg-type]


def tree(nodes: dict[bytes, Node]) -> Callable[[bytes], Node | None]:
    """The function for a tree given whole, by absolute path; folders list what is under them."""

    def names_of(path: bytes) -> Iterator[tuple[bytes, Node]]:
        for each, node in nodes.items():
            parent, _slash, name = each.rpartition(b"/")
            if (parent or b"/") == path and name:
                yield name, node

    for path, node in nodes.items():
        if stat.S_ISDIR(node.mode) and node.names is None:
            node.names = lambda path=path: names_of(path)
    return nodes.get


class RawServer:
    """Answers on one socket until it is closed."""

    def __init__(
        self,
        find: Callable[[bytes], Node | None],
        bend: Callable[[int, int, bytes], bytes | None] | None = None,
        per_listing: int = 100,
    ) -> None:
        self.find = find
        #: Asked with (kind of the request, request number, reply); returns what is sent, None: nothing.
        self.bend = bend or (lambda _kind, _request, reply: reply)
        self.per_listing = per_listing
        self.requests: list[tuple[int, bytes]] = []
        self._handles: dict[bytes, tuple[Node, object]] = {}
        self._next = 0
        self.most_open = 0

    def serve(self, line: socket.socket) -> None:
        splitter = packets.Splitter()
        with suppress(OSError, ValueError), line:
            while data := line.recv(1 << 20):
                out = []
                for kind, request, body in splitter.feed(data):
                    reply = self.reply(kind, request, body)
                    bent = self.bend(kind, request, reply)
                    if bent is not None:
                        out.append(bent)
                line.sendall(b"".join(out))

    def reply(self, kind: int, request: int, body: bytes) -> bytes:
        if kind == packets.INIT:
            return struct.pack(">IBI", 5, packets.VERSION_REPLY, 3)
        text, rest = _string(body) if kind != packets.EXTENDED else (b"", body)
        self.requests.append((kind, text))
        if kind == packets.REALPATH:
            return _name(request, [(text if text != b"." else b"/", Node(0))])
        if kind in (packets.STAT, packets.LSTAT):
            node = self.find(text)
            return _status(request, 2) if node is None else _attrs(request, node)
        if kind == packets.READLINK:
            node = self.find(text)
            return _name(request, [(node.target, Node(0))]) if node else _status(request, 2)
        if kind in (packets.OPEN, packets.OPENDIR):
            node = self.find(text)
            if node is None or node.refused:
                return _status(request, node.refused if node else 2)
            self._next += 1
            handle = self._next.to_bytes(4, "big")
            state = node.names() if kind == packets.OPENDIR and node.names else None
            self._handles[handle] = (node, state)
            self.most_open = max(self.most_open, len(self._handles))
            return packets.packed(packets.HANDLE, request, packets.string(handle))
        if text not in self._handles:
            return _status(request, 4)
        node, state = self._handles[text]
        if kind == packets.READDIR:
            found = []
            for each in state or ():
                found.append(each)
                if len(found) >= self.per_listing:
                    break
            return _name(request, found) if found else _status(request, packets.EOF)
        if kind == packets.READ:
            offset, length = struct.unpack(">QI", rest)
            data = node.read(offset, length) if node.read else b""
            if not data:
                return _status(request, packets.EOF)
            return packets.packed(packets.DATA, request, packets.string(data))
        if kind == packets.FSTAT:
            return _attrs(request, node.after or node)
        if kind == packets.CLOSE:
            del self._handles[text]
            return _status(request, 0)
        return _status(request, packets.OP_UNSUPPORTED)

    @contextmanager
    def session(self) -> Iterator[Pipeline]:
        """A pipeline to this server, not begun: what ``pull`` takes as a connection."""
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=self.serve, args=(theirs,), daemon=True)
        thread.start()
        try:
            yield Pipeline(PlainTransport(ours.fileno(), ours.fileno(), "hostile"), stall_s=5.0)
        finally:
            with suppress(OSError):
                ours.shutdown(socket.SHUT_RDWR)
            ours.close()
            thread.join(30)


@contextmanager
def garbage(data: bytes, after: int = 0) -> Iterator[Pipeline]:
    """A pipeline to something that answers the first ``after`` bytes' worth of questions with noise."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        yield Pipeline(PlainTransport(ours.fileno(), ours.fileno(), "hostile"), stall_s=2.0)


def _string(body: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(body[:4], "big")
    return body[4 : 4 + size], body[4 + size :]


def _status(request: int, code: int) -> bytes:
    return packets.packed(
        packets.STATUS, request, code.to_bytes(4, "big"), packets.string(b""), packets.string(b"")
    )


def attributes(node: Node) -> bytes:
    """The attributes of a node as they are sent."""
    return struct.pack(">IQIIIII", 0x0F, node.size, 1000, 1000, node.mode, node.mtime, node.mtime)


def _attrs(request: int, node: Node) -> bytes:
    return packets.packed(packets.ATTRS, request, attributes(node))


def _name(request: int, found: list[tuple[bytes, Node]]) -> bytes:
    parts = [len(found).to_bytes(4, "big")]
    for name, node in found:
        parts += [packets.string(name), packets.string(b""), attributes(node)]
    return packets.packed(packets.NAME, request, *parts)
