"""Renaming as the disk can do it: never over something by accident, and exchanging two names in one step.

renameat2(2): RENAME_NOREPLACE, RENAME_EXCHANGE; Python has neither. Through the C library, which has it since
glibc 2.28; where a file system refuses the flags, nothing is done.
"""

import ctypes
import errno
import os
from typing import Final

from appliance.errors import FileMissing, NameTaken, NotAFolder

_NO_REPLACE: Final = 1
_EXCHANGE: Final = 2
_library: Final = ctypes.CDLL(None, use_errno=True)
_library.renameat2.argtypes = (
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_uint,
)


def rename(from_folder: int, name: bytes, to_folder: int, new_name: bytes) -> None:
    """Give what is called ``name`` another place, where nothing is called so yet.

    Args:
        from_folder: descriptor of the folder it is in.
        name: what it is called there.
        to_folder: descriptor of the folder it goes to, on the same file system.
        new_name: its name there.

    Raises:
        NameTaken: something has the name.
        FileMissing: it is not there any more.
        NotAFolder: a folder would go into itself.
        OSError: another reason, ``EXDEV`` among them: another file system.
    """
    _rename(from_folder, name, to_folder, new_name, _NO_REPLACE)


def exchange(from_folder: int, name: bytes, to_folder: int, other: bytes) -> None:
    """Let two names change places; at no moment is one of them missing.

    Raises:
        FileMissing: one of them is not there.
        OSError: as ``rename``.
    """
    _rename(from_folder, name, to_folder, other, _EXCHANGE)


def _rename(from_folder: int, name: bytes, to_folder: int, new_name: bytes, flags: int) -> None:
    if _library.renameat2(from_folder, name, to_folder, new_name, flags) == 0:
        return
    number = ctypes.get_errno()
    match number:
        case errno.EEXIST | errno.ENOTEMPTY:
            raise NameTaken(new_name.decode("utf-8", "replace"))
        case errno.ENOENT:
            raise FileMissing
        case errno.EINVAL if flags == _NO_REPLACE and _is_inside(from_folder, name, to_folder):
            raise NotAFolder
        case _:
            raise OSError(number, os.strerror(number))


def _is_inside(from_folder: int, name: bytes, to_folder: int) -> bool:
    """Return whether ``to_folder`` is the folder ``name`` or lies in it."""
    wanted = os.stat(name, dir_fd=from_folder, follow_symlinks=False)
    folder = os.dup(to_folder)
    try:
        while True:
            facts = os.fstat(folder)
            if (facts.st_dev, facts.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
            above = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = above
            up = os.fstat(folder)
            if (up.st_dev, up.st_ino) == (facts.st_dev, facts.st_ino):
                return False
    finally:
        os.close(folder)
