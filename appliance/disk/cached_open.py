"""Opening a file of a share without ever waiting for a disk: when the way to it is in memory, or not at all.

``openat2`` resolves a whole path beneath a folder in one step, with no link followed, and with RESOLVE_CACHED only
if the system knows every name on the way. So the web's one thread may open it by itself: 6 microseconds instead of
a hundred through a helper thread (docs/decisions/0191). A path that is not known, every error, an old kernel: None, and
``paths.open_file`` does it in a thread, with its words for what is wrong.

Source: openat2(2), Linux 5.12 for RESOLVE_CACHED.
"""

import ctypes
import os
import stat
from pathlib import Path
from typing import Final

from appliance.disk.paths import FILE, split

_SYS_OPENAT2: Final = 437  # the same on every architecture
_AT_FDCWD: Final = -100
_NO_MAGICLINKS: Final = 0x02
_NO_SYMLINKS: Final = 0x04
_BENEATH: Final = 0x08
_CACHED: Final = 0x20


class _How(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_SIZE: Final = ctypes.sizeof(_How)
_ROOT: Final = _How(os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, _CACHED)
_FOLDER: Final = _How(
    os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC,
    0,
    _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS | _CACHED,
)
_INSIDE: Final = _How(FILE, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS | _CACHED)
_syscall: Final = ctypes.CDLL(None).syscall


def open_file(root: Path, path: bytes) -> int | None:
    """Return a descriptor of the regular file at ``path`` of the share at ``root``; None: ask ``paths.open_file``.

    Raises:
        InvalidInput: as ``paths.split``.
    """
    if not split(path):
        return None
    found = _open(root, path, _INSIDE)
    if found is not None and not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        return None
    return found


def open_folder(root: Path, path: bytes) -> int | None:
    """Return a descriptor of the folder at ``path``, of the share itself for b""; None: ask ``paths.open_folder``.

    Raises:
        InvalidInput: as ``paths.split``.
    """
    return _open(root, path if split(path) else b".", _FOLDER)


def _open(root: Path, path: bytes, how: _How) -> int | None:
    folder = _syscall(_SYS_OPENAT2, _AT_FDCWD, os.fsencode(root), ctypes.byref(_ROOT), _SIZE)
    if folder < 0:
        return None
    try:
        found: int = _syscall(_SYS_OPENAT2, folder, path, ctypes.byref(how), _SIZE)
    finally:
        os.close(folder)
    return None if found < 0 else found
