"""The past of a file, whoever's it is: the lines that a share's pages and a machine's pages show alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from appliance.catalogue.deleted import Deleted
from appliance.catalogue.query import Version
from appliance.clock import from_epoch
from appliance.model import EntryKind, LedgerEntry, PersonId, SnapshotId
from appliance.packed import pack_path
from appliance.units import NS_PER_S
from appliance.web.pages.paths import Step, readable
from appliance.web.render import Page


@dataclass(frozen=True, slots=True)
class Doors:
    """Where files of a night are looked at, opened and taken home."""

    look: str  # address of previews of the night ``{s}``
    file: str  # address of the file ``{p}`` of the night ``{s}``

    def of(self, snapshot_id: SnapshotId, packed: str) -> tuple[str, str, str]:
        """Return the addresses of its previews, of its bytes, and of its bytes as a download."""
        opened = self.file.replace("{s}", str(snapshot_id)).replace("{p}", packed)
        return self.look.replace("{s}", str(snapshot_id)), opened, f"{opened}&download=1"


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version, and the nights it is seen in."""

    snapshot_id: SnapshotId  # the newest that shows it
    first_at: datetime | None
    last_at: datetime | None
    size: int
    modified_at: datetime
    is_present: bool  # it is the one that is there now
    is_file: bool
    look: str
    opened: str
    download: str


@dataclass(frozen=True, slots=True)
class Touch:
    """Something that somebody did to it."""

    at: datetime
    who: str
    what: str  # of ``versions.TOUCHED``, or the event's own name


def who_did(entry: LedgerEntry, names: Mapping[PersonId, str]) -> str:
    """Return who an entry of the journal names: a person by name, anything else as it stands."""
    kind, _, number = entry.actor.partition(":")
    if kind == "person" and number.isdecimal():
        return names.get(PersonId(int(number)), entry.actor)
    return entry.actor


@dataclass(frozen=True, slots=True)
class VersionsPage(Page):
    """The past of one file."""

    template: ClassVar[str] = "disk/versions.html"
    name: str
    where: str  # as its machine names it; «» of a share
    packed: str
    trail: list[Step]
    is_there: bool  # now, or in the newest snapshot of a machine
    present: str | None  # address of the present one, of a share
    versions: list[VersionLine]
    touches: list[Touch]
    may_open: bool
    restore: str  # address that restores a version; «» when one may not
    is_share: bool
    can_replace: bool
    is_backed_up: bool


def version_lines(
    found: Sequence[Version],
    times: Mapping[SnapshotId, datetime],
    doors: Doors,
    packed: str,
    *,
    newest_is_there: bool | None = None,
) -> list[VersionLine]:
    """Return versions as lines, newest first.

    Args:
        found: of the catalogue.
        times: when each snapshot was taken.
        doors: of their source.
        packed: path of the file in those addresses.
        newest_is_there: whether the first one is what is there now; None: as the catalogue has it.
    """
    lines = []
    for place, one in enumerate(found):
        is_there = one.is_present if newest_is_there is None else newest_is_there and place == 0
        lines.append(
            VersionLine(
                one.last,
                times.get(one.first),
                times.get(one.last),
                one.entry.size,
                from_epoch(one.entry.mtime_ns / NS_PER_S),
                is_there,
                one.entry.kind is EntryKind.FILE,
                *doors.of(one.last, packed),
            )
        )
    return lines


@dataclass(frozen=True, slots=True)
class DeletedLine:
    """Something that is not where it was any more."""

    name: str
    packed: str
    kind: str
    size: int
    seen_at: datetime | None  # the newest snapshot that shows it
    snapshot_id: SnapshotId
    look: str
    opened: str  # of a folder: as it was
    download: str
    versions: str


def deleted_lines(
    found: Sequence[tuple[Deleted, bytes]],
    times: Mapping[SnapshotId, datetime],
    doors: Doors,
    *,
    folders: str,
    versions: str,
) -> list[DeletedLine]:
    """Return deleted things as lines.

    Args:
        found: each with its path as the addresses have it.
        times: when each snapshot was taken.
        doors: of their source.
        folders: address of a folder ``{p}`` as it was in the night ``{s}``.
        versions: address of the versions of ``{p}``.
    """
    lines = []
    for one, path in found:
        packed = pack_path(path)
        look, opened, download = doors.of(one.last, packed)
        if one.kind is EntryKind.FOLDER:
            opened = folders.replace("{s}", str(one.last)).replace("{p}", packed)
        lines.append(
            DeletedLine(
                readable(one.name),
                packed,
                one.kind.value,
                one.size,
                times.get(one.last),
                one.last,
                look,
                opened,
                download,
                versions.replace("{p}", packed),
            )
        )
    return lines
