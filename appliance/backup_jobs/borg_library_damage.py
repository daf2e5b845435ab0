"""Which stored chunks do not come back, and which archives lean on them.

Part of the ``borg_library`` family: it reads a repository's index and archive metadata, both through
an opened ``Repository``. Source: borg 1.4.5 repository.py open_index, archive.py ArchiveItem.
"""

from collections.abc import Collection, Iterable

from appliance.backup_jobs.borg_library import Repository
from appliance.backup_jobs.borg_library_opening import mapped
from appliance.errors import RepositoryDamaged


def chunks_in_segments(repository: Repository, segments: Collection[int]) -> list[bytes]:
    """Return the ids of the living chunks that lie in these segments.

    Raises:
        RepositoryDamaged: the index cannot be read.
    """
    borg = repository._borg  # noqa: SLF001 - the family
    with mapped(repository.path):
        index = borg.open_index(borg.get_transaction_id())
        wanted = frozenset(segments)
        return [identity for identity, place in index.iteritems() if place[0] in wanted]


def unreadable(repository: Repository, ids: Iterable[bytes]) -> list[bytes]:
    """Return those of ``ids`` whose bytes are missing or not what was written."""
    found = []
    for identity in ids:
        try:
            for _plain in repository.fetch([identity]):
                pass
        except RepositoryDamaged:
            found.append(identity)
    return found


def structure_chunks(repository: Repository, archive_id: str) -> frozenset[bytes]:
    """Return the ids of the chunks that hold an archive's own description and list of items.

    Raises:
        RepositoryDamaged: the description itself cannot be read.
    """
    own = bytes.fromhex(archive_id)
    with mapped(repository.path):
        return frozenset([own, *repository._metadata(own).items])  # noqa: SLF001 - the family
