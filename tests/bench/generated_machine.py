"""A machine of a million files that exist nowhere: an SFTP server on stdin and stdout."""

import stat
import sys
from collections.abc import Iterator

from appliance.backup_jobs import sftp_packets as packets
from tests.support.raw_sftp import Node, RawServer

COUNT = int(sys.argv[1])
IN_FOLDER = 500


def content(number: int) -> bytes:
    return b"document number %012d of a generated machine" % number


def leaf(number: int) -> Node:
    data = content(number)
    return Node(
        stat.S_IFREG | 0o644,
        len(data),
        1_600_000_000 + number,
        read=lambda offset, length: data[offset : offset + length],
    )


def find(path: bytes) -> Node | None:
    names = path.split(b"/")[2:]
    if not names:
        folders = range(-(-COUNT // IN_FOLDER))
        return Node(
            stat.S_IFDIR | 0o755, names=lambda: ((b"dossier %06d" % n, FOLDER) for n in folders)
        )
    folder = int(names[0][8:])
    if len(names) == 1:
        first = folder * IN_FOLDER

        def entries() -> Iterator[tuple[bytes, Node]]:
            for number in range(first, min(first + IN_FOLDER, COUNT)):
                yield b"lettre de sortie %09d.pdf" % number, leaf(number)

        return Node(stat.S_IFDIR | 0o755, names=entries)
    return leaf(int(names[1][17:26]))


FOLDER = Node(stat.S_IFDIR | 0o755)


def main() -> None:
    server = RawServer(find)
    server.requests = _Nothing()  # type: ignore[assignment]
    splitter = packets.Splitter()
    while data := sys.stdin.buffer.raw.read(1 << 16):
        out = [server.reply(*packet) for packet in splitter.feed(data)]
        sys.stdout.buffer.write(b"".join(out))
        sys.stdout.buffer.flush()


class _Nothing:
    def append(self, _each: object) -> None:
        pass


if __name__ == "__main__":
    main()
