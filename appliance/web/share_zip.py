"""Files and folders of a share as one ZIP of known length; what changes on the way cuts the stream."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from appliance.catalogue.archive_zip import MOST_MEMBERS, Member, ZipPlan, length_of
from appliance.catalogue.safe_names import SafePaths
from appliance.disk import listing, paths
from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.model import BOX_SOURCE
from appliance.units import MIB

_FOLDER_MODE = 0o770
_FILE_MODE = 0o660


def plan(root: Path, wanted: list[bytes], zone: ZoneInfo) -> tuple[ZipPlan, Iterator[bytes]]:
    """Return the plan of a ZIP of ``wanted`` and its blocks; links and special files are left out.

    Raises:
        InvalidInput: nothing, or more than 200,000 files. FileMissing, NotAFolder.
    """
    names = SafePaths()
    members: list[Member] = []
    left_out = 0
    chosen = list(dict.fromkeys(wanted))
    tops = [path for path in chosen if not any(_is_below(path, other) for other in chosen)]
    for number, path in enumerate(tops):
        top = str(number).encode()
        names.is_top(top)
        cut = len(path.rpartition(b"/")[0]) + 1 if b"/" in path else 0
        for found, entry in _walk(root, path):
            if entry.kind not in {"file", "folder"}:
                left_out += 1
                continue
            if not found:
                continue  # the share itself: only what it holds
            name = names.of(top + b"/" + found[cut:])
            is_folder = entry.kind == "folder"
            members.append(
                Member(
                    found,
                    (name + "/" if is_folder else name).encode("utf-8", "replace"),
                    entry.size,
                    entry.mtime_ns,
                    _FOLDER_MODE if is_folder else _FILE_MODE,
                )
            )
            if len(members) > MOST_MEMBERS:
                raise InvalidInput("paths", mark("These are too many files for one ZIP."))
    if not members:
        raise InvalidInput("paths", mark("Choose at least one file or folder."))
    made = ZipPlan(
        BOX_SOURCE,
        tuple(members),
        length_of(members),
        sum(1 for each in members if not each.name.endswith(b"/")),
        sum(each.size for each in members),
        left_out,
        zone,
    )
    opener: Callable[[bytes], _Opened] = lambda path: _Opened(root, path)  # noqa: E731 - one line
    return made, made.blocks(opener)


def _is_below(path: bytes, other: bytes) -> bool:
    return path != other and (not other or path.startswith(other + b"/"))


def _walk(root: Path, path: bytes) -> Iterator[tuple[bytes, listing.Entry]]:
    waiting = [(path, listing.entry(root, path))]
    while waiting:
        at, entry = waiting.pop()
        yield at, entry
        if entry.kind == "folder":
            inner = listing.read(root, at).entries
            waiting += [(paths.join(at, each.name), each) for each in reversed(inner)]


class _Opened:
    """A file of a share, being read."""

    def __init__(self, root: Path, path: bytes) -> None:
        self._descriptor = paths.open_file(root, path)

    @property
    def blocks(self) -> Iterator[bytes]:
        """Its bytes."""
        while block := os.read(self._descriptor, MIB):
            yield block

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
