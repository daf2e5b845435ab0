"""Folders that both accounts of the box write to, files put in place in one step, and what survives a power cut."""

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


def put_file(place: Path, content: bytes, mode: int) -> None:
    """Put a file in place in one step, with its content on the disk before.

    What root puts there belongs to the owner of the folder: a command of the administrator's, a recovery; the account
    that works with the file must read it too.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    draft = place.with_name(f".{place.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        if os.geteuid() == 0:
            owner = place.parent.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(place)


def sync(path: Path) -> None:
    """Return once a file's bytes, or the names in a folder, survive a power cut.

    Raises:
        OSError: the disk would not say so.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
