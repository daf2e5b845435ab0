"""The past of something whose source was moved: the catalogue has it by one path before, by another since."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from appliance.catalogue import query
from appliance.catalogue.deleted import Deleted, deleted
from appliance.catalogue.rows import Version
from appliance.catalogue.store import Catalogue
from appliance.errors import NotFound
from appliance.model import Entry, EntryKind, SnapshotId


@dataclass(frozen=True, slots=True)
class Place:
    """Where the catalogue has it in some snapshots."""

    path: bytes
    nights: Container[SnapshotId] | None = None  # None: in all of them


def history(catalogue: Catalogue, places: Sequence[Place]) -> list[Version]:
    """Return every version, newest first; moving alone makes none.

    Args:
        catalogue: of the source.
        places: the newest first.

    Raises:
        NotFound: no known snapshot shows it.
    """
    found: list[Version] = []
    for place in places:
        try:
            known = query.history(catalogue, place.path)
        except NotFound:
            continue
        for one in known:
            if place.nights is not None and one.last not in place.nights:
                continue
            if (
                found
                and found[-1].entry.path != place.path
                and _is_same(found[-1].entry, one.entry)
            ):
                found[-1] = replace(found[-1], first=one.first)
            else:
                found.append(one)
    if not found:
        raise NotFound("file", places[0].path.decode("utf-8", "replace") if places else "")
    return found


def gone(
    catalogue: Catalogue, places: Sequence[Place], *, present: Container[bytes]
) -> list[Deleted]:
    """Return what known snapshots show in a folder and is not among ``present``, folders first, then by name.

    Args:
        catalogue: of the source.
        places: of the folder, the newest first.
        present: names that are there now.
    """
    found: dict[bytes, Deleted] = {}
    for place in places:
        for one in deleted(catalogue, place.path, present=present):
            if place.nights is None or one.last in place.nights:
                found.setdefault(one.name, one)
    if len(places) == 1:
        return list(found.values())  # in order
    return sorted(
        found.values(),
        key=lambda each: (each.kind is not EntryKind.FOLDER, each.name.lower(), each.name),
    )


def _is_same(one: Entry, other: Entry) -> bool:
    return (one.kind, one.size, one.mtime_ns, one.chunks) == (
        other.kind, other.size, other.mtime_ns, other.chunks,
    )  # fmt: skip
