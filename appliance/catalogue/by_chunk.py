"""Which files lean on given chunks: asked when stored bytes turn out to be damaged.

Reads every version of the catalogue once; there is no index for it, since it is asked once in years.
"""

from collections.abc import Collection, Iterator
from typing import Final

from appliance.catalogue.rows import Version, versions_of
from appliance.catalogue.store import Catalogue, known_in

_PACKED: Final = 36  # bytes a chunk; see model.Entry.chunks
_ID: Final = 32


def versions_with_chunks(catalogue: Catalogue, ids: Collection[bytes]) -> Iterator[Version]:
    """Yield every version of a file whose content holds one of these chunks, by file.

    Raises:
        CatalogueMissing, CatalogueDamaged.
    """
    wanted = frozenset(ids)
    if not wanted:
        return
    with catalogue.reading() as c:
        known = known_in(c)
        files = [
            file
            for file, chunks in c.execute("SELECT file, chunks FROM version WHERE chunks <> x''")
            if _holds(chunks, wanted)
        ]
        for file in dict.fromkeys(files):
            parent, name = c.execute(
                "SELECT d.path, f.name FROM file AS f JOIN folder AS d ON d.id = f.folder"
                " WHERE f.id = ?",
                (file,),
            ).fetchone()
            path = parent + b"/" + name if parent else name
            for version in versions_of(c, known, file, path):
                if _holds(version.entry.chunks, wanted):
                    yield version


def _holds(chunks: bytes, wanted: frozenset[bytes]) -> bool:
    return any(chunks[at : at + _ID] in wanted for at in range(0, len(chunks), _PACKED))
