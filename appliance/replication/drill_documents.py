"""Documents of a drill: the first one straight from the copy, then a sample out of both boxes, compared.

A document is read out of the new box with its own keys and catalogue, and out of the living box's own
repository; what is compared is every byte, not what two lists say.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Final

from appliance.catalogue import query, store
from appliance.db import repositories, snapshots
from appliance.db.engine import open_database
from appliance.errors import (
    ArmoireError,
    CatalogueError,
    JobCancelled,
    SnapshotMissing,
)
from appliance.model import Entry, SourceId
from appliance.replication.recover_reading import Chunks, CopyReader
from appliance.replication.tools import Tools
from appliance.settings import Settings
from appliance.units import MIB

#: Of each source: some that changed last, some of the largest, some of any age.
NEWEST: Final = 6
LARGEST: Final = 2
OLD: Final = 6
#: Bytes of documents read from each source; a larger one is left out of the sample.
MOST_BYTES: Final = 256 * MIB
_FIRST_BYTES: Final = 8 * MIB
_CHUNK: Final = Struct("<32sI")


@dataclass(frozen=True, slots=True)
class Documents:
    """How a sample compared."""

    read: int = 0
    same: int = 0
    gone: int = 0  # the living box cannot give it any more
    different: int = 0


def read_first(reader: CopyReader, made: Settings, sources: Sequence[int]) -> bool:
    """Read one document to its end, of the first source that has one; return whether there was any.

    Args:
        reader: over the copy.
        made: of the new box, whose state is in place.
        sources: in the order people want them.

    Raises:
        ObjectMissing, ObjectAltered, TargetUnreachable, RepositoryDamaged …: as ``CopyReader.read``.
    """
    for source_id in sources:
        for entry in _sample(made, source_id, seed=0):
            if 0 < entry.size <= _FIRST_BYTES:
                for _ in reader.read(source_id, entry):
                    pass
                return True
    return False


def compare_documents(
    living: Settings,
    made: Settings,
    tools: Tools,
    *,
    seed: int,
    should_stop: Callable[[], bool],
) -> Documents:
    """Compare a sample of the newest snapshot of every source, byte for byte.

    Args:
        living: of this box.
        made: of the new one.
        tools: opens repositories.
        seed: another one picks other documents.
        should_stop: asked before each document.

    Raises:
        JobCancelled.
    """
    read = same = gone = different = 0
    for source_id in _sources(made):
        entries = _sample(made, source_id, seed=seed)
        if not entries:
            continue
        with ExitStack() as stack:
            there = _opened(stack, tools, made, source_id)
            here = _opened(stack, tools, living, source_id)
            for entry in entries:
                if should_stop():
                    raise JobCancelled
                read += 1
                came = _digest(there, entry)
                ours = _digest(here, entry)
                if came is None:
                    different += 1
                elif ours is None:
                    gone += 1
                elif came == ours:
                    same += 1
                else:
                    different += 1
    return Documents(read, same, gone, different)


def _sources(made: Settings) -> list[int]:
    return sorted(
        int(each.name)
        for each in made.repositories.iterdir()
        if each.name.isdecimal() and each.name != "0"
    )


def _sample(made: Settings, source_id: int, *, seed: int) -> list[Entry]:
    """Return documents of the newest snapshot; none when the source has no snapshot or no list of files."""
    database = open_database(made.database)
    try:
        with database.read() as connection:
            newest = snapshots.newest(connection, SourceId(source_id))
    finally:
        database.close()
    if newest is None:
        return []
    with suppress(CatalogueError, SnapshotMissing):
        found = query.sample(
            store.of_source(made, SourceId(source_id)),
            newest.id,
            newest=NEWEST,
            largest=LARGEST,
            old=OLD,
            seed=seed,
        )
        room, chosen = MOST_BYTES, []
        for entry in found.all:
            if entry.size <= room:
                room -= entry.size
                chosen.append(entry)
        return chosen
    return []


def _opened(stack: ExitStack, tools: Tools, settings: Settings, source_id: int) -> Chunks | None:
    """Return an opened repository, None when it is not there any more or does not open."""
    database = open_database(settings.database)
    try:
        with suppress(ArmoireError):
            with database.read() as connection:
                place = Path(repositories.get(connection, SourceId(source_id)).path)
            return stack.enter_context(tools.open_chunks(settings, source_id, place, _nothing))
    finally:
        database.close()
    return None


def _digest(chunks: Chunks | None, entry: Entry) -> bytes | None:
    """Return the hash of a document's bytes, None when they cannot be had."""
    if chunks is None:
        return None
    digest, size = hashlib.sha256(), 0
    try:
        for block in _blocks(chunks, entry):
            digest.update(block)
            size += len(block)
    except ArmoireError:  # gone, damaged, its disk away: there are no right bytes to be had
        return None
    return digest.digest() if size == entry.size else None


def _blocks(chunks: Chunks, entry: Entry) -> Iterator[bytes]:
    return chunks.fetch(identity for identity, _ in _CHUNK.iter_unpack(entry.chunks))


def _nothing(_segment: int) -> None:
    """Bring no segment: they all lie there."""
