"""What can be looked at: a file of a share as it is, or a file of any night out of the worker's reader.

Whoever makes one of these asked for the rights first. A file of a snapshot is fetched
when its bytes are wanted (``preview_fetched``), not before.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from appliance.catalogue import query
from appliance.catalogue.store import of_source
from appliance.clock import utc_now
from appliance.disk import actions, listing, paths
from appliance.disk.access import Held
from appliance.ledger import events
from appliance.model import EntryKind, Snapshot
from appliance.packed import pack_path
from appliance.settings import Settings
from appliance.web.api.upload import doer_of
from appliance.web.deps import Visitor
from appliance.web.pages.browse import token_of
from appliance.web.pages.paths import Step, crumbs, readable
from appliance.web.pages.preview_fetched import Fetched

#: What was done → what the ledger calls it, of a file of a share.
EVENTS: Final = {
    "opened": "file.opened",
    "series": "file.series-opened",
    "fields": "file.dicom-fields",
}
_SLICE_ENDINGS: Final = {"", "dcm", "dicom", "ima"}


class Opening(Protocol):
    """A file that is about to be looked at."""

    etag: str  # changes with its content
    size: int  # bytes; 0 when it is not known yet

    def descriptor(self) -> int:
        """Return it open, for reading; it belongs to the opening."""


class Thing(Protocol):
    """Something that can be looked at."""

    @property
    def scope(self) -> str:
        """Whose it is, in the keys of what is kept."""

    @property
    def path(self) -> bytes:
        """Where it lies, below whatever it belongs to."""

    @property
    def base(self) -> str:
        """Address of its previews."""

    @property
    def download(self) -> str:
        """Address of its bytes."""

    def opened(self, *, head_only: bool = False) -> Any:  # noqa: ANN401 - a context manager of an Opening
        """Open it; with ``head_only`` the bytes behind HEAD may be zeros. Blocks."""

    def near(self) -> list["Thing"]:
        """Return the files of its folder in order, itself among them. Blocks."""

    def opening(self, etag: str) -> str:
        """Return what ``Openings`` knows it by, looked at or sent."""

    def trail(self) -> list[Step]:
        """Return the way to its folder."""

    def record(self, connection: Connection, what: str, visitor: Visitor, count: int = 0) -> None:
        """Write into the ledger what was done: ``opened`` (so many bytes), ``series`` (so many files), ``fields``."""


def ending(path: bytes) -> str:
    """Return the ending of a file's name, lower case: a hint for who makes the preview, never believed."""
    name = path.rpartition(b"/")[2]
    _, point, found = name.rpartition(b".")
    return found.decode("ascii", "replace").lower()[:8] if point else ""


def may_be_slice(path: bytes) -> bool:
    """Return whether a file may be one of a DICOM series, by its name."""
    return ending(path) in _SLICE_ENDINGS


# --- as it is -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Present:
    etag: str
    size: int
    number: int

    def descriptor(self) -> int:
        return self.number


@dataclass(frozen=True, slots=True)
class PresentFile:
    """A file of a share, as it is now."""

    held: Held
    path: bytes

    @property
    def scope(self) -> str:
        """The share."""
        return str(self.held.share.id)

    @property
    def base(self) -> str:
        """``/preview/<share>``."""
        return f"/preview/{self.held.share.name}"

    @property
    def download(self) -> str:
        """As the folder's page has it."""
        return f"/disk/{self.held.share.name}/file?p={pack_path(self.path)}"

    @contextmanager
    def opened(self, *, head_only: bool = False) -> Iterator[Opening]:  # noqa: ARG002 - it is here anyway
        """Open it.

        Raises:
            InvalidInput, FileMissing, NotAFolder, NotAFile.
        """
        number = paths.open_file(self.held.share.folder, self.path)
        try:
            entry = listing.entry_of(paths.parent(self.path)[1], os.fstat(number))
            yield _Present(entry.etag, entry.size, number)
        finally:
            os.close(number)

    def near(self) -> list[Thing]:
        """Return the files of its folder."""
        folder = paths.parent(self.path)[0]
        listed = listing.read(self.held.share.folder, folder)
        return [
            PresentFile(self.held, paths.join(folder, each.name))
            for each in listed.entries
            if each.kind == "file"
        ]

    def opening(self, etag: str) -> str:
        """As sending the file has it."""
        return f"{self.held.share.name}:{etag}"

    def trail(self) -> list[Step]:
        """Return the share and its folders."""
        share = self.held.share
        top = Step(share.label, f"/disk/{share.name}")
        folder = paths.parent(self.path)[0]
        return [top, *(Step(each.text, f"{top.href}?p={each.packed}") for each in crumbs(folder))]

    def record(self, connection: Connection, what: str, visitor: Visitor, count: int = 0) -> None:
        """Write it down as of the share's file."""
        path = paths.parent(self.path)[0] if what == "series" else self.path
        figures = {"opened": {"bytes": count}, "series": {"files": count}}.get(what, {})
        actions.record(
            connection, EVENTS[what], self.held.share, path, doer_of(visitor), utc_now(), **figures
        )


# --- as it was ------------------------------------------------------------------------------


@dataclass(slots=True)
class _Past:
    etag: str
    fetch: Any
    size: int = 0
    _number: int | None = None

    def descriptor(self) -> int:
        if self._number is None:
            self._number = self.fetch()
        return self._number

    def close(self) -> None:
        if self._number is not None:
            with suppress(OSError):
                os.close(self._number)


@dataclass(frozen=True, slots=True)
class PastFile:
    """A file of a snapshot: of a share's past when ``held`` is given, else of a machine."""

    fetched: Fetched
    settings: Settings
    snapshot: Snapshot
    stored: bytes  # as the catalogue has it
    held: Held | None = None
    root: bytes = field(default=b"")  # of the share, as the catalogue has it

    @property
    def scope(self) -> str:
        """The source."""
        return f"source:{self.snapshot.source_id}"

    @property
    def path(self) -> bytes:
        """Below the share; of a machine, as the catalogue has it."""
        return self.stored[len(self.root) :].lstrip(b"/") if self.held else self.stored

    @property
    def base(self) -> str:
        """Of the night."""
        if self.held is not None:
            return f"/preview/{self.held.share.name}/at/{self.snapshot.id}"
        return f"/snapshots/{self.snapshot.id}/preview"

    @property
    def download(self) -> str:
        """As the page of versions has it."""
        packed = pack_path(self.path)
        if self.held is not None:
            name = self.held.share.name
            return f"/disk/{name}/version?s={self.snapshot.id}&p={packed}&download=1"
        return f"/snapshots/{self.snapshot.id}/file?p={packed}&download=1"

    @contextmanager
    def opened(self, *, head_only: bool = False) -> Iterator[Opening]:
        """Open it; its bytes are fetched when they are asked for, not before.

        Raises:
            NotFound, NotPreviewed, WorkerUnreachable: when they are.
        """
        told = b"%d\0" % self.snapshot.id + self.stored
        fetch = self.fetched.head if head_only else self.fetched.open
        one = _Past(
            blake2b(told, digest_size=16).hexdigest(),
            lambda: fetch(self.snapshot.source_id, self.snapshot.id, self.stored),
        )
        try:
            yield one
        finally:
            one.close()

    def near(self) -> list[Thing]:
        """Return the files that were in its folder that night."""
        folder = self.stored.rpartition(b"/")[0]
        catalogue = of_source(self.settings, self.snapshot.source_id)
        found = query.folder(catalogue, self.snapshot.id, folder, limit=None)
        return [
            PastFile(self.fetched, self.settings, self.snapshot, each.path, self.held, self.root)
            for each in found.rows
            if each.kind is EntryKind.FILE
        ]

    def opening(self, etag: str) -> str:
        """Of a machine: as sending the file has it."""
        if self.held is not None:
            return f"{self.base}:{etag}"
        return f'"{token_of(self.stored, self.snapshot.id)}"'

    def trail(self) -> list[Step]:
        """Return the folders as they were that night."""
        folder = self.path.rpartition(b"/")[0]
        if self.held is not None:
            share = self.held.share
            top = Step(share.label, f"/disk/{share.name}/past?s={self.snapshot.id}")
            more = "&p="
        else:
            top = Step("…", f"/snapshots/{self.snapshot.id}/browse")
            more = "?p="
        return [top, *(Step(one.text, f"{top.href}{more}{one.packed}") for one in crumbs(folder))]

    def record(self, connection: Connection, what: str, visitor: Visitor, count: int = 0) -> None:
        """Write it down: by path for a share, by a token that no name is readable in for a machine."""
        path = self.path.rpartition(b"/")[0] if what == "series" else self.path
        figures = {"files": count} if what == "series" else {}
        if self.held is not None:
            event = "file.version-opened" if what == "opened" else EVENTS[what]
            actions.record(
                connection, event, self.held.share, path, doer_of(visitor), utc_now(),
                snapshot=int(self.snapshot.id), **figures,
            )  # fmt: skip
            return
        events.record(
            connection,
            at=utc_now(),
            event="file.open" if what == "opened" else EVENTS[what],
            subject=f"snapshot:{self.snapshot.id}",
            person_id=visitor.person.id,
            actor=None,
            file=token_of(path, self.snapshot.id),
            **figures,
        )


def name_of(thing: Thing) -> str:
    """Return a thing's name as people read it."""
    return readable(thing.path.rpartition(b"/")[2])
