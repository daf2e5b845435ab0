"""Whether a dump is whole, seen from its bytes as they pass: on top of its program's exit code. Pure."""

from collections.abc import Callable, Iterator
from typing import Final

from appliance.backup_jobs.recipe_schema import Content
from appliance.errors import RecipeFailed
from appliance.language import mark

HEAD_BYTES: Final = 100
TAIL_BYTES: Final = 1024


def checked(
    blocks: Iterator[bytes], content: Content, failed: Callable[[str], RecipeFailed]
) -> Iterator[bytes]:
    """Yield ``blocks`` unchanged; at their end raise what ``failed`` returns if they are not whole.

    Sources: PostgreSQL 15 pg_backup_archiver.c (magic «PGDMP»), pg_dumpall.c («… dump complete»);
    MariaDB client/mysqldump.c («-- Dump completed»); sqlite.org/fileformat2.html, 1.3.
    """
    head, tail, size = b"", b"", 0
    for block in blocks:
        if len(head) < HEAD_BYTES:
            head += block[: HEAD_BYTES - len(head)]
        tail = (tail + block[-TAIL_BYTES:])[-TAIL_BYTES:]
        size += len(block)
        yield block
    if not size:
        raise failed(mark("the dump is empty"))
    if not _is_whole(content, head, tail, size):
        raise failed(mark("the dump is cut or is no dump"))


def _is_whole(content: Content, head: bytes, tail: bytes, size: int) -> bool:
    match content:
        case Content.ANY:
            return True
        case Content.PG_CUSTOM:
            return head.startswith(b"PGDMP") and size > len(b"PGDMP") + 10
        case Content.PG_SQL:
            return b"-- PostgreSQL database cluster dump complete" in tail
        case Content.MARIADB_SQL:
            return b"\n-- Dump completed" in tail
        case Content.SQLITE:
            if len(head) < HEAD_BYTES or not head.startswith(b"SQLite format 3\0"):
                return False
            page = int.from_bytes(head[16:18], "big")
            pages = int.from_bytes(head[28:32], "big")
            return size == (65_536 if page == 1 else page) * pages
