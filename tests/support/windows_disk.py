"""The drives of the simulated Windows host: names, links, locks and shadow copies as NTFS has them.

Files lie in a folder of ours; this module gives them Windows' rules. Errors carry the Win32 code, so
that each door (SFTP, cmd, PowerShell) turns it into what it says on a real machine.
"""

import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

NOT_FOUND, PATH_NOT_FOUND, DENIED, WRITE_PROTECT, IN_USE = 2, 3, 5, 19, 32
NOT_A_LINK, EXISTS, INVALID_PARAMETER, INVALID_NAME = 4390, 183, 87, 123
NOT_EMPTY, TOO_LONG, NOT_A_FOLDER, NO_PRIVILEGE, TOO_MANY_LINKS = 145, 206, 267, 1314, 1921

#: What Windows says for each code, in English.
MESSAGES = {
    NOT_FOUND: "The system cannot find the file specified.",
    PATH_NOT_FOUND: "The system cannot find the path specified.",
    DENIED: "Access is denied.",
    WRITE_PROTECT: "The media is write protected.",
    IN_USE: "The process cannot access the file because it is being used by another process.",
    EXISTS: "Cannot create a file when that file already exists.",
    INVALID_PARAMETER: "The parameter is incorrect.",
    INVALID_NAME: "The filename, directory name, or volume label syntax is incorrect.",
    NOT_EMPTY: "The directory is not empty.",
    TOO_LONG: "The filename or extension is too long.",
    NOT_A_FOLDER: "The directory name is invalid.",
    NO_PRIVILEGE: "You do not have sufficient privilege to perform this operation.",
    TOO_MANY_LINKS: "The name of the file cannot be resolved by the system.",
}
RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com[1-9]|lpt[1-9]|conin\$|conout\$)(\..*)?$")
FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')
DEVICE = "\\\\?\\GLOBALROOT\\Device\\HarddiskVolumeShadowCopy"


class Win32Error(Exception):
    """A call of Windows failed with ``code``."""

    def __init__(self, code: int) -> None:
        super().__init__(MESSAGES.get(code, f"error {code}"))
        self.code = code


@dataclass(frozen=True, slots=True)
class Link:
    """A reparse point: «symlink-folder», «symlink-file» or «junction»."""

    kind: str
    name: str  # as it was made, with its case
    target: str  # as given to mklink
    lists: bool = True  # False: everybody may pass through, nobody may list (Windows' old names)
    system: bool = False  # made by Windows itself


@dataclass(frozen=True, slots=True)
class Attributes:
    """What Windows knows about a file; times in whole seconds are what SFTP carries."""

    folder: bool
    link: Link | None
    size: int
    mtime_ns: int  # grain 100 ns, or that of the drive
    read_only: bool
    executable: bool


@dataclass
class Volume:
    """A drive, or a shadow copy of one."""

    root: Path
    letter: str = ""
    read_only: bool = False
    grain_ns: int = 100
    links: dict[tuple[str, ...], Link] = field(default_factory=dict)
    #: Only the system may look in: not listed, not opened, nor anything below.
    denied: set[tuple[str, ...]] = field(default_factory=set)
    #: Open in another program that shares nothing.
    locked: set[tuple[str, ...]] = field(default_factory=set)
    #: Locked so hard that not even its attributes are told (pagefile.sys): missing from listings.
    hidden: set[tuple[str, ...]] = field(default_factory=set)


@dataclass(frozen=True)
class Shadow:
    """A shadow copy."""

    id: str  # «{…}», upper case
    set_id: str
    number: int
    letter: str
    context: str
    made_at: datetime
    volume: Volume

    @property
    def device(self) -> str:
        return f"{DEVICE}{self.number}"


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a path leads."""

    volume: Volume
    key: tuple[str, ...]  # folded parts
    real: Path  # may not exist
    path: str  # «C:\\Users\\…», links of folders above resolved


def fold(name: str) -> str:
    """NTFS compares one character at a time, by its capital."""
    return "".join(big if len(big := char.upper()) == 1 else char for char in name)


class WindowsDisk:
    """Drives by letter, and the shadow copies of them."""

    def __init__(self, folder: Path, *, user: str, long_paths: bool = False) -> None:
        self.folder = folder
        self.home = f"C:\\Users\\{user}"
        self.limit = 32_767 if long_paths else 260
        self.drives: dict[str, Volume] = {}
        self.shadows: dict[str, Shadow] = {}
        self._numbers = 0
        self.add_drive("C")

    # --- building the machine ---------------------------------------------------------------

    def add_drive(self, letter: str, *, grain_ns: int = 100) -> Volume:
        """Add an empty drive; ``grain_ns`` 2·10⁹ is FAT's."""
        root = self.folder / letter
        root.mkdir(parents=True)
        self.drives[letter] = Volume(root, letter, grain_ns=grain_ns)
        return self.drives[letter]

    def make_shadow(self, letter: str, context: str, now: datetime | None = None) -> Shadow:
        """Keep the drive as it is now. Locked files are in it, readable."""
        self._numbers += 1
        drive = self.drives[letter]
        root = self.folder / f"shadow{self._numbers}"
        shutil.copytree(drive.root, root, symlinks=True)
        volume = Volume(
            root,
            read_only=True,
            grain_ns=drive.grain_ns,
            links=dict(drive.links),
            denied=set(drive.denied),
        )
        shadow = Shadow(
            "{" + str(uuid.uuid4()).upper() + "}",
            "{" + str(uuid.uuid4()).upper() + "}",
            self._numbers,
            letter,
            context,
            now or datetime.now(UTC),
            volume,
        )
        self.shadows[shadow.id] = shadow
        return shadow

    def remove_shadow(self, shadow_id: str) -> None:
        shadow = self.shadows.pop(shadow_id)
        shutil.rmtree(shadow.volume.root, ignore_errors=True)

    # --- paths ------------------------------------------------------------------------------

    def lexical(self, path: str, here: str | None = None) -> str:
        """The whole path as ``GetFullPathName`` makes it: no «.», «..», no dots or spaces at the end."""
        path = path.replace("/", "\\")
        if path.startswith(("\\\\?\\", "\\\\.\\")):
            return path
        if re.match(r"^\\[A-Za-z]:", path):
            path = path[1:]
        if not re.match(r"^[A-Za-z]:", path):
            base = here or self.home
            path = base[:2] + path if path.startswith("\\") else f"{base}\\{path}"
        parts: list[str] = []
        for part in path[2:].split("\\"):
            if part == "..":
                parts = parts[:-1]
            elif part not in ("", "."):
                parts.append(part.rstrip(" ."))
        return f"{path[:2]}\\" + "\\".join(part for part in parts if part)

    def find(self, path: str, *, follow: bool = True, _depth: int = 0) -> Spot:
        """Where ``path`` leads; the last part need not exist."""
        if _depth > 63:
            raise Win32Error(TOO_MANY_LINKS)
        full = self.lexical(path)
        volume, parts = self._volume(full)
        if len(full) >= self.limit:
            raise Win32Error(TOO_LONG)
        real, key = volume.root, ()
        for number, part in enumerate(parts):
            if RESERVED.match(part) or FORBIDDEN.search(part):
                raise Win32Error(INVALID_NAME)
            last = number == len(parts) - 1
            if key in volume.denied:
                raise Win32Error(DENIED)
            key = (*key, fold(part))
            link = volume.links.get(key)
            if link is not None and (follow or not last):
                target = self._target(full, parts[:number], link)
                return self.find("\\".join([target.rstrip("\\"), *parts[number + 1 :]]) or target,
                                 follow=follow, _depth=_depth + 1)  # fmt: skip
            real = real / (actual_name(real, part) if link is None else part)
            if not last and link is None and not real.is_dir():
                raise Win32Error(PATH_NOT_FOUND)
        return Spot(volume, key, real, full)

    def _target(self, full: str, above: list[str], link: Link) -> str:
        target = link.target.replace("/", "\\")
        if target.startswith(DEVICE) and not target.endswith("\\"):
            # The classic mistake: without its last backslash the link names the device, not its root.
            raise Win32Error(INVALID_PARAMETER)
        if re.match(r"^([A-Za-z]:|\\\\)", target):
            return target
        return "\\".join([full[:2], *above, target])

    def _volume(self, full: str) -> tuple[Volume, list[str]]:
        if full.startswith(DEVICE):
            number, _, rest = full.removeprefix(DEVICE).partition("\\")
            for shadow in self.shadows.values():
                if str(shadow.number) == number:
                    return shadow.volume, [part for part in rest.split("\\") if part]
            raise Win32Error(NOT_FOUND)
        if full.startswith("\\\\?\\") and re.match(r"^[A-Za-z]:", full[4:]):
            full = full[4:]
        drive = self.drives.get(full[:1].upper()) if full[1:2] == ":" else None
        if drive is None:
            raise Win32Error(PATH_NOT_FOUND)
        return drive, [part for part in full[2:].split("\\") if part]

    # --- reading ----------------------------------------------------------------------------

    def attributes(self, path: str, *, follow: bool = True) -> Attributes:
        """What a path is; a junction is only told from a folder through ``link``."""
        spot = self.find(path, follow=follow)
        if spot.key in spot.volume.hidden:
            raise Win32Error(IN_USE)
        link = spot.volume.links.get(spot.key)
        if link is not None:
            made = spot.volume.root.stat().st_mtime_ns
            return Attributes(link.kind != "symlink-file", link, 0, made, False, False)
        try:
            info = spot.real.lstat()
        except FileNotFoundError:
            raise Win32Error(NOT_FOUND) from None
        folder = stat.S_ISDIR(info.st_mode)
        return Attributes(
            folder,
            None,
            0 if folder else info.st_size,
            info.st_mtime_ns // spot.volume.grain_ns * spot.volume.grain_ns,
            not info.st_mode & stat.S_IWUSR,
            folder or spot.path.lower().endswith((".exe", ".cmd", ".bat", ".com")),
        )

    def listing(self, path: str) -> list[str]:
        """Names in a folder, as Windows sorts them; follows links."""
        before = self.find(path, follow=False)
        link = before.volume.links.get(before.key)
        if link is not None and not link.lists:
            raise Win32Error(DENIED)
        spot = self.find(path)
        if spot.key in spot.volume.denied:
            raise Win32Error(DENIED)
        if not spot.real.is_dir():
            raise Win32Error(NOT_A_FOLDER if spot.real.exists() else PATH_NOT_FOUND)
        here = [each.name for key, each in spot.volume.links.items() if key[:-1] == spot.key]
        return sorted({*os.listdir(spot.real), *here}, key=fold)

    def open(self, path: str, mode: str = "rb") -> IO[bytes]:
        """Open a file as a program does that shares reading and writing."""
        spot = self.find(path)
        if spot.key in spot.volume.locked | spot.volume.hidden:
            raise Win32Error(IN_USE)
        if spot.key in spot.volume.denied or spot.real.is_dir():
            raise Win32Error(DENIED)
        if mode != "rb" and spot.volume.read_only:
            raise Win32Error(WRITE_PROTECT)
        try:
            return spot.real.open(mode, buffering=0)
        except FileNotFoundError:
            raise Win32Error(NOT_FOUND) from None

    def walk(self, path: str) -> Iterator[str]:
        """Every file below, as Windows paths; passes through no link."""
        for name in self.listing(path):
            below = f"{path.rstrip(chr(92))}\\{name}"
            what = self.attributes(below, follow=False)
            if what.link is None and what.folder:
                yield from self.walk(below)
            elif not what.folder:
                yield below

    # --- changing ---------------------------------------------------------------------------

    def make_link(self, path: str, target: str, kind: str) -> None:
        """As ``mklink`` does: the target need not exist."""
        spot = self._new(path)
        name = self.lexical(path).rpartition("\\")[2]
        spot.volume.links[spot.key] = Link(kind, name, target)

    def make_folder(self, path: str) -> None:
        self._new(path).real.mkdir()

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder, or a link to a folder (never what it leads to)."""
        spot = self._there(path)
        if spot.key in spot.volume.links:
            if spot.volume.links[spot.key].kind == "symlink-file":
                raise Win32Error(NOT_A_FOLDER)
            del spot.volume.links[spot.key]
            return
        if not spot.real.is_dir():
            raise Win32Error(NOT_A_FOLDER if spot.real.exists() else NOT_FOUND)
        if self.listing(path):
            raise Win32Error(NOT_EMPTY)
        spot.real.rmdir()

    def remove_file(self, path: str) -> None:
        """Remove a file, or a link to one."""
        spot = self._there(path)
        if spot.key in spot.volume.links:
            if spot.volume.links[spot.key].kind != "symlink-file":
                raise Win32Error(DENIED)
            del spot.volume.links[spot.key]
            return
        if spot.key in spot.volume.locked:
            raise Win32Error(IN_USE)
        if spot.real.is_dir() or (
            spot.real.exists() and not spot.real.stat().st_mode & stat.S_IWUSR
        ):
            raise Win32Error(DENIED)
        try:
            spot.real.unlink()
        except FileNotFoundError:
            raise Win32Error(NOT_FOUND) from None

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        spot = self._there(old)
        to = self.find(new, follow=False)
        same = spot.real.exists() and to.key == spot.key
        if to.real.exists() and not same and (not replace or to.real.is_dir()):
            raise Win32Error(EXISTS)
        if not spot.real.exists():
            raise Win32Error(NOT_FOUND)
        if {spot.key, to.key} & spot.volume.locked:
            raise Win32Error(IN_USE)
        spot.real.rename(to.real.with_name(self.lexical(new).rpartition("\\")[2]))

    def _there(self, path: str) -> Spot:
        spot = self.find(path, follow=False)
        if spot.volume.read_only:
            raise Win32Error(WRITE_PROTECT)
        return spot

    def _new(self, path: str) -> Spot:
        spot = self._there(path)
        if spot.real.exists() or spot.key in spot.volume.links:
            raise Win32Error(EXISTS)
        return spot


def actual_name(folder: Path, name: str) -> str:
    """The name in ``folder`` that Windows takes for ``name``, or ``name`` itself."""
    if os.path.lexists(folder / name):
        return name
    wanted = fold(name)
    try:
        return next((each for each in os.listdir(folder) if fold(each) == wanted), name)
    except (FileNotFoundError, NotADirectoryError):
        raise Win32Error(PATH_NOT_FOUND) from None
