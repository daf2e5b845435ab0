"""Which of the names about to be sent are taken: asked before, so that a person answers once for all of them."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from appliance.db.shares import Share
from appliance.disk import bin as bins
from appliance.disk.listing import entry_of
from appliance.disk.paths import join, open_folder
from appliance.errors import DiskError, InvalidInput
from appliance.language import mark

MOST: Final = 50_000


@dataclass(frozen=True, slots=True)
class Clash:
    """A name that is taken."""

    path: str  # below the folder
    kind: str  # of what has it: file · folder · link · other
    free: str  # the nearest path that is not taken: «letter (2).pdf»
    size: int  # bytes; with the time it says whether the very same file was sent already
    mtime_ns: int


def find(share: Share, folder: bytes, wanted: Sequence[str]) -> list[Clash]:
    """Return those of ``wanted``, paths below ``folder``, that are taken, in their order.

    Raises:
        InvalidInput: too many, or one is no path of a share.
    """
    if len(wanted) > MOST:
        raise InvalidInput("paths", mark("Fewer files at once, please."))
    by_folder: dict[bytes, list[tuple[int, str, bytes]]] = {}
    for place, text in enumerate(wanted):
        above, _, name = join(folder, text.encode("utf-8", "replace")).rpartition(b"/")
        by_folder.setdefault(above, []).append((place, text, name))
    found: list[tuple[int, Clash]] = []
    for above, names in by_folder.items():
        # A folder that is not there yet has no name taken in it.
        with suppress(DiskError), open_folder(share.folder, above) as descriptor:
            found += _in_folder(descriptor, names)
    return [clash for _, clash in sorted(found, key=lambda each: each[0])]


def _in_folder(descriptor: int, names: list[tuple[int, str, bytes]]) -> list[tuple[int, Clash]]:
    there = {os.fsencode(each) for each in os.listdir(descriptor)}
    taken = there | {name for _, _, name in names}
    found = []
    for place, text, name in names:
        if name not in there:
            continue
        with suppress(FileNotFoundError):
            has = entry_of(name, os.stat(name, dir_fd=descriptor, follow_symlinks=False))
            free = next((each for each in bins.free_names(name)[1:] if each not in taken), name)
            taken.add(free)
            above = text.rpartition("/")[0]
            inner = free.decode("utf-8", "replace")
            free_path = f"{above}/{inner}" if above else inner
            found.append((place, Clash(text, has.kind, free_path, has.size, has.mtime_ns)))
    return found
