"""What a folder held once and does not any more: a deleted file is looked for where it was."""

from collections.abc import Container
from dataclasses import dataclass

from appliance.catalogue.schema import GONE
from appliance.catalogue.store import Catalogue, known_in
from appliance.model import EntryKind, SnapshotId


@dataclass(frozen=True, slots=True)
class Deleted:
    """The last that is known of something that was in a folder."""

    path: bytes
    name: bytes
    kind: EntryKind
    size: int  # bytes
    mtime_ns: int
    last: SnapshotId  # the newest snapshot that shows it


def deleted(
    catalogue: Catalogue,
    path: bytes,
    *,
    present: Container[bytes] | None = None,
    before: SnapshotId | None = None,
) -> list[Deleted]:
    """Return what known snapshots show in a folder and what is not there, folders first, then by name.

    Args:
        catalogue: of the source.
        path: of the folder; ``b""`` is the top.
        present: names that are there now; None: those of the snapshot ``before``, or of the newest one.
        before: only what was deleted before this snapshot; None: whatever is gone.
    """
    with catalogue.reading() as c:
        known = known_in(c)
        at = known.shown_last(None) if before is None else before
        number = c.execute("SELECT id FROM folder WHERE path = ?", (path,)).fetchone()
        if number is None or at is None:
            return []
        rows = c.execute(
            "SELECT f.id, f.name, f.sort, v.first, v.kind, v.size, v.mtime_ns FROM file AS f"
            " CROSS JOIN version AS v ON v.file = f.id WHERE f.folder = ? AND v.first <= ?"
            " ORDER BY f.id, v.first DESC",
            (number[0], at),
        )
        found: list[tuple[str, Deleted]] = []
        current, following, is_settled = None, None, True
        for file, name, sort, first, kind, size, mtime_ns in rows:
            if file != current:
                current, following, is_settled = file, None, False
            if not is_settled and kind != GONE:
                shown, last = known.shown_first(first), known.shown_last(following)
                if shown is not None and last is not None and shown <= last:
                    is_settled = True
                    is_there = last >= at if present is None else name in present
                    if not is_there:
                        whole = path + b"/" + name if path else name
                        one = Deleted(whole, name, EntryKind(kind), size, mtime_ns, min(last, at))
                        found.append((sort, one))
            following = first
    found.sort(key=lambda each: (each[1].kind is not EntryKind.FOLDER, each[0], each[1].name))
    return [one for _, one in found]
