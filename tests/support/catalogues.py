"""Entries and catalogues for tests."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from appliance.catalogue.store import Catalogue
from appliance.model import Entry, EntryKind, SnapshotId

FIRST_NIGHT = datetime(2026, 3, 1, 21, 0, tzinfo=UTC)


def night_of(snapshot: int) -> datetime:
    """When the snapshot of this number was taken."""
    return FIRST_NIGHT + timedelta(days=snapshot)


def a_file(path: str | bytes, content: str = "", *, size: int | None = None, at: int = 0) -> Entry:
    """A regular file; another content is another chunk."""
    raw = path.encode() if isinstance(path, str) else path
    length = len(content) if size is None else size
    chunk = sha256(content.encode()).digest() + length.to_bytes(4, "little")
    return Entry(
        raw,
        EntryKind.FILE,
        length,
        1_700_000_000_000_000_000 + at * 1_000_000_000,
        0o100640,
        1000,
        1000,
        "anna",
        "cabinet",
        None,
        chunk if length else b"",
    )


def a_folder(path: str | bytes) -> Entry:
    """A folder."""
    raw = path.encode() if isinstance(path, str) else path
    return Entry(raw, EntryKind.FOLDER, 0, 1_700_000_000_000_000_000, 0o40750, 1000, 1000)


def a_link(path: str, target: str) -> Entry:
    """A symbolic link."""
    mtime_ns = 1_700_000_000_000_000_000
    return Entry(path.encode(), EntryKind.LINK, 0, mtime_ns, 0o120777, target=target.encode())


def write_night(catalogue: Catalogue, snapshot: int, *put: Entry, gone: tuple[str, ...] = ()):
    """Write one whole night and return what it counted."""
    with catalogue.night(SnapshotId(snapshot), night_of(snapshot)) as night:
        for entry in put:
            night.put(entry)
        for path in gone:
            night.gone(path.encode())
        return night.commit()


def new_catalogue(folder: Path, source: int = 7) -> Catalogue:
    """An empty catalogue."""
    return Catalogue.open(folder / f"{source}.sqlite", create=True)
