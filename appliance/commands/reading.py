"""The bytes of one file of a snapshot, straight from the repository.

``armoire cat`` reads as the worker's user does, so it opens the repository itself: no lock, nothing
written, and it works whether or not a worker runs, during a backup too.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from appliance.backup_jobs.borg_library import open_reader
from appliance.backup_jobs.vault_access import repository_passphrase
from appliance.catalogue import query, store
from appliance.commands.session import Session
from appliance.db import repositories
from appliance.errors import ChunkMissing
from appliance.model import Entry, Snapshot, Source

ID_BYTES: Final = 32
CHUNK_BYTES: Final = 36  # of ``model.Entry.chunks``: the id, then the size


def chunk_ids(entry: Entry) -> list[bytes]:
    """Return the ids of a file's chunks, in order."""
    packed = entry.chunks
    return [packed[at : at + ID_BYTES] for at in range(0, len(packed), CHUNK_BYTES)]


def blocks_of(
    session: Session, source: Source, snapshot: Snapshot, entry: Entry
) -> Iterator[bytes]:
    """Yield the content of a file of a snapshot; every block was verified against its id.

    Raises:
        ChunkMissing: the file went away meanwhile, even after looking it up again.
        RepositoryMissing, RepositoryReplaced, RepositoryDamaged, WrongPassphrase.
        KeyMissing: this user may not read the key of the box.
    """
    with session.database.read() as connection:
        repository = repositories.get(connection, source.id)
        passphrase = repository_passphrase(connection, session.settings, source.id)
    with open_reader(
        Path(repository.path), passphrase, session.settings.borg_home, repository.borg_id
    ) as reader:
        done = 0
        try:
            for block in reader.fetch(chunk_ids(entry)):
                done += 1
                yield block
        except ChunkMissing:
            # A compaction moved it in this moment: the catalogue knows the file still, look once more.
            with closing(store.of_source(session.settings, source.id)) as catalogue:
                again = query.entry(catalogue, snapshot.id, entry.path)
            if again.chunks != entry.chunks:
                raise
            yield from reader.fetch(chunk_ids(again)[done:])
