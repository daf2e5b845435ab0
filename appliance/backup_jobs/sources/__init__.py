"""How a source is read: pulled over SSH, pushed by the machine, or a share of the box."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from appliance.model import ReadEvent, ReadEventKind

EVENTS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Taken:
    """What reading a source gave: the archive is committed when this exists."""

    archive: str
    archive_id: str  # 64 hex digits
    files_seen: int  # regular files the source showed
    items: int  # items in the archive
    original_bytes: int
    new_bytes: int  # compressed and deduplicated
    changed: int
    vanished: int
    events: tuple[ReadEvent, ...]  # the first EVENTS_KEPT
    event_counts: dict[ReadEventKind, int]  # of all


@dataclass(frozen=True, slots=True)
class Stream:
    """A file that a recipe makes while it is read into the archive (a database dump)."""

    path: bytes  # where it appears in the snapshot
    #: Opened once, when its turn comes; raises RecipeFailed at its end when the program behind it failed.
    open: Callable[[], Iterator[bytes]]
