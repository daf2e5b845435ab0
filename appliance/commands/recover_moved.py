"""Shares that come back to another folder than before: their disk burnt too, or is called otherwise now."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from appliance.db import shares, sources
from appliance.disk.set_up import check_folder
from appliance.errors import AlreadyExists, InvalidInput, NotFound
from appliance.language import mark
from appliance.model import Source
from appliance.settings import Settings

#: What a file system of its own begins with.
_OF_THE_DISK: Final = frozenset({"lost+found"})
_STYLES: Final = ("", "sh:", "pp:", "pf:", "fm:")


def read_moved(
    settings: Settings, given: Sequence[str], before: Mapping[str, str]
) -> dict[str, str]:
    """Return in which folders shares come back, by the names of their sources.

    Args:
        settings: of the new box.
        given: «NAME=FOLDER», of the command line.
        before: what an earlier attempt was told; it holds unless it is said anew.

    Raises:
        InvalidInput: no «NAME=FOLDER», a name twice, one folder in another, a folder that cannot be a
            share's, lies in the box's own data or is not empty.
    """
    found: dict[str, str] = {}
    for each in given:
        name, is_there, text = each.partition("=")
        if not (name and is_there and text) or name in found:
            raise InvalidInput("share", mark("NAME=FOLDER, each share once."))
        place = text.rstrip("/") or "/"
        check_folder(settings, Path(place), may_be_made=True)
        if before.get(name) != place:  # what an earlier attempt brought there may lie there
            _is_empty(Path(place))
        found[name] = place
    folders = {**before, **found}
    all_of_them = [Path(each) for each in folders.values()]
    for number, one in enumerate(all_of_them):
        if any(overlap(one, other) for other in all_of_them[:number]):
            raise InvalidInput("share", mark("Two shares cannot lie in one folder."))
    return folders


def check_names(folders: Mapping[str, str], known: Collection[str]) -> None:
    """Return when every share that was named is one.

    Raises:
        NotFound: the copy has no share of this name.
    """
    for name in folders:
        if name not in known:
            raise NotFound("share", name)


def check_room(place: Path, share: Source, others: Sequence[Source]) -> None:
    """Return when no other share lies there.

    Raises:
        AlreadyExists: one does.
    """
    for other in others:
        if other.id != share.id and any(overlap(place, Path(each)) for each in other.roots):
            raise AlreadyExists("share", other.name)


def moved_excludes(share: Source, place: Path) -> tuple[str, ...]:
    """Return what is left out of the share's nights, said for its new folder."""
    former = share.roots[0].rstrip("/")
    found = []
    for each in share.excludes:
        style = next((one for one in _STYLES if one and each.startswith(one)), "")
        rest = each[len(style) :]
        if rest == former or rest.startswith(f"{former}/"):
            rest = f"{place}{rest[len(former) :]}"
        found.append(style + rest)
    return tuple(found)


def move_share(connection: Connection, share: Source, place: Path) -> None:
    """Say that a share and its nights are of another folder from now on."""
    former = share.roots[0]
    sources.change(
        connection,
        share.id,
        roots=(str(place), *share.roots[1:]),
        excludes=moved_excludes(share, place),
    )
    for each in shares.all_living(connection):
        if each.source_id == share.id and str(each.folder) == former:
            shares.change(connection, each.id, folder=str(place))


def overlap(one: Path, other: Path) -> bool:
    """Say whether one folder is the other, or lies in it."""
    return one == other or one in other.parents or other in one.parents


def _is_empty(place: Path) -> None:
    sentence = mark(
        "This folder is not empty: a share comes back to an empty one, or to a new one."
    )
    try:
        names = set(os.listdir(place))  # noqa: PTH208 - names, whatever their bytes
    except FileNotFoundError:
        return
    except OSError as error:
        raise InvalidInput("folder", mark("This folder cannot be read.")) from error
    if names - _OF_THE_DISK:
        raise InvalidInput("folder", sentence)
