"""An archive's items, read raw: msgpack maps straight out of decrypted chunks.

Part of the ``borg_library`` family. 0.65 s for 520,000 items against 12 s for `borg list`.
Source of the format: borg 1.4 item.pyx and docs «Data structures», «Items».
"""

import stat
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Any, Final

from borg.helpers import IntegrityError  # noqa: TID251 - the borg_library family
from borg.helpers.msgpack import mp_Unpacker  # noqa: TID251

from appliance.model import Entry, EntryKind

RawItem = dict[bytes, Any]

_CHUNK: Final = Struct("<32sI")
_KINDS: Final = {
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFDIR: EntryKind.FOLDER,
    stat.S_IFLNK: EntryKind.LINK,
}


def raw_items(blocks: Iterable[bytes]) -> Iterator[RawItem]:
    """Yield every item of the stream in ``blocks``, parts of files in checkpoints included."""
    # Borg's own subclass of the unpacker costs a Python call an item.
    unpacker = mp_Unpacker(raw=True, use_list=False, strict_map_key=False, max_buffer_size=0)
    unpack = unpacker.__next__
    for block in blocks:
        unpacker.feed(block)
        while True:
            try:
                item = unpack()
            except StopIteration:
                break
            except (ValueError, TypeError) as error:
                raise IntegrityError("item stream") from error
            if type(item) is not dict or b"path" not in item or b"mtime" not in item:
                raise IntegrityError("item stream")
            yield item


def pack_chunks(chunks: Iterable[tuple[bytes, int, int]]) -> bytes:
    """Return a chunk list as ``model.Entry.chunks`` holds it: 36 bytes each."""
    return b"".join([_CHUNK.pack(identity, size) for identity, size, _stored in chunks])


def unpack_chunks(packed: bytes) -> list[tuple[bytes, int]]:
    """Return (id, size) of each chunk of a packed list."""
    return list(_CHUNK.iter_unpack(packed))


def entries(items: Iterable[RawItem]) -> Iterator[Entry]:
    """Yield the items as entries; a hard link carries the chunks of the file it points to."""
    masters: dict[bytes, tuple[int, bytes]] = {}
    for item in items:
        if b"part" in item:
            continue  # half a file of an interrupted run
        mode = item[b"mode"]
        kind = _KINDS.get(stat.S_IFMT(mode), EntryKind.OTHER)
        target = None
        size = 0
        chunks = b""
        if kind is EntryKind.FILE:
            source = item.get(b"source")
            if source is not None:
                size, chunks = masters.get(source, (0, b""))
            else:
                listed = item.get(b"chunks", ())
                chunks = pack_chunks(listed)
                known = item.get(b"size")
                size = sum(each[1] for each in listed) if known is None else known
                if item.get(b"hardlink_master"):
                    masters[item[b"path"]] = (size, chunks)
        elif kind is EntryKind.LINK:
            target = item.get(b"source")
        yield Entry(
            path=item[b"path"],
            kind=kind,
            size=size,
            mtime_ns=whole_number(item[b"mtime"]),
            mode=mode,
            uid=_owner(item.get(b"uid")),
            gid=_owner(item.get(b"gid")),
            owner=_text(item.get(b"user")),
            group=_text(item.get(b"group")),
            target=target,
            chunks=chunks,
        )


def whole_number(value: int | bytes) -> int:
    """Return a number that Borg may have written as bytes because it needs more than 63 bits."""
    return value if isinstance(value, int) else int.from_bytes(value, "little", signed=True)


def _owner(value: int | None) -> int | None:
    return None if value is None or value < 0 else value  # -1: the source did not say


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
