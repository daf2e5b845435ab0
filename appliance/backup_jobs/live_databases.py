"""Raw copies of live databases among the files of a snapshot: recognised from names as they pass."""

from collections.abc import Iterable, Sequence
from typing import Final

from appliance.backup_jobs.recipe_schema import STREAMS_FOLDER
from appliance.model import Consistency, Entry, EntryKind, ReadEvent, ReadEventKind
from appliance.policy.live_databases import ENGINE_NAMES, DatabaseEngine, detect_live_database

_SUSPECT: Final = (
    *(b"pg_version", b"ibdata1", b".ibd", b".mdf", b".ldf", b".fic", b".dbf"),
    *(b"control01.ctl", b"redo01.log"),
)
_STREAMS: Final = STREAMS_FOLDER.encode()


class LiveDatabases:
    """Collects the names that mean something: a snapshot may hold a million others."""

    def __init__(self) -> None:
        self._suspects: dict[bytes, list[str]] = {}

    def see(self, path: bytes) -> None:
        """Look at the path of a file."""
        if path.lower().endswith(_SUSPECT):
            folder, _slash, name = path.rpartition(b"/")
            if folder != _STREAMS and not folder.startswith(_STREAMS + b"/"):
                self._suspects.setdefault(folder, []).append(name.decode("utf-8", "replace"))

    def names(self, folder: bytes) -> tuple[str, ...]:
        """Return the names that mean something in one folder."""
        return tuple(self._suspects.get(folder, ()))

    def events(self) -> list[ReadEvent]:
        """Return one event for each folder that holds the files of a live database, outermost only."""
        found: list[ReadEvent] = []
        for folder, names in sorted(self._suspects.items()):
            engine = detect_live_database(names)
            if engine is not None and not _inside_known(engine, folder, found):
                found.append(ReadEvent(ReadEventKind.LIVE_DATABASE, folder, ENGINE_NAMES[engine]))
        return found


def _inside_known(engine: DatabaseEngine, folder: bytes, events: Sequence[ReadEvent]) -> bool:
    # A cluster has hundreds of folders; one warning is enough.
    return any(
        event.reason == ENGINE_NAMES[engine] and folder.startswith(event.path + b"/")
        for event in events
    )


def live_database_events(entries: Iterable[Entry]) -> list[ReadEvent]:
    """Return one event for each folder of a snapshot that holds the files of a live database.

    Args:
        entries: of a snapshot, in any order; the catalogue's, after the run.
    """
    found = LiveDatabases()
    for entry in entries:
        if entry.kind is EntryKind.FILE:
            found.see(entry.path)
    return found.events()


def consistency_after(reached: Consistency, events: Iterable[ReadEvent]) -> Consistency:
    """Return the level of a snapshot once it is known what was in it.

    Plain files with a live database among them are of unknown consistency (domain.md APP-02);
    a level that a recipe reached stays.
    """
    if reached is Consistency.FILES and any(
        event.kind is ReadEventKind.LIVE_DATABASE for event in events
    ):
        return Consistency.UNKNOWN
    return reached
