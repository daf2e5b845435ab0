"""Which labelled disk is plugged in, and where: by what is written on it, never by its path.

Only the number on the label is read here; ``replication.targets.directory`` judges the rest before a byte
is written.
"""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.policy.place import DirectoryPlace

LABEL_FILE: Final = "armoire-disk.toml"
MOUNTS: Final = Path("/proc/self/mountinfo")
LARGEST_LABEL_BYTES: Final = 4096
#: The kernel's own file systems, and those of a network: a label is looked for on disks only, for a
#: server that does not answer would hold us.
_NOT_DISKS: Final = frozenset(
    [
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "cifs",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fuse.sshfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nfs",
        "nfs4",
        "nsfs",
        "overlay",
        "proc",
        "pstore",
        "ramfs",
        "rpc_pipefs",
        "securityfs",
        "smb3",
        "squashfs",
        "sysfs",
        "tracefs",
    ]
)


def find_disk(disk_id: str, *, mounts: Path = MOUNTS) -> Path | None:
    """Return where the disk with this number on its label is mounted, or None when it is not plugged in."""
    return next((folder for folder in _mounted(mounts) if _number(folder) == disk_id), None)


def is_plugged_in(place: DirectoryPlace, *, mounts: Path = MOUNTS) -> bool:
    """Return whether the disk of ``place`` can be seen now."""
    if place.folder:
        return _number(Path(place.folder)) == place.disk_id
    return find_disk(place.disk_id, mounts=mounts) is not None


def _number(folder: Path) -> str | None:
    try:
        with (folder / LABEL_FILE).open("rb") as file:
            values = tomllib.loads(file.read(LARGEST_LABEL_BYTES).decode("utf-8"))
    except (OSError, ValueError):
        return None
    found = values.get("disk_id")
    return found if isinstance(found, str) else None


def _mounted(mounts: Path) -> Iterator[Path]:
    """Yield where disks are mounted. Source: proc(5), /proc/pid/mountinfo; octal escapes in names."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        fields, _, rest = line.partition(b" - ")
        parts, kind = fields.split(), rest.split()[:1]
        if len(parts) >= 5 and kind and kind[0].decode("ascii", "replace") not in _NOT_DISKS:
            yield Path(os.fsdecode(parts[4].decode("unicode_escape").encode("latin-1")))
