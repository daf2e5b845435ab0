"""A sender's paths on a receiving box: what a name may be, and how it is opened without following a link."""

import errno
import os
import re
import stat
from dataclasses import dataclass
from typing import Final

from appliance.errors import InvalidInput
from appliance.replication.target import check_name

#: Charged for each file and folder besides its bytes: what it costs a disk at least.
ENTRY_BYTES: Final = 4096
#: 10 TB in 8 MiB objects are 5,000 in each of 256 folders. More than this is somebody filling our memory.
FOLDER_ENTRIES: Final = 50_000
FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DRAFT: Final = re.compile(r"\.([a-z0-9-][a-z0-9.-]*)\.[0-9a-f]{16}\.part")
#: O_NONBLOCK: a pipe that lies there by some accident must not hold us.
_FILE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies under a name."""

    name: str  # last part
    size: int
    is_folder: bool
    modified_s: int  # Unix time


@dataclass(frozen=True, slots=True)
class Place:
    """A path of the sender's, checked."""

    folders: tuple[str, ...]
    leaf: str  # empty: the sender's own folder
    is_draft: bool

    @property
    def name(self) -> str:
        """The whole name, as ``Target`` calls it."""
        return "/".join((*self.folders, self.leaf))


def checked(path: str) -> Place:
    """Return where a client's path leads, relative to its folder.

    Raises:
        OSError: EACCES it could lead elsewhere, or is no name of ours.
    """
    rest = path
    for start in ("./", "/"):
        if rest.startswith(start):
            rest = rest.removeprefix(start)
            break
    rest = rest.removesuffix("/") if rest != "/" else ""
    if rest in {"", "."}:
        return Place((), "", False)
    *folders, leaf = rest.split("/")
    match = _DRAFT.fullmatch(leaf)
    try:
        check_name("/".join((*folders, match[1] if match else leaf)))
    except InvalidInput as error:
        raise OSError(errno.EACCES, "not a name of ours") from error
    return Place(tuple(folders), leaf, match is not None)


def open_file(place: Place, flags: int, folder: int) -> int:
    """Open a regular file in an open folder; EACCES for anything else."""
    if not place.leaf:
        raise OSError(errno.EACCES, "a folder")
    try:
        descriptor = os.open(place.leaf, flags | _FILE, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
            raise OSError(errno.EACCES, "not a file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EACCES, "not a file")
    return descriptor


def check_room(folder: int) -> None:
    """Raise EMLINK when an open folder holds FOLDER_ENTRIES already."""
    if len(names_in(folder)) >= FOLDER_ENTRIES:
        raise OSError(errno.EMLINK, "too many in one folder")


def names_in(folder: int) -> list[str]:
    """Return what an open folder holds; pathlib cannot list a descriptor."""
    return sorted(os.listdir(folder))


def entry_of(leaf: str, folder: int) -> Entry | None:
    """Return what lies there; None for nothing, and for links and other things."""
    try:
        facts = os.stat(leaf, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(facts.st_mode):
        return Entry(leaf, 0, True, int(facts.st_mtime))
    if stat.S_ISREG(facts.st_mode):
        return Entry(leaf, facts.st_size, False, int(facts.st_mtime))
    return None


def charge_of(facts: os.stat_result) -> int:
    """Return what a file or folder counts towards a quota."""
    return ENTRY_BYTES + (facts.st_size if stat.S_ISREG(facts.st_mode) else 0)


def drafted(leaf: str) -> str | None:
    """Return the object's last part out of a draft's name; None: it is no draft."""
    match = _DRAFT.fullmatch(leaf)
    return match[1] if match else None
