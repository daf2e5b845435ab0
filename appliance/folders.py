"""Folders that both accounts of the box write to."""

import os
import stat
from pathlib import Path
from typing import Final

#: What owner and group may do.
_OURS: Final = stat.S_IRWXU | stat.S_IRWXG


def make_shared(folder: Path) -> None:
    """Make ``folder`` for owner and group, whatever the umask (sudo's is 022); one that is there stays as it is.

    The set-group bit comes from the folder above it, as systemd/tmpfiles.d made it. It is never set here: the units
    forbid that (RestrictSUIDSGID), even on a folder.
    """
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=_OURS, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & _OURS != _OURS:
            os.fchmod(descriptor, mode | _OURS)  # with the bit it has: else it would go
    finally:
        os.close(descriptor)
