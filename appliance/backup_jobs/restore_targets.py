"""Where restored files go, and under which names: decided before anything is written.

At its own place a file that is there stays: the restored one goes beside it. In a chosen folder of the
box nothing is written at all when a name is taken. A machine's files go back to that machine only
(domain.md SAV-20).
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from appliance.backup_jobs import sftp, workplace
from appliance.backup_jobs.recipe_schema import STREAMS_FOLDER
from appliance.backup_jobs.restore_places import (
    CannotPlace,
    LocalPlace,
    MachinePlace,
    Parts,
    Place,
    safe_parts,
)
from appliance.backup_jobs.sources.roots import root_paths
from appliance.backup_jobs.workplace import Workplace
from appliance.db import snapshots, sources
from appliance.errors import InvalidInput, RootUnreadable, WouldOverwrite
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import RestoreFiles
from appliance.language import mark
from appliance.model import Snapshot, Source, SourceKind, System
from appliance.packed import unpack_path

_STREAMS: Final = STREAMS_FOLDER.encode()


@dataclass(frozen=True, slots=True)
class Wish:
    """One path asked for, and where it goes."""

    path: bytes  # as stored; b"": the whole snapshot
    top: Parts  # what it becomes, below the base of the place


# --- where it goes ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """A place, and what is known about paths in it."""

    place: Place
    #: Stored path of the folder the base stands for, when files go back to where they came from.
    original: bytes | None = None


@contextmanager
def open_target(place: Workplace, spec: RestoreFiles) -> Iterator[Target]:
    """Yield where the files of this restore go.

    Raises:
        InvalidInput: the destination cannot be used.
        RootUnreadable: the share is not there.
        MachineError: the machine cannot be reached.
    """
    source = place.source
    chosen = unpack_path(spec.place) if spec.place else b""
    match spec.destination:
        case "folder":
            base = _folder_of_the_box(place.context, chosen)
            keep = source.kind is SourceKind.SHARE
            yield Target(LocalPlace(base, replace=spec.replace, keep_owner=keep))
        case "share":
            yield _in_share(place, spec, chosen)
        case "machine" if source.kind is SourceKind.SHARE:
            yield _in_share(place, spec, chosen)
        case "machine" if source.kind is SourceKind.PULLED:
            with sftp.connect(workplace.endpoint(place)) as client:
                yield _on_machine(source, client, spec, chosen)
        case "machine":
            raise InvalidInput(
                "destination",
                mark("The box has no way into a machine that sends its snapshots by itself."),
            )
        case _:
            raise InvalidInput("destination", mark("One of: folder, share, machine."))


def _folder_of_the_box(context: JobContext, chosen: bytes) -> Path:
    folder = Path(os.fsdecode(chosen))
    if not folder.is_absolute():
        raise InvalidInput("place", mark("a whole path of a folder of the box."))
    real = folder.resolve()
    settings = context.settings
    for ours in (
        settings.repositories,
        settings.catalogues,
        settings.state,
        settings.keys,
        settings.borg_home,
        settings.run,
        settings.tls,
    ):
        if real == settings.data.resolve() or real.is_relative_to(ours.resolve()):
            raise InvalidInput("place", mark("The box keeps its own files there."))
    try:
        real.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput("place", mark("This folder cannot be made or written.")) from error
    return real


def _in_share(place: Workplace, spec: RestoreFiles, chosen: bytes) -> Target:
    with place.context.database.read() as connection:
        share = (
            place.source
            if spec.share_id is None
            else sources.get(connection, type(place.source.id)(spec.share_id))
        )
        then = snapshots.root(connection, spec.snapshot_id)
    if share.kind is not SourceKind.SHARE:
        raise InvalidInput("share_id", mark("This is not a share of the box."))
    root = Path(share.roots[0])
    if not root.is_dir():
        raise RootUnreadable("it is not there", str(root))
    is_same = share.id == place.source.id
    if not chosen and is_same:
        stored = root_paths(then or share.roots[0], System.LINUX)[1]
        return Target(LocalPlace(root, replace=spec.replace, keep_owner=True), original=stored)
    base = (
        (root / os.fsdecode(chosen.lstrip(b"/")))
        if not _is_below(chosen, root)
        else Path(os.fsdecode(chosen))
    )
    if not base.resolve().is_relative_to(root.resolve()) or not base.is_dir():
        raise InvalidInput("place", mark("This folder is not in the share."))
    return Target(LocalPlace(base.resolve(), replace=spec.replace, keep_owner=is_same))


def _is_below(chosen: bytes, root: Path) -> bool:
    path = Path(os.fsdecode(chosen))
    return path.is_absolute() and path.is_relative_to(root)


def _on_machine(
    source: Source, client: sftp.SftpClient, spec: RestoreFiles, chosen: bytes
) -> Target:
    if chosen:
        base = root_paths(chosen.decode("utf-8", "surrogateescape"), source.system)[0]
        return Target(MachinePlace(client, base, source.system, replace=spec.replace))
    wanted = unpack_path(spec.paths[0])
    for root in source.roots:
        remote, stored = root_paths(root, source.system)
        if is_inside(wanted, stored):
            place = MachinePlace(client, remote, source.system, replace=spec.replace)
            return Target(place, original=stored)
    raise InvalidInput(
        "destination",
        mark("This was not in a folder of the machine that is backed up: choose a folder."),
    )


def is_inside(path: bytes, folder: bytes) -> bool:
    """Return whether a stored path is ``folder`` or lies below it; everything lies below ``b""``."""
    return not folder or path == folder or path.startswith(folder + b"/")


# --- what becomes of each path -----------------------------------------------------------------


def name_all(
    place: Workplace,
    spec: RestoreFiles,
    snapshot: Snapshot,
    paths: Sequence[bytes],
    target: Target,
) -> list[Wish]:
    """Return where each path goes; nothing was written yet.

    Raises:
        WouldOverwrite: something has its name in a chosen folder of the box.
        InvalidInput: a path cannot go back to where it was.
    """
    day = f"{snapshot.started_at.astimezone(ZoneInfo(place.context.settings.time_zone)):%Y-%m-%d}"
    wishes: list[Wish] = []
    taken: set[Parts] = set()
    for path in paths:
        try:
            top = _top(place.source, path, target, day)
            is_there = bool(top) and target.place.exists(top)
        except CannotPlace as error:
            raise InvalidInput("paths", mark("This name cannot be restored.")) from error
        if not top and not spec.replace:
            # A whole root goes into a folder of its own inside it, never through what is there.
            name = (target.original or b"").rpartition(b"/")[2] or place.source.name.encode()
            top = _beside((name,), day, target.place, taken)
        elif top in taken or (not spec.replace and is_there):
            if spec.destination == "folder" and top not in taken:
                raise WouldOverwrite(1, top[-1].decode("utf-8", "replace"))
            top = _beside(top, day, target.place, taken)
        taken.add(top)
        wishes.append(Wish(path, top))
    return wishes


def _top(source: Source, path: bytes, target: Target, day: str) -> Parts:
    if target.original is not None:
        if path.split(b"/", 1)[0] == _STREAMS:
            raise InvalidInput(
                "paths",
                mark("A file made by a recipe was never on the machine: restore it to a folder."),
            )
        if not path or not is_inside(path, target.original):
            raise InvalidInput("paths", mark("All of one restore come from one folder."))
        return safe_parts(path[len(target.original) :].lstrip(b"/"))
    if not path:
        return (f"{source.name} {day}".encode(),)
    return safe_parts(path)[-1:]


def _beside(top: Parts, day: str, place: Place, taken: set[Parts]) -> Parts:
    """Return «name (restauré 2026-03-12).pdf», numbered when that is there too."""
    stem, dot, ending = top[-1].rpartition(b".")
    if not stem or len(ending) > 12:
        stem, dot, ending = top[-1], b"", b""
    for number in range(1, 1000):
        more = "" if number == 1 else f", {number}"
        name = stem + f" (restauré {day}{more})".encode() + dot + ending
        found = (*top[:-1], name)
        if found not in taken and not place.exists(found):
            return found
    raise WouldOverwrite(1, top[-1].decode("utf-8", "replace"))
