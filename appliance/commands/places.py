"""``SOURCE@SNAPSHOT:PATH`` as people type it, and what it means."""

import os
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from sqlalchemy import Connection

from appliance.commands.session import wrong
from appliance.db import snapshots, sources
from appliance.errors import InvalidInput, NotFound
from appliance.language import mark
from appliance.model import Snapshot, Source, SourceKind

LATEST: Final = "latest"
_DRIVE: Final = re.compile(rb"^([A-Za-z]):(?=/|$)")


@dataclass(frozen=True, slots=True)
class Place:
    """A path in a snapshot of a source; nothing has been looked up yet."""

    source: str
    snapshot: str  # a number, «latest» or a date
    path: bytes


def parse_place(text: str) -> Place:
    """Return the place that ``text`` names; without «@…» the latest snapshot, without «:…» all of it.

    Raises:
        InvalidInput: there is no source in it.
    """
    head, _, path = text.partition(":")
    source, at, snapshot = head.partition("@")
    if not source or (at and not snapshot):
        raise wrong(
            "SOURCE@SNAPSHOT:PATH", mark("Write for example accueil@latest:home/documents.")
        )
    return Place(source, snapshot or LATEST, stored_path(path))


def stored_path(text: str) -> bytes:
    r"""Return a typed path as snapshots hold it: «/home/a/» and «C:\Users» become home/a and C/Users."""
    path = os.fsencode(text)
    if re.match(rb"^[A-Za-z]:\\|^[A-Za-z]:$", path):
        path = path.replace(b"\\", b"/")
    path = _DRIVE.sub(rb"\1", path)
    return b"/".join(part for part in path.split(b"/") if part not in {b"", b"."})


def find_snapshot(connection: Connection, source: Source, word: str, zone: tzinfo) -> Snapshot:
    """Return the snapshot of ``source`` that ``word`` names.

    Args:
        connection: reading.
        source: whose.
        word: a number; ``latest``; or a local date or time (2026-03-12, 2026-03-12T18:30): the newest
            snapshot taken by then, a date meaning the end of its day.
        zone: of the practice.

    Raises:
        InvalidInput: it is none of these.
        NotFound: there is no such snapshot of this source.
    """
    kept = snapshots.of_source(connection, source.id)
    if word == LATEST:
        found = kept[0] if kept else None
    elif word.isdecimal():
        found = next((each for each in kept if each.id == int(word)), None)
    else:
        until = moment_of(word, zone)
        found = next((each for each in kept if each.started_at < until), None)
    if found is None:
        raise NotFound("snapshot", f"{source.name}@{word}")
    return found


def moment_of(word: str, zone: tzinfo) -> datetime:
    """Return the moment up to which a person means: the end of a day, or of a minute.

    Raises:
        InvalidInput: this is no date.
    """
    try:
        if len(word) == len("2026-03-12"):
            day = date.fromisoformat(word) + timedelta(days=1)
            return datetime.combine(day, time(), zone).astimezone(UTC)
        given = datetime.fromisoformat(word)
        aware = given if given.tzinfo else given.replace(tzinfo=zone)
        return (aware + timedelta(minutes=1)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            "SNAPSHOT", mark("Give a number, «latest», or a date such as 2026-03-12.")
        ) from error


def look_up(connection: Connection, place: Place, zone: tzinfo) -> tuple[Source, Snapshot]:
    """Return the source and the snapshot that a place names.

    Raises:
        NotFound: there is none.
    """
    source = sources.get_by_name(connection, place.source)
    if source.kind is SourceKind.BOX:
        raise NotFound("file", place.source)  # password hashes, sealed secrets: nobody's to open
    return source, find_snapshot(connection, source, place.snapshot, zone)
